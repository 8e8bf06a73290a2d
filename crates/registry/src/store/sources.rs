//! How sources stand: what was seen last, and how their syncs went.

use std::{collections::BTreeSet, sync::Arc};

use jiff::Timestamp;
use paddock_platform::{params, store::StoreError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{RegistryStore, sql};
use crate::fetch::kubernetes::Seen;

/// What tells a source's next sync whether anything has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Mark {
    /// BLAKE3 of the whole content, in hexadecimal.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) hash: String,
    /// The entity tag of what was fetched as one document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) etag: Option<String>,
    /// `Last-Modified` of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_modified: Option<String>,
    /// The commit that was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) commit: Option<String>,
    /// Since when a registry is asked for updates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) since_ms: Option<i64>,
    /// When a registry was fetched as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) whole_ms: Option<i64>,
    /// The file as it was when it was read; only the process that read it knows.
    #[serde(skip)]
    pub(crate) stamp: Option<Stamp>,
    /// The cluster as it was listed, for watches; only the process that listed it knows.
    #[serde(skip)]
    pub(crate) cluster: Option<Arc<Seen>>,
}

impl Mark {
    /// What is worth keeping of it: the rest holds for this process alone.
    pub(crate) fn lasting(&self) -> Self {
        Self { stamp: None, cluster: None, ..self.clone() }
    }
}

/// What a file system says of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) modified_ns: i128,
    pub(crate) size: u64,
    /// Whether it lay untouched for a while when it was read: otherwise a second change may bear the same time.
    pub(crate) is_settled: bool,
}

/// What the store remembers of a source.
#[derive(Clone, Debug, Default)]
pub(crate) struct Remembered {
    /// Of the options that its content was read with.
    pub(crate) fingerprint: String,
    pub(crate) mark: Mark,
    pub(crate) synced_ms: i64,
}

/// How a sync ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SyncOutcome {
    /// The source has other content than before.
    Changed,
    /// It has the same.
    Unchanged,
    /// It could not be read; what was there before is still served.
    Failed,
}

/// One sync of a source that changed something or failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct SyncRecord {
    /// Its id.
    pub id: String,
    /// When it began.
    #[schemars(with = "String")]
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// How it ended.
    pub outcome: SyncOutcome,
    /// Entries that the source has.
    pub entries: usize,
    /// Entries that were kept out.
    pub quarantined: usize,
    /// Entries that are new.
    pub added: usize,
    /// Entries that say something else.
    pub changed: usize,
    /// Entries that are gone.
    pub removed: usize,
    /// The first 100 of the new ones, as `name@version`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub added_names: Vec<String>,
    /// The first 100 of those that say something else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed_names: Vec<String>,
    /// The first 100 of those that are gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed_names: Vec<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl RegistryStore {
    /// What is remembered of a source.
    pub(crate) async fn remembered(&self, source: &str) -> Result<Remembered, StoreError> {
        let row = self.store.query_first(&sql::FIND_SOURCE, params![source]).await?;
        let Some(row) = row else { return Ok(Remembered::default()) };
        let mark: String = row.get("mark")?;
        Ok(Remembered {
            fingerprint: row.get("fingerprint")?,
            mark: serde_json::from_str(&mark).unwrap_or_default(),
            synced_ms: row.get("synced_ms")?,
        })
    }

    /// Remembers a source.
    pub(crate) async fn remember(&self, source: &str, remembered: &Remembered) -> Result<(), StoreError> {
        let mark = serde_json::to_string(&remembered.mark).unwrap_or_default();
        let params = params![source, &remembered.fingerprint, mark, remembered.synced_ms];
        self.store.execute(&sql::SAVE_SOURCE, params).await.map(|_| ())
    }

    /// Forgets the sources that are not among these.
    pub(crate) async fn forget_all_but(&self, known: &BTreeSet<String>) -> Result<(), StoreError> {
        for row in self.store.query(&sql::LIST_SOURCES, params![]).await? {
            let name: String = row.get("name")?;
            if known.contains(&name) {
                continue;
            }
            let forget = self.store.write(move |tx| {
                Box::pin(async move {
                    for statement in [&sql::DELETE_CONTENT, &sql::DELETE_SYNCS, &sql::DELETE_SOURCE] {
                        tx.execute(statement, params![&name]).await?;
                    }
                    Ok(())
                })
            });
            forget.await?;
        }
        Ok(())
    }

    /// Adds a sync to the history of a source, which keeps the last `kept_max`.
    pub(crate) async fn add_sync(
        &self,
        source: &str,
        record: &SyncRecord,
        kept_max: u32,
    ) -> Result<(), StoreError> {
        let text = serde_json::to_string(record).unwrap_or_default();
        let (source, id, started_at) = (source.to_owned(), record.id.clone(), record.started_at);
        let write = self.store.write(move |tx| {
            Box::pin(async move {
                tx.execute(&sql::ADD_SYNC, params![id, &source, started_at, text]).await?;
                tx.execute(&sql::PRUNE_SYNCS, params![source, kept_max]).await.map(|_| ())
            })
        });
        write.await
    }

    /// The last syncs of a source that changed something or failed, the newest first.
    pub(crate) async fn syncs(&self, source: &str, limit: u32) -> Result<Vec<SyncRecord>, StoreError> {
        let rows = self.store.query(&sql::LIST_SYNCS, params![source, limit]).await?;
        let mut records = Vec::with_capacity(rows.len());
        for row in &rows {
            let text: String = row.get("record")?;
            records.extend(serde_json::from_str::<SyncRecord>(&text));
        }
        Ok(records)
    }
}
