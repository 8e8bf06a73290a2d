//! What has to hold of an answer.

use std::{fmt, time::Duration};

use serde_json::Value;

use crate::driver::Outcome;

/// Longest piece of an answer that a failed check quotes.
const QUOTE_CHARS_MAX: usize = 120;

/// One condition on one answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Check {
    /// The HTTP status or exit code is one of these. Without such a check, a status of 400 and above, or an exit code
    /// other than 0, is an error of its own.
    Status(Vec<i32>),
    /// The body contains a text.
    BodyContains(String),
    /// The body is JSON with something at this pointer (RFC 6901); with this value, if one is given.
    Json {
        /// Where to look.
        pointer: String,
        /// What has to be there.
        equals: Option<Value>,
    },
    /// The answer was there in time, counted from the moment it was due.
    LatencyMax(Duration),
}

impl Check {
    /// Whether the check looks at the body.
    pub fn needs_body(&self) -> bool {
        matches!(self, Self::BodyContains(_) | Self::Json { .. })
    }

    /// What was seen instead, if the check does not hold.
    pub(crate) fn violation(&self, outcome: &Outcome, latency: Duration) -> Option<String> {
        match self {
            Self::Status(allowed) => match outcome.status {
                Some(status) if allowed.contains(&status) => None,
                Some(status) => Some(format!("status {status}")),
                None => Some("no status".to_owned()),
            },
            Self::BodyContains(text) => {
                let found = text.is_empty()
                    || outcome.body.windows(text.len()).any(|window| window == text.as_bytes());
                (!found).then(|| format!("the body is {}", quote(&outcome.body)))
            }
            Self::Json { pointer, equals } => match serde_json::from_slice::<Value>(&outcome.body) {
                Err(error) => Some(format!("not JSON ({error}): {}", quote(&outcome.body))),
                Ok(document) => match (document.pointer(pointer), equals) {
                    (None, _) => Some(format!("nothing at `{pointer}` in {}", quote(&outcome.body))),
                    (Some(found), Some(wanted)) if !equal(found, wanted) => Some(format!("found {found}")),
                    (Some(_), _) => None,
                },
            },
            Self::LatencyMax(max) => (latency > *max).then(|| format!("{latency:.2?}")),
        }
    }
}

/// JSON equality, but `1` equals `1.0`.
fn equal(found: &Value, wanted: &Value) -> bool {
    match (found.as_f64(), wanted.as_f64()) {
        (Some(found), Some(wanted)) => (found - wanted).abs() <= f64::EPSILON * wanted.abs().max(1.0),
        _ => found == wanted,
    }
}

fn quote(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body.get(..body.len().min(4 * QUOTE_CHARS_MAX)).unwrap_or_default());
    let mut quoted: String = text.chars().take(QUOTE_CHARS_MAX).collect();
    if quoted.len() < body.len() {
        quoted.push('…');
    }
    format!("`{quoted}`")
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(allowed) => {
                let allowed: Vec<String> = allowed.iter().map(ToString::to_string).collect();
                write!(f, "status is {}", allowed.join(" or "))
            }
            Self::BodyContains(text) => write!(f, "body contains `{text}`"),
            Self::Json { pointer, equals: Some(wanted) } => write!(f, "JSON `{pointer}` is {wanted}"),
            Self::Json { pointer, equals: None } => write!(f, "JSON has `{pointer}`"),
            Self::LatencyMax(max) => write!(f, "latency is at most {max:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;

    use super::*;

    fn answer(status: i32, body: &'static str) -> Outcome {
        Outcome { status: Some(status), body: Bytes::from_static(body.as_bytes()), ..Outcome::default() }
    }

    #[test]
    fn a_check_says_what_was_seen_instead() {
        let ok = answer(200, r#"{"state":"ready","queue":{"depth":3}}"#);
        let now = Duration::ZERO;
        assert_eq!(Check::Status(vec![200, 204]).violation(&ok, now), None);
        assert_eq!(Check::Status(vec![204]).violation(&ok, now).unwrap(), "status 200");
        assert_eq!(Check::BodyContains("ready".into()).violation(&ok, now), None);
        assert!(Check::BodyContains("done".into()).violation(&ok, now).unwrap().contains("`{\"state\""));
        let depth = |equals| Check::Json { pointer: "/queue/depth".into(), equals };
        assert_eq!(depth(None).violation(&ok, now), None);
        assert_eq!(depth(Some(json!(3.0))).violation(&ok, now), None);
        assert_eq!(depth(Some(json!(4))).violation(&ok, now).unwrap(), "found 3");
        assert!(depth(None).violation(&answer(200, "<html>"), now).unwrap().starts_with("not JSON"));
        let late = Check::LatencyMax(Duration::from_millis(5));
        assert_eq!(late.violation(&ok, Duration::from_millis(5)), None);
        assert!(late.violation(&ok, Duration::from_millis(6)).is_some());
    }
}
