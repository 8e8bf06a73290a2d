//! Prompt agents: a model that works with tools, described in a Markdown file.
//!
//! A *run* is the model's work on one message: it is asked, calls tools, is asked again, until it answers. A run is
//! bounded in steps, tokens and time, and ends when the model goes round in circles. A tool that needs approval pauses the
//! run: what it has so far is in the agent's state, and it goes on when somebody has decided, even after a restart.

mod answer;
mod handler;
mod markdown;
mod memory;
mod model;
mod recall;
mod run;
#[cfg(test)]
mod tests;

use paddock_platform::units::HumanDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

pub use self::handler::PendingApproval;
pub(crate) use self::handler::{APPROVAL, PENDING, PromptHandler};
pub use self::markdown::{MarkdownError, from_markdown};
pub(crate) use self::model::{GatewayModel, Model};
use crate::message::InvalidField;

/// The longest instructions.
const SYSTEM_MAX: usize = 256 << 10;

/// An agent that is a model with instructions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PromptDefinition {
    /// The model: a route's name, a model that a provider lists, or `provider/model`.
    pub model: String,
    /// What the model is told before anything else.
    pub system: String,
    /// From 0, always the same, to 2, never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// A JSON Schema that its answers must follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// Tools that somebody has to approve, call by call; a subset of `tools`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approve: Vec<String>,
    /// What bounds a run.
    #[serde(default)]
    pub limits: RunLimits,
    /// What it remembers.
    #[serde(default)]
    pub memory: MemoryDefinition,
}

/// What bounds a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RunLimits {
    /// How often the model is asked.
    pub steps_max: u32,
    /// Tokens, sent and answered, of all steps together.
    pub tokens_max: u64,
    /// Tokens of one answer; the model's own limit when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer_tokens_max: Option<u32>,
    /// How long it may take, waiting for people not included.
    #[schema(value_type = String)]
    pub time_max: HumanDuration,
    /// How often the same tool may be called with the same input.
    pub repeats_max: u32,
}

impl Default for RunLimits {
    fn default() -> Self {
        Self {
            steps_max: 12,
            tokens_max: 200_000,
            answer_tokens_max: None,
            time_max: HumanDuration::from_secs(300),
            repeats_max: 3,
        }
    }
}

/// What an agent remembers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MemoryDefinition {
    /// How many messages of a conversation the model sees again, questions and answers counted.
    pub window: usize,
    /// Whether what falls out of the window is summarised, which costs a call of the model.
    pub summary: bool,
    /// Whether the model may note facts and look them up again, in any conversation.
    pub facts: bool,
    /// How many messages of a conversation, beyond the window, the model may look up.
    pub history: usize,
    /// The model whose embeddings tell what is near to what is looked up, beside common words; words alone when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embeddings: Option<String>,
    /// How many conversations are remembered; the one that was quiet for longest is forgotten.
    pub conversations_max: usize,
}

impl Default for MemoryDefinition {
    fn default() -> Self {
        Self {
            window: 20,
            summary: false,
            facts: false,
            history: 0,
            embeddings: None,
            conversations_max: 100,
        }
    }
}

impl MemoryDefinition {
    /// Whether there is something that the model may look up.
    const fn can_recall(&self) -> bool {
        self.facts || self.history > 0
    }
}

impl PromptDefinition {
    pub(crate) fn check(&self, tools: &[String]) -> Result<(), InvalidField> {
        let invalid = |field, detail: String| Err(InvalidField::new(field, detail));
        if self.model.trim().is_empty() {
            return invalid("prompt.model", "names no model".to_owned());
        }
        if self.system.trim().is_empty() || self.system.len() > SYSTEM_MAX {
            return invalid("prompt.system", format!("must have 1 to {SYSTEM_MAX} bytes"));
        }
        if self.temperature.is_some_and(|temperature| !(0.0..=2.0).contains(&temperature)) {
            return invalid("prompt.temperature", "must be 0 to 2".to_owned());
        }
        if let Some(unknown) = self.approve.iter().find(|tool| !tools.contains(tool)) {
            return invalid(
                "prompt.approve",
                format!("names `{unknown}`, which is not one of the agent's `tools`"),
            );
        }
        if let Some(Err(error)) = self.output.as_ref().map(jsonschema::validator_for) {
            return invalid("prompt.output", format!("is no JSON Schema: {error}"));
        }
        for (field, value, max) in [
            ("prompt.limits.steps_max", u64::from(self.limits.steps_max), 1_000),
            ("prompt.limits.repeats_max", u64::from(self.limits.repeats_max), 1_000),
            ("prompt.limits.tokens_max", self.limits.tokens_max, 1_000_000_000),
            ("prompt.memory.conversations_max", self.memory.conversations_max as u64, 10_000),
        ] {
            if !(1..=max).contains(&value) {
                return invalid(field, format!("must be 1 to {max}"));
            }
        }
        for (field, value) in
            [("prompt.memory.window", self.memory.window), ("prompt.memory.history", self.memory.history)]
        {
            if value > 1_000 {
                return invalid(field, "must be 1000 at most".to_owned());
            }
        }
        if let Some(model) = &self.memory.embeddings {
            let detail = match (model.trim().is_empty(), self.memory.can_recall()) {
                (true, _) => "names no model",
                (_, false) => "is of use with `facts` or `history` alone",
                _ => return Ok(()),
            };
            return invalid("prompt.memory.embeddings", detail.to_owned());
        }
        Ok(())
    }
}
