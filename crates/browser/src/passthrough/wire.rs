//! Messages as the client writes and reads them.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A command of the client.
#[derive(Debug, Deserialize)]
pub(super) struct Command<'a> {
    pub(super) id: u64,
    #[serde(borrow)]
    pub(super) method: std::borrow::Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) params: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "sessionId")]
    pub(super) session: Option<std::borrow::Cow<'a, str>>,
}

/// An error as JSON-RPC and Chrome have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: i64,
    pub(super) message: String,
}

impl Refusal {
    /// The command was understood and is not done.
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { code: -32000, message: message.into() }
    }

    /// A parameter is missing or names what the client cannot name.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self { code: -32602, message: message.into() }
    }

    /// No such session.
    pub(super) fn no_session() -> Self {
        Self { code: -32001, message: "Session with given id not found.".to_owned() }
    }
}

#[derive(Serialize)]
struct Reply<'a, R: Serialize> {
    id: u64,
    result: R,
    #[serde(rename = "sessionId", skip_serializing_if = "Option::is_none")]
    session: Option<&'a str>,
}

#[derive(Serialize)]
struct Failure<'a, E: Serialize> {
    id: u64,
    error: E,
    #[serde(rename = "sessionId", skip_serializing_if = "Option::is_none")]
    session: Option<&'a str>,
}

#[derive(Serialize)]
struct Event<'a, P: Serialize> {
    method: &'a str,
    params: P,
    #[serde(rename = "sessionId", skip_serializing_if = "Option::is_none")]
    session: Option<&'a str>,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    code: i64,
    message: &'a str,
}

/// What is serialised here is made of parts that are JSON already, or of texts and numbers: it cannot fail.
fn write(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

pub(super) fn reply(id: u64, session: Option<&str>, result: impl Serialize) -> String {
    write(&Reply { id, result, session })
}

pub(super) fn failure(id: u64, session: Option<&str>, error: impl Serialize) -> String {
    write(&Failure { id, error, session })
}

pub(super) fn refusal(id: u64, session: Option<&str>, refusal: &Refusal) -> String {
    failure(id, session, ErrorBody { code: refusal.code, message: &refusal.message })
}

pub(super) fn event(session: Option<&str>, method: &str, params: impl Serialize) -> String {
    write(&Event { method, params, session })
}
