//! Sessions: credentials of agents, each good for the browsers of one tenant and no more.
//!
//! Whoever may use the browsers opens a session for an agent and passes the token on; the agent presents it as
//! `Authorization: Session ses_…`. A session has a current tab of its own, can be revoked at once, and ends by itself
//! when it was not used for a while or has become old. It may do no more than the key that it was opened with, and ends
//! with that key. Only a fingerprint of its token is stored; sessions survive a restart.

mod sql;

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use http::StatusCode;
use jiff::Timestamp;
use paddock_platform::{
    config::Section,
    http::{Authenticate, AuthenticateError, Authenticated, KeyLimits},
    identity::{Caller, CallerSession, Scope, Tenant},
    keys::{Keys, fingerprint, random_bytes},
    params,
    problem::{FORBIDDEN, Problem, ProblemKind, UNAUTHENTICATED},
    store::{Store, StoreError},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use self::sql::MIGRATIONS;
use self::sql::Record;
use crate::config::BrowserOptions;

/// The scheme of `Authorization` under which a session's token is presented.
pub const SCHEME: &str = "Session";
/// What ids and tokens of sessions begin with.
const PREFIX: &str = "ses_";
/// Random bytes of an id and of a token.
const ID_BYTES: usize = 8;
const TOKEN_BYTES: usize = 24;
/// Longest name of an agent and longest label, in bytes.
const NAME_SIZE_MAX: usize = 128;
/// How exact "last seen" is: writing it on every use would cost a transaction each.
const LAST_SEEN_RESOLUTION: Duration = Duration::from_secs(30);
/// How long a session that has ended is still listed.
const FORGOTTEN_AFTER: Duration = Duration::from_hours(7 * 24);
/// Most sessions that one answer lists.
pub(crate) const LISTED_MAX: i64 = 1000;
/// As far as a session may ever go.
const SCOPES: [Scope; 2] = [Scope::read("browser"), Scope::write("browser")];

/// As many sessions of the tenant are active as may be.
pub const SESSIONS_EXHAUSTED: ProblemKind =
    ProblemKind::new("sessions-exhausted", StatusCode::TOO_MANY_REQUESTS, "Too many sessions");

/// Opens a session.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionRequest {
    /// The agent that it is for.
    #[serde(default)]
    pub agent_id: String,
    /// What it is for, in the words of whoever opens it.
    #[serde(default)]
    pub label: String,
}

/// A session.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionView {
    /// Its id: `ses_` and 16 hexadecimal digits. Not a secret.
    pub id: String,
    /// The agent that it is for.
    pub agent_id: String,
    /// What it is for.
    pub label: String,
    /// When it was opened.
    #[schema(value_type = String)]
    pub created_at: Timestamp,
    /// When it was last used, to within half a minute.
    #[schema(value_type = String)]
    pub last_seen_at: Timestamp,
    /// When it ends at the latest.
    #[schema(value_type = String)]
    pub expires_at: Timestamp,
    /// `active`, `expired` or `revoked`.
    pub status: String,
}

/// A session that was just opened.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionOpened {
    /// The session.
    #[serde(flatten)]
    pub session: SessionView,
    /// What its agent presents as `Authorization: Session …`. It cannot be shown again.
    pub session_token: String,
}

/// Opens, lists, revokes and checks sessions. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Sessions(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    keys: Keys,
    options: Section<BrowserOptions>,
}

impl Sessions {
    /// The sessions in a store; migrates their schema.
    pub async fn open(
        store: Store,
        keys: Keys,
        options: Section<BrowserOptions>,
    ) -> Result<Self, StoreError> {
        store.migrate(&MIGRATIONS).await?;
        Ok(Self(Arc::new(Inner { store, keys, options })))
    }

    /// Opens a session of the caller's tenant.
    pub async fn create(&self, caller: &Caller, request: SessionRequest) -> Result<SessionOpened, Problem> {
        manages(caller)?;
        let agent = request.agent_id.trim();
        if agent.is_empty() {
            return Err(Problem::invalid_field("agentId", "agentId is needed"));
        }
        for (field, text) in [("agentId", agent), ("label", &request.label)] {
            if text.len() > NAME_SIZE_MAX || text.chars().any(char::is_control) {
                let detail = format!("has at most {NAME_SIZE_MAX} bytes, no control characters among them");
                return Err(Problem::invalid_field(field, detail));
            }
        }
        let random = || Some((random_name::<ID_BYTES>()?, random_name::<TOKEN_BYTES>()?));
        let (id, token) = random()
            .ok_or_else(|| Problem::internal("opening a session", &std::io::Error::other("no randomness")))?;
        let (options, now) = (self.0.options.current(), Timestamp::now());
        let record = Record {
            id,
            agent: agent.to_owned(),
            label: request.label.trim().to_owned(),
            tenant: caller.tenant().clone(),
            key: caller.key_id().map(str::to_owned),
            created_at: now,
            last_seen_at: now,
            expires_at: now.checked_add(options.session_lifetime.get()).unwrap_or(Timestamp::MAX),
            revoked_at: None,
        };
        let saved = self.insert(record.clone(), fingerprint(&token), options.sessions_per_tenant_max);
        if !saved.await.map_err(Problem::from)? {
            let max = options.sessions_per_tenant_max;
            let detail =
                format!("{max} sessions are open (`[browser] sessions_per_tenant_max`); revoke one first");
            return Err(Problem::new(SESSIONS_EXHAUSTED, detail));
        }
        tracing::info!(session.id = record.id, session.agent = record.agent, "session opened");
        Ok(SessionOpened { session: self.view(record), session_token: token })
    }

    async fn insert(&self, record: Record, hash: [u8; 32], max: usize) -> Result<bool, StoreError> {
        let now = record.created_at;
        let write = self.0.store.write(move |tx| {
            Box::pin(async move {
                tx.execute(&sql::FORGET, params![now - FORGOTTEN_AFTER]).await?;
                let tenant = record.tenant.as_str().to_owned();
                let active: usize = match tx.query_first(&sql::COUNT_ACTIVE, params![tenant, now]).await? {
                    Some(row) => row.get(0)?,
                    None => 0,
                };
                if active >= max {
                    return Ok(false);
                }
                tx.execute(&sql::INSERT, record.to_params(&hash)).await.map(|_| true)
            })
        });
        write.await
    }

    /// The sessions of the caller's tenant, the last opened first.
    pub async fn list(&self, caller: &Caller) -> Result<Vec<SessionView>, Problem> {
        manages(caller)?;
        let tenant = caller.tenant().as_str().to_owned();
        let rows = self.0.store.query(&sql::LIST, params![tenant, LISTED_MAX]).await?;
        let records = rows.iter().map(Record::from_row).collect::<Result<Vec<_>, _>>()?;
        Ok(records.into_iter().map(|record| self.view(record)).collect())
    }

    /// One session: anyone's of the tenant for those who manage sessions, its own for a session.
    pub async fn get(&self, caller: &Caller, id: &str) -> Result<SessionView, Problem> {
        owns_or_manages(caller, id)?;
        let record = self.find(caller.tenant(), id).await?;
        Ok(self.view(record))
    }

    /// The session that the caller presents.
    pub async fn me(&self, caller: &Caller) -> Result<SessionView, Problem> {
        let Some(session) = caller.session() else {
            let detail = "this is for agents that present a session: `Authorization: Session TOKEN`";
            return Err(Problem::new(UNAUTHENTICATED, detail));
        };
        self.get(caller, &session.id).await
    }

    /// Ends a session for good. Ending it again changes nothing.
    pub async fn revoke(&self, caller: &Caller, id: &str) -> Result<SessionView, Problem> {
        owns_or_manages(caller, id)?;
        let tenant = caller.tenant().as_str().to_owned();
        self.0.store.execute(&sql::REVOKE, params![id, tenant, Timestamp::now()]).await?;
        let record = self.find(caller.tenant(), id).await?;
        tracing::info!(session.id = record.id, "session revoked");
        Ok(self.view(record))
    }

    async fn find(&self, tenant: &Tenant, id: &str) -> Result<Record, Problem> {
        let row = self.0.store.query_first(&sql::FIND, params![id, tenant.as_str()]).await?;
        let row = row.ok_or_else(|| Problem::not_found("session", id))?;
        Ok(Record::from_row(&row)?)
    }

    /// Who presents a token. Asks the store each time: a session that was revoked on another server is refused at once.
    async fn check(&self, token: &str) -> Result<Authenticated, AuthenticateError> {
        let unavailable = |error: StoreError| AuthenticateError::Unavailable(Box::new(error));
        let hash = fingerprint(token);
        let row = self.0.store.query_first(&sql::FIND_BY_HASH, params![hash.as_slice()]).await;
        let row = row.map_err(unavailable)?.ok_or(AuthenticateError::Refused)?;
        let record = Record::from_row(&row).map_err(unavailable)?;
        let now = Timestamp::now();
        if record.status(now, self.0.options.current().session_idle_after.get()) != "active" {
            return Err(AuthenticateError::Refused);
        }
        let (opener, limits) = match &record.key {
            None => (Caller::local(), KeyLimits::default()),
            Some(key) => {
                let bearer = self.0.keys.bearer(key).await.map_err(unavailable)?;
                let Authenticated { caller, limits } = bearer.ok_or(AuthenticateError::Refused)?;
                (caller, limits)
            }
        };
        if *opener.tenant() != record.tenant {
            return Err(AuthenticateError::Refused);
        }
        if now.duration_since(record.last_seen_at).unsigned_abs() >= LAST_SEEN_RESOLUTION
            && let Err(error) = self.0.store.execute(&sql::SEE, params![&record.id, now]).await
        {
            tracing::warn!(%error, "the use of a session was not recorded");
        }
        let session = CallerSession { id: record.id, agent: record.agent };
        Ok(Authenticated { caller: opener.in_session(session, &SCOPES), limits })
    }

    fn view(&self, record: Record) -> SessionView {
        let status = record.status(Timestamp::now(), self.0.options.current().session_idle_after.get());
        SessionView {
            status: status.to_owned(),
            id: record.id,
            agent_id: record.agent,
            label: record.label,
            created_at: record.created_at,
            last_seen_at: record.last_seen_at,
            expires_at: record.expires_at,
        }
    }
}

impl Authenticate for Sessions {
    fn authenticate<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Authenticated, AuthenticateError>> {
        Box::pin(self.check(token))
    }

    fn has_form_of_key(&self, token: &str) -> bool {
        token.starts_with(PREFIX)
    }
}

/// Sessions are opened and listed by those who may use browsers, but never by a session.
fn manages(caller: &Caller) -> Result<(), Problem> {
    caller.require(Scope::write("browser"))?;
    not_in_session(caller)
}

/// Refuses what is not for agents in a session.
pub(crate) fn not_in_session(caller: &Caller) -> Result<(), Problem> {
    match caller.session() {
        Some(_) => Err(Problem::new(FORBIDDEN, "this is not for sessions of agents; use a key")),
        None => Ok(()),
    }
}

fn owns_or_manages(caller: &Caller, id: &str) -> Result<(), Problem> {
    match caller.session() {
        Some(session) if session.id == id => Ok(()),
        _ => manages(caller),
    }
}

/// `ses_` and random bytes in hexadecimal.
fn random_name<const N: usize>() -> Option<String> {
    let bytes = random_bytes::<N>()?;
    Some(bytes.iter().fold(PREFIX.to_owned(), |name, byte| format!("{name}{byte:02x}")))
}

#[cfg(test)]
mod tests;
