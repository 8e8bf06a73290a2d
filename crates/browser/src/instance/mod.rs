//! Instances: isolated browsers with their own cookies, storage and tabs.
//!
//! An instance is what callers hold on to; the context in a Chrome process that it lives in comes and goes. `enter`
//! makes sure that it has one (see `hibernate.rs`).

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use jiff::Timestamp;
use metrics::gauge;
use paddock_cdp::{Session, SessionState};
use paddock_platform::identity::Tenant;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{oneshot, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use crate::{
    areas::Areas,
    clipboard::Clipboard,
    error::BrowserError,
    events::FleetChange,
    fleet::Shared,
    ids::{InstanceId, ProfileId, TabId},
    metrics::BROWSER_INSTANCES,
    pool::{ContextLease, Isolation},
    ports::Port,
    process::Process,
    profile::Profile,
    registry::TabHead,
    saved::SavedTab,
    tab::{Attached, Tab, TabSpec},
};

/// Lines that are kept of what happened to an instance.
const LOG_LINES_MAX: usize = 200;

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
    /// A port that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
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
            port: None,
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
    /// It could not be restored, or was not to be; the next request tries again unless it was ephemeral.
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
    /// Process id of its Chrome while it has one.
    pub pid: Option<i32>,
}

/// An instance that is stopped when this is dropped: for work that may be abandoned at any point.
#[derive(Debug)]
pub struct InstanceGuard(Instance);

impl InstanceGuard {
    /// Ties an instance to the guard.
    pub fn new(instance: Instance) -> Self {
        Self(instance)
    }
}

impl std::ops::Deref for InstanceGuard {
    type Target = Instance;

    fn deref(&self) -> &Instance {
        &self.0
    }
}

impl Drop for InstanceGuard {
    fn drop(&mut self) {
        let instance = self.0.clone();
        let tasks = instance.0.shared.tasks.clone();
        tasks.spawn("browser_stop", instance.close());
    }
}

/// Something that uses an instance, which stays awake as long as this lives: a request, or what is attached to it for
/// longer (a DevTools client, a screencast).
#[derive(Debug)]
pub struct InUse {
    instance: Instance,
    /// Counts among the requests.
    request: bool,
}

impl Drop for InUse {
    fn drop(&mut self) {
        let inner = &self.instance.0;
        inner.note_use();
        inner.note_change();
        if self.request {
            inner.requests.fetch_sub(1, Ordering::SeqCst);
        }
        inner.in_use.fetch_sub(1, Ordering::SeqCst);
    }
}

/// An isolated browser. Cheap to clone; it exists until it is stopped, also without handles.
#[derive(Clone, Debug)]
pub struct Instance(pub(crate) Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) id: InstanceId,
    pub(crate) spec: InstanceSpec,
    started: Timestamp,
    pub(crate) shared: Arc<Shared>,
    state: Mutex<State>,
    /// One tab is opened at a time: a page that appears meanwhile is known to be nobody's.
    pub(crate) opening: tokio::sync::Mutex<()>,
    /// Starting, waking, hibernating: one at a time.
    pub(crate) lifecycle: Arc<tokio::sync::Mutex<()>>,
    /// What keeps it awake.
    in_use: AtomicUsize,
    pub(crate) clipboard: Clipboard,
    /// Files that its pages read; gone with it.
    scratch: OnceLock<Profile>,
    /// A page that a page opened was taken in, or could not be.
    appeared: watch::Sender<()>,
    /// It is being stopped: clients that stay connected leave.
    ended: CancellationToken,
    /// Requests among that.
    requests: AtomicUsize,
    /// Goes up with every use: whether there was one since.
    pub(crate) uses: AtomicU64,
    used: Mutex<Used>,
    local: Mutex<Local>,
    /// When something changed that is not saved yet.
    changed: Mutex<Option<Instant>>,
    /// Hash of what was saved last.
    pub(crate) saved_hash: AtomicU64,
    /// What happened to it, the latest last.
    log: Mutex<VecDeque<String>>,
}

/// The last use, by both clocks.
#[derive(Clone, Copy, Debug)]
struct Used {
    at: Timestamp,
    instant: Instant,
}

/// `localStorage` as it is known.
#[derive(Debug, Default)]
pub(crate) struct Local {
    pub(crate) areas: Areas,
    /// Origins of which no document has got its items back since waking.
    pub(crate) pending: BTreeSet<String>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) status: Status,
    pub(crate) error: Option<String>,
    pub(crate) lease: Option<Arc<ContextLease>>,
    /// A page opened in advance.
    pub(crate) spare: Option<Attached>,
    pub(crate) tabs: BTreeMap<TabId, Slot>,
    /// Reserved as long as it exists.
    port: Option<Port>,
    /// Attempts to make a context again that failed in a row.
    pub(crate) failures: u32,
}

/// A tab's place.
#[derive(Clone, Debug)]
pub(crate) enum Slot {
    Awake(Tab),
    Asleep(Box<Asleep>),
}

/// A tab without a page.
#[derive(Clone, Debug)]
pub(crate) struct Asleep {
    pub(crate) head: TabHead,
    /// Orders tabs by their last use, as [`Tab::used`].
    pub(crate) used: u64,
    /// It had a page when Chrome ended, and gets one again with its instance.
    pub(crate) eager: bool,
    /// While the instance hibernates, the registry has it.
    pub(crate) saved: Option<SavedTab>,
}

impl Slot {
    pub(crate) fn used(&self) -> u64 {
        match self {
            Self::Awake(tab) => tab.used(),
            Self::Asleep(asleep) => asleep.used,
        }
    }

    fn is_open(&self) -> bool {
        match self {
            Self::Awake(tab) => !tab.is_closed(),
            Self::Asleep(_) => true,
        }
    }
}

/// A tab in a list, awake or not.
#[derive(Clone, Debug)]
pub struct TabEntry {
    /// Its id.
    pub id: TabId,
    /// Orders tabs by their last use.
    pub used: u64,
    /// Its page, while it has one.
    pub tab: Option<Tab>,
    /// Where it is, when it has no page.
    pub url: String,
    /// The title, when it has no page.
    pub title: String,
}

/// A status that is counted.
#[derive(Debug)]
pub(crate) struct Status(InstanceStatus);

impl Status {
    fn new(status: InstanceStatus) -> Self {
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

impl Instance {
    pub(crate) fn new(id: InstanceId, spec: InstanceSpec, shared: Arc<Shared>) -> Self {
        Self::restored(id, spec, shared, InstanceStatus::Starting, Timestamp::now(), Timestamp::now())
    }

    /// One that exists already.
    pub(crate) fn restored(
        id: InstanceId,
        spec: InstanceSpec,
        shared: Arc<Shared>,
        status: InstanceStatus,
        started: Timestamp,
        used: Timestamp,
    ) -> Self {
        let state = State {
            status: Status::new(status),
            error: None,
            lease: None,
            spare: None,
            tabs: BTreeMap::new(),
            port: None,
            failures: 0,
        };
        Self(Arc::new(Inner {
            id,
            spec,
            started,
            shared,
            state: Mutex::new(state),
            opening: tokio::sync::Mutex::default(),
            lifecycle: Arc::default(),
            in_use: AtomicUsize::new(0),
            clipboard: Clipboard::default(),
            scratch: OnceLock::new(),
            requests: AtomicUsize::new(0),
            uses: AtomicU64::new(0),
            used: Mutex::new(Used { at: used, instant: Instant::now() }),
            local: Mutex::default(),
            changed: Mutex::default(),
            saved_hash: AtomicU64::new(0),
            log: Mutex::default(),
            ended: CancellationToken::new(),
            appeared: watch::Sender::new(()),
        }))
    }

    /// Its id.
    pub fn id(&self) -> &InstanceId {
        &self.0.id
    }

    /// Whose it is.
    pub fn tenant(&self) -> &Tenant {
        &self.0.spec.tenant
    }

    /// What it was created with.
    pub fn spec(&self) -> &InstanceSpec {
        &self.0.spec
    }

    /// Whether callers see it and its state is saved.
    pub fn is_kept(&self) -> bool {
        !self.0.spec.ephemeral
    }

    /// What it is doing.
    pub fn status(&self) -> InstanceStatus {
        self.0.state().status.get()
    }

    /// When it was created.
    pub fn started(&self) -> Timestamp {
        self.0.started
    }

    /// How it is.
    pub fn info(&self) -> InstanceInfo {
        let used = self.0.used().at;
        let state = self.0.state();
        InstanceInfo {
            id: self.0.id.clone(),
            spec: self.0.spec.clone(),
            status: state.status.get(),
            started: self.0.started,
            used,
            error: state.error.clone(),
            tabs: state.open_tabs(),
            pid: state.lease.as_ref().map(|lease| lease.process().pid()),
        }
    }

    /// What happened to it, one line each, the latest last.
    pub fn log(&self) -> Vec<String> {
        self.0.log.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Its tabs that have a page, in no particular order.
    pub fn tabs(&self) -> Vec<Tab> {
        let state = self.0.state();
        let awake = |slot: &Slot| match slot {
            Slot::Awake(tab) => Some(tab.clone()),
            Slot::Asleep(_) => None,
        };
        state.tabs.values().filter_map(awake).collect()
    }

    /// All its tabs, those without a page included, in no particular order.
    pub fn tab_entries(&self) -> Vec<TabEntry> {
        let state = self.0.state();
        let entry = |(id, slot): (&TabId, &Slot)| {
            let (tab, url, title) = match slot {
                Slot::Awake(tab) => (Some(tab.clone()), String::new(), String::new()),
                Slot::Asleep(asleep) => (None, asleep.head.url.clone(), asleep.head.title.clone()),
            };
            TabEntry { id: id.clone(), used: slot.used(), tab, url, title }
        };
        state.tabs.iter().map(entry).collect()
    }

    /// One of its tabs, if that has a page.
    pub fn tab(&self, id: &TabId) -> Option<Tab> {
        match self.0.state().tabs.get(id) {
            Some(Slot::Awake(tab)) => Some(tab.clone()),
            Some(Slot::Asleep(_)) | None => None,
        }
    }

    /// Whether a tab is one of its own.
    pub fn has_tab(&self, id: &TabId) -> bool {
        self.0.state().tabs.contains_key(id)
    }

    /// Enters it for one request: it is woken if need be, and stays awake until what this returns is dropped.
    pub async fn enter(&self) -> Result<InUse, BrowserError> {
        let max = self.0.shared.options.current().requests_per_instance_max;
        let in_use = self.begin_use(true);
        if self.0.requests.load(Ordering::SeqCst) > max {
            return Err(BrowserError::InstanceBusy { id: self.0.id.clone(), max });
        }
        self.ensure(crate::hibernate::Wanted::Context).await?;
        Ok(in_use)
    }

    /// As [`Instance::enter`], for a request about a tab, which has a page when this returns.
    pub async fn enter_tab(&self, id: &TabId) -> Result<(InUse, Tab), BrowserError> {
        let in_use = self.enter().await?;
        self.ensure(crate::hibernate::Wanted::Tab(id.clone())).await?;
        let tab = self.tab(id).ok_or_else(|| BrowserError::TabNotFound(id.clone()))?;
        Ok((in_use, tab))
    }

    /// Attaches something for longer than a request, for example a DevTools client: all its tabs get their pages, and
    /// it stays awake until what this returns is dropped.
    pub async fn attach(&self) -> Result<InUse, BrowserError> {
        let in_use = self.begin_use(false);
        self.ensure(crate::hibernate::Wanted::AllTabs).await?;
        Ok(in_use)
    }

    fn begin_use(&self, request: bool) -> InUse {
        // Before the state is looked at: hibernation looks at this with the state in its hands.
        self.0.in_use.fetch_add(1, Ordering::SeqCst);
        if request {
            self.0.requests.fetch_add(1, Ordering::SeqCst);
        }
        self.0.note_use();
        InUse { instance: self.clone(), request }
    }

    /// Whether nothing uses it.
    pub(crate) fn is_idle(&self) -> bool {
        self.0.in_use.load(Ordering::SeqCst) == 0
    }

    /// Since when nothing uses it.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        self.is_idle().then(|| self.0.used().instant)
    }

    /// When it was last used.
    pub(crate) fn used_at(&self) -> Timestamp {
        self.0.used().at
    }

    /// Opens a tab. If the caller goes away meanwhile, it is closed as soon as it is open.
    pub async fn open(&self, spec: TabSpec) -> Result<Tab, BrowserError> {
        let (opened, receiver) = oneshot::channel();
        let instance = self.clone();
        self.0.shared.tasks.spawn("browser_open", async move {
            if let Err(Ok(tab)) = opened.send(instance.open_now(spec).await) {
                tab.close().await;
            }
        });
        receiver.await.unwrap_or(Err(BrowserError::Stopping))
    }

    async fn open_now(&self, spec: TabSpec) -> Result<Tab, BrowserError> {
        let _in_use = self.begin_use(false);
        self.ensure(crate::hibernate::Wanted::Context).await?;
        let _opening = self.0.opening.lock().await;
        let (lease, spare) = {
            let mut state = self.0.state();
            state.check(&self.0.id)?;
            let max = self.0.shared.options.current().tabs_per_instance_max;
            if state.open_tabs() >= max {
                return Err(BrowserError::TabsExhausted { max });
            }
            let lost = || BrowserError::InstanceRestarting(self.0.id.clone());
            (state.lease.clone().ok_or_else(lost)?, state.spare.take())
        };
        let attached = match spare.filter(Attached::is_live) {
            Some(spare) => spare,
            None => Attached::open(&lease).await?,
        };
        self.adopt(attached, &spec).await
    }

    /// Stops it: closes all its tabs and forgets its cookies and storage.
    pub async fn close(self) {
        self.0.shared.stop(&self.0.id, "stopped").await.ok();
    }

    /// Cancelled when it is being stopped.
    pub(crate) fn ended(&self) -> CancellationToken {
        self.0.ended.clone()
    }

    /// Its process and browser context, for clients that speak to Chrome themselves. A page that was opened in advance
    /// becomes a tab: such a client sees it.
    pub(crate) async fn context(&self) -> Result<(Process, Arc<str>), BrowserError> {
        let _opening = self.0.opening.lock().await;
        let lease = self.lease().ok_or_else(|| BrowserError::InstanceRestarting(self.0.id.clone()))?;
        let spare = self.0.state().spare.take();
        if let Some(spare) = spare {
            self.adopt(spare, &TabSpec::default()).await?;
        }
        Ok((lease.process().clone(), Arc::clone(lease.context_id())))
    }

    async fn adopt(&self, attached: Attached, spec: &TabSpec) -> Result<Tab, BrowserError> {
        let tab = attached.into_tab(self, self.0.shared.new_tab_id(), spec, None).await?;
        self.take(tab).await
    }

    /// Puts a tab into its place, unless the instance has come to an end.
    pub(crate) async fn take(&self, tab: Tab) -> Result<Tab, BrowserError> {
        let refused = {
            let mut state = self.0.state();
            let refused = state.check(&self.0.id).err();
            if refused.is_none() && !tab.is_closed() {
                state.tabs.insert(tab.id().clone(), Slot::Awake(tab.clone()));
            }
            refused
        };
        match refused {
            None => {
                self.0.tell(FleetChange::TabOpened { tab_id: tab.id().clone() });
                let url = tab.0.page.with(|page| page.url.clone());
                self.0.shared.feed.tab(&self.0.id, tab.id(), "tabOpened", serde_json::json!({ "url": url }));
                self.0.note_change();
                Ok(tab)
            }
            Some(error) => {
                tab.close().await;
                Err(error)
            }
        }
    }

    /// Forgets a tab whose page was closed. One whose Chrome ended keeps its place.
    pub(crate) fn tab_ended(&self, id: &TabId, session: &Session) {
        if session.state() == SessionState::Closed && self.is_kept() {
            return;
        }
        let closed = {
            let mut state = self.0.state();
            let this =
                matches!(state.tabs.get(id), Some(Slot::Awake(tab)) if tab.session().id() == session.id());
            if this {
                state.tabs.remove(id);
            }
            this
        };
        if closed {
            self.0.tell(FleetChange::TabClosed { tab_id: id.clone() });
            self.0.note_change();
        }
    }

    /// Closes a tab that has no page. Whether there was one.
    pub(crate) fn forget_asleep(&self, id: &TabId) -> bool {
        let mut state = self.0.state();
        let asleep = matches!(state.tabs.get(id), Some(Slot::Asleep(_)));
        if asleep {
            state.tabs.remove(id);
        }
        asleep
    }

    /// Puts a context, and perhaps an open page, into an instance that starts.
    pub(crate) fn begin(
        &self,
        lease: ContextLease,
        spare: Option<Attached>,
        cause: &str,
    ) -> Result<(), BrowserError> {
        let mut state = self.0.state();
        // It may have been stopped meanwhile.
        state.check(&self.0.id)?;
        state.lease = Some(Arc::new(lease));
        state.spare = spare;
        state.failures = 0;
        state.error = None;
        self.0.set_status(&mut state, InstanceStatus::Running, cause);
        Ok(())
    }

    /// Its context, if it has one.
    pub(crate) fn lease(&self) -> Option<Arc<ContextLease>> {
        self.0.state().lease.clone()
    }

    /// A private directory that goes with it.
    pub(crate) fn scratch(&self) -> std::io::Result<&Path> {
        if self.0.scratch.get().is_none() {
            // Of two that are made at once, one is dropped again.
            self.0.scratch.set(self.0.shared.profiles.create()?).ok();
        }
        self.0.scratch.get().map(Profile::path).ok_or_else(|| std::io::Error::other("no directory"))
    }

    /// Takes the context out, to be disposed; nothing can be opened afterwards.
    pub(crate) fn end(&self, cause: &str) -> Option<Arc<ContextLease>> {
        self.0.ended.cancel();
        let mut state = self.0.state();
        self.0.set_status(&mut state, InstanceStatus::Stopping, cause);
        state.spare = None;
        state.port = None;
        state.tabs.clear();
        state.lease.take()
    }

    /// Keeps a port reserved until it ends.
    pub(crate) fn hold_port(&self, port: Port) {
        let mut state = self.0.state();
        if state.check(&self.0.id).is_ok() {
            state.port = Some(port);
        }
    }

    /// Process id of its Chrome, while it has one.
    pub(crate) fn process_id(&self) -> Option<i32> {
        self.0.state().lease.as_ref().map(|lease| lease.process().pid())
    }

    /// Whether its context is this one.
    pub(crate) fn has_context(&self, process: &Process, context_id: &str) -> bool {
        let state = self.0.state();
        let lease = state.lease.as_ref();
        lease.is_some_and(|lease| lease.process().is(process) && &**lease.context_id() == context_id)
    }

    /// Whether its context is in this process.
    pub(crate) fn lives_in(&self, process: &Process) -> bool {
        self.0.state().lease.as_ref().is_some_and(|lease| lease.process().is(process))
    }

    /// Waits for the tab of a window that a page opened.
    pub(crate) async fn tab_opened_by(&self, opener: &Tab, known: &[TabId]) -> Tab {
        let mut appeared = self.0.appeared.subscribe();
        loop {
            appeared.borrow_and_update();
            for tab in self.tabs().into_iter().filter(|tab| !known.contains(tab.id())) {
                let info = tab.info().await.ok();
                if info.and_then(|info| info.opener_id).as_deref() == Some(opener.session().target_id()) {
                    return tab;
                }
            }
            // The sender is ours: it cannot be gone.
            appeared.changed().await.ok();
        }
    }

    /// Takes in a page that one of its pages opened, or closes it if there is no room.
    pub(crate) async fn page_appeared(&self, target_id: &str) {
        self.take_in(target_id).await;
        self.0.appeared.send_replace(());
    }

    async fn take_in(&self, target_id: &str) {
        let _opening = self.0.opening.lock().await;
        let tabs_max = self.0.shared.options.current().tabs_per_instance_max;
        let (lease, room) = {
            let state = self.0.state();
            let known = state.tabs.values().any(|slot| match slot {
                Slot::Awake(tab) => tab.session().target_id() == target_id,
                Slot::Asleep(_) => false,
            }) || state.spare.as_ref().is_some_and(|spare| spare.target_id() == target_id);
            let Some(lease) = state.lease.clone().filter(|_| !known) else { return };
            (lease, state.open_tabs() < tabs_max)
        };
        if room {
            // A page that cannot be taken in is closed when what was attached is dropped.
            let adopted = match Attached::attach(&lease, target_id).await {
                Ok(attached) => self.adopt(attached, &TabSpec::default()).await.map(drop),
                Err(error) => Err(error),
            };
            if let Err(error) = adopted {
                tracing::debug!(%error, "a page that a page opened was not taken in");
            }
        } else {
            Attached::close(&lease, target_id);
        }
    }
}

impl Inner {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn local(&self) -> MutexGuard<'_, Local> {
        self.local.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn used(&self) -> Used {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn note_use(&self) {
        self.uses.fetch_add(1, Ordering::SeqCst);
        let now = Used { at: Timestamp::now(), instant: Instant::now() };
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }

    /// Notes that what is saved is not what there is.
    pub(crate) fn note_change(&self) {
        if !self.spec.ephemeral {
            let mut changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
            changed.get_or_insert_with(Instant::now);
        }
    }

    /// Since when something is not saved.
    pub(crate) fn changed_since(&self) -> Option<Instant> {
        *self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what changed so far for saved.
    pub(crate) fn note_saved(&self) {
        *self.changed.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(crate) fn state_size_max(&self) -> usize {
        self.shared.options.current().state_size_max.as_usize()
    }

    /// Tells those who watch.
    pub(crate) fn tell(&self, change: FleetChange) {
        if !self.spec.ephemeral {
            let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
            if log.len() == LOG_LINES_MAX {
                log.pop_front();
            }
            log.push_back(format!("{} {change}", Timestamp::now()));
            drop(log);
            self.shared.events.send(&self.spec.tenant, &self.id, change);
        }
    }

    /// Goes over into another state, unless it is at its end.
    pub(crate) fn set_status(&self, state: &mut State, status: InstanceStatus, cause: &str) {
        if state.status.get() == status {
            return;
        }
        state.status = Status::new(status);
        if !self.spec.ephemeral {
            self.shared.feed.instance(&self.id, &self.spec.tenant, status, state.error.as_deref());
        }
        self.tell(FleetChange::Instance { status, cause: cause.to_owned() });
    }
}

impl State {
    /// Tabs that count against the maximum.
    pub(crate) fn open_tabs(&self) -> usize {
        self.tabs.values().filter(|slot| slot.is_open()).count()
    }

    /// Whether it can still be used, perhaps after waking.
    pub(crate) fn check(&self, id: &InstanceId) -> Result<(), BrowserError> {
        match self.status.get() {
            InstanceStatus::Stopping | InstanceStatus::Stopped => {
                Err(BrowserError::InstanceStopped(id.clone()))
            }
            _ => Ok(()),
        }
    }
}
