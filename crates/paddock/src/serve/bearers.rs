//! Whose bearer tokens the server knows: keys, and what the registry gives to whoever proves that a namespace is theirs.

use futures_util::future::BoxFuture;
use paddock_platform::{
    http::{Authenticate, AuthenticateError, Authenticated},
    keys::Keys,
};
use paddock_registry::Proofs;

/// Asks whoever gave a token out, which its beginning tells.
pub(super) struct Bearers {
    pub(super) keys: Keys,
    pub(super) proofs: Proofs,
}

impl Authenticate for Bearers {
    fn authenticate<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Authenticated, AuthenticateError>> {
        if self.proofs.has_form_of_key(token) {
            self.proofs.authenticate(token)
        } else {
            Authenticate::authenticate(&self.keys, token)
        }
    }

    fn has_form_of_key(&self, token: &str) -> bool {
        self.keys.has_form_of_key(token) || self.proofs.has_form_of_key(token)
    }
}
