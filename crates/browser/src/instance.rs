//! Instances: isolated browsers with their own cookies, storage and tabs.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use jiff::Timestamp;
use paddock_cdp::protocol::target::CloseTarget;
use paddock_platform::identity::Tenant;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use utoipa::ToSchema;

use crate::{
    error::BrowserError,
    fleet::Shared,
    ids::{InstanceId, TabId},
    pool::{ContextLease, Isolation},
    process::Process,
    tab::{Attached, Tab, TabSpec},
};

/// What an instance is created with.
#[derive(Clone, Debug)]
pub struct InstanceSpec {
    /// Whose it is.
    pub tenant: Tenant,
    /// Whether it shares its Chrome process.
    pub isolation: Isolation,
    /// A name for people; empty for none.
    pub name: String,
}

impl InstanceSpec {
    /// A context in a shared process.
    pub fn new(tenant: Tenant) -> Self {
        Self { tenant, isolation: Isolation::Context, name: String::new() }
    }
}

/// What an instance is doing, in Pinchtab's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum InstanceStatus {
    /// Its Chrome or context is being made.
    Starting,
    /// It takes tabs.
    Running,
    /// It is being disposed.
    Stopping,
    /// It lost its Chrome, and its pages with it.
    Error,
}

/// An instance as lists show it.
#[derive(Clone, Debug)]
pub struct InstanceInfo {
    /// Its id.
    pub id: InstanceId,
    /// Whose it is.
    pub tenant: Tenant,
    /// A name for people; empty for none.
    pub name: String,
    /// Whether it shares its Chrome process.
    pub isolation: Isolation,
    /// What it is doing.
    pub status: InstanceStatus,
    /// When it was created.
    pub started: Timestamp,
    /// How it was lost.
    pub error: Option<String>,
    /// Open tabs.
    pub tabs: usize,
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

/// One request's use of an instance.
#[derive(Debug)]
pub(crate) struct InUse(Instance);

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.0.in_use.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An isolated browser. Cheap to clone; it runs until it is stopped, also without handles.
#[derive(Clone, Debug)]
pub struct Instance(pub(crate) Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) id: InstanceId,
    pub(crate) tenant: Tenant,
    name: String,
    isolation: Isolation,
    started: Timestamp,
    shared: Arc<Shared>,
    state: Mutex<State>,
    /// One tab is opened at a time: a page that appears meanwhile is known to be nobody's.
    opening: tokio::sync::Mutex<()>,
    /// Requests that work with it.
    in_use: AtomicUsize,
}

#[derive(Debug)]
struct State {
    status: InstanceStatus,
    error: Option<String>,
    lease: Option<Arc<ContextLease>>,
    /// A page opened in advance.
    spare: Option<Attached>,
    tabs: BTreeMap<TabId, Tab>,
    /// No tab was opened yet: there is nothing to lose.
    blank: bool,
}

impl Instance {
    pub(crate) fn new(id: InstanceId, spec: InstanceSpec, shared: Arc<Shared>) -> Self {
        let state = State {
            status: InstanceStatus::Starting,
            error: None,
            lease: None,
            spare: None,
            tabs: BTreeMap::new(),
            blank: true,
        };
        Self(Arc::new(Inner {
            id,
            tenant: spec.tenant,
            name: spec.name,
            isolation: spec.isolation,
            started: Timestamp::now(),
            shared,
            state: Mutex::new(state),
            opening: tokio::sync::Mutex::default(),
            in_use: AtomicUsize::new(0),
        }))
    }

    /// Its id.
    pub fn id(&self) -> &InstanceId {
        &self.0.id
    }

    /// Whose it is.
    pub fn tenant(&self) -> &Tenant {
        &self.0.tenant
    }

    /// How it is.
    pub fn info(&self) -> InstanceInfo {
        let state = self.0.state();
        InstanceInfo {
            id: self.0.id.clone(),
            tenant: self.0.tenant.clone(),
            name: self.0.name.clone(),
            isolation: self.0.isolation,
            status: state.status,
            started: self.0.started,
            error: state.error.clone(),
            tabs: state.tabs.len(),
        }
    }

    /// Its tabs, in no particular order.
    pub fn tabs(&self) -> Vec<Tab> {
        self.0.state().tabs.values().cloned().collect()
    }

    /// One of its tabs.
    pub fn tab(&self, id: &TabId) -> Option<Tab> {
        self.0.state().tabs.get(id).cloned()
    }

    /// Enters it for one request: it stays awake until what this returns is dropped.
    #[expect(clippy::unused_async, reason = "waking will wait")]
    pub(crate) async fn enter(&self) -> Result<InUse, BrowserError> {
        self.0.state().check(&self.0.id)?;
        self.0.in_use.fetch_add(1, Ordering::Relaxed);
        Ok(InUse(self.clone()))
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
        let _opening = self.0.opening.lock().await;
        let lease = self.lease_for_tab().await?;
        let spare = self.0.state().spare.take();
        let attached = match spare {
            Some(spare) => spare,
            None => Attached::open(&lease).await?,
        };
        self.adopt(attached, &spec).await
    }

    /// Stops it: closes all its tabs and forgets its cookies and storage.
    pub async fn close(self) {
        self.0.shared.stop(&self.0.id).await.ok();
    }

    /// The context, made again if it was lost while there was nothing in it.
    async fn lease_for_tab(&self) -> Result<Arc<ContextLease>, BrowserError> {
        let tabs_max = self.0.shared.options.current().tabs_per_instance_max;
        {
            let state = self.0.state();
            state.check(&self.0.id)?;
            if state.tabs.len() >= tabs_max {
                return Err(BrowserError::TabsExhausted { max: tabs_max });
            }
            if let Some(lease) = &state.lease {
                return Ok(Arc::clone(lease));
            }
        }
        let lease = Arc::new(self.0.shared.pool.lease(self.0.isolation).await?);
        let mut state = self.0.state();
        state.check(&self.0.id)?;
        state.lease = Some(Arc::clone(&lease));
        Ok(lease)
    }

    async fn adopt(&self, attached: Attached, spec: &TabSpec) -> Result<Tab, BrowserError> {
        let weak = Arc::downgrade(&self.0);
        let on_close = move |id: &TabId| {
            if let Some(inner) = weak.upgrade() {
                inner.state().tabs.remove(id);
            }
        };
        let shared = Arc::clone(&self.0.shared);
        let tab = attached.into_tab(self.0.id.clone(), spec, shared, on_close).await?;
        let mut state = self.0.state();
        state.check(&self.0.id)?;
        state.blank = false;
        if !tab.is_closed() {
            state.tabs.insert(tab.id().clone(), tab.clone());
        }
        Ok(tab)
    }

    /// Puts a context, and perhaps an open page, into an instance that starts.
    pub(crate) fn begin(&self, lease: ContextLease, spare: Option<Attached>) {
        let mut state = self.0.state();
        state.lease = Some(Arc::new(lease));
        state.spare = spare;
        state.status = InstanceStatus::Running;
    }

    /// Takes the context out, to be disposed; nothing can be opened afterwards.
    pub(crate) fn end(&self) -> Option<Arc<ContextLease>> {
        let mut state = self.0.state();
        state.status = InstanceStatus::Stopping;
        state.spare = None;
        state.tabs.clear();
        state.lease.take()
    }

    /// Process id of its Chrome, while it has one.
    pub(crate) fn process_id(&self) -> Option<i32> {
        self.0.state().lease.as_ref().map(|lease| lease.process().pid())
    }

    /// Whether its context is this one.
    pub(crate) fn has_context(&self, process: &Process, context_id: &str) -> bool {
        let state = self.0.state();
        let lease = state.lease.as_ref();
        lease.is_some_and(|lease| {
            lease.process().pid() == process.pid() && &**lease.context_id() == context_id
        })
    }

    /// Draws the consequences of the end of its process, if it lived in that one.
    pub(crate) fn process_ended(&self, process: &Process, reason: &str) {
        let mut state = self.0.state();
        if state.lease.as_ref().is_none_or(|lease| lease.process().pid() != process.pid()) {
            return;
        }
        state.lease = None;
        state.spare = None;
        state.tabs.clear();
        if !state.blank && state.status == InstanceStatus::Running {
            state.status = InstanceStatus::Error;
            state.error = Some(reason.to_owned());
        }
    }

    /// Whether it holds nothing any more but its own report.
    pub(crate) fn is_lost(&self) -> bool {
        self.0.state().status == InstanceStatus::Error
    }

    /// Takes in a page that one of its pages opened, or closes it if there is no room.
    pub(crate) async fn page_appeared(&self, target_id: &str) {
        let _opening = self.0.opening.lock().await;
        let tabs_max = self.0.shared.options.current().tabs_per_instance_max;
        let (lease, room) = {
            let state = self.0.state();
            let known = state.tabs.values().any(|tab| tab.session().target_id() == target_id)
                || state.spare.as_ref().is_some_and(|spare| spare.target_id() == target_id);
            let Some(lease) = state.lease.clone().filter(|_| !known) else { return };
            (lease, state.tabs.len() < tabs_max)
        };
        if room
            && let Ok(attached) = Attached::attach(&lease, target_id).await
            && self.adopt(attached, &TabSpec::default()).await.is_ok()
        {
            return;
        }
        let browser = lease.process().connection().browser();
        if let Err(error) = browser.send(&CloseTarget { target_id }).await {
            tracing::debug!(error = %error, "a page that a page opened was not closed");
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn check(&self, id: &InstanceId) -> Result<(), BrowserError> {
        match self.status {
            InstanceStatus::Starting | InstanceStatus::Running => Ok(()),
            InstanceStatus::Stopping => Err(BrowserError::InstanceStopped(id.clone())),
            InstanceStatus::Error => Err(BrowserError::InstanceLost {
                id: id.clone(),
                reason: self.error.clone().unwrap_or_default(),
            }),
        }
    }
}
