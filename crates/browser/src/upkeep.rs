//! What the fleet does without being asked: keeps instances ready, saves what changed, lets idle ones hibernate,
//! replaces processes that have grown too large or too old.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use metrics::{counter, gauge};
use paddock_platform::problem::error_chain;
use tokio::time::Instant;

use crate::{
    config::BrowserOptions,
    error::BrowserError,
    fleet::{AT_ONCE, Shared},
    instance::{Instance, InstanceStatus},
    measure::pss_of,
    metrics::{BROWSER_MEMORY_BYTES, BROWSER_PROCESS_REPLACED_TOTAL},
    pool::Resident,
};

/// How often idle processes and changed options are looked for when nothing else happens.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);
/// How often instances are looked at: whether one is idle for long enough, or has something to save.
const ROUND_INTERVAL: Duration = Duration::from_millis(500);
/// How often the memory of the processes is measured: the kernel works for that.
const MEASURE_INTERVAL: Duration = Duration::from_secs(15);
/// First and longest wait after a failed attempt to keep an instance ready.
const BACKOFF_MIN: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_mins(1);
/// How long an instance must be idle for its process to be taken from under it.
const DRAIN_IDLE_MIN: Duration = Duration::from_secs(2);

/// Starts the tasks.
pub(crate) fn spawn(shared: &Arc<Shared>) {
    shared.tasks.spawn("browser_upkeep", keep_ready(Arc::clone(shared)));
    shared.tasks.spawn("browser_rounds", rounds(Arc::clone(shared)));
    shared.tasks.spawn("browser_measure", measure(Arc::clone(shared)));
}

/// Keeps instances ready and retires idle processes, until the server stops.
async fn keep_ready(shared: Arc<Shared>) {
    let stopping = shared.tasks.stop_token();
    let mut backoff = BACKOFF_MIN;
    let mut retry_at: Option<Instant> = None;
    while !stopping.is_cancelled() {
        // Whoever wakes this early must not cut the wait after a failure short.
        if retry_at.is_none_or(|at| Instant::now() >= at) {
            let prepared = async {
                let ready = shared.prepare().await?;
                Ok::<_, BrowserError>(ready || shared.pool.launch_ahead().await?)
            };
            match prepared.await {
                Ok(true) => {
                    backoff = BACKOFF_MIN;
                    continue;
                }
                Ok(false) => retry_at = None,
                Err(_) if shared.pool.is_closed() => break,
                Err(error) => {
                    tracing::warn!(error = error_chain(&error), "no browser is ready");
                    retry_at = Some(Instant::now() + backoff);
                    backoff = (backoff * 2).min(BACKOFF_MAX);
                }
            }
        }
        shared.pool.retire_idle();
        let next = retry_at.unwrap_or_else(|| Instant::now() + UPKEEP_INTERVAL);
        tokio::select! {
            () = stopping.cancelled() => {}
            () = shared.upkeep.notified() => {}
            () = tokio::time::sleep_until(next) => {}
        }
    }
    shared.ready_list().clear();
}

/// What is due for an instance.
enum Due {
    Checkpoint,
    Hibernation,
    Expiry,
}

/// Looks at every instance again and again.
async fn rounds(shared: Arc<Shared>) {
    let stopping = shared.tasks.stop_token();
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(ROUND_INTERVAL) => {}
        }
        let options = shared.options.current();
        let due: Vec<_> = shared
            .handles()
            .into_iter()
            .filter_map(|instance| Some((due(&options, &instance)?, instance)))
            .collect();
        let mut work = stream::iter(due)
            .map(|(due, instance)| {
                let shared = Arc::clone(&shared);
                async move { attend(&shared, due, &instance).await }
            })
            .buffer_unordered(AT_ONCE);
        while work.next().await.is_some() {}
    }
}

fn due(options: &BrowserOptions, instance: &Instance) -> Option<Due> {
    if !instance.is_saved() {
        return None;
    }
    let unused = jiff::Timestamp::now().duration_since(instance.used_at());
    if instance.is_idle() && unused.unsigned_abs() >= options.expire_after.get() && unused.is_positive() {
        return Some(Due::Expiry);
    }
    if instance.status() != InstanceStatus::Running {
        return None;
    }
    if instance.idle_since().is_some_and(|since| since.elapsed() >= options.hibernate_after.get()) {
        return Some(Due::Hibernation);
    }
    let changed = instance.0.changed_since();
    changed.is_some_and(|since| since.elapsed() >= options.checkpoint_after.get()).then_some(Due::Checkpoint)
}

async fn attend(shared: &Arc<Shared>, due: Due, instance: &Instance) {
    let result = match due {
        Due::Checkpoint => instance.checkpoint().await,
        Due::Hibernation => instance.hibernate("idle").await,
        Due::Expiry => shared.stop(instance.id(), "expired").await,
    };
    match result {
        // Somebody was quicker.
        Ok(()) | Err(BrowserError::InstanceInUse(_) | BrowserError::InstanceStopped(_)) => {}
        Err(error) => {
            // Tried again in the next round that finds it due.
            instance.0.note_change();
            tracing::debug!(browser.instance = %instance.id(), error = error_chain(&error), "upkeep of an instance failed");
        }
    }
}

/// Measures the processes and replaces those that are too large or too old.
async fn measure(shared: Arc<Shared>) {
    let stopping = shared.tasks.stop_token();
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(MEASURE_INTERVAL) => {}
        }
        look_after(&shared).await;
    }
}

pub(crate) async fn look_after(shared: &Arc<Shared>) {
    let residents = shared.pool.residents();
    let groups: BTreeSet<i32> = residents.iter().filter_map(|resident| resident.process.pid()).collect();
    let sizes = pss_of(groups).await;
    gauge!(BROWSER_MEMORY_BYTES).set(sizes.values().sum::<u64>() as f64);
    let options = shared.options.current();
    for Resident { process, age, draining, .. } in residents {
        let memory = process.pid().and_then(|pid| sizes.get(&pid)).copied().unwrap_or(0);
        let reason = if memory > options.process_memory_max.get() {
            "memory"
        } else if age > options.process_age_max.get() {
            "age"
        } else if draining {
            ""
        } else {
            continue;
        };
        if !draining {
            counter!(BROWSER_PROCESS_REPLACED_TOTAL, "reason" => reason).increment(1);
            tracing::info!(browser.pid = process.pid(), reason, memory, "replacing a Chrome process");
            shared.pool.drain(&process);
            shared.ready_list().retain(|ready| !ready.lease.process().is(&process));
        }
        for instance in shared.handles().into_iter().filter(|instance| instance.lives_in(&process)) {
            let idle = instance.idle_since().is_some_and(|since| since.elapsed() >= DRAIN_IDLE_MIN);
            if idle
                && instance.is_saved()
                && instance.hibernate("its Chrome process is replaced").await.is_err()
            {
                tracing::debug!(browser.instance = %instance.id(), "an instance of a process that is replaced is in use");
            }
        }
    }
}
