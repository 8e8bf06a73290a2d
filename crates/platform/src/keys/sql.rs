//! How keys are stored.

use bytes::Bytes;
use jiff::Timestamp;

use super::{model::Key, token::Hasher};
use crate::{
    http::KeyLimits,
    identity::{Scope, Tenant},
    params,
    store::{Migration, Migrations, Params, Row, Statement, StoreError},
};

/// The schema of keys.
pub const MIGRATIONS: Migrations = Migrations::new("keys", &[CREATE]);

const CREATE: Migration = Migration::new(
    1,
    "create keys",
    "CREATE TABLE keys (
        id TEXT PRIMARY KEY,
        hash BLOB NOT NULL,
        salt BLOB NOT NULL,
        name TEXT NOT NULL,
        tenant TEXT NOT NULL,
        scopes TEXT NOT NULL,
        limits TEXT NOT NULL,
        created_at BIGINT NOT NULL,
        expires_at BIGINT,
        revoked_at BIGINT,
        last_used_at BIGINT
    )",
)
.with_postgres(
    "CREATE TABLE keys (
        id TEXT PRIMARY KEY,
        hash BYTEA NOT NULL,
        salt BYTEA NOT NULL,
        name TEXT NOT NULL,
        tenant TEXT NOT NULL,
        scopes TEXT NOT NULL,
        limits TEXT NOT NULL,
        created_at BIGINT NOT NULL,
        expires_at BIGINT,
        revoked_at BIGINT,
        last_used_at BIGINT
    )",
);

pub(super) static COUNT: Statement = Statement::new("keys", "count", "SELECT count(*) FROM keys");
pub(super) static FORGET: Statement =
    Statement::new("keys", "forget", "DELETE FROM keys WHERE revoked_at < ?1 OR expires_at < ?1");
pub(super) static INSERT: Statement = Statement::new(
    "keys",
    "insert",
    "INSERT INTO keys (id, hash, salt, name, tenant, scopes, limits, created_at, expires_at) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
);
pub(super) static FIND: Statement = Statement::new(
    "keys",
    "find",
    "SELECT id, hash, salt, name, tenant, scopes, limits, created_at, expires_at, revoked_at, last_used_at \
     FROM keys WHERE id = ?1",
);
pub(super) static LIST: Statement = Statement::new(
    "keys",
    "list",
    "SELECT id, hash, salt, name, tenant, scopes, limits, created_at, expires_at, revoked_at, last_used_at \
     FROM keys ORDER BY created_at, id",
);
pub(super) static ANY_ACTIVE: Statement = Statement::new(
    "keys",
    "any_active",
    "SELECT id FROM keys WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?1) LIMIT 1",
);
pub(super) static REVOKE: Statement =
    Statement::new("keys", "revoke", "UPDATE keys SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL");
pub(super) static RECORD_USE: Statement =
    Statement::new("keys", "record_use", "UPDATE keys SET last_used_at = ?2 WHERE id = ?1");

/// A key as it is stored.
pub(super) struct Record {
    pub(super) key: Key,
    pub(super) hash: [u8; blake3::OUT_LEN],
    pub(super) salt: Hasher,
}

impl Record {
    pub(super) fn to_params(&self) -> Params {
        let Key { id, name, tenant, scopes, limits, created_at, expires_at, .. } = &self.key;
        let scopes: Vec<String> = scopes.iter().map(ToString::to_string).collect();
        let limits = serde_json::to_string(limits).unwrap_or_default();
        params![
            id,
            self.hash.as_slice(),
            self.salt.salt(),
            name,
            tenant,
            scopes.join(" "),
            limits,
            *created_at,
            *expires_at,
        ]
    }

    /// A row of [`FIND`] or [`LIST`].
    pub(super) fn from_row(row: &Row) -> Result<Self, StoreError> {
        let damaged = |column: &str, expected| StoreError::Column {
            column: column.to_owned(),
            expected,
            found: "something else",
        };
        let hash = row.get::<Bytes>("hash")?.as_ref().try_into().map_err(|_| damaged("hash", "32 bytes"))?;
        let salt =
            Hasher::from_salt(&row.get::<Bytes>("salt")?).ok_or_else(|| damaged("salt", "32 bytes"))?;
        let tenant: Tenant =
            row.get::<String>("tenant")?.parse().map_err(|_| damaged("tenant", "a tenant's name"))?;
        // A scope of a newer version is one that this version has no use for.
        let scopes =
            row.get::<String>("scopes")?.split(' ').filter_map(|text| text.parse::<Scope>().ok()).collect();
        let limits: KeyLimits = serde_json::from_str(&row.get::<String>("limits")?)
            .map_err(|_| damaged("limits", "limits as JSON"))?;
        let key = Key {
            id: row.get("id")?,
            name: row.get("name")?,
            tenant,
            scopes,
            limits,
            created_at: row.get("created_at")?,
            expires_at: row.get::<Option<Timestamp>>("expires_at")?,
            revoked_at: row.get::<Option<Timestamp>>("revoked_at")?,
            last_used_at: row.get::<Option<Timestamp>>("last_used_at")?,
        };
        Ok(Self { key, hash, salt })
    }
}
