//! What happens to the sources, as it happens.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::State,
    response::{
        IntoResponse, Response, Sse,
        sse::{Event, KeepAlive},
    },
};
use futures_util::{Stream, stream};
use paddock_platform::{http::require_scope, identity::Scope};
use serde_json::json;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::TAG;
use crate::registry::{Happened, Registry};

const KEEP_ALIVE: Duration = Duration::from_secs(15);

pub(super) fn routes() -> OpenApiRouter<Registry> {
    OpenApiRouter::new().routes(routes!(events)).route_layer(require_scope(Scope::read("registry")))
}

/// Watch the sources
///
/// An event `sync` for each sync that changed something or failed, with what was added, changed and removed; `missed` for
/// a listener that fell behind.
#[utoipa::path(get, path = "/events", tag = TAG, responses((status = 200, description = "Events", body = String, content_type = "text/event-stream")))]
async fn events(State(registry): State<Registry>) -> Response {
    let stopping = registry.stop_token();
    let events = stream_of(registry.listen());
    let until = futures_util::StreamExt::take_until(events, stopping.cancelled_owned());
    Sse::new(until).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

fn stream_of(listener: Receiver<Happened>) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold(listener, |mut listener| async move {
        let event = match listener.recv().await {
            Ok(Happened { source, record }) => {
                let data = json!({"source": source, "sync": record});
                Event::default().event("sync").id(record.id.clone()).data(data.to_string())
            }
            Err(RecvError::Lagged(missed)) => {
                Event::default().event("missed").data(json!({"missed": missed}).to_string())
            }
            Err(RecvError::Closed) => return None,
        };
        Some((Ok(event), listener))
    })
}
