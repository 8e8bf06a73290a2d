//! The [`Registry`]: keeps sources at work and views in force, and answers what is asked of them.
//!
//! All views are one immutable [`Board`], swapped as one. Whoever reads takes the board once and sees nothing of a sync or
//! a reload that happens meanwhile.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use metrics::{gauge, histogram};
use paddock_platform::{
    config::Section,
    identity::{Caller, Scope},
    problem::{FORBIDDEN, Problem, UNAUTHENTICATED},
    store::{Store, StoreError},
    task::{Tasks, background},
};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use crate::{
    apply::{WantedView, board_of},
    claims::Grants,
    config::{RegistryOptions, SourceKind, VIEW_DEFAULT},
    content::{Content, Difference},
    error::FetchError,
    fetch::kubernetes::Clients,
    metrics::{REGISTRY_COMPOSE_DURATION_SECONDS, REGISTRY_SEARCH_DURATION_SECONDS, SYNC_SERVER_COUNT},
    proof::Proofs,
    search::{self, SearchInput, SearchOutput},
    semantic::{self, Embed, Semantic, SemanticStatus, SemanticUse},
    source::{Source, State},
    store::{Mark, RegistryStore, Remembered, SyncRecord},
    view::{Board, Selection, View},
};

/// How long a connection to another server may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long another server may say nothing.
const READ_TIMEOUT: Duration = Duration::from_mins(1);
/// Events that a slow listener may fall behind.
const EVENTS_MAX: usize = 256;

/// What has happened, for those who listen.
#[derive(Clone, Debug)]
pub(crate) struct Happened {
    pub(crate) source: String,
    pub(crate) record: Arc<SyncRecord>,
}

pub(crate) struct Inner {
    pub(crate) section: Section<RegistryOptions>,
    pub(crate) store: RegistryStore,
    http: reqwest::Client,
    clusters: Arc<Clients>,
    proofs: Proofs,
    semantic: Arc<Semantic>,
    pub(crate) tasks: Tasks,
    board: ArcSwap<Board>,
    pub(crate) options: ArcSwap<RegistryOptions>,
    pub(crate) grants: ArcSwap<Grants>,
    pub(crate) sources: RwLock<BTreeMap<String, Arc<Source>>>,
    pub(crate) views: RwLock<Vec<WantedView>>,
    composing: tokio::sync::Mutex<()>,
    pub(crate) applying: tokio::sync::Mutex<()>,
    events: broadcast::Sender<Happened>,
    /// Somebody searches: the next snapshot has its index ready.
    searched: AtomicBool,
    pub(crate) started_at: Timestamp,
}

/// The registry of a server. Cheap to clone.
#[derive(Clone)]
pub struct Registry(pub(crate) Arc<Inner>);

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Registry")
    }
}

impl Registry {
    /// Starts with what was kept of the sources, serves it at once, and looks at every source. Follows reloads of the
    /// options but for `root`.
    pub async fn start(
        section: Section<RegistryOptions>,
        store: Store,
        tasks: &Tasks,
    ) -> Result<Self, StoreError> {
        let store = RegistryStore::open(store).await?;
        let options = section.current();
        // Building fails only where the system has no TLS roots or no randomness: then no URL can be fetched either.
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .redirect(reqwest::redirect::Policy::limited(5))
            .user_agent(concat!("paddock/", env!("CARGO_PKG_VERSION")))
            .build()
            .unwrap_or_default();
        let proofs = Proofs::new(section.map(|options| options.publish), store.clone());
        let semantic = Semantic::new(store.clone());
        let registry = Self(Arc::new(Inner {
            section,
            store,
            http,
            clusters: Arc::default(),
            proofs,
            semantic: Arc::new(semantic),
            tasks: tasks.clone(),
            board: ArcSwap::from_pointee(Board::default()),
            grants: ArcSwap::from_pointee(Grants::new(&options.grants)),
            options: ArcSwap::from_pointee(options),
            sources: RwLock::default(),
            views: RwLock::default(),
            composing: tokio::sync::Mutex::default(),
            applying: tokio::sync::Mutex::default(),
            events: broadcast::channel(EVENTS_MAX).0,
            searched: AtomicBool::new(false),
            started_at: Timestamp::now(),
        }));
        registry.apply().await?;
        let (following, stopping) = (registry.clone(), tasks.stop_token());
        tasks.spawn("registry-reload", async move {
            let _: Option<()> = stopping.run_until_cancelled(following.follow()).await;
        });
        Ok(registry)
    }

    /// Puts the views together anew out of what the sources have to give now.
    pub(crate) async fn recompose(&self) {
        // One after the other: the last one has seen the newest content.
        let _composing = self.0.composing.lock().await;
        let started = Instant::now();
        let sources = self.0.sources.read().unwrap_or_else(PoisonError::into_inner).clone();
        let views = self.0.views.read().unwrap_or_else(PoisonError::into_inner).clone();
        let current = self.0.board.load_full();
        let page_cache_max = self.options().page_cache_max.as_usize();
        let searched = self.0.searched.load(Ordering::Relaxed);
        let compose = move || {
            let board = board_of(&sources, &views, &current, page_cache_max);
            if searched {
                board.views.values().for_each(|view| {
                    view.whole().index();
                });
            }
            board
        };
        if let Ok(board) = background(compose).await {
            self.0.board.store(Arc::new(board));
            self.0.semantic.wake();
        }
        self.report_counts();
        histogram!(REGISTRY_COMPOSE_DURATION_SECONDS).record(started.elapsed());
    }

    fn report_counts(&self) {
        let mut counts: BTreeMap<&'static str, usize> = BTreeMap::new();
        for source in self.sources() {
            *counts.entry(source.kind.as_str()).or_default() += source.content.load().entries.len();
        }
        for (kind, count) in counts {
            gauge!(SYNC_SERVER_COUNT, "source_type" => kind).set(count as f64);
        }
    }

    /// Keeps what changed of a source's content.
    pub(crate) async fn keep(
        &self,
        source: &Source,
        content: &Arc<Content>,
        difference: &Difference,
        quarantine_differs: bool,
    ) -> Result<(), FetchError> {
        if source.kind == SourceKind::Managed {
            // The rows it was made of are what is kept.
            return Ok(());
        }
        let name = &source.options.name;
        if quarantine_differs {
            self.0.store.save_refused(name, &content.refused).await?;
        }
        Ok(self
            .0
            .store
            .save_content(name, &source.options.claims, Arc::clone(content), &difference.touched)
            .await?)
    }

    /// Remembers what was read last.
    pub(crate) async fn remember(
        &self,
        source: &Source,
        fingerprint: String,
        mark: Mark,
    ) -> Result<(), FetchError> {
        let is_known = |state: &State| {
            let known = &state.remembered;
            known.fingerprint == fingerprint && known.mark.lasting() == mark.lasting()
        };
        let known = is_known(&source.state());
        let remembered = Remembered { fingerprint, mark, synced_ms: Timestamp::now().as_millisecond() };
        source.update(|state| state.remembered = remembered.clone());
        // What did not change need not be written again.
        if known {
            return Ok(());
        }
        Ok(self.0.store.remember(&source.options.name, &remembered).await?)
    }

    /// Adds a sync to a source's history, and tells those who listen.
    pub(crate) async fn add_sync(&self, source: &Source, record: SyncRecord) {
        let name = &source.options.name;
        if let Err(error) = self.0.store.add_sync(name, &record, self.options().history_max).await {
            tracing::warn!(%error, registry.source = name, "a sync could not be added to the history");
        }
        // Nobody may listen.
        let _ = self.0.events.send(Happened { source: name.clone(), record: Arc::new(record) });
    }

    /// Listens to what happens from now on.
    pub(crate) fn listen(&self) -> broadcast::Receiver<Happened> {
        self.0.events.subscribe()
    }

    pub(crate) fn options(&self) -> Arc<RegistryOptions> {
        self.0.options.load_full()
    }

    pub(crate) fn page_limit_max(&self) -> u32 {
        self.0.options.load().page_limit_max
    }

    /// Ends when the server does.
    pub(crate) fn stop_token(&self) -> CancellationToken {
        self.0.tasks.stop_token()
    }

    /// Looks for servers in a view, as far as the caller sees it.
    pub async fn search(&self, caller: &Caller, input: SearchInput) -> Result<SearchOutput, Problem> {
        let seen = self.see(input.view.as_deref(), Some(caller))?;
        self.0.searched.store(true, Ordering::Relaxed);
        let started = Instant::now();
        let (semantic, asked) = if input.words_only {
            (SemanticUse::Off, None)
        } else {
            self.0.semantic.ask(&self.options().embeddings, &input.query).await
        };
        // Computation, and the first search of a snapshot makes its index.
        let search = move || search::search(&seen.selection, &input, asked.as_ref());
        let found = tokio::task::spawn_blocking(search).await;
        histogram!(REGISTRY_SEARCH_DURATION_SECONDS).record(started.elapsed());
        let found = found.map_err(|error| Problem::internal("searching the registry", &error))?;
        found.map(|output| SearchOutput { semantic, ..output })
    }

    /// Takes who embeds: from now on servers are found by what they mean, too, where the options name a model.
    pub fn embed_with(&self, embed: Arc<dyn Embed>) {
        let semantic = Arc::clone(&self.0.semantic);
        if !semantic.set(&embed) {
            return;
        }
        let (registry, stopping) = (self.clone(), self.stop_token());
        self.0.tasks.spawn("registry-embeddings", async move {
            let following = semantic::follow(registry, semantic, embed);
            let _: Option<()> = stopping.run_until_cancelled(following).await;
        });
    }

    /// How far the servers are embedded.
    pub(crate) fn semantic_status(&self) -> Option<SemanticStatus> {
        self.0.semantic.status(&self.options().embeddings)
    }

    /// The `server.json` of an entry of the default view; the operator names it, whoever else may see it.
    pub(crate) fn entry_json(&self, name: &str, version: &str) -> Option<serde_json::Value> {
        let view = self.board().default.clone()?;
        let entry = view.whole().find(name, version).filter(|entry| !entry.is_deleted())?;
        serde_json::from_slice(entry.server()).ok()
    }

    pub(crate) fn http(&self) -> reqwest::Client {
        self.0.http.clone()
    }

    pub(crate) fn clusters(&self) -> Arc<Clients> {
        Arc::clone(&self.0.clusters)
    }

    /// Who publishes without a key.
    pub fn proofs(&self) -> Proofs {
        self.0.proofs.clone()
    }

    pub(crate) fn grants(&self) -> Arc<Grants> {
        self.0.grants.load_full()
    }

    pub(crate) fn sources(&self) -> Vec<Arc<Source>> {
        self.0.sources.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    pub(crate) fn source(&self, name: &str) -> Option<Arc<Source>> {
        self.0.sources.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    pub(crate) fn wanted_views(&self) -> Vec<WantedView> {
        self.0.views.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn board(&self) -> arc_swap::Guard<Arc<Board>> {
        self.0.board.load()
    }

    /// What a caller sees of a view, and the view; the default one if none is named.
    pub(crate) fn see(&self, name: Option<&str>, caller: Option<&Caller>) -> Result<Seen, Problem> {
        let board = self.board();
        let view = match name {
            Some(name) => board.views.get(name),
            None => board.default.as_ref(),
        };
        let nobody;
        let caller = if let Some(caller) = caller {
            caller
        } else {
            nobody = Caller::anonymous();
            &nobody
        };
        let may_read = caller.may(Scope::read("registry"));
        let Some(view) = view else {
            // Whoever may not read learns no names.
            return Err(if may_read {
                Problem::not_found("registry", name.unwrap_or(VIEW_DEFAULT))
            } else {
                refused(caller)
            });
        };
        if !may_read && !view.options.public {
            return Err(refused(caller));
        }
        if view.is_uniform() {
            let is_shared = view.options.public;
            return Ok(Seen { selection: Arc::clone(view.whole()), view: Arc::clone(view), is_shared });
        }
        let held = self.grants().of(caller);
        if held.as_ref().is_some_and(|held| !view.options.claims.met_by(held)) {
            let detail = format!("this key lacks a claim that the registry `{}` asks for", view.options.name);
            return Err(Problem::new(FORBIDDEN, detail));
        }
        let selection = view.seen_by(held.as_ref());
        Ok(Seen { selection, view: Arc::clone(view), is_shared: false })
    }
}

fn refused(caller: &Caller) -> Problem {
    if caller.key_id().is_none() {
        return Problem::new(
            UNAUTHENTICATED,
            "this registry needs a key with the scope `registry:read`; `public = true` in its view opens it to everybody",
        );
    }
    match caller.require(Scope::read("registry")) {
        Err(problem) => problem,
        Ok(()) => Problem::new(FORBIDDEN, "this key may not read the registry"),
    }
}

/// What one caller sees.
pub(crate) struct Seen {
    pub(crate) selection: Arc<Selection>,
    pub(crate) view: Arc<View>,
    /// Everybody sees the same: shared caches may keep it.
    pub(crate) is_shared: bool,
}
