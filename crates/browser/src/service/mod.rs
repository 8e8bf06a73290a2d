//! What the routes and the tools do, on behalf of a caller: each sees the instances and tabs of its tenant alone.
//!
//! One file per family of routes holds their requests, their answers and the functions behind them.

mod activity;
mod coordination;
mod instances;
mod metrics;
mod navigate;
mod observe;
mod system;
mod tabs;
mod target;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use paddock_platform::{
    identity::{Caller, Scope, Tenant},
    problem::Problem,
    units::HumanDuration,
};
use tokio::sync::Mutex;

pub use self::{
    activity::{AgentDetail, EventList, Reported},
    coordination::{
        HandoffRequest, HandoffView, LockRequest, Locked, ResumeRequest, Resumed, UnlockRequest, Unlocked,
    },
    instances::{Health, InstanceList, InstanceRequest, InstanceView, StartRequest, Stopped},
    metrics::InstanceMetrics,
    navigate::{NavigateRequest, Navigated, WaitFor},
    observe::{EvaluateRequest, Evaluated, Picture, ScreenshotQuery, SnapshotQuery, SnapshotView},
    system::{ConfigView, Figures, FleetStatus, TabMetrics, TenantMetrics},
    tabs::{CloseRequest, Closed, OpenRequest, TabAction, TabActionDone, TabActionRequest, TabList, TabView},
    target::Target,
};
pub(crate) use self::{observe::picture, system::left_out};
pub use crate::activity::{AgentEvent, AgentView, Event};

use crate::{
    activity::Activity,
    config::BrowserOptions,
    coordination::{CurrentTabs, Holds, Identity, IdleTabs, NO_CURRENT_TAB},
    error::BrowserError,
    fleet::Fleet,
    ids::{InstanceId, TabId},
    instance::{InUse, Instance, InstanceSpec, InstanceStatus},
    sessions::Sessions,
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
    sessions: Option<Sessions>,
    shared: Arc<Shared>,
}

/// What agents that share browsers share beside them.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) current: CurrentTabs,
    pub(crate) holds: Holds,
    pub(crate) idle: IdleTabs,
    pub(crate) activity: Activity,
}

/// A tab while a request works with it: its instance stays awake, and it is not closed for being idle.
#[derive(Debug)]
pub(crate) struct TabInUse {
    tab: Tab,
    idle: InUseUntilDropped,
    _instance: InUse,
}

#[derive(Debug)]
struct InUseUntilDropped {
    service: BrowserService,
    tab: TabId,
    /// It was sent somewhere: what it shows was not read yet.
    unread: AtomicBool,
}

impl Drop for InUseUntilDropped {
    fn drop(&mut self) {
        let after = self.service.options().tab_idle_after.map(HumanDuration::get);
        let after = after.filter(|_| !self.unread.load(Ordering::Relaxed));
        self.service.shared.idle.leave(&self.tab, after);
    }
}

impl TabInUse {
    fn new(service: &BrowserService, tab: Tab, instance: InUse) -> Self {
        tab.touch();
        service.shared.idle.enter(tab.id());
        let idle = InUseUntilDropped {
            service: service.clone(),
            tab: tab.id().clone(),
            unread: AtomicBool::new(false),
        };
        Self { tab, idle, _instance: instance }
    }

    /// It was sent somewhere and is not idle before somebody has looked.
    pub(crate) fn is_unread(&self) {
        self.idle.unread.store(true, Ordering::Relaxed);
    }
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
        let service = Self { fleet, starting: Arc::default(), sessions: None, shared: Arc::default() };
        let closing = service.clone();
        service.fleet.0.tasks.spawn("browser_idle_tabs", async move { closing.close_idle_tabs().await });
        service
    }

    /// Has sessions of agents as well.
    #[must_use]
    pub fn with_sessions(self, sessions: Sessions) -> Self {
        Self { sessions: Some(sessions), ..self }
    }

    /// The sessions of agents, on a server that has them.
    pub fn sessions(&self) -> Option<&Sessions> {
        self.sessions.as_ref()
    }

    /// The fleet.
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(crate) fn options(&self) -> BrowserOptions {
        self.fleet.0.options.current()
    }

    /// The tab that a request is about, for as long as the request works with it: the one that it names, or the
    /// caller's current one. One that is locked by another owner or paused for a person is not given to those who
    /// would change it.
    pub(crate) async fn tab(&self, target: &Target, scope: Scope) -> Result<TabInUse, Problem> {
        let tab = self.find_tab(target, scope)?;
        if scope == WRITE {
            self.shared.holds.check(tab.id(), target.claimed_owner(), Timestamp::now())?;
        }
        self.enter(target, tab).await
    }

    /// As [`BrowserService::tab`], whoever holds the tab: for what locks, hands over, and for the person who works in it.
    pub(crate) async fn held_tab(&self, target: &Target, scope: Scope) -> Result<TabInUse, Problem> {
        let tab = self.find_tab(target, scope)?;
        self.enter(target, tab).await
    }

    fn find_tab(&self, target: &Target, scope: Scope) -> Result<Tab, Problem> {
        target.caller.require(scope)?;
        if let Some(id) = &target.tab {
            return self.own_tab(&target.caller, id);
        }
        if let Some(tab) = self.current_tab(target) {
            return Ok(tab);
        }
        let identity = target.identity();
        Err(match identity {
            Identity::Anonymous => Problem::not_found("tab", "current"),
            _ => Problem::new(NO_CURRENT_TAB, format!("{identity} has no current tab")),
        }
        .with("hint", "navigate somewhere first, or name a tab"))
    }

    /// The tab that is meant when none is named.
    fn current_tab(&self, target: &Target) -> Option<Tab> {
        let identity = target.identity();
        if identity == Identity::Anonymous {
            return self.owned(&target.caller).flat_map(|instance| instance.tabs()).max_by_key(Tab::used);
        }
        let id = self.shared.current.get(target.caller.tenant(), &identity)?;
        self.own_tab(&target.caller, &id).ok()
    }

    async fn enter(&self, target: &Target, tab: Tab) -> Result<TabInUse, Problem> {
        let instance = self.own(&target.caller, tab.instance_id())?.enter().await?;
        Ok(self.begin(target, TabInUse::new(self, tab, instance)))
    }

    /// What every request does with its tab.
    fn begin(&self, target: &Target, tab: TabInUse) -> TabInUse {
        let identities_max = self.options().agents_per_tenant_max;
        self.shared.current.set(target.caller.tenant(), &target.identity(), tab.id(), identities_max);
        target.note.tab(tab.id(), tab.instance_id());
        tab
    }

    /// The tab to go somewhere with. A session or an agent stays in its current tab; whoever is nobody in particular,
    /// asks for a new tab or names an instance gets a new one.
    pub(crate) async fn tab_to_navigate(
        &self,
        target: &Target,
        instance: Option<&InstanceId>,
        new_tab: bool,
    ) -> Result<TabInUse, Problem> {
        target.caller.require(WRITE)?;
        let stays = !new_tab && (target.tab.is_some() || instance.is_none());
        let identified = target.identity() != Identity::Anonymous;
        if stays && (target.tab.is_some() || identified && self.current_tab(target).is_some()) {
            return self.tab(target, WRITE).await;
        }
        let tab = match (&target.tab, instance) {
            (_, Some(id)) => self.new_tab(&self.own(&target.caller, id)?).await?,
            (Some(id), None) => {
                let instance = self.own_tab(&target.caller, id)?.instance_id().clone();
                self.new_tab(&self.own(&target.caller, &instance)?).await?
            }
            (None, None) => self.tab_anywhere(&target.caller).await?,
        };
        Ok(self.begin(target, tab))
    }

    /// Closes a tab and forgets what was remembered of it.
    async fn close_tab(&self, tenant: &Tenant, tab: &Tab) {
        tab.close().await;
        self.shared.current.forget(tenant, tab.id());
        self.shared.holds.forget(tab.id());
    }

    /// Closes tabs that were not used for `[browser] tab_idle_after`, until the server stops.
    async fn close_idle_tabs(self) {
        let stopping = self.fleet.0.tasks.stop_token();
        while let Some(due) = stopping.run_until_cancelled(self.shared.idle.due()).await {
            for tab in due.iter().filter_map(|id| self.fleet.tab(id)) {
                let Some(instance) = self.fleet.instance(tab.instance_id()) else { continue };
                tracing::debug!(browser.tab = %tab.id(), "closing a tab that nobody uses");
                self.close_tab(instance.tenant(), &tab).await;
            }
        }
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
                let now = Timestamp::now();
                let is_free = |tab: &Tab| self.shared.holds.of(tab.id(), now) == (None, None);
                if let Some(tab) = instance.tabs().into_iter().filter(is_free).min_by_key(Tab::used) {
                    self.close_tab(caller.tenant(), &tab).await;
                }
                Ok(self.new_tab(&instance).await?)
            }
            result => Ok(result?),
        }
    }

    async fn new_tab(&self, instance: &Instance) -> Result<TabInUse, BrowserError> {
        let in_use = instance.enter().await?;
        Ok(TabInUse::new(self, instance.open(TabSpec::default()).await?, in_use))
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
