//! Finding servers by what they mean: by the embeddings of a model that the configuration names.
//!
//! What a server says of itself is embedded once, and again when it says something else: a task of its own looks after each
//! change of the views at what is missing, embeds it in batches, and keeps it in the store under the hash of the text. A
//! query is embedded when it is asked; **where that fails or takes too long, servers are found by words alone**, and the
//! answer says so. A search reads one immutable piece of vectors, as it reads one board.

mod config;
mod follow;
mod vectors;

use std::{
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;
use metrics::counter;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::{Notify, Semaphore};
use utoipa::ToSchema;

pub use self::config::EmbeddingOptions;
pub(crate) use self::{
    follow::follow,
    vectors::{Column, Row, TextHash, Vectors},
};
use crate::{
    metrics::REGISTRY_SEARCH_SEMANTIC_TOTAL, search::QUERY_LENGTH_MAX, store::RegistryStore, view::Selection,
};

/// Queries that are embedded at once; those of further searches are not.
const QUERIES_MAX: usize = 32;
/// How long a model that failed is left alone by searches.
const REST: Duration = Duration::from_secs(5);

/// Turns texts into vectors: the model gateway, as far as the registry knows of it.
pub trait Embed: Send + Sync + 'static {
    /// The vectors of texts, in their order.
    fn embed(&self, request: EmbedRequest) -> BoxFuture<'_, Result<Vec<Vec<f32>>, EmbedError>>;
}

/// Texts that are to be turned into vectors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbedRequest {
    /// By which model.
    pub model: String,
    /// How many numbers each, of models that can choose.
    pub dimensions: Option<u32>,
    /// The texts.
    pub texts: Vec<String>,
}

/// Texts could not be turned into vectors.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct EmbedError(pub String);

/// Whether servers were also found by what they mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SemanticUse {
    /// They were not to be: no model is configured, or the search asked for words alone.
    #[default]
    Off,
    /// They were.
    Used,
    /// Those that are embedded already were; others are found by words alone so far.
    Partial,
    /// They were not: the model did not answer in time, or nothing is embedded yet.
    Unavailable,
}

/// How far the servers are embedded.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct SemanticStatus {
    /// By which model.
    pub model: String,
    /// How many texts of servers are embedded.
    pub embedded: usize,
    /// How many are not yet.
    pub missing: usize,
    /// Why the last attempt failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What a search asks of the vectors.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    vectors: Arc<Vectors>,
    query: Row,
    similarity_min: f32,
}

/// How far things have come.
#[derive(Clone, Debug, Default)]
struct Progress {
    missing: usize,
    error: Option<String>,
}

/// The vectors of a registry, and who makes them.
pub(crate) struct Semantic {
    store: RegistryStore,
    embed: OnceLock<Arc<dyn Embed>>,
    vectors: ArcSwap<Vectors>,
    progress: Mutex<Progress>,
    wake: Notify,
    places: Semaphore,
    rests_until: Mutex<Option<Instant>>,
}

impl SemanticUse {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Used => "used",
            Self::Partial => "partial",
            Self::Unavailable => "unavailable",
        }
    }
}

impl Asked {
    /// The servers of a selection that are like the query, by their positions, in no order.
    pub(crate) fn like(&self, selection: &Selection) -> Vec<(u32, f32)> {
        let column = selection.column(&self.vectors);
        self.vectors.like(&column, &self.query, self.similarity_min)
    }
}

impl Semantic {
    pub(crate) fn new(store: RegistryStore) -> Self {
        Self {
            store,
            embed: OnceLock::new(),
            vectors: ArcSwap::default(),
            progress: Mutex::default(),
            wake: Notify::new(),
            places: Semaphore::new(QUERIES_MAX),
            rests_until: Mutex::default(),
        }
    }

    /// Takes who embeds; whoever comes second is not taken.
    pub(crate) fn set(&self, embed: &Arc<dyn Embed>) -> bool {
        self.embed.set(Arc::clone(embed)).is_ok()
    }

    /// Tells that the views have changed.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// How far the servers are embedded; none if no model is to.
    pub(crate) fn status(&self, options: &EmbeddingOptions) -> Option<SemanticStatus> {
        let model = options.model.clone();
        let Progress { missing, error } = self.progress();
        let embedded = self.vectors.load().count();
        (self.embed.get().is_some() && !model.is_empty()).then_some(SemanticStatus {
            model,
            embedded,
            missing,
            error,
        })
    }

    /// What a search asks of the vectors, and whether it can.
    pub(crate) async fn ask(&self, options: &EmbeddingOptions, query: &str) -> (SemanticUse, Option<Asked>) {
        let Some(embed) = self.embed.get().filter(|_| !options.model.is_empty()) else {
            return (SemanticUse::Off, None);
        };
        // Everything is found by a query without words, and one that is too long is refused.
        if query.trim().is_empty() || query.len() > QUERY_LENGTH_MAX {
            return (SemanticUse::Off, None);
        }
        let asked = self.embedded(embed.as_ref(), query, options).await;
        let used = match &asked {
            None => SemanticUse::Unavailable,
            Some(_) if self.progress().missing > 0 => SemanticUse::Partial,
            Some(_) => SemanticUse::Used,
        };
        counter!(REGISTRY_SEARCH_SEMANTIC_TOTAL, "outcome" => used.as_str()).increment(1);
        (used, asked)
    }

    async fn embedded(&self, embed: &dyn Embed, query: &str, options: &EmbeddingOptions) -> Option<Asked> {
        let vectors = self.vectors.load_full();
        if vectors.count() == 0 || vectors.space() != options.space() || self.rests() {
            return None;
        }
        let _place = self.places.try_acquire().ok()?;
        let EmbeddingOptions { model, dimensions, .. } = options.clone();
        let request = EmbedRequest { model, dimensions, texts: vec![query.to_lowercase()] };
        let embedded = tokio::time::timeout(options.timeout.get(), embed.embed(request)).await;
        let embedded = embedded.unwrap_or_else(|_| Err(EmbedError("no answer in time".to_owned())));
        match embedded {
            Ok(mut rows) => {
                let query = Row::of(&rows.pop()?);
                let similarity_min = f32::from(options.similarity_percent_min) / 100.0;
                (query.dimensions() == vectors.dimensions()).then_some(Asked {
                    vectors,
                    query,
                    similarity_min,
                })
            }
            Err(error) => {
                tracing::info!(%error, "a query could not be embedded; servers are found by words alone for a while");
                *self.rests_until.lock().unwrap_or_else(PoisonError::into_inner) =
                    Some(Instant::now() + REST);
                None
            }
        }
    }

    /// Whether the model is left alone: a search must not wait for one that fails.
    fn rests(&self) -> bool {
        let until = *self.rests_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    fn progress(&self) -> Progress {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_progress(&self, missing: usize, error: Option<String>) {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner) = Progress { missing, error };
    }
}
