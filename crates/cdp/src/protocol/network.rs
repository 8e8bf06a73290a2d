//! `Network`: what a page loads.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Empty, command, plain_commands, storage};

plain_commands! {
    /// Empties Chrome's HTTP cache of the page's context.
    ClearBrowserCache = "Network.clearBrowserCache";
}

/// Reports requests as events.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Enable {
    /// Bytes of bodies that Chrome keeps for `Network.getResponseBody`, in total.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_total_buffer_size: Option<u64>,
    /// Bytes of one body that Chrome keeps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_resource_buffer_size: Option<u64>,
}
command!(Enable, "Network.enable", Empty);

/// Parameters of `Network.requestWillBeSent`; a redirect repeats the request's id.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestWillBeSent {
    /// The request; for a navigation, the same as its loader's id.
    pub request_id: String,
    /// The document that loads it; empty for a worker's.
    #[serde(default)]
    pub loader_id: String,
    /// What is asked for.
    pub request: Request,
    /// The answer that redirected here.
    pub redirect_response: Option<Response>,
    /// `Document`, `Image`, `Script`, `Fetch`, `EventSource`, …
    #[serde(rename = "type", default)]
    pub kind: String,
    /// The frame that asked.
    #[serde(default)]
    pub frame_id: String,
}

/// A request.
#[derive(Clone, Debug, Deserialize)]
pub struct Request {
    /// Its address.
    pub url: String,
}

/// Parameters of `Network.responseReceived`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResponseReceived {
    /// The request.
    pub request_id: String,
    /// Status and headers.
    pub response: Response,
}

/// An answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    /// Its address.
    pub url: String,
    /// HTTP status; 0 for other protocols.
    pub status: u16,
    /// Media type without parameters.
    #[serde(default)]
    pub mime_type: String,
    /// Headers by name, as they were sent; several of a name are joined by line breaks.
    #[serde(default)]
    pub headers: HashMap<String, String>,
}

/// Parameters of `Network.dataReceived`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DataReceived {
    /// The request.
    pub request_id: String,
    /// Bytes after decompression.
    #[serde(default)]
    pub data_length: u64,
    /// Bytes on the wire.
    #[serde(default)]
    pub encoded_data_length: u64,
}

/// Parameters of `Network.loadingFinished`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoadingFinished {
    /// The request.
    pub request_id: String,
    /// Bytes on the wire, headers included.
    #[serde(default)]
    pub encoded_data_length: f64,
}

/// Parameters of `Network.loadingFailed`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoadingFailed {
    /// The request.
    pub request_id: String,
    /// Chrome's name of the error, for example `net::ERR_NAME_NOT_RESOLVED`.
    #[serde(default)]
    pub error_text: String,
    /// Whether the page itself gave it up.
    #[serde(default)]
    pub canceled: bool,
}

/// Asks for the body of an answer, as long as Chrome has it.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GetResponseBody<'a> {
    /// The request.
    pub request_id: &'a str,
}

/// A body.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResponseBody {
    /// As text or in base64.
    pub body: String,
    /// Whether it is base64.
    #[serde(default)]
    pub base64_encoded: bool,
}
command!(GetResponseBody<'a>, "Network.getResponseBody", ResponseBody);

/// Asks for the cookies that would be sent to some addresses.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct GetCookies<'a> {
    /// The addresses; that of the page if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub urls: Option<&'a [&'a str]>,
}
command!(GetCookies<'a>, "Network.getCookies", storage::Cookies);

/// Makes the network slower, or absent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EmulateNetworkConditions {
    /// No connection at all.
    pub offline: bool,
    /// Least time to the first byte, in milliseconds.
    pub latency: f64,
    /// Bytes per second; -1 for no bound.
    pub download_throughput: f64,
    /// Bytes per second; -1 for no bound.
    pub upload_throughput: f64,
}
command!(EmulateNetworkConditions, "Network.emulateNetworkConditions", Empty);

/// Headers that every request of the page carries.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SetExtraHttpHeaders<'a> {
    /// By name.
    pub headers: &'a std::collections::BTreeMap<String, String>,
}
command!(SetExtraHttpHeaders<'a>, "Network.setExtraHTTPHeaders", Empty);

/// Parameters of `Network.requestWillBeSent` as a log keeps them; headers and timing stay raw.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestDetails<'a> {
    /// The request.
    pub request_id: String,
    /// The frame that asked.
    #[serde(default)]
    pub frame_id: String,
    /// What is asked for.
    #[serde(borrow)]
    pub request: RequestParts<'a>,
    /// The answer that redirected here.
    #[serde(borrow)]
    pub redirect_response: Option<ResponseParts<'a>>,
    /// `Document`, `Image`, …
    #[serde(rename = "type", default)]
    pub kind: String,
    /// Seconds of Chrome's own clock.
    #[serde(default)]
    pub timestamp: f64,
    /// Seconds since 1970.
    #[serde(default)]
    pub wall_time: f64,
}

/// A request with its headers.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestParts<'a> {
    /// Its address.
    pub url: String,
    /// HTTP method.
    #[serde(default)]
    pub method: String,
    /// An object of headers.
    #[serde(borrow, default)]
    pub headers: Option<&'a RawValue>,
    /// The body, if it is a small text.
    pub post_data: Option<String>,
}

/// Parameters of `Network.responseReceived` as a log keeps them.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResponseDetails<'a> {
    /// The request.
    pub request_id: String,
    /// The answer.
    #[serde(borrow)]
    pub response: ResponseParts<'a>,
    /// `Document`, `Image`, …
    #[serde(rename = "type", default)]
    pub kind: String,
    /// Seconds of Chrome's own clock.
    #[serde(default)]
    pub timestamp: f64,
}

/// An answer with its headers.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResponseParts<'a> {
    /// HTTP status; 0 for other protocols.
    #[serde(default)]
    pub status: u16,
    /// What the server calls the status.
    #[serde(default)]
    pub status_text: String,
    /// Media type without parameters.
    #[serde(default)]
    pub mime_type: String,
    /// `http/1.1`, `h2`, …
    #[serde(default)]
    pub protocol: String,
    /// Address of the server, or of the proxy.
    #[serde(rename = "remoteIPAddress", default)]
    pub remote_ip_address: String,
    /// An object of headers.
    #[serde(borrow, default)]
    pub headers: Option<&'a RawValue>,
    /// When the steps of the exchange began and ended.
    #[serde(borrow, default)]
    pub timing: Option<&'a RawValue>,
    /// Bytes on the wire so far.
    #[serde(default)]
    pub encoded_data_length: f64,
    /// From the disk cache.
    #[serde(default)]
    pub from_disk_cache: bool,
    /// From a service worker.
    #[serde(default)]
    pub from_service_worker: bool,
}

/// Parameters of `Network.loadingFinished` and `Network.loadingFailed` as a log keeps them.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoadingEnded {
    /// The request.
    pub request_id: String,
    /// Seconds of Chrome's own clock.
    #[serde(default)]
    pub timestamp: f64,
    /// Bytes on the wire, headers included.
    #[serde(default)]
    pub encoded_data_length: f64,
    /// Chrome's name of the error, if it failed.
    #[serde(default)]
    pub error_text: String,
    /// What refused it, if somebody did.
    #[serde(default)]
    pub blocked_reason: String,
}

/// Parameters of `Network.requestServedFromCache`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServedFromCache {
    /// The request.
    pub request_id: String,
}
/// Keeps the page from loading addresses that match one of these, with `*` for anything.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SetBlockedUrls<'a> {
    /// The patterns.
    pub urls: &'a [&'a str],
}
command!(SetBlockedUrls<'a>, "Network.setBlockedURLs", Empty);
