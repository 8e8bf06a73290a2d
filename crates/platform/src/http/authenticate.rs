//! From a key in a header to the [`Caller`] that handlers see.

use std::future::ready;

use axum::extract::FromRequestParts;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts};
use serde::{Deserialize, Serialize};

use super::rate::RateLimit;
use crate::{
    identity::Caller,
    problem::{OVERLOADED, Problem, UNAUTHENTICATED, error_chain},
};

/// The header that some clients send their key in.
pub const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// What a 401 tells the client to do.
pub(super) const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"paddock\"");

/// Knows keys. The edge asks it for every request that carries one.
pub trait Authenticate: Send + Sync + 'static {
    /// Whose key it is and what its limits are. Must be quick for keys seen before: it runs for every request.
    fn authenticate<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Authenticated, AuthenticateError>>;

    /// Whether a text has the form of our keys. On a server that requires none, others are ignored: model SDKs cannot
    /// be told to send no key.
    fn has_form_of_key(&self, token: &str) -> bool;
}

/// A key that holds.
#[derive(Clone, Debug)]
pub struct Authenticated {
    /// Who bears it.
    pub caller: Caller,
    /// Its own limits.
    pub limits: KeyLimits,
}

/// Limits of one key; `None` leaves the server's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeyLimits {
    /// How often it may be used.
    pub rate: Option<RateLimit>,
    /// Its requests worked on at once.
    pub concurrency_max: Option<u32>,
}

/// A key was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticateError {
    /// It is unknown, expired or revoked; which one is nobody's business.
    #[error("the key is unknown, expired or revoked")]
    Refused,
    /// Whether it holds could not be found out.
    #[error("keys cannot be checked now")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<AuthenticateError> for Problem {
    fn from(error: AuthenticateError) -> Self {
        match &error {
            AuthenticateError::Refused => Self::new(UNAUTHENTICATED, error.to_string()),
            AuthenticateError::Unavailable(_) => {
                tracing::error!(error = error_chain(&error), "authentication failed");
                Self::new(OVERLOADED, error.to_string()).retry_after(std::time::Duration::from_secs(1))
            }
        }
    }
}

/// No key holds: for servers without any.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoKeys;

impl Authenticate for NoKeys {
    fn authenticate<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Authenticated, AuthenticateError>> {
        Box::pin(ready(Err(AuthenticateError::Refused)))
    }

    fn has_form_of_key(&self, _: &str) -> bool {
        false
    }
}

/// The key of a request: `Authorization: Bearer …` or `X-Api-Key: …`. Anything else there counts as no key. Of two, it is
/// the one that has the form of our keys: clients that insist on a bearer send any text there.
pub(super) fn token(headers: &HeaderMap, has_form: impl Fn(&str) -> bool) -> Option<&str> {
    let bearer = credentials(headers, "bearer");
    let api_key = headers.get(X_API_KEY).and_then(|value| value.to_str().ok()).map(str::trim);
    let [bearer, api_key] = [bearer, api_key].map(|token| token.filter(|token| !token.is_empty()));
    match (bearer, api_key) {
        (Some(bearer), Some(api_key)) if has_form(api_key) && !has_form(bearer) => Some(api_key),
        (bearer, api_key) => bearer.or(api_key),
    }
}

/// What `Authorization` carries under a scheme.
pub(super) fn credentials<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<&'a str> {
    let (presented, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    presented.eq_ignore_ascii_case(scheme).then(|| token.trim())
}

/// Handlers take the caller as an argument; the edge has put it there.
impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    fn from_request_parts(
        parts: &mut Parts,
        _: &S,
    ) -> impl Future<Output = Result<Self, Self::Rejection>> + Send {
        let caller = parts.extensions.get::<Self>().cloned();
        ready(caller.ok_or_else(|| Problem::new(UNAUTHENTICATED, "this route needs a key")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_in_either_header() {
        let token_of = |name: HeaderName, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            token(&headers, |_| true).map(str::to_owned)
        };
        assert_eq!(token_of(header::AUTHORIZATION, "Bearer abc").as_deref(), Some("abc"));
        assert_eq!(token_of(header::AUTHORIZATION, "bearer  abc ").as_deref(), Some("abc"));
        assert_eq!(token_of(X_API_KEY, "abc").as_deref(), Some("abc"));
        for value in ["Basic abc", "Bearer", "Bearer ", ""] {
            assert_eq!(token_of(header::AUTHORIZATION, value), None, "{value}");
        }
    }

    #[test]
    fn of_two_keys_the_one_that_may_be_ours_counts() {
        for (bearer, api_key, found) in [
            ("Bearer dummy", "pdk_a", "pdk_a"),
            ("Bearer pdk_b", "pdk_a", "pdk_b"),
            ("Bearer pdk_b", "dummy", "pdk_b"),
            ("Bearer dummy", "other", "dummy"),
            ("Bearer dummy", "", "dummy"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, HeaderValue::from_static(bearer));
            headers.insert(X_API_KEY, HeaderValue::from_static(api_key));
            assert_eq!(token(&headers, |token| token.starts_with("pdk_")), Some(found), "{bearer} {api_key}");
        }
    }
}
