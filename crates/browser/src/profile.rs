//! Profile directories of Chrome processes: private, and gone with the process or at the next start.
//!
//! All of a server's profiles are in one `run-…` directory that holds a locked file. A run directory whose lock can be
//! taken belongs to a server that is dead, and is removed.

use std::{
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

const LOCK: &str = "lock";
/// How long a new run directory may be without its lock.
const UNLOCKED_MAX: Duration = Duration::from_mins(1);

/// This server's profiles.
#[derive(Clone, Debug)]
pub(crate) struct Profiles(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    directory: PathBuf,
    /// Held, not read: the lock is the sign of life.
    _lock: File,
    created: AtomicU64,
}

impl Drop for Inner {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.directory).ok();
    }
}

/// One process's profile directory; removed when dropped.
#[derive(Debug)]
pub(crate) struct Profile {
    directory: PathBuf,
    /// Keeps the run directory.
    _profiles: Profiles,
}

impl Profiles {
    /// Makes this server's run directory under `<data_dir>/browser`, and removes those of dead servers.
    pub(crate) fn open(data_dir: &Path) -> io::Result<Self> {
        let parent = data_dir.join("browser");
        fs::create_dir_all(&parent)?;
        remove_stale(&parent)?;
        loop {
            let directory = parent.join(format!("run-{}", uuid::Uuid::now_v7().simple()));
            fs::DirBuilder::new().mode(0o700).create(&directory)?;
            let path = directory.join(LOCK);
            let lock = File::create(&path)?;
            // Between the creation and the lock, another server may have taken the directory for a stale one.
            if lock.try_lock().is_ok() && is_same_file(&lock, &path) {
                return Ok(Self(Arc::new(Inner { directory, _lock: lock, created: AtomicU64::new(0) })));
            }
        }
    }

    /// A new, empty profile directory.
    pub(crate) fn create(&self) -> io::Result<Profile> {
        let number = self.0.created.fetch_add(1, Ordering::Relaxed) + 1;
        let directory = self.0.directory.join(number.to_string());
        fs::DirBuilder::new().mode(0o700).create(&directory)?;
        Ok(Profile { directory, _profiles: self.clone() })
    }
}

impl Profiles {
    /// The run directory.
    pub(crate) fn directory(&self) -> &Path {
        &self.0.directory
    }
}

impl Profile {
    pub(crate) fn path(&self) -> &Path {
        &self.directory
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.directory).ok();
    }
}

fn remove_stale(parent: &Path) -> io::Result<()> {
    for entry in fs::read_dir(parent)? {
        let path = entry?.path();
        let is_run = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("run-"));
        if is_run && is_stale(&path) {
            fs::remove_dir_all(&path).ok();
        }
    }
    Ok(())
}

fn is_stale(directory: &Path) -> bool {
    let Ok(lock) = File::open(directory.join(LOCK)) else {
        // Just being made, or what is left of one that was half removed.
        let age = fs::metadata(directory).and_then(|metadata| metadata.modified()).map(|at| at.elapsed());
        return matches!(age, Ok(Ok(age)) if age > UNLOCKED_MAX);
    };
    !matches!(lock.try_lock(), Err(TryLockError::WouldBlock | TryLockError::Error(_)))
}

fn is_same_file(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(ours), Ok(there)) => ours.ino() == there.ino() && ours.dev() == there.dev(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_go_with_their_owner() {
        let data = tempfile::tempdir().unwrap();
        let profiles = Profiles::open(data.path()).unwrap();
        let profile = profiles.create().unwrap();
        let path = profile.path().to_owned();
        drop(profiles);
        assert!(path.is_dir());
        drop(profile);
        assert_eq!(fs::read_dir(data.path().join("browser")).unwrap().count(), 0);
    }

    #[test]
    fn profiles_of_a_dead_server_are_removed_and_those_of_a_living_one_kept() {
        let data = tempfile::tempdir().unwrap();
        let living = Profiles::open(data.path()).unwrap();
        let kept = living.create().unwrap();
        let dead = data.path().join("browser/run-dead");
        fs::create_dir_all(dead.join("1")).unwrap();
        fs::write(dead.join(LOCK), "").unwrap();
        let _ours = Profiles::open(data.path()).unwrap();
        assert!(!dead.exists());
        assert!(kept.path().is_dir());
    }
}
