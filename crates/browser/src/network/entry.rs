//! One request and its answer, as the log keeps them.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use paddock_cdp::protocol::network::{LoadingEnded, RequestDetails, ResponseDetails, ResponseParts};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// Characters of an address that are kept: `data:` addresses have no bound of their own.
const URL_SIZE_MAX: usize = 8 << 10;
/// Characters of a request's body that are kept.
const POST_SIZE_MAX: usize = 64 << 10;
/// Bytes of one side's headers that are kept.
const HEADERS_SIZE_MAX: usize = 64 << 10;
/// What an entry takes beside its texts, roughly.
const ENTRY_SIZE: usize = 512;

/// A request.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Names it; the hops of a redirect share it.
    pub request_id: String,
    /// Its address; cut after 8192 bytes.
    pub url: String,
    /// HTTP method.
    pub method: String,
    /// `Document`, `Stylesheet`, `Image`, `Media`, `Font`, `Script`, `XHR`, `Fetch`, `EventSource`, `WebSocket`, …
    pub resource_type: String,
    /// HTTP status; 0 while there is none.
    pub status: u16,
    /// What the server calls the status.
    pub status_text: String,
    /// Media type of the answer.
    pub mime_type: String,
    /// `http/1.1`, `h2`, …
    #[serde(skip_serializing_if = "String::is_empty")]
    pub protocol: String,
    /// Headers of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub request_headers: Option<Arc<RawValue>>,
    /// Headers of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub response_headers: Option<Arc<RawValue>>,
    /// The request's body, if it is a small text; cut after 65536 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub post_data: Option<String>,
    /// When it was made.
    #[schema(value_type = String)]
    pub start_time: Timestamp,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub end_time: Option<Timestamp>,
    /// Milliseconds until it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<f64>,
    /// Bytes on the wire, headers included.
    pub size: u64,
    /// Answered without the network.
    pub from_cache: bool,
    /// It ended well.
    pub finished: bool,
    /// It ended badly.
    pub failed: bool,
    /// Chrome's name of the error.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
    /// Steps of the exchange, for exports.
    #[serde(skip)]
    pub(super) timing: Option<Arc<RawValue>>,
    /// When it was made, and answered, by Chrome's clock.
    #[serde(skip)]
    pub(super) clock: (f64, f64),
}

impl Entry {
    pub(super) fn new(details: RequestDetails<'_>) -> Self {
        let start = Timestamp::from_microsecond((details.wall_time * 1e6) as i64);
        Self {
            request_id: details.request_id,
            url: cut(details.request.url, URL_SIZE_MAX),
            method: details.request.method,
            resource_type: details.kind,
            status: 0,
            status_text: String::new(),
            mime_type: String::new(),
            protocol: String::new(),
            request_headers: keep(details.request.headers),
            response_headers: None,
            post_data: details.request.post_data.map(|data| cut(data, POST_SIZE_MAX)),
            start_time: start.unwrap_or_default(),
            end_time: None,
            duration: None,
            size: 0,
            from_cache: false,
            finished: false,
            failed: false,
            error: String::new(),
            timing: None,
            clock: (details.timestamp, details.timestamp),
        }
    }

    pub(super) fn answered(&mut self, details: ResponseDetails<'_>) {
        if !details.kind.is_empty() {
            self.resource_type = details.kind;
        }
        self.clock.1 = details.timestamp;
        self.take_response(details.response);
    }

    /// The answer sends the client elsewhere: this hop is over.
    pub(super) fn redirected(&mut self, response: ResponseParts<'_>, timestamp: f64) {
        self.clock.1 = timestamp;
        self.take_response(response);
        self.end(timestamp);
        self.finished = true;
    }

    fn take_response(&mut self, response: ResponseParts<'_>) {
        self.status = response.status;
        self.status_text = cut(response.status_text, 200);
        self.mime_type = cut(response.mime_type, 200);
        self.protocol = cut(response.protocol, 50);
        self.response_headers = keep(response.headers);
        self.timing = keep(response.timing);
        self.size = response.encoded_data_length.max(0.0) as u64;
        self.from_cache |= response.from_disk_cache || response.from_service_worker;
    }

    pub(super) fn finished(&mut self, details: &LoadingEnded) {
        self.finished = true;
        self.size = self.size.max(details.encoded_data_length.max(0.0) as u64);
        self.end(details.timestamp);
    }

    pub(super) fn failed(&mut self, details: LoadingEnded) {
        self.failed = true;
        self.error = cut(details.error_text, 200);
        if !details.blocked_reason.is_empty() {
            self.error = format!("{} ({})", self.error, cut(details.blocked_reason, 100));
        }
        self.end(details.timestamp);
    }

    fn end(&mut self, timestamp: f64) {
        let microseconds = ((timestamp - self.clock.0).max(0.0) * 1e6).round();
        self.duration = Some(microseconds / 1e3);
        let end = self.start_time.as_microsecond().saturating_add(microseconds as i64);
        self.end_time = Timestamp::from_microsecond(end).ok();
    }

    /// About how many bytes it takes.
    pub(super) fn footprint(&self) -> usize {
        let raw = |raw: &Option<Arc<RawValue>>| raw.as_ref().map_or(0, |raw| raw.get().len());
        ENTRY_SIZE
            + self.url.len()
            + self.post_data.as_ref().map_or(0, String::len)
            + raw(&self.request_headers)
            + raw(&self.response_headers)
            + raw(&self.timing)
    }
}

/// Headers as names and values, in Chrome's order of names.
pub(super) fn headers(raw: Option<&RawValue>) -> BTreeMap<String, String> {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
}

fn keep(raw: Option<&RawValue>) -> Option<Arc<RawValue>> {
    raw.filter(|raw| raw.get().len() <= HEADERS_SIZE_MAX).map(|raw| Arc::from(raw.to_owned()))
}

fn cut(mut text: String, max: usize) -> String {
    if text.len() > max {
        text.truncate(text.floor_char_boundary(max));
        text.shrink_to_fit();
    }
    text
}
