//! Agents that are WebAssembly components.
//!
//! ```text
//! component ─ inspect ─ compile or map ─ describe ─▶ Module ─ handler() ─▶ agent ─ start, handle ─▶ instance
//! ```
//! A component ([`Module`]) implements the world of `sdk/wit/agent.wit` and has no other authority: what it imports
//! beyond that is refused when it is deployed. Its code is compiled once, kept on disk and mapped. Each agent has an
//! instance of its own, made in microseconds as a copy-on-write image of the module's memory.
//!
//! # What bounds an agent
//! - **Computing.** A clock ticks every `slice`. A turn that is not done within its first slice takes turns with others
//!   of its kind (the module `gate`) until it is done or has computed for its `call_max`; then it is cut off. The clock only ever ends
//!   slices: whom it cuts off is decided by each agent's own count.
//! - **Waiting.** A turn, tool calls included, ends after `turn_max`.
//! - **Memory and tables**, by the pool and per agent.
//! - **What it sends and keeps**, by its [`Turn`](crate::turn::Turn).
//!
//! # What bounds all of them
//! Live instances have a bound, for each of their memories takes four of the mappings that a process may have. At the
//! bound the instance that was idle for longest is put aside: dropped, with its snapshot taken if it exports one. Its
//! agent gets a new instance with its next message and does not notice, but that `init` is called again. All that an
//! agent has to remember is in its state, which the runtime commits with the messages that it sent.

use std::{
    collections::HashMap,
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use paddock_platform::{health::Memory, task::Tasks, units::ByteSize};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::MissedTickBehavior,
};
use wasmtime::{
    Engine,
    component::{HasSelf, Linker},
};

use self::{bindings::Agent, cache::CodeCache, engine::Clock, gate::Gate, guest::Guest, warm::Warm};
use crate::handler::Failure;

pub mod metrics;
pub mod project;

mod bindings;
mod cache;
mod convert;
mod engine;
mod error;
mod gate;
mod guest;
mod handler;
mod inspect;
mod instance;
mod module;
mod options;
#[cfg(test)]
mod tests;
mod warm;

pub use self::{
    error::{COMPONENT_INVALID, WasmError},
    module::{Description, Module},
    options::{Limits, WasmOptions},
};

/// Runs agents that are components. Cheap to clone.
#[derive(Clone)]
pub struct Wasm {
    host: Arc<Host>,
    tasks: Tasks,
}

/// What all instances share.
pub(crate) struct Host {
    options: WasmOptions,
    engine: Engine,
    linker: Linker<Guest>,
    clock: Clock,
    gate: Arc<Gate>,
    warm: Arc<Warm>,
    calls: Semaphore,
    describing: Semaphore,
    /// One component after the other: compiling takes a core.
    compiling: Semaphore,
    cache: CodeCache,
    prepared: Mutex<HashMap<String, Module>>,
    preparing: Mutex<HashMap<String, Preparing>>,
}

/// Modules that are kept without an agent that uses them.
const MODULES_IDLE_MAX: usize = 256;

type Preparing = Shared<BoxFuture<'static, Result<Module, WasmError>>>;

impl fmt::Debug for Wasm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.host.fmt(f)
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wasm").field("warm", &self.warm.used()).finish_non_exhaustive()
    }
}

impl Wasm {
    /// Sets the engine up. `cache` is a directory for compiled code.
    pub fn start(options: WasmOptions, cache: PathBuf, tasks: &Tasks) -> Result<Self, WasmError> {
        let memories = engine::memories_max(&options);
        if memories < options.instances_max {
            tracing::warn!(
                kept = memories,
                wanted = options.instances_max,
                "fewer agents are kept ready than configured; raise the sysctl `vm.max_map_count`"
            );
        }
        let engine = engine::engine(&options, memories)?;
        let mut linker = Linker::new(&engine);
        Agent::add_to_linker::<_, HasSelf<_>>(&mut linker, |guest: &mut Guest| guest)
            .map_err(|error| WasmError::engine(&error))?;
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let host = Arc::new(Host {
            cache: CodeCache::open(cache, &engine, options.cache_max.get())?,
            clock: Clock::start(&engine, options.slice.get())?,
            gate: Gate::new(threads / 2),
            warm: Warm::new(memories),
            calls: Semaphore::new(options.calls_max.max(1) as usize),
            describing: Semaphore::new(2),
            compiling: Semaphore::new(1),
            prepared: Mutex::default(),
            preparing: Mutex::default(),
            linker,
            engine,
            options,
        });
        let (watched, stopping) = (Arc::downgrade(&host), tasks.clone());
        tasks.spawn("agents-wasm-memory", async move {
            tokio::select! {
                () = stopping.stopping() => {}
                () = keep_memory_free(Weak::clone(&watched)) => {}
            }
            // Modules and host hold each other.
            if let Some(host) = watched.upgrade() {
                host.prepared().clear();
            }
        });
        Ok(Self { host, tasks: tasks.clone() })
    }

    /// A component as a module: compiled, or mapped when it was compiled before; checked, and asked what it is.
    pub async fn prepare(&self, component: Bytes) -> Result<Module, WasmError> {
        let (size, max) = (ByteSize::bytes(component.len() as u64), self.host.options.component_max);
        if size > max {
            return Err(WasmError::TooLarge { size, max });
        }
        inspect::inspect(&component, self.host.options.memory_max)?;
        let digest = blake3::hash(&component).to_hex().to_string();
        if let Some(module) = self.prepared(&digest) {
            return Ok(module);
        }
        let preparing = self.preparing(digest, component)?;
        match tokio::time::timeout(self.host.options.compile_max.get(), preparing).await {
            Ok(outcome) => outcome,
            Err(_) => Err(WasmError::StillCompiling),
        }
    }

    /// The module of this digest, if it is in use or was prepared lately.
    pub fn prepared(&self, digest: &str) -> Option<Module> {
        self.host.prepared().get(digest).cloned()
    }

    /// What several callers may wait for.
    fn preparing(&self, digest: String, component: Bytes) -> Result<Preparing, WasmError> {
        let mut preparing = self.host.preparing();
        if let Some(underway) = preparing.get(&digest) {
            return Ok(underway.clone());
        }
        if preparing.len() >= self.host.options.compiles_max {
            return Err(WasmError::TooManyCompiles(preparing.len()));
        }
        let host = Arc::clone(&self.host);
        let key = digest.clone();
        let task = self.tasks.spawn("agents-wasm-compile", async move {
            let outcome = host.compile(key.clone(), component).await;
            if let Ok(module) = &outcome {
                host.keep(module);
            }
            host.preparing().remove(&key);
            outcome
        });
        let waiting = task
            .map(|ended| ended.unwrap_or_else(|_| Err(WasmError::Engine("the compiler failed".to_owned()))))
            .boxed()
            .shared();
        preparing.insert(digest, waiting.clone());
        Ok(waiting)
    }
}

impl Host {
    fn prepared(&self) -> MutexGuard<'_, HashMap<String, Module>> {
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, module: &Module) {
        let mut prepared = self.prepared();
        // Those beyond the bound that nobody uses; they are mapped again when they are asked for.
        let mut idle = prepared.values().filter(|module| module.is_idle()).count();
        prepared.retain(|_, module| {
            let goes = idle >= MODULES_IDLE_MAX && module.is_idle();
            idle -= usize::from(goes);
            !goes
        });
        prepared.insert(module.digest().to_owned(), module.clone());
    }

    fn preparing(&self) -> MutexGuard<'_, HashMap<String, Preparing>> {
        self.preparing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn compile(self: &Arc<Self>, digest: String, bytes: Bytes) -> Result<Module, WasmError> {
        let gone = || WasmError::Engine("shut down".to_owned());
        let _turn = self.compiling.acquire().await.map_err(|_| gone())?;
        let (host, key) = (Arc::clone(self), digest.clone());
        let compiled = tokio::task::spawn_blocking(move || host.cache.code(&host.engine, &key, &bytes));
        let component =
            compiled.await.map_err(|_| WasmError::Engine("the compiler panicked".to_owned()))??;
        Module::new(Arc::clone(self), component, digest).await
    }

    /// A place among the calls in progress; each has a stack of its own.
    async fn call(&self) -> Result<SemaphorePermit<'_>, Failure> {
        self.calls.acquire().await.map_err(|_| Failure::retryable("the server shuts down"))
    }
}

/// How often the machine's memory is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Puts idle instances aside while memory is short, a sixteenth of them at a time.
async fn keep_memory_free(host: Weak<Host>) {
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let Some(host) = host.upgrade() else { return };
        let used = host.warm.used();
        if used == 0 || !Memory::read().is_ok_and(|memory| memory.available < host.options.memory_floor) {
            continue;
        }
        for _ in 0..(used / 16).max(1) {
            if !host.warm.put_one_aside("memory").await {
                break;
            }
        }
    }
}
