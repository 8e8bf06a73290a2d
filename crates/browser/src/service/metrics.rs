//! What the caller's instances cost.

use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use paddock_cdp::Command;
use paddock_platform::{identity::Caller, problem::Problem};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{BrowserService, InstanceView, READ};
use crate::{
    ids::InstanceId,
    instance::{Instance, InstanceStatus},
    measure::{Cost, measure},
    tab::Tab,
};

/// How long a page may take to tell of its heap; one that is too busy counts for nothing.
const HEAP_DEADLINE: Duration = Duration::from_millis(500);

/// What an instance costs now.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstanceMetrics {
    /// The instance.
    pub instance_id: InstanceId,
    /// Its profile's name, or its own.
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
    /// Proportional set size in bytes: its renderers', and its share of the Chrome that it lives in. 0 while it
    /// hibernates.
    pub pss_bytes: u64,
    /// The same in megabytes.
    #[serde(rename = "memoryMB")]
    pub memory_mb: f64,
    /// Processor time of the same, in seconds since they started.
    pub cpu_seconds: f64,
    /// When it was started.
    #[schemars(with = "String")]
    #[schema(value_type = String)]
    pub start_time: Timestamp,
    /// When it was last used.
    #[schemars(with = "String")]
    #[schema(value_type = String)]
    pub last_used: Timestamp,
}

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

impl BrowserService {
    /// What the caller's instances cost, oldest first.
    pub async fn instances_metrics(&self, caller: &Caller) -> Result<Vec<InstanceMetrics>, Problem> {
        caller.require(READ)?;
        let instances: Vec<Instance> = self.owned(caller).collect();
        let costs = measure(&self.fleet).await;
        let rows = instances.iter().map(|instance| {
            let cost = costs.get(instance.id()).copied().unwrap_or_default();
            metrics_of(instance, cost)
        });
        Ok(join_all(rows).await)
    }

    /// What one of the caller's instances costs.
    pub async fn instance_metrics(
        &self,
        caller: &Caller,
        id: &InstanceId,
    ) -> Result<InstanceMetrics, Problem> {
        caller.require(READ)?;
        let instance = self.own(caller, id)?;
        let cost = measure(&self.fleet).await.get(id).copied().unwrap_or_default();
        Ok(metrics_of(&instance, cost).await)
    }
}

async fn metrics_of(instance: &Instance, cost: Cost) -> InstanceMetrics {
    let heaps = join_all(instance.tabs().iter().map(heap)).await;
    let (used, total) =
        heaps.iter().fold((0.0, 0.0), |sum, heap| (sum.0 + heap.used_size, sum.1 + heap.total_size));
    let info = instance.info();
    InstanceMetrics {
        tabs: info.tabs,
        status: info.status,
        js_heap_used_mb: megabytes(used),
        js_heap_total_mb: megabytes(total),
        pss_bytes: cost.pss,
        memory_mb: megabytes(cost.pss as f64),
        cpu_seconds: cost.cpu.as_secs_f64(),
        start_time: info.started,
        last_used: info.used,
        profile_name: InstanceView::from(info).profile_name,
        instance_id: instance.id().clone(),
    }
}

async fn heap(tab: &Tab) -> HeapUsage {
    let answer = tab.session().send_within(&GetHeapUsage {}, HEAP_DEADLINE).await;
    answer.unwrap_or(HeapUsage { used_size: 0.0, total_size: 0.0 })
}

fn megabytes(bytes: f64) -> f64 {
    (bytes / 10_000.0).round() / 100.0
}
