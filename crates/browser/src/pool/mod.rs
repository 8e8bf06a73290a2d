//! Which process an instance's context lives in.
//!
//! Shared processes are filled up one after another, so that few run. A [`ContextLease`] is a context's place in one:
//! dropping it disposes the context, whatever became of its owner.

mod lease;

use std::{
    num::NonZeroUsize,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::available_parallelism,
    time::Duration,
};

use paddock_cdp::{
    CallError,
    protocol::target::{CreateBrowserContext, GetBrowserContexts, GetTargets},
};
use paddock_platform::{config::Section, task::Tasks};
use tokio::{sync::Semaphore, time::Instant};

pub(crate) use self::lease::ContextLease;
use self::lease::Hold;
use crate::{
    config::BrowserOptions,
    display::Displays,
    egress::{Destination, Door, Egress, NO_BYPASS},
    engine::Engine,
    error::BrowserError,
    instance::InstanceSpec,
    process::{LaunchOptions, Process},
    profile::Profiles,
};

/// How long a process without a context is kept when another has room.
const SPARE_IDLE_MAX: Duration = Duration::from_secs(5);

/// The share of a process's places, and how many at most, that are to be free somewhere: the next process is started
/// before somebody has to wait for it.
const RESERVE_SHARE: usize = 5;
const RESERVE_MAX: usize = 5;

/// Whether an instance shares its Chrome process.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
    utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// A context in a shared process: own cookies, storage and renderers; some 15 MB and 35 ms.
    #[default]
    Context,
    /// A process of its own: no other instance's crash reaches it; some 40 MB and 120 ms.
    Process,
}

/// Where a context is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placement {
    pub(crate) isolation: Isolation,
    /// With windows, on a display.
    pub(crate) headed: bool,
    /// Extensions that run there.
    pub(crate) extensions: Vec<PathBuf>,
    /// The only hosts that it may reach; all that the egress allows if empty.
    pub(crate) allowed_hosts: Vec<Destination>,
}

impl Placement {
    pub(crate) const SHARED: Self = Self {
        isolation: Isolation::Context,
        headed: false,
        extensions: Vec::new(),
        allowed_hosts: Vec::new(),
    };

    pub(crate) fn of(spec: &InstanceSpec) -> Self {
        let alone = spec.headed || !spec.extensions.is_empty();
        Self {
            isolation: if alone { Isolation::Process } else { spec.isolation },
            headed: spec.headed,
            extensions: spec.extensions.clone(),
            allowed_hosts: spec.allowed_hosts.clone(),
        }
    }

    /// Whether only the full browser will do.
    pub(crate) fn needs_chromium(&self) -> bool {
        self.headed || !self.extensions.is_empty()
    }
}

/// All Chrome processes of a fleet.
#[derive(Clone, Debug)]
pub(crate) struct Pool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: Section<BrowserOptions>,
    profiles: Profiles,
    egress: Egress,
    tasks: Tasks,
    processes: Mutex<Vec<Slot>>,
    /// One launch of a shared process at a time: those who wait for it mostly share it.
    launching: tokio::sync::Mutex<()>,
    /// Launches under way: more than the processors can take only make each of them slower.
    launches: Semaphore,
    displays: Displays,
    closed: AtomicBool,
    /// Called with each process that was started; set once by the fleet.
    watch: OnceLock<Watch>,
}

type WatchFn = dyn Fn(&Process) + Send + Sync;

struct Watch(Box<WatchFn>);

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watch")
    }
}

#[derive(Debug)]
struct Slot {
    process: Process,
    shared: bool,
    contexts: usize,
    idle_since: Option<Instant>,
    started: Instant,
    /// Takes no further context, and ends with its last one.
    draining: bool,
}

/// A process as those see it who look after it.
#[derive(Clone, Debug)]
pub(crate) struct Resident {
    pub(crate) process: Process,
    pub(crate) age: Duration,
    pub(crate) draining: bool,
}

/// A place in a process, before there is a context; gives the place back when dropped.
#[derive(Debug)]
struct Place {
    pool: Pool,
    process: Process,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.pool.leave(&self.process);
    }
}

impl Pool {
    pub(crate) fn new(
        options: Section<BrowserOptions>,
        profiles: Profiles,
        egress: Egress,
        tasks: Tasks,
    ) -> Self {
        let displays = Displays::new(profiles.clone(), tasks.clone());
        Self(Arc::new(Inner {
            options,
            profiles,
            egress,
            tasks,
            processes: Mutex::default(),
            launching: tokio::sync::Mutex::default(),
            launches: Semaphore::new(2 * available_parallelism().map_or(2, NonZeroUsize::get)),
            displays,
            closed: AtomicBool::new(false),
            watch: OnceLock::new(),
        }))
    }

    /// Has each process that starts shown to `watch`.
    pub(crate) fn watch(&self, watch: impl Fn(&Process) + Send + Sync + 'static) {
        self.0.watch.set(Watch(Box::new(watch))).ok();
    }

    /// A new, empty context. A caller who goes away meanwhile leaves nothing behind: the context is disposed when it
    /// is there.
    pub(crate) async fn lease(&self, placement: &Placement) -> Result<ContextLease, BrowserError> {
        let (pool, placement) = (self.clone(), placement.clone());
        let lease = async move { pool.lease_now(&placement).await };
        self.0.tasks.spawn("browser_lease", lease).await.unwrap_or(Err(BrowserError::Stopping))
    }

    async fn lease_now(&self, placement: &Placement) -> Result<ContextLease, BrowserError> {
        let place = match placement.isolation {
            Isolation::Context => self.shared_place().await?,
            Isolation::Process => self.launch(placement).await?,
        };
        let process = place.process.clone();
        let browser = process.connection().browser();
        // Extensions do not run in contexts that are made: those are Chrome's incognito windows.
        let is_default = !placement.extensions.is_empty();
        debug_assert!(
            !is_default || placement.allowed_hosts.is_empty(),
            "the default context has no way out of its own"
        );
        let door = if placement.allowed_hosts.is_empty() {
            None
        } else {
            Some(self.0.egress.open_door(placement.allowed_hosts.clone().into()).await?)
        };
        let context_id = if is_default {
            default_context(&process).await?
        } else {
            let proxy = door.as_ref().map(Door::proxy_server);
            let create = CreateBrowserContext {
                proxy_server: proxy.as_deref(),
                proxy_bypass_list: proxy.as_ref().map(|_| NO_BYPASS),
                ..CreateBrowserContext::default()
            };
            let created = browser.send(&create).await;
            created.map_err(|error| hung(&process, error))?.browser_context_id
        };
        let hold = match placement.isolation {
            Isolation::Context => Hold::Context(place),
            Isolation::Process => Hold::Process(place),
        };
        let lease =
            ContextLease::new(process, context_id.into(), is_default, hold, door, self.0.tasks.clone());
        tokio::try_join!(lease.grant(&[]), lease.refuse_downloads())?;
        Ok(lease)
    }

    async fn shared_place(&self) -> Result<Place, BrowserError> {
        if let Some(place) = self.free_place() {
            return Ok(place);
        }
        let _launching = self.0.launching.lock().await;
        match self.free_place() {
            Some(place) => Ok(place),
            None => self.launch(&Placement::SHARED).await,
        }
    }

    /// The fullest shared process that has room.
    fn free_place(&self) -> Option<Place> {
        let contexts_max = self.0.options.current().contexts_per_process_max.get();
        let mut slots = self.slots();
        let slot = slots
            .iter_mut()
            .filter(|slot| {
                slot.shared && !slot.draining && slot.contexts < contexts_max && slot.process.is_alive()
            })
            .max_by_key(|slot| slot.contexts)?;
        slot.contexts += 1;
        slot.idle_since = None;
        Some(Place { pool: self.clone(), process: slot.process.clone() })
    }

    /// Starts a shared process if those that run are almost full. Whether there was anything to do.
    pub(crate) async fn launch_ahead(&self) -> Result<bool, BrowserError> {
        if !self.is_almost_full() {
            return Ok(false);
        }
        let _launching = self.0.launching.lock().await;
        if self.is_almost_full() {
            // Its place is given back at once.
            drop(self.launch(&Placement::SHARED).await?);
        }
        Ok(true)
    }

    fn is_almost_full(&self) -> bool {
        let contexts_max = self.0.options.current().contexts_per_process_max.get();
        let slots = self.slots();
        let open = slots.iter().filter(|slot| slot.shared && !slot.draining && slot.process.is_alive());
        let places: Vec<usize> = open.map(|slot| contexts_max.saturating_sub(slot.contexts)).collect();
        !places.is_empty() && places.iter().sum::<usize>() < reserve(contexts_max)
    }

    async fn launch(&self, placement: &Placement) -> Result<Place, BrowserError> {
        let _turn = self.0.launches.acquire().await.map_err(|_| BrowserError::Stopping)?;
        let options = self.0.options.current();
        let launch = LaunchOptions {
            engine: if placement.needs_chromium() { Engine::full(&options) } else { Engine::find(&options) }?,
            profiles: self.0.profiles.clone(),
            unresponsive_after: options.unresponsive_after.get(),
            headed: placement.headed,
            extensions: placement.extensions.clone(),
            arguments: self.0.egress.chromium_arguments().into(),
            variables: if placement.headed { self.0.displays.variables().await? } else { Vec::new() },
        };
        if self.is_closed() {
            return Err(BrowserError::Stopping);
        }
        let process = Process::launch(&launch, &self.0.tasks).await?;
        self.slots().push(Slot {
            process: process.clone(),
            shared: placement.isolation == Isolation::Context,
            contexts: 1,
            idle_since: None,
            started: Instant::now(),
            draining: false,
        });
        if self.is_closed() {
            // Closed meanwhile, perhaps before the process was in the list.
            process.kill();
            process.ended().await;
            return Err(BrowserError::Stopping);
        }
        let place = Place { pool: self.clone(), process };
        if let Some(Watch(watch)) = self.0.watch.get() {
            watch(&place.process);
        }
        Ok(place)
    }

    fn leave(&self, process: &Process) {
        let mut slots = self.slots();
        let Some(slot) = slots.iter_mut().find(|slot| slot.process.is(process)) else { return };
        slot.contexts = slot.contexts.saturating_sub(1);
        if slot.contexts > 0 {
            return;
        }
        slot.idle_since = Some(Instant::now());
        if !slot.shared || slot.draining {
            slot.process.kill();
        }
    }

    /// Lets a process take no further context; it ends when its last one is gone.
    pub(crate) fn drain(&self, process: &Process) {
        let mut slots = self.slots();
        if let Some(slot) = slots.iter_mut().find(|slot| slot.process.is(process)) {
            slot.draining = true;
            if slot.contexts == 0 {
                slot.process.kill();
            }
        }
    }

    /// How the processes are.
    pub(crate) fn residents(&self) -> Vec<Resident> {
        let resident = |slot: &Slot| Resident {
            process: slot.process.clone(),
            age: slot.started.elapsed(),
            draining: slot.draining,
        };
        self.slots().iter().map(resident).collect()
    }

    /// Forgets a process that ended.
    pub(crate) fn remove(&self, process: &Process) {
        self.slots().retain(|slot| !slot.process.is(process));
    }

    /// Ends the shared processes that have been without a context for longer than `idle_after`, and sooner than that
    /// those that nobody will miss, because another has room.
    pub(crate) fn retire_idle(&self) {
        let options = self.0.options.current();
        let (idle_after, contexts_max) = (options.idle_after.get(), options.contexts_per_process_max.get());
        let slots = self.slots();
        let roomy = |slot: &&Slot| {
            let places = contexts_max.saturating_sub(slot.contexts);
            slot.shared && !slot.draining && places >= reserve(contexts_max).max(1)
        };
        let mut others = slots.iter().filter(roomy).count();
        for slot in slots.iter().filter(|slot| slot.contexts == 0 && slot.process.is_alive()) {
            let wait = if others > 1 { idle_after.min(SPARE_IDLE_MAX) } else { idle_after };
            if slot.idle_since.is_some_and(|since| since.elapsed() >= wait) {
                slot.process.kill();
                others = others.saturating_sub(1);
            }
        }
    }

    /// Whether no process is started any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.closed.load(Ordering::SeqCst) || self.0.tasks.is_stopping()
    }

    /// Kills all processes and waits until they are gone; none is started any more.
    pub(crate) async fn close(&self) {
        self.0.closed.store(true, Ordering::SeqCst);
        let processes: Vec<Process> = self.slots().iter().map(|slot| slot.process.clone()).collect();
        for process in &processes {
            process.kill();
        }
        for process in &processes {
            process.ended().await;
        }
    }

    /// The processes that run.
    pub(crate) fn processes(&self) -> Vec<Process> {
        self.slots().iter().map(|slot| slot.process.clone()).collect()
    }

    fn slots(&self) -> MutexGuard<'_, Vec<Slot>> {
        self.0.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Places that are to be free.
fn reserve(contexts_max: usize) -> usize {
    (contexts_max / RESERVE_SHARE).min(RESERVE_MAX)
}

/// The id of the context that a Chrome has by itself.
pub(crate) async fn default_context(process: &Process) -> Result<String, BrowserError> {
    let browser = process.connection().browser();
    let contexts = browser.send(&GetBrowserContexts {}).await.map_err(|error| hung(process, error))?;
    if let Some(id) = contexts.default_browser_context_id {
        return Ok(id);
    }
    // Older ones do not say: it is the one that was not made.
    let targets = browser.send(&GetTargets {}).await.map_err(|error| hung(process, error))?;
    let mut of_pages = targets.target_infos.into_iter().filter_map(|info| info.browser_context_id);
    let default = of_pages.find(|id| !contexts.browser_context_ids.contains(id));
    default.ok_or(BrowserError::Malformed("default context"))
}

/// A browser process that misses a deadline of its own (no page is involved) is hung: it is killed. One that is heard of
/// meanwhile is not: the answer waits behind what some page floods the pipe with.
pub(crate) fn hung(process: &Process, error: CallError) -> BrowserError {
    let silence = process.connection().silence();
    if matches!(error, CallError::Deadline { deadline, .. } if silence >= deadline / 2) {
        process.kill_unresponsive();
    }
    BrowserError::Call(error)
}
