//! What the caller's instances cost.

use jiff::Timestamp;
use paddock_platform::{identity::Caller, problem::Problem};
use schemars::JsonSchema;
use serde::Serialize;
use utoipa::ToSchema;

use super::{BrowserService, READ};
use crate::{
    ids::InstanceId,
    instance::{InstanceInfo, InstanceStatus},
    measure::{Cost, measure},
};

/// What an instance costs now.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstanceMetrics {
    /// The instance.
    pub instance_id: InstanceId,
    /// Its name.
    pub profile_name: String,
    /// What it is doing.
    pub status: InstanceStatus,
    /// Open tabs.
    pub tabs: usize,
    /// Proportional set size in bytes: its renderers', and its share of the Chrome that it lives in.
    pub pss_bytes: u64,
    /// Processor time of the same, in seconds since they started.
    pub cpu_seconds: f64,
    /// When it was started.
    #[schemars(with = "String")]
    #[schema(value_type = String)]
    pub start_time: Timestamp,
}

impl BrowserService {
    /// What the caller's instances cost, oldest first.
    pub async fn metrics(&self, caller: &Caller) -> Result<Vec<InstanceMetrics>, Problem> {
        caller.require(READ)?;
        let costs = measure(&self.fleet).await;
        let row = |info: InstanceInfo| {
            let cost = costs.get(&info.id).copied().unwrap_or_default();
            metrics_of(info, cost)
        };
        Ok(self.owned(caller).map(|instance| row(instance.info())).collect())
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
        Ok(metrics_of(instance.info(), cost))
    }
}

fn metrics_of(info: InstanceInfo, cost: Cost) -> InstanceMetrics {
    InstanceMetrics {
        instance_id: info.id,
        profile_name: info.name,
        status: info.status,
        tabs: info.tabs,
        pss_bytes: cost.pss,
        cpu_seconds: cost.cpu.as_secs_f64(),
        start_time: info.started,
    }
}
