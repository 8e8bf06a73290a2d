//! From the queue's own events to the server's feed, as long as somebody watches.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use paddock_platform::{
    events::{Events, News, Topic},
    task::Tasks,
};
use serde_json::{Map, Value, json};
use tokio::sync::{
    Notify,
    broadcast::{Receiver, error::RecvError},
};

use crate::{EventKind, JobEvent, JobState, Jobs};

const STATES: Topic = Topic { name: "jobs.states", about: "jobs that come into another state" };
const PROGRESS: Topic = Topic { name: "jobs.progress", about: "how far running jobs are" };
/// How often it is asked whether anybody still watches.
const ASK_INTERVAL: Duration = Duration::from_secs(10);

/// Whether the queue's events are being read.
#[derive(Default)]
struct Source {
    slot: Mutex<Slot>,
    started: Notify,
}

#[derive(Default)]
enum Slot {
    /// Nobody watches.
    #[default]
    Idle,
    /// Somebody has begun to: this has everything from then on.
    Started(Receiver<JobEvent>),
    /// They are being read.
    Running,
}

impl Source {
    /// Called by the feed for the first watcher, before it is let in.
    fn start(&self, jobs: &Jobs) {
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*slot, Slot::Idle) {
            *slot = Slot::Started(jobs.subscribe());
            self.started.notify_one();
        }
    }

    /// What was started, to be read from now on.
    fn take(&self) -> Option<Receiver<JobEvent>> {
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        if !matches!(*slot, Slot::Started(_)) {
            return None;
        }
        match std::mem::replace(&mut *slot, Slot::Running) {
            Slot::Started(receiver) => Some(receiver),
            Slot::Idle | Slot::Running => None,
        }
    }

    fn set(&self, next: Slot) {
        *self.slot.lock().unwrap_or_else(PoisonError::into_inner) = next;
    }
}

/// Publishes what happens to jobs in the server's feed, until the server stops.
pub fn publish(jobs: &Jobs, events: &Events, tasks: &Tasks) {
    let source = Arc::new(Source::default());
    for topic in [STATES, PROGRESS] {
        // Weak: the queue's own areas know the feed.
        let (source, jobs) = (Arc::clone(&source), Arc::downgrade(&jobs.0));
        let start = move || {
            if let Some(core) = jobs.upgrade() {
                source.start(&Jobs(core));
            }
        };
        events.declare_on_demand(topic, Arc::new(start));
    }
    let (jobs, events, stopping) = (jobs.clone(), events.clone(), tasks.stop_token());
    tasks.spawn("jobs_events", async move {
        let _ = stopping.run_until_cancelled(run(&source, &jobs, &events)).await;
    });
}

async fn run(source: &Source, jobs: &Jobs, events: &Events) {
    loop {
        source.started.notified().await;
        // A notice may be left over from a start that was taken up already.
        if let Some(receiver) = source.take() {
            forward(source, receiver, jobs, events).await;
        }
    }
}

/// Until nobody wants them any more; then the slot is idle, or started anew.
async fn forward(source: &Source, mut receiver: Receiver<JobEvent>, jobs: &Jobs, events: &Events) {
    let mut ask = tokio::time::interval(ASK_INTERVAL);
    loop {
        let received = tokio::select! {
            received = receiver.recv() => received,
            _ = ask.tick() => {
                // First idle, then asked: whoever comes in between starts it anew or is seen by the question.
                source.set(Slot::Idle);
                let wanted = [STATES, PROGRESS].map(|topic| events.is_wanted(topic.name));
                if !wanted.contains(&true) {
                    return;
                }
                source.set(Slot::Running);
                continue;
            }
        };
        match received {
            Ok(event) => tell(event, jobs, events).await,
            Err(RecvError::Lagged(missed)) => {
                tracing::warn!(missed, "events of jobs came faster than they could be told");
                events.lagged(STATES.name, missed);
                events.lagged(PROGRESS.name, missed);
            }
            Err(RecvError::Closed) => return,
        }
    }
}

async fn tell(event: JobEvent, jobs: &Jobs, events: &Events) {
    match &event.what {
        EventKind::State(state) => publish_state(&event, *state, event.attempt, event.sequence, events),
        EventKind::Progress(progress) => {
            let data =
                json!({ "attempt": event.attempt, "progress": progress.as_ref(), "changes": event.sequence });
            publish_one(&event, PROGRESS, "progress", data, events);
        }
        // Of another server's event only that it happened is known here. A job that is gone tells nothing.
        EventKind::Changed => {
            if let Ok(job) = jobs.get(&event.tenant, event.id).await {
                publish_state(&event, job.state, job.attempt, job.changes, events);
            }
        }
    }
}

fn publish_state(event: &JobEvent, state: JobState, attempt: u32, changes: u64, events: &Events) {
    let parent = event.parent.as_deref();
    let data = json!({ "state": state, "attempt": attempt, "changes": changes, "parent": parent });
    publish_one(event, STATES, "state", data, events);
}

fn publish_one(event: &JobEvent, topic: Topic, kind: &'static str, data: Value, events: &Events) {
    let about = vec![
        ("job", Arc::from(event.id.to_string())),
        ("queue", Arc::clone(&event.queue)),
        ("kind", Arc::clone(&event.kind)),
    ];
    let data = if let Value::Object(data) = data { data } else { Map::new() };
    events.publish(News { tenant: Some(event.tenant.clone()), topic: topic.name, kind, about, data });
}
