//! Saved states of browsers: `<data>/states/<tenant>/<name>.json`, or `.sealed` when a key is given.
//!
//! A sealed file is `PADDOCK1`, a salt of 16 bytes, a nonce of 12, and AES-256-GCM of the JSON under a key that PBKDF2
//! (HMAC-SHA-256, 600,000 rounds) makes of the secret and the salt. Tenant and name are authenticated with it, so that
//! one file cannot pass for another.

use std::{
    fs, io,
    num::NonZeroU32,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    pbkdf2, rand,
};
use http::StatusCode;
use jiff::Timestamp;
use paddock_platform::{
    identity::Tenant,
    problem::{CONFLICT, NOT_FOUND, Problem, ProblemKind},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::exports::{checked_name, directory_name};

/// A sealed state was asked for without its secret, or with another.
pub const STATE_SEALED: ProblemKind =
    ProblemKind::new("state-sealed", StatusCode::BAD_REQUEST, "State sealed");

const MAGIC: &[u8] = b"PADDOCK1";
const SALT_LEN: usize = 16;
const KEY_LEN: usize = 32;
const ROUNDS: NonZeroU32 = const { NonZeroU32::new(600_000).unwrap() };
/// Bytes of one state.
const SIZE_MAX: u64 = 32 << 20;
/// States of one tenant.
const STATES_MAX: usize = 500;
const PLAIN: &str = "json";
const SEALED: &str = "sealed";

/// The saved states of a server.
#[derive(Clone, Debug)]
pub(crate) struct States {
    directory: PathBuf,
}

/// A saved state in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StateFile {
    /// Its name.
    pub name: String,
    /// Bytes of its file.
    pub size: u64,
    /// Whether it is encrypted.
    pub encrypted: bool,
    /// When it was saved.
    #[schema(value_type = String)]
    pub saved_at: Timestamp,
}

impl States {
    pub(crate) fn new(data_dir: &Path) -> Self {
        Self { directory: data_dir.join("states") }
    }

    fn of(&self, tenant: &Tenant) -> PathBuf {
        self.directory.join(directory_name(tenant.as_str()))
    }

    /// The states of a tenant, newest first.
    pub(crate) fn list(&self, tenant: &Tenant) -> Result<Vec<StateFile>, Problem> {
        list(&self.of(tenant)).map_err(|error| Problem::internal("listing saved states", &error))
    }

    /// Saves a state under its name, in place of one that has it.
    pub(crate) fn save(
        &self,
        tenant: &Tenant,
        name: &str,
        json: Vec<u8>,
        secret: Option<&str>,
    ) -> Result<PathBuf, Problem> {
        let name = checked_name(name)?;
        let directory = self.of(tenant);
        let known = self.list(tenant)?;
        if known.len() >= STATES_MAX && known.iter().all(|state| state.name != name) {
            let detail = format!("{STATES_MAX} states are saved, which is the maximum; delete or clean some");
            return Err(Problem::new(CONFLICT, detail));
        }
        let (bytes, ending, other) = match secret {
            Some(secret) => (seal(json, secret, &label(tenant, &name))?, SEALED, PLAIN),
            None => (json, PLAIN, SEALED),
        };
        let path = directory.join(format!("{name}.{ending}"));
        let write = || -> io::Result<()> {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
            let partial = directory.join(format!(".{}", uuid::Uuid::now_v7().simple()));
            let mut file = fs::File::options().write(true).create_new(true).mode(0o600).open(&partial)?;
            io::Write::write_all(&mut file, &bytes)?;
            file.sync_all()?;
            fs::rename(&partial, &path)?;
            fs::remove_file(directory.join(format!("{name}.{other}"))).or_else(absent)
        };
        write().map_err(|error| Problem::internal("saving a state", &error))?;
        Ok(path)
    }

    /// The state of a name, or the newest whose name begins with it.
    pub(crate) fn find(&self, tenant: &Tenant, name: &str) -> Result<StateFile, Problem> {
        let name = checked_name(name)?;
        let known = self.list(tenant)?;
        let exact = known.iter().find(|state| state.name == name);
        let found = exact.or_else(|| known.iter().find(|state| state.name.starts_with(&name)));
        found.cloned().ok_or_else(|| Problem::not_found("saved state", name))
    }

    /// The JSON of a state.
    pub(crate) fn read(
        &self,
        tenant: &Tenant,
        state: &StateFile,
        secret: Option<&str>,
    ) -> Result<Vec<u8>, Problem> {
        let ending = if state.encrypted { SEALED } else { PLAIN };
        let path = self.of(tenant).join(format!("{}.{ending}", state.name));
        let read = || -> io::Result<Vec<u8>> {
            if fs::metadata(&path)?.len() > SIZE_MAX {
                return Err(io::Error::other("the file is larger than a state can be"));
            }
            fs::read(&path)
        };
        let bytes = read().map_err(|error| Problem::internal("reading a saved state", &error))?;
        if !state.encrypted {
            return Ok(bytes);
        }
        let Some(secret) = secret else {
            let detail = "the state is encrypted; give its `passphrase`, or configure `[browser] state_key`";
            return Err(Problem::new(STATE_SEALED, detail));
        };
        open(&bytes, secret, &label(tenant, &state.name)).ok_or_else(|| {
            Problem::new(STATE_SEALED, "the state does not open: the key is another, or the file was changed")
        })
    }

    /// Removes the state of a name.
    pub(crate) fn delete(&self, tenant: &Tenant, name: &str) -> Result<(), Problem> {
        let name = checked_name(name)?;
        let mut found = false;
        for ending in [PLAIN, SEALED] {
            match fs::remove_file(self.of(tenant).join(format!("{name}.{ending}"))) {
                Ok(()) => found = true,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(Problem::internal("deleting a saved state", &error)),
            }
        }
        if found { Ok(()) } else { Err(Problem::new(NOT_FOUND, format!("no saved state `{name}`"))) }
    }

    /// Removes the states that are older. How many there were.
    pub(crate) fn clean(&self, tenant: &Tenant, age: Duration) -> Result<usize, Problem> {
        let now = Timestamp::now();
        let mut removed = 0;
        for state in self.list(tenant)? {
            if now.duration_since(state.saved_at).unsigned_abs() > age && state.saved_at < now {
                self.delete(tenant, &state.name)?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

fn absent(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

fn list(directory: &Path) -> io::Result<Vec<StateFile>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut states = Vec::new();
    for entry in entries {
        let (path, metadata) = match entry.and_then(|entry| Ok((entry.path(), entry.metadata()?))) {
            Ok(entry) => entry,
            // Removed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let (Some(name), Some(ending)) = (path.file_stem(), path.extension()) else { continue };
        if ending != PLAIN && ending != SEALED {
            continue;
        }
        let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        states.push(StateFile {
            name: name.to_string_lossy().into_owned(),
            size: metadata.len(),
            encrypted: ending == SEALED,
            saved_at: Timestamp::try_from(modified).unwrap_or_default(),
        });
    }
    states.sort_by(|a, b| b.saved_at.cmp(&a.saved_at).then_with(|| a.name.cmp(&b.name)));
    Ok(states)
}

fn label(tenant: &Tenant, name: &str) -> String {
    format!("{}\n{name}", tenant.as_str())
}

fn key(secret: &str, salt: &[u8]) -> Option<LessSafeKey> {
    let mut key = [0; KEY_LEN];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ROUNDS, salt, secret.as_bytes(), &mut key);
    UnboundKey::new(&AES_256_GCM, &key).ok().map(LessSafeKey::new)
}

fn seal(mut json: Vec<u8>, secret: &str, label: &str) -> Result<Vec<u8>, Problem> {
    let failed = |error: aws_lc_rs::error::Unspecified| Problem::internal("encrypting a state", &error);
    let (mut salt, mut nonce_bytes) = ([0; SALT_LEN], [0; NONCE_LEN]);
    rand::fill(&mut salt).and_then(|()| rand::fill(&mut nonce_bytes)).map_err(failed)?;
    let key = key(secret, &salt).ok_or(aws_lc_rs::error::Unspecified).map_err(failed)?;
    let unique = Nonce::assume_unique_for_key(nonce_bytes);
    key.seal_in_place_append_tag(unique, Aad::from(label.as_bytes()), &mut json).map_err(failed)?;
    Ok([MAGIC, salt.as_slice(), nonce_bytes.as_slice(), json.as_slice()].concat())
}

fn open(bytes: &[u8], secret: &str, label: &str) -> Option<Vec<u8>> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (salt, rest) = rest.split_at_checked(SALT_LEN)?;
    let (nonce, sealed) = rest.split_at_checked(NONCE_LEN)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut sealed = sealed.to_vec();
    let opened = key(secret, salt)?.open_in_place(nonce, Aad::from(label.as_bytes()), &mut sealed).ok()?;
    Some(opened.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn states() -> (tempfile::TempDir, States, Tenant) {
        let data = tempfile::tempdir().unwrap();
        let states = States::new(data.path());
        (data, states, Tenant::local())
    }

    #[test]
    fn a_state_is_found_by_its_name_or_the_beginning_of_it() {
        let (_data, states, tenant) = states();
        states.save(&tenant, "work-login", b"{}".to_vec(), None).unwrap();
        assert_eq!(states.find(&tenant, "work").unwrap().name, "work-login");
        assert!(states.find(&tenant, "play").is_err());
        states.delete(&tenant, "work-login").unwrap();
        assert!(states.delete(&tenant, "work-login").is_err());
        assert!(states.list(&tenant).unwrap().is_empty());
    }

    #[test]
    fn a_sealed_state_opens_with_its_secret_alone_and_only_under_its_name() {
        let (_data, states, tenant) = states();
        let json = br#"{"cookies":["secret value"]}"#.to_vec();
        let path = states.save(&tenant, "a", json.clone(), Some("pass")).unwrap();
        let state = states.find(&tenant, "a").unwrap();
        assert!(state.encrypted);
        let stored = fs::read(&path).unwrap();
        assert!(!stored.windows(6).any(|window| window == b"secret"));
        assert_eq!(states.read(&tenant, &state, Some("pass")).unwrap(), json);
        for secret in [None, Some("other")] {
            assert_eq!(states.read(&tenant, &state, secret).unwrap_err().kind, STATE_SEALED);
        }
        let renamed = path.with_file_name("b.sealed");
        fs::copy(&path, &renamed).unwrap();
        let renamed = states.find(&tenant, "b").unwrap();
        assert_eq!(states.read(&tenant, &renamed, Some("pass")).unwrap_err().kind, STATE_SEALED);
    }

    #[test]
    fn names_stay_in_their_directory() {
        let (_data, states, tenant) = states();
        for name in ["../a", "/a", "a/b", "", "."] {
            assert!(states.save(&tenant, name, Vec::new(), None).is_err(), "{name}");
            assert!(states.delete(&tenant, name).is_err(), "{name}");
        }
    }

    #[test]
    fn cleaning_keeps_what_is_young() {
        let (_data, states, tenant) = states();
        states.save(&tenant, "a", Vec::new(), None).unwrap();
        assert_eq!(states.clean(&tenant, Duration::from_hours(1)).unwrap(), 0);
        assert_eq!(states.clean(&tenant, Duration::ZERO).unwrap(), 1);
    }
}
