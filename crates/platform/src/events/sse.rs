//! Events over server-sent events.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::response::{
    IntoResponse, Response,
    sse::{self, KeepAlive, Sse},
};
use futures_util::{StreamExt, stream};
use metrics::counter;
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;

use super::{Event, Events, Watch, feed::LAGGED, metrics::EVENTS_MISSED_TOTAL};

/// How often a silent stream shows that it lives.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);

/// What `event:` says: what a listener of an `EventSource` is registered for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// The event's topic.
    Topic,
    /// The event's type.
    Kind,
}

/// What a watcher is sent next.
pub(super) enum Sent {
    /// An event.
    Event(Arc<Event>),
    /// Events were missed, this many if that is known: whoever keeps a picture has to look at the real thing again.
    Lagged(Option<u64>),
}

impl Watch {
    /// What is sent first.
    pub(super) fn take_first(&mut self) -> Vec<Sent> {
        let lost = self.lost.then_some(Sent::Lagged(None));
        lost.into_iter().chain(self.missed.drain(..).map(Sent::Event)).collect()
    }

    /// What is sent next; `None` when there will be nothing any more.
    pub(super) async fn next(&mut self) -> Option<Sent> {
        loop {
            match self.events.recv().await {
                Ok(event) if self.filter.admits(&event) => return Some(Sent::Event(event)),
                Ok(_) => {}
                Err(RecvError::Lagged(missed)) => {
                    counter!(EVENTS_MISSED_TOTAL).increment(missed);
                    return Some(Sent::Lagged(Some(missed)));
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

impl Sent {
    /// The text of a `lagged` event.
    pub(super) fn lagged_text(missed: Option<u64>) -> String {
        json!({ "type": LAGGED, "missed": missed }).to_string()
    }
}

impl Events {
    /// The answer that streams what a watcher gets, until it leaves or the server stops.
    pub fn stream(&self, mut watch: Watch, naming: Naming) -> Response {
        let first = watch.take_first();
        let coming = stream::unfold(watch, |mut watch| async move {
            let sent = watch.next().await?;
            Some((sent, watch))
        });
        let events = self.clone();
        let stopping = self.stopping();
        let rendered = stream::iter(first)
            .chain(coming)
            .take_until(async move { stopping.cancelled().await })
            .map(move |sent| Ok::<_, Infallible>(render(&events, &sent, naming)));
        Sse::new(rendered).keep_alive(KeepAlive::new().interval(HEARTBEAT_INTERVAL)).into_response()
    }
}

fn render(events: &Events, sent: &Sent, naming: Naming) -> sse::Event {
    match sent {
        Sent::Event(event) => {
            let by_topic = naming == Naming::Topic && event.kind != LAGGED;
            let name = if by_topic { event.topic } else { event.kind };
            sse::Event::default().id(events.id_of(event)).event(name).data(&event.text)
        }
        Sent::Lagged(missed) => sse::Event::default().event(LAGGED).data(Sent::lagged_text(*missed)),
    }
}
