//! The decision log: where the last calls went, and why.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use utoipa::ToSchema;

/// Decisions that are kept.
const DECISIONS_MAX: usize = 1000;

/// One decision.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub(crate) struct Decision {
    /// When it was made.
    #[schemars(with = "String")]
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Whose call it was.
    #[serde(skip)]
    pub(crate) tenant: std::sync::Arc<str>,
    /// The name that was asked for.
    pub model: String,
    /// How the route picks.
    pub strategy: &'static str,
    /// Where the call went.
    pub provider: String,
    /// The provider's model.
    pub target: String,
    /// The credential.
    pub credential: String,
    /// Which attempt it was.
    pub attempt: u32,
    /// Whether it was of a fallback and not of the route itself.
    pub fallback: bool,
    /// Why the attempt before failed, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// What was passed over, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<SkippedLane>,
}

/// A place that was passed over.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub(crate) struct SkippedLane {
    /// `provider/model#credential`.
    pub place: String,
    /// Why.
    pub reason: &'static str,
}

/// The last decisions.
#[derive(Debug, Default)]
pub(crate) struct Decisions(Mutex<VecDeque<Decision>>);

impl Decisions {
    /// Keeps one. Who would have to wait for another to be kept goes without: a decision is worth no delay.
    pub(crate) fn add(&self, make: impl FnOnce() -> Decision) {
        let Ok(mut kept) = self.0.try_lock() else { return };
        if kept.len() >= DECISIONS_MAX {
            kept.pop_front();
        }
        kept.push_back(make());
    }

    /// The last decisions of a tenant, or of all, the newest first.
    pub(crate) fn last(&self, tenant: Option<&str>, limit: usize) -> Vec<Decision> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let seen =
            kept.iter().rev().filter(|decision| tenant.is_none_or(|tenant| *decision.tenant == *tenant));
        seen.take(limit).cloned().collect()
    }
}
