//! What a key is.

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use crate::{
    http::KeyLimits,
    identity::{Scope, Tenant},
};

/// What a key is created from.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// For the people who manage it.
    pub name: String,
    /// Whose things its bearer sees.
    pub tenant: Tenant,
    /// What its bearer may do.
    pub scopes: Vec<Scope>,
    /// How much of it.
    pub limits: KeyLimits,
    /// Until when; for ever if `None`.
    pub expires_at: Option<Timestamp>,
}

/// A key as it is listed. The secret is not in it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Key {
    /// Identifies it in logs and for revocation.
    pub id: String,
    /// For the people who manage it.
    pub name: String,
    /// Whose things its bearer sees.
    pub tenant: Tenant,
    /// What its bearer may do.
    #[serde(serialize_with = "as_texts")]
    pub scopes: Vec<Scope>,
    /// How much of it.
    pub limits: KeyLimits,
    /// When it was created.
    pub created_at: Timestamp,
    /// Until when it is accepted.
    pub expires_at: Option<Timestamp>,
    /// Since when it is not.
    pub revoked_at: Option<Timestamp>,
    /// Exact to the minute.
    pub last_used_at: Option<Timestamp>,
}

fn as_texts<S: Serializer>(scopes: &[Scope], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(scopes.iter().map(ToString::to_string))
}

/// Whether a key is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// It is.
    Active,
    /// Its time is over.
    Expired,
    /// It was ended.
    Revoked,
}

impl Key {
    /// Whether it is accepted at a moment.
    pub fn state(&self, at: Timestamp) -> KeyState {
        if self.revoked_at.is_some() {
            KeyState::Revoked
        } else if self.expires_at.is_some_and(|expiry| expiry <= at) {
            KeyState::Expired
        } else {
            KeyState::Active
        }
    }
}
