//! What an instance is created with, what it is doing, and how lists show it.

use std::path::PathBuf;

use jiff::Timestamp;
use metrics::gauge;
use paddock_platform::{egress::Destination, identity::Tenant};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    ids::{InstanceId, ProfileId},
    metrics::BROWSER_INSTANCES,
    pool::Isolation,
};

/// What an instance is created with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InstanceSpec {
    /// Whose it is.
    #[serde(skip_serializing, default = "Tenant::local")]
    pub tenant: Tenant,
    /// Whether it shares its Chrome process.
    #[serde(default)]
    pub isolation: Isolation,
    /// A name for people; empty for none.
    #[serde(default)]
    pub name: String,
    /// For the server's own use: not in the registry, never hibernated, invisible to callers.
    #[serde(skip)]
    pub ephemeral: bool,
    /// The profile that it starts from and that its cookies and storage are saved to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<ProfileId>,
    /// With windows, on a display; needs the full browser and a process of its own.
    #[serde(default)]
    pub headed: bool,
    /// Directories of unpacked extensions that run in it; needs the full browser and a process of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<PathBuf>,
    /// The only hosts that it may reach, of those that the fleet lets pages reach; all of them if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_hosts: Vec<Destination>,
    /// A port that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The DevTools address of the Chrome that somebody else started and that it stands for.
    #[serde(skip)]
    pub attached_to: Option<String>,
}

impl InstanceSpec {
    /// A context in a shared process.
    pub fn new(tenant: Tenant) -> Self {
        Self {
            tenant,
            isolation: Isolation::Context,
            name: String::new(),
            ephemeral: false,
            profile: None,
            headed: false,
            extensions: Vec::new(),
            allowed_hosts: Vec::new(),
            port: None,
            attached_to: None,
        }
    }

    /// One for the server's own use: callers do not see it, and nothing of it is kept.
    pub fn ephemeral(tenant: Tenant) -> Self {
        Self { ephemeral: true, ..Self::new(tenant) }
    }
}

/// What an instance is doing, in Pinchtab's words and one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum InstanceStatus {
    /// Its context is being made, or made again.
    Starting,
    /// It takes requests at once.
    Running,
    /// Its state is saved and its memory given back; the next request wakes it.
    Hibernated,
    /// It is being disposed.
    Stopping,
    /// It is gone; only events tell so.
    Stopped,
    /// It could not be restored, or was not to be; the next request tries again unless nothing of it is saved.
    Error,
}

impl InstanceStatus {
    /// The state in Pinchtab's and the API's words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Hibernated => "hibernated",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Error => "error",
        }
    }
}

/// An instance as lists show it.
#[derive(Clone, Debug)]
pub struct InstanceInfo {
    /// Its id.
    pub id: InstanceId,
    /// What it was created with.
    pub spec: InstanceSpec,
    /// What it is doing.
    pub status: InstanceStatus,
    /// When it was created.
    pub started: Timestamp,
    /// When a request last used it.
    pub used: Timestamp,
    /// How it was lost.
    pub error: Option<String>,
    /// Open tabs.
    pub tabs: usize,
    /// Process id of its Chrome while it has one that Paddock started.
    pub pid: Option<i32>,
}

/// A status that is counted.
#[derive(Debug)]
pub(crate) struct Status(InstanceStatus);

impl Status {
    pub(super) fn new(status: InstanceStatus) -> Self {
        gauge!(BROWSER_INSTANCES, "state" => status.as_str()).increment(1.0);
        Self(status)
    }

    pub(crate) const fn get(&self) -> InstanceStatus {
        self.0
    }
}

impl Drop for Status {
    fn drop(&mut self) {
        gauge!(BROWSER_INSTANCES, "state" => self.0.as_str()).decrement(1.0);
    }
}
