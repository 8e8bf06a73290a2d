//! The fleet: creates (`create.rs`), lists and stops instances.
//!
//! What goes on without anybody asking (instances kept ready, idle ones that hibernate, processes that die) is in
//! `upkeep.rs` and `watch.rs`.

mod create;

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use paddock_cdp::protocol::target::{GetBrowserContexts, GetTargets};
use paddock_platform::{
    config::Section, events::Events as EventFeed, identity::Tenant, store::Store, task::Tasks,
};
use tokio::{
    sync::{Notify, broadcast, oneshot},
    time::timeout,
};

use crate::{
    admission::Promised,
    config::BrowserOptions,
    egress::Egress,
    engine::{Engine, EngineError},
    error::BrowserError,
    events::{Events, FleetEvent},
    feed::Feed,
    files::{Exports, Fetcher, States},
    gate::Gate,
    ids::{InstanceId, ProfileId, TabId},
    instance::{Instance, InstanceInfo, InstanceSpec, InstanceStatus},
    pool::{ContextLease, Placement, Pool},
    ports::Ports,
    process::Process,
    profile::Profiles,
    registry::Registry,
    tab::{Attached, Tab},
    upkeep,
    watch::watch,
};

/// How long saving may take before the server stops without.
const LAST_CHECKPOINT_DEADLINE: Duration = Duration::from_secs(5);
/// Instances that are saved, or stopped, at a time.
pub(crate) const AT_ONCE: usize = 8;
/// Tabs whose instance is remembered.
const HOMES_MAX: usize = 10_000;

/// Handle to the fleet. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Fleet(pub(crate) Arc<Shared>);

/// What the fleet's parts share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: Section<BrowserOptions>,
    pub(crate) tasks: Tasks,
    /// Where what callers ask to be written is written.
    pub(crate) data_dir: PathBuf,
    pub(crate) egress: Egress,
    pub(crate) pool: Pool,
    pub(crate) gate: Gate,
    pub(crate) exports: Exports,
    pub(crate) states: States,
    pub(crate) fetcher: Fetcher,
    pub(crate) profiles: Profiles,
    pub(crate) registry: Registry,
    pub(crate) events: Events,
    pub(crate) promised: Promised,
    pub(crate) ports: Ports,
    /// What happens, for those who watch.
    pub(crate) feed: Feed,
    instances: Mutex<BTreeMap<InstanceId, Instance>>,
    /// Where tabs were found last: looked at before all instances are.
    homes: Mutex<HashMap<TabId, InstanceId>>,
    ready: Mutex<Vec<Ready>>,
    /// Held while an instance is made ready; and by the one creation that waits for it.
    preparing: tokio::sync::Mutex<()>,
    awaiting_ready: tokio::sync::Mutex<()>,
    pub(crate) upkeep: Notify,
}

/// An instance's makings, kept for the next one that is asked for.
#[derive(Debug)]
pub(crate) struct Ready {
    /// Before the lease: the page's session ends before its context does.
    pub(crate) page: Attached,
    pub(crate) lease: ContextLease,
}

impl Fleet {
    /// Starts a fleet whose instances end with it. A missing or broken Chrome is not an error here, but of whoever
    /// needs it.
    pub async fn start(
        options: Section<BrowserOptions>,
        data_dir: &Path,
        tasks: &Tasks,
    ) -> Result<Self, BrowserError> {
        Self::start_over(options, data_dir, None, EventFeed::default(), tasks).await
    }

    /// Starts a fleet whose instances are in a store: those that were there before come back, hibernated. What happens in
    /// it is told in `feed`.
    pub async fn start_with_store(
        options: Section<BrowserOptions>,
        data_dir: &Path,
        store: Store,
        feed: EventFeed,
        tasks: &Tasks,
    ) -> Result<Self, BrowserError> {
        Self::start_over(options, data_dir, Some(store), feed, tasks).await
    }

    async fn start_over(
        options: Section<BrowserOptions>,
        data_dir: &Path,
        store: Option<Store>,
        feed: EventFeed,
        tasks: &Tasks,
    ) -> Result<Self, BrowserError> {
        crate::metrics::describe();
        let (exports, states) = (Exports::new(data_dir), States::new(data_dir));
        let directory = data_dir.to_owned();
        let profiles = tokio::task::spawn_blocking(move || Profiles::open(&directory))
            .await
            .unwrap_or_else(|error| Err(std::io::Error::other(error)))
            .map_err(BrowserError::Profiles)?;
        let registry = match store {
            Some(store) => Registry::open(store, data_dir).await?,
            None => Registry::private(profiles.directory(), tasks),
        };
        let records = registry.list().await?;
        let egress = Egress::start(options.map(BrowserOptions::egress), tasks).await?;
        let fetcher = Fetcher::new(egress.clone()).map_err(BrowserError::Fetcher)?;
        let pool = Pool::new(options.clone(), profiles.clone(), egress.clone(), tasks.clone());
        let gate = Gate::new(options.current().navigation_concurrency());
        let shared = Arc::new(Shared {
            options,
            tasks: tasks.clone(),
            data_dir: data_dir.to_path_buf(),
            egress,
            pool,
            gate,
            exports,
            states,
            fetcher,
            profiles,
            registry,
            events: Events::default(),
            promised: Promised::default(),
            ports: Ports::default(),
            feed: Feed::new(feed),
            instances: Mutex::default(),
            homes: Mutex::default(),
            ready: Mutex::default(),
            preparing: tokio::sync::Mutex::default(),
            awaiting_ready: tokio::sync::Mutex::default(),
            upkeep: Notify::new(),
        });
        shared.bring_back(records);
        let weak = Arc::downgrade(&shared);
        shared.pool.watch(move |process| {
            if let Some(shared) = weak.upgrade() {
                shared.tasks.spawn("browser_process_watch", watch(Arc::clone(&shared), process.clone()));
            }
        });
        upkeep::spawn(&shared);
        Ok(Self(shared))
    }

    /// The Chrome that it runs, for diagnosis.
    pub fn engine(&self) -> Result<Engine, EngineError> {
        Engine::find(&self.0.options.current())
    }

    /// What happens to instances and tabs from now on, of all tenants. Instances for the server's own use are not told
    /// of. A receiver that lags misses the oldest, and is told how many.
    pub fn events(&self) -> broadcast::Receiver<FleetEvent> {
        self.0.events.subscribe()
    }

    /// Creates an instance. If the caller goes away meanwhile, it is stopped as soon as it is there.
    pub async fn create(&self, spec: InstanceSpec) -> Result<Instance, BrowserError> {
        let (created, receiver) = oneshot::channel();
        let shared = Arc::clone(&self.0);
        // What counts against the maxima lives in this task, as the context does that is being made.
        self.0.tasks.spawn("browser_create", async move {
            if let Err(Ok(instance)) = created.send(Box::pin(shared.create(spec)).await) {
                instance.close().await;
            }
        });
        receiver.await.unwrap_or(Err(BrowserError::Stopping))
    }

    /// An instance that stands for a Chrome that runs already, by its `ws://…/devtools/browser/…` address: its pages are
    /// the instance's tabs, and stopping it lets go of them. They do not pass the egress.
    pub async fn attach(&self, url: &str, spec: InstanceSpec) -> Result<Instance, BrowserError> {
        let (attached, receiver) = oneshot::channel();
        let (shared, url) = (Arc::clone(&self.0), url.to_owned());
        self.0.tasks.spawn("browser_create", async move {
            if let Err(Ok(instance)) = attached.send(shared.attach(&url, spec).await) {
                instance.close().await;
            }
        });
        receiver.await.unwrap_or(Err(BrowserError::Stopping))
    }

    /// The instance of an id.
    pub fn instance(&self, id: &InstanceId) -> Option<Instance> {
        self.0.instances().get(id).cloned()
    }

    /// All instances, of all tenants, those for the server's own use included.
    pub fn instances(&self) -> Vec<InstanceInfo> {
        self.handles().iter().map(Instance::info).collect()
    }

    /// Handles to all instances, of all tenants, oldest first.
    pub fn handles(&self) -> Vec<Instance> {
        let mut handles = self.0.handles();
        handles.sort_by_key(|instance| (instance.started(), instance.id().clone()));
        handles
    }

    /// The instance of a tab, whether that has a page or not.
    pub fn instance_of(&self, id: &TabId) -> Option<Instance> {
        let instances = self.0.instances();
        let mut homes = self.0.homes.lock().unwrap_or_else(PoisonError::into_inner);
        let home = homes.get(id).and_then(|home| instances.get(home));
        if let Some(home) = home.filter(|home| home.has_tab(id)) {
            return Some(home.clone());
        }
        let found = instances.values().find(|instance| instance.has_tab(id)).cloned()?;
        if homes.len() >= HOMES_MAX {
            homes.clear();
        }
        homes.insert(id.clone(), found.id().clone());
        Some(found)
    }

    /// The tab of an id, whatever its instance, if it has a page.
    pub fn tab(&self, id: &TabId) -> Option<Tab> {
        self.instance_of(id)?.tab(id)
    }

    /// Stops an instance: its tabs, cookies and storage are gone when this returns. What its profile keeps is saved
    /// before.
    pub async fn stop(&self, id: &InstanceId) -> Result<(), BrowserError> {
        self.0.stop(id, "stopped").await
    }

    /// How many instances are ready to be taken.
    pub fn ready(&self) -> usize {
        self.0.ready_list().len()
    }

    /// Process ids of the Chromes that run, for diagnosis.
    pub fn process_ids(&self) -> Vec<i32> {
        self.0.pool.processes().iter().filter_map(Process::pid).collect()
    }

    /// How many contexts all Chromes hold, those kept ready included, for diagnosis.
    pub async fn contexts(&self) -> usize {
        let mut count = 0;
        for process in self.0.pool.processes() {
            let contexts = process.connection().browser().send(&GetBrowserContexts {}).await;
            count += contexts.map_or(0, |contexts| contexts.browser_context_ids.len());
        }
        count
    }

    /// How many pages each Chrome holds beside those kept ready, for diagnosis.
    pub async fn page_targets(&self) -> Vec<usize> {
        let mut counts = Vec::new();
        for process in self.0.pool.processes() {
            let targets = process.connection().browser().send(&GetTargets {}).await;
            let infos = targets.map(|targets| targets.target_infos).unwrap_or_default();
            let ready = self.0.ready_list().iter().filter(|ready| ready.lease.process().is(&process)).count();
            counts.push(infos.iter().filter(|info| info.kind == "page").count().saturating_sub(ready));
        }
        counts
    }

    /// Saves what is not saved, stops everything and waits until no Chrome process is left. Instances stay in the
    /// store. The fleet is of no use afterwards.
    pub async fn shutdown(&self) {
        let instances = self.0.handles();
        let save = stream::iter(instances.iter().filter(|instance| instance.is_saved()))
            .map(Instance::checkpoint_fully)
            .buffer_unordered(AT_ONCE)
            .for_each(|result| async move {
                if let Err(error) = result {
                    tracing::debug!(%error, "an instance was not saved before the server stopped");
                }
            });
        if timeout(LAST_CHECKPOINT_DEADLINE, save).await.is_err() {
            tracing::warn!("not all instances were saved in time; they come back as they were saved before");
        }
        self.0.instances().clear();
        for instance in &instances {
            drop(instance.end("the server stops"));
        }
        self.0.ready_list().clear();
        self.0.pool.close().await;
        self.0.registry.close().await;
    }
}

impl Shared {
    /// Stops an instance, also if the caller goes away meanwhile: half stopped it would be of no use, and come back with
    /// the next start.
    pub(crate) async fn stop(self: &Arc<Self>, id: &InstanceId, cause: &str) -> Result<(), BrowserError> {
        let instance = self.instances().get(id).cloned();
        let instance = instance.ok_or_else(|| BrowserError::InstanceNotFound(id.clone()))?;
        let (shared, cause) = (Arc::clone(self), cause.to_owned());
        let stop = async move { shared.stop_now(&instance, &cause).await };
        self.tasks.spawn("browser_stop", stop).await.unwrap_or(Err(BrowserError::Stopping))
    }

    async fn stop_now(&self, instance: &Instance, cause: &str) -> Result<(), BrowserError> {
        if instance.spec().profile.is_some() {
            match instance.checkpoint_fully().await {
                // A Chrome that does not answer has nothing to say that is not saved.
                Err(error @ (BrowserError::Call(_) | BrowserError::InstanceRestarting(_))) => {
                    tracing::warn!(browser.instance = %instance.id(), %error, "a profile was not saved once more");
                }
                result => result?,
            }
        }
        let lease = instance.end(cause);
        let release = async {
            if let Some(lease) = lease.and_then(Arc::into_inner) {
                lease.release().await;
            }
            instance.forget_files().await;
        };
        let id = instance.id();
        let forget = async { if instance.is_saved() { self.registry.delete(id).await } else { Ok(()) } };
        let ((), forgotten) = tokio::join!(release, forget);
        self.instances().remove(id);
        instance.0.set_status(&mut instance.0.state(), InstanceStatus::Stopped, cause);
        self.upkeep.notify_one();
        Ok(forgotten?)
    }

    /// All instances.
    pub(crate) fn handles(&self) -> Vec<Instance> {
        self.instances().values().cloned().collect()
    }

    /// The instance that uses a profile.
    pub(crate) fn user_of(&self, tenant: &Tenant, profile: &ProfileId) -> Option<Instance> {
        let instances = self.instances();
        let uses = |instance: &&Instance| {
            instance.tenant() == tenant && instance.spec().profile.as_ref() == Some(profile)
        };
        instances.values().find(uses).cloned()
    }

    /// A tab id that no tab has.
    pub(crate) fn new_tab_id(&self) -> TabId {
        let instances = self.instances();
        loop {
            let id = TabId::new();
            if !instances.values().any(|instance| instance.has_tab(&id)) {
                return id;
            }
        }
    }

    /// What was made ready. When there is nothing, but something is on its way, one waits for that: it is further on than
    /// whatever one begins now.
    async fn take_ready(&self) -> Option<Ready> {
        let mut ready = self.pop_ready();
        if ready.is_none()
            && self.preparing.try_lock().is_err()
            && let Ok(_first) = self.awaiting_ready.try_lock()
        {
            drop(self.preparing.lock().await);
            ready = self.pop_ready();
        }
        self.upkeep.notify_one();
        ready
    }

    fn pop_ready(&self) -> Option<Ready> {
        let mut list = self.ready_list();
        list.retain(|ready| ready.lease.process().is_alive());
        list.pop()
    }

    pub(crate) fn instances(&self) -> MutexGuard<'_, BTreeMap<InstanceId, Instance>> {
        self.instances.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn ready_list(&self) -> MutexGuard<'_, Vec<Ready>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes one more instance ready, if one is lacking. Whether there was anything to do.
    pub(crate) async fn prepare(self: &Arc<Self>) -> Result<bool, BrowserError> {
        if self.ready_list().len() >= self.options.current().warm {
            return Ok(false);
        }
        let _preparing = self.preparing.lock().await;
        let lease = self.pool.lease(&Placement::SHARED).await?;
        let page = Attached::open(&lease).await?;
        self.ready_list().push(Ready { page, lease });
        Ok(true)
    }
}
