//! A [`Source`] at work: what it has to give, how it stands, and when it is looked at next.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use crate::{
    config::{RegistryOptions, SourceKind, SourceOptions},
    content::Content,
    store::Remembered,
};

/// The first wait after a failure; it doubles with each.
const BACKOFF_FIRST: Duration = Duration::from_secs(1);

/// Who made a source or a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Creation {
    /// The configuration file.
    Config,
    /// An administrator, over the API.
    Api,
}

/// How a source stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// It was not looked at since the start; what was kept of it is served.
    #[default]
    Pending,
    /// It is being read.
    Syncing,
    /// It was read.
    Complete,
    /// It could not be read; what it gave before is served.
    Failed,
}

/// What happened to a source.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) phase: Phase,
    pub(crate) last_sync: Option<Timestamp>,
    pub(crate) last_attempt: Option<Timestamp>,
    pub(crate) last_change: Option<Timestamp>,
    pub(crate) next_sync: Option<Timestamp>,
    /// Failures since the last success.
    pub(crate) failures: u32,
    pub(crate) syncs: u64,
    pub(crate) error: Option<String>,
    pub(crate) took: Duration,
    pub(crate) remembered: Remembered,
}

/// How far syncs that were asked for have come: a sync that begins serves all who asked before it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) requested: u64,
    pub(crate) done: u64,
}

/// A source at work.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) options: SourceOptions,
    pub(crate) kind: SourceKind,
    pub(crate) creation: Creation,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    pub(crate) content: ArcSwap<Content>,
    state: Mutex<State>,
    asked: watch::Sender<Asked>,
    wake: Notify,
    /// Held by whoever changes the content.
    pub(crate) working: tokio::sync::Mutex<()>,
    pub(crate) stop: CancellationToken,
}

impl Source {
    pub(crate) fn new(
        options: SourceOptions,
        kind: SourceKind,
        creation: Creation,
        times: (Timestamp, Timestamp),
        content: Arc<Content>,
        remembered: Remembered,
    ) -> Self {
        let last_sync = (remembered.synced_ms > 0)
            .then(|| Timestamp::from_millisecond(remembered.synced_ms).ok())
            .flatten();
        let state = State { last_sync, remembered, ..State::default() };
        Self {
            options,
            kind,
            creation,
            created_at: times.0,
            updated_at: times.1,
            content: ArcSwap::new(content),
            state: Mutex::new(state),
            asked: watch::Sender::new(Asked::default()),
            wake: Notify::new(),
            working: tokio::sync::Mutex::default(),
            stop: CancellationToken::new(),
        }
    }

    /// How things stand.
    pub(crate) fn state(&self) -> State {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes how things stand.
    pub(crate) fn update<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Asks for a sync, and gives its number. Those who ask before it begins share it.
    pub(crate) fn ask(&self) -> u64 {
        let mut number = 0;
        self.asked.send_modify(|asked| {
            // Everybody who asks before the next sync begins waits for the same one.
            asked.requested = asked.requested.max(asked.done) + 1;
            number = asked.requested;
        });
        self.wake.notify_one();
        number
    }

    /// Waits until somebody asks for a sync.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// The number up to which a sync that begins now serves those who asked.
    pub(crate) fn begin(&self) -> u64 {
        self.asked.borrow().requested
    }

    /// Tells those who asked that their sync is over.
    pub(crate) fn finish(&self, number: u64) {
        self.asked.send_modify(|asked| asked.done = asked.done.max(number));
    }

    /// Waits for the sync of a number.
    pub(crate) async fn finished(&self, number: u64) {
        let mut asked = self.asked.subscribe();
        // The sender lives as long as the source.
        let _ = asked.wait_for(|asked| asked.done >= number).await;
    }

    /// How far syncs that were asked for have come.
    pub(crate) fn asked(&self) -> Asked {
        *self.asked.borrow()
    }

    /// How long to wait until the next sync. What failed is tried again soon at first, then ever more rarely; the same
    /// interval at many sources does not make them all work at once.
    pub(crate) fn wait(&self, backoff_max: Duration) -> Duration {
        let failures = self.state().failures;
        let wait = if failures == 0 {
            self.options.interval().get()
        } else {
            BACKOFF_FIRST.saturating_mul(1 << (failures - 1).min(20)).min(backoff_max.max(BACKOFF_FIRST))
        };
        jittered(wait, uuid::Uuid::new_v4().as_u128())
    }
}

/// What must be the same for content to be what these options would read.
pub(crate) fn fingerprint(source: &SourceOptions, registry: &RegistryOptions) -> String {
    let relevant = SourceOptions { interval: None, ..source.clone() };
    let text = serde_json::to_string(&(relevant, registry.entry_size_max)).unwrap_or_default();
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

/// Up to a tenth less or more.
fn jittered(wait: Duration, random: u128) -> Duration {
    let share = (random % 2_001) as f64 / 10_000.0;
    wait.mul_f64(0.9 + share)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(interval_s: u64) -> Source {
        let options = SourceOptions {
            interval: Some(Duration::from_secs(interval_s).into()),
            ..SourceOptions::managed("local")
        };
        let now = Timestamp::now();
        Source::new(
            options,
            SourceKind::Managed,
            Creation::Config,
            (now, now),
            Arc::default(),
            Remembered::default(),
        )
    }

    #[test]
    fn a_source_that_fails_is_left_alone_for_longer_and_longer() {
        let source = source(3_600);
        let mut last = Duration::ZERO;
        for failures in 1..=8 {
            source.update(|state| state.failures = failures);
            let wait = source.wait(Duration::from_mins(15));
            assert!(wait > last, "{failures}: {wait:?}");
            last = wait;
        }
        source.update(|state| state.failures = 1_000);
        assert!(source.wait(Duration::from_mins(15)) <= Duration::from_secs(990));
        source.update(|state| state.failures = 0);
        assert!(source.wait(Duration::from_mins(15)) >= Duration::from_mins(54));
    }

    #[test]
    fn waits_differ_by_a_tenth_at_most() {
        for random in [0, 1, 999, 2_000, u128::MAX] {
            let wait = jittered(Duration::from_secs(100), random);
            assert!((90.0..=110.1).contains(&wait.as_secs_f64()), "{wait:?}");
        }
    }

    #[tokio::test]
    async fn those_who_ask_before_a_sync_begins_share_it() {
        let source = source(60);
        let (first, second) = (source.ask(), source.ask());
        let number = source.begin();
        let third = source.ask();
        source.finish(number);
        source.finished(first).await;
        source.finished(second).await;
        assert!(source.asked().done < third, "the third asked after it began");
        source.finish(source.begin());
        source.finished(third).await;
    }
}
