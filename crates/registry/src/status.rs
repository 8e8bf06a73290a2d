//! How the registry stands: its sources, its views, and what is kept out and why.

use std::sync::Arc;

use jiff::Timestamp;
use paddock_platform::{health::Finding, problem::Problem};
use schemars::JsonSchema;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    config::SourceKind,
    read::Refused,
    registry::Registry,
    semantic::SemanticStatus,
    source::{Creation, Phase, Source},
    store::SyncRecord,
    validate::Issue,
};

/// How many syncs a history shows at most.
const HISTORY_MAX: u32 = 100;
/// How many entries a list of the quarantine shows at most.
pub(crate) const QUARANTINE_LIMIT_MAX: usize = 1_000;

/// How the registry stands.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct RegistryStatus {
    /// Whether every source was read at least once, now or before a restart.
    pub ready: bool,
    /// The sources, by name.
    pub sources: Vec<SourceStatus>,
    /// The views, in their order.
    pub views: Vec<ViewStatus>,
    /// How far the servers are embedded, where a model embeds them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub semantic: Option<SemanticStatus>,
}

/// How a source stands.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct SourceStatus {
    /// Its name.
    pub name: String,
    /// What kind it is.
    pub kind: SourceKind,
    /// Who made it.
    pub creation: Creation,
    /// What it is doing.
    pub phase: Phase,
    /// Entries that it gives.
    pub entries: usize,
    /// Entries that are kept out.
    pub quarantined: usize,
    /// Entries that are served though something is wrong with them.
    pub flawed: usize,
    /// How often it is looked at.
    pub interval: String,
    /// When it was last read without a failure.
    #[schemars(with = "Option<String>")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_sync: Option<Timestamp>,
    /// When that was last tried.
    #[schemars(with = "Option<String>")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_attempt: Option<Timestamp>,
    /// When it last gave something else than before.
    #[schemars(with = "Option<String>")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_change: Option<Timestamp>,
    /// When it is looked at next.
    #[schemars(with = "Option<String>")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_sync: Option<Timestamp>,
    /// How long the last look took, in milliseconds.
    pub took_ms: f64,
    /// How often it was looked at since the start.
    pub syncs: u64,
    /// Failures since the last success.
    pub failures: u32,
    /// Why it could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The number of the last sync that was asked for.
    pub requested: u64,
    /// The number up to which those are done.
    pub done: u64,
}

/// How a view stands.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct ViewStatus {
    /// Its name.
    pub name: String,
    /// Its sources, in order.
    pub sources: Vec<String>,
    /// Whether everybody may read it.
    pub public: bool,
    /// Whether it is the one that is served where none is named.
    pub is_default: bool,
    /// Servers in it.
    pub servers: usize,
    /// Versions of them in it.
    pub entries: usize,
}

/// An entry of a source that something is wrong with.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct QuarantinedEntry {
    /// The source.
    pub source: String,
    /// Its name, as far as it has one.
    pub name: String,
    /// Its version, as far as it has one.
    pub version: String,
    /// Whether it is served all the same.
    pub served: bool,
    /// What is wrong with it.
    pub issues: Vec<Issue>,
}

/// What is wrong with the entries of the sources.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct Quarantine {
    /// The entries, those that are kept out first; at most 1,000.
    pub entries: Vec<QuarantinedEntry>,
    /// How many are kept out.
    pub kept_out: usize,
    /// How many are served and marked.
    pub marked: usize,
}

/// The history of a source.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct History {
    /// The source.
    pub source: String,
    /// Its syncs that changed something or failed, the newest first.
    pub syncs: Vec<SyncRecord>,
}

/// Syncs that were asked for.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct SyncAccepted {
    /// Those that will be read; whoever asks before a sync begins shares it.
    pub sources: Vec<SyncRequested>,
}

/// A sync that was asked for.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct SyncRequested {
    /// The source.
    pub source: String,
    /// Done when the source's `done` in the status has reached this.
    pub requested: u64,
}

impl Registry {
    /// How everything stands.
    pub fn status(&self) -> RegistryStatus {
        let sources: Vec<_> = self.sources().iter().map(|source| SourceStatus::of(source)).collect();
        let board = self.board();
        let views = self.wanted_views().into_iter().filter_map(|wanted| {
            let view = board.views.get(&wanted.options.name)?;
            Some(ViewStatus {
                name: wanted.options.name,
                sources: view.sources().map(str::to_owned).collect(),
                public: view.options.public,
                is_default: board.default.as_ref().is_some_and(|default| Arc::ptr_eq(default, view)),
                servers: view.whole().server_count(),
                entries: view.whole().entries.len(),
            })
        });
        RegistryStatus {
            ready: sources.iter().all(|source| source.last_sync.is_some()),
            views: views.collect(),
            semantic: self.semantic_status(),
            sources,
        }
    }

    /// Asks for a sync of one source, or of all.
    pub fn request_sync(&self, source: Option<&str>) -> Result<SyncAccepted, Problem> {
        let sources = match source {
            Some(name) => vec![self.source(name).ok_or_else(|| Problem::not_found("source", name))?],
            None => self.sources(),
        };
        let asked = |source: &Arc<Source>| SyncRequested {
            source: source.options.name.clone(),
            requested: source.ask(),
        };
        Ok(SyncAccepted { sources: sources.iter().map(asked).collect() })
    }

    /// Asks for a sync of one source, or of all, and waits until it is over.
    pub async fn sync(&self, source: Option<&str>) -> Result<RegistryStatus, Problem> {
        for SyncRequested { source, requested } in self.request_sync(source)?.sources {
            if let Some(source) = self.source(&source) {
                source.finished(requested).await;
            }
        }
        Ok(self.status())
    }

    /// What is wrong with the entries of one source, or of all.
    pub fn quarantine(&self, source: Option<&str>, limit: usize) -> Result<Quarantine, Problem> {
        let sources = match source {
            Some(name) => vec![self.source(name).ok_or_else(|| Problem::not_found("source", name))?],
            None => self.sources(),
        };
        let mut quarantine = Quarantine { entries: Vec::new(), kept_out: 0, marked: 0 };
        for source in &sources {
            let content = source.content.load();
            quarantine.kept_out += content.refused_count;
            let refused = content.refused.iter().map(|refused| QuarantinedEntry::refused(source, refused));
            quarantine.entries.extend(refused.take(limit.saturating_sub(quarantine.entries.len())));
        }
        for source in &sources {
            for entry in source.content.load().entries.iter().filter(|entry| !entry.issues.is_empty()) {
                quarantine.marked += 1;
                if quarantine.entries.len() < limit {
                    quarantine.entries.push(QuarantinedEntry {
                        source: source.options.name.clone(),
                        name: entry.name.to_string(),
                        version: entry.version.to_string(),
                        served: true,
                        issues: entry.issues.to_vec(),
                    });
                }
            }
        }
        Ok(quarantine)
    }

    /// How the syncs of a source went.
    pub async fn history(&self, source: &str) -> Result<History, Problem> {
        if self.source(source).is_none() {
            return Err(Problem::not_found("source", source));
        }
        let syncs = self.0.store.syncs(source, HISTORY_MAX).await?;
        Ok(History { source: source.to_owned(), syncs })
    }

    /// For `/readyz`.
    pub fn health(&self) -> Finding {
        let status = self.status();
        let entries: usize = status.sources.iter().map(|source| source.entries).sum();
        let failing: Vec<&SourceStatus> =
            status.sources.iter().filter(|source| source.failures > 0).collect();
        let Some(first) = failing.first() else {
            return Finding::ok(format!("{} sources with {entries} entries", status.sources.len()));
        };
        let detail = format!(
            "{} of {} sources cannot be read, first `{}`: {}",
            failing.len(),
            status.sources.len(),
            first.name,
            first.error.as_deref().unwrap_or_default()
        );
        Finding::degraded(detail, "what they gave before is served; `paddock registry status` says more")
    }
}

impl SourceStatus {
    pub(crate) fn of(source: &Source) -> Self {
        let (state, content, asked) = (source.state(), source.content.load(), source.asked());
        Self {
            name: source.options.name.clone(),
            kind: source.kind,
            creation: source.creation,
            phase: state.phase,
            entries: content.entries.len(),
            quarantined: content.refused_count,
            flawed: content.entries.iter().filter(|entry| !entry.issues.is_empty()).count(),
            interval: source.options.interval().to_string(),
            last_sync: state.last_sync,
            last_attempt: state.last_attempt,
            last_change: state.last_change,
            next_sync: state.next_sync,
            took_ms: state.took.as_secs_f64() * 1e3,
            syncs: state.syncs,
            failures: state.failures,
            error: state.error,
            requested: asked.requested,
            done: asked.done,
        }
    }
}

impl QuarantinedEntry {
    fn refused(source: &Source, refused: &Refused) -> Self {
        Self {
            source: source.options.name.clone(),
            name: refused.name.clone(),
            version: refused.version.clone(),
            served: false,
            issues: refused.issues.clone(),
        }
    }
}
