//! Files that callers ask for by name instead of getting them in the answer: `<data>/exports/<tenant>/`.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::SystemTime,
};

use http::StatusCode;
use jiff::Timestamp;
use paddock_platform::{
    identity::Tenant,
    problem::{Problem, ProblemKind},
};

/// The name of a file cannot be used.
pub const FILE_NAME_INVALID: ProblemKind =
    ProblemKind::new("file-name-invalid", StatusCode::BAD_REQUEST, "Invalid file name");

const NAME_SIZE_MAX: usize = 128;
/// Bytes of one tenant's files; the oldest make room.
const TOTAL_SIZE_MAX: u64 = 256 << 20;
/// Ending of files that are being written.
const PARTIAL: &str = ".partial";
/// After this time, such a file is one that nobody finished.
const PARTIAL_AGE_MAX: std::time::Duration = std::time::Duration::from_hours(1);

/// The exports of a server.
#[derive(Clone, Debug)]
pub(crate) struct Exports {
    directory: PathBuf,
}

/// A file that is being written; it appears under its name when it is finished, and not at all if it is dropped before.
#[derive(Debug)]
pub(crate) struct Export {
    file: File,
    path: PathBuf,
    partial: PathBuf,
    finished: bool,
}

impl Exports {
    pub(crate) fn new(data_dir: &Path) -> Self {
        Self { directory: data_dir.join("exports") }
    }

    /// A new file; without a name, one of the present second.
    pub(crate) fn create(
        &self,
        tenant: &Tenant,
        name: Option<&str>,
        prefix: &str,
        ending: &str,
    ) -> Result<Export, Problem> {
        let name = match name.filter(|name| !name.is_empty()) {
            Some(name) => checked_name(name)?,
            None => format!("{prefix}-{}.{ending}", Timestamp::now().strftime("%Y%m%d-%H%M%S-%3f")),
        };
        self.open(tenant, &name).map_err(|error| Problem::internal("writing an export", &error))
    }

    fn open(&self, tenant: &Tenant, name: &str) -> io::Result<Export> {
        let directory = self.directory.join(directory_name(tenant.as_str()));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        make_room(&directory)?;
        let path = directory.join(name);
        let partial = directory.join(format!("{name}.{}{PARTIAL}", uuid::Uuid::now_v7().simple()));
        let file = File::options().write(true).create_new(true).mode(0o600).open(&partial)?;
        Ok(Export { file, path, partial, finished: false })
    }

    /// A new file of the present moment, to be written later.
    pub(crate) async fn begin(
        &self,
        tenant: &Tenant,
        (prefix, ending): (&'static str, &'static str),
    ) -> Result<Export, Problem> {
        let (this, tenant) = (self.clone(), tenant.clone());
        let create = tokio::task::spawn_blocking(move || this.create(&tenant, None, prefix, ending));
        create.await.unwrap_or_else(|error| Err(Problem::internal("writing an export", &error)))
    }

    /// Writes a whole file.
    pub(crate) async fn write(
        &self,
        tenant: &Tenant,
        name: Option<&str>,
        (prefix, ending): (&'static str, &'static str),
        bytes: bytes::Bytes,
    ) -> Result<PathBuf, Problem> {
        let (this, tenant, name) = (self.clone(), tenant.clone(), name.map(str::to_owned));
        let write = tokio::task::spawn_blocking(move || {
            let mut export = this.create(&tenant, name.as_deref(), prefix, ending)?;
            let written = export.write(&bytes).and_then(|()| export.finish());
            written.map_err(|error| Problem::internal("writing an export", &error))
        });
        write.await.unwrap_or_else(|error| Err(Problem::internal("writing an export", &error)))
    }
}

impl Export {
    /// Where it will be.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// Puts it under its name.
    pub(crate) fn finish(mut self) -> io::Result<PathBuf> {
        self.file.flush()?;
        fs::rename(&self.partial, &self.path)?;
        self.finished = true;
        Ok(self.path.clone())
    }
}

impl Drop for Export {
    fn drop(&mut self) {
        if !self.finished {
            fs::remove_file(&self.partial).ok();
        }
    }
}

/// A name without directories, of letters, digits, dots, blanks, hyphens and underscores.
pub(crate) fn checked_name(name: &str) -> Result<String, Problem> {
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ' ');
    let good = name.len() <= NAME_SIZE_MAX
        && !name.is_empty()
        && !name.starts_with('.')
        && !name.ends_with(PARTIAL)
        && name.chars().all(allowed);
    if good {
        return Ok(name.to_owned());
    }
    let detail = format!(
        "`{}` is not a file name: letters, digits, `.`, `-` and `_`, at most {NAME_SIZE_MAX} bytes, no directories",
        name.escape_default()
    );
    Err(Problem::new(FILE_NAME_INVALID, detail).with("field", "path"))
}

/// A tenant's name as the name of a directory: what is not plain is spelled in hexadecimal.
pub(crate) fn directory_name(tenant: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if !tenant.is_empty() && tenant.len() <= 64 && tenant.bytes().all(is_plain) {
        return format!("t-{tenant}");
    }
    let hex: Vec<String> = tenant.bytes().take(100).map(|byte| format!("{byte:02x}")).collect();
    format!("x-{}", hex.concat())
}

fn make_room(directory: &Path) -> io::Result<()> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        let is_partial = entry.file_name().to_string_lossy().ends_with(PARTIAL);
        if is_partial {
            if modified.elapsed().is_ok_and(|age| age > PARTIAL_AGE_MAX) {
                fs::remove_file(entry.path()).ok();
            }
        } else if metadata.is_file() {
            files.push((modified, metadata.len(), entry.path()));
        }
    }
    files.sort_by_key(|(modified, ..)| *modified);
    let mut total: u64 = files.iter().map(|(_, size, _)| size).sum();
    for (_, size, path) in files {
        if total <= TOTAL_SIZE_MAX {
            break;
        }
        fs::remove_file(path)?;
        total -= size;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_stay_in_their_directory() {
        for name in ["../x", "/etc/passwd", "a/b", "..", ".hidden", "", "a\0b", "a\\b", "x.partial"] {
            assert!(checked_name(name).is_err(), "{name}");
        }
        assert!(checked_name("report 1_a-b.har").is_ok());
    }

    #[test]
    fn an_export_appears_when_it_is_finished() {
        let data = tempfile::tempdir().unwrap();
        let exports = Exports::new(data.path());
        let mut export = exports.create(&Tenant::local(), Some("a.har"), "x", "har").unwrap();
        export.write(b"{}").unwrap();
        let path = export.path.clone();
        assert!(!path.exists());
        assert_eq!(export.finish().unwrap(), path);
        assert_eq!(fs::read(&path).unwrap(), b"{}");
        drop(exports.create(&Tenant::local(), Some("b.har"), "x", "har").unwrap());
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    proptest! {
        #[test]
        fn a_tenants_directory_is_its_own(a in ".{0,40}", b in ".{0,40}") {
            let (first, second) = (directory_name(&a), directory_name(&b));
            prop_assert_eq!(a == b, first == second);
            prop_assert!(!first.contains(['/', '.', '\0']));
        }
    }
}
