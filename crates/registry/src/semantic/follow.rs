//! Keeps the vectors up with the views.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use metrics::gauge;
use paddock_platform::{problem::error_chain, store::StoreError, task::background};

use super::{Embed, EmbedError, EmbedRequest, EmbeddingOptions, Row, Semantic, TextHash, Vectors};
use crate::{
    entry::{ContentHash, Entry, content_hash},
    metrics::{REGISTRY_EMBEDDINGS, REGISTRY_EMBEDDINGS_MISSING},
    registry::Registry,
    view::Board,
};

/// Changes come in groups: they are looked at together.
const SETTLE_DELAY: Duration = Duration::from_millis(250);
/// How often the configuration is compared with what there is, when nothing happens.
const REVIEW_INTERVAL: Duration = Duration::from_secs(30);
/// How long one batch may take.
const BATCH_TIMEOUT: Duration = Duration::from_mins(2);
/// The first wait after a failure and the longest; it doubles in between.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(5), Duration::from_mins(10));
/// After so many batches, searches are given what there is.
const PUBLISH_EVERY: usize = 32;
/// How much of a server's text is embedded, in bytes: models cut what is longer than they read.
const TEXT_SIZE_MAX: usize = 2_000;
/// As many vectors more than twice those that are needed stay in the store: what is gone now may be back with the next sync.
const STALE_MAX: usize = 1_000;

/// Servers could not be embedded.
#[derive(Debug, thiserror::Error)]
enum FollowError {
    /// The model failed.
    #[error("the model did not embed the servers")]
    Embed(#[from] EmbedError),
    /// It takes too long.
    #[error("the model did not embed {0} servers within two minutes")]
    TimedOut(usize),
    /// Its vectors cannot be compared.
    #[error("the model gave vectors of different lengths, or not one for each server")]
    Uneven,
    /// They could not be kept.
    #[error("the vectors could not be kept")]
    Store(#[from] StoreError),
    /// Work on another thread failed: a defect.
    #[error("looking through the servers failed")]
    Panic(#[from] tokio::task::JoinError),
}

/// What is to be found by its meaning.
#[derive(Default)]
struct Wanted {
    /// The entries, with their texts.
    entries: Vec<(ContentHash, TextHash)>,
    /// An entry for each text that there is no vector of.
    missing: Vec<(TextHash, Arc<Entry>)>,
    /// There are entries that the vectors do not know.
    is_new: bool,
}

/// Embeds what is missing whenever something may be; ends never.
pub(crate) async fn follow(registry: Registry, semantic: Arc<Semantic>, embed: Arc<dyn Embed>) {
    let mut backoff = BACKOFF.0;
    let mut loaded = String::new();
    loop {
        tokio::time::sleep(SETTLE_DELAY).await;
        let options = registry.options().embeddings.clone();
        let round = Box::pin(round(&registry, &semantic, embed.as_ref(), &options, &mut loaded));
        match round.await {
            Ok(()) => {
                backoff = BACKOFF.0;
                // Woken or late, it is the same.
                let _ = tokio::time::timeout(REVIEW_INTERVAL, semantic.wake.notified()).await;
            }
            Err(error) => {
                let error = error_chain(&error);
                tracing::warn!(error, "servers could not be embedded; they are found by words alone");
                semantic.set_progress(semantic.progress().missing, Some(error));
                // A model that fails is not asked at each change.
                tokio::time::sleep(backoff).await;
                backoff = (backoff * 2).min(BACKOFF.1);
            }
        }
    }
}

async fn round(
    registry: &Registry,
    semantic: &Semantic,
    embed: &dyn Embed,
    options: &EmbeddingOptions,
    loaded: &mut String,
) -> Result<(), FollowError> {
    let before = semantic.vectors.load_full();
    if options.model.is_empty() {
        if before.count() > 0 {
            semantic.vectors.store(Arc::new(before.next("", &[], &HashMap::new())));
            report(0, 0);
        }
        loaded.clear();
        semantic.set_progress(0, None);
        return Ok(());
    }
    let space = options.space();
    let (board, servers_max) = (arc_swap::Guard::into_inner(registry.board()), options.servers_max);
    let (known, is_same) = (Arc::clone(&before), before.space() == space);
    let wanted = background(move || wanted(&board, &known, is_same, servers_max)).await?;
    let Wanted { entries, mut missing, is_new } = wanted;
    let mut fresh = HashMap::new();
    if *loaded != space {
        fresh = semantic.store.load_vectors(&space, servers_max).await?;
        missing.retain(|(text, _)| !fresh.contains_key(text));
        loaded.clone_from(&space);
    }
    let differs = !is_same || is_new || entries.len() != before.entry_count();
    let left = missing.len();
    let mut round = Round { semantic, embed, options, space, entries: Arc::new(entries), fresh, left };
    if differs {
        round.publish().await?;
    }
    let embedded = round.embed(&missing).await;
    if !missing.is_empty() {
        // Also what came before a failure.
        round.publish().await?;
    }
    embedded?;
    semantic.set_progress(0, None);
    round.clear_up().await
}

/// One look at what is missing.
struct Round<'a> {
    semantic: &'a Semantic,
    embed: &'a dyn Embed,
    options: &'a EmbeddingOptions,
    space: String,
    entries: Arc<Vec<(ContentHash, TextHash)>>,
    /// Rows that searches do not have yet.
    fresh: HashMap<TextHash, Row>,
    /// How many texts are still to be embedded.
    left: usize,
}

impl Round<'_> {
    async fn embed(&mut self, missing: &[(TextHash, Arc<Entry>)]) -> Result<(), FollowError> {
        for (number, batch) in (1_usize..).zip(missing.chunks(self.options.batch_max.max(1))) {
            let rows = self.rows_of(batch).await?;
            self.semantic.store.keep_vectors(&self.space, &rows).await?;
            self.left -= rows.len();
            self.fresh.extend(rows);
            if number.is_multiple_of(PUBLISH_EVERY) {
                self.publish().await?;
            }
        }
        Ok(())
    }

    async fn rows_of(&self, batch: &[(TextHash, Arc<Entry>)]) -> Result<Vec<(TextHash, Row)>, FollowError> {
        let request = EmbedRequest {
            model: self.options.model.clone(),
            dimensions: self.options.dimensions,
            texts: batch.iter().map(|(_, entry)| text_of(entry)).collect(),
        };
        let embedding = tokio::time::timeout(BATCH_TIMEOUT, self.embed.embed(request)).await;
        let vectors = embedding.map_err(|_| FollowError::TimedOut(batch.len()))??;
        let dimensions = vectors.first().map_or(0, Vec::len);
        let is_even = vectors.len() == batch.len() && vectors.iter().all(|vector| vector.len() == dimensions);
        if !is_even || dimensions == 0 {
            return Err(FollowError::Uneven);
        }
        Ok(batch.iter().zip(&vectors).map(|((text, _), vector)| (*text, Row::of(vector))).collect())
    }

    /// Gives searches what there is.
    async fn publish(&mut self) -> Result<(), FollowError> {
        let (before, entries) = (self.semantic.vectors.load_full(), Arc::clone(&self.entries));
        let (space, fresh) = (self.space.clone(), std::mem::take(&mut self.fresh));
        let next = background(move || before.next(&space, &entries, &fresh)).await?;
        report(next.count(), self.left);
        self.semantic.vectors.store(Arc::new(next));
        self.semantic.set_progress(self.left, None);
        Ok(())
    }

    /// Writes the store anew where most of what it has is of texts that nobody has any more.
    async fn clear_up(&self) -> Result<(), FollowError> {
        let vectors = self.semantic.vectors.load_full();
        let kept = self.semantic.store.vectors_count(&self.space).await?;
        if kept > vectors.count().saturating_mul(2).saturating_add(STALE_MAX) {
            self.semantic.store.replace_vectors(&self.space, &vectors).await?;
        }
        Ok(())
    }
}

fn report(embedded: usize, missing: usize) {
    gauge!(REGISTRY_EMBEDDINGS).set(embedded as f64);
    gauge!(REGISTRY_EMBEDDINGS_MISSING).set(missing as f64);
}

fn wanted(board: &Board, before: &Vectors, is_same: bool, servers_max: usize) -> Wanted {
    let mut wanted = Wanted::default();
    let (mut contents, mut texts) = (HashSet::new(), HashSet::new());
    for view in board.views.values() {
        let selection = view.whole();
        for position in &selection.latest {
            let entry = &selection.entries[*position as usize];
            if wanted.entries.len() >= servers_max {
                return wanted;
            }
            if !contents.insert(entry.content) {
                continue;
            }
            let known = before.text_of(&entry.content);
            wanted.is_new |= known.is_none();
            let text = known.unwrap_or_else(|| content_hash(&[text_of(entry).as_bytes()]));
            wanted.entries.push((entry.content, text));
            if !(is_same && before.has_text(&text)) && texts.insert(text) {
                wanted.missing.push((text, Arc::clone(entry)));
            }
        }
    }
    wanted
}

/// What a server says of itself, as far as it is embedded.
fn text_of(entry: &Entry) -> String {
    let mut text = entry.haystack.to_string();
    for part in entry.tags.iter().map(AsRef::as_ref).chain([&*entry.tools]) {
        text.push('\n');
        text.push_str(part);
    }
    let mut end = text.len().min(TEXT_SIZE_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{draft, supply};

    #[test]
    fn a_text_is_cut_between_characters() {
        let mut long = draft("a.b/x", "1.0.0");
        long.haystack = "ä".repeat(TEXT_SIZE_MAX).into();
        long.tags = ["tag".into()].into();
        let content = supply("one", vec![long, draft("a.b/y", "1.0.0")]).content;
        assert_eq!(text_of(&content.entries[0]).len(), TEXT_SIZE_MAX);
        let short = text_of(&content.entries[1]);
        assert!(short.starts_with("a.b/y\n") && short.len() < 100, "{short}");
    }
}
