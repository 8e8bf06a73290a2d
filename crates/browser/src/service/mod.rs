//! What the routes and the tools do, on behalf of a caller: each sees the instances and tabs of its tenant alone.
//!
//! One file per family of routes holds their requests, their answers and the functions behind them.

mod actions;
mod activity;
mod aggregate;
mod batch;
mod capture;
mod console;
mod cookies;
mod coordination;
mod dialog;
mod emulation;
mod events;
mod files;
mod find;
mod frames;
mod history;
mod inspect;
mod instances;
mod lifecycle;
mod macros;
mod metrics;
mod navigate;
mod network;
mod observe;
mod page;
mod passthrough;
mod profiles;
mod record;
mod screencast;
mod storage;
mod system;
mod tabs;
mod target;
mod text;
mod wait;

use std::{
    hash::{DefaultHasher, Hash, Hasher},
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
use tokio::sync::{Mutex, Semaphore};

pub use self::{
    actions::{ActionDone, ActionRequest, ActionResult, ActionsDone, ActionsRequest, Direction},
    activity::{AgentDetail, EventList, Reported},
    aggregate::FreshQuery,
    batch::{Batch, BatchItem, BatchNavigation, BatchOutcome, BatchRequest, BatchResult},
    capture::CaptureQuery,
    console::{ConsoleQuery, ConsoleView, ErrorsView, LogCleared},
    cookies::{Cleared, CookieList, CookieQuery, CookieView, CookiesSet, NewCookie, SetCookiesRequest},
    coordination::{
        HandoffRequest, HandoffView, LockRequest, Locked, ResumeRequest, Resumed, UnlockRequest, Unlocked,
    },
    dialog::{DialogAnswered, DialogRequest, DialogVerdict},
    emulation::{
        CredentialsApplied, CredentialsRequest, GeolocationApplied, GeolocationRequest, HeadersApplied,
        HeadersRequest, MediaApplied, MediaRequest, OfflineApplied, OfflineRequest, ViewportApplied,
        ViewportRequest,
    },
    events::EventsQuery,
    files::{
        BrowserState, CleanStatesRequest, Download, DownloadQuery, DownloadedFile, LoadStateRequest,
        SaveStateRequest, SavedDownload, SiteStorage, StateDeleted, StateList, StateLoaded, StateQuery,
        StateSaved, StatesCleaned, UploadRequest, Uploaded,
    },
    find::{FindRequest, Found},
    frames::{FrameRequest, FrameView},
    history::{HistoryQuery, Turned},
    inspect::{Counted, InspectQuery, PageFacts},
    instances::{
        DefaultInstance, Health, InstanceList, InstanceRequest, InstanceView, StartRequest, Stopped,
    },
    macros::{MacroDone, MacroRequest},
    metrics::InstanceMetrics,
    navigate::{NavigateRequest, Navigated, WaitFor},
    network::{
        BodyQuery, BrokenAsset, BrokenAssets, ExportQuery, Exported, ExportedFile, NetworkCleared,
        NetworkDetail, NetworkList, NetworkQuery, RouteList, RouteQuery, RoutesChanged,
    },
    observe::{
        AnnotateQuery, EvaluateRequest, Evaluated, Picture, ScreenshotQuery, SnapshotQuery, SnapshotView,
        Written,
    },
    page::{
        CacheStatus, ClipboardText, ClipboardView, ClipboardWritten, MetricsView, Pdf, PdfDocument, PdfQuery,
        SavedFile, TimingView,
    },
    passthrough::{BrowserVersion, DebugTarget},
    profiles::{ChangeProfile, CreateProfile, ProfileDone, ProfileMeta, ProfileQuery, ProfileView},
    record::{RecordRequest, RecordStarted, RecordStop, RecordStopped, RecordView},
    screencast::{ScreencastQuery, WatchableTab},
    storage::{ClearStorageRequest, SetStorageRequest, StorageCleared, StorageQuery},
    system::{ConfigView, Figures, FleetStatus, TenantMetrics},
    tabs::{CloseRequest, Closed, OpenRequest, TabAction, TabActionDone, TabActionRequest, TabList, TabView},
    target::Target,
    text::{PageText, TextQuery},
    wait::{WaitRequest, Waited},
};
pub(crate) use self::{capture::Captured, inspect::Fact, observe::picture, system::left_out};
pub use crate::activity::{AgentEvent, AgentView, Event};
use aggregate::Lists;

use crate::{
    activity::Activity,
    config::BrowserOptions,
    coordination::{CurrentTabs, Holds, Identity, IdleTabs, NO_CURRENT_TAB},
    error::BrowserError,
    fleet::Fleet,
    ids::{InstanceId, TabId},
    instance::{InUse, Instance, InstanceSpec, InstanceStatus, TabEntry},
    passthrough::ClientLimits,
    record::Recordings,
    sessions::Sessions,
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
    sessions: Option<Sessions>,
    shared: Arc<Shared>,
    /// Clients of the DevTools passthrough.
    cdp_clients: ClientLimits,
    /// Lists that are remembered.
    lists: Lists,
    /// One permit per viewer of a tab.
    screencasts: Arc<Semaphore>,
    recordings: Recordings,
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
        let options = fleet.0.options.current();
        let service = Self {
            fleet,
            starting: Arc::default(),
            sessions: None,
            shared: Arc::default(),
            cdp_clients: ClientLimits::default(),
            lists: Lists::new(),
            screencasts: Arc::new(Semaphore::new(options.screencasts_max.min(Semaphore::MAX_PERMITS))),
            recordings: Recordings::default(),
        };
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
        let found = self.find_tab(target, scope)?;
        if scope == WRITE {
            self.shared.holds.check(&found.1, target.claimed_owner(), Timestamp::now())?;
        }
        self.enter(target, found).await
    }

    /// As [`BrowserService::tab`], whoever holds the tab: for what locks, hands over, and for the person who works in it.
    pub(crate) async fn held_tab(&self, target: &Target, scope: Scope) -> Result<TabInUse, Problem> {
        let found = self.find_tab(target, scope)?;
        self.enter(target, found).await
    }

    fn find_tab(&self, target: &Target, scope: Scope) -> Result<(Instance, TabId), Problem> {
        target.caller.require(scope)?;
        if let Some(id) = &target.tab {
            return Ok((self.owner_of(&target.caller, id)?, id.clone()));
        }
        if let Some(found) = self.current_tab(target) {
            return Ok(found);
        }
        let identity = target.identity();
        Err(match identity {
            Identity::Anonymous => Problem::not_found("tab", "current"),
            _ => Problem::new(NO_CURRENT_TAB, format!("{identity} has no current tab")),
        }
        .with("hint", "navigate somewhere first, or name a tab"))
    }

    /// The tab that is meant when none is named, with or without a page.
    fn current_tab(&self, target: &Target) -> Option<(Instance, TabId)> {
        let identity = target.identity();
        if identity == Identity::Anonymous {
            let entries = self.owned(&target.caller).flat_map(|instance| {
                let of_instance = instance.clone();
                let entries = instance.tab_entries().into_iter();
                entries.map(move |entry| (entry.used, entry.id, of_instance.clone()))
            });
            return entries.max_by_key(|(used, ..)| *used).map(|(_, id, instance)| (instance, id));
        }
        let id = self.shared.current.get(target.caller.tenant(), &identity)?;
        self.owner_of(&target.caller, &id).ok().map(|instance| (instance, id))
    }

    async fn enter(&self, target: &Target, (instance, id): (Instance, TabId)) -> Result<TabInUse, Problem> {
        let (instance, tab) = instance.enter_tab(&id).await?;
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
            (Some(id), None) => self.new_tab(&self.owner_of(&target.caller, id)?).await?,
            (None, None) => self.tab_anywhere(&target.caller).await?,
        };
        Ok(self.begin(target, tab))
    }

    /// Closes a tab, also one that sleeps, and forgets what was remembered of it.
    async fn close_tab(&self, instance: &Instance, id: &TabId) {
        match instance.tab(id) {
            Some(tab) => tab.close().await,
            None => drop(instance.forget_asleep(id)),
        }
        self.shared.current.forget(instance.tenant(), id);
        self.shared.holds.forget(id);
    }

    /// Closes tabs that were not used for `[browser] tab_idle_after`, until the server stops.
    async fn close_idle_tabs(self) {
        let stopping = self.fleet.0.tasks.stop_token();
        while let Some(due) = stopping.run_until_cancelled(self.shared.idle.due()).await {
            for id in &due {
                let Some(instance) = self.fleet.instance_of(id) else { continue };
                tracing::debug!(browser.tab = %id, "closing a tab that nobody uses");
                self.close_tab(&instance, id).await;
            }
        }
    }

    /// A new tab in the caller's first instance, which is started if there is none. At the bound, the tab that was not
    /// used for longest makes room: a client that only navigates never closes one.
    async fn tab_anywhere(&self, caller: &Caller) -> Result<TabInUse, Problem> {
        let instance = self.any_instance(caller).await?;
        match self.new_tab(&instance).await {
            Err(BrowserError::TabsExhausted { .. }) => {
                let now = Timestamp::now();
                let is_free = |entry: &TabEntry| self.shared.holds.of(&entry.id, now) == (None, None);
                let oldest =
                    instance.tab_entries().into_iter().filter(is_free).min_by_key(|entry| entry.used);
                if let Some(oldest) = oldest {
                    self.close_tab(&instance, &oldest.id).await;
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
        let _starting = self.starting_lock(caller.tenant()).lock().await;
        match self.first(caller) {
            Some(instance) => Ok(instance),
            None => Ok(self.fleet.create(InstanceSpec::new(caller.tenant().clone())).await?),
        }
    }

    /// What keeps a tenant's callers from starting several instances where one will do.
    fn starting_lock(&self, tenant: &Tenant) -> &Mutex<()> {
        let mut hasher = DefaultHasher::new();
        tenant.hash(&mut hasher);
        let place = usize::try_from(hasher.finish() % STARTING_LOCKS as u64).unwrap_or(0);
        &self.starting[place]
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
        Ok(TabInUse::new(self, instance.open(TabSpec::default()).await?, in_use))
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
