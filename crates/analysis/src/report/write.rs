//! Puts a report into a directory: everything or nothing.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    str::FromStr,
    sync::atomic::{AtomicU32, Ordering},
};

use http::StatusCode;
use paddock_platform::problem::{Problem, ProblemKind};

use super::{Images, RenderError, Report, render};

/// A report could not be written where it was asked for.
pub const REPORT_NOT_WRITTEN: ProblemKind =
    ProblemKind::new("report-not-written", StatusCode::INSUFFICIENT_STORAGE, "Report not written");

/// A written form of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// `report.html`: self-contained.
    Html,
    /// `report.json`.
    Json,
    /// `report.md`.
    Markdown,
}

impl Format {
    /// All forms.
    pub const ALL: [Self; 3] = [Self::Html, Self::Json, Self::Markdown];

    /// Name of the file in this form.
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::Html => "report.html",
            Self::Json => "report.json",
            Self::Markdown => "report.md",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Html => "html",
            Self::Json => "json",
            Self::Markdown => "md",
        })
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.trim().to_ascii_lowercase().as_str() {
            "html" => Ok(Self::Html),
            "json" => Ok(Self::Json),
            "md" | "markdown" => Ok(Self::Markdown),
            _ => Err(UnknownFormat { text: text.to_owned() }),
        }
    }
}

/// A text that names no form of a report.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a format; choose from `html`, `json` and `md`")]
pub struct UnknownFormat {
    text: String,
}

/// A report could not be written. What the directory held before is still there.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// A form could not be made.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// The path leads to something else.
    #[error("`{}` is not a directory; nothing was written, choose another one", path.display())]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// The user may not write there.
    #[error("no permission to write `{}`; nothing was written", path.display())]
    Denied {
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no space left.
    #[error("the disk is full: `{}` was not written, and nothing was left behind; free some space and repeat", path.display())]
    Full {
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Any other failure.
    #[error("could not write `{}`; nothing was left behind", path.display())]
    Other {
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl WriteError {
    fn new(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => Self::NotADirectory { path },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::Denied { path, source }
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path, source },
            _ => Self::Other { path, source },
        }
    }
}

impl From<WriteError> for Problem {
    fn from(error: WriteError) -> Self {
        match &error {
            WriteError::Render(_) => Self::internal("writing the report", &error),
            WriteError::Other { source, .. } => Self::new(REPORT_NOT_WRITTEN, format!("{error} ({source})")),
            _ => Self::new(REPORT_NOT_WRITTEN, error.to_string()),
        }
    }
}

/// Writes the report in each of the formats, and its pictures as `shots/*.jpg`, into `dir`, which is made if it does
/// not exist. Returns the paths of the formats in the order asked for.
///
/// Everything is written beside its place first and moved there when all of it is complete, `report.json` last. A
/// failure leaves the directory as it was, except that it may have been created. Pictures of the report that was there
/// before are removed, and so are its other forms if its `report.json` was there. Blocking.
pub fn write(
    dir: &Path,
    formats: &[Format],
    report: &Report,
    images: &Images,
) -> Result<Vec<PathBuf>, WriteError> {
    let mut documents: Vec<(&str, String)> = Vec::with_capacity(formats.len());
    for format in formats {
        if documents.iter().any(|(name, _)| *name == format.file_name()) {
            continue;
        }
        documents.push((format.file_name(), render(*format, report, images)?));
    }
    // Whoever sees `report.json` finds everything that it names.
    documents.sort_by_key(|(name, _)| *name == Format::Json.file_name());
    let mut files: Vec<(&str, &[u8])> =
        images.iter().map(|image| (image.file.as_str(), &*image.bytes)).collect();
    files.extend(documents.iter().map(|(name, text)| (*name, text.as_bytes())));

    fs::create_dir_all(dir).map_err(|error| WriteError::new(dir, error))?;
    let had_report = dir.join(Format::Json.file_name()).exists();
    let stale = pictures_before(dir, images);
    let staging = Staging::create(dir)?;
    for (name, bytes) in &files {
        staging.write(name, bytes)?;
    }
    for (name, _) in &files {
        staging.publish(name, dir)?;
    }
    let other_forms = [Format::Html, Format::Json, Format::Markdown]
        .into_iter()
        .filter(|format| had_report && !formats.contains(format))
        .map(|format| format.file_name().to_owned());
    for name in stale.into_iter().chain(other_forms) {
        // A file that stays behind does no harm.
        let _ = fs::remove_file(dir.join(name));
    }
    Ok(formats.iter().map(|format| dir.join(format.file_name())).collect())
}

/// A directory beside the files' places; gone when dropped, with what is still in it.
struct Staging {
    path: PathBuf,
}

impl Staging {
    fn create(dir: &Path) -> Result<Self, WriteError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let path =
            dir.join(format!(".report-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
        // Left by a process of the same id that was killed.
        let _ = fs::remove_dir_all(&path);
        match fs::create_dir(&path) {
            Ok(()) => Ok(Self { path }),
            Err(error) => Err(WriteError::new(dir, error)),
        }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), WriteError> {
        let path = self.path.join(name);
        path.parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| fs::write(&path, bytes))
            .map_err(|error| WriteError::new(Path::new(name), error))
    }

    fn publish(&self, name: &str, dir: &Path) -> Result<(), WriteError> {
        let target = dir.join(name);
        target
            .parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| fs::rename(self.path.join(name), &target))
            .map_err(|error| WriteError::new(&target, error))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// The pictures of the report that is in `dir`, without those that will be written again.
fn pictures_before(dir: &Path, images: &Images) -> Vec<String> {
    let Ok(text) = fs::read(dir.join(Format::Json.file_name())) else { return Vec::new() };
    let Ok(report) = serde_json::from_slice::<Report>(&text) else { return Vec::new() };
    let crops = report.findings.into_iter().filter_map(|it| Some(it.crop?.file));
    let shots =
        report.shots.into_iter().flat_map(|it| [Some(it.file), it.overview.map(|it| it.file)]).flatten();
    crops.chain(shots).filter(|file| is_picture_name(file) && images.get(file).is_none()).collect()
}

/// Whether a name is one that [`illustrate`](super::illustrate) gives; the file it was read from may be anyone's.
fn is_picture_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name.strip_prefix("shots/")
        .and_then(|name| name.strip_suffix(".jpg").or_else(|| name.strip_suffix(".png")))
        .is_some_and(|stem| !stem.is_empty() && stem.chars().all(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_from_other_failures() {
        let error = WriteError::new(Path::new("report.html"), io::ErrorKind::StorageFull.into());
        assert!(matches!(error, WriteError::Full { .. }));
        let problem = Problem::from(error);
        assert_eq!(problem.kind, REPORT_NOT_WRITTEN);
        assert!(problem.detail.contains("disk is full"), "{}", problem.detail);
    }

    #[test]
    fn only_own_pictures_are_ever_removed() {
        assert!(is_picture_name("shots/03-cta-vague-label-mobile.jpg"));
        for name in ["shots/../report.html", "/etc/passwd.jpg", "shots/.jpg", "shots/a/b.jpg", "report.json"]
        {
            assert!(!is_picture_name(name), "{name}");
        }
    }
}
