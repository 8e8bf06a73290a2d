//! One request, as it is remembered.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use jiff::Timestamp;
use paddock_platform::{http::current_request, identity::Caller, problem::Problem};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::{
    coordination::Identity,
    ids::{InstanceId, TabId},
    service::{BrowserService, Target},
    tab::Tab,
};

/// Longest path and address that are remembered, in bytes.
const TEXT_SIZE_MAX: usize = 2048;
/// Paths that watch others, or that clients ask all the time: remembering them would drown the rest.
const UNWATCHED: [&str; 4] = ["/api/", "/health", "/metrics", "/help"];

/// A request or a report of an agent.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Grows with every event of the server.
    pub id: u64,
    /// When it ended.
    #[schema(value_type = String)]
    pub timestamp: Timestamp,
    /// `client` for a request, `agent` for what an agent reported of itself.
    pub source: String,
    /// The id under which the log has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// HTTP method.
    pub method: String,
    /// Path under `/browser`.
    pub path: String,
    /// HTTP status.
    pub status: u16,
    /// Milliseconds that it took.
    pub duration_ms: u64,
    /// The agent that made it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub agent_id: String,
    /// The session that it was made in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// The tab that it was about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tab_id: Option<TabId>,
    /// The instance of that tab.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<InstanceId>,
    /// Where the tab was at the end.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub url: String,
    /// Name of the problem that it was answered with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What the agent reported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<AgentEvent>,
}

/// What an agent reports of itself.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentEvent {
    /// What kind of event it is, as the agent names it.
    #[serde(rename = "type")]
    pub kind: String,
    /// What happened.
    #[serde(default)]
    pub message: String,
    /// Anything else.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub more: Map<String, Value>,
}

/// Where the service notes which tab a request was about. Cheap to clone; all clones are one note.
#[derive(Clone, Debug, Default)]
pub(crate) struct Note(Arc<Mutex<Option<Tab>>>);

impl Note {
    pub(crate) fn tab(&self, tab: &Tab) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(tab.clone());
    }

    fn take(&self) -> Option<Tab> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Remembers every request that passes.
pub(crate) async fn record(State(service): State<BrowserService>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if UNWATCHED.iter().any(|prefix| path.starts_with(prefix)) {
        return next.run(request).await;
    }
    let Some(caller) = request.extensions().get::<Caller>().cloned() else { return next.run(request).await };
    let started = Instant::now();
    let (method, path) = (request.method().to_string(), bounded(path));
    let (mut parts, body) = request.into_parts();
    let note = Note::default();
    parts.extensions.insert(note.clone());
    let agent = Target::agent_in(&parts, &caller);
    let response = next.run(Request::from_parts(parts, body)).await;
    let tab = note.take();
    let session_id = caller.session().map(|session| session.id.clone());
    let request_id = current_request().and_then(|current| current.id.to_str().ok().map(str::to_owned));
    let problem = response.extensions().get::<Problem>();
    let event = Event {
        id: 0,
        timestamp: Timestamp::now(),
        source: "client".to_owned(),
        request_id,
        method,
        path,
        status: response.status().as_u16(),
        duration_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        agent_id: agent,
        session_id,
        url: tab.as_ref().map(url_of).unwrap_or_default(),
        instance_id: tab.as_ref().map(|tab| tab.instance_id().clone()),
        tab_id: tab.map(|tab| tab.id().clone()),
        code: problem.map(|problem| problem.kind.slug.replace('-', "_")),
        report: None,
    };
    service.shared().activity.add(caller.tenant(), event, &service.options());
    response
}

impl Event {
    /// What an agent reports of itself.
    pub(crate) fn reported(agent: &str, identity: &Identity, report: AgentEvent) -> Self {
        let session_id = match identity {
            Identity::Session(id) => Some(id.clone()),
            _ => None,
        };
        Self {
            id: 0,
            timestamp: Timestamp::now(),
            source: "agent".to_owned(),
            request_id: None,
            method: String::new(),
            path: String::new(),
            status: 0,
            duration_ms: 0,
            agent_id: agent.to_owned(),
            session_id,
            tab_id: None,
            instance_id: None,
            url: String::new(),
            code: None,
            report: Some(report),
        }
    }
}

/// Where a tab is, as much of it as an event has room for.
pub(crate) fn url_of(tab: &Tab) -> String {
    bounded(&tab.place())
}

fn bounded(text: &str) -> String {
    let mut end = text.len().min(TEXT_SIZE_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}
