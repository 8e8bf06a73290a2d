//! What happens to instances and their tabs, for those who watch the fleet.

use jiff::Timestamp;
use paddock_platform::identity::Tenant;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::broadcast;
use utoipa::ToSchema;

use crate::{
    ids::{InstanceId, TabId},
    instance::InstanceStatus,
};

/// Events that a slow watcher may lag behind; those that it missed are counted for it.
const LAG_MAX: usize = 1024;

/// Something that happened in the fleet.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FleetEvent {
    /// Whose instance it is; watchers are shown their own alone.
    #[schemars(with = "String")]
    #[schema(value_type = String)]
    pub tenant: Tenant,
    /// When it happened.
    #[schemars(with = "String")]
    #[schema(value_type = String)]
    pub at: Timestamp,
    /// The instance.
    pub instance_id: InstanceId,
    /// What happened.
    #[serde(flatten)]
    pub change: FleetChange,
}

/// What happened to an instance or to one of its tabs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema, ToSchema)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum FleetChange {
    /// The instance is in another state.
    Instance {
        /// Which.
        status: InstanceStatus,
        /// Why, in words for people.
        cause: String,
    },
    /// A tab was opened, by a caller or by a page.
    TabOpened {
        /// Which.
        tab_id: TabId,
    },
    /// A tab's main frame shows another document.
    TabNavigated {
        /// Which.
        tab_id: TabId,
        /// Where it is.
        url: String,
    },
    /// A tab's renderer crashed; navigating revives it.
    TabCrashed {
        /// Which.
        tab_id: TabId,
    },
    /// A tab is closed.
    TabClosed {
        /// Which.
        tab_id: TabId,
    },
}

impl std::fmt::Display for FleetChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Instance { status, cause } => write!(f, "{}: {cause}", status.as_str()),
            Self::TabOpened { tab_id } => write!(f, "{tab_id} opened"),
            Self::TabNavigated { tab_id, url } => write!(f, "{tab_id} went to {url}"),
            Self::TabCrashed { tab_id } => write!(f, "{tab_id} crashed"),
            Self::TabClosed { tab_id } => write!(f, "{tab_id} closed"),
        }
    }
}

/// Where events go: watchers that are too slow miss the oldest.
#[derive(Clone, Debug)]
pub(crate) struct Events(broadcast::Sender<FleetEvent>);

impl Default for Events {
    fn default() -> Self {
        Self(broadcast::Sender::new(LAG_MAX))
    }
}

impl Events {
    pub(crate) fn send(&self, tenant: &Tenant, instance_id: &InstanceId, change: FleetChange) {
        let (tenant, instance_id) = (tenant.clone(), instance_id.clone());
        // An error means that nobody watches.
        self.0.send(FleetEvent { tenant, at: Timestamp::now(), instance_id, change }).ok();
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<FleetEvent> {
        self.0.subscribe()
    }
}
