//! Keys at the HTTP edge.

use futures_util::future::BoxFuture;

use super::{Keys, token::Token};
use crate::http::{Authenticate, AuthenticateError, Authenticated};

impl Authenticate for Keys {
    fn authenticate<'a>(
        &'a self,
        presented: &'a str,
    ) -> BoxFuture<'a, Result<Authenticated, AuthenticateError>> {
        Box::pin(Self::authenticate(self, presented))
    }

    fn has_form_of_key(&self, presented: &str) -> bool {
        Token::parse(presented).is_some()
    }
}
