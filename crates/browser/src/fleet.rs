//! The fleet: creates, lists and stops instances, keeps some ready, and heals what crashes.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use metrics::{counter, gauge, histogram};
use paddock_cdp::protocol::target::{GetBrowserContexts, GetTargets, TargetInfoReply};
use paddock_platform::{config::Section, task::Tasks, units::ByteSize};
use tokio::{sync::Notify, time::Instant};

use crate::{
    config::BrowserOptions,
    egress::Egress,
    engine::{Engine, EngineError},
    error::BrowserError,
    gate::Gate,
    ids::{InstanceId, TabId},
    instance::{Instance, InstanceInfo, InstanceSpec, InstanceStatus},
    metrics::{
        BROWSER_INSTANCE_CREATE_DURATION_SECONDS, BROWSER_INSTANCES, BROWSER_PROCESS_RESTARTS_TOTAL,
        BROWSER_WARM_POOL_TOTAL,
    },
    pool::{ContextLease, Isolation, Pool},
    process::Process,
    profile::Profiles,
    tab::{Attached, Tab},
};

/// How often idle processes and changed options are looked for when nothing else happens.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);
/// First and longest wait after a failed attempt to keep an instance ready.
const BACKOFF_MIN: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_mins(1);
/// Pages that appear in one process and wait to be looked at.
const APPEARED_MAX: usize = 256;

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
    instances: Mutex<BTreeMap<InstanceId, Instance>>,
    ready: Mutex<Vec<Ready>>,
    upkeep: Notify,
}

/// An instance's makings, kept for the next one that is asked for.
#[derive(Debug)]
struct Ready {
    /// Before the lease: the page's session ends before its context does.
    page: Attached,
    lease: ContextLease,
}

impl Fleet {
    /// Starts the fleet. A missing or broken Chrome is not an error here, but of whoever needs it.
    pub async fn start(
        options: Section<BrowserOptions>,
        data_dir: &Path,
        tasks: &Tasks,
    ) -> Result<Self, BrowserError> {
        crate::metrics::describe();
        let data_dir = data_dir.to_owned();
        let profiles_dir = data_dir.clone();
        let profiles = tokio::task::spawn_blocking(move || Profiles::open(&profiles_dir))
            .await
            .unwrap_or_else(|error| Err(std::io::Error::other(error)))
            .map_err(BrowserError::Profiles)?;
        let egress = Egress::start(options.map(BrowserOptions::egress), tasks).await?;
        let pool = Pool::new(options.clone(), profiles, egress.clone(), tasks.clone());
        let gate = Gate::new(options.current().navigation_concurrency());
        let shared = Arc::new(Shared {
            options,
            tasks: tasks.clone(),
            data_dir,
            egress,
            pool,
            gate,
            instances: Mutex::default(),
            ready: Mutex::default(),
            upkeep: Notify::new(),
        });
        let weak = Arc::downgrade(&shared);
        shared.pool.watch(move |process| {
            if let Some(shared) = weak.upgrade() {
                shared.tasks.spawn("browser_process_watch", watch(Arc::clone(&shared), process.clone()));
            }
        });
        tasks.spawn("browser_upkeep", upkeep(Arc::clone(&shared)));
        Ok(Self(shared))
    }

    /// The Chrome that it runs, for diagnosis.
    pub fn engine(&self) -> Result<Engine, EngineError> {
        Engine::find(&self.0.options.current())
    }

    /// Creates an instance.
    pub async fn create(&self, spec: InstanceSpec) -> Result<Instance, BrowserError> {
        let started = Instant::now();
        let isolation = spec.isolation;
        self.0.check_memory()?;
        let starting = Starting::enter(&self.0, spec)?;
        let ready = if isolation == Isolation::Context { self.0.take_ready() } else { None };
        let hit = ready.is_some();
        let (lease, page) = match ready {
            Some(Ready { page, lease }) => (lease, Some(page)),
            None => (self.0.pool.lease(isolation).await?, None),
        };
        let instance = starting.begin(lease, page);
        if isolation == Isolation::Context {
            counter!(BROWSER_WARM_POOL_TOTAL, "ready" => if hit { "true" } else { "false" }).increment(1);
        }
        histogram!(BROWSER_INSTANCE_CREATE_DURATION_SECONDS).record(started.elapsed());
        Ok(instance)
    }

    /// The instance of an id.
    pub fn instance(&self, id: &InstanceId) -> Option<Instance> {
        self.0.instances().get(id).cloned()
    }

    /// All instances, of all tenants.
    pub fn instances(&self) -> Vec<InstanceInfo> {
        self.handles().iter().map(Instance::info).collect()
    }

    /// Handles to all instances, of all tenants, oldest first.
    pub fn handles(&self) -> Vec<Instance> {
        let mut handles: Vec<Instance> = self.0.instances().values().cloned().collect();
        handles.sort_by_key(|instance| instance.info().started);
        handles
    }

    /// The tab of an id, whatever its instance.
    pub fn tab(&self, id: &TabId) -> Option<Tab> {
        self.0.instances().values().find_map(|instance| instance.tab(id))
    }

    /// Stops an instance: its tabs, cookies and storage are gone when this returns.
    pub async fn stop(&self, id: &InstanceId) -> Result<(), BrowserError> {
        self.0.stop(id).await
    }

    /// How many instances are ready to be taken.
    pub fn ready(&self) -> usize {
        self.0.ready_list().len()
    }

    /// Process ids of the Chromes that run, for diagnosis.
    pub fn process_ids(&self) -> Vec<i32> {
        self.0.pool.processes().iter().map(Process::pid).collect()
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
            let ready = self
                .0
                .ready_list()
                .iter()
                .filter(|ready| ready.lease.process().pid() == process.pid())
                .count();
            counts.push(infos.iter().filter(|info| info.kind == "page").count().saturating_sub(ready));
        }
        counts
    }

    /// Stops everything and waits until no Chrome process is left. The fleet is of no use afterwards.
    pub async fn shutdown(&self) {
        let instances = std::mem::take(&mut *self.0.instances());
        for instance in instances.values() {
            drop(instance.end());
        }
        self.0.ready_list().clear();
        self.0.pool.close().await;
    }
}

/// An instance in the list that has no context yet; taken out again unless it gets one.
struct Starting<'a> {
    shared: &'a Arc<Shared>,
    instance: Instance,
    begun: bool,
}

impl<'a> Starting<'a> {
    fn enter(shared: &'a Arc<Shared>, spec: InstanceSpec) -> Result<Self, BrowserError> {
        let max = shared.options.current().instances_max;
        let mut instances = shared.instances();
        if instances.len() >= max {
            // A lost instance holds nothing; its report makes room for one that works.
            let lost = instances.iter().find(|(_, instance)| instance.is_lost()).map(|(id, _)| id.clone());
            instances.remove(&lost.ok_or(BrowserError::InstancesExhausted { max })?);
        }
        let mut id = InstanceId::new();
        while instances.contains_key(&id) {
            id = InstanceId::new();
        }
        let instance = Instance::new(id.clone(), spec, Arc::clone(shared));
        instances.insert(id, instance.clone());
        drop(instances);
        shared.count_instances();
        Ok(Self { shared, instance, begun: false })
    }

    fn begin(mut self, lease: ContextLease, page: Option<Attached>) -> Instance {
        self.begun = true;
        self.instance.begin(lease, page);
        self.shared.count_instances();
        self.instance.clone()
    }
}

impl Drop for Starting<'_> {
    fn drop(&mut self) {
        if !self.begun {
            self.shared.instances().remove(self.instance.id());
            self.shared.count_instances();
        }
    }
}

impl Shared {
    pub(crate) async fn stop(&self, id: &InstanceId) -> Result<(), BrowserError> {
        let instance = self.instances().get(id).cloned();
        let instance = instance.ok_or_else(|| BrowserError::InstanceNotFound(id.clone()))?;
        let lease = instance.end();
        self.count_instances();
        if let Some(lease) = lease.and_then(Arc::into_inner) {
            lease.release().await;
        }
        self.instances().remove(id);
        self.count_instances();
        self.upkeep.notify_one();
        Ok(())
    }

    fn take_ready(&self) -> Option<Ready> {
        let ready = {
            let mut list = self.ready_list();
            list.retain(|ready| ready.lease.process().is_alive());
            list.pop()
        };
        self.upkeep.notify_one();
        ready
    }

    fn check_memory(&self) -> Result<(), BrowserError> {
        let floor = self.options.current().memory_floor;
        match memory_available() {
            Some(available) if available < floor => Err(BrowserError::MemoryLow { available, floor }),
            _ => Ok(()),
        }
    }

    fn count_instances(&self) {
        let instances: Vec<Instance> = self.instances().values().cloned().collect();
        for (status, label) in [
            (InstanceStatus::Starting, "starting"),
            (InstanceStatus::Running, "running"),
            (InstanceStatus::Stopping, "stopping"),
            (InstanceStatus::Error, "error"),
        ] {
            let count = instances.iter().filter(|instance| instance.info().status == status).count();
            gauge!(BROWSER_INSTANCES, "state" => label).set(count as f64);
        }
    }

    fn instances(&self) -> MutexGuard<'_, BTreeMap<InstanceId, Instance>> {
        self.instances.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ready_list(&self) -> MutexGuard<'_, Vec<Ready>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes one more instance ready, if one is lacking. Whether there was anything to do.
    async fn prepare(&self) -> Result<bool, BrowserError> {
        if self.ready_list().len() >= self.options.current().warm {
            return Ok(false);
        }
        let lease = self.pool.lease(Isolation::Context).await?;
        let page = Attached::open(&lease).await?;
        self.ready_list().push(Ready { page, lease });
        Ok(true)
    }
}

/// Keeps instances ready and retires idle processes, until the server stops.
async fn upkeep(shared: Arc<Shared>) {
    let stopping = shared.tasks.stop_token();
    let mut backoff = BACKOFF_MIN;
    while !stopping.is_cancelled() {
        let wait = match shared.prepare().await {
            Ok(true) => {
                backoff = BACKOFF_MIN;
                continue;
            }
            Ok(false) => UPKEEP_INTERVAL,
            Err(error) => {
                tracing::warn!(error = paddock_platform::problem::error_chain(&error), "no browser is ready");
                backoff = (backoff * 2).min(BACKOFF_MAX);
                backoff
            }
        };
        shared.pool.retire_idle();
        tokio::select! {
            () = stopping.cancelled() => {}
            () = shared.upkeep.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
    shared.ready_list().clear();
}

/// Follows one process: pages that appear in it, and its end.
async fn watch(shared: Arc<Shared>, process: Process) {
    let mut appeared = process.connection().browser().subscribe(&["Target.targetCreated"], APPEARED_MAX);
    let reason = loop {
        tokio::select! {
            Some(event) = appeared.next() => {
                if let Ok(TargetInfoReply { target_info }) = event.parse()
                    && target_info.kind == "page"
                    && let Some(context_id) = &target_info.browser_context_id
                {
                    let instance = {
                        let instances = shared.instances();
                        instances.values().find(|instance| instance.has_context(&process, context_id)).cloned()
                    };
                    // A context without an instance is one that is kept ready: its page is ours.
                    if let Some(instance) = instance {
                        instance.page_appeared(&target_info.target_id).await;
                    }
                }
            }
            reason = process.ended() => break reason,
        }
    };
    shared.pool.remove(&process);
    if !process.is_expected_to_end() && !shared.tasks.is_stopping() {
        counter!(BROWSER_PROCESS_RESTARTS_TOTAL).increment(1);
        tracing::warn!(browser.pid = process.pid(), reason, "Chrome ended by itself");
    }
    let instances: Vec<Instance> = shared.instances().values().cloned().collect();
    for instance in instances {
        instance.process_ended(&process, &reason);
    }
    shared.ready_list().retain(|ready| ready.lease.process().is_alive());
    shared.count_instances();
    shared.upkeep.notify_one();
}

/// What the kernel believes can be had without swapping.
fn memory_available() -> Option<ByteSize> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(ByteSize::bytes(kib << 10))
}
