//! API keys: who may use the server, as which tenant, how far and how fast.
//!
//! A token is `pdk_<key id>_<secret>`: the id finds the key, the secret of 256 random bits proves it. Only a keyed
//! BLAKE3 hash of the secret is stored, with a salt per key. (A slow hash is for passwords: nobody guesses 256 random
//! bits, and this one is paid on every request.) The token is shown once, when the key is created.
//!
//! [`Keys::authenticate`] answers from memory for [`CACHE_TTL`], so a request costs no round trip to the store. A
//! revocation takes effect within that time: it is made by a command, apart from the servers. What is wrong with a token
//! is never told: unknown, malformed, expired and revoked are one answer.

mod authenticate;
mod model;
mod sql;
mod token;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use metrics::{Unit, counter, describe_counter};
use moka::future::Cache;
use tokio::sync::mpsc;

pub use model::{Key, KeyState, NewKey};
pub use sql::MIGRATIONS;
pub use token::{TOKEN_PREFIX, fingerprint, random_bytes};

use crate::{
    config::Secret,
    http::{AuthenticateError, Authenticated},
    identity::Caller,
    params,
    problem::{CONFLICT, Problem},
    store::{Store, StoreError},
    task::Tasks,
};
use sql::Record;
use token::{Hasher, Token};

/// Authentications by outcome: `ok`, `refused`, `unavailable`.
pub const KEY_AUTHENTICATIONS_TOTAL: &str = "key_authentications_total";

/// How long a key is known without asking the store again.
pub const CACHE_TTL: Duration = Duration::from_secs(3);
/// How many keys are known at a time, unknown ids included.
const CACHED_MAX: u64 = 10_000;
/// How many keys a server has at most.
pub const KEYS_MAX: usize = 10_000;
/// How long a revoked or expired key is still listed.
pub const FORGOTTEN_AFTER: Duration = Duration::from_hours(90 * 24);
/// The longest name.
pub const NAME_LEN_MAX: usize = 100;
/// How exact "last used" is: writing it on every use would cost a transaction each.
const LAST_USED_RESOLUTION: Duration = Duration::from_mins(1);
/// Uses that wait to be written; more are not recorded.
const USES_QUEUED_MAX: usize = 256;

/// Registers unit and help of this module's metrics.
pub fn describe() {
    describe_counter!(KEY_AUTHENTICATIONS_TOTAL, Unit::Count, "Presented API keys, by outcome");
}

/// A key could not be created or revoked.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The name is empty or too long.
    #[error("a key's name has 1 to {NAME_LEN_MAX} characters, none of them control characters")]
    Name,
    /// A key that may do nothing.
    #[error("a key needs at least one scope, for example `analysis:write`")]
    NoScope,
    /// It would be expired from the start.
    #[error("the expiry lies in the past")]
    Expiry,
    /// There are too many.
    #[error("there are {KEYS_MAX} keys already; revoked and expired ones are forgotten after {} days", FORGOTTEN_AFTER.as_secs() / 86_400)]
    TooMany,
    /// No key has that id.
    #[error("no key `{0}`")]
    Unknown(String),
    /// The system has no randomness.
    #[error("the system gave no random bytes")]
    Random,
    /// The store failed.
    #[error("the key was not saved")]
    Store(#[from] StoreError),
}

impl From<KeysError> for Problem {
    fn from(error: KeysError) -> Self {
        match error {
            KeysError::Name => Self::invalid_field("name", error),
            KeysError::NoScope => Self::invalid_field("scopes", error),
            KeysError::Expiry => Self::invalid_field("expires_at", error),
            KeysError::TooMany => Self::new(CONFLICT, error.to_string()),
            KeysError::Unknown(id) => Self::not_found("key", id),
            KeysError::Random => Self::internal("creating a key", &error),
            KeysError::Store(source) => source.into(),
        }
    }
}

/// A key that was just created, with its token.
#[derive(Debug)]
pub struct CreatedKey {
    /// What is stored of it.
    pub key: Key,
    /// What its bearer presents. It cannot be shown again.
    pub token: Secret,
}

/// A key with the identity that it stands for, made once and not for each request.
struct Found {
    record: Record,
    caller: Caller,
    /// Whether its next use is worth recording.
    use_due: AtomicBool,
}

struct Inner {
    store: Store,
    known: Cache<String, Option<Arc<Found>>>,
    uses: mpsc::Sender<String>,
}

/// Creates, lists, revokes and checks keys. Cheap to clone.
#[derive(Clone)]
pub struct Keys(Arc<Inner>);

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys")
    }
}

impl Keys {
    /// The keys in a store; migrates their schema.
    pub async fn open(store: Store, tasks: &Tasks) -> Result<Self, StoreError> {
        Self::open_with_ttl(store, tasks, CACHE_TTL).await
    }

    async fn open_with_ttl(store: Store, tasks: &Tasks, ttl: Duration) -> Result<Self, StoreError> {
        store.migrate(&MIGRATIONS).await?;
        let known = Cache::builder().max_capacity(CACHED_MAX).time_to_live(ttl).build();
        let (uses, used) = mpsc::channel(USES_QUEUED_MAX);
        spawn_use_recorder(store.clone(), used, tasks);
        Ok(Self(Arc::new(Inner { store, known, uses })))
    }

    /// Creates a key. The token in the answer exists nowhere else.
    pub async fn create(&self, new: NewKey) -> Result<CreatedKey, KeysError> {
        let now = Timestamp::now();
        let name = new.name.trim().to_owned();
        if name.is_empty() || name.chars().count() > NAME_LEN_MAX || name.chars().any(char::is_control) {
            return Err(KeysError::Name);
        }
        if new.scopes.is_empty() {
            return Err(KeysError::NoScope);
        }
        if new.expires_at.is_some_and(|expiry| expiry <= now) {
            return Err(KeysError::Expiry);
        }
        let token = Token::random().ok_or(KeysError::Random)?;
        let hasher = Hasher::random().ok_or(KeysError::Random)?;
        let key = Key {
            id: token.id.clone(),
            name,
            tenant: new.tenant,
            scopes: new.scopes,
            limits: new.limits,
            created_at: now,
            expires_at: new.expires_at,
            revoked_at: None,
            last_used_at: None,
        };
        let record = Record { hash: hasher.hash(&token.secret), salt: hasher, key: key.clone() };
        let saved = self
            .0
            .store
            .write(move |tx| {
                Box::pin(async move {
                    tx.execute(&sql::FORGET, params![now - FORGOTTEN_AFTER]).await?;
                    let count: usize = match tx.query_first(&sql::COUNT, params![]).await? {
                        Some(row) => row.get(0)?,
                        None => 0,
                    };
                    if count >= KEYS_MAX {
                        return Ok(false);
                    }
                    tx.execute(&sql::INSERT, record.to_params()).await.map(|_| true)
                })
            })
            .await?;
        if !saved {
            return Err(KeysError::TooMany);
        }
        tracing::info!(key.id = key.id, key.tenant = key.tenant.as_str(), "key created");
        Ok(CreatedKey { key, token: Secret::new(token.to_string()) })
    }

    /// All keys, the oldest first, also those that are expired or revoked.
    pub async fn list(&self) -> Result<Vec<Key>, StoreError> {
        let rows = self.0.store.query(&sql::LIST, params![]).await?;
        rows.iter().map(|row| Record::from_row(row).map(|record| record.key)).collect()
    }

    /// Whether any key is accepted now: without one a server stays on loopback.
    pub async fn any_active(&self) -> Result<bool, StoreError> {
        Ok(self.0.store.query_first(&sql::ANY_ACTIVE, params![Timestamp::now()]).await?.is_some())
    }

    /// Ends a key for good. Revoking it again changes nothing.
    pub async fn revoke(&self, id: &str) -> Result<Key, KeysError> {
        let (owned, now) = (id.to_owned(), Timestamp::now());
        let revoked = self.0.store.write(move |tx| {
            Box::pin(async move {
                tx.execute(&sql::REVOKE, params![&owned, now]).await?;
                tx.query_first(&sql::FIND, params![owned]).await
            })
        });
        let row = revoked.await?.ok_or_else(|| KeysError::Unknown(id.to_owned()))?;
        self.0.known.invalidate(id).await;
        let key = Record::from_row(&row)?.key;
        tracing::info!(key.id = key.id, "key revoked");
        Ok(key)
    }

    /// Who presents this token.
    pub async fn authenticate(&self, token: &str) -> Result<Authenticated, AuthenticateError> {
        let result = self.check(token).await;
        let outcome = match &result {
            Ok(_) => "ok",
            Err(AuthenticateError::Refused) => "refused",
            Err(AuthenticateError::Unavailable(_)) => "unavailable",
        };
        counter!(KEY_AUTHENTICATIONS_TOTAL, "outcome" => outcome).increment(1);
        result
    }

    async fn check(&self, token: &str) -> Result<Authenticated, AuthenticateError> {
        let token = Token::parse(token).ok_or(AuthenticateError::Refused)?;
        let found =
            self.find(&token.id).await.map_err(|error| AuthenticateError::Unavailable(Box::new(error)))?;
        let Some(found) = found else {
            // Takes as long as a wrong secret does.
            Hasher::nobody().matches(&token.secret, &[0; blake3::OUT_LEN]);
            return Err(AuthenticateError::Refused);
        };
        let Record { key, hash, salt } = &found.record;
        if !salt.matches(&token.secret, hash) || key.state(Timestamp::now()) != KeyState::Active {
            return Err(AuthenticateError::Refused);
        }
        if found.use_due.load(Ordering::Relaxed) && found.use_due.swap(false, Ordering::Relaxed) {
            // Full means that many uses are being written: this one is not worth waiting for.
            let _ = self.0.uses.try_send(token.id);
        }
        Ok(Authenticated { caller: found.caller.clone(), limits: key.limits })
    }

    /// Who bears the key of an id, as long as it holds: for credentials that stand for a key.
    pub async fn bearer(&self, id: &str) -> Result<Option<Authenticated>, StoreError> {
        let found = self.find(id).await?;
        let found = found.filter(|found| found.record.key.state(Timestamp::now()) == KeyState::Active);
        Ok(found.map(|found| Authenticated { caller: found.caller.clone(), limits: found.record.key.limits }))
    }

    async fn find(&self, id: &str) -> Result<Option<Arc<Found>>, StoreError> {
        let found = self.0.known.try_get_with_by_ref(id, self.load(id)).await;
        found.map_err(|error| StoreError::clone(&error))
    }

    async fn load(&self, id: &str) -> Result<Option<Arc<Found>>, StoreError> {
        let row = self.0.store.query_first(&sql::FIND, params![id]).await?;
        let Some(record) = row.as_ref().map(Record::from_row).transpose()? else { return Ok(None) };
        let Key { id, tenant, scopes, last_used_at, .. } = &record.key;
        let caller = Caller::with_key(id.clone(), tenant.clone(), scopes.clone());
        let use_due = AtomicBool::new(last_used_at.is_none_or(is_long_ago));
        Ok(Some(Arc::new(Found { record, caller, use_due })))
    }
}

fn is_long_ago(moment: Timestamp) -> bool {
    Timestamp::now().duration_since(moment).unsigned_abs() >= LAST_USED_RESOLUTION
}

/// Writes when keys were last used, apart from the requests that use them.
fn spawn_use_recorder(store: Store, mut used: mpsc::Receiver<String>, tasks: &Tasks) {
    let stopping = tasks.stop_token();
    tasks.spawn("key-use-recorder", async move {
        loop {
            let id = tokio::select! {
                id = used.recv() => id,
                () = stopping.cancelled() => return,
            };
            let Some(id) = id else { return };
            if let Err(error) = store.execute(&sql::RECORD_USE, params![id, Timestamp::now()]).await {
                tracing::warn!(%error, "the use of a key was not recorded");
            }
        }
    });
}

#[cfg(test)]
mod tests;
