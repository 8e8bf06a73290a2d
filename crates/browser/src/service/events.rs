//! Watching what happens: events of the caller's instances and pages, as they come.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::{Stream, StreamExt, stream};
use paddock_platform::{
    identity::{Caller, Tenant},
    problem::{OVERLOADED, Problem},
};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;
use utoipa::IntoParams;

use super::{BrowserService, READ};
use crate::{
    error::RETRY_AFTER,
    feed::{Entry, Feed},
    ids::{InstanceId, TabId},
};

/// How often a silent stream shows that it lives.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);

/// Which events to show.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// Of one instance alone.
    #[serde(default)]
    pub instance_id: Option<InstanceId>,
    /// Of one tab alone.
    #[serde(default)]
    pub tab_id: Option<TabId>,
    /// Of these types alone, separated by commas: `instance`, `tabOpened`, `tabNavigated`, `tabCrashed`, `tabClosed`,
    /// `dialog`, `download`.
    #[serde(default)]
    pub types: Option<String>,
    /// As the header `Last-Event-ID`, for clients that cannot set it.
    #[serde(default)]
    pub last_event_id: Option<String>,
}

struct Filter {
    tenant: Tenant,
    query: EventsQuery,
    types: Vec<String>,
}

impl Filter {
    fn admits(&self, entry: &Entry) -> bool {
        entry.tenant == self.tenant
            && self.query.instance_id.as_ref().is_none_or(|id| *id == entry.instance)
            && self.query.tab_id.as_ref().is_none_or(|id| Some(id) == entry.tab.as_ref())
            && (self.types.is_empty() || self.types.iter().any(|kind| kind == entry.kind))
    }
}

impl BrowserService {
    /// The events, from now on or from after the one that was seen last.
    pub(crate) fn events(
        &self,
        caller: &Caller,
        query: EventsQuery,
        last_id: Option<String>,
    ) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>> + use<>>, Problem> {
        caller.require(READ)?;
        if let Some(id) = &query.instance_id {
            self.own(caller, id)?;
        }
        let place = Arc::clone(&self.event_streams).try_acquire_owned().map_err(|_| {
            Problem::new(
                OVERLOADED,
                "as many event streams are open as may be (`[browser] event_streams_max`)",
            )
            .retry_after(RETRY_AFTER)
        })?;
        let feed = self.fleet.0.feed.clone();
        let last_id = last_id.or_else(|| query.last_event_id.clone());
        let watching = feed.watch(last_id.as_deref());
        let types = query.types.as_deref().unwrap_or_default().split(',');
        let types = types.map(|kind| kind.trim().to_owned()).filter(|kind| !kind.is_empty()).collect();
        let filter = Filter { tenant: caller.tenant().clone(), query, types };
        let mut first: Vec<Event> = Vec::new();
        if watching.lost {
            first.push(lagged(None));
        }
        first.extend(
            watching.missed.iter().filter(|entry| filter.admits(entry)).map(|entry| render(&feed, entry)),
        );
        let state = (watching.events, filter, feed, place);
        let coming = stream::unfold(state, |(mut events, filter, feed, place)| async move {
            let event = loop {
                match events.recv().await {
                    Ok(entry) if filter.admits(&entry) => break render(&feed, &entry),
                    Ok(_) => {}
                    Err(RecvError::Lagged(missed)) => break lagged(Some(missed)),
                    Err(RecvError::Closed) => return None,
                }
            };
            Some((event, (events, filter, feed, place)))
        });
        let stopping = self.fleet.0.tasks.stop_token();
        let events =
            stream::iter(first).chain(coming).take_until(async move { stopping.cancelled().await }).map(Ok);
        Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT_INTERVAL)))
    }
}

fn render(feed: &Feed, entry: &Entry) -> Event {
    Event::default().id(feed.id_of(entry.number)).event(entry.kind).data(&entry.text)
}

/// Events were missed: whoever keeps a picture of the fleet has to look at it again.
fn lagged(missed: Option<u64>) -> Event {
    Event::default().event("lagged").data(json!({ "type": "lagged", "missed": missed }).to_string())
}
