//! JSON-RPC messages, looked into no further than passing them on needs.

use std::{borrow::Cow, collections::BTreeMap};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

/// The member of `_meta` with the protocol's version, since 2026-07-28.
pub(super) const META_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// The member of `_meta` with what the client can do, since 2026-07-28.
pub(super) const META_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
/// The member of `_meta` with the request whose stream a notification belongs to.
const META_SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";
const META_PROGRESS: &str = "progressToken";

/// Codes of errors (JSON-RPC 2.0, section 5.1, and MCP).
pub(super) const INVALID_PARAMS: i64 = -32_602;
pub(super) const METHOD_NOT_FOUND: i64 = -32_601;
pub(super) const SERVER_ERROR: i64 = -32_000;
pub(super) const REQUEST_TIMEOUT: i64 = -32_001;
pub(super) const HEADER_MISMATCH: i64 = -32_020;

/// A message: a request (`id` and `method`), a notification (`method`) or an answer (`id`).
#[derive(Debug, Default, Deserialize)]
pub(super) struct Envelope<'a> {
    #[serde(borrow, default)]
    pub(super) id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) params: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) result: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) error: Option<&'a RawValue>,
}

/// What routing looks at in parameters.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Head<'a> {
    #[serde(default)]
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) uri: Option<String>,
    #[serde(borrow, default)]
    pub(super) request_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) progress_token: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "_meta")]
    pub(super) meta: Option<Meta<'a>>,
}

/// What routing looks at in `_meta`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Meta<'a> {
    #[serde(borrow, default, rename = "progressToken")]
    pub(super) progress_token: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "io.modelcontextprotocol/subscriptionId")]
    pub(super) subscription: Option<&'a RawValue>,
    #[serde(default, rename = "io.modelcontextprotocol/protocolVersion")]
    pub(super) version: Option<String>,
    #[serde(borrow, default, rename = "io.modelcontextprotocol/clientCapabilities")]
    pub(super) capabilities: Option<&'a RawValue>,
}

impl<'a> Envelope<'a> {
    /// Reads one message; none if it is no message of the protocol.
    pub(super) fn read(text: &'a [u8]) -> Option<Self> {
        let envelope: Self = serde_json::from_slice(text).ok()?;
        let is_answer = envelope.id.is_some() && (envelope.result.is_some() || envelope.error.is_some());
        (envelope.method.is_some() || is_answer).then_some(envelope)
    }

    pub(super) fn method(&self) -> &str {
        self.method.as_deref().unwrap_or_default()
    }

    pub(super) const fn is_request(&self) -> bool {
        self.method.is_some() && self.id.is_some()
    }

    pub(super) const fn is_answer(&self) -> bool {
        self.method.is_none()
    }

    /// What routing looks at in its parameters; none if they are not of the shape that the protocol gives them.
    pub(super) fn head(&self) -> Option<Head<'a>> {
        self.params.map_or_else(|| Some(Head::default()), |params| serde_json::from_str(params.get()).ok())
    }

    /// The same message with another id and other parameters.
    pub(super) fn rewritten(&self, id: Option<&str>, params: Option<&str>) -> Bytes {
        let mut text = String::from(r#"{"jsonrpc":"2.0""#);
        let method = self.method.as_deref().map(|method| Value::from(method).to_string());
        let members = [
            ("id", id),
            ("method", method.as_deref()),
            ("params", params),
            ("result", self.result.map(RawValue::get)),
            ("error", self.error.map(RawValue::get)),
        ];
        for (name, value) in members {
            if let Some(value) = value {
                text.extend([",\"", name, "\":", value]);
            }
        }
        text.push('}');
        text.into()
    }

    /// Whether it is an answer that says that a tool failed.
    pub(super) fn is_tool_error(&self) -> bool {
        #[derive(Deserialize)]
        struct Said {
            #[serde(default, rename = "isError")]
            is_error: bool,
        }
        let said = self.result.and_then(|result| serde_json::from_str::<Said>(result.get()).ok());
        said.is_some_and(|said| said.is_error)
    }
}

type Members<'a> = BTreeMap<Cow<'a, str>, &'a RawValue>;

fn with_member(object: &str, name: &str, value: &str) -> Option<String> {
    let mut members: Members<'_> = serde_json::from_str(object).ok()?;
    let value: &RawValue = serde_json::from_str(value).ok()?;
    members.insert(name.into(), value);
    serde_json::to_string(&members).ok()
}

fn with_meta(params: &str, name: &str, value: &str) -> Option<String> {
    let members: Members<'_> = serde_json::from_str(params).ok()?;
    let meta = members.get("_meta").map_or("{}", |meta| meta.get());
    let meta = with_member(meta, name, value)?;
    with_member(params, "_meta", &meta)
}

/// The parameters of a request with another progress token.
pub(super) fn with_token_of_request(params: &str, token: &str) -> Option<String> {
    with_meta(params, META_PROGRESS, token)
}

/// The parameters of `notifications/progress` with another token.
pub(super) fn with_token_of_progress(params: &str, token: &str) -> Option<String> {
    with_member(params, META_PROGRESS, token)
}

/// The parameters of `notifications/cancelled` with another request.
pub(super) fn with_cancelled(params: &str, id: &str) -> Option<String> {
    with_member(params, "requestId", id)
}

/// The parameters of a notification with another subscription.
pub(super) fn with_subscription(params: &str, id: &str) -> Option<String> {
    with_meta(params, META_SUBSCRIPTION, id)
}

/// An answer that is an error; an id of `null` where the request's is not known.
pub(super) fn error_answer(id: Option<&str>, code: i64, message: &str) -> Bytes {
    let error = json!({"code": code, "message": message});
    format!(r#"{{"jsonrpc":"2.0","id":{},"error":{error}}}"#, id.unwrap_or("null")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_told_apart() {
        let request =
            Envelope::read(br#"{"jsonrpc":"2.0","id":"a","method":"tools\/call","params":{"name":"x"}}"#);
        let request = request.unwrap();
        assert!(request.is_request() && request.method() == "tools/call");
        assert_eq!(request.head().unwrap().name.as_deref(), Some("x"));
        let answer = Envelope::read(br#"{"jsonrpc":"2.0","id":1,"result":{"isError":true}}"#).unwrap();
        assert!(answer.is_answer() && answer.is_tool_error());
        for text in ["[]", "{}", "7", "{\"id\":1}", "{\"method\":\"a\",\"method\":\"b\"}", "\u{1b}[32mready"]
        {
            assert!(Envelope::read(text.as_bytes()).is_none(), "{text}");
        }
    }

    #[test]
    fn a_name_that_is_said_twice_is_no_name() {
        let text = br#"{"id":1,"method":"tools/call","params":{"name":"a","name":"b"}}"#;
        assert!(Envelope::read(text).unwrap().head().is_none());
    }

    #[test]
    fn ids_and_tokens_are_replaced_and_all_else_kept() {
        let text = br#"{"jsonrpc":"2.0","id":"a","method":"m","params":{"n":1.50,"_meta":{"progressToken":"t","k":[1]}}}"#;
        let envelope = Envelope::read(text).unwrap();
        let params = with_token_of_request(envelope.params.unwrap().get(), "9").unwrap();
        let other = envelope.rewritten(Some("7"), Some(&params));
        assert_eq!(
            other,
            Bytes::from_static(br#"{"jsonrpc":"2.0","id":7,"method":"m","params":{"_meta":{"k":[1],"progressToken":9},"n":1.50}}"#)
        );
        assert_eq!(
            with_cancelled(r#"{"requestId":"a","reason":"r"}"#, "7").unwrap(),
            r#"{"reason":"r","requestId":7}"#
        );
    }
}
