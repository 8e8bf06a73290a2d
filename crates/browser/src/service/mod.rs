//! What the routes and the tools do, on behalf of a caller: each sees the instances and tabs of its tenant alone.
//!
//! One file per family of routes holds their requests, their answers and the functions behind them.

mod instances;
mod lifecycle;
mod navigate;
mod observe;
mod profiles;
mod tabs;
mod target;

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use paddock_platform::{
    identity::{Caller, Scope},
    problem::Problem,
};
use tokio::sync::Mutex;

pub use self::{
    instances::{
        DefaultInstance, Health, InstanceList, InstanceRequest, InstanceView, StartRequest, Stopped,
    },
    lifecycle::InstanceMetrics,
    navigate::{NavigateRequest, Navigated, WaitFor},
    observe::{EvaluateRequest, Evaluated, Picture, ScreenshotQuery, SnapshotQuery, SnapshotView},
    profiles::{ChangeProfile, CreateProfile, ProfileDone, ProfileMeta, ProfileQuery, ProfileView},
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

/// Locks that tenants share.
const STARTING_LOCKS: usize = 16;

/// The fleet as callers use it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct BrowserService {
    fleet: Fleet,
    /// One caller of a tenant at a time starts the instance for navigations that name none. Tenants share locks, so
    /// that there are not more of them than this.
    starting: Arc<[Mutex<()>; STARTING_LOCKS]>,
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
        let (instance, id) = match &target.tab {
            Some(id) => (self.owner_of(&target.caller, id)?, id.clone()),
            None => self
                .owned(&target.caller)
                .flat_map(|instance| {
                    instance
                        .tab_entries()
                        .into_iter()
                        .map(move |entry| (entry.used, entry.id, instance.clone()))
                })
                .max_by_key(|(used, ..)| *used)
                .map(|(_, id, instance)| (instance, id))
                .ok_or_else(|| {
                    Problem::not_found("tab", "current").with("hint", "navigate somewhere first")
                })?,
        };
        let (instance, tab) = instance.enter_tab(&id).await?;
        Ok(TabInUse { tab, _instance: instance })
    }

    /// A new tab in the caller's first instance, which is started if there is none. At the bound, the tab that was not
    /// used for longest makes room: a client that only navigates never closes one.
    async fn tab_anywhere(&self, caller: &Caller) -> Result<TabInUse, Problem> {
        let instance = self.any_instance(caller).await?;
        match self.new_tab(&instance).await {
            Err(BrowserError::TabsExhausted { .. }) => {
                if let Some(oldest) = instance.tab_entries().into_iter().min_by_key(|entry| entry.used) {
                    match oldest.tab {
                        Some(tab) => tab.close().await,
                        None => drop(instance.forget_asleep(&oldest.id)),
                    }
                }
                Ok(self.new_tab(&instance).await?)
            }
            result => Ok(result?),
        }
    }

    /// The caller's first instance that can be used, awake or not; a new one if there is none.
    pub(crate) async fn any_instance(&self, caller: &Caller) -> Result<Instance, Problem> {
        if let Some(instance) = self.first(caller) {
            return Ok(instance);
        }
        let mut hasher = DefaultHasher::new();
        caller.tenant().hash(&mut hasher);
        let place = usize::try_from(hasher.finish() % STARTING_LOCKS as u64).unwrap_or(0);
        let _starting = self.starting[place].lock().await;
        match self.first(caller) {
            Some(instance) => Ok(instance),
            None => Ok(self.fleet.create(InstanceSpec::new(caller.tenant().clone())).await?),
        }
    }

    /// The caller's first instance: one that is awake if there is one.
    pub(crate) fn first(&self, caller: &Caller) -> Option<Instance> {
        let rank = |instance: &Instance| match instance.status() {
            InstanceStatus::Running => Some(0),
            InstanceStatus::Starting => Some(1),
            InstanceStatus::Hibernated => Some(2),
            InstanceStatus::Error => Some(3),
            InstanceStatus::Stopping | InstanceStatus::Stopped => None,
        };
        let ranked = self.owned(caller).filter_map(|instance| Some((rank(&instance)?, instance)));
        ranked.min_by_key(|(rank, _)| *rank).map(|(_, instance)| instance)
    }

    async fn new_tab(&self, instance: &Instance) -> Result<TabInUse, BrowserError> {
        let in_use = instance.enter().await?;
        Ok(TabInUse { tab: instance.open(TabSpec::default()).await?, _instance: in_use })
    }

    pub(crate) fn owned(&self, caller: &Caller) -> impl Iterator<Item = Instance> {
        let tenant = caller.tenant().clone();
        let handles = self.fleet.handles().into_iter();
        handles.filter(move |instance| instance.is_kept() && *instance.tenant() == tenant)
    }

    /// Another tenant's instance is as unknown as none.
    pub(crate) fn own(&self, caller: &Caller, id: &InstanceId) -> Result<Instance, Problem> {
        let own = |instance: &Instance| instance.is_kept() && instance.tenant() == caller.tenant();
        let instance = self.fleet.instance(id).filter(own);
        instance.ok_or_else(|| BrowserError::InstanceNotFound(id.clone()).into())
    }

    /// The caller's instance that a tab belongs to, whether the tab has a page now or not.
    pub(crate) fn owner_of(&self, caller: &Caller, id: &TabId) -> Result<Instance, Problem> {
        let own = |instance: &Instance| instance.is_kept() && instance.tenant() == caller.tenant();
        let instance = self.fleet.instance_of(id).filter(own);
        instance.ok_or_else(|| BrowserError::TabNotFound(id.clone()).into())
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
