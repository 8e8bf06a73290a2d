//! Starting, showing and stopping instances.

use std::path::{Path, PathBuf};

use paddock_platform::{egress::Destination, identity::Caller, problem::Problem};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    BrowserService, READ, WRITE,
    browser_choice::check_browser,
    profiles::{temporary_id, temporary_name},
};
use crate::{
    ids::InstanceId,
    instance::{InstanceInfo, InstanceSpec, InstanceStatus},
    pool::Isolation,
};

/// Hosts that one instance may be kept to.
const ALLOWED_MAX: usize = 200;

/// What an instance may reach.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct SecurityPolicy {
    /// The only hosts, of those that the server lets pages reach: `example.com`, `*.example.com` (that host and all
    /// within it), `192.0.2.7`. All if empty.
    #[schemars(length(max = 200))]
    #[schema(value_type = Vec<String>)]
    pub allowed_domains: Vec<Destination>,
}

/// What an instance is started with.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct StartRequest {
    /// A name for people.
    #[schemars(length(max = 128))]
    pub name: String,
    /// `headless`, or `headed`: with windows on the server's display, in a process of its own.
    pub mode: Option<String>,
    /// As `mode`: true.
    pub headless: Option<bool>,
    /// `context`: own cookies and storage in a shared Chrome process. `process`: a Chrome process of its own.
    pub isolation: Option<Isolation>,
    /// Id or name of the profile to start from; cookies and storage are saved to it. One instance at a time.
    pub profile_id: Option<String>,
    /// A port to reserve for the instance, or `auto`. Nothing needs one: all instances are reached through this server.
    #[serde(deserialize_with = "number_or_text")]
    #[schemars(with = "Option<String>")]
    #[schema(value_type = Option<String>)]
    pub port: Option<String>,
    /// Extensions to run in it, of those that `[browser] extensions` lists: their paths, or the names of their
    /// directories. It has a process of its own then.
    #[schemars(skip)]
    pub extension_paths: Option<Vec<String>>,
    /// What it may reach; what the server lets pages reach if absent.
    pub security_policy: Option<SecurityPolicy>,
    /// `chrome`: every instance has the same browser.
    pub browser: Option<String>,
    /// Accepted and not used: there is no other browser to fall back to.
    pub fallback_targets: Option<Vec<String>>,
}

/// Clients send ports both ways.
fn number_or_text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Number(u16),
        Text(String),
    }
    Ok(match Option::<Either>::deserialize(deserializer)? {
        Some(Either::Number(number)) => Some(number.to_string()),
        Some(Either::Text(text)) => Some(text).filter(|text| !text.is_empty()),
        None => None,
    })
}

impl StartRequest {
    /// Refuses what would otherwise be silently not done.
    pub(crate) fn check(&self) -> Result<(), Problem> {
        if self.mode.as_deref().is_some_and(|mode| !matches!(mode, "" | "headless" | "headed")) {
            return Err(Problem::invalid_field("mode", "must be `headless` or `headed`"));
        }
        if self.name.chars().count() > 128 {
            return Err(Problem::invalid_field("name", "must have at most 128 characters"));
        }
        check_browser(self.browser.as_deref())?;
        let allowed = self.security_policy.as_ref().map_or(0, |policy| policy.allowed_domains.len());
        if allowed > ALLOWED_MAX {
            let detail = format!("must have at most {ALLOWED_MAX} items");
            return Err(Problem::invalid_field("securityPolicy.allowedDomains", detail));
        }
        // Extensions run in Chrome's default context, whose proxy is that of the process.
        if allowed > 0 && self.extension_paths.as_ref().is_some_and(|paths| !paths.is_empty()) {
            let detail = "an instance with extensions cannot be kept to some hosts";
            return Err(Problem::invalid_field("securityPolicy", detail));
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
    /// Its profile; one with the digits of the instance if that has none that outlives it.
    pub profile_id: String,
    /// The profile's name, or the instance's.
    pub profile_name: String,
    /// The port that was reserved for it; empty if none was asked for.
    pub port: String,
    /// `headless` or `headed`.
    pub mode: String,
    /// Whether it has no windows.
    pub headless: bool,
    /// What it is doing.
    pub status: InstanceStatus,
    /// When it was started.
    #[schemars(with = "String")]
    #[schema(value_type = String)]
    pub start_time: jiff::Timestamp,
    /// When a request last used it.
    #[schemars(with = "String")]
    #[schema(value_type = String)]
    pub last_used: jiff::Timestamp,
    /// How it was lost, when its status is `error`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Whether it stands for a Chrome that somebody else started.
    pub attached: bool,
    /// `cdp-bridge`, Pinchtab's word for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attach_type: Option<&'static str>,
    /// Where that Chrome's DevTools are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cdp_url: Option<String>,
    /// Whether it shares its Chrome process.
    pub isolation: Isolation,
    /// Open tabs.
    pub tabs: usize,
    /// What it may reach, if that is less than what the server lets pages reach.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security_policy: Option<SecurityPolicy>,
}

impl From<InstanceInfo> for InstanceView {
    fn from(info: InstanceInfo) -> Self {
        let profile = info.spec.profile.as_ref().map(ToString::to_string);
        Self {
            profile_id: profile.unwrap_or_else(|| temporary_id(&info.id)),
            profile_name: temporary_name(&info),
            port: info.spec.port.map(|port| port.to_string()).unwrap_or_default(),
            mode: if info.spec.headed { "headed" } else { "headless" }.to_owned(),
            headless: !info.spec.headed,
            status: info.status,
            start_time: info.started,
            last_used: info.used,
            error: info.error,
            attached: info.spec.attached_to.is_some(),
            attach_type: info.spec.attached_to.as_ref().map(|_| "cdp-bridge"),
            cdp_url: info.spec.attached_to.clone(),
            isolation: info.spec.isolation,
            tabs: info.tabs,
            security_policy: (!info.spec.allowed_hosts.is_empty())
                .then(|| SecurityPolicy { allowed_domains: info.spec.allowed_hosts.clone() }),
            id: info.id,
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

/// The instance that requests without one go to.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DefaultInstance {
    /// Its id.
    pub id: InstanceId,
    /// What it is doing.
    pub status: InstanceStatus,
}

/// How the caller's browsers are.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// `dashboard`, Pinchtab's word for a server of many instances.
    pub mode: String,
    /// Version of the server.
    pub version: String,
    /// Named profiles of the caller's tenant.
    pub profiles: usize,
    /// The instance that requests without one go to, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_instance: Option<DefaultInstance>,
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

/// The directories of the extensions that are meant, of those that the operator lists.
fn listed_extensions(listed: &[PathBuf], wanted: &[String]) -> Result<Vec<PathBuf>, Problem> {
    let find = |wanted: &String| {
        let is_meant = |path: &&PathBuf| {
            path.as_path() == Path::new(wanted)
                || path.file_name().is_some_and(|name| name == wanted.as_str())
        };
        let path = listed.iter().find(is_meant).ok_or_else(|| {
            let wanted = wanted.escape_default();
            let detail = format!("extensionPaths: `{wanted}` is not in `[browser] extensions`");
            Problem::invalid_field("extensionPaths", detail)
        })?;
        // A comma would end the path on Chrome's command line.
        let is_one = path.join("manifest.json").is_file() && !path.to_string_lossy().contains(',');
        let broken = || format!("`{}` is not the directory of an unpacked extension", path.display());
        is_one.then(|| path.clone()).ok_or_else(|| Problem::invalid_field("extensionPaths", broken()))
    };
    wanted.iter().map(find).collect()
}

impl BrowserService {
    /// Starts an instance.
    pub async fn start(&self, caller: &Caller, request: StartRequest) -> Result<InstanceView, Problem> {
        caller.require(WRITE)?;
        request.check()?;
        let profile = match request.profile_id.as_deref().filter(|name| !name.is_empty()) {
            Some(name) => Some(self.fleet.0.registry.profile(caller.tenant(), name).await?),
            None => None,
        };
        let settings = profile.as_ref().map(|profile| profile.settings.clone()).unwrap_or_default();
        let mode = request.mode.as_deref().filter(|mode| !mode.is_empty()).or(settings.mode.as_deref());
        let port = match request.port.as_deref() {
            None => None,
            Some("auto") => Some(self.fleet.0.ports.take(self.fleet.0.options.current().ports, None)?),
            Some(text) => {
                let number =
                    text.parse().map_err(|_| Problem::invalid_field("port", "must be a port's number"))?;
                Some(self.fleet.0.ports.take(self.fleet.0.options.current().ports, Some(number))?)
            }
        };
        let extensions = request.extension_paths.unwrap_or_default();
        let extensions = listed_extensions(&self.options().extensions, &extensions)?;
        let spec = InstanceSpec {
            extensions,
            allowed_hosts: request.security_policy.unwrap_or_default().allowed_domains,
            isolation: request.isolation.or(settings.isolation).unwrap_or_default(),
            headed: request.headless == Some(false) || mode == Some("headed"),
            name: match &profile {
                Some(profile) => profile.name.clone(),
                None => request.name,
            },
            profile: profile.map(|profile| profile.id),
            port: port.as_ref().map(crate::ports::Port::number),
            ..InstanceSpec::new(caller.tenant().clone())
        };
        let instance = self.fleet.create(spec).await?;
        if let Some(port) = port {
            instance.hold_port(port);
        }
        Ok(instance.info().into())
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
    pub async fn health(&self, caller: &Caller) -> Result<Health, Problem> {
        caller.require(READ)?;
        let profiles = self.fleet.0.registry.profiles(caller.tenant()).await?;
        let default = self.first(caller);
        let reason = self.fleet.engine().err().map(|error| error.to_string());
        Ok(Health {
            status: if reason.is_none() { "ok" } else { "error" }.to_owned(),
            instances: self.owned(caller).count(),
            tabs: self.owned(caller).map(|instance| instance.info().tabs).sum(),
            mode: "dashboard".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            profiles: profiles.len(),
            default_instance: default
                .map(|instance| DefaultInstance { id: instance.id().clone(), status: instance.status() }),
            reason,
        })
    }
}
