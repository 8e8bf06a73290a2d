//! A definition that was checked, in the form that runs.

mod check;
mod references;
mod tools;

use std::{collections::BTreeSet, time::Duration};

pub(crate) use self::check::{compile, is_name};
pub(crate) use self::tools::check_tools;
use super::{
    CompensateWhen, Definition, OnDeadline,
    expression::{Expression, Template},
    machine::Shape,
};
use crate::RetryPolicy;

/// How many items of a step run at once when it does not say.
pub(crate) const CONCURRENCY_DEFAULT: u32 = 10;

/// A definition, compiled: names are positions, texts are expressions, and what refers to what is known.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) definition: Definition,
    pub(crate) version: u32,
    pub(crate) steps: Vec<PlanStep>,
    /// What the state machine knows of the steps.
    pub(crate) shapes: Vec<Shape>,
    pub(crate) output: Option<Template>,
    /// The steps that the output refers to.
    pub(crate) output_reads: BTreeSet<usize>,
    /// How deep missions call missions below this one; 1 if it calls none.
    pub(crate) depth: u32,
}

/// A step, compiled.
#[derive(Debug)]
pub(crate) struct PlanStep {
    pub(crate) name: String,
    /// The steps before it: those that it names and those that it refers to.
    pub(crate) needs: Vec<usize>,
    pub(crate) condition: Option<Expression>,
    pub(crate) for_each: Option<Template>,
    pub(crate) action: Action,
    pub(crate) input: Template,
    pub(crate) queue: Option<String>,
    pub(crate) priority: Option<i8>,
    pub(crate) timeout: Option<paddock_platform::units::HumanDuration>,
    pub(crate) retry: Option<RetryPolicy>,
    pub(crate) undo: Option<PlanUndo>,
    /// The steps whose outputs decide whether and for what it runs.
    pub(crate) gate_reads: BTreeSet<usize>,
    /// The steps whose outputs are in its input.
    pub(crate) input_reads: BTreeSet<usize>,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    Tool(String),
    Kind(String),
    Mission { name: String, version: Option<u32> },
    Approval { message: Template, deadline: Option<Duration>, on_deadline: OnDeadline },
}

/// What undoes a step.
#[derive(Debug)]
pub(crate) struct PlanUndo {
    pub(crate) action: Action,
    pub(crate) input: Template,
    pub(crate) when: CompensateWhen,
    pub(crate) timeout: Option<paddock_platform::units::HumanDuration>,
    pub(crate) retry: Option<RetryPolicy>,
    pub(crate) reads: BTreeSet<usize>,
    /// Whether it refers to what the step itself came to.
    pub(crate) reads_own: bool,
}

impl Action {
    /// What it is, for people.
    pub(crate) const fn noun(&self) -> &'static str {
        match self {
            Self::Tool(_) => "tool",
            Self::Kind(_) => "kind",
            Self::Mission { .. } => "mission",
            Self::Approval { .. } => "approval",
        }
    }

    /// The name of what it calls; empty for an approval.
    pub(crate) fn target(&self) -> &str {
        match self {
            Self::Tool(name) | Self::Kind(name) | Self::Mission { name, .. } => name,
            Self::Approval { .. } => "",
        }
    }
}

impl Plan {
    /// The position of a step.
    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        self.steps.iter().position(|step| step.name == name)
    }

    /// Other missions that it calls, with the versions that are pinned.
    pub(crate) fn missions(&self) -> impl Iterator<Item = (usize, &str, Option<u32>)> {
        self.steps.iter().enumerate().filter_map(|(index, step)| match &step.action {
            Action::Mission { name, version } => Some((index, name.as_str(), *version)),
            _ => None,
        })
    }
}
