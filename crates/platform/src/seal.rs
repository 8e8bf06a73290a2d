//! Secrets at rest: what an area has to keep and to use in the clear, such as the secrets that webhooks are signed with.
//!
//! [`Seal`] encrypts them with AES-256-GCM before they go into the store. Its key comes from `[store] seal_key`, or else
//! from `seal.key` in the data directory, which is made at first use and which only the server's user may read. So a copy
//! of the database alone gives nothing away; a copy of the whole data directory does. Servers that share a PostgreSQL
//! store need one key: each sealed text names the key that it needs, and says so when it is another.

use std::{
    fs, io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand,
};

use crate::config::{SecretError, SecretRef};

const KEY_FILE: &str = "seal.key";
const KEY_CONTEXT: &str = "paddock 2026-11 secrets at rest";
const ID_CONTEXT: &str = "paddock 2026-11 id of the key for secrets at rest";
/// The first byte of what is sealed: how it is to be read.
const VERSION: u8 = 1;
const ID_LEN: usize = 8;
const FILE_SECRET_LEN: usize = 32;

/// Seals and opens secrets. Cheap to clone.
#[derive(Clone)]
pub struct Seal(Arc<Inner>);

struct Inner {
    key: LessSafeKey,
    id: [u8; ID_LEN],
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seal(…)")
    }
}

/// The key is not there, or what was sealed cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// `[store] seal_key` names a secret that cannot be read.
    #[error("`store.seal_key`")]
    Secret(#[from] SecretError),
    /// The file with the key cannot be read or made.
    #[error("the key for secrets at rest, `{}`, cannot be used", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// It was sealed under another key.
    #[error(
        "a secret in the store was sealed under another key; give all servers of a store the same `store.seal_key`"
    )]
    AnotherKey,
    /// It is damaged, or belongs to something else.
    #[error("a secret in the store is damaged")]
    Damaged,
    /// The system gave no random numbers, or the cipher refused its key.
    #[error("the system gives no random numbers")]
    Random,
}

impl Seal {
    /// The seal of a server: under the configured secret, or under the data directory's own.
    pub fn open(secret: Option<&SecretRef>, data_dir: &Path) -> Result<Self, SealError> {
        match secret {
            Some(secret) => Self::of(secret.resolve()?.expose().as_bytes()),
            None => Self::of(&file_secret(&data_dir.join(KEY_FILE))?),
        }
    }

    /// The seal under a secret.
    pub fn of(secret: &[u8]) -> Result<Self, SealError> {
        let key = blake3::derive_key(KEY_CONTEXT, secret);
        let key = UnboundKey::new(&AES_256_GCM, &key).map_err(|_| SealError::Random)?;
        let mut id = [0; ID_LEN];
        id.copy_from_slice(&blake3::derive_key(ID_CONTEXT, secret)[..ID_LEN]);
        Ok(Self(Arc::new(Inner { key: LessSafeKey::new(key), id })))
    }

    /// Seals a secret for a purpose: it opens for that one alone, so that one row's secret cannot pass for another's.
    pub fn seal(&self, purpose: &str, secret: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).map_err(|_| SealError::Random)?;
        let mut text = secret.to_vec();
        let unique = Nonce::assume_unique_for_key(nonce);
        let sealed = self.0.key.seal_in_place_append_tag(unique, Aad::from(purpose.as_bytes()), &mut text);
        sealed.map_err(|_| SealError::Random)?;
        Ok([[VERSION].as_slice(), self.0.id.as_slice(), nonce.as_slice(), text.as_slice()].concat())
    }

    /// Opens what was sealed for this purpose.
    pub fn open_sealed(&self, purpose: &str, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let rest = sealed.strip_prefix(&[VERSION]).ok_or(SealError::Damaged)?;
        let (id, rest) = rest.split_at_checked(ID_LEN).ok_or(SealError::Damaged)?;
        if id != self.0.id {
            return Err(SealError::AnotherKey);
        }
        let (nonce, text) = rest.split_at_checked(NONCE_LEN).ok_or(SealError::Damaged)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Damaged)?;
        let mut text = text.to_vec();
        let opened = self.0.key.open_in_place(nonce, Aad::from(purpose.as_bytes()), &mut text);
        Ok(opened.map_err(|_| SealError::Damaged)?.to_vec())
    }
}

/// Reads the file's secret, or makes one: whoever comes first decides, also between processes.
fn file_secret(path: &Path) -> Result<Vec<u8>, SealError> {
    let failed = |source| SealError::File { path: path.to_owned(), source };
    match fs::read(path) {
        Ok(secret) if secret.len() >= FILE_SECRET_LEN => return Ok(secret),
        Ok(_) => return Err(failed(io::Error::new(io::ErrorKind::InvalidData, "it is too short"))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let mut secret = [0; FILE_SECRET_LEN];
    rand::fill(&mut secret).map_err(|_| SealError::Random)?;
    // Written whole beside its place first: a server that dies in between leaves no half of a key.
    let draft = path.with_extension(format!("{}.new", std::process::id()));
    write_private(&draft, &secret).map_err(failed)?;
    let linked = fs::hard_link(&draft, path);
    let _ = fs::remove_file(&draft);
    match linked {
        Ok(()) => Ok(secret.to_vec()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => fs::read(path).map_err(failed),
        Err(error) => Err(failed(error)),
    }
}

fn write_private(path: &Path, secret: &[u8]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    io::Write::write_all(&mut file, secret)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_opens_for_its_purpose_and_under_its_key_alone() {
        let (ours, theirs) = (Seal::of(b"one").unwrap(), Seal::of(b"two").unwrap());
        let sealed = ours.seal("webhook wh_1", b"whsec").unwrap();
        assert!(!sealed.windows(5).any(|window| window == b"whsec"));
        assert_eq!(ours.open_sealed("webhook wh_1", &sealed).unwrap(), b"whsec");
        assert!(matches!(ours.open_sealed("webhook wh_2", &sealed), Err(SealError::Damaged)));
        assert!(matches!(theirs.open_sealed("webhook wh_1", &sealed), Err(SealError::AnotherKey)));
        assert_ne!(ours.seal("webhook wh_1", b"whsec").unwrap(), sealed, "sealing twice shows nothing");
    }

    #[test]
    fn what_was_cut_or_changed_does_not_open() {
        let seal = Seal::of(b"one").unwrap();
        let sealed = seal.seal("p", b"secret").unwrap();
        for end in 0..sealed.len() {
            assert!(seal.open_sealed("p", &sealed[..end]).is_err(), "{end}");
        }
        let mut changed = sealed;
        *changed.last_mut().unwrap() ^= 1;
        assert!(matches!(seal.open_sealed("p", &changed), Err(SealError::Damaged)));
    }

    #[test]
    fn the_data_directorys_key_is_made_once_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let sealed = Seal::open(None, dir.path()).unwrap().seal("p", b"secret").unwrap();
        let again = Seal::open(None, dir.path()).unwrap();
        assert_eq!(again.open_sealed("p", &sealed).unwrap(), b"secret");
        let mode = fs::metadata(dir.path().join(KEY_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(dir.path().join(KEY_FILE), b"short").unwrap();
        assert!(matches!(Seal::open(None, dir.path()), Err(SealError::File { .. })));
    }

    #[test]
    fn a_configured_key_comes_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("given");
        fs::write(&path, "a secret of the operator\n").unwrap();
        let given = Seal::open(Some(&SecretRef::File(path)), dir.path()).unwrap();
        let sealed = given.seal("p", b"secret").unwrap();
        assert_eq!(
            Seal::of(b"a secret of the operator").unwrap().open_sealed("p", &sealed).unwrap(),
            b"secret"
        );
        assert!(!dir.path().join(KEY_FILE).exists());
    }
}
