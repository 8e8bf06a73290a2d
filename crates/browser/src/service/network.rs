//! The network log, its export, and the rules about requests.

use std::time::Duration;

use axum::response::sse;
use futures_util::{Stream, stream};
use http::StatusCode;
use paddock_platform::problem::{CONFLICT, NOT_FOUND, Problem, ProblemKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::{
    sync::{broadcast, mpsc},
    time::Instant,
};
use utoipa::{IntoParams, ToSchema};

use super::{BrowserService, READ, TabInUse, Target, WRITE};
use crate::{
    error::BrowserError,
    files::Export,
    ids::TabId,
    network::{Entry, ExportFormat, Filter, Route, har_entry, retain::Body},
};

/// The export format is not one.
const UNKNOWN_FORMAT: ProblemKind =
    ProblemKind::new("unknown-format", StatusCode::BAD_REQUEST, "Unknown format");
/// How long a request for a body waits until it has been fetched in advance.
const RETAINED_WAIT: Duration = Duration::from_secs(2);
const RETAINED_WAIT_MAX: Duration = Duration::from_secs(30);
/// Bytes of one export, bodies included; what comes after has no body.
const EXPORT_SIZE_MAX: usize = 32 << 20;
/// How long a streamed export may go on.
const EXPORT_DURATION_MAX: Duration = Duration::from_mins(30);

/// Requests of a tab.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkList {
    /// The requests, oldest first.
    pub entries: Vec<Entry>,
    /// The same once more, for clients that look here.
    pub items: Vec<Entry>,
    /// How many.
    pub count: usize,
    /// The tab.
    pub tab_id: TabId,
}

/// Requests that got nothing.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BrokenAssets {
    /// The requests.
    pub broken: Vec<BrokenAsset>,
    /// How many.
    pub count: usize,
    /// The tab.
    pub tab_id: TabId,
}

/// A request that got nothing.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BrokenAsset {
    /// Its address.
    pub url: String,
    /// What was asked for.
    pub resource_type: String,
    /// HTTP status, 400 or more; 0 for none.
    pub status_code: u16,
}

/// Whether only broken ones are asked for.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct NetworkQuery {
    /// Only requests that failed or were answered with 400 or more, in short.
    pub broken: bool,
}

/// How a body is asked for.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, IntoParams)]
#[serde(rename_all = "camelCase", default)]
#[into_params(parameter_in = Query)]
pub struct BodyQuery {
    /// With the body.
    pub body: bool,
    /// `auto`, `retained-preferred`, `retained-only` or `live-only`: from what was kept, or from Chrome.
    pub body_mode: Option<String>,
    /// Milliseconds to wait for a body that is being fetched; 2000 if absent, at most 30000.
    pub timeout_ms: Option<u64>,
}

/// One request.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkDetail {
    /// The request.
    pub entry: Entry,
    /// The tab.
    pub tab_id: TabId,
    /// The answer's body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_body: Option<String>,
    /// The body is in base64.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub base64_encoded: bool,
    /// `retained` or `live`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_source: Option<&'static str>,
    /// The body was fetched when it came.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub body_retained: bool,
    /// Only the beginning was kept.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub body_truncated: bool,
    /// Why there is no body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_error: Option<String>,
}

/// A log was emptied.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkCleared {
    /// True.
    pub cleared: bool,
    /// The tab.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tab_id: Option<TabId>,
    /// All tabs of the caller's tenant.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
}

/// How requests are exported.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, IntoParams)]
#[serde(rename_all = "camelCase", default)]
#[into_params(parameter_in = Query)]
pub struct ExportQuery {
    /// `har` or `ndjson`.
    pub format: Option<String>,
    /// `file`: into a file of the server instead of the answer.
    pub output: Option<String>,
    /// Name of that file.
    pub path: Option<String>,
    /// With bodies.
    pub body: bool,
    /// Whether cookies and other logins are left out; true if absent.
    pub redact: Option<bool>,
}

/// Requests in the answer, or in a file.
#[derive(Debug)]
pub enum Exported {
    /// In the answer.
    Text(ExportFormat, String),
    /// In a file.
    File(ExportedFile),
}

/// A file with requests.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ExportedFile {
    /// Where it is, on the server.
    pub path: String,
    /// Requests in it.
    pub entries: usize,
    /// `har` or `ndjson`.
    pub format: &'static str,
}

/// The rules of a tab.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteList {
    /// The tab.
    pub tab_id: TabId,
    /// The rules, in the order in which they are asked.
    pub rules: Vec<Route>,
}

/// The rules of a tab after a change.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoutesChanged {
    /// True.
    pub ok: bool,
    /// The tab.
    pub tab_id: TabId,
    /// Rules that were removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub removed: Option<usize>,
    /// The rules, in the order in which they are asked.
    pub rules: Vec<Route>,
}

/// Which rules are removed.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, ToSchema, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct RouteQuery {
    /// Those of this pattern; all if absent.
    pub pattern: Option<String>,
}

impl BrowserService {
    /// Requests of a tab.
    pub async fn network(&self, target: &Target, filter: &Filter) -> Result<NetworkList, Problem> {
        let tab = self.tab(target, READ).await?;
        let entries = tab.0.environment.log.list(filter);
        let (items, count) = (entries.clone(), entries.len());
        Ok(NetworkList { entries, items, count, tab_id: tab.id().clone() })
    }

    /// Requests of a tab that got nothing.
    pub async fn broken_assets(&self, target: &Target, filter: &Filter) -> Result<BrokenAssets, Problem> {
        let tab = self.tab(target, READ).await?;
        let entries = tab.0.environment.log.list(filter).into_iter();
        let broken: Vec<BrokenAsset> = entries
            .filter(|entry| entry.failed || entry.status >= 400)
            .map(|entry| BrokenAsset {
                url: entry.url,
                resource_type: entry.resource_type,
                status_code: entry.status,
            })
            .collect();
        Ok(BrokenAssets { count: broken.len(), broken, tab_id: tab.id().clone() })
    }

    /// One request of a tab.
    pub async fn network_detail(
        &self,
        target: &Target,
        request_id: &str,
        query: BodyQuery,
    ) -> Result<NetworkDetail, Problem> {
        let tab = self.tab(target, READ).await?;
        let entry = tab.0.environment.log.get(request_id);
        let entry = entry.ok_or_else(|| Problem::not_found("request", request_id))?;
        let wanted = query.body && entry.finished;
        let mut detail = NetworkDetail {
            entry,
            tab_id: tab.id().clone(),
            response_body: None,
            base64_encoded: false,
            body_source: None,
            body_retained: false,
            body_truncated: false,
            body_error: None,
        };
        if wanted {
            detail.add_body(&tab, &query).await;
        }
        Ok(detail)
    }

    /// Empties the log of the tab that is named, or of all tabs of the caller's tenant.
    pub async fn clear_network(&self, target: &Target) -> Result<NetworkCleared, Problem> {
        target.caller.require(WRITE)?;
        if target.tab.is_some() {
            let tab = self.tab(target, WRITE).await?;
            tab.0.environment.log.clear();
            return Ok(NetworkCleared { cleared: true, tab_id: Some(tab.id().clone()), all: false });
        }
        for tab in self.owned(&target.caller).flat_map(|instance| instance.tabs()) {
            tab.0.environment.log.clear();
        }
        Ok(NetworkCleared { cleared: true, tab_id: None, all: true })
    }

    /// Requests of a tab as they end.
    pub async fn network_stream(
        &self,
        target: &Target,
        filter: Filter,
    ) -> Result<impl Stream<Item = Result<sse::Event, axum::Error>> + use<>, Problem> {
        let tab = self.tab(target, READ).await?;
        let ended = tab.0.environment.log.follow();
        Ok(stream::unfold((tab, ended, filter), |(tab, mut ended, filter)| async move {
            loop {
                let received = tokio::select! {
                    received = ended.recv() => received,
                    () = tab.session().closed() => return None,
                };
                let event = match received {
                    Ok(entry) if filter.matches(&entry) => {
                        sse::Event::default().event("network").json_data(&*entry)
                    }
                    Ok(_) => continue,
                    Err(broadcast::error::RecvError::Lagged(missed)) => {
                        sse::Event::default().event("lagged").json_data(json!({ "missed": missed }))
                    }
                    Err(broadcast::error::RecvError::Closed) => return None,
                };
                return Some((event, (tab, ended, filter)));
            }
        }))
    }

    /// Requests of a tab as a document.
    pub async fn export_network(
        &self,
        target: &Target,
        filter: &Filter,
        query: ExportQuery,
    ) -> Result<Exported, Problem> {
        let format = format_of(query.format.as_deref())?;
        let to_file = query.output.as_deref() == Some("file");
        let tab = self.tab(target, if to_file { WRITE } else { READ }).await?;
        let redact = query.redact != Some(false);
        if !redact {
            target.caller.require(WRITE)?;
        }
        let entries = tab.0.environment.log.list(filter);
        let mut text = format.start();
        for (index, entry) in entries.iter().enumerate() {
            let room = text.len() < EXPORT_SIZE_MAX;
            let body = if query.body && entry.finished && room { body_of(&tab, entry).await } else { None };
            text.push_str(&format.entry(&har_entry(entry, body.as_ref(), redact), index == 0));
        }
        text.push_str(format.end());
        if !to_file {
            return Ok(Exported::Text(format, text));
        }
        let exports = &self.fleet.0.exports;
        let name = ("network", format.name());
        let path = exports.write(target.caller.tenant(), query.path.as_deref(), name, text.into()).await?;
        let path = path.to_string_lossy().into_owned();
        Ok(Exported::File(ExportedFile { path, entries: entries.len(), format: format.name() }))
    }

    /// Writes requests into a file as they end, and tells of each; the file is finished when the listener goes.
    pub async fn stream_export(
        &self,
        target: &Target,
        filter: Filter,
        query: ExportQuery,
    ) -> Result<impl Stream<Item = Result<sse::Event, axum::Error>> + use<>, Problem> {
        let Some(name) = query.path.filter(|path| !path.is_empty()) else {
            return Err(Problem::invalid_field("path", "is required for a streamed export"));
        };
        let format = format_of(query.format.as_deref())?;
        let tab = self.tab(target, WRITE).await?;
        let export =
            self.fleet.0.exports.create(target.caller.tenant(), Some(&name), "network", format.name())?;
        let (sender, receiver) = mpsc::channel(64);
        let ended = tab.0.environment.log.follow();
        let redact = query.redact != Some(false);
        let writer =
            Writer { tab, filter, format, redact, with_body: query.body, export, entries: 0, sender };
        self.fleet.0.tasks.spawn("browser_export", writer.run(ended));
        Ok(stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|event| (event, receiver))
        }))
    }

    /// The rules of a tab.
    pub async fn routes(&self, target: &Target) -> Result<RouteList, Problem> {
        let tab = self.tab(target, READ).await?;
        Ok(RouteList { tab_id: tab.id().clone(), rules: rules_of(&tab) })
    }

    /// Adds a rule, or replaces the one of the same pattern, method and kind.
    pub async fn add_route(&self, target: &Target, route: Route) -> Result<RoutesChanged, Problem> {
        route.check().map_err(|error| Problem::invalid_field(error.field, &error.detail))?;
        let tab = self.tab(target, WRITE).await?;
        if !tab.0.environment.interception.add(route) {
            return Err(Problem::new(CONFLICT, "the tab has 100 rules, which is the maximum"));
        }
        self.apply_routes(&tab, None).await
    }

    /// Removes the rules of a pattern, or all.
    pub async fn remove_routes(&self, target: &Target, query: RouteQuery) -> Result<RoutesChanged, Problem> {
        let tab = self.tab(target, WRITE).await?;
        if rules_of(&tab).is_empty() {
            return Err(Problem::new(NOT_FOUND, "the tab has no rules"));
        }
        let pattern = query.pattern.filter(|pattern| !pattern.is_empty());
        let removed = tab.0.environment.interception.remove(pattern.as_deref());
        self.apply_routes(&tab, Some(removed)).await
    }

    async fn apply_routes(&self, tab: &TabInUse, removed: Option<usize>) -> Result<RoutesChanged, Problem> {
        let applied = tab.0.environment.interception.apply(tab.session(), &self.fleet.0.tasks).await;
        applied.map_err(BrowserError::from)?;
        Ok(RoutesChanged { ok: true, tab_id: tab.id().clone(), removed, rules: rules_of(tab) })
    }
}

fn rules_of(tab: &TabInUse) -> Vec<Route> {
    tab.0.environment.interception.routes().iter().map(|route| (**route).clone()).collect()
}

fn format_of(name: Option<&str>) -> Result<ExportFormat, Problem> {
    let name = name.filter(|name| !name.is_empty()).unwrap_or("har");
    ExportFormat::parse(name).ok_or_else(|| {
        let available: Vec<&str> = ExportFormat::NAMES.to_vec();
        let detail = format!("`{}` is not an export format", name.escape_default());
        Problem::new(UNKNOWN_FORMAT, detail).with("available", available)
    })
}

/// A body for an export: what was kept, or what Chrome still has.
async fn body_of(tab: &TabInUse, entry: &Entry) -> Option<Body> {
    if let Some(body) = tab.0.environment.log.bodies.get(&entry.request_id) {
        return Some((*body).clone());
    }
    tab.response_body(&entry.request_id).await.ok()
}

impl NetworkDetail {
    async fn add_body(&mut self, tab: &TabInUse, query: &BodyQuery) {
        let mode = query.body_mode.as_deref().unwrap_or("auto").to_ascii_lowercase().replace('-', "");
        let request_id = self.entry.request_id.clone();
        let bodies = &tab.0.environment.log.bodies;
        let wait = match mode.as_str() {
            "retainedpreferred" | "retainedonly" if tab.0.shared.options.current().network_bodies => {
                query.timeout_ms.map_or(RETAINED_WAIT, Duration::from_millis).min(RETAINED_WAIT_MAX)
            }
            _ => Duration::ZERO,
        };
        let retained = if mode == "liveonly" { None } else { bodies.wait(&request_id, wait).await };
        if let Some(body) = retained {
            self.response_body = Some(body.text.clone());
            self.base64_encoded = body.is_base64;
            self.body_truncated = body.truncated;
            self.body_retained = true;
            self.body_source = Some("retained");
            return;
        }
        if mode == "retainedonly" {
            self.body_error = Some("the body was not kept (`[browser] network_bodies`)".to_owned());
            return;
        }
        match tab.response_body(&request_id).await {
            Ok(body) => {
                self.response_body = Some(body.text);
                self.base64_encoded = body.is_base64;
                self.body_source = Some("live");
            }
            Err(_) => self.body_error = Some("Chrome does not have the body any more".to_owned()),
        }
    }
}

/// A file that grows with the requests of a tab.
struct Writer {
    tab: TabInUse,
    filter: Filter,
    format: ExportFormat,
    redact: bool,
    with_body: bool,
    export: Export,
    entries: usize,
    sender: mpsc::Sender<Result<sse::Event, axum::Error>>,
}

impl Writer {
    async fn run(mut self, mut ended: broadcast::Receiver<std::sync::Arc<Entry>>) {
        let until = Instant::now() + EXPORT_DURATION_MAX;
        let stopping = self.tab.0.shared.tasks.stop_token();
        let mut written = self.export.write(self.format.start().as_bytes());
        while written.is_ok() {
            let entry = tokio::select! {
                received = ended.recv() => match received {
                    Ok(entry) => entry,
                    Err(broadcast::error::RecvError::Lagged(_)) => continue,
                    Err(broadcast::error::RecvError::Closed) => break,
                },
                () = self.tab.session().closed() => break,
                () = self.sender.closed() => break,
                () = stopping.cancelled() => break,
                () = tokio::time::sleep_until(until) => break,
            };
            if self.filter.matches(&entry) {
                written = self.take(&entry).await;
            }
        }
        if let Err(error) = written.and_then(|()| self.export.write(self.format.end().as_bytes())) {
            tracing::warn!(error = %error, "an export was not written");
            return;
        }
        let (entries, format, sender) = (self.entries, self.format.name(), self.sender);
        if let Ok(path) = self.export.finish() {
            let done = ExportedFile { path: path.to_string_lossy().into_owned(), entries, format };
            sender.try_send(sse::Event::default().event("done").json_data(done)).ok();
        }
    }

    async fn take(&mut self, entry: &Entry) -> std::io::Result<()> {
        let body = if self.with_body { body_of(&self.tab, entry).await } else { None };
        let exported = har_entry(entry, body.as_ref(), self.redact);
        self.export.write(self.format.entry(&exported, self.entries == 0).as_bytes())?;
        self.entries += 1;
        let news = json!({ "entries": self.entries, "url": entry.url, "status": entry.status });
        // A slow listener misses news, not entries of the file.
        self.sender.try_send(sse::Event::default().event("entry").json_data(news)).ok();
        Ok(())
    }
}
