//! The server as Pinchtab's clients ask for it: figures, the configuration, the state of the fleet.

use paddock_cdp::protocol::performance::{Enable, GetMetrics};
use paddock_platform::{
    identity::Caller,
    problem::{NOT_IMPLEMENTED, Problem},
};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{BrowserService, READ, Target};
use crate::{error::BrowserError, sessions::not_in_session};

const MIB: f64 = (1 << 20) as f64;

/// What the page of a tab costs.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
pub struct TabMetrics {
    /// Memory of its scripts' objects, in MiB.
    #[serde(rename = "jsHeapUsedMB")]
    pub js_heap_used_mb: f64,
    /// Memory set aside for them, in MiB.
    #[serde(rename = "jsHeapTotalMB")]
    pub js_heap_total_mb: f64,
    /// Documents, those of frames included.
    pub documents: u64,
    /// Frames.
    pub frames: u64,
    /// Nodes of all documents, those included that only scripts hold.
    pub nodes: u64,
    /// Event listeners.
    pub listeners: u64,
}

/// What the caller's tenant has and did. The server's own figures are at `/metrics` of the server, for Prometheus.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TenantMetrics {
    /// Requests to `/browser`.
    pub requests_total: u64,
    /// Instances.
    pub instances: usize,
    /// Tabs of all of them.
    pub tabs: usize,
    /// Agents that were seen.
    pub agents: usize,
}

/// Figures of the tenant or of a tab.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Figures {
    /// Without a tab.
    Tenant {
        /// The tenant's.
        metrics: TenantMetrics,
    },
    /// Of a tab.
    Tab(TabMetrics),
}

/// The effective configuration.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigView {
    /// The section `[browser]`, and under `instanceDefaults` what Pinchtab's clients look for there.
    #[schema(value_type = Object)]
    pub config: Value,
    /// False: what cannot be reloaded is read at start alone.
    pub restart_required: bool,
}

/// How the fleet does, for clients that watch a single browser.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FleetStatus {
    /// `ok`.
    pub status: String,
    /// `fleet`: instances are started when they are needed, and Chrome processes that end are replaced.
    pub strategy: String,
    /// True.
    pub running: bool,
    /// The tenant's instances.
    pub instances: usize,
    /// Instances that are ready to be taken.
    pub ready: usize,
}

impl BrowserService {
    /// Figures of the tab that is named, or else of the tenant.
    pub async fn figures(&self, target: &Target) -> Result<Figures, Problem> {
        if target.tab.is_none() {
            return Ok(Figures::Tenant { metrics: self.tenant_metrics(&target.caller)? });
        }
        let tab = self.tab(target, READ).await?;
        let session = tab.session();
        session.send(&Enable {}).await.map_err(BrowserError::from)?;
        let read = session.send(&GetMetrics {}).await.map_err(BrowserError::from)?.metrics;
        let value =
            |name: &str| read.iter().find(|metric| metric.name == name).map_or(0.0, |metric| metric.value);
        let count = |name: &str| value(name) as u64;
        Ok(Figures::Tab(TabMetrics {
            js_heap_used_mb: value("JSHeapUsedSize") / MIB,
            js_heap_total_mb: value("JSHeapTotalSize") / MIB,
            documents: count("Documents"),
            frames: count("Frames"),
            nodes: count("Nodes"),
            listeners: count("JSEventListeners"),
        }))
    }

    /// What the caller's tenant has and did.
    pub fn tenant_metrics(&self, caller: &Caller) -> Result<TenantMetrics, Problem> {
        caller.require(READ)?;
        let (instances, tabs) = self
            .owned(caller)
            .fold((0, 0), |(instances, tabs), instance| (instances + 1, tabs + instance.tabs().len()));
        let agents = self.shared().activity.agents(caller.tenant()).len();
        Ok(TenantMetrics { requests_total: self.requests_seen(caller), instances, tabs, agents })
    }

    /// The effective configuration of the area.
    pub fn config(&self, caller: &Caller) -> Result<ConfigView, Problem> {
        caller.require(READ)?;
        not_in_session(caller)?;
        let options = self.options();
        let (lifecycle, delay) = match options.tab_idle_after {
            Some(after) => ("close_idle", after.get().as_secs()),
            None => ("keep", 0),
        };
        let defaults = json!({
            "mode": "headless",
            "maxTabs": options.tabs_per_instance_max,
            "tabPolicy": { "eviction": "close_lru", "lifecycle": lifecycle, "closeDelaySec": delay },
        });
        let browser = serde_json::to_value(options)
            .map_err(|error| Problem::internal("showing the configuration", &error))?;
        Ok(ConfigView {
            config: json!({ "browser": browser, "instanceDefaults": defaults }),
            restart_required: false,
        })
    }

    /// How the fleet does.
    pub fn fleet_status(&self, caller: &Caller) -> Result<FleetStatus, Problem> {
        caller.require(READ)?;
        Ok(FleetStatus {
            status: "ok".to_owned(),
            strategy: "fleet".to_owned(),
            running: true,
            instances: self.owned(caller).count(),
            ready: self.fleet().ready(),
        })
    }
}

/// What is left out on purpose, and what to do instead.
pub(crate) fn left_out(what: &str, instead: &str) -> Problem {
    Problem::new(NOT_IMPLEMENTED, format!("{what} is left out on purpose; {instead}"))
}
