//! The options in force, compiled for the hot path, and what was done to queues while the server runs.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{JobError, JobsOptions, QueueOptions, budget::RetryBudget, config::QUEUE_DEFAULT};

/// What may happen with a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum QueueMode {
    /// Jobs go in and out.
    #[default]
    Open,
    /// Nothing is taken out.
    Paused,
    /// Nothing is put in.
    Draining,
}

impl QueueMode {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Paused => "paused",
            Self::Draining => "draining",
        }
    }

    pub(crate) fn parse(text: &str) -> Self {
        match text {
            "paused" => Self::Paused,
            "draining" => Self::Draining,
            _ => Self::Open,
        }
    }
}

/// One queue.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) name: Arc<str>,
    pub(crate) weight: u32,
    pub(crate) options: QueueOptions,
    pub(crate) live: Arc<QueueLive>,
}

/// What of a queue outlives a change of its options.
#[derive(Debug, Default)]
pub(crate) struct QueueLive {
    /// Jobs that wait or are scheduled, as far as this server knows.
    depth: AtomicI64,
    /// Dead jobs at the last count.
    dead: AtomicI64,
    pub(crate) budget: RetryBudget,
}

impl QueueLive {
    #[cfg(test)]
    pub(crate) fn depth(&self) -> u64 {
        self.depth.load(Ordering::Relaxed).max(0).cast_unsigned()
    }

    pub(crate) fn add(&self, jobs: i64) {
        self.depth.fetch_add(jobs, Ordering::Relaxed);
    }

    /// Notes how many are dead; whether those are more than before.
    pub(crate) fn more_dead(&self, dead: i64) -> bool {
        self.dead.swap(dead, Ordering::Relaxed) < dead
    }

    pub(crate) fn recounted(&self, depth: i64) {
        self.depth.store(depth, Ordering::Relaxed);
    }
}

impl Queue {
    /// Makes room for so many jobs, unless they are too many.
    pub(crate) fn reserve(&self, jobs: usize) -> Result<(), JobError> {
        let jobs = i64::try_from(jobs).unwrap_or(i64::MAX / 2);
        let depth_max = i64::try_from(self.options.depth_max).unwrap_or(i64::MAX);
        let fits = |depth: i64| (depth.max(0) + jobs <= depth_max).then_some(depth + jobs);
        let reserved = self.live.depth.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits);
        reserved.map(drop).map_err(|depth| JobError::QueueFull {
            queue: self.name.to_string(),
            depth: depth.max(0).cast_unsigned(),
            retry_after: RETRY_WHEN_FULL,
        })
    }
}

/// When to come back to a queue that is full.
const RETRY_WHEN_FULL: std::time::Duration = std::time::Duration::from_secs(5);

/// Options and queues of one moment.
#[derive(Debug)]
pub(crate) struct Policy {
    pub(crate) options: JobsOptions,
    pub(crate) queues: HashMap<Arc<str>, Arc<Queue>>,
    /// For jobs in the store whose queue is configured no longer: they are still done.
    forgotten: Arc<Queue>,
}

impl Policy {
    /// `before` keeps what is live of queues that stay.
    pub(crate) fn new(options: JobsOptions, before: Option<&Self>) -> Self {
        let mut weights = options.queues.clone();
        weights.entry(QUEUE_DEFAULT.to_owned()).or_insert(1);
        for name in options.queue.keys() {
            weights.entry(name.clone()).or_insert(1);
        }
        let of = |name: &str| options.queue.get(name).cloned().unwrap_or_default();
        let build = |name: String, weight: u32| {
            let queue_options = of(&name);
            let name: Arc<str> = name.into();
            let live =
                before.and_then(|before| before.queues.get(&name)).map(|queue| Arc::clone(&queue.live));
            let queue = Queue {
                name: Arc::clone(&name),
                weight: weight.max(1),
                options: queue_options,
                live: live.unwrap_or_default(),
            };
            (name, Arc::new(queue))
        };
        let queues = weights.into_iter().map(|(name, weight)| build(name, weight)).collect();
        let (_, forgotten) = build("(forgotten)".to_owned(), 1);
        Self { options, queues, forgotten }
    }

    /// The queue that a request names.
    pub(crate) fn named(&self, name: Option<&str>) -> Result<&Arc<Queue>, JobError> {
        let name = name.unwrap_or(QUEUE_DEFAULT);
        self.queues.get(name).ok_or_else(|| {
            let known: BTreeSet<&str> = self.queues.keys().map(|known| &**known).collect();
            let known: Vec<String> = known.iter().map(|known| format!("`{known}`")).collect();
            JobError::UnknownQueue { name: name.chars().take(64).collect(), known: known.join(", ") }
        })
    }

    /// The queue of a job in the store.
    pub(crate) fn of(&self, name: &str) -> &Arc<Queue> {
        self.queues.get(name).unwrap_or(&self.forgotten)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_takes_what_fits_and_refuses_the_rest() {
        let mut options = JobsOptions::default();
        options.queue.insert("low".to_owned(), QueueOptions { depth_max: 3, ..QueueOptions::default() });
        let policy = Policy::new(options, None);
        let low = policy.named(Some("low")).unwrap();
        low.reserve(2).unwrap();
        assert!(matches!(low.reserve(2), Err(JobError::QueueFull { depth: 2, .. })));
        low.reserve(1).unwrap();
        low.live.add(-1);
        low.reserve(1).unwrap();
    }

    #[test]
    fn a_queue_that_does_not_exist_is_refused_with_those_that_do() {
        let policy = Policy::new(JobsOptions::default(), None);
        let error = policy.named(Some("urgent")).unwrap_err().to_string();
        assert!(error.contains("`critical`, `low`, `standard`"), "{error}");
        assert_eq!(&*policy.named(None).unwrap().name, "standard");
    }

    #[test]
    fn a_reload_keeps_the_depth() {
        let before = Policy::new(JobsOptions::default(), None);
        before.named(None).unwrap().live.add(7);
        let after = Policy::new(JobsOptions::default(), Some(&before));
        assert_eq!(after.named(None).unwrap().live.depth(), 7);
    }
}
