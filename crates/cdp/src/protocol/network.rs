//! `Network`: what a page loads.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::{Empty, command};

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

/// Keeps the page from loading addresses that match one of these, with `*` for anything.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SetBlockedUrls<'a> {
    /// The patterns.
    pub urls: &'a [&'a str],
}
command!(SetBlockedUrls<'a>, "Network.setBlockedURLs", Empty);
