//! What a mission is made of, as its author writes it in YAML or JSON.

use paddock_platform::units::HumanDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::RetryPolicy;

/// A graph of steps under a name. What is stored gets a version and is never changed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// Its name: 1 to 64 of `a-z`, `0-9`, `_` and `-`, beginning with a letter.
    pub name: String,
    /// What it is for, for the people who read it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// JSON Schema of the object that it is started with; anything when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub inputs: Option<Value>,
    /// How long a mission may take altogether, for example `2h`; then what runs is cancelled and what is done compensated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub deadline: Option<HumanDuration>,
    /// The steps, in any order: what they need says when they run.
    pub steps: Vec<Step>,
    /// What the mission answers with; `${…}` refers to inputs and to outputs of steps. 64 KiB at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub output: Option<Value>,
}

/// One step: exactly one of `tool`, `kind`, `mission` and `approval` says what it does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Its name: 1 to 64 of `a-z`, `0-9`, `_` and `-`, beginning with a letter.
    pub name: String,
    /// What it is for, for the people who look at the graph.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Steps that come before it, beside those that its expressions refer to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
    /// What has to have become of the steps that it needs.
    #[serde(default, skip_serializing_if = "is_default")]
    pub join: Join,
    /// It is skipped unless this expression is true.
    #[serde(rename = "if", default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// A list, or an expression that gives one: the step runs once for each item, as `item` and `index`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub for_each: Option<Value>,
    /// How many items run at once; 10 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// The tool to call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// The kind of work, for an external worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Another mission, as `name` or `name@version`; without a version the latest, as of when this one is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mission: Option<String>,
    /// A decision that a person makes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// What is called is called with this object; `${…}` refers to inputs and to outputs of earlier steps.
    #[serde(default = "empty_object", skip_serializing_if = "is_empty_object")]
    #[schema(value_type = Object)]
    pub input: Value,
    /// The queue of its job; the mission's own when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// The priority of its job, -100 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i8>,
    /// How long one attempt may take, for example `10m`; the queue's when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub timeout: Option<HumanDuration>,
    /// What happens after a failed attempt; the queue's policy when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryPolicy>,
    /// What its failure means for the mission.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_error: OnError,
    /// What undoes it, if the mission fails later on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compensate: Option<Compensation>,
}

/// What has to have become of the steps that a step needs.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema, ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Join {
    /// All of them succeeded; if one was skipped, so is this one.
    #[default]
    All,
    /// All of them ended and at least one was not skipped: this is where branches meet again.
    Any,
}

/// What the failure of a step means for its mission.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema, ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    /// The mission fails: nothing new begins, what is done is compensated.
    #[default]
    Fail,
    /// The mission goes on; the output of what failed is null.
    Continue,
}

/// A decision that a person makes before the mission goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// What is asked, with `${…}` for what the person needs to know.
    pub message: String,
    /// How long the decision may take, for example `24h`; as long as the mission may when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub deadline: Option<HumanDuration>,
    /// What counts as decided when that time is up.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_deadline: OnDeadline,
}

/// What counts as decided when nobody decided in time.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema, ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum OnDeadline {
    /// No.
    #[default]
    Reject,
    /// Yes.
    Approve,
}

/// What undoes a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Compensation {
    /// The tool to call. Either this or `kind`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// The kind of work, for an external worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// What it is called with; beside everything else, `${output}` is what the step came to.
    #[serde(default = "empty_object", skip_serializing_if = "is_empty_object")]
    #[schema(value_type = Object)]
    pub input: Value,
    /// Which runs of the step are undone.
    #[serde(default, skip_serializing_if = "is_default")]
    pub when: CompensateWhen,
    /// How long one attempt may take; the queue's when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub timeout: Option<HumanDuration>,
    /// What happens after a failed attempt; the queue's policy when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryPolicy>,
}

/// Which runs of a step are undone.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema, ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum CompensateWhen {
    /// Those that succeeded.
    #[default]
    Succeeded,
    /// Those that were tried, also if they failed or were cancelled: what undoes them copes with there being nothing to undo.
    Tried,
}

fn empty_object() -> Value {
    Value::Object(Map::new())
}

fn is_empty_object(value: &Value) -> bool {
    value.as_object().is_some_and(Map::is_empty)
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Step {
    /// A step that calls a tool, for tests and programs that build definitions.
    pub fn tool(name: impl Into<String>, tool: impl Into<String>, input: Value) -> Self {
        Self {
            name: name.into(),
            description: String::new(),
            needs: Vec::new(),
            join: Join::default(),
            condition: None,
            for_each: None,
            concurrency: None,
            tool: Some(tool.into()),
            kind: None,
            mission: None,
            approval: None,
            input,
            queue: None,
            priority: None,
            timeout: None,
            retry: None,
            on_error: OnError::default(),
            compensate: None,
        }
    }
}
