//! Export of requests: HAR 1.2 (<http://www.softwareishard.com/blog/har-12-spec/>) and one JSON object per line.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use url::Url;
use utoipa::ToSchema;

use super::{Entry, entry::headers, retain::Body};

/// What stands in the place of what is kept from exports.
const REDACTED: &str = "[REDACTED]";
/// Headers whose values are logins.
const SENSITIVE: [&str; 5] = ["cookie", "set-cookie", "authorization", "proxy-authorization", "x-api-key"];

/// How requests are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ExportFormat {
    /// HAR 1.2.
    #[default]
    Har,
    /// One entry of a HAR per line.
    Ndjson,
}

impl ExportFormat {
    /// The names of all.
    pub const NAMES: [&'static str; 2] = ["har", "ndjson"];

    /// The format of a name.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "har" => Some(Self::Har),
            "ndjson" => Some(Self::Ndjson),
            _ => None,
        }
    }

    /// Its name, which is also the ending of its files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Har => "har",
            Self::Ndjson => "ndjson",
        }
    }

    /// Its media type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Har => "application/json",
            Self::Ndjson => "application/x-ndjson",
        }
    }

    /// What comes before the entries.
    pub(crate) fn start(self) -> String {
        match self {
            Self::Har => {
                let creator = json!({ "name": "Paddock", "version": env!("CARGO_PKG_VERSION") });
                format!("{{\"log\":{{\"version\":\"1.2\",\"creator\":{creator},\"pages\":[],\"entries\":[")
            }
            Self::Ndjson => String::new(),
        }
    }

    /// One entry; `first` if none came before.
    pub(crate) fn entry(self, entry: &Value, first: bool) -> String {
        match self {
            Self::Har if first => entry.to_string(),
            Self::Har => format!(",{entry}"),
            Self::Ndjson => format!("{entry}\n"),
        }
    }

    /// What comes after the entries.
    pub(crate) fn end(self) -> &'static str {
        match self {
            Self::Har => "]}}",
            Self::Ndjson => "",
        }
    }
}

/// Steps of an exchange, in milliseconds after `request_time`; -1 for those that did not happen.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Timing {
    request_time: f64,
    dns_start: f64,
    dns_end: f64,
    connect_start: f64,
    connect_end: f64,
    ssl_start: f64,
    ssl_end: f64,
    send_start: f64,
    send_end: f64,
    receive_headers_end: f64,
}

/// An entry of a HAR.
pub(crate) fn entry(entry: &Entry, body: Option<&Body>, redact: bool) -> Value {
    let request_headers = headers(entry.request_headers.as_deref());
    let response_headers = headers(entry.response_headers.as_deref());
    let query: Vec<Value> = Url::parse(&entry.url)
        .map(|url| url.query_pairs().map(|(name, value)| json!({ "name": name, "value": value })).collect())
        .unwrap_or_default();
    let version = if entry.protocol.is_empty() { "HTTP/1.1" } else { &entry.protocol };
    let mut request = json!({
        "method": entry.method, "url": entry.url, "httpVersion": version, "cookies": [],
        "headers": list(&request_headers, redact), "queryString": query, "headersSize": -1,
        "bodySize": entry.post_data.as_ref().map_or(0, String::len),
    });
    if let (Some(text), Some(request)) = (&entry.post_data, request.as_object_mut()) {
        let mime = request_headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        let mime = mime.map_or("", |(_, value)| value);
        request.insert("postData".to_owned(), json!({ "mimeType": mime, "text": text }));
    }
    let location = response_headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("location"));
    let response = json!({
        "status": entry.status, "statusText": entry.status_text, "httpVersion": version, "cookies": [],
        "headers": list(&response_headers, redact), "content": content(entry, body),
        "redirectURL": location.map_or("", |(_, value)| value), "headersSize": -1, "bodySize": entry.size,
    });
    let timings = timings(entry);
    json!({
        "startedDateTime": entry.start_time.to_string(), "time": entry.duration.unwrap_or(0.0),
        "request": request, "response": response, "cache": {}, "timings": timings,
        "_resourceType": entry.resource_type.to_lowercase(), "_requestId": entry.request_id,
        "_fromCache": entry.from_cache,
        "_error": (!entry.error.is_empty()).then_some(&entry.error),
    })
}

fn content(entry: &Entry, body: Option<&Body>) -> Value {
    let size = body.map_or(entry.size, |body| body.text.len() as u64);
    let mut content = json!({ "size": size, "mimeType": entry.mime_type });
    if let (Some(body), Some(content)) = (body, content.as_object_mut()) {
        content.insert("text".to_owned(), body.text.clone().into());
        if body.is_base64 {
            content.insert("encoding".to_owned(), "base64".into());
        }
    }
    content
}

fn list(headers: &BTreeMap<String, String>, redact: bool) -> Vec<Value> {
    let shown = |name: &str, value: &str| {
        let hidden = redact && SENSITIVE.iter().any(|known| known.eq_ignore_ascii_case(name));
        json!({ "name": name, "value": if hidden { REDACTED } else { value } })
    };
    headers.iter().map(|(name, value)| shown(name, value)).collect()
}

fn timings(entry: &Entry) -> Value {
    let timing: Option<Timing> =
        entry.timing.as_ref().and_then(|timing| serde_json::from_str(timing.get()).ok());
    let total = entry.duration.unwrap_or(0.0);
    let Some(timing) = timing else {
        let wait = ((entry.clock.1 - entry.clock.0) * 1000.0).clamp(0.0, total);
        return json!({ "send": 0, "wait": wait, "receive": total - wait });
    };
    let span = |from: f64, to: f64| if from >= 0.0 && to >= from { to - from } else { -1.0 };
    let queued = ((timing.request_time - entry.clock.0) * 1000.0).max(0.0);
    let received = (total - queued - timing.receive_headers_end).max(0.0);
    json!({
        "blocked": queued, "dns": span(timing.dns_start, timing.dns_end),
        "connect": span(timing.connect_start, timing.connect_end), "ssl": span(timing.ssl_start, timing.ssl_end),
        "send": span(timing.send_start, timing.send_end).max(0.0),
        "wait": span(timing.send_end, timing.receive_headers_end).max(0.0), "receive": received,
    })
}

#[cfg(test)]
mod tests {
    use paddock_cdp::{Event, Payload};

    use super::*;
    use crate::network::{Filter, Log, log::Bounds};

    #[test]
    fn an_export_is_a_whole_document_and_hides_logins() {
        let log = Log::default();
        let params = json!({ "requestId": "1", "timestamp": 1.0, "wallTime": 1.0, "type": "XHR", "request": {
            "url": "http://a/?q=1", "method": "POST", "postData": "{}",
            "headers": { "Cookie": "secret", "Content-Type": "application/json" } } });
        let event = Event { method: "Network.requestWillBeSent", params: Payload::from_json(&params) };
        log.apply(&event, Bounds { entries_max: 9, size_max: 1 << 20 });
        let [logged] = log.list(&Filter::default()).try_into().unwrap();
        let body = Body { text: "AAA=".into(), is_base64: true, truncated: false };
        let exported = entry(&logged, Some(&body), true);
        let format = ExportFormat::Har;
        let text = [format.start(), format.entry(&exported, true), format.entry(&exported, false)].concat();
        let document: Value = serde_json::from_str(&(text + format.end())).unwrap();
        assert_eq!(document["log"]["version"], "1.2");
        let first = &document["log"]["entries"][0];
        assert_eq!(first["request"]["headers"][1], json!({ "name": "Cookie", "value": REDACTED }));
        assert_eq!(first["request"]["queryString"][0], json!({ "name": "q", "value": "1" }));
        assert_eq!(first["request"]["postData"]["mimeType"], "application/json");
        assert_eq!(first["response"]["content"]["encoding"], "base64");
        assert!(!exported.to_string().contains("secret"));
        assert!(entry(&logged, None, false).to_string().contains("secret"));
    }
}
