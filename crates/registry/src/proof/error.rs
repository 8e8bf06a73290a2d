//! Why a proof of a namespace was not taken.

use std::time::Duration;

use http::StatusCode;
use paddock_platform::{
    problem::{NOT_FOUND, OVERLOADED, Problem, ProblemKind},
    store::StoreError,
};

use super::ProofMethod;

/// What was presented does not prove what it should.
pub const PROOF_REFUSED: ProblemKind =
    ProblemKind::new("registry-proof-refused", StatusCode::UNAUTHORIZED, "Proof refused");
/// Whether it does could not be found out.
pub const PROOF_UNCHECKED: ProblemKind =
    ProblemKind::new("registry-proof-unchecked", StatusCode::SERVICE_UNAVAILABLE, "Proof cannot be checked");

/// When to come back after the other side failed, and after being refused for want of a place.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// A proof was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProofError {
    /// The configuration does not take such proofs.
    #[error("this server takes no proofs by `{0}`; `[registry.publish] proofs` lists those that it takes")]
    Off(ProofMethod),
    /// A member of the body is not what it should be.
    #[error("`{field}`: {detail}")]
    Malformed {
        /// Which member.
        field: &'static str,
        /// What is wrong with it.
        detail: &'static str,
    },
    /// It proves nothing.
    #[error("{0}")]
    Refused(String),
    /// Who could tell did not answer, or not in time. What exactly went wrong is for the log: it would tell callers about
    /// networks that they cannot see.
    #[error("{0}")]
    Unchecked(String),
    /// Too many proofs are being checked, or hold.
    #[error("as many proofs are being checked, or hold, as may; try again shortly")]
    Busy,
    /// The system has no randomness.
    #[error("the system gave no random bytes")]
    Random,
    /// The store failed.
    #[error("the proof could not be kept")]
    Store(#[from] StoreError),
}

impl ProofError {
    /// A short name, for metrics.
    pub(super) const fn label(&self) -> &'static str {
        match self {
            Self::Off(_) => "off",
            Self::Malformed { .. } => "malformed",
            Self::Refused(_) => "refused",
            Self::Unchecked(_) => "unchecked",
            Self::Busy => "busy",
            Self::Random | Self::Store(_) => "failed",
        }
    }
}

impl From<ProofError> for Problem {
    fn from(error: ProofError) -> Self {
        let detail = error.to_string();
        match error {
            ProofError::Off(_) => Self::new(NOT_FOUND, detail),
            ProofError::Malformed { field, detail } => Self::invalid_field(field, detail),
            ProofError::Refused(_) => Self::new(PROOF_REFUSED, detail),
            ProofError::Unchecked(_) => Self::new(PROOF_UNCHECKED, detail).retry_after(RETRY_AFTER),
            ProofError::Busy => Self::new(OVERLOADED, detail).retry_after(RETRY_AFTER),
            ProofError::Random => Self::internal("giving the right to publish", &error),
            ProofError::Store(error) => error.into(),
        }
    }
}
