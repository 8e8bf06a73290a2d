//! Requests and answers of the routes and tools, in Pinchtab's shapes.

use std::time::Duration;

use paddock_platform::problem::{NOT_IMPLEMENTED, Problem};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;
use utoipa::{IntoParams, ToSchema};

use crate::{
    ids::{InstanceId, TabId},
    instance::{InstanceInfo, InstanceStatus},
    navigate::{Navigation, Wait},
    page::Stage,
    pool::Isolation,
    snapshot,
};

/// Longest time that a request may ask for, in seconds.
const TIMEOUT_SECS_MAX: f64 = 600.0;

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

/// A tab in a list.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TabView {
    /// Its id.
    pub id: TabId,
    /// The instance that it belongs to.
    pub instance_id: InstanceId,
    /// Where it is.
    pub url: String,
    /// Title of its page.
    pub title: String,
    /// `page`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `active`, or `crashed`: the next navigation revives it.
    pub status: String,
}

/// All tabs.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct TabList {
    /// The tabs, the last used first.
    pub tabs: Vec<TabView>,
}

/// Opens a tab.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct OpenRequest {
    /// Where it goes at once; stays empty if absent.
    #[schema(value_type = Option<String>)]
    pub url: Option<Url>,
}

/// Goes to an address.
#[derive(Clone, Debug, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NavigateRequest {
    /// Where to go: http or https.
    #[schema(value_type = String)]
    pub url: Url,
    /// The tab to use; without one, a new tab.
    #[serde(default)]
    pub tab_id: Option<TabId>,
    /// The instance for a new tab; without one, the first that runs, or a new one.
    #[serde(default)]
    pub instance_id: Option<InstanceId>,
    /// Opens a new tab even if `tabId` is given.
    #[serde(default)]
    pub new_tab: bool,
    /// Seconds that it may take; `[browser] navigation_timeout` if absent.
    #[serde(default)]
    #[schemars(range(min = 0.001, max = 600))]
    pub timeout: Option<f64>,
    /// When the page counts as being there: `none` (its first bytes), `dom` (parsed), `load`, or `networkidle` (loaded,
    /// then network and DOM quiet).
    #[serde(default)]
    pub wait_for: Option<WaitFor>,
}

/// When a page counts as being there.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum WaitFor {
    /// Its first bytes.
    None,
    /// Parsed.
    Dom,
    /// Loaded.
    Load,
    /// Loaded, then network and DOM quiet.
    NetworkIdle,
}

impl WaitFor {
    pub(crate) fn wait(self) -> Wait {
        match self {
            Self::None => Wait { until: Stage::Committed, ..Wait::loaded() },
            Self::Dom => Wait { until: Stage::Parsed, ..Wait::loaded() },
            Self::Load => Wait::loaded(),
            Self::NetworkIdle => Wait::settled(),
        }
    }
}

/// A tab that went somewhere.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Navigated {
    /// The tab.
    pub tab_id: TabId,
    /// Its instance.
    pub instance_id: InstanceId,
    /// Where it is.
    pub url: String,
    /// Title of the page.
    pub title: String,
    /// The navigation in detail; absent when a tab was opened without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub navigation: Option<Navigation>,
}

/// Which snapshot.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, IntoParams)]
#[serde(rename_all = "camelCase", default)]
#[into_params(parameter_in = Query)]
pub struct SnapshotQuery {
    /// The tab; without one, the tab that was used last.
    #[param(value_type = Option<String>)]
    pub tab_id: Option<TabId>,
    /// `all`, or `interactive`: what can be acted on, and headings to find one's way.
    #[param(inline)]
    pub filter: snapshot::Filter,
    /// As `filter=interactive`.
    pub interactive: bool,
    /// Deepest level; -1 or absent for all.
    pub depth: Option<i32>,
    /// Only what is in the first element that this names: a reference (`e5`) or CSS.
    pub selector: Option<String>,
    /// About how many tokens the answer may take.
    pub max_tokens: Option<u32>,
    /// Only what changed since the last snapshot of the tab.
    pub diff: bool,
    /// `json`, `compact`, `text` or `yaml`.
    #[param(inline)]
    pub format: Option<snapshot::Format>,
    /// As `format=compact`.
    pub compact: bool,
    /// Adds where each node is.
    pub boxes: bool,
}

/// A snapshot, for the tool.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SnapshotView {
    /// Where the tab is.
    pub url: String,
    /// Title of the page.
    pub title: String,
    /// The page, in the format that was asked for.
    pub snapshot: String,
    /// Whether nodes were left out.
    pub truncated: bool,
}

/// Which picture.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, IntoParams)]
#[serde(rename_all = "camelCase", default)]
#[into_params(parameter_in = Query)]
pub struct ScreenshotQuery {
    /// The tab; without one, the tab that was used last.
    #[param(value_type = Option<String>)]
    pub tab_id: Option<TabId>,
    /// `jpeg` or `png`.
    pub format: Option<String>,
    /// Quality of a JPEG, 0 to 100; 80 if absent.
    #[schemars(range(max = 100))]
    pub quality: Option<u8>,
    /// One element: a reference (`e5`) or CSS.
    pub selector: Option<String>,
    /// The whole page instead of what is visible.
    pub beyond_viewport: bool,
    /// The image itself instead of JSON.
    pub raw: bool,
}

/// A picture in JSON.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct Picture {
    /// `jpeg` or `png`.
    pub format: String,
    /// The image in base64.
    pub base64: String,
}

/// Evaluates JavaScript.
#[derive(Clone, Debug, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EvaluateRequest {
    /// The expression; a promise is awaited.
    pub expression: String,
    /// The tab; without one, the tab that was used last.
    #[serde(default)]
    pub tab_id: Option<TabId>,
    /// Seconds that it may take; 30 if absent.
    #[serde(default)]
    #[schemars(range(min = 0.001, max = 600))]
    pub timeout: Option<f64>,
}

/// The value of an expression.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct Evaluated {
    /// The value; `undefined` is null.
    pub result: Value,
}

/// Closes a tab.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CloseRequest {
    /// The tab; without one, the tab that was used last.
    pub tab_id: Option<TabId>,
}

/// A tab was closed.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Closed {
    /// True.
    pub closed: bool,
    /// Which.
    pub tab_id: TabId,
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

/// A time that a request names, in seconds.
pub(crate) fn timeout_of(secs: Option<f64>, default: Duration) -> Result<Duration, Problem> {
    match secs {
        None => Ok(default),
        Some(secs) if secs > 0.0 && secs <= TIMEOUT_SECS_MAX => Ok(Duration::from_secs_f64(secs)),
        Some(_) => Err(Problem::invalid_field(
            "timeout",
            format!("must be a number of seconds over 0 and at most {TIMEOUT_SECS_MAX}"),
        )),
    }
}
