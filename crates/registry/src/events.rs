//! What happens in the registry, in the server's feed.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use paddock_platform::{
    events::{Events, News, Topic},
    task::Tasks,
};
use serde_json::{Map, Value, json};
use tokio::sync::broadcast::error::RecvError;

use crate::{
    config::SourceKind,
    registry::{Happened, Registry},
    source::Source,
    store::SyncOutcome,
};

const SYNCS: Topic =
    Topic { name: "registry.syncs", about: "syncs of sources that changed something or failed" };
const ENTRIES: Topic =
    Topic { name: "registry.entries", about: "entries that are published or changed here, or kept out" };
/// Entries of one sync that are told of one by one; the sync's own event has the numbers.
const ENTRIES_MAX: usize = 20;

/// The entries that a source had in quarantine.
type Refused = HashSet<(String, String)>;

/// Publishes what happens in the server's feed, until the server stops.
pub fn publish(registry: &Registry, events: &Events, tasks: &Tasks) {
    events.declare(&[SYNCS, ENTRIES]);
    let mut refused: HashMap<String, Refused> =
        registry.sources().iter().map(|source| (source.options.name.clone(), refused_of(source))).collect();
    let (registry, events, mut happened) = (registry.clone(), events.clone(), registry.listen());
    let stopping = tasks.stop_token();
    tasks.spawn("registry_events", async move {
        loop {
            let happened = tokio::select! {
                happened = happened.recv() => happened,
                () = stopping.cancelled() => return,
            };
            match happened {
                Ok(happened) => tell(&registry, &events, &happened, &mut refused),
                Err(RecvError::Lagged(missed)) => events.lagged(SYNCS.name, missed),
                Err(RecvError::Closed) => return,
            }
        }
    });
}

fn refused_of(source: &Source) -> Refused {
    let content = source.content.load();
    content.refused.iter().map(|entry| (entry.name.clone(), entry.version.clone())).collect()
}

fn tell(registry: &Registry, events: &Events, happened: &Happened, refused: &mut HashMap<String, Refused>) {
    let record = &happened.record;
    let source: Arc<str> = happened.source.as_str().into();
    let news = |topic: Topic, kind: &'static str, data: Value| {
        let data = if let Value::Object(data) = data { data } else { Map::new() };
        let about = vec![("source", Arc::clone(&source))];
        // Whoever may read the registry may see its sources; names that not everybody sees are left out below.
        events.publish(News { tenant: None, topic: topic.name, kind, about, data });
    };
    let kind = if record.outcome == SyncOutcome::Failed { "syncFailed" } else { "synced" };
    news(
        SYNCS,
        kind,
        json!({
            "entries": record.entries, "quarantined": record.quarantined, "added": record.added,
            "changed": record.changed, "removed": record.removed, "tookMs": record.took_ms, "error": record.error,
        }),
    );
    let Some(found) = registry.source(&happened.source) else { return };
    let content = found.content.load();
    let before = refused.entry(happened.source.clone()).or_default();
    let is_new =
        |entry: &&crate::read::Refused| !before.contains(&(entry.name.clone(), entry.version.clone()));
    for entry in content.refused.iter().filter(is_new).take(ENTRIES_MAX) {
        let reason = entry.issues.first().map(|issue| issue.reference.clone());
        news(ENTRIES, "quarantined", json!({"name": entry.name, "version": entry.version, "reason": reason}));
    }
    *before = refused_of(&found);
    if found.kind != SourceKind::Managed {
        return;
    }
    let is_open = |key: &str| {
        content.entries.iter().all(|entry| {
            entry.claims.is_empty()
                || key.strip_prefix(&*entry.name).is_none_or(|rest| !rest.starts_with('@'))
        })
    };
    for (kind, names) in [("published", &record.added_names), ("changed", &record.changed_names)] {
        for key in names.iter().filter(|key| is_open(key)).take(ENTRIES_MAX) {
            let (name, version) = key.rsplit_once('@').unwrap_or((key, ""));
            news(ENTRIES, kind, json!({"name": name, "version": version}));
        }
    }
}
