//! The one engine: what it is told, how large its pool is, and the clock that ends slices.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, Thread},
    time::Duration,
};

use wasmtime::{Config, Engine, EngineWeak, PoolingAllocationConfig};

use super::{error::WasmError, guest::TABLE_ELEMENTS_MAX, options::WasmOptions};

/// Mappings that a memory of a running agent takes: its image, what was written of it, what it may grow to, its guard.
const MAPS_PER_MEMORY: u64 = 4;
/// Mappings left for everything else in this process.
const MAPS_RESERVED: u64 = 8_192;
/// Memories of agents that are being described, beside those that are kept.
pub(super) const MEMORIES_SPARE: u32 = 64;
/// Modules that one component is linked of.
pub(super) const CORE_INSTANCES_MAX: u32 = 128;
/// Stacks beside those of calls: for agents that are described or asked for a snapshot.
const STACKS_SPARE: u32 = 64;

/// How many memories may be kept: as configured, or as many as the machine lets one process map.
pub(super) fn memories_max(options: &WasmOptions) -> u32 {
    let mapped =
        fs::read_to_string("/proc/sys/vm/max_map_count").ok().and_then(|text| text.trim().parse().ok());
    fitting(options.instances_max, mapped.unwrap_or(65_530), options.calls_max)
}

fn fitting(wanted: u32, maps_max: u64, calls_max: u32) -> u32 {
    let stacks = 2 * u64::from(calls_max + STACKS_SPARE);
    let left = maps_max.saturating_sub(MAPS_RESERVED + stacks) / MAPS_PER_MEMORY;
    let left = left.saturating_sub(u64::from(MEMORIES_SPARE));
    wanted.min(u32::try_from(left).unwrap_or(u32::MAX)).max(1)
}

pub(super) fn engine(options: &WasmOptions, memories: u32) -> Result<Engine, WasmError> {
    let total = memories.saturating_add(MEMORIES_SPARE);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_memories(total)
        .total_tables(total.saturating_mul(2))
        // These two are counts and take no room by themselves; an interpreter is linked of dozens of modules.
        .total_component_instances(total)
        .total_core_instances(total.saturating_mul(CORE_INSTANCES_MAX))
        .total_stacks(options.calls_max.saturating_add(STACKS_SPARE))
        .max_memory_size(options.memory_max.as_usize())
        .max_core_instances_per_component(CORE_INSTANCES_MAX)
        .max_memories_per_component(8)
        .max_tables_per_component(16)
        .max_component_instance_size(4 << 20)
        .max_core_instance_size(4 << 20)
        .table_elements(TABLE_ELEMENTS_MAX)
        .max_unused_warm_slots(MEMORIES_SPARE);
    let mut config = Config::new();
    config
        .allocation_strategy(pool)
        .epoch_interruption(true)
        .consume_fuel(options.fuel)
        // The same figures everywhere, where that is asked for.
        .cranelift_nan_canonicalization(options.fuel);
    Engine::new(&config).map_err(|error| {
        let asked = options.memory_max;
        let detail = super::error::one_line(&error);
        WasmError::Engine(format!(
            "{detail} (room for {total} memories of up to {asked}; less is asked for with `agents.wasm.instances_max`)"
        ))
    })
}

/// Counts the calls in progress; the clock stands still while there are none.
#[derive(Debug)]
pub(super) struct Clock {
    calls: Arc<Calls>,
    thread: Thread,
}

#[derive(Debug, Default)]
struct Calls {
    running: AtomicUsize,
    asleep: AtomicBool,
}

/// A call in progress.
#[derive(Debug)]
pub(super) struct Running<'a>(&'a Calls);

impl Clock {
    /// Starts the clock on a thread of its own: agents that loop may hold every thread of the runtime.
    pub(super) fn start(engine: &Engine, tick: Duration) -> Result<Self, WasmError> {
        let calls = Arc::<Calls>::default();
        let ticking = Arc::clone(&calls);
        let engine = engine.weak();
        let thread = thread::Builder::new()
            .name("agents-clock".to_owned())
            .spawn(move || run(&engine, tick, &ticking))
            .map_err(|error| WasmError::Engine(format!("no thread for the clock: {error}")))?;
        Ok(Self { calls, thread: thread.thread().clone() })
    }

    pub(super) fn run(&self) -> Running<'_> {
        self.calls.running.fetch_add(1, Ordering::SeqCst);
        if self.calls.asleep.load(Ordering::SeqCst) {
            self.thread.unpark();
        }
        Running(&self.calls)
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        // Lets the thread see that the engine is gone.
        self.thread.unpark();
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Ticks without a call after which the clock stops.
const IDLE_TICKS: u32 = 64;
/// How long it stays asleep at most: then it looks whether there is an engine.
const ASLEEP_MAX: Duration = Duration::from_secs(5);

fn run(engine: &EngineWeak, tick: Duration, calls: &Calls) {
    let mut idle = 0;
    loop {
        if idle < IDLE_TICKS {
            thread::sleep(tick);
        } else {
            calls.asleep.store(true, Ordering::SeqCst);
            // Whoever came before the line above was not seen to wake anybody.
            if calls.running.load(Ordering::SeqCst) == 0 {
                thread::park_timeout(ASLEEP_MAX);
            }
            calls.asleep.store(false, Ordering::SeqCst);
        }
        let Some(engine) = engine.upgrade() else { return };
        engine.increment_epoch();
        idle = if calls.running.load(Ordering::SeqCst) == 0 { idle + 1 } else { 0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_machine_maps_bounds_what_is_kept() {
        assert_eq!(fitting(12_000, 65_530, 512), 12_000);
        assert_eq!(fitting(100_000, 65_530, 512), 13_982);
        assert_eq!(fitting(12_000, 1 << 20, 512), 12_000);
        assert_eq!(fitting(12_000, 4_096, 512), 1);
    }
}
