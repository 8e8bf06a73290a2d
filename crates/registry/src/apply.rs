//! Puts the configuration in force, and what administrators make beside it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use paddock_platform::store::StoreError;

use crate::{
    claims::Grants,
    config::{RegistryOptions, SourceKind, SourceOptions, VIEW_DEFAULT, ViewOptions},
    content::Content,
    filter::Filter,
    registry::Registry,
    restore,
    source::{Creation, Source, fingerprint},
    store::Remembered,
    sync,
    view::{Board, Supply, View},
};

/// How often the configuration is compared with what is in force.
const RELOAD_INTERVAL: Duration = Duration::from_millis(250);

/// A view as the configuration or an administrator asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WantedView {
    pub(crate) options: ViewOptions,
    pub(crate) creation: Creation,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

/// What there should be.
struct Wanted {
    sources: Vec<(SourceOptions, Creation, (Timestamp, Timestamp))>,
    views: Vec<WantedView>,
}

impl Registry {
    /// Puts changed options in force as they come.
    pub(crate) async fn follow(&self) {
        loop {
            tokio::time::sleep(RELOAD_INTERVAL).await;
            let wanted = self.0.section.current();
            if wanted == **self.0.options.load() {
                continue;
            }
            self.0.grants.store(Arc::new(Grants::new(&wanted.grants)));
            self.0.options.store(Arc::new(wanted));
            if let Err(error) = self.apply().await {
                tracing::error!(%error, "sources and views could not be brought up to date");
            }
        }
    }

    /// Makes sources and views what the options and the administrators ask for. What stays as it is goes on undisturbed.
    pub(crate) async fn apply(&self) -> Result<(), StoreError> {
        let _applying = self.0.applying.lock().await;
        let options = self.options();
        let wanted = self.wanted(&options).await?;
        let mut sources = BTreeMap::new();
        for (source, creation, times) in wanted.sources {
            let name = source.name.clone();
            let current = self.source(&name);
            if let Some(current) = &current
                && current.options == source
            {
                sources.insert(name, Arc::clone(current));
                continue;
            }
            if let Some(made) = self.make_source(source, creation, times, current.as_deref()).await? {
                sources.insert(name, made);
            }
        }
        let before = {
            let mut current = self.0.sources.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *current, sources.clone())
        };
        *self.0.views.write().unwrap_or_else(PoisonError::into_inner) = wanted.views;
        self.recompose().await;
        let is_in = |all: &BTreeMap<String, Arc<Source>>, source: &Arc<Source>| {
            all.get(&source.options.name).is_some_and(|other| Arc::ptr_eq(other, source))
        };
        for source in before.values().filter(|source| !is_in(&sources, source)) {
            source.stop.cancel();
        }
        for source in sources.values().filter(|source| !is_in(&before, source)) {
            let (registry, source) = (self.clone(), Arc::clone(source));
            let stopping = self.0.tasks.stop_token();
            self.0.tasks.spawn("registry-source", async move {
                let _: Option<()> = Box::pin(stopping.run_until_cancelled(sync::run(registry, source))).await;
            });
        }
        let known: BTreeSet<String> = sources.keys().cloned().collect();
        self.0.store.forget_all_but(&known).await
    }

    async fn wanted(&self, options: &RegistryOptions) -> Result<Wanted, StoreError> {
        let configured = self.0.started_at;
        let mut sources: Vec<_> = options
            .sources()
            .into_iter()
            .map(|source| (source, Creation::Config, (configured, configured)))
            .collect();
        let mut made_views = Vec::new();
        for made in self.0.store.made().await? {
            let times = (made.created_at, made.updated_at);
            if made.kind == "source" {
                let Ok(source) = serde_json::from_str::<SourceOptions>(&made.options) else { continue };
                // The file wins over what was made under the same name.
                if sources.iter().all(|(known, ..)| known.name != source.name) {
                    sources.push((source, Creation::Api, times));
                }
            } else if let Ok(view) = serde_json::from_str::<ViewOptions>(&made.options) {
                made_views.push(WantedView {
                    options: view,
                    creation: Creation::Api,
                    created_at: made.created_at,
                    updated_at: made.updated_at,
                });
            }
        }
        let all: Vec<SourceOptions> = sources.iter().map(|(source, ..)| source.clone()).collect();
        let mut views: Vec<WantedView> = options
            .views(&all)
            .into_iter()
            .map(|options| WantedView {
                options,
                creation: Creation::Config,
                created_at: configured,
                updated_at: configured,
            })
            .collect();
        made_views.retain(|made| views.iter().all(|view| view.options.name != made.options.name));
        views.extend(made_views);
        Ok(Wanted { sources, views })
    }

    /// A source with what is there of it: what the one that it replaces has, where that was read with the same options,
    /// or what the store kept.
    async fn make_source(
        &self,
        options: SourceOptions,
        creation: Creation,
        times: (Timestamp, Timestamp),
        before: Option<&Source>,
    ) -> Result<Option<Arc<Source>>, StoreError> {
        let Some(kind) = options.kind() else { return Ok(None) };
        let registry = self.options();
        let remembered = match before {
            _ if kind == SourceKind::Managed => Remembered::default(),
            Some(before) => before.state().remembered,
            None => self.0.store.remembered(&options.name).await?,
        };
        let is_same =
            |before: &&Source| fingerprint(&before.options, &registry) == fingerprint(&options, &registry);
        let content = match before.filter(is_same) {
            Some(before) => before.content.load_full(),
            None if kind == SourceKind::Managed => Arc::default(),
            None => Arc::new(self.restore(&options).await?),
        };
        let source = Arc::new(Source::new(options, kind, creation, times, Arc::clone(&content), remembered));
        if kind == SourceKind::Managed && content.entries.is_empty() {
            // What was published here is read before anybody asks for it.
            Box::pin(sync::sync(self, &source)).await;
        }
        sync::report(&source, &source.content.load());
        Ok(Some(source))
    }

    /// What the store kept of a source, as far as its options still take it.
    async fn restore(&self, options: &SourceOptions) -> Result<Content, StoreError> {
        let (kept, refused) = self.0.store.load_content(&options.name).await?;
        let (to_restore, registry) = (options.clone(), self.options());
        let restored =
            tokio::task::spawn_blocking(move || restore::content(kept, &to_restore, &registry)).await;
        let refused_count = refused.len();
        Ok(Content { refused: refused.into(), refused_count, ..restored.unwrap_or_default() })
    }
}

/// The views over the sources; those that nothing changed for stay the same, with their rendered pages.
pub(crate) fn board_of(
    sources: &BTreeMap<String, Arc<Source>>,
    wanted: &[WantedView],
    current: &Board,
    page_cache_max: usize,
) -> Board {
    let mut views = BTreeMap::new();
    for WantedView { options, .. } in wanted {
        let supplies: Vec<Supply> = options
            .sources
            .iter()
            .filter_map(|name| sources.get(name))
            .map(|source| Supply { name: source.options.name.clone(), content: source.content.load_full() })
            .collect();
        let known = current.views.get(&options.name).filter(|view| view.is_made_of(options, &supplies));
        let view = known.cloned().unwrap_or_else(|| {
            let filter = Filter::compile(&options.filter).unwrap_or_default();
            Arc::new(View::new(options.clone(), supplies, filter, page_cache_max))
        });
        views.insert(options.name.clone(), view);
    }
    let first = wanted.first().and_then(|view| views.get(&view.options.name));
    let default = views.get(VIEW_DEFAULT).or(first).cloned();
    Board { views, default }
}
