//! Follows each Chrome process: pages that appear in it, whether it answers, and its end.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use metrics::counter;
use paddock_cdp::{
    CallError, Event, Subscription,
    protocol::{
        browser::GetVersion,
        target::{GetTargets, TargetInfo, TargetInfoReply},
    },
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::{
    fleet::{AT_ONCE, Shared},
    hibernate::Wanted,
    instance::Instance,
    metrics::{BROWSER_PROCESS_REPLACED_TOTAL, BROWSER_PROCESS_RESTARTS_TOTAL},
    process::Process,
};

/// Pages that appear in one process and wait to be looked at; when there are more, all pages are gone through.
const APPEARED_MAX: usize = 256;
/// Of those, how many are taken in at a time, and how long one may take.
const TAKEN_IN_AT_ONCE: usize = 16;
const TAKE_IN_DEADLINE: Duration = Duration::from_secs(10);
/// How long the instances of a dead process wait for its last words.
const LAST_WORDS_DEADLINE: Duration = Duration::from_secs(1);

/// Follows one process until it is gone.
pub(crate) async fn watch(shared: Arc<Shared>, process: Process) {
    let heartbeat = heartbeat(Arc::clone(&shared), process.clone());
    shared.tasks.spawn("browser_process_heartbeat", heartbeat);
    let mut pages = Pages {
        shared: Arc::clone(&shared),
        process: process.clone(),
        appeared: process.connection().browser().subscribe(&["Target.targetCreated"], APPEARED_MAX),
        places: Arc::new(Semaphore::new(TAKEN_IN_AT_ONCE)),
        dropped: 0,
    };
    tokio::select! {
        () = pages.follow() => {}
        () = process.connection().closed() => {}
    }
    let reason = timeout(LAST_WORDS_DEADLINE, process.ended()).await;
    let reason = reason.unwrap_or_else(|_| "it closed its connection".to_owned());
    shared.pool.remove(&process);
    if !process.is_expected_to_end() && !shared.tasks.is_stopping() {
        counter!(BROWSER_PROCESS_RESTARTS_TOTAL).increment(1);
        tracing::warn!(browser.pid = process.pid(), reason, "Chrome ended by itself");
    }
    shared.ready_list().retain(|ready| ready.lease.process().is_alive());
    restore(&shared, &process, &reason).await;
    shared.upkeep.notify_one();
}

/// Gives the instances that lived in a dead process another context, with their pages.
async fn restore(shared: &Arc<Shared>, process: &Process, reason: &str) {
    if shared.tasks.is_stopping() {
        return;
    }
    let lost: Vec<Instance> =
        shared.handles().into_iter().filter(|instance| instance.process_ended(process, reason)).collect();
    let restore = stream::iter(lost)
        .map(|instance| async move {
            if let Err(error) = instance.ensure(Wanted::Pages).await {
                tracing::warn!(
                    browser.instance = %instance.id(),
                    error = paddock_platform::problem::error_chain(&error),
                    "an instance was not restored; its next use tries again"
                );
            }
        })
        .buffer_unordered(AT_ONCE);
    restore.for_each(|()| std::future::ready(())).await;
}

/// Pages that appear in a process by themselves.
struct Pages {
    shared: Arc<Shared>,
    process: Process,
    appeared: Subscription,
    places: Arc<Semaphore>,
    dropped: u64,
}

impl Pages {
    async fn follow(&mut self) {
        loop {
            // One that is not answered must not hold up the others: each has a task of its own, so many at a time.
            let Ok(place) = Arc::clone(&self.places).acquire_owned().await else { return };
            let Some(event) = self.appeared.next().await else { return };
            if let Some(info) = page_of(&event) {
                self.take_in(info, place);
            }
            if self.appeared.dropped() > self.dropped {
                self.dropped = self.appeared.dropped();
                self.go_through_all().await;
            }
        }
    }

    fn take_in(&self, info: TargetInfo, place: OwnedSemaphorePermit) {
        let Some(context_id) = info.browser_context_id else { return };
        let mut instances = self.shared.handles().into_iter();
        // A context without an instance is one that is kept ready: its page is ours.
        let instance = instances.find(|instance| instance.has_context(&self.process, &context_id));
        let Some(instance) = instance else { return };
        self.shared.tasks.spawn("browser_page_appeared", async move {
            if timeout(TAKE_IN_DEADLINE, instance.page_appeared(&info.target_id)).await.is_err() {
                tracing::debug!(browser.instance = %instance.id(), "a page that appeared does not answer");
            }
            drop(place);
        });
    }

    /// Some pages were not reported: all are looked at.
    async fn go_through_all(&self) {
        let Ok(targets) = self.process.connection().browser().send(&GetTargets {}).await else { return };
        for info in targets.target_infos.into_iter().filter(|info| info.kind == "page") {
            let Ok(place) = Arc::clone(&self.places).acquire_owned().await else { return };
            self.take_in(info, place);
        }
    }
}

fn page_of(event: &Event) -> Option<TargetInfo> {
    let TargetInfoReply { target_info } = event.parse().ok()?;
    (target_info.kind == "page").then_some(target_info)
}

/// Asks a process again and again whether it still answers, and kills one that does not.
async fn heartbeat(shared: Arc<Shared>, process: Process) {
    loop {
        let options = shared.options.current();
        tokio::select! {
            () = process.connection().closed() => return,
            () = tokio::time::sleep(options.heartbeat_interval.get()) => {}
        }
        let answer =
            process.connection().browser().send_within(&GetVersion {}, options.unresponsive_after.get());
        if let Err(CallError::Deadline { .. }) = answer.await {
            counter!(BROWSER_PROCESS_REPLACED_TOTAL, "reason" => "hung").increment(1);
            process.kill_unresponsive();
            return;
        }
    }
}
