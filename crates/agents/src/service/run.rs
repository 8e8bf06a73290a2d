//! Trying agents out.

use std::time::{Duration, Instant};

use paddock_platform::{identity::Caller, problem::Problem};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{Agents, ExecuteInput};
use crate::{
    message::{AgentName, Label},
    store::Entry,
};

/// Entries that a trial shows.
const ENTRIES_MAX: u32 = 500;

/// What an agent is tried with.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TrialInput {
    /// What it is asked.
    pub input: Value,
    /// What its answer has to contain, as a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<String>,
    /// How many seconds it may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<f64>,
}

/// How a trial went.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct Trial {
    /// Whether it answered, and as expected.
    pub passed: bool,
    /// What it answered.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub output: Value,
    /// Why it did not pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How long it took.
    pub duration_ms: u64,
    /// What happened meanwhile.
    pub timeline: Vec<Entry>,
}

impl Agents {
    /// Asks an agent something in a conversation of its own, and shows everything that happened.
    pub async fn test(&self, caller: &Caller, name: &AgentName, input: TrialInput) -> Result<Trial, Problem> {
        self.cell(caller.tenant(), name)?;
        let conversation = Label::fresh();
        let began = Instant::now();
        let asked = ExecuteInput {
            agent: name.as_str().to_owned(),
            input: input.input,
            conversation: Some(conversation.as_str().to_owned()),
            timeout: input.timeout,
            hearer: None,
        };
        let result = self.execute(caller, asked).await;
        let took: Duration = began.elapsed();
        let timeline = self.timeline(caller.tenant(), &conversation, 0, ENTRIES_MAX).await?;
        let (output, mut error) = match result {
            Ok(done) => (done.output, None),
            Err(problem) => (Value::Null, Some(problem.detail)),
        };
        if let (None, Some(expected)) = (&error, &input.expect) {
            let text = output.as_str().map_or_else(|| output.to_string(), str::to_owned);
            if !text.contains(expected) {
                error = Some(format!("the answer does not contain `{expected}`"));
            }
        }
        let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        Ok(Trial { passed: error.is_none(), output, error, duration_ms, timeline })
    }
}
