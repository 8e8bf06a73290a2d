//! The timelines of conversations: written in batches, behind what they tell of.
//!
//! Only messages that name a conversation leave entries, so that those that do not cost nothing here. When more comes than
//! can be written, entries are left out and counted; nothing waits for its own timeline.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use metrics::counter;
use paddock_platform::{
    identity::Tenant,
    params,
    store::{Params, Store, Value as StoreValue},
    task::Tasks,
};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use crate::{
    message::{Label, Message, MessageView},
    metrics::AGENTS_ENTRIES_LOST_TOTAL,
    store,
};

/// Entries that share a transaction at most.
const BATCH_MAX: usize = 1_000;
/// What of a message's content is kept in its entry.
const CONTENT_MAX: usize = 16 << 10;
/// How long entries are gathered before they are written.
const GATHER: Duration = Duration::from_millis(20);

/// What happened in a conversation.
#[derive(Debug)]
pub(crate) struct Note {
    pub(crate) tenant: Tenant,
    pub(crate) conversation: Label,
    pub(crate) kind: &'static str,
    pub(crate) agent: Option<String>,
    pub(crate) what: What,
}

/// The entry itself.
#[derive(Debug)]
pub(crate) enum What {
    /// A message was sent.
    Sent(Arc<Message>),
    /// Something else.
    Value(Value),
}

enum Work {
    Note(Timestamp, Box<Note>),
    Flush(oneshot::Sender<()>),
}

/// Takes notes. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Journal(mpsc::Sender<Work>);

impl Journal {
    pub(crate) fn start(store: Store, pending_max: usize, tasks: &Tasks) -> Self {
        let (sender, receiver) = mpsc::channel(pending_max.max(1));
        let stopping = tasks.stop_token();
        tasks.spawn("agents-journal", run(store, receiver, stopping));
        Self(sender)
    }

    pub(crate) fn note(&self, note: Note) {
        if self.0.try_send(Work::Note(Timestamp::now(), Box::new(note))).is_err() {
            counter!(AGENTS_ENTRIES_LOST_TOTAL).increment(1);
        }
    }

    /// Notes a message that was sent, if it belongs to a conversation.
    pub(crate) fn sent(&self, tenant: &Tenant, message: &Arc<Message>) {
        if let Some(conversation) = &message.conversation {
            let agent = message.sender.agent().map(|name| name.as_str().to_owned());
            self.note(Note {
                tenant: tenant.clone(),
                conversation: conversation.clone(),
                kind: "sent",
                agent,
                what: What::Sent(Arc::clone(message)),
            });
        }
    }

    /// Resolves when everything noted before is in the store.
    pub(crate) async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.0.send(Work::Flush(done)).await.is_ok() {
            let _ = flushed.await;
        }
    }
}

async fn run(
    store: Store,
    mut receiver: mpsc::Receiver<Work>,
    stopping: tokio_util::sync::CancellationToken,
) {
    let mut batch = Vec::new();
    loop {
        let count = tokio::select! {
            biased;
            count = receiver.recv_many(&mut batch, BATCH_MAX) => count,
            () = stopping.cancelled() => {
                receiver.close();
                receiver.recv_many(&mut batch, BATCH_MAX).await
            }
        };
        if count == 0 {
            return;
        }
        // A flush is somebody who waits.
        if !batch.iter().any(|work| matches!(work, Work::Flush(_))) && !stopping.is_cancelled() {
            let _ = stopping.run_until_cancelled(tokio::time::sleep(GATHER)).await;
            while batch.len() < BATCH_MAX
                && let Ok(work) = receiver.try_recv()
            {
                batch.push(work);
            }
        }
        let mut waiting = Vec::new();
        let mut rows = Vec::new();
        for work in batch.drain(..) {
            match work {
                Work::Note(at, note) => rows.push(row(at, &note)),
                Work::Flush(done) => waiting.push(done),
            }
        }
        let lost = rows.len() as u64;
        if lost > 0
            && let Err(error) = store::insert_entries(&store, rows).await
        {
            counter!(AGENTS_ENTRIES_LOST_TOTAL).increment(lost);
            tracing::warn!(%error, entries = lost, "entries of timelines could not be written");
        }
        for done in waiting {
            let _ = done.send(());
        }
    }
}

fn row(at: Timestamp, note: &Note) -> Params {
    let entry = match &note.what {
        What::Value(value) => value.to_string(),
        What::Sent(message) => sent(message).to_string(),
    };
    params![
        &note.tenant,
        note.conversation.as_str(),
        at,
        note.kind,
        note.agent.clone().map_or(StoreValue::Null, StoreValue::Text),
        entry
    ]
}

fn sent(message: &Message) -> Value {
    let mut view = serde_json::to_value(MessageView::from(message)).unwrap_or_default();
    let size = message.content.body.len();
    if size > CONTENT_MAX {
        let start = String::from_utf8_lossy(&message.content.body[..1024]).into_owned();
        view["content"] = json!(format!("{start}… ({size} bytes)"));
        if let Some(view) = view.as_object_mut() {
            view.remove("content_base64");
        }
    }
    view
}
