//! The directory for everything that Paddock keeps, held by one server at a time.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Seek, Write},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

const LOCK_FILE: &str = "paddock.lock";

/// A data directory that this process holds. Dropping it, or dying, lets go.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    lock: File,
}

/// The data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DataDirError {
    /// It is not there and cannot be made, or its lock file cannot be opened.
    #[error("the data directory `{}` cannot be used", path.display())]
    Unusable {
        /// Which directory.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Another server holds it.
    #[error("a server already runs on the data directory `{}`{}", path.display(), address.as_ref().map(|address| format!(", at http://{address}")).unwrap_or_default())]
    InUse {
        /// Which directory.
        path: PathBuf,
        /// Where that server listens, if it has come so far.
        address: Option<String>,
    },
}

impl DataDir {
    /// Makes the directory if need be, and holds it.
    pub(crate) fn hold(path: &Path) -> Result<Self, DataDirError> {
        let unusable = |source| DataDirError::Unusable { path: path.to_owned(), source };
        fs::create_dir_all(path).map_err(unusable)?;
        let path = path.canonicalize().map_err(unusable)?;
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path.join(LOCK_FILE))
            .map_err(unusable)?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut address = String::new();
            let known = lock.read_to_string(&mut address).is_ok() && !address.trim().is_empty();
            return Err(DataDirError::InUse { path, address: known.then(|| address.trim().to_owned()) });
        }
        lock.set_len(0).map_err(unusable)?;
        Ok(Self { path, lock })
    }

    /// Notes where the server listens, for whoever finds the directory held.
    pub(crate) fn note_address(&mut self, address: &str) -> std::io::Result<()> {
        self.lock.set_len(0)?;
        self.lock.rewind()?;
        self.lock.write_all(address.as_bytes())
    }

    /// The directory's absolute path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_held_by_one_server_that_says_where_it_listens() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("made/on/demand");
        let mut held = DataDir::hold(&path).unwrap();
        held.note_address("127.0.0.1:7070").unwrap();
        let error = DataDir::hold(&path).unwrap_err();
        assert!(error.to_string().ends_with("at http://127.0.0.1:7070"), "{error}");
        drop(held);
        DataDir::hold(&path).unwrap();
    }

    #[test]
    fn a_file_in_the_place_of_the_directory_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "").unwrap();
        assert!(DataDir::hold(&path).unwrap_err().to_string().contains("file"));
    }
}
