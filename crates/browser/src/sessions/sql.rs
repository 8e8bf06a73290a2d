//! How sessions are stored.

use std::time::Duration;

use jiff::Timestamp;
use paddock_platform::{
    identity::Tenant,
    params,
    store::{Migration, Migrations, Params, Row, Statement, StoreError},
};

/// The schema of sessions.
pub const MIGRATIONS: Migrations = Migrations::new("browser_sessions", &[CREATE]);

const CREATE: Migration = Migration::new(
    1,
    "create browser sessions",
    "CREATE TABLE browser_sessions (
        id TEXT PRIMARY KEY,
        hash BLOB NOT NULL UNIQUE,
        agent TEXT NOT NULL,
        label TEXT NOT NULL,
        tenant TEXT NOT NULL,
        key_id TEXT,
        created_at BIGINT NOT NULL,
        last_seen_at BIGINT NOT NULL,
        expires_at BIGINT NOT NULL,
        revoked_at BIGINT
    )",
)
.with_postgres(
    "CREATE TABLE browser_sessions (
        id TEXT PRIMARY KEY,
        hash BYTEA NOT NULL UNIQUE,
        agent TEXT NOT NULL,
        label TEXT NOT NULL,
        tenant TEXT NOT NULL,
        key_id TEXT,
        created_at BIGINT NOT NULL,
        last_seen_at BIGINT NOT NULL,
        expires_at BIGINT NOT NULL,
        revoked_at BIGINT
    )",
);

pub(super) static FORGET: Statement = Statement::new(
    "browser",
    "forget_sessions",
    "DELETE FROM browser_sessions WHERE revoked_at < ?1 OR expires_at < ?1",
);
pub(super) static COUNT_ACTIVE: Statement = Statement::new(
    "browser",
    "count_sessions",
    "SELECT count(*) FROM browser_sessions WHERE tenant = ?1 AND revoked_at IS NULL AND expires_at > ?2",
);
pub(super) static INSERT: Statement = Statement::new(
    "browser",
    "insert_session",
    "INSERT INTO browser_sessions (id, hash, agent, label, tenant, key_id, created_at, last_seen_at, expires_at) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
);
pub(super) static LIST: Statement = Statement::new(
    "browser",
    "list_sessions",
    "SELECT id, agent, label, tenant, key_id, created_at, last_seen_at, expires_at, revoked_at \
     FROM browser_sessions WHERE tenant = ?1 ORDER BY created_at DESC, id LIMIT ?2",
);
pub(super) static FIND: Statement = Statement::new(
    "browser",
    "find_session",
    "SELECT id, agent, label, tenant, key_id, created_at, last_seen_at, expires_at, revoked_at \
     FROM browser_sessions WHERE id = ?1 AND tenant = ?2",
);
pub(super) static FIND_BY_HASH: Statement = Statement::new(
    "browser",
    "find_session_by_hash",
    "SELECT id, agent, label, tenant, key_id, created_at, last_seen_at, expires_at, revoked_at \
     FROM browser_sessions WHERE hash = ?1",
);
pub(super) static REVOKE: Statement = Statement::new(
    "browser",
    "revoke_session",
    "UPDATE browser_sessions SET revoked_at = ?3 WHERE id = ?1 AND tenant = ?2 AND revoked_at IS NULL",
);
pub(super) static SEE: Statement =
    Statement::new("browser", "see_session", "UPDATE browser_sessions SET last_seen_at = ?2 WHERE id = ?1");

/// A session as it is stored.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) id: String,
    pub(super) agent: String,
    pub(super) label: String,
    pub(super) tenant: Tenant,
    /// The key that it was opened with; none on a server that needs no key.
    pub(super) key: Option<String>,
    pub(super) created_at: Timestamp,
    pub(super) last_seen_at: Timestamp,
    pub(super) expires_at: Timestamp,
    pub(super) revoked_at: Option<Timestamp>,
}

impl Record {
    pub(super) fn status(&self, now: Timestamp, idle_after: Duration) -> &'static str {
        let idle = now.duration_since(self.last_seen_at);
        if self.revoked_at.is_some() {
            "revoked"
        } else if self.expires_at <= now || idle.is_positive() && idle.unsigned_abs() > idle_after {
            "expired"
        } else {
            "active"
        }
    }

    pub(super) fn to_params(&self, hash: &[u8; 32]) -> Params {
        params![
            &self.id,
            hash.as_slice(),
            &self.agent,
            &self.label,
            self.tenant.as_str(),
            self.key.clone(),
            self.created_at,
            self.last_seen_at,
            self.expires_at,
        ]
    }

    pub(super) fn from_row(row: &Row) -> Result<Self, StoreError> {
        let tenant: String = row.get("tenant")?;
        let tenant = tenant.parse().map_err(|_| StoreError::Column {
            column: "tenant".to_owned(),
            expected: "a tenant's name",
            found: "something else",
        })?;
        Ok(Self {
            id: row.get("id")?,
            agent: row.get("agent")?,
            label: row.get("label")?,
            tenant,
            key: row.get("key_id")?,
            created_at: row.get("created_at")?,
            last_seen_at: row.get("last_seen_at")?,
            expires_at: row.get("expires_at")?,
            revoked_at: row.get("revoked_at")?,
        })
    }
}
