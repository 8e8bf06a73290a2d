//! What the routes and the tools do, on behalf of a caller: each sees the instances and tabs of its tenant alone.
//!
//! One file per family of routes holds their requests, their answers and the functions behind them.

mod actions;
mod activity;
mod aggregate;
mod attach;
mod audit;
mod batch;
mod browser_choice;
mod capture;
mod console;
mod cookies;
mod coordination;
mod dialog;
mod downloads;
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
mod network_detail;
mod network_export;
mod network_routes;
mod observe;
mod page;
mod page_guard;
mod page_state;
mod passthrough;
mod profile_activity;
mod profiles;
mod reading;
mod record;
mod scheduler;
mod scrape;
mod screencast;
mod site_files;
mod states;
mod storage;
mod system;
mod tab_in_use;
mod tabs;
mod target;
mod task_runs;
mod text;
mod wait;

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use paddock_platform::{
    identity::{Caller, Scope, Tenant},
    problem::Problem,
};
use tokio::sync::{Mutex, Semaphore};

pub use self::{
    actions::{ActionDone, ActionRequest, ActionResult, ActionsDone, ActionsRequest, Direction},
    activity::{AgentDetail, EventList, Reported},
    aggregate::FreshQuery,
    attach::AttachRequest,
    audit::{AuditCollect, AuditPageRequest, AuditRequest, TabA11y},
    batch::{Batch, BatchItem, BatchNavigation, BatchOutcome, BatchRequest, BatchResult},
    capture::CaptureQuery,
    console::{ConsoleQuery, ConsoleView, ErrorsView, LogCleared},
    cookies::{Cleared, CookieList, CookieQuery, CookieView, CookiesSet, NewCookie, SetCookiesRequest},
    coordination::{
        HandoffRequest, HandoffView, LockRequest, Locked, ResumeRequest, Resumed, UnlockRequest, Unlocked,
    },
    dialog::{DialogAnswered, DialogRequest, DialogVerdict},
    downloads::{DownloadForgotten, PageDownloads},
    emulation::{
        CredentialsApplied, CredentialsRequest, GeolocationApplied, GeolocationRequest, HeadersApplied,
        HeadersRequest, MediaApplied, MediaRequest, OfflineApplied, OfflineRequest, ViewportApplied,
        ViewportRequest,
    },
    events::EventsQuery,
    files::{Download, DownloadQuery, DownloadedFile, SavedDownload, UploadRequest, Uploaded},
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
    network::{BrokenAsset, BrokenAssets, NetworkCleared, NetworkList, NetworkQuery},
    network_detail::{BodyQuery, NetworkDetail},
    network_export::{ExportQuery, Exported, ExportedFile},
    network_routes::{RouteList, RouteQuery, RoutesChanged},
    observe::{
        AnnotateQuery, EvaluateRequest, Evaluated, Picture, ScreenshotQuery, SnapshotQuery, SnapshotView,
        Written,
    },
    page::{
        CacheStatus, ClipboardText, ClipboardView, ClipboardWritten, MetricsView, Pdf, PdfDocument, PdfQuery,
        SavedFile, TimingView,
    },
    page_state::{PageLoad, PageState},
    passthrough::{BrowserVersion, DebugTarget},
    profile_activity::{ProfileAction, ProfileLogQuery},
    profiles::{ChangeProfile, CreateProfile, ProfileDone, ProfileMeta, ProfileQuery, ProfileView},
    record::{RecordRequest, RecordStarted, RecordStop, RecordStopped, RecordView},
    scheduler::{
        BATCH_TOO_LARGE, QUEUE_FULL, SchedulerConfig, SchedulerView, TaskBatch, TaskBatchItem,
        TaskBatchRequest, TaskCancelled, TaskList, TaskQuery, TaskRequest, TaskSubmitted,
    },
    scrape::ScrapeRequest,
    screencast::{ScreencastQuery, WatchableTab},
    states::{
        BrowserState, CleanStatesRequest, LoadStateRequest, SaveStateRequest, SiteStorage, StateDeleted,
        StateList, StateLoaded, StateQuery, StateSaved, StatesCleaned,
    },
    storage::{ClearStorageRequest, SetStorageRequest, StorageCleared, StorageQuery},
    system::{ConfigView, Figures, FleetStatus, TenantMetrics},
    tabs::{CloseRequest, Closed, OpenRequest, TabAction, TabActionDone, TabActionRequest, TabList, TabView},
    target::Target,
    text::{PageText, TextQuery},
    wait::{WaitRequest, Waited},
};
pub(crate) use self::{
    capture::Captured, inspect::Fact, observe::picture, system::left_out, tab_in_use::TabInUse,
};
pub use crate::activity::{AgentEvent, AgentView, Event};
use aggregate::Lists;

use crate::{
    activity::Activity,
    config::BrowserOptions,
    coordination::{CurrentTabs, Holds, IdleTabs},
    error::BrowserError,
    fleet::Fleet,
    ids::{InstanceId, TabId},
    instance::{Instance, InstanceSpec, InstanceStatus},
    passthrough::ClientLimits,
    record::Recordings,
    scheduler::Scheduler,
    sessions::Sessions,
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
    /// Tabs of the server's own work: nobody means them who names no tab.
    pub(crate) apart: std::sync::Mutex<HashSet<TabId>>,
    pub(crate) activity: Activity,
    pub(crate) scheduler: Scheduler,
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
        let expiring = service.clone();
        service.fleet.0.tasks.spawn("browser_task_deadlines", async move { expiring.expire_tasks().await });
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

    /// The instance that is named, or that of the caller's current tab, or any: to work in with tabs of the server's own.
    pub(crate) async fn instance_to_work_in(
        &self,
        target: &Target,
        named: Option<&InstanceId>,
    ) -> Result<Instance, Problem> {
        target.caller.require(WRITE)?;
        if let Some(id) = named {
            return self.own(&target.caller, id);
        }
        if let Some(tab) = &target.tab {
            return self.owner_of(&target.caller, tab);
        }
        match self.current_tab(target) {
            Some((instance, _)) => Ok(instance),
            None => self.any_instance(&target.caller).await,
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
