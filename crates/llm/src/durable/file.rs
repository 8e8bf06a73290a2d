//! Files: what batches are read from, and what they leave.

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use paddock_platform::{
    blobs::{BlobError, BlobKey},
    identity::{Caller, Tenant},
    params,
    problem::Problem,
    store::{Row, StoreError},
};
use schemars::JsonSchema;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Durable,
    store::{DELETE_FILE, EXPIRED_FILES, FIND_FILE, INSERT_FILE, LIST_FILES},
};

/// What a batch is read from has this purpose.
pub(super) const PURPOSE_INPUT: &str = "batch";
/// What a batch leaves has this one.
pub(super) const PURPOSE_OUTPUT: &str = "batch_output";

/// A file that came in.
#[derive(Debug)]
pub(crate) struct Uploaded {
    pub(crate) name: String,
    pub(crate) purpose: String,
    pub(crate) bytes: Bytes,
}

/// A file, in OpenAI's form.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub(crate) struct FileView {
    pub(crate) id: String,
    object: &'static str,
    /// Its size.
    bytes: u64,
    /// When it came, in seconds since 1970.
    created_at: i64,
    /// When it is forgotten.
    expires_at: i64,
    filename: String,
    /// `batch`, or `batch_output`.
    pub(super) purpose: String,
    status: &'static str,
    #[serde(skip)]
    pub(super) created_ms: i64,
}

impl FileView {
    fn read(row: &Row) -> Result<Self, StoreError> {
        let created: Timestamp = row.get(4)?;
        Ok(Self {
            id: row.get(0)?,
            object: "file",
            filename: row.get(1)?,
            purpose: row.get(2)?,
            bytes: row.get::<i64>(3)?.unsigned_abs(),
            created_at: created.as_second(),
            expires_at: row.get::<Timestamp>(5)?.as_second(),
            status: "processed",
            created_ms: created.as_millisecond(),
        })
    }
}

/// Where a file's content is. Ids come from callers: one that is no key names nothing.
fn blob_key(id: &str) -> Option<BlobKey> {
    format!("llm/files/{id}.jsonl").parse().ok()
}

impl Durable {
    /// Keeps a file that a caller sends.
    pub(crate) async fn upload(&self, caller: &Caller, uploaded: Uploaded) -> Result<FileView, Problem> {
        if uploaded.purpose != PURPOSE_INPUT {
            return Err(Problem::invalid_field(
                "purpose",
                "must be `batch`: there is no other use for files here",
            ));
        }
        let id = format!("file-{}", uuid::Uuid::now_v7().simple());
        self.keep_file(caller.tenant(), &id, uploaded).await
    }

    /// Keeps a file. What is there under its id is the same file.
    pub(super) async fn keep_file(
        &self,
        tenant: &Tenant,
        id: &str,
        file: Uploaded,
    ) -> Result<FileView, Problem> {
        let key = blob_key(id).ok_or_else(|| Problem::not_found("file", id))?;
        let now = Timestamp::now();
        let retention =
            SignedDuration::try_from(self.options().retention.get()).unwrap_or(SignedDuration::MAX);
        let expires = now.checked_add(retention).unwrap_or(Timestamp::MAX);
        let size = i64::try_from(file.bytes.len()).unwrap_or(i64::MAX);
        // First the content: a file that is told of is there.
        self.0.blobs.put(&key, file.bytes).await?;
        let row = params![id, tenant, file.name, file.purpose, size, now, expires];
        self.0.store.execute(&INSERT_FILE, row).await?;
        self.file(tenant, id).await
    }

    /// What is known of a file.
    pub(crate) async fn file(&self, tenant: &Tenant, id: &str) -> Result<FileView, Problem> {
        let row = self.0.store.query_first(&FIND_FILE, params![tenant, id]).await?;
        let row = row.ok_or_else(|| Problem::not_found("file", id))?;
        Ok(FileView::read(&row)?)
    }

    /// A file's content.
    pub(crate) async fn file_content(&self, tenant: &Tenant, id: &str) -> Result<Bytes, Problem> {
        self.file(tenant, id).await?;
        let key = blob_key(id).ok_or_else(|| Problem::not_found("file", id))?;
        match self.0.blobs.get(&key).await {
            Ok(blob) => Ok(blob.bytes),
            Err(BlobError::NotFound(_)) => Err(Problem::not_found("file", id)),
            Err(error) => Err(error.into()),
        }
    }

    /// Files of a tenant, the newest first, after one of them.
    pub(crate) async fn files(
        &self,
        tenant: &Tenant,
        after: Option<&str>,
        purpose: Option<String>,
        limit: usize,
    ) -> Result<Vec<FileView>, Problem> {
        let (before_ms, before_id) = match after {
            Some(id) => (self.file(tenant, id).await?.created_ms, id.to_owned()),
            None => (i64::MAX, String::new()),
        };
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows =
            self.0.store.query(&LIST_FILES, params![tenant, before_ms, before_id, purpose, limit]).await?;
        Ok(rows.iter().map(FileView::read).collect::<Result<_, _>>()?)
    }

    /// Forgets a file.
    pub(crate) async fn delete_file(&self, tenant: &Tenant, id: &str) -> Result<(), Problem> {
        if self.0.store.execute(&DELETE_FILE, params![tenant, id]).await? == 0 {
            return Err(Problem::not_found("file", id));
        }
        if let Some(key) = blob_key(id) {
            self.0.blobs.delete(&key).await?;
        }
        Ok(())
    }

    /// Forgets files whose time is over.
    pub(super) async fn expire_files(&self, now: Timestamp) -> Result<(), StoreError> {
        loop {
            let rows = self.0.store.query(&EXPIRED_FILES, params![now]).await?;
            for row in &rows {
                let (tenant, id): (String, String) = (row.get(0)?, row.get(1)?);
                if let Some(key) = blob_key(&id)
                    && let Err(error) = self.0.blobs.delete(&key).await
                {
                    tracing::warn!(%error, "a file that is too old could not be removed");
                    return Ok(());
                }
                self.0.store.execute(&DELETE_FILE, params![tenant, id]).await?;
            }
            if rows.is_empty() {
                return Ok(());
            }
        }
    }
}
