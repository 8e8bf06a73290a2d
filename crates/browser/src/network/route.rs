//! Rules about requests: which are meant, and what becomes of them.

use paddock_cdp::protocol::fetch::RequestPattern;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::filter::{is_kind, matches_url};

/// Most rules of one tab.
pub(super) const ROUTES_MAX: usize = 100;
/// Largest body of an answer that a rule gives.
const BODY_SIZE_MAX: usize = 1 << 20;
const PATTERN_SIZE_MAX: usize = 2000;
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"];
/// Chrome's kinds of resources.
const KINDS: [&str; 19] = [
    "Document",
    "Stylesheet",
    "Image",
    "Media",
    "Font",
    "Script",
    "TextTrack",
    "XHR",
    "Fetch",
    "Prefetch",
    "EventSource",
    "WebSocket",
    "Manifest",
    "SignedExchange",
    "Ping",
    "CSPViolationReport",
    "Preflight",
    "FedCM",
    "Other",
];

/// A rule that cannot be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct RouteError {
    /// The member that is at fault.
    pub field: &'static str,
    /// What is wrong with it.
    pub detail: String,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RouteAction {
    /// It goes on; later rules are not asked.
    #[default]
    Continue,
    /// It fails.
    Abort,
    /// It is answered here.
    Fulfill,
}

/// A rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Route {
    /// Part of the address; with `*`, a pattern of the whole.
    pub pattern: String,
    /// What becomes of the request.
    pub action: RouteAction,
    /// The answer's body, for `fulfill`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub body: String,
    /// The answer's media type; `application/json` if empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub content_type: String,
    /// The answer's status; 200 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Only requests for this kind of resource.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resource_type: String,
    /// Only requests of this method.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub method: String,
}

impl Route {
    /// Whether it can be put in force.
    pub fn check(&self) -> Result<(), RouteError> {
        let wrong = |field, detail: &str| Err(RouteError { field, detail: detail.to_owned() });
        if self.pattern.is_empty() || self.pattern.len() > PATTERN_SIZE_MAX {
            return wrong("pattern", "must have 1 to 2000 bytes");
        }
        if self.body.len() > BODY_SIZE_MAX {
            return wrong("body", "must have at most 1048576 bytes");
        }
        if self.status.is_some_and(|status| !(100..=599).contains(&status)) {
            return wrong("status", "must be a status of HTTP, 100 to 599");
        }
        if !is_inert(&self.content_type) {
            return wrong(
                "contentType",
                "must be a type that runs nothing: text/plain, text/css, application/json, fonts, images but SVG, audio \
                 or video",
            );
        }
        let known = |set: &[&str], name: &str| {
            name.is_empty() || set.iter().any(|known| known.eq_ignore_ascii_case(name))
        };
        if !known(&METHODS, &self.method) {
            return wrong("method", "must be a method of HTTP");
        }
        if !known(&KINDS, &self.resource_type) {
            return wrong("resourceType", "must be a kind that Chrome knows, for example `script` or `xhr`");
        }
        Ok(())
    }

    /// Bytes of it.
    pub(crate) fn size(&self) -> usize {
        self.pattern.len() + self.body.len() + self.content_type.len()
    }

    /// Whether it is about a request.
    pub(super) fn matches(&self, url: &str, method: &str, kind: &str) -> bool {
        (self.method.is_empty() || self.method.eq_ignore_ascii_case(method))
            && (self.resource_type.is_empty() || is_kind(&self.resource_type, kind))
            && matches_url(&self.pattern, url)
    }

    /// The pattern in Chrome's spelling: what is not meant is not held.
    pub(super) fn request_pattern(&self) -> RequestPattern {
        let mut url_pattern = String::with_capacity(self.pattern.len() + 2);
        let is_part = !self.pattern.contains('*');
        url_pattern.extend(is_part.then_some('*'));
        for c in self.pattern.chars() {
            if matches!(c, '?' | '\\') {
                url_pattern.push('\\');
            }
            url_pattern.push(c);
        }
        url_pattern.extend(is_part.then_some('*'));
        RequestPattern { url_pattern, resource_type: None }
    }

    /// The media type of its answer.
    pub(super) fn content_type(&self) -> &str {
        if self.content_type.is_empty() { "application/json" } else { &self.content_type }
    }
}

/// Whether answers of this media type run no script in the page's origin: for that there is evaluation.
fn is_inert(content_type: &str) -> bool {
    if content_type.is_empty() {
        return true;
    }
    if content_type.len() > 200 || content_type.chars().any(|c| c.is_control() || !c.is_ascii()) {
        return false;
    }
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let (kind, sub) = essence.split_once('/').unwrap_or_default();
    match kind {
        "image" => !sub.contains("svg") && !sub.contains("xml"),
        "audio" | "video" | "font" => true,
        "text" => matches!(sub, "plain" | "css" | "csv" | "event-stream"),
        "application" => {
            matches!(sub, "json" | "problem+json" | "ld+json" | "x-ndjson" | "octet-stream" | "wasm" | "pdf")
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(pattern: &str) -> Route {
        Route { pattern: pattern.to_owned(), ..Route::default() }
    }

    #[test]
    fn what_cannot_be_is_refused_and_named() {
        for (route, field) in [
            (Route::default(), "pattern"),
            (Route { body: "x".repeat(BODY_SIZE_MAX + 1), ..route("x") }, "body"),
            (Route { status: Some(999), ..route("x") }, "status"),
            (Route { status: Some(50), ..route("x") }, "status"),
            (Route { content_type: "text/html".into(), ..route("x") }, "contentType"),
            (Route { content_type: "application/javascript".into(), ..route("x") }, "contentType"),
            (Route { content_type: "image/svg+xml".into(), ..route("x") }, "contentType"),
            (Route { content_type: "application/json\r\nX-Evil: 1".into(), ..route("x") }, "contentType"),
            (Route { method: "FOOBAR".into(), ..route("x") }, "method"),
            (Route { resource_type: "java".into(), ..route("x") }, "resourceType"),
        ] {
            assert_eq!(route.check().unwrap_err().field, field);
        }
        let good = Route { content_type: "application/json; charset=utf-8".into(), ..route("x") };
        assert_eq!(good.check(), Ok(()));
    }

    #[test]
    fn chrome_holds_what_the_rule_is_about() {
        assert_eq!(route("api/users?id=1").request_pattern().url_pattern, "*api/users\\?id=1*");
        assert_eq!(route("*.png").request_pattern().url_pattern, "*.png");
        assert!(route("*.png").matches("http://a/x.png", "GET", "Image"));
        let scoped = Route { method: "post".into(), resource_type: "xhr".into(), ..route("api") };
        assert!(scoped.matches("http://a/api", "POST", "Fetch"));
        assert!(!scoped.matches("http://a/api", "POST", "Script"));
    }
}
