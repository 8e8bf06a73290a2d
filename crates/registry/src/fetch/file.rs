//! Files on this machine.
//!
//! A look at a file that did not change is one question to the file system. Symlinks are followed every time: Kubernetes
//! changes a mounted `ConfigMap` by pointing one elsewhere.

use std::{
    fs::{File, Metadata},
    io::Read,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use paddock_platform::{task::background, units::ByteSize};

use super::{Fetched, whole};
use crate::{
    error::FetchError,
    store::{Mark, Stamp},
};

/// File systems tell times apart no finer than this, to be on the safe side.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

pub(super) async fn fetch(path: PathBuf, mark: Mark, size_max: ByteSize) -> Result<Fetched, FetchError> {
    background(move || fetch_now(&path, mark, size_max)).await?
}

fn fetch_now(path: &Path, mark: Mark, size_max: ByteSize) -> Result<Fetched, FetchError> {
    let error = |source| FetchError::File { path: path.to_owned(), source };
    let stamp = stamp_of(&std::fs::metadata(path).map_err(error)?);
    if mark.stamp.is_some_and(|known| known.is_settled && known == Stamp { is_settled: true, ..stamp }) {
        return Ok(Fetched::Unchanged(mark));
    }
    let mut file = File::open(path).map_err(error)?;
    // What was opened counts: the path may lead elsewhere by now.
    let stamp = stamp_of(&file.metadata().map_err(error)?);
    if stamp.size > size_max.get() {
        return Err(FetchError::TooLarge(size_max));
    }
    let mut content = Vec::with_capacity(stamp.size as usize + 1);
    Read::by_ref(&mut file).take(size_max.get() + 1).read_to_end(&mut content).map_err(error)?;
    if content.len() as u64 > size_max.get() {
        return Err(FetchError::TooLarge(size_max));
    }
    let mark = Mark { stamp: Some(stamp), ..mark };
    Ok(whole(Bytes::from(content), mark))
}

fn stamp_of(metadata: &Metadata) -> Stamp {
    let settled = metadata.modified().ok().and_then(|at| SystemTime::now().duration_since(at).ok());
    Stamp {
        device: metadata.dev(),
        inode: metadata.ino(),
        modified_ns: i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec()),
        size: metadata.size(),
        is_settled: settled.is_some_and(|age| age >= SETTLED_AFTER),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn content(fetched: Fetched) -> (Option<Bytes>, Mark) {
        match fetched {
            Fetched::Unchanged(mark) => (None, mark),
            Fetched::Documents { mut documents, mark, .. } => (documents.pop(), mark),
        }
    }

    async fn look(path: &Path, mark: Mark) -> (Option<Bytes>, Mark) {
        content(fetch(path.to_owned(), mark, ByteSize::mib(1)).await.unwrap())
    }

    #[tokio::test]
    async fn a_file_is_read_when_it_changes_and_only_then() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("servers.json");
        std::fs::write(&path, "[1]").unwrap();
        let (first, mark) = look(&path, Mark::default()).await;
        assert_eq!(first.unwrap(), "[1]");
        let (again, mark) = look(&path, mark).await;
        assert_eq!(again, None);
        std::fs::write(&path, "[2]").unwrap();
        let (changed, _) = look(&path, mark).await;
        assert_eq!(changed.unwrap(), "[2]", "of the same length, a moment later");
    }

    #[tokio::test]
    async fn a_symlink_that_points_elsewhere_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in [("..v1", "[1]"), ("..v2", "[2]")] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
            std::fs::write(dir.path().join(name).join("servers.json"), content).unwrap();
        }
        symlink("..v1", dir.path().join("..data")).unwrap();
        symlink("..data/servers.json", dir.path().join("servers.json")).unwrap();
        let path = dir.path().join("servers.json");
        let (_, mark) = look(&path, Mark::default()).await;
        symlink("..v2", dir.path().join("..data_tmp")).unwrap();
        std::fs::rename(dir.path().join("..data_tmp"), dir.path().join("..data")).unwrap();
        assert_eq!(look(&path, mark).await.0.unwrap(), "[2]");
    }

    #[tokio::test]
    async fn a_settled_file_is_not_opened_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("servers.json");
        std::fs::write(&path, "[1]").unwrap();
        let old = SystemTime::now() - Duration::from_mins(1);
        File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
        let (_, mark) = look(&path, Mark::default()).await;
        // Other content with the same times: only who opens the file can tell.
        std::fs::write(&path, "[2]").unwrap();
        File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
        assert_eq!(look(&path, mark).await.0, None);
    }

    #[tokio::test]
    async fn a_file_that_is_too_large_or_not_there_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("servers.json");
        let missing = fetch(path.clone(), Mark::default(), ByteSize::mib(1)).await;
        assert!(matches!(missing, Err(FetchError::File { .. })));
        std::fs::write(&path, "[1, 2, 3]").unwrap();
        let large = fetch(path, Mark::default(), ByteSize::bytes(5)).await;
        assert!(matches!(large, Err(FetchError::TooLarge(_))));
    }
}
