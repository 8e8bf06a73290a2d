//! What the routes and the tools do, on behalf of a caller: each sees the instances and tabs of its tenant alone.
//!
//! One file per family of routes holds their requests, their answers and the functions behind them.

mod instances;
mod metrics;
mod navigate;
mod observe;
mod tabs;
mod target;

use std::{sync::Arc, time::Duration};

use paddock_platform::{
    identity::{Caller, Scope},
    problem::Problem,
};
use tokio::sync::Mutex;

pub use self::{
    instances::{Health, InstanceList, InstanceRequest, InstanceView, StartRequest, Stopped},
    metrics::InstanceMetrics,
    navigate::{NavigateRequest, Navigated, WaitFor},
    observe::{EvaluateRequest, Evaluated, Picture, ScreenshotQuery, SnapshotQuery, SnapshotView},
    tabs::{CloseRequest, Closed, OpenRequest, TabList, TabView},
    target::Target,
};
pub(crate) use observe::picture;

use crate::{
    error::BrowserError,
    fleet::Fleet,
    ids::{InstanceId, TabId},
    instance::{InUse, Instance, InstanceSpec, InstanceStatus},
    tab::{Tab, TabSpec},
};

/// Scope for looking.
pub(crate) const READ: Scope = Scope::read("browser");
/// Scope for starting, navigating, acting, evaluating and stopping.
pub(crate) const WRITE: Scope = Scope::write("browser");
/// Longest time that a request can ask for.
const TIMEOUT_MAX: Duration = Duration::from_mins(2);

/// The fleet as callers use it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct BrowserService {
    fleet: Fleet,
    /// One caller at a time starts the instance for navigations that name none.
    starting: Arc<Mutex<()>>,
}

/// A tab while a request works with it: its instance stays awake.
#[derive(Debug)]
pub(crate) struct TabInUse {
    tab: Tab,
    _instance: InUse,
}

impl std::ops::Deref for TabInUse {
    type Target = Tab;

    fn deref(&self) -> &Tab {
        &self.tab
    }
}

impl BrowserService {
    /// The service of a fleet.
    pub fn new(fleet: Fleet) -> Self {
        Self { fleet, starting: Arc::default() }
    }

    /// The fleet.
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// The tab that a request is about, for as long as the request works with it: the one that it names, or the
    /// caller's that was used last.
    pub(crate) async fn tab(&self, target: &Target, scope: Scope) -> Result<TabInUse, Problem> {
        target.caller.require(scope)?;
        let tab = match &target.tab {
            Some(id) => self.own_tab(&target.caller, id)?,
            None => self
                .owned(&target.caller)
                .flat_map(|instance| instance.tabs())
                .max_by_key(Tab::used)
                .ok_or_else(|| {
                    Problem::not_found("tab", "current").with("hint", "navigate somewhere first")
                })?,
        };
        let instance = self.own(&target.caller, tab.instance_id())?.enter().await?;
        Ok(TabInUse { tab, _instance: instance })
    }

    /// A new tab in the caller's first instance, which is started if there is none. At the bound, the tab that was not
    /// used for longest makes room: a client that only navigates never closes one.
    async fn tab_anywhere(&self, caller: &Caller) -> Result<TabInUse, Problem> {
        let instance = {
            let _starting = self.starting.lock().await;
            let running =
                self.owned(caller).find(|instance| instance.info().status == InstanceStatus::Running);
            match running {
                Some(instance) => instance,
                None => self.fleet.create(InstanceSpec::new(caller.tenant().clone())).await?,
            }
        };
        match self.new_tab(&instance).await {
            Err(BrowserError::TabsExhausted { .. }) => {
                if let Some(tab) = instance.tabs().into_iter().min_by_key(Tab::used) {
                    tab.close().await;
                }
                Ok(self.new_tab(&instance).await?)
            }
            result => Ok(result?),
        }
    }

    async fn new_tab(&self, instance: &Instance) -> Result<TabInUse, BrowserError> {
        let in_use = instance.enter().await?;
        Ok(TabInUse { tab: instance.open(TabSpec::default()).await?, _instance: in_use })
    }

    pub(crate) fn owned(&self, caller: &Caller) -> impl Iterator<Item = Instance> {
        let tenant = caller.tenant().clone();
        self.fleet.handles().into_iter().filter(move |instance| *instance.tenant() == tenant)
    }

    /// Another tenant's instance is as unknown as none.
    pub(crate) fn own(&self, caller: &Caller, id: &InstanceId) -> Result<Instance, Problem> {
        let instance = self.fleet.instance(id).filter(|instance| instance.tenant() == caller.tenant());
        instance.ok_or_else(|| BrowserError::InstanceNotFound(id.clone()).into())
    }

    fn own_tab(&self, caller: &Caller, id: &TabId) -> Result<Tab, Problem> {
        let tab = self.fleet.tab(id).filter(|tab| self.own(caller, tab.instance_id()).is_ok());
        tab.ok_or_else(|| BrowserError::TabNotFound(id.clone()).into())
    }
}

/// A time that a request names, in seconds. More than the longest is the longest, as Pinchtab has it.
pub(crate) fn timeout_of(secs: Option<f64>, default: Duration) -> Result<Duration, Problem> {
    match secs {
        None => Ok(default),
        Some(secs) if secs > 0.0 => Ok(Duration::from_secs_f64(secs.min(TIMEOUT_MAX.as_secs_f64()))),
        Some(_) => Err(Problem::invalid_field("timeout", "must be a number of seconds over 0")),
    }
}
