//! What is asked for: a job before it is one.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use paddock_platform::units::HumanDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// What runs a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// A tool of the toolbox.
    Tool(&'a str),
    /// A kind: one that is compiled in, otherwise one of an external worker.
    Kind(&'a str),
}

/// A job to be enqueued: the body of `POST /jobs`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewJob {
    /// The tool to call. Either this or `kind`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// The kind of work, for an external worker that claims it: 1 to 64 of `a-z`, `0-9`, `_`, `-` and `.`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// What it is called with; for a tool as its schema says. An empty object when left out.
    #[serde(default = "empty_object")]
    #[schema(value_type = Object)]
    pub input: Value,
    /// Where it waits; `standard` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// -100 to 100; within a queue the higher goes first.
    #[serde(default)]
    #[schemars(range(min = -100, max = 100))]
    pub priority: i8,
    /// Not before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub run_at: Option<Timestamp>,
    /// How long one attempt may take, for example `10m`; the queue's when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub timeout: Option<HumanDuration>,
    /// What happens after a failure; the queue's policy when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryPolicy>,
    /// While a job with this key is kept, enqueueing it again answers that job instead of making another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unique_key: Option<String>,
    /// Jobs of a queue with the same key run one at a time, or as many and as often as the queue allows per key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency_key: Option<String>,
    /// How long it is kept after it ended, for example `7d`; the queue's when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub retention: Option<HumanDuration>,
    /// Where to tell how it ended: the id of a webhook endpoint, or a URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<String>,
    /// A W3C `traceparent` to continue; the request's own when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// What it belongs to, for the hooks of the area that made it. Not for callers from outside.
    #[serde(skip)]
    pub parent: Option<String>,
    /// Begins `waiting` instead of ready: an area brings it on with `Jobs::resume_in` or `Jobs::finish_in`.
    #[serde(skip)]
    pub waiting: bool,
}

fn empty_object() -> Value {
    Value::Object(Map::new())
}

impl NewJob {
    /// A call of a tool, everything else as the queue has it.
    pub fn tool(name: impl Into<String>, input: Value) -> Self {
        Self { tool: Some(name.into()), input, ..Self::default() }
    }

    /// Work of a kind, everything else as the queue has it.
    pub fn kind(kind: impl Into<String>, input: Value) -> Self {
        Self { kind: Some(kind.into()), input, ..Self::default() }
    }

    /// What runs it; `None` unless exactly one of `tool` and `kind` is there.
    pub fn target(&self) -> Option<Target<'_>> {
        match (&self.tool, &self.kind) {
            (Some(tool), None) => Some(Target::Tool(tool)),
            (None, Some(kind)) => Some(Target::Kind(kind)),
            _ => None,
        }
    }
}

/// What happens after a failure.
///
/// The wait before attempt `n + 1` is `initial × factor^(n-1)`, `max` at most, of which up to the share `jitter` is
/// taken off at random: jobs that failed together do not come back together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RetryPolicy {
    /// How often it is tried altogether, 1 to 100.
    #[schemars(range(min = 1, max = 100))]
    pub attempts: u32,
    /// The first wait.
    #[schema(value_type = String)]
    pub initial: HumanDuration,
    /// By how much the wait grows each time, 1 to 10.
    pub factor: f64,
    /// The longest wait.
    #[schema(value_type = String)]
    pub max: HumanDuration,
    /// The share of the wait that chance takes off, 0 to 1.
    pub jitter: f64,
    /// The waits one by one, instead of `initial` and `factor`; the last one repeats.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub waits: Vec<HumanDuration>,
    /// How often errors of a class are tried altogether, instead of `attempts`: `{"timeout": 2, "not-found": 1}`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub classes: BTreeMap<String, u32>,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 5,
            initial: HumanDuration::from_secs(2),
            factor: 3.0,
            max: HumanDuration::from_secs(3600),
            jitter: 0.3,
            waits: Vec::new(),
            classes: BTreeMap::new(),
        }
    }
}

impl RetryPolicy {
    /// How often an error of this class is tried altogether.
    pub fn attempts_of(&self, class: &str) -> u32 {
        self.classes.get(class).copied().unwrap_or(self.attempts)
    }

    /// The wait after this attempt (counted from 1). `chance` is 0 to 1.
    pub fn wait_after(&self, attempt: u32, chance: f64) -> Duration {
        let index = attempt.max(1) as usize - 1;
        let whole = if let Some(wait) = self.waits.get(index).or(self.waits.last()) {
            wait.get()
        } else {
            let times = i32::try_from(index).unwrap_or(i32::MAX);
            let grown = self.initial.get().as_secs_f64() * self.factor.powi(times);
            Duration::try_from_secs_f64(grown).unwrap_or(Duration::MAX).min(self.max.get())
        };
        whole.mul_f64(1.0 - self.jitter.clamp(0.0, 1.0) * chance.clamp(0.0, 1.0))
    }
}

/// What of a job's terms departs from its queue's; most jobs have none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Terms {
    /// How long one attempt may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<HumanDuration>,
    /// What happens after a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryPolicy>,
    /// How long it is kept after it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<HumanDuration>,
    /// Where to tell how it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<String>,
    /// The `traceparent` that it continues.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn waits_grow_up_to_the_longest() {
        let policy = RetryPolicy { jitter: 0.0, ..RetryPolicy::default() };
        let waits: Vec<u64> = (1..=9).map(|attempt| policy.wait_after(attempt, 1.0).as_secs()).collect();
        assert_eq!(waits, [2, 6, 18, 54, 162, 486, 1458, 3600, 3600]);
    }

    #[test]
    fn waits_that_are_named_one_by_one_end_with_the_last() {
        let waits = vec![HumanDuration::from_secs(0), HumanDuration::from_secs(5)];
        let policy = RetryPolicy { waits, jitter: 0.0, ..RetryPolicy::default() };
        assert_eq!([1, 2, 3].map(|attempt| policy.wait_after(attempt, 0.0).as_secs()), [0, 5, 5]);
    }

    #[test]
    fn a_class_has_its_own_count() {
        let policy: RetryPolicy =
            serde_json::from_str(r#"{"attempts": 9, "classes": {"timeout": 2}}"#).unwrap();
        assert_eq!((policy.attempts_of("timeout"), policy.attempts_of("lost")), (2, 9));
    }

    proptest! {
        #[test]
        fn no_policy_makes_a_wait_that_cannot_be_kept(
            attempt: u32, chance: f64, factor in 1.0..10.0_f64, jitter in 0.0..1.0_f64,
        ) {
            let policy = RetryPolicy { factor, jitter, ..RetryPolicy::default() };
            prop_assert!(policy.wait_after(attempt, chance) <= policy.max.get());
        }
    }
}
