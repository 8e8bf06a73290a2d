//! The `[jobs]` section.

use std::collections::BTreeMap;

use paddock_platform::{
    http::RateLimit,
    units::{ByteSize, HumanDuration, non_zero_duration},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{RetryPolicy, mission::MissionOptions, schedule::ScheduleOptions, webhook::WebhookOptions};

/// The queue of jobs that name none.
pub(crate) const QUEUE_DEFAULT: &str = "standard";

/// Queues, workers and what they are allowed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct JobsOptions {
    /// How many jobs this server runs at once; 5 to 25 suits most machines.
    pub concurrency: usize,
    /// The queues and their weights: of ten places that become free, a queue of weight 3 gets three times as many as one
    /// of weight 1, and none gets nothing.
    pub queues: BTreeMap<String, u32>,
    /// What departs from the defaults, by queue.
    pub queue: BTreeMap<String, QueueOptions>,
    /// How long a job is believed to run without a sign of life; then another worker gets it.
    #[serde(deserialize_with = "non_zero_duration")]
    pub lease: HumanDuration,
    /// How long running jobs may go on when the server shuts down; then they are given back.
    pub drain: HumanDuration,
    /// The largest input of a job.
    pub input_max: ByteSize,
    /// The largest result of a job; what is over 64 KiB is kept among the blobs.
    pub result_max: ByteSize,
    /// Jobs in one batch.
    pub batch_max: usize,
    /// Requests of external workers that may wait for jobs at once.
    pub pollers_max: usize,
    /// Callers that may wait at once for a job to end.
    pub waiters_max: usize,
    /// Changes that may wait to be written; beyond it the answer is 503.
    pub pending_max: usize,
    /// Jobs that take longer are logged.
    pub slow: HumanDuration,
    /// Telling others how jobs ended.
    pub webhooks: WebhookOptions,
    /// Dead jobs in a queue from which on health says so.
    pub dead_alert: u64,
    /// How old the oldest ready job of a queue may be before health says so.
    pub latency_alert: HumanDuration,
    /// Graphs of jobs.
    pub missions: MissionOptions,
    /// Jobs that are enqueued when their time comes.
    pub schedules: ScheduleOptions,
}

impl Default for JobsOptions {
    fn default() -> Self {
        let queues = [("critical", 3), ("standard", 2), ("low", 1)];
        Self {
            concurrency: 5,
            queues: queues.into_iter().map(|(name, weight)| (name.to_owned(), weight)).collect(),
            queue: BTreeMap::new(),
            lease: HumanDuration::from_secs(30),
            drain: HumanDuration::from_secs(5),
            input_max: ByteSize::mib(1),
            result_max: ByteSize::mib(64),
            batch_max: 1_000,
            pollers_max: 1_024,
            waiters_max: 4_096,
            pending_max: 16_384,
            slow: HumanDuration::from_secs(30),
            webhooks: WebhookOptions::default(),
            dead_alert: 1,
            latency_alert: HumanDuration::from_secs(60),
            missions: MissionOptions::default(),
            schedules: ScheduleOptions::default(),
        }
    }
}

/// How one queue departs from the defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct QueueOptions {
    /// When a job counts as accepted: `fsync` (on the disk), `os` (survives a crash of the server, not of the machine),
    /// `memory` (survives neither).
    pub durability: Durability,
    /// Jobs that wait or are scheduled; beyond it the answer is 429.
    pub depth_max: u64,
    /// Jobs of this queue that run at once, on all servers together; no limit of its own when left out.
    pub concurrency_max: Option<u64>,
    /// Jobs of one tenant in this queue that run at once; no limit when left out.
    pub concurrency_per_tenant: Option<u64>,
    /// Jobs with one `concurrency_key` that run at once.
    pub concurrency_per_key: u64,
    /// How often jobs with one `concurrency_key` may begin, for example `10/s` or `100/h burst 5`.
    pub rate_per_key: RateLimit,
    /// How long one attempt may take, unless the job says otherwise.
    #[serde(deserialize_with = "non_zero_duration")]
    pub timeout: HumanDuration,
    /// What happens after a failure, unless the job says otherwise.
    pub retry: RetryPolicy,
    /// The share of a queue's attempts that may be retries; those beyond it wait a minute longer. Ten a minute always may.
    pub retry_budget: f64,
    /// How long ended jobs are kept, unless the job says otherwise.
    pub retention: HumanDuration,
}

impl Default for QueueOptions {
    fn default() -> Self {
        Self {
            durability: Durability::Fsync,
            depth_max: 1_000_000,
            concurrency_max: None,
            concurrency_per_tenant: None,
            concurrency_per_key: 1,
            rate_per_key: RateLimit::Unlimited,
            timeout: HumanDuration::from_secs(600),
            retry: RetryPolicy::default(),
            retry_budget: 0.5,
            retention: HumanDuration::from_secs(7 * 24 * 3600),
        }
    }
}

/// When a change counts as made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// As soon as this server knows of it; it is written soon after.
    Memory,
    /// Once the database's process has it (SQLite: the operating system).
    Os,
    /// Once it is on the disk.
    #[default]
    Fsync,
}

impl Durability {
    /// Its name as it is written in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Os => "os",
            Self::Fsync => "fsync",
        }
    }
}
