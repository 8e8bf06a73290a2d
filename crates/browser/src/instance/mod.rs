//! Instances: isolated browsers with their own cookies, storage and tabs.
//!
//! An instance is what callers hold on to; the context in a Chrome process that it lives in comes and goes. `enter`
//! makes sure that it has one (see `hibernate`).

mod opening;
mod spec;
mod tabs;
mod usage;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize},
    },
};

use jiff::Timestamp;
use paddock_platform::identity::Tenant;
use tokio::{
    sync::{Semaphore, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

pub(crate) use self::tabs::{Asleep, Slot};
use self::{opening::Openings, spec::Status, usage::Used};
pub use self::{
    spec::{InstanceInfo, InstanceSpec, InstanceStatus},
    tabs::TabEntry,
    usage::{InUse, InstanceGuard},
};
use crate::{
    areas::Areas,
    clipboard::Clipboard,
    downloads::{Downloads, PageDownload},
    error::BrowserError,
    events::FleetChange,
    fleet::Shared,
    ids::{InstanceId, TabId},
    pool::ContextLease,
    ports::Port,
    process::Process,
    profile::Profile,
    tab::{Attached, TabSpec},
};

/// Lines that are kept of what happened to an instance.
const LOG_LINES_MAX: usize = 200;

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
    /// Pages that appear are taken in one at a time, and tabs that sleep are woken one at a time.
    pub(crate) opening: tokio::sync::Mutex<()>,
    /// Starting, waking, hibernating: one at a time.
    pub(crate) lifecycle: Arc<tokio::sync::Mutex<()>>,
    /// What keeps it awake.
    in_use: AtomicUsize,
    pub(crate) clipboard: Clipboard,
    /// Files that its pages read or write; gone with it.
    scratch: Mutex<Option<Profile>>,
    pub(crate) downloads: Downloads,
    /// A page that a page opened was taken in, or could not be.
    appeared: watch::Sender<()>,
    /// A tab that is being opened has a page, or will not have one.
    named: watch::Sender<()>,
    creating: Semaphore,
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

/// `localStorage` as it is known.
#[derive(Debug, Default)]
pub(crate) struct Local {
    pub(crate) areas: Areas,
    /// Origins of which no document has got its items back since waking.
    pub(crate) pending: BTreeSet<String>,
    /// Origins whose pages were shown, or that have databases.
    pub(crate) visited: BTreeSet<String>,
    /// The last page that was opened for reading or writing databases: it is no tab.
    pub(crate) blank: Option<String>,
}

/// An instance's place in Chrome, as DevTools clients need to know it.
#[derive(Clone, Debug)]
pub(crate) struct ContextOf {
    pub(crate) process: Process,
    pub(crate) context_id: Arc<str>,
    /// It is the browser's own, which commands do not name.
    pub(crate) is_default: bool,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) status: Status,
    pub(crate) error: Option<String>,
    pub(crate) lease: Option<Arc<ContextLease>>,
    /// A page opened in advance. Before the lease: the page's session ends before its context does.
    pub(crate) spare: Option<Attached>,
    pub(crate) tabs: BTreeMap<TabId, Slot>,
    openings: Openings,
    /// Reserved as long as it exists.
    port: Option<Port>,
    /// Attempts to make a context again that failed in a row.
    pub(crate) failures: u32,
    /// When its Chrome ended by itself, the last times.
    pub(crate) crashes: VecDeque<Instant>,
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
            openings: Openings::default(),
            port: None,
            failures: 0,
            crashes: VecDeque::new(),
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
            scratch: Mutex::default(),
            downloads: Downloads::default(),
            requests: AtomicUsize::new(0),
            uses: AtomicU64::new(0),
            used: Mutex::new(Used { at: used, instant: Instant::now() }),
            local: Mutex::default(),
            changed: Mutex::default(),
            saved_hash: AtomicU64::new(0),
            log: Mutex::default(),
            ended: CancellationToken::new(),
            appeared: watch::Sender::new(()),
            named: watch::Sender::new(()),
            creating: Semaphore::new(opening::CREATING_MAX),
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

    /// Whether callers see it.
    pub fn is_kept(&self) -> bool {
        !self.0.spec.ephemeral
    }

    /// Whether its state is saved, so that it can hibernate and be restored.
    pub fn is_saved(&self) -> bool {
        self.0.is_saved()
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
            pid: state.lease.as_ref().and_then(|lease| lease.process().pid()),
        }
    }

    /// What happened to it, one line each, the latest last.
    pub fn log(&self) -> Vec<String> {
        self.0.log.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// What its pages downloaded, oldest first.
    pub fn downloads(&self) -> Vec<PageDownload> {
        self.0.downloads.list()
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
    pub(crate) async fn context(&self) -> Result<ContextOf, BrowserError> {
        let _opening = self.0.opening.lock().await;
        let lease = self.lease().ok_or_else(|| BrowserError::InstanceRestarting(self.0.id.clone()))?;
        let spare = self.0.state().spare.take();
        if let Some(spare) = spare {
            self.adopt(spare, &TabSpec::default()).await?;
        }
        Ok(ContextOf {
            process: lease.process().clone(),
            context_id: Arc::clone(lease.context_id()),
            is_default: lease.name().is_none(),
        })
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
    pub(crate) fn scratch(&self) -> std::io::Result<PathBuf> {
        let mut scratch = self.0.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        if self.0.ended.is_cancelled() {
            return Err(std::io::Error::other("the instance is stopped"));
        }
        let profile = match scratch.take() {
            Some(profile) => profile,
            None => self.0.shared.profiles.create()?,
        };
        Ok(scratch.insert(profile).path().to_owned())
    }

    /// Removes its private directory. It has ended: there will be no other.
    pub(crate) async fn forget_files(&self) {
        let scratch = self.0.scratch.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(scratch) = scratch {
            tokio::task::spawn_blocking(move || drop(scratch)).await.ok();
        }
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
        self.0.state().lease.as_ref().and_then(|lease| lease.process().pid())
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
}

impl Inner {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn local(&self) -> MutexGuard<'_, Local> {
        self.local.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`Instance::is_saved`].
    pub(crate) fn is_saved(&self) -> bool {
        !self.spec.ephemeral && self.spec.attached_to.is_none()
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
        if state.status.get() == status || state.status.get() == InstanceStatus::Stopped {
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
