//! What the expressions of a step come to.

use jiff::Timestamp;
use serde_json::Value;

use super::{context::Reads, fault};
use crate::{
    Fault,
    mission::{
        MissionOptions,
        expression::{Environment, EvaluateError},
        plan::{Action, Plan},
    },
};

/// The largest output of a mission.
pub(crate) const OUTPUT_MAX: usize = 64 << 10;

/// What is to be evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// Whether and for what a step runs.
    Gate { step: usize },
    /// What a run, or what undoes it, is called with.
    Input { step: usize, item: u32, undo: bool },
    /// What the mission answers with.
    Output,
}

/// What was evaluated.
#[derive(Clone, Debug)]
pub(super) enum Evaluated {
    Gate(Result<GateValue, Fault>),
    Value(Result<Value, Fault>),
}

/// What the condition and the list of a step came to.
#[derive(Clone, Debug)]
pub(super) enum GateValue {
    Skip,
    Once,
    Items(Vec<Value>),
    /// A person is asked this, until then.
    Ask(String, Option<Timestamp>),
}

impl Question {
    /// What its answer is made of.
    pub(super) fn reads<'a>(self, plan: &'a Plan, all: &'a [usize]) -> Reads<'a> {
        match self {
            Self::Gate { step } => {
                Reads { outputs: &plan.steps[step].gate_reads, states: &plan.steps[step].needs, item: None }
            }
            Self::Input { step, item, undo } => {
                let of = &plan.steps[step];
                let (outputs, own) = match &of.undo {
                    Some(compensation) if undo => (&compensation.reads, compensation.reads_own),
                    _ => (&of.input_reads, false),
                };
                Reads { outputs, states: &of.needs, item: Some((step, item, own)) }
            }
            Self::Output => Reads { outputs: &plan.output_reads, states: all, item: None },
        }
    }

    /// The answer.
    pub(super) fn answer(
        self,
        plan: &Plan,
        environment: &Environment,
        options: &MissionOptions,
        now: Timestamp,
    ) -> Evaluated {
        match self {
            Self::Gate { step } => Evaluated::Gate(gate(plan, step, environment, options, now)),
            Self::Input { step, undo, .. } => {
                let of = &plan.steps[step];
                let (input, field) = match &of.undo {
                    Some(compensation) if undo => (&compensation.input, "compensate.input"),
                    _ => (&of.input, "input"),
                };
                let value = input.render(environment).map_err(|error| expression_fault(field, &error));
                Evaluated::Value(value.and_then(|value| object(value, field)))
            }
            Self::Output => Evaluated::Value(output(plan, environment)),
        }
    }

    /// As if it had been evaluated and could not be.
    pub(super) fn failed(self, fault: Fault) -> Evaluated {
        match self {
            Self::Gate { .. } => Evaluated::Gate(Err(fault)),
            Self::Input { .. } | Self::Output => Evaluated::Value(Err(fault)),
        }
    }
}

fn expression_fault(field: &str, error: &EvaluateError) -> Fault {
    fault("expression", format!("`{field}`: {error}"))
}

fn object(value: Value, field: &str) -> Result<Value, Fault> {
    if value.is_object() {
        Ok(value)
    } else {
        Err(fault("expression", format!("`{field}` did not come to an object")))
    }
}

fn gate(
    plan: &Plan,
    step: usize,
    environment: &Environment,
    options: &MissionOptions,
    now: Timestamp,
) -> Result<GateValue, Fault> {
    let step = &plan.steps[step];
    if let Some(condition) = &step.condition
        && !condition.truth(environment, "the condition").map_err(|error| expression_fault("if", &error))?
    {
        return Ok(GateValue::Skip);
    }
    if let Action::Approval { message, deadline, .. } = &step.action {
        let message =
            message.render(environment).map_err(|error| expression_fault("approval.message", &error))?;
        let message = message.as_str().map_or_else(|| message.to_string(), str::to_owned);
        // PostgreSQL keeps no text with a NUL in it.
        let message: String = message.replace('\0', "\u{fffd}").chars().take(MESSAGE_MAX).collect();
        return Ok(GateValue::Ask(message, deadline.and_then(|deadline| now.checked_add(deadline).ok())));
    }
    let Some(list) = &step.for_each else { return Ok(GateValue::Once) };
    match list.render(environment).map_err(|error| expression_fault("for_each", &error))? {
        Value::Array(items) if items.len() > options.fan_out_max => Err(fault(
            "too-many-items",
            format!(
                "`for_each` has {} items, `jobs.missions.fan_out_max` allows {}",
                items.len(),
                options.fan_out_max
            ),
        )),
        Value::Array(items) => Ok(GateValue::Items(items)),
        _ => Err(fault("expression", "`for_each` did not come to a list")),
    }
}

/// What a person is asked is cut after so many characters.
const MESSAGE_MAX: usize = 4_000;

fn output(plan: &Plan, environment: &Environment) -> Result<Value, Fault> {
    let Some(output) = &plan.output else { return Ok(Value::Null) };
    let value = output.render(environment).map_err(|error| expression_fault("output", &error))?;
    let size = value.to_string().len();
    if size > OUTPUT_MAX {
        return Err(fault("output-too-large", format!("`output` came to {size} bytes, {OUTPUT_MAX} may be")));
    }
    Ok(value)
}
