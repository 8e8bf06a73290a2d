//! Starting again, hibernating and waking instances, and what they cost.

use futures_util::future::join_all;
use paddock_cdp::protocol::Command;
use paddock_platform::{
    identity::Caller,
    problem::{NOT_IMPLEMENTED, Problem},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{BrowserService, InstanceView, READ, WRITE};
use crate::{
    ids::InstanceId,
    instance::{Instance, InstanceStatus},
    pool::Isolation,
    tab::Tab,
};

/// The metrics of a page.
#[derive(Serialize)]
struct GetHeapUsage {}

/// Reply of [`GetHeapUsage`].
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HeapUsage {
    used_size: f64,
    total_size: f64,
}

impl Command for GetHeapUsage {
    const METHOD: &'static str = "Runtime.getHeapUsage";
    type Reply = HeapUsage;
}

/// What an instance costs.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstanceMetrics {
    /// The instance.
    pub instance_id: InstanceId,
    /// Its profile's name.
    pub profile_name: String,
    /// What it is doing.
    pub status: InstanceStatus,
    /// Open tabs.
    pub tabs: usize,
    /// JavaScript heap in use in all its pages, in megabytes.
    #[serde(rename = "jsHeapUsedMB")]
    pub js_heap_used_mb: f64,
    /// JavaScript heap of all its pages, in megabytes.
    #[serde(rename = "jsHeapTotalMB")]
    pub js_heap_total_mb: f64,
    /// Memory of its Chrome process with its children, proportional set size in megabytes; its share of it, if it
    /// shares the process. 0 while it hibernates.
    #[serde(rename = "memoryMB")]
    pub memory_mb: f64,
    /// Processor seconds of its Chrome process since that was started; its share of it, if it shares the process.
    pub cpu_seconds: f64,
    /// Whether memory and processor time are shares.
    pub shared: bool,
    /// When a request last used it.
    #[schemars(with = "String")]
    #[schema(value_type = String)]
    pub last_used: jiff::Timestamp,
}

impl BrowserService {
    /// Wakes an instance.
    pub async fn wake(&self, caller: &Caller, id: &InstanceId) -> Result<InstanceView, Problem> {
        caller.require(WRITE)?;
        let instance = self.own(caller, id)?;
        drop(instance.enter().await?);
        Ok(instance.info().into())
    }

    /// Saves an instance's state and gives its memory back; the next request wakes it.
    pub async fn hibernate(&self, caller: &Caller, id: &InstanceId) -> Result<InstanceView, Problem> {
        caller.require(WRITE)?;
        let instance = self.own(caller, id)?;
        instance.hibernate("asked to").await?;
        Ok(instance.info().into())
    }

    /// Gives an instance a new context with its saved state, and its tabs their pages.
    pub async fn restart(&self, caller: &Caller, id: &InstanceId) -> Result<InstanceView, Problem> {
        caller.require(WRITE)?;
        let instance = self.own(caller, id)?;
        instance.hibernate("restarted").await?;
        drop(instance.attach().await?);
        Ok(instance.info().into())
    }

    /// Makes sure that the caller has an instance that is awake.
    pub async fn ensure_browser(&self, caller: &Caller) -> Result<InstanceView, Problem> {
        caller.require(WRITE)?;
        let instance = self.any_instance(caller).await?;
        drop(instance.enter().await?);
        Ok(instance.info().into())
    }

    /// Restarts the caller's first instance.
    pub async fn restart_browser(&self, caller: &Caller) -> Result<InstanceView, Problem> {
        caller.require(WRITE)?;
        let instance = self.any_instance(caller).await?;
        let id = instance.id().clone();
        self.restart(caller, &id).await
    }

    /// Says that browsers that others started are not driven.
    pub fn refuse_to_attach(&self, caller: &Caller) -> Result<(), Problem> {
        caller.require(WRITE)?;
        Err(Problem::new(
            NOT_IMPLEMENTED,
            "a browser that Paddock did not start is not driven: its pages would not pass the egress; start an \
             instance instead",
        ))
    }

    /// What happened to an instance, one line each, the latest last.
    pub fn log(&self, caller: &Caller, id: &InstanceId) -> Result<Vec<String>, Problem> {
        caller.require(READ)?;
        Ok(self.own(caller, id)?.log())
    }

    /// What the caller's instances cost.
    pub async fn instance_metrics(&self, caller: &Caller) -> Result<Vec<InstanceMetrics>, Problem> {
        caller.require(READ)?;
        let instances: Vec<Instance> = self.owned(caller).collect();
        let usage = self.fleet.usage().await;
        let metrics = instances.iter().map(async |instance| {
            let info = instance.info();
            let heaps = join_all(instance.tabs().iter().map(heap)).await;
            let (used, total) =
                heaps.iter().fold((0.0, 0.0), |sum, heap| (sum.0 + heap.used_size, sum.1 + heap.total_size));
            let (usage, contexts) = info.pid.and_then(|pid| usage.get(&pid).copied()).unwrap_or_default();
            let share = contexts.max(1) as f64;
            InstanceMetrics {
                tabs: info.tabs,
                js_heap_used_mb: megabytes(used),
                js_heap_total_mb: megabytes(total),
                memory_mb: megabytes(usage.memory.get() as f64 / share),
                cpu_seconds: usage.cpu.as_secs_f64() / share,
                shared: info.spec.isolation == Isolation::Context,
                last_used: info.used,
                status: info.status,
                profile_name: InstanceView::from(info).profile_name,
                instance_id: instance.id().clone(),
            }
        });
        Ok(join_all(metrics).await)
    }
}

async fn heap(tab: &Tab) -> HeapUsage {
    // A page that is too busy to answer soon counts for nothing.
    let deadline = std::time::Duration::from_millis(500);
    let answer = tab.session().send_within(&GetHeapUsage {}, deadline).await;
    answer.unwrap_or(HeapUsage { used_size: 0.0, total_size: 0.0 })
}

fn megabytes(bytes: f64) -> f64 {
    (bytes / 10_000.0).round() / 100.0
}
