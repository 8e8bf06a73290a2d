//! Accessibility snapshots of a tab's page.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use http::StatusCode;
use paddock_platform::problem::{NOT_FOUND, Problem, ProblemKind};
use serde_json::value::RawValue;

use crate::{
    evaluate::{EvaluateError, World},
    snapshot::{SCRIPT, Snapshot, SnapshotError, SnapshotOptions},
    tab::Tab,
};

/// The page's own answer to a snapshot is not one.
pub const SNAPSHOT_FAILED: ProblemKind =
    ProblemKind::new("snapshot-failed", StatusCode::BAD_GATEWAY, "Snapshot failed");

/// How long a snapshot may take.
const SNAPSHOT_DEADLINE: Duration = Duration::from_secs(20);

/// A page whose snapshot could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// The page did not run the walk.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// The walk did not find what was asked for, or its result is not a snapshot.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
}

impl From<ObserveError> for Problem {
    fn from(error: ObserveError) -> Self {
        match error {
            ObserveError::Evaluate(error) => error.into(),
            ObserveError::Snapshot(error @ SnapshotError::NotFound) => {
                Self::new(NOT_FOUND, error.to_string())
            }
            ObserveError::Snapshot(error @ SnapshotError::InvalidSelector) => {
                Self::invalid_field("selector", error)
            }
            ObserveError::Snapshot(error) => Self::new(SNAPSHOT_FAILED, error.to_string()),
        }
    }
}

impl Tab {
    /// Takes a snapshot, and returns the one before as well if it was of the same document.
    pub async fn snapshot(
        &self,
        options: SnapshotOptions,
    ) -> Result<(Arc<Snapshot>, Option<Arc<Snapshot>>), ObserveError> {
        self.touch();
        let previous = self.0.snapshot.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let refs_from = previous.as_ref().map_or(options.refs_from, |previous| previous.ref_next);
        let options = SnapshotOptions { refs_from, ..options };
        let value = self.evaluate_accessibility(&options.expression(), SNAPSHOT_DEADLINE).await?;
        // The value is a text that holds the JSON: cheaper for the page than an object.
        let text: String = serde_json::from_str(value.get()).map_err(SnapshotError::Malformed)?;
        let snapshot = Arc::new(Snapshot::parse(&text)?);
        let mut last = self.0.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some(Arc::clone(&snapshot));
        let same = previous.filter(|previous| previous.document == snapshot.document);
        Ok((snapshot, same))
    }

    /// Evaluates an expression that uses `paddockAccessibility`, in the isolated world.
    pub(crate) async fn evaluate_accessibility(
        &self,
        expression: &str,
        timeout: Duration,
    ) -> Result<Box<RawValue>, EvaluateError> {
        match self.evaluate(expression, World::Isolated, timeout).await {
            // Once per document.
            Err(EvaluateError::Exception { message, .. }) if is_missing(&message) => {
                self.evaluate(SCRIPT, World::Isolated, timeout).await?;
                self.evaluate(expression, World::Isolated, timeout).await
            }
            result => result,
        }
    }
}

fn is_missing(message: &str) -> bool {
    message.contains("paddockAccessibility is not defined")
}
