//! Messages, parsed only as far as needed to deliver them.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

/// A raw JSON value inside the message that it arrived in: cheap to clone, not copied, parsed on demand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload(Bytes);

impl Payload {
    /// What stands for a missing `params` or `result`.
    pub(crate) const fn empty() -> Self {
        Self(Bytes::from_static(b"{}"))
    }

    fn within(message: &Bytes, value: Option<&RawValue>) -> Self {
        value.map_or_else(Self::empty, |raw| Self(message.slice_ref(raw.get().as_bytes())))
    }

    /// A payload made here, for tests of what consumes them.
    pub fn from_json(value: &serde_json::Value) -> Self {
        Self(Bytes::from(value.to_string()))
    }

    /// The JSON text as UTF-8.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The value as a type; members that the type does not name are skipped.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.0)
    }

    /// As [`Payload::parse`], for types that borrow from the message.
    pub fn parse_borrowed<'a, T: Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.0)
    }
}

/// A message from Chrome.
#[derive(Debug)]
pub(crate) enum Incoming<'a> {
    Reply { id: u64, result: Result<Payload, ErrorBody> },
    Event { session: Cow<'a, str>, method: Cow<'a, str>, params: Payload },
}

/// The error that Chrome answers a command with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ErrorBody {
    /// JSON-RPC error code, for example -32000.
    #[serde(default)]
    pub code: i64,
    /// Chrome's words.
    #[serde(default)]
    pub message: String,
    /// More of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    id: Option<u64>,
    #[serde(borrow, default)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "sessionId")]
    session: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    error: Option<ErrorBody>,
}

/// Reads a message; `None` for one that is neither a reply nor an event.
pub(crate) fn parse(message: &Bytes) -> Result<Option<Incoming<'_>>, serde_json::Error> {
    let envelope: Envelope<'_> = serde_json::from_slice(message)?;
    Ok(match (envelope.id, envelope.method) {
        (Some(id), _) => {
            let result = match envelope.error {
                Some(error) => Err(error),
                None => Ok(Payload::within(message, envelope.result)),
            };
            Some(Incoming::Reply { id, result })
        }
        (None, Some(method)) => Some(Incoming::Event {
            session: envelope.session.unwrap_or_default(),
            method,
            params: Payload::within(message, envelope.params),
        }),
        (None, None) => None,
    })
}

/// The `id` that a message begins with, read from its first bytes alone.
pub(crate) fn leading_id(head: &[u8]) -> Option<u64> {
    let digits = head.strip_prefix(b"{\"id\":")?;
    let end = digits.iter().position(|byte| !byte.is_ascii_digit())?;
    std::str::from_utf8(&digits[..end]).ok()?.parse().ok()
}

/// The session that an event ends with, read from its last bytes alone.
pub(crate) fn trailing_session(tail: &[u8]) -> Option<&str> {
    const NAME: &str = "\"sessionId\":\"";
    // What the page wrote may end anywhere in the tail, and may have been cut within a character.
    let start = tail.windows(NAME.len()).rposition(|window| window == NAME.as_bytes())? + NAME.len();
    let end = start + tail[start..].iter().position(|byte| *byte == b'"')?;
    (&tail[end..] == b"\"}").then(|| std::str::from_utf8(&tail[start..end]).ok()).flatten()
}

#[derive(Serialize)]
struct Outgoing<'a, P> {
    id: u64,
    method: &'a str,
    #[serde(rename = "sessionId", skip_serializing_if = "str::is_empty")]
    session: &'a str,
    params: &'a P,
}

/// Writes a command; an empty `session` is the browser's own.
pub(crate) fn write<P: Serialize>(
    id: u64,
    session: &str,
    method: &str,
    params: &P,
) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&Outgoing { id, method, session, params })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_keeps_its_result_raw() {
        let message = Bytes::from_static(br#"{"id":7,"result":{"value": [1, 2]},"sessionId":"S"}"#);
        let Some(Incoming::Reply { id: 7, result: Ok(payload) }) = parse(&message).unwrap() else {
            panic!("not a reply");
        };
        assert_eq!(payload.as_bytes(), br#"{"value": [1, 2]}"#);
    }

    #[test]
    fn an_event_nobody_knows_is_delivered_like_any_other() {
        let message =
            Bytes::from_static(br#"{"method":"New.event","extra":1,"params":{"a":1},"sessionId":"S"}"#);
        let Some(Incoming::Event { session, method, params }) = parse(&message).unwrap() else {
            panic!("not an event");
        };
        assert_eq!((&*session, &*method, params.as_bytes()), ("S", "New.event", &br#"{"a":1}"#[..]));
    }

    #[test]
    fn the_session_is_read_from_the_tail_of_an_event() {
        assert_eq!(trailing_session(br#"xx"}]},"sessionId":"A1B2"}"#), Some("A1B2"));
        assert_eq!(trailing_session(br#"xx"sessionId":"A1B2","x":1}"#), None);
        assert_eq!(trailing_session(b"xx}}"), None);
    }

    #[test]
    fn the_id_is_read_from_the_head_of_a_message() {
        assert_eq!(leading_id(br#"{"id":42,"result":{"da"#), Some(42));
        assert_eq!(leading_id(br#"{"method":"Page.x"#), None);
        assert_eq!(leading_id(br#"{"id":42"#), None);
    }
}
