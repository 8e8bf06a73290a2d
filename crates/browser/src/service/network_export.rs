//! Exporting the network log: as a document, or into a file as requests end.

use std::time::Duration;

use axum::response::sse;
use futures_util::{Stream, stream};
use http::StatusCode;
use paddock_platform::problem::{Problem, ProblemKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::{
    sync::{broadcast, mpsc},
    time::Instant,
};
use utoipa::{IntoParams, ToSchema};

use super::{BrowserService, READ, TabInUse, Target, WRITE, network_detail::body_of};
use crate::{
    files::Export,
    network::{Entry, ExportFormat, Filter, har_entry},
};

/// The export format is not one.
const UNKNOWN_FORMAT: ProblemKind =
    ProblemKind::new("unknown-format", StatusCode::BAD_REQUEST, "Unknown format");
/// Bytes of one export, bodies included; what comes after has no body.
const EXPORT_SIZE_MAX: usize = 32 << 20;
/// How long a streamed export may go on.
const EXPORT_DURATION_MAX: Duration = Duration::from_mins(30);

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

impl BrowserService {
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
}

fn format_of(name: Option<&str>) -> Result<ExportFormat, Problem> {
    let name = name.filter(|name| !name.is_empty()).unwrap_or("har");
    ExportFormat::parse(name).ok_or_else(|| {
        let available: Vec<&str> = ExportFormat::NAMES.to_vec();
        let detail = format!("`{}` is not an export format", name.escape_default());
        Problem::new(UNKNOWN_FORMAT, detail).with("available", available)
    })
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
