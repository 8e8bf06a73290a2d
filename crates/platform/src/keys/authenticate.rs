//! Keys at the HTTP edge.

use std::num::NonZeroU32;

use futures_util::future::BoxFuture;

use super::{AuthError, Keys, token};
use crate::http::{Authenticate, AuthenticateError, Authenticated, KeyLimits, Period, Rate, RateLimit};

impl Authenticate for Keys {
    fn authenticate<'a>(
        &'a self,
        presented: &'a str,
    ) -> BoxFuture<'a, Result<Authenticated, AuthenticateError>> {
        Box::pin(async move {
            let known = Self::authenticate(self, presented).await.map_err(|error| match error {
                AuthError::Refused => AuthenticateError::Refused,
                AuthError::Unavailable(source) => AuthenticateError::Unavailable(Box::new(source)),
            })?;
            Ok(Authenticated { caller: known.caller, limits: known.limits.into() })
        })
    }

    fn has_form_of_key(&self, presented: &str) -> bool {
        token::Token::parse(presented).is_some()
    }
}

impl From<super::KeyLimits> for KeyLimits {
    fn from(limits: super::KeyLimits) -> Self {
        let rate = limits.requests_per_second.map(|requests| {
            let burst = limits.burst.unwrap_or(requests);
            RateLimit::AtMost(Rate { requests, period: Period::Second, burst })
        });
        Self { rate, concurrency_max: limits.concurrency.map(NonZeroU32::get) }
    }
}
