//! `[jobs.webhooks]` of the configuration.

use paddock_platform::{
    egress::Destination,
    units::{ByteSize, HumanDuration, non_zero_duration},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Webhooks: who may be told, how often it is tried, and when it is given up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WebhookOptions {
    /// Networks and hosts that webhooks may reach beside the public internet, for example `["10.0.0.0/8"]`. Only these may
    /// be told over plain `http`.
    pub allow: Vec<Destination>,
    /// The queue that deliveries wait in; `standard` when left out.
    pub queue: Option<String>,
    /// Webhooks of one tenant.
    pub endpoints_max: u64,
    /// Deliveries that this server makes at once, beside its `[jobs] concurrency`: they take no place of a job.
    pub concurrency: usize,
    /// Deliveries to one webhook at a time.
    pub parallel_max: u32,
    /// How long a receiver may take to answer.
    #[serde(deserialize_with = "non_zero_duration")]
    pub timeout: HumanDuration,
    /// The largest body; an event that would be larger goes without its result.
    pub payload_max: ByteSize,
    /// The waits between the tries of a delivery; after the last one it is dead.
    pub retries: Vec<HumanDuration>,
    /// Failures in a row after which a webhook is paused.
    pub breaker_failures: u32,
    /// How long it is paused at first; twice as long each time that it fails again, an hour at most.
    #[serde(deserialize_with = "non_zero_duration")]
    pub breaker_pause: HumanDuration,
    /// How long a webhook may do nothing but fail; then it is disabled.
    pub disable_after: HumanDuration,
    /// How long deliveries are kept after they ended.
    pub retention: HumanDuration,
}

impl Default for WebhookOptions {
    fn default() -> Self {
        const MINUTE: u64 = 60;
        const HOUR: u64 = 60 * MINUTE;
        const DAY: u64 = 24 * HOUR;
        let retries = [5, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR];
        Self {
            allow: Vec::new(),
            queue: None,
            endpoints_max: 100,
            concurrency: 16,
            parallel_max: 4,
            timeout: HumanDuration::from_secs(20),
            payload_max: ByteSize::bytes(20_000),
            retries: retries.into_iter().map(HumanDuration::from_secs).collect(),
            breaker_failures: 5,
            breaker_pause: HumanDuration::from_secs(2 * MINUTE),
            disable_after: HumanDuration::from_secs(5 * DAY),
            retention: HumanDuration::from_secs(7 * DAY),
        }
    }
}
