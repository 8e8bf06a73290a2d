//! Calls that survive a crash: single ones that become jobs, and batches of them in OpenAI's format.
//!
//! ```text
//! Prefer: respond-async ─▶ job of `llm_call` ──────────────┐
//!                                                          ├─▶ Gateway::call_once ─▶ llm_once: lane, answer, usage
//! file ─▶ batch ─▶ job of `llm_batch_run` ─▶ each line ────┘
//! ```
//!
//! Jobs are somebody else's ([`DurableCalls`]); what makes a call happen once is here, in [`once`]. A batch is one job:
//! it begins where it was, because the lines that are answered are found answered.

mod batch;
mod call;
mod file;
mod line;
mod multipart;
mod once;
mod run;
pub(crate) mod store;

use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use paddock_platform::{
    blobs::Blobs,
    config::Section,
    durable::DurableCalls,
    params,
    problem::error_chain,
    store::{Store, StoreError},
    task::Tasks,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) use batch::{BATCH_TOOL, BatchInput, BatchView};
pub(crate) use call::CALL_TOOL;
pub use call::{CallApi, CallInput};
pub(crate) use file::{FileView, Uploaded};
pub(crate) use line::endpoint_of as line_endpoint;
pub(crate) use multipart::read_upload;
pub use once::CallOutput;
pub(crate) use once::{IDEMPOTENCY_KEY, Once};

use crate::{config::LlmOptions, gateway::Gateway};
use paddock_platform::units::HumanDuration;

/// How often is looked for what is too old.
const EXPIRE_INTERVAL: Duration = Duration::from_mins(10);

/// Files, batches, and calls that are made once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BatchOptions {
    /// Lines of a batch at most.
    pub lines_max: usize,
    /// Lines of a batch that are asked at once.
    pub concurrency_max: usize,
    /// How often a line is tried whose provider fails or is at its limits.
    pub attempts_max: u32,
    /// The longest time that a batch may be given.
    pub window_max: HumanDuration,
    /// For how long files, batches and the answers of calls that are made once are kept.
    pub retention: HumanDuration,
}

impl Default for BatchOptions {
    fn default() -> Self {
        Self {
            lines_max: 50_000,
            concurrency_max: 8,
            attempts_max: 5,
            window_max: HumanDuration::from_secs(7 * 24 * 3600),
            retention: HumanDuration::from_secs(30 * 24 * 3600),
        }
    }
}

struct Inner {
    gateway: Gateway,
    store: Store,
    blobs: Blobs,
    calls: Arc<dyn DurableCalls>,
    options: Section<LlmOptions>,
    /// Batches that this server is at.
    running: Mutex<HashSet<String>>,
}

/// Calls that survive a crash. Cheap to clone.
#[derive(Clone)]
pub struct Durable(Arc<Inner>);

impl fmt::Debug for Durable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Durable")
    }
}

impl Durable {
    /// Starts it on the tables that the gateway has opened.
    pub fn start(
        gateway: Gateway,
        blobs: Blobs,
        calls: Arc<dyn DurableCalls>,
        options: Section<LlmOptions>,
        tasks: &Tasks,
    ) -> Self {
        let store = gateway.inner().store.clone();
        let running = Mutex::default();
        let durable = Self(Arc::new(Inner { gateway, store, blobs, calls, options, running }));
        durable.spawn_expiry(tasks);
        durable
    }

    /// The gateway that its calls go through.
    pub fn gateway(&self) -> &Gateway {
        &self.0.gateway
    }

    fn calls(&self) -> &dyn DurableCalls {
        &*self.0.calls
    }

    fn options(&self) -> BatchOptions {
        self.0.options.current().batch
    }

    /// Marks a batch as being run here, until the mark is dropped; `None` if it is.
    fn enter(&self, batch: &str) -> Option<Running> {
        let mut running = self.0.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.insert(batch.to_owned()).then(|| Running { durable: self.clone(), batch: batch.to_owned() })
    }

    fn spawn_expiry(&self, tasks: &Tasks) {
        let (durable, stopping) = (self.clone(), tasks.stop_token());
        tasks.spawn("llm-expiry", async move {
            while stopping.run_until_cancelled(tokio::time::sleep(EXPIRE_INTERVAL)).await.is_some() {
                if let Err(error) = durable.expire(Timestamp::now()).await {
                    tracing::warn!(
                        error = error_chain(&error),
                        "old batches and files could not be forgotten"
                    );
                }
            }
        });
    }

    /// Forgets what is older than it is kept.
    async fn expire(&self, now: Timestamp) -> Result<(), StoreError> {
        let retention =
            SignedDuration::try_from(self.options().retention.get()).unwrap_or(SignedDuration::MAX);
        let oldest = now.checked_sub(retention).unwrap_or(Timestamp::MIN);
        while self.0.store.execute(&store::EXPIRE_ONCE, params![oldest]).await? > 0 {}
        self.0.store.execute(&store::EXPIRE_BATCHES, params![oldest]).await?;
        self.expire_files(now).await
    }
}

/// That a batch is being run here.
struct Running {
    durable: Durable,
    batch: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.durable.0.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.batch);
    }
}
