//! The ways in which a mission is not accepted, not found or not changed.

use std::fmt;

use http::StatusCode;
use paddock_platform::{
    problem::{NOT_FOUND, OVERLOADED, Problem, ProblemKind},
    store::StoreError,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::JobError;

/// The definition has mistakes; `errors` lists them.
pub const MISSION_INVALID: ProblemKind =
    ProblemKind::new("mission-invalid", StatusCode::UNPROCESSABLE_ENTITY, "Mission invalid");
/// The inputs are not what the definition asks for.
pub const MISSION_INPUTS: ProblemKind =
    ProblemKind::new("mission-inputs", StatusCode::UNPROCESSABLE_ENTITY, "Mission inputs invalid");
/// The mission or step is not in a state that allows this.
pub const MISSION_STATE: ProblemKind =
    ProblemKind::new("mission-state", StatusCode::CONFLICT, "Not in this state");
/// The tenant has as many missions or definitions as it may.
pub const MISSIONS_FULL: ProblemKind =
    ProblemKind::new("missions-full", StatusCode::TOO_MANY_REQUESTS, "Too many missions");

/// One mistake in a definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct Flaw {
    /// The step that it is in; absent if it is in none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// The field, as a path: `input.url`, `needs`.
    pub field: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Flaw {
    pub(crate) fn of_definition(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { step: None, field: field.into(), reason: reason.into() }
    }

    pub(crate) fn of_step(step: &str, field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { step: Some(step.to_owned()), field: field.into(), reason: reason.into() }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(step) = &self.step {
            write!(f, "step `{step}`: ")?;
        }
        write!(f, "`{}`: {}", self.field, self.reason)
    }
}

/// A call about missions did not do what it was asked. Nothing of it was kept.
#[derive(Debug, thiserror::Error)]
pub enum MissionError {
    /// The definition has mistakes, at least one.
    #[error("{}", first_of(.0))]
    Invalid(Vec<Flaw>),
    /// The inputs are not what the definition asks for.
    #[error("`{}`: {reason}", path_of_input(.field))]
    Inputs {
        /// Which of them.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No such definition.
    #[error("no mission definition `{0}`")]
    UnknownDefinition(String),
    /// No mission has this id, or it is another tenant's.
    #[error("no mission `{0}`")]
    NotFound(String),
    /// The mission has no such step, or nothing is asked there.
    #[error("the mission has no step `{0}`")]
    UnknownStep(String),
    /// The state of the mission or step does not allow it.
    #[error("{what} is {state}: it cannot be {verb}")]
    State {
        /// `the mission …` or `the step …`.
        what: String,
        /// Where it stands.
        state: String,
        /// What was asked, as a participle.
        verb: &'static str,
    },
    /// As many as may are there.
    #[error("there are {count} {what} already, more may not be")]
    Full {
        /// Of what.
        what: &'static str,
        /// How many there are.
        count: u64,
    },
    /// As many callers watch as may.
    #[error("{0}; try again shortly")]
    Overloaded(&'static str),
    /// The jobs refused or failed.
    #[error(transparent)]
    Job(#[from] JobError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn path_of_input(field: &str) -> String {
    if field.is_empty() { "inputs".to_owned() } else { format!("inputs.{field}") }
}

fn first_of(flaws: &[Flaw]) -> String {
    match flaws {
        [] => "the definition is invalid".to_owned(),
        [only] => only.to_string(),
        [first, rest @ ..] => format!("{first} (and {} more)", rest.len()),
    }
}

/// When to come back after what passes by itself.
const RETRY_SOON: std::time::Duration = std::time::Duration::from_secs(1);
/// When to come back when as many as may are there.
const RETRY_FULL: std::time::Duration = std::time::Duration::from_secs(30);

impl From<MissionError> for Problem {
    fn from(error: MissionError) -> Self {
        let detail = error.to_string();
        match error {
            MissionError::Invalid(flaws) => Self::new(MISSION_INVALID, detail)
                .with("errors", serde_json::to_value(&flaws).unwrap_or_default()),
            MissionError::Inputs { field, .. } => {
                Self::new(MISSION_INPUTS, detail).with("field", path_of_input(&field))
            }
            MissionError::UnknownDefinition(_) | MissionError::NotFound(_) | MissionError::UnknownStep(_) => {
                Self::new(NOT_FOUND, detail)
            }
            MissionError::State { state, .. } => Self::new(MISSION_STATE, detail).with("state", state),
            MissionError::Full { .. } => Self::new(MISSIONS_FULL, detail).retry_after(RETRY_FULL),
            MissionError::Overloaded(_) => Self::new(OVERLOADED, detail).retry_after(RETRY_SOON),
            MissionError::Job(error) => error.into(),
            MissionError::Store(error) => JobError::from(error).into(),
        }
    }
}
