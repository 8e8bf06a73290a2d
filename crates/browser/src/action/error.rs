//! How actions fail, and what their users read.

use std::fmt;

use http::StatusCode;
use paddock_cdp::CallError;
use paddock_platform::problem::{Problem, ProblemKind};
use serde::{Deserialize, Serialize};

use super::keyboard::UnknownKeyError;
use crate::{
    dialog::{Dialog, blocked_problem},
    error::call_problem,
    evaluate::{EvaluateError, look_problem},
};

/// A selector names no element.
pub const NO_ELEMENT: ProblemKind = ProblemKind::new("no-element", StatusCode::NOT_FOUND, "No such element");
/// The element of a reference has left the page.
pub const STALE_REF: ProblemKind = ProblemKind::new("stale-ref", StatusCode::NOT_FOUND, "Stale reference");
/// The element is there, but nobody sees it.
pub const ELEMENT_HIDDEN: ProblemKind =
    ProblemKind::new("element-hidden", StatusCode::CONFLICT, "Element is hidden");
/// The element takes no input now.
pub const ELEMENT_DISABLED: ProblemKind =
    ProblemKind::new("element-disabled", StatusCode::CONFLICT, "Element is disabled");
/// Another element would get the event. The status is the one that Pinchtab's clients expect.
pub const ELEMENT_COVERED: ProblemKind =
    ProblemKind::new("element-covered", StatusCode::INTERNAL_SERVER_ERROR, "Element is covered");
/// The element does not come to rest.
pub const ELEMENT_MOVING: ProblemKind =
    ProblemKind::new("element-moving", StatusCode::CONFLICT, "Element is moving");
/// The element is not of a kind that can be acted on so.
pub const ELEMENT_UNFIT: ProblemKind =
    ProblemKind::new("element-unfit", StatusCode::CONFLICT, "Element cannot do that");
/// The action contradicts itself or lacks something.
pub const INVALID_ACTION: ProblemKind =
    ProblemKind::new("invalid-action", StatusCode::BAD_REQUEST, "Invalid action");
/// The page did not let the action be done.
pub const ACTION_FAILED: ProblemKind =
    ProblemKind::new("action-failed", StatusCode::INTERNAL_SERVER_ERROR, "Action failed");

/// An element as messages name it.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema,
)]
#[serde(default)]
pub struct ElementSummary {
    /// Its reference.
    pub r#ref: String,
    /// Its role.
    pub role: String,
    /// Its accessible name.
    pub name: String,
    /// Its tag.
    pub tag: String,
    /// Its id.
    pub id: String,
    /// Its classes.
    pub classes: String,
}

impl fmt::Display for ElementSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`<{}", self.tag)?;
        if !self.id.is_empty() {
            write!(f, " id={:?}", self.id)?;
        } else if !self.classes.is_empty() {
            write!(f, " class={:?}", self.classes)?;
        }
        f.write_str(">`")?;
        if !self.name.is_empty() {
            write!(f, " {:?}", self.name)?;
        }
        write!(f, " ({})", self.r#ref)
    }
}

/// What the script says of an element that cannot be acted on.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Fault {
    pub(crate) error: String,
    pub(crate) reason: String,
    pub(crate) element: ElementSummary,
    pub(crate) by: ElementSummary,
    pub(crate) options: Vec<String>,
}

/// An action that was not done.
#[derive(Debug, thiserror::Error)]
pub enum ActionError {
    /// A selector names nothing.
    #[error(
        "no element matches `{selector}`: not found in the current frame; wait for it with POST /wait, or take a snapshot"
    )]
    NoElement {
        /// The selector.
        selector: String,
    },
    /// A selector is none.
    #[error(
        "`{selector}` is not a valid selector: neither a reference such as `e5`, nor CSS, nor of another known form"
    )]
    InvalidSelector {
        /// The text.
        selector: String,
    },
    /// The element of a reference is gone.
    #[error("ref {reference} not found: {}", stale_text(was.as_ref(), nearest.as_ref()))]
    StaleRef {
        /// The reference.
        reference: String,
        /// Role and name of the element, if it was in a snapshot.
        was: Option<(String, String)>,
        /// The element of the same role and name that is there now.
        nearest: Option<String>,
    },
    /// Nobody sees the element.
    #[error("the element {element} is hidden: {reason}")]
    Hidden {
        /// Which.
        element: Box<ElementSummary>,
        /// Why.
        reason: String,
    },
    /// The element takes no input.
    #[error("the element {0} is disabled")]
    Disabled(Box<ElementSummary>),
    /// Another element is on top.
    #[error(
        "element is occluded: {by} covers {element}; act on what covers it first, or click with mode `dom`"
    )]
    Covered {
        /// Which.
        element: Box<ElementSummary>,
        /// What covers it.
        by: Box<ElementSummary>,
    },
    /// The element does not come to rest.
    #[error("the element {0} keeps moving; wait until its animation is over")]
    Moving(Box<ElementSummary>),
    /// The element cannot be acted on so.
    #[error("the element {element} {reason}")]
    Unfit {
        /// Which.
        element: Box<ElementSummary>,
        /// What it is not or has not.
        reason: String,
    },
    /// What is asked for lacks something.
    #[error("{0}")]
    Invalid(String),
    /// A key is none.
    #[error(transparent)]
    Key(#[from] UnknownKeyError),
    /// A dialog opened, and nobody said how to answer it.
    #[error("a JavaScript dialog is blocking the page ({})", .0.kind)]
    DialogOpen(Dialog),
    /// The page did not run the script.
    #[error(transparent)]
    Page(EvaluateError),
    /// A command to Chrome failed.
    #[error("Chrome did not do what it was asked")]
    Call(#[from] CallError),
}

impl From<EvaluateError> for ActionError {
    fn from(error: EvaluateError) -> Self {
        match error {
            EvaluateError::DialogOpen(dialog) => Self::DialogOpen(dialog),
            error => Self::Page(error),
        }
    }
}

fn stale_text(was: Option<&(String, String)>, nearest: Option<&String>) -> String {
    match (was, nearest) {
        (Some((role, name)), Some(nearest)) => {
            format!("its element ({role} {name:?}) has left the page; the nearest match is {nearest}")
        }
        (Some((role, name)), None) => {
            format!("its element ({role} {name:?}) has left the page; take a snapshot")
        }
        (None, _) => "take a snapshot first".to_owned(),
    }
}

impl ActionError {
    /// Reads what the script says. `selector`: what was asked for.
    pub(crate) fn of_fault(fault: Fault, selector: &str) -> Self {
        let Fault { error, reason, element, by, options } = fault;
        let (element, by) = (Box::new(element), Box::new(by));
        let unfit = |reason: &str| Self::Unfit { element: element.clone(), reason: reason.to_owned() };
        match error.as_str() {
            "no_element" => Self::NoElement { selector: selector.to_owned() },
            "invalid_selector" => Self::InvalidSelector { selector: selector.to_owned() },
            "stale_ref" => Self::StaleRef { reference: selector.trim().to_owned(), was: None, nearest: None },
            "element_hidden" => Self::Hidden { element, reason },
            "element_disabled" => Self::Disabled(element),
            "element_covered" => Self::Covered { element, by },
            "element_moving" => Self::Moving(element),
            "element_read_only" => unfit("is read-only"),
            "element_not_focusable" => unfit("does not take the focus"),
            "element_not_editable" => unfit("is not a field that text can be put into"),
            "element_not_select" => unfit("is not a select; click it and then one of its options"),
            "element_not_checkable" => unfit("is not something that can be checked"),
            "value_refused" => unfit("does not take that value"),
            "not_a_frame" => unfit("is not an iframe owner"),
            "no_option" => unfit(&format!("has no such option; it has {}", options.join(", "))),
            other => unfit(&format!("cannot be acted on ({other})")),
        }
    }
}

impl From<ActionError> for Problem {
    fn from(error: ActionError) -> Self {
        let text = error.to_string();
        match error {
            ActionError::NoElement { .. } => Self::new(NO_ELEMENT, text),
            ActionError::InvalidSelector { .. } => Self::invalid_field("selector", text),
            ActionError::StaleRef { nearest, .. } => {
                let problem = Self::new(STALE_REF, text);
                match nearest {
                    Some(nearest) => problem.with("nearest", nearest),
                    None => problem,
                }
            }
            ActionError::Hidden { .. } => Self::new(ELEMENT_HIDDEN, text),
            ActionError::Disabled(_) => Self::new(ELEMENT_DISABLED, text),
            ActionError::Covered { by, .. } => {
                let by = serde_json::to_value(*by).unwrap_or_default();
                Self::new(ELEMENT_COVERED, text).with("coveredBy", by)
            }
            ActionError::Moving(_) => Self::new(ELEMENT_MOVING, text),
            ActionError::Unfit { .. } => Self::new(ELEMENT_UNFIT, text),
            ActionError::Invalid(_) => Self::new(INVALID_ACTION, text),
            ActionError::Key(_) => Self::invalid_field("key", text),
            ActionError::DialogOpen(dialog) => blocked_problem(&dialog),
            ActionError::Page(error) => look_problem(error),
            ActionError::Call(error) => call_problem(&error),
        }
    }
}
