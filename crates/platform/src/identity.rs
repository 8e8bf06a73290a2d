//! Who is asking, and what they may do: scopes, tenants and the [`Caller`] that travels with a request.

use std::{fmt, str::FromStr, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::problem::{FORBIDDEN, Problem};

/// The areas that a scope can name.
pub const AREAS: [&str; 10] =
    ["server", "browser", "jobs", "llm", "agents", "registry", "analysis", "lab", "tools", "debug"];

/// What a scope lets its bearer do in an area. Each verb includes the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// Look.
    Read,
    /// Use what others offer through an area: the tools of servers that the registry reaches.
    Call,
    /// Change, start, stop.
    Write,
    /// Administer: limits, keys, other tenants' things.
    Admin,
}

impl Verb {
    const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Call => "call",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

/// A permission: `area:verb`, for example `browser:write`; `*:admin` is everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Scope {
    /// One of [`AREAS`], or `*` for all of them.
    pub area: &'static str,
    /// How far it reaches.
    pub verb: Verb,
}

/// A text that is not a scope.
#[derive(Debug, thiserror::Error)]
#[error("`{text}` is not a scope; write `area:verb` with an area of {} or `*`, and `read`, `write` or `admin`; `registry` also has `call`", AREAS.join(", "))]
pub struct ParseScopeError {
    text: String,
}

impl Scope {
    /// Everything, everywhere.
    pub const ALL: Self = Self { area: "*", verb: Verb::Admin };

    /// A scope for looking at an area.
    pub const fn read(area: &'static str) -> Self {
        Self { area, verb: Verb::Read }
    }

    /// A scope for using what others offer through an area.
    pub const fn call(area: &'static str) -> Self {
        Self { area, verb: Verb::Call }
    }

    /// A scope for changing things in an area.
    pub const fn write(area: &'static str) -> Self {
        Self { area, verb: Verb::Write }
    }

    /// A scope for administering an area.
    pub const fn admin(area: &'static str) -> Self {
        Self { area, verb: Verb::Admin }
    }

    /// Whether holding `self` allows what `needed` names.
    pub fn covers(self, needed: Self) -> bool {
        (self.area == "*" || self.area == needed.area) && self.verb >= needed.verb
    }
}

impl FromStr for Scope {
    type Err = ParseScopeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseScopeError { text: text.to_owned() };
        let (area, verb) = text.split_once(':').ok_or_else(error)?;
        let area = if area == "*" {
            "*"
        } else {
            AREAS.iter().find(|known| **known == area).copied().ok_or_else(error)?
        };
        let verb = [Verb::Read, Verb::Call, Verb::Write, Verb::Admin]
            .into_iter()
            .find(|known| known.name() == verb)
            .ok_or_else(error)?;
        // Elsewhere there is nothing of others to use.
        let is_known = verb != Verb::Call || matches!(area, "registry" | "*");
        if is_known { Ok(Self { area, verb }) } else { Err(error()) }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.area, self.verb.name())
    }
}

/// Whose things a caller sees: every list is filtered by it. 1 to 64 of `a-z`, `0-9`, `-` and `_`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Tenant(#[schemars(regex(pattern = r"^[a-z0-9_-]{1,64}$"))] Arc<str>);

/// A text that is not a tenant's name.
#[derive(Debug, thiserror::Error)]
#[error("`{text}` is not a tenant; use 1 to 64 of a-z, 0-9, `-` and `_`")]
pub struct ParseTenantError {
    text: String,
}

impl Tenant {
    /// The tenant of a server that nobody shares.
    pub fn local() -> Self {
        Self(Arc::from("local"))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tenant {
    type Err = ParseTenantError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let valid = (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_');
        if valid { Ok(Self(Arc::from(text))) } else { Err(ParseTenantError { text: text.to_owned() }) }
    }
}

impl TryFrom<String> for Tenant {
    type Error = ParseTenantError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Tenant> for String {
    fn from(tenant: Tenant) -> Self {
        tenant.0.as_ref().to_owned()
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The identity behind a request or a tool call. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Caller(Arc<CallerInner>);

#[derive(Debug)]
struct CallerInner {
    key: Option<String>,
    session: Option<CallerSession>,
    proof: Option<CallerProof>,
    tenant: Tenant,
    scopes: Vec<Scope>,
}

/// What a credential that an area issued stands for: something that its bearer has proven to that area.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallerProof {
    /// The area that issued it: to others it means nothing.
    pub area: &'static str,
    /// What was proven, in that area's words.
    pub names: Vec<String>,
}

/// What a credential that an area issued stands for: a session of one agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallerSession {
    /// The session's id (never its secret).
    pub id: String,
    /// The agent that it was opened for.
    pub agent: String,
}

impl Caller {
    /// The bearer of a key.
    pub fn with_key(key_id: impl Into<String>, tenant: Tenant, scopes: Vec<Scope>) -> Self {
        Self(Arc::new(CallerInner { key: Some(key_id.into()), session: None, proof: None, tenant, scopes }))
    }

    /// Somebody who has proven something to an area, and holds no scope: only that area, and only where it asks for the
    /// proof, lets them do anything. `subject` says of whom it was proven, and stands where the id of a key would.
    pub fn with_proof(subject: impl Into<String>, tenant: Tenant, proof: CallerProof) -> Self {
        let (key, scopes) = (Some(subject.into()), Vec::new());
        Self(Arc::new(CallerInner { key, session: None, proof: Some(proof), tenant, scopes }))
    }

    /// Work that goes on without whoever asked for it: for a tenant, with the scopes that it needs and no more.
    pub fn on_behalf(key_id: Option<String>, tenant: Tenant, scopes: Vec<Scope>) -> Self {
        Self(Arc::new(CallerInner { key: key_id, session: None, proof: None, tenant, scopes }))
    }

    /// Somebody on this machine who presents no key, on a server that is bound to loopback and does not require one:
    /// everything except `debug`.
    pub fn local() -> Self {
        let scopes = AREAS.iter().filter(|area| **area != "debug").map(|area| Scope::admin(area)).collect();
        let tenant = Tenant::local();
        Self(Arc::new(CallerInner { key: None, session: None, proof: None, tenant, scopes }))
    }

    /// Somebody without a key on a server that needs one, at a route that does not: may do nothing.
    pub fn anonymous() -> Self {
        let (tenant, scopes) = (Tenant::local(), Vec::new());
        Self(Arc::new(CallerInner { key: None, session: None, proof: None, tenant, scopes }))
    }

    /// The bearer of a session that this caller opened: as far as the caller may go, and no further than `scopes`.
    #[must_use]
    pub fn in_session(&self, session: CallerSession, scopes: &[Scope]) -> Self {
        let scopes = scopes.iter().copied().filter(|scope| self.may(*scope)).collect();
        let (key, tenant) = (self.0.key.clone(), self.0.tenant.clone());
        Self(Arc::new(CallerInner { key, session: Some(session), proof: None, tenant, scopes }))
    }

    /// The session that the request was made in, if it was made in one.
    pub fn session(&self) -> Option<&CallerSession> {
        self.0.session.as_ref()
    }

    /// What the caller has proven to an area.
    pub fn proof(&self, area: &str) -> Option<&CallerProof> {
        self.0.proof.as_ref().filter(|proof| proof.area == area)
    }

    /// The id of the key (never the secret), if one was presented, or if the session was opened with one; of whom something
    /// was proven, if that is what the caller presents.
    pub fn key_id(&self) -> Option<&str> {
        self.0.key.as_deref()
    }

    /// Whose things it sees.
    pub fn tenant(&self) -> &Tenant {
        &self.0.tenant
    }

    /// Whether it holds a scope that covers `needed`.
    pub fn may(&self, needed: Scope) -> bool {
        self.0.scopes.iter().any(|held| held.covers(needed))
    }

    /// [`FORBIDDEN`], naming the missing scope, unless [`Caller::may`].
    pub fn require(&self, needed: Scope) -> Result<(), Problem> {
        if self.may(needed) {
            return Ok(());
        }
        Err(Problem::new(FORBIDDEN, format!("this key lacks the scope `{needed}`"))
            .with("scope", needed.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wider_scope_covers_a_narrower_one_and_never_the_reverse() {
        let covers =
            |held: &str, needed: &str| held.parse::<Scope>().unwrap().covers(needed.parse().unwrap());
        assert!(covers("browser:write", "browser:read"));
        assert!(covers("*:read", "jobs:read"));
        assert!(covers("*:admin", "debug:admin"));
        assert!(!covers("browser:read", "browser:write"));
        assert!(!covers("browser:admin", "jobs:read"));
        assert!(!covers("jobs:read", "*:read"));
        assert!(covers("registry:write", "registry:call") && covers("registry:call", "registry:read"));
        assert!(!covers("registry:read", "registry:call"));
        assert!("browser:call".parse::<Scope>().is_err());
    }

    #[test]
    fn an_unknown_area_or_verb_is_refused_with_the_known_ones() {
        for text in ["browser", "browsers:read", "browser:look", ":", "browser:read:more"] {
            let error = text.parse::<Scope>().unwrap_err().to_string();
            assert!(error.contains("browser"), "{error}");
        }
    }

    #[test]
    fn a_local_caller_may_do_everything_but_debug() {
        assert!(Caller::local().may(Scope::admin("browser")));
        assert!(!Caller::local().may(Scope::read("debug")));
    }

    #[test]
    fn a_session_may_do_no_more_than_the_key_that_opened_it() {
        let key = Caller::with_key("k1", Tenant::local(), vec![Scope::read("browser")]);
        let session = CallerSession { id: "s1".to_owned(), agent: "a".to_owned() };
        let caller = key.in_session(session.clone(), &[Scope::read("browser"), Scope::write("browser")]);
        assert!(caller.may(Scope::read("browser")) && !caller.may(Scope::write("browser")));
        assert_eq!((caller.key_id(), caller.session()), (Some("k1"), Some(&session)));
        let caller = Caller::local().in_session(session, &[Scope::write("browser")]);
        assert!(caller.may(Scope::write("browser")) && !caller.may(Scope::read("jobs")));
    }

    #[test]
    fn a_proof_holds_for_its_area_and_is_no_scope() {
        let proof = CallerProof { area: "registry", names: vec!["com.example".to_owned()] };
        let caller = Caller::with_proof("dns:example.com", Tenant::local(), proof.clone());
        assert_eq!((caller.proof("registry"), caller.proof("jobs")), (Some(&proof), None));
        assert_eq!(caller.key_id(), Some("dns:example.com"));
        assert!(AREAS.iter().all(|area| !caller.may(Scope::read(area))));
    }

    #[test]
    fn a_missing_scope_is_named() {
        let caller = Caller::with_key("k1", Tenant::local(), vec![Scope::read("analysis")]);
        let problem = caller.require(Scope::write("analysis")).unwrap_err();
        assert_eq!(problem.kind, FORBIDDEN);
        assert!(problem.detail.contains("analysis:write"));
    }
}
