//! `Fetch`: requests that wait for a decision.

use serde::{Deserialize, Serialize};

use super::{Empty, command, plain_commands};

plain_commands! {
    /// Lets all requests go on that wait, and holds no further ones.
    Disable = "Fetch.disable";
}

/// Holds matching requests until they are decided on.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Enable<'a> {
    /// Which; none matches nothing, but for requests for credentials.
    pub patterns: &'a [RequestPattern],
    /// Whether requests for credentials are asked about too.
    pub handle_auth_requests: bool,
}
command!(Enable<'a>, "Fetch.enable", Empty);

/// Which requests are held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestPattern {
    /// Address, with `*` and `?` as wildcards, and `\` before one that is meant.
    pub url_pattern: String,
    /// `Script`, `Image`, …; any if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_type: Option<String>,
}

/// Parameters of `Fetch.requestPaused`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestPaused {
    /// Names the held request; not the id that `Network` has for it.
    pub request_id: String,
    /// The request.
    pub request: PausedRequest,
    /// `Script`, `Image`, …
    #[serde(default)]
    pub resource_type: String,
}

/// A held request.
#[derive(Clone, Debug, Deserialize)]
pub struct PausedRequest {
    /// Its address.
    pub url: String,
    /// HTTP method.
    #[serde(default)]
    pub method: String,
}

/// Lets a request go on.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ContinueRequest<'a> {
    /// Which.
    pub request_id: &'a str,
}
command!(ContinueRequest<'a>, "Fetch.continueRequest", Empty);

/// Ends a request with an error.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FailRequest<'a> {
    /// Which.
    pub request_id: &'a str,
    /// `BlockedByClient`, `Failed`, …
    pub error_reason: &'a str,
}
command!(FailRequest<'a>, "Fetch.failRequest", Empty);

/// Answers a request in place of its host.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FulfillRequest<'a> {
    /// Which.
    pub request_id: &'a str,
    /// HTTP status.
    pub response_code: u16,
    /// Headers of the answer.
    pub response_headers: &'a [Header<'a>],
    /// The body, in base64.
    pub body: &'a str,
}
command!(FulfillRequest<'a>, "Fetch.fulfillRequest", Empty);

/// A header.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Header<'a> {
    /// Name.
    pub name: &'a str,
    /// Value.
    pub value: &'a str,
}

/// Parameters of `Fetch.authRequired`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthRequired {
    /// Names the held request.
    pub request_id: String,
    /// Who asks.
    pub auth_challenge: AuthChallenge,
}

/// A demand for credentials.
#[derive(Clone, Debug, Deserialize)]
pub struct AuthChallenge {
    /// `Server` or `Proxy`.
    #[serde(default)]
    pub source: String,
}

/// Answers a demand for credentials.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ContinueWithAuth<'a> {
    /// Which.
    pub request_id: &'a str,
    /// The answer.
    pub auth_challenge_response: AuthChallengeResponse<'a>,
}
command!(ContinueWithAuth<'a>, "Fetch.continueWithAuth", Empty);

/// What a demand for credentials is answered with.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct AuthChallengeResponse<'a> {
    /// `Default`, `CancelAuth` or `ProvideCredentials`.
    pub response: &'a str,
    /// User.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<&'a str>,
    /// Password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<&'a str>,
}
