//! Starting, showing and stopping instances.

use paddock_platform::{
    identity::Caller,
    problem::{NOT_IMPLEMENTED, Problem},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{BrowserService, READ, WRITE};
use crate::{
    ids::InstanceId,
    instance::{InstanceInfo, InstanceSpec, InstanceStatus},
    pool::Isolation,
};

/// What an instance is started with.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct StartRequest {
    /// A name for people.
    #[schemars(length(max = 128))]
    pub name: String,
    /// `headless`; windows on a screen (`headed`) are not available yet.
    pub mode: Option<String>,
    /// As `mode`: true.
    pub headless: Option<bool>,
    /// `context`: own cookies and storage in a shared Chrome process. `process`: a Chrome process of its own.
    pub isolation: Isolation,
    /// Not available yet.
    pub profile_id: Option<String>,
    /// Accepted and not used: all instances are reached through this server.
    pub port: Option<String>,
}

impl StartRequest {
    /// Refuses what would otherwise be silently not done.
    pub(crate) fn check(&self) -> Result<(), Problem> {
        if self.headless == Some(false) || self.mode.as_deref() == Some("headed") {
            return Err(Problem::new(NOT_IMPLEMENTED, "headed instances are not available yet"));
        }
        if self.mode.as_deref().is_some_and(|mode| !matches!(mode, "" | "headless")) {
            return Err(Problem::invalid_field("mode", "must be `headless`"));
        }
        if self.profile_id.as_deref().is_some_and(|id| !id.is_empty()) {
            return Err(Problem::new(NOT_IMPLEMENTED, "profiles are not available yet"));
        }
        if self.name.chars().count() > 128 {
            return Err(Problem::invalid_field("name", "must have at most 128 characters"));
        }
        Ok(())
    }
}

/// An instance.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstanceView {
    /// Its id.
    pub id: InstanceId,
    /// Empty: the instance has no profile that outlives it.
    pub profile_id: String,
    /// Its name.
    pub profile_name: String,
    /// Empty: it is reached through this server.
    pub port: String,
    /// `headless`.
    pub mode: String,
    /// True.
    pub headless: bool,
    /// What it is doing.
    pub status: InstanceStatus,
    /// When it was started.
    #[schemars(with = "String")]
    #[schema(value_type = String)]
    pub start_time: jiff::Timestamp,
    /// How it was lost, when its status is `error`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// False: it was started here.
    pub attached: bool,
    /// Whether it shares its Chrome process.
    pub isolation: Isolation,
    /// Open tabs.
    pub tabs: usize,
}

impl From<InstanceInfo> for InstanceView {
    fn from(info: InstanceInfo) -> Self {
        Self {
            id: info.id,
            profile_id: String::new(),
            profile_name: info.name,
            port: String::new(),
            mode: "headless".to_owned(),
            headless: true,
            status: info.status,
            start_time: info.started,
            error: info.error,
            attached: false,
            isolation: info.isolation,
            tabs: info.tabs,
        }
    }
}

/// All instances, for the tool (a tool's output is an object).
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct InstanceList {
    /// The instances.
    pub instances: Vec<InstanceView>,
}

/// Names an instance, for the tools.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InstanceRequest {
    /// Which.
    pub instance_id: InstanceId,
}

/// An instance was stopped.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct Stopped {
    /// Which.
    pub id: InstanceId,
    /// `stopped`.
    pub status: String,
}

/// How the caller's browsers are.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Health {
    /// `ok`, or `error` when no Chrome is installed.
    pub status: String,
    /// Instances of the caller's tenant.
    pub instances: usize,
    /// Their tabs.
    pub tabs: usize,
    /// What to do, when the status is `error`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl BrowserService {
    /// Starts an instance.
    pub async fn start(&self, caller: &Caller, request: StartRequest) -> Result<InstanceView, Problem> {
        caller.require(WRITE)?;
        request.check()?;
        let spec = InstanceSpec {
            tenant: caller.tenant().clone(),
            isolation: request.isolation,
            name: request.name,
        };
        Ok(self.fleet.create(spec).await?.info().into())
    }

    /// Stops an instance.
    pub async fn stop(&self, caller: &Caller, id: &InstanceId) -> Result<Stopped, Problem> {
        caller.require(WRITE)?;
        self.own(caller, id)?;
        self.fleet.stop(id).await?;
        Ok(Stopped { id: id.clone(), status: "stopped".to_owned() })
    }

    /// The caller's instances, oldest first.
    pub fn instances(&self, caller: &Caller) -> Result<Vec<InstanceView>, Problem> {
        caller.require(READ)?;
        Ok(self.owned(caller).map(|instance| instance.info().into()).collect())
    }

    /// One of the caller's instances.
    pub fn instance(&self, caller: &Caller, id: &InstanceId) -> Result<InstanceView, Problem> {
        caller.require(READ)?;
        Ok(self.own(caller, id)?.info().into())
    }

    /// How the caller's browsers are.
    pub fn health(&self, caller: &Caller) -> Result<Health, Problem> {
        caller.require(READ)?;
        let reason = self.fleet.engine().err().map(|error| error.to_string());
        Ok(Health {
            status: if reason.is_none() { "ok" } else { "error" }.to_owned(),
            instances: self.owned(caller).count(),
            tabs: self.owned(caller).map(|instance| instance.tabs().len()).sum(),
            reason,
        })
    }
}
