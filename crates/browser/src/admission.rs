//! Who may be awake: as many as the options allow and memory has room for, the most recently used first.

use std::{
    cmp::Reverse,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use paddock_platform::health::Memory;

use crate::{
    error::BrowserError,
    fleet::Shared,
    ids::InstanceId,
    instance::{Instance, InstanceStatus},
    pool::{Isolation, Placement},
};

/// Idle instances that hibernate at most to make room for one.
const VICTIMS_MAX: usize = 3;

/// What an instance is expected to need before it is known.
fn estimate(placement: &Placement) -> u64 {
    match (placement.needs_chromium(), placement.isolation) {
        (true, _) => 250 << 20,
        (false, Isolation::Process) => 60 << 20,
        (false, Isolation::Context) => 16 << 20,
    }
}

/// What was promised to instances that are being made and does not show in the measurement yet.
#[derive(Debug, Default)]
pub(crate) struct Promised {
    bytes: AtomicU64,
    /// One looks for room at a time: several would send the same instance to sleep.
    making_room: tokio::sync::Mutex<()>,
    starting: Mutex<usize>,
}

/// Leave to make a context; holds the memory for it until dropped.
#[derive(Debug)]
pub(crate) struct Admitted {
    shared: Arc<Shared>,
    bytes: u64,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.shared.promised.bytes.fetch_sub(self.bytes, Ordering::SeqCst);
        *self.shared.promised.starting() -= 1;
    }
}

impl Promised {
    fn starting(&self) -> std::sync::MutexGuard<'_, usize> {
        self.starting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// Finds room for one more context, of `which` instance if that exists already.
    pub(crate) async fn admit(
        self: &Arc<Self>,
        placement: &Placement,
        which: Option<&InstanceId>,
    ) -> Result<Admitted, BrowserError> {
        let bytes = estimate(placement);
        let refused = match self.try_admit(bytes) {
            Ok(admitted) => return Ok(admitted),
            Err(refused) => refused,
        };
        let _making_room = self.promised.making_room.lock().await;
        let mut refused = match self.try_admit(bytes) {
            Ok(admitted) => return Ok(admitted),
            Err(_) => refused,
        };
        for victim in self.longest_idle(which).into_iter().take(VICTIMS_MAX) {
            let cause = match &refused {
                BrowserError::RunningExhausted { .. } => "made room for another instance",
                _ => "memory is short",
            };
            if let Err(error) = victim.make_room(cause).await {
                tracing::debug!(browser.instance = %victim.id(), %error, "an idle instance did not hibernate");
                continue;
            }
            match self.try_admit(bytes) {
                Ok(admitted) => return Ok(admitted),
                Err(still) => refused = still,
            }
        }
        Err(refused)
    }

    fn try_admit(self: &Arc<Self>, bytes: u64) -> Result<Admitted, BrowserError> {
        let options = self.options.current();
        let mut starting = self.promised.starting();
        let max = options.instances_running_max;
        if self.awake() + *starting >= max {
            return Err(BrowserError::RunningExhausted { max });
        }
        let promised = self.promised.bytes.load(Ordering::SeqCst);
        // Where memory cannot be measured it is not a reason to refuse.
        if let Ok(Memory { available, .. }) = Memory::read() {
            let floor = options.memory_floor;
            if available.get().saturating_sub(promised.saturating_add(bytes)) < floor.get() {
                return Err(BrowserError::MemoryLow { available, floor });
            }
        }
        *starting += 1;
        self.promised.bytes.fetch_add(bytes, Ordering::SeqCst);
        drop(starting);
        Ok(Admitted { shared: Arc::clone(self), bytes })
    }

    /// Instances that have a context.
    fn awake(&self) -> usize {
        self.handles().iter().filter(|instance| instance.0.state().lease.is_some()).count()
    }

    /// Instances that could hibernate, the longest idle first.
    fn longest_idle(&self, but: Option<&InstanceId>) -> Vec<Instance> {
        let mut idle: Vec<_> = self
            .handles()
            .into_iter()
            .filter(|instance| {
                instance.is_saved()
                    && Some(instance.id()) != but
                    && instance.status() == InstanceStatus::Running
            })
            .filter_map(|instance| Some((instance.idle_since()?, instance)))
            .collect();
        idle.sort_by_key(|(since, _)| Reverse(since.elapsed()));
        idle.into_iter().map(|(_, instance)| instance).collect()
    }
}
