//! Files that are put into a page's file input.
//!
//! They are staged in a private directory of the instance, because the page may read them for as long as it lives, and
//! go with it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use paddock_cdp::{
    CallError,
    protocol::{
        dom::SetFileInputFiles,
        runtime::{Evaluate, ReleaseObject},
    },
};
use paddock_platform::problem::Problem;
use url::Url;

use crate::{error::BrowserError, frames::Realm, instance::Instance, tab::Tab};

/// Most files of one upload.
pub(crate) const FILES_MAX: usize = 8;
/// Bytes of one file.
const FILE_SIZE_MAX: usize = 10 << 20;
/// Bytes of all files that are staged for one instance; the oldest make room.
const STAGED_SIZE_MAX: u64 = 100 << 20;
const DEADLINE: Duration = Duration::from_secs(10);

/// A file to be staged.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NewFile {
    name: String,
    bytes: Vec<u8>,
}

/// Reads a `data:` address, or base64 alone. The name follows from the type.
pub(crate) fn parse(index: usize, text: &str) -> Result<NewFile, Problem> {
    let field = format!("files[{index}]");
    let invalid = |detail: &str| Problem::invalid_field(&field, detail);
    let (mime, base64) = match text.strip_prefix("data:") {
        Some(rest) => {
            let (head, data) = rest.split_once(',').ok_or_else(|| invalid("is not a `data:` address"))?;
            let mime = head.strip_suffix(";base64").ok_or_else(|| invalid("must be in base64"))?;
            (mime.split(';').next().unwrap_or_default(), data)
        }
        None => ("", text),
    };
    let bytes = BASE64_STANDARD.decode(base64.trim()).map_err(|_| invalid("is not base64"))?;
    if bytes.len() > FILE_SIZE_MAX {
        return Err(invalid(&format!("is over {FILE_SIZE_MAX} bytes")));
    }
    let ending = ending_of(mime, &bytes);
    Ok(NewFile { name: format!("upload-{}.{ending}", index + 1), bytes })
}

fn ending_of(mime: &str, bytes: &[u8]) -> &'static str {
    match mime {
        "image/png" => "png",
        "image/jpeg" => "jpg",
        "image/gif" => "gif",
        "image/webp" => "webp",
        "application/pdf" => "pdf",
        "application/json" => "json",
        "application/zip" => "zip",
        "text/csv" => "csv",
        "text/html" => "html",
        "text/plain" => "txt",
        _ => match bytes {
            [0x89, b'P', b'N', b'G', ..] => "png",
            [0xff, 0xd8, ..] => "jpg",
            [b'G', b'I', b'F', ..] => "gif",
            [b'%', b'P', b'D', b'F', ..] => "pdf",
            _ => "bin",
        },
    }
}

/// A file of the operator's directory: no way out of it, no links, no devices.
pub(crate) fn within(directory: &Path, path: &str) -> Result<PathBuf, Problem> {
    let invalid =
        |detail: &str| Problem::invalid_field("paths", format!("`{}`: {detail}", path.escape_default()));
    let full = directory.join(path);
    let found = fs::symlink_metadata(&full).map_err(|_| invalid("there is no such file"))?;
    if !found.is_file() {
        return Err(invalid("is not a regular file"));
    }
    let real = full.canonicalize().map_err(|_| invalid("there is no such file"))?;
    let base = directory.canonicalize().map_err(|_| invalid("`[browser] uploads_dir` is not there"))?;
    if !real.starts_with(&base) {
        return Err(invalid("is outside of `[browser] uploads_dir`"));
    }
    if found.len() > FILE_SIZE_MAX as u64 {
        return Err(invalid(&format!("is over {FILE_SIZE_MAX} bytes")));
    }
    Ok(real)
}

impl Instance {
    /// Puts files where its Chrome can read them.
    pub(crate) async fn stage(&self, files: Vec<NewFile>) -> Result<Vec<PathBuf>, Problem> {
        let instance = self.clone();
        let staged = tokio::task::spawn_blocking(move || {
            let uploads = instance.scratch()?.join("uploads");
            fs::create_dir_all(&uploads)?;
            make_room(&uploads)?;
            let directory = uploads.join(uuid::Uuid::now_v7().simple().to_string());
            fs::create_dir(&directory)?;
            let write = |file: NewFile| {
                let path = directory.join(file.name);
                fs::write(&path, file.bytes).map(|()| path)
            };
            files.into_iter().map(write).collect::<io::Result<Vec<_>>>()
        });
        let staged = staged.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        staged.map_err(|error| Problem::internal("staging an upload", &error))
    }
}

/// Removes the oldest uploads.
fn make_room(directory: &Path) -> io::Result<()> {
    let mut uploads = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let size: u64 =
            fs::read_dir(&path)?.flatten().filter_map(|file| file.metadata().ok()).map(|m| m.len()).sum();
        uploads.push((path, size));
    }
    // Names are version 7 UUIDs: their order is that of their making.
    uploads.sort();
    let mut total: u64 = uploads.iter().map(|(_, size)| size).sum();
    for (path, size) in uploads {
        if total <= STAGED_SIZE_MAX {
            break;
        }
        fs::remove_dir_all(path)?;
        total -= size;
    }
    Ok(())
}

impl Tab {
    /// Chooses files in the input that a selector or reference names, or that is within what it names.
    pub(crate) async fn choose_files(&self, selector: &str, paths: &[PathBuf]) -> Result<(), Problem> {
        self.touch();
        let no_element = || BrowserError::NoElement(selector.to_owned());
        // The walker has to be in the page; it is not by the first call.
        self.ask_raw(&Realm::PAGE, "null", DEADLINE).await?;
        let context_id = self.isolated_world().await.map_err(BrowserError::from)?;
        let json = serde_json::Value::from(selector).to_string();
        let command = Evaluate {
            expression: &format!("({FILE_INPUT})({json})"),
            context_id: Some(context_id),
            await_promise: false,
            return_by_value: false,
            user_gesture: false,
        };
        let evaluated = self.session().send_within(&command, DEADLINE).await.map_err(BrowserError::from)?;
        if evaluated.exception_details.is_some() {
            return Err(BrowserError::InvalidSelector(selector.to_owned()).into());
        }
        let object_id = evaluated.result.object_id.ok_or_else(no_element)?;
        let files: Vec<String> = paths.iter().map(|path| path.to_string_lossy().into_owned()).collect();
        let chosen = self.session().send(&SetFileInputFiles { files: &files, object_id: &object_id }).await;
        self.session().send(&ReleaseObject { object_id: &object_id }).await.ok();
        match chosen {
            Ok(_) => Ok(()),
            Err(CallError::Protocol { message, .. }) => {
                Err(Problem::invalid_field("selector", format!("takes no files: {message}")))
            }
            Err(error) => Err(BrowserError::from(error).into()),
        }
    }
}

/// The file input of a selector: itself, that of a label, or the first within; also in open shadow trees.
const FILE_INPUT: &str = "selector => {
    const isFile = element => element instanceof HTMLInputElement && element.type === 'file';
    const deep = (root, css) => {
        const found = root.querySelector(css);
        if (found) return found;
        for (const element of root.querySelectorAll('*')) {
            const inner = element.shadowRoot && deep(element.shadowRoot, css);
            if (inner) return inner;
        }
        return null;
    };
    let element = paddockAccessibility.find(selector);
    if (!element) { try { element = deep(document, selector); } catch { element = null; } }
    if (!element) return null;
    if (isFile(element)) return element;
    if (element instanceof HTMLLabelElement && element.control && isFile(element.control)) return element.control;
    return deep(element.shadowRoot ?? element, 'input[type=file]');
}";

/// The last part of an address as a file name.
pub(crate) fn name_of(url: &Url) -> String {
    let last = url.path_segments().and_then(|mut segments| segments.next_back()).unwrap_or_default();
    let clean: String =
        last.chars().filter(|c| c.is_ascii_alphanumeric() || "._-".contains(*c)).take(100).collect();
    let clean = clean.trim_start_matches('.');
    if clean.is_empty() { "download".to_owned() } else { clean.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_a_data_address_or_base64() {
        let file = parse(0, "data:text/plain;base64,SGVsbG8=").unwrap();
        assert_eq!(file, NewFile { name: "upload-1.txt".into(), bytes: b"Hello".to_vec() });
        assert_eq!(parse(1, "SGVsbG8=").unwrap().name, "upload-2.bin");
        for bad in ["data:text/plain,hello", "data:;base64", "%%%"] {
            assert!(parse(0, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn paths_stay_within_the_operators_directory() {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path().join("uploads");
        fs::create_dir(&base).unwrap();
        fs::write(base.join("good.txt"), "x").unwrap();
        fs::write(directory.path().join("secret.txt"), "x").unwrap();
        std::os::unix::fs::symlink("../secret.txt", base.join("link.txt")).unwrap();
        assert!(within(&base, "good.txt").is_ok());
        for bad in ["../secret.txt", "link.txt", "/etc/passwd", ".", "missing"] {
            assert!(within(&base, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_file_name_is_the_last_part_of_the_address() {
        let name = |url: &str| name_of(&url.parse().unwrap());
        assert_eq!(name("http://a/b/report.pdf?x=1"), "report.pdf");
        assert_eq!(name("http://a/"), "download");
        assert_eq!(name("http://a/..%2f..%2fetc"), "2f..2fetc");
    }
}
