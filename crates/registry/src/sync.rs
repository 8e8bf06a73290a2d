//! One sync: fetch, take apart, compare, show, keep, tell.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use jiff::Timestamp;
use metrics::{counter, gauge, histogram};
use paddock_platform::task::background;

use crate::{
    claims::Claims,
    config::SourceKind,
    content::{Content, Difference, Rules},
    error::FetchError,
    fetch::{Fetched, Fetcher, kubernetes},
    filter::Filter,
    format::{Parts, split},
    metrics::{
        REGISTRY_ENTRIES, REGISTRY_QUARANTINED, REGISTRY_SYNC_FAILURES, REGISTRY_SYNCS_TOTAL,
        SYNC_DURATION_SECONDS,
    },
    read::Reading,
    registry::Registry,
    source::{Phase, Source, fingerprint},
    store::{SyncOutcome, SyncRecord},
};

/// What a sync found.
struct Found {
    outcome: SyncOutcome,
    difference: Difference,
}

/// Looks at a source until it is stopped: when it is time, and when somebody asks.
pub(crate) async fn run(registry: Registry, source: Arc<Source>) {
    let mut wait = Duration::ZERO;
    loop {
        let due = Timestamp::now() + wait;
        source.update(|state| state.next_sync = Some(due));
        tokio::select! {
            () = source.stop.cancelled() => return,
            () = source.woken() => {}
            () = changed(&registry, &source) => {}
            () = tokio::time::sleep(wait) => {}
        }
        let sync = sync(&registry, &source);
        if source.stop.run_until_cancelled(sync).await.is_none() {
            return;
        }
        wait = source.wait(registry.options().backoff_max.get());
    }
}

/// Ends when a source tells that it has changed; most never do.
async fn changed(registry: &Registry, source: &Source) {
    let state = source.state();
    match (&source.options.kubernetes, &state.remembered.mark.cluster) {
        // What fails is asked again when it is time.
        (Some(options), Some(seen)) if state.failures == 0 => {
            kubernetes::changed(options, &registry.clusters(), seen).await;
        }
        _ => std::future::pending::<()>().await,
    }
}

/// Carries out one sync.
pub(crate) async fn sync(registry: &Registry, source: &Arc<Source>) {
    let _working = source.working.lock().await;
    let number = source.begin();
    let (started_at, started) = (Timestamp::now(), Instant::now());
    source.update(|state| (state.phase, state.last_attempt) = (Phase::Syncing, Some(started_at)));
    let result = Box::pin(attempt(registry, source)).await;
    let took = started.elapsed();
    let kind = source.kind.as_str();
    let label = match &result {
        Ok(Found { outcome: SyncOutcome::Unchanged, .. }) => "unchanged",
        Ok(_) => "changed",
        Err(error) => error.label(),
    };
    counter!(REGISTRY_SYNCS_TOTAL, "source_type" => kind, "outcome" => label).increment(1);
    if label != "unchanged" {
        histogram!(SYNC_DURATION_SECONDS, "source_type" => kind).record(took);
    }
    let is_news = source.update(|state| {
        state.syncs += 1;
        state.took = took;
        match &result {
            Ok(found) => {
                // What was published here before the start is no news.
                let is_first = source.kind == SourceKind::Managed && state.syncs == 1;
                let is_news = found.outcome == SyncOutcome::Changed && !is_first;
                state.phase = Phase::Complete;
                state.failures = 0;
                state.error = None;
                state.last_sync = Some(Timestamp::now());
                state.last_change = if is_news { state.last_sync } else { state.last_change };
                is_news
            }
            Err(error) => {
                let error = paddock_platform::problem::error_chain(error);
                // The same failure again is no news.
                let is_news = state.error.as_ref() != Some(&error);
                state.phase = Phase::Failed;
                state.failures = state.failures.saturating_add(1);
                state.error = Some(error);
                is_news
            }
        }
    });
    let failures = source.state().failures;
    gauge!(REGISTRY_SYNC_FAILURES, "source" => source.options.name.clone()).set(f64::from(failures));
    if is_news {
        record(registry, source, result, started_at, took).await;
    }
    source.finish(number);
}

async fn attempt(registry: &Registry, source: &Arc<Source>) -> Result<Found, FetchError> {
    let options = registry.options();
    let fingerprint = fingerprint(&source.options, &options);
    let remembered = source.state().remembered;
    let afresh = remembered.fingerprint != fingerprint;
    let reading = Reading {
        source: source.options.name.as_str().into(),
        claims: Arc::new(source.options.claims.clone()),
        size_max: options.entry_size_max.as_usize(),
        strict: source.options.strict,
        now_ms: Timestamp::now().as_millisecond(),
    };
    let (source_parts, is_update, mark) = if source.kind == SourceKind::Managed {
        let (parts, is_update, mark) = registry.managed_parts(source, remembered.mark, afresh).await?;
        (SourceParts::Owned(parts), is_update, mark)
    } else {
        let fetcher = Fetcher {
            http: registry.http(),
            clusters: registry.clusters(),
            size_max: options.source_size_max,
            entries_max: options.entries_max,
        };
        let timeout = options.sync_timeout.get();
        let fetch = fetcher.fetch(&source.options, remembered.mark, afresh);
        match tokio::time::timeout(timeout, fetch).await.map_err(|_| FetchError::TimedOut(timeout))?? {
            Fetched::Unchanged(mark) => {
                registry.remember(source, fingerprint, mark).await?;
                return Ok(Found { outcome: SyncOutcome::Unchanged, difference: Difference::default() });
            }
            Fetched::Documents { documents, is_update, mark } => {
                (SourceParts::Documents(documents), is_update, mark)
            }
        }
    };
    let work = Work {
        before: source.content.load_full(),
        parts: source_parts,
        filter: Filter::compile(&source.options.filter).unwrap_or_default(),
        reading,
        entries_max: options.entries_max,
        is_update,
        afresh,
        // A cluster that says that nothing is there knows it, as this machine and its store do.
        refuses_nothing: !matches!(source.kind, SourceKind::Managed | SourceKind::Kubernetes)
            && source.options.file.as_ref().is_none_or(|it| it.url.is_some()),
    };
    let (content, difference) = background(move || work.carry_out()).await??;
    let content = Arc::new(content);
    let quarantine_differs = source.content.load().refused != content.refused;
    source.content.store(Arc::clone(&content));
    if !difference.is_empty() {
        registry.recompose().await;
    }
    report(source, &content);
    registry.keep(source, &content, &difference, quarantine_differs).await?;
    registry.remember(source, fingerprint, mark).await?;
    let is_changed = !difference.is_empty() || quarantine_differs;
    let outcome = if is_changed { SyncOutcome::Changed } else { SyncOutcome::Unchanged };
    Ok(Found { outcome, difference })
}

/// What a source gave, before it is taken apart.
enum SourceParts {
    Documents(Vec<Bytes>),
    Owned(Parts<'static>),
}

/// The part of a sync that is computation: it leaves the runtime's threads alone.
struct Work {
    before: Arc<Content>,
    parts: SourceParts,
    filter: Filter,
    reading: Reading,
    entries_max: usize,
    is_update: bool,
    afresh: bool,
    /// Nothing at all, where there was something, is not believed.
    refuses_nothing: bool,
}

impl Work {
    fn carry_out(&self) -> Result<(Content, Difference), FetchError> {
        match &self.parts {
            SourceParts::Owned(parts) => self.next(parts),
            SourceParts::Documents(documents) => {
                let mut parts = Vec::new();
                for document in documents {
                    parts.append(&mut split(document)?);
                }
                for part in parts.iter_mut().flatten() {
                    if let Some(own) = part.claims.take() {
                        part.claims = claims_of(&self.reading.claims, &own);
                    }
                }
                self.next(&parts)
            }
        }
    }

    fn next(&self, parts: &Parts<'_>) -> Result<(Content, Difference), FetchError> {
        let before = self.before.entries.len();
        if self.refuses_nothing && !self.is_update && parts.is_empty() && before > 0 {
            return Err(FetchError::NothingLeft { before });
        }
        let rules = Rules {
            reading: &self.reading,
            filter: &self.filter,
            entries_max: self.entries_max,
            is_update: self.is_update,
            afresh: self.afresh,
        };
        Ok(self.before.next(parts, &rules)?)
    }
}

/// Tells the metrics what a source has.
pub(crate) fn report(source: &Source, content: &Content) {
    let name = || source.options.name.clone();
    gauge!(REGISTRY_ENTRIES, "source" => name()).set(content.entries.len() as f64);
    gauge!(REGISTRY_QUARANTINED, "source" => name()).set(content.refused_count as f64);
}

async fn record(
    registry: &Registry,
    source: &Source,
    result: Result<Found, FetchError>,
    started_at: Timestamp,
    took: Duration,
) {
    let content = source.content.load_full();
    let (outcome, difference, error) = match result {
        Ok(Found { outcome, difference }) => (outcome, difference, None),
        Err(error) => {
            let error = paddock_platform::problem::error_chain(&error);
            tracing::warn!(
                registry.source = source.options.name,
                error,
                entries = content.entries.len(),
                "a source could not be read; what it gave before is served"
            );
            (SyncOutcome::Failed, Difference::default(), Some(error))
        }
    };
    if outcome == SyncOutcome::Changed {
        tracing::info!(
            registry.source = source.options.name,
            entries = content.entries.len(),
            added = difference.added,
            changed = difference.changed,
            removed = difference.removed,
            quarantined = content.refused_count,
            duration_ms = took.as_millis() as u64,
            "a source has changed"
        );
    }
    let record = SyncRecord {
        id: uuid::Uuid::now_v7().simple().to_string(),
        started_at,
        took_ms: took.as_millis() as u64,
        outcome,
        entries: content.entries.len(),
        quarantined: content.refused_count,
        added: difference.added,
        changed: difference.changed,
        removed: difference.removed,
        added_names: difference.added_names,
        changed_names: difference.changed_names,
        removed_names: difference.removed_names,
        error,
    };
    registry.add_sync(source, record).await;
}

/// What an entry that was published here asks for: what its source asks, and what it asks itself.
pub(crate) fn claims_of(source: &Claims, own: &Claims) -> Option<Arc<Claims>> {
    (!own.is_empty()).then(|| Arc::new(own.with(source)))
}
