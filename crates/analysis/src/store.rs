//! The [`Archive`]: reports that were made, with their files.
//!
//! A row per report in the store, its documents and pictures as blobs under `analysis/<id>/`. The files are written
//! first and the row last, so a report that is listed is whole; when it is forgotten, the files go first and the row
//! last. What fails in between is taken back; files that a crash left without a row are removed by [`Archive::sweep`].

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use jiff::Timestamp;
use paddock_platform::{
    blobs::{Blob, BlobError, BlobKey, Blobs},
    identity::Tenant,
    params,
    store::{Migration, Migrations, Row, Statement, Store, StoreError},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    Finished,
    report::{self, Format, RenderError},
};

const MIGRATIONS: Migrations = Migrations::new(
    "analysis",
    &[Migration::new(
        1,
        "reports",
        "CREATE TABLE analysis_reports (
             id TEXT NOT NULL PRIMARY KEY,
             tenant TEXT NOT NULL,
             page_key TEXT NOT NULL,
             url TEXT NOT NULL,
             title TEXT NOT NULL,
             page_type TEXT NOT NULL,
             created_ms BIGINT NOT NULL,
             score BIGINT,
             high BIGINT NOT NULL,
             medium BIGINT NOT NULL,
             low BIGINT NOT NULL
         );
         CREATE INDEX analysis_reports_by_time ON analysis_reports (tenant, created_ms, id);
         CREATE INDEX analysis_reports_by_page ON analysis_reports (tenant, page_key, created_ms);
         CREATE INDEX analysis_reports_by_age ON analysis_reports (created_ms)",
    )],
);

macro_rules! columns {
    () => {
        "id, url, title, page_type, created_ms, score, high, medium, low"
    };
}

static EXISTS: Statement =
    Statement::new("analysis", "report_exists", "SELECT id FROM analysis_reports WHERE id = ?1");
static INSERT: Statement = Statement::new(
    "analysis",
    "insert_report",
    "INSERT INTO analysis_reports (id, tenant, page_key, url, title, page_type, created_ms, score, high, medium, low)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
);
static LIST: Statement = Statement::new(
    "analysis",
    "list_reports",
    concat!(
        "SELECT ",
        columns!(),
        " FROM analysis_reports
          WHERE tenant = ?1 AND (created_ms < ?2 OR (created_ms = ?2 AND id < ?3))
          ORDER BY created_ms DESC, id DESC LIMIT ?4"
    ),
);
static FIND: Statement = Statement::new(
    "analysis",
    "find_report",
    concat!("SELECT ", columns!(), " FROM analysis_reports WHERE tenant = ?1 AND id = ?2"),
);
static LATEST: Statement = Statement::new(
    "analysis",
    "latest_report",
    "SELECT id FROM analysis_reports WHERE tenant = ?1 AND page_key = ?2 AND created_ms >= ?3
     ORDER BY created_ms DESC LIMIT 1",
);
static DELETE: Statement =
    Statement::new("analysis", "delete_report", "DELETE FROM analysis_reports WHERE tenant = ?1 AND id = ?2");
static EXPIRED: Statement = Statement::new(
    "analysis",
    "expired_reports",
    "SELECT tenant, id FROM analysis_reports WHERE created_ms < ?1 ORDER BY created_ms LIMIT 500",
);

/// A report in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct ReportSummary {
    /// Identity of the report.
    pub id: String,
    /// Where the page was, after redirects.
    pub url: String,
    /// Its title.
    pub title: String,
    /// What kind of page it was taken for.
    pub page_type: String,
    /// When it was looked at.
    #[schemars(with = "String")]
    #[schema(value_type = String, format = DateTime)]
    pub generated_at: Timestamp,
    /// The overall score, 0 to 100; null if nothing could be judged.
    pub score: Option<u8>,
    /// Flaws of high severity.
    pub high: u32,
    /// Flaws of medium severity.
    pub medium: u32,
    /// Flaws of low severity.
    pub low: u32,
}

/// A report could not be kept, found or read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The database failed.
    #[error("the list of reports cannot be used")]
    Store(#[from] StoreError),
    /// The files failed.
    #[error("the files of a report cannot be used")]
    Blobs(#[from] BlobError),
    /// A form of the report could not be made.
    #[error("the report could not be rendered")]
    Render(#[from] RenderError),
    /// Rendering panicked: a defect.
    #[error("rendering the report failed")]
    Panic(#[source] tokio::task::JoinError),
}

/// Reports that were made. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Archive {
    store: Store,
    blobs: Blobs,
}

impl Archive {
    /// Opens the archive, bringing its schema up to date.
    pub async fn open(store: Store, blobs: Blobs) -> Result<Self, ArchiveError> {
        store.migrate(&MIGRATIONS).await?;
        Ok(Self { store, blobs })
    }

    /// Keeps a report in all its forms, with its pictures. `page_key` finds it again for the same page.
    pub async fn save(
        &self,
        tenant: &Tenant,
        page_key: &str,
        finished: Finished,
    ) -> Result<(), ArchiveError> {
        let report = finished.report.clone();
        let files = tokio::task::spawn_blocking(move || render_all(&finished))
            .await
            .map_err(ArchiveError::Panic)??;
        let summary = &report.summary;
        let params = params![
            report.id.clone(),
            tenant.as_str(),
            page_key,
            report.final_url.clone(),
            report.title.clone(),
            report.page_type.clone(),
            report.generated_at.as_millisecond(),
            report.scores.overall.map(i64::from),
            i64::from(summary.high),
            i64::from(summary.medium),
            i64::from(summary.low)
        ];
        let saved = self.save_files(&report.id, files).await;
        let saved = match saved {
            Ok(()) => self.store.execute(&INSERT, params).await.map(drop).map_err(ArchiveError::from),
            Err(error) => Err(error),
        };
        if saved.is_err()
            && let Err(error) = self.delete_files(&report.id).await
        {
            tracing::warn!(error = %error, report = report.id, "files of a report that was not saved are left");
        }
        saved
    }

    async fn save_files(&self, id: &str, files: Vec<(String, Bytes)>) -> Result<(), ArchiveError> {
        for (name, bytes) in files {
            // Names come from the report: each is one.
            let Some(key) = key(id, &name) else { continue };
            self.blobs.put(&key, bytes).await?;
        }
        Ok(())
    }

    async fn delete_files(&self, id: &str) -> Result<(), ArchiveError> {
        for file in self.blobs.list(&format!("analysis/{id}")).await? {
            self.blobs.delete(&file.key).await?;
        }
        Ok(())
    }

    /// Removes files older than `age_min` that belong to no report; how many reports those would have been.
    pub async fn sweep(&self, age_min: Duration) -> Result<usize, ArchiveError> {
        let before_ms = milliseconds_ago(age_min);
        let mut ids: BTreeSet<String> = BTreeSet::new();
        for file in self.blobs.list("analysis").await? {
            let id = file.key.as_str().split('/').nth(1).unwrap_or_default();
            if file.modified_at.as_millisecond() < before_ms {
                ids.insert(id.to_owned());
            }
        }
        let mut removed = 0;
        for id in ids {
            if self.store.query_first(&EXISTS, params![id.clone()]).await?.is_none() {
                self.delete_files(&id).await?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// A tenant's reports, the newest first, beginning after `(created_ms, id)`.
    pub async fn list(
        &self,
        tenant: &Tenant,
        after: Option<(i64, String)>,
        limit: u32,
    ) -> Result<Vec<ReportSummary>, ArchiveError> {
        let (created_ms, id) = after.unwrap_or((i64::MAX, String::new()));
        let rows =
            self.store.query(&LIST, params![tenant.as_str(), created_ms, id, i64::from(limit)]).await?;
        Ok(rows.iter().map(summary).collect::<Result<_, _>>()?)
    }

    /// A tenant's report by its id.
    pub async fn find(&self, tenant: &Tenant, id: &str) -> Result<Option<ReportSummary>, ArchiveError> {
        let row = self.store.query_first(&FIND, params![tenant.as_str(), id]).await?;
        Ok(row.as_ref().map(summary).transpose()?)
    }

    /// The id of the newest report of a page that is not older than `age_max`.
    pub async fn latest(
        &self,
        tenant: &Tenant,
        page_key: &str,
        age_max: Duration,
    ) -> Result<Option<String>, ArchiveError> {
        let since = milliseconds_ago(age_max);
        let row = self.store.query_first(&LATEST, params![tenant.as_str(), page_key, since]).await?;
        Ok(row.map(|row| row.get("id")).transpose()?)
    }

    /// A file of a tenant's report: `report.json`, `report.html`, `report.md` or a picture's name.
    pub async fn file(&self, tenant: &Tenant, id: &str, name: &str) -> Result<Option<Blob>, ArchiveError> {
        if self.find(tenant, id).await?.is_none() {
            return Ok(None);
        }
        let Some(key) = key(id, name) else { return Ok(None) };
        match self.blobs.get(&key).await {
            Ok(blob) => Ok(Some(blob)),
            Err(BlobError::NotFound(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Forgets a tenant's report; whether there was one.
    pub async fn delete(&self, tenant: &Tenant, id: &str) -> Result<bool, ArchiveError> {
        if self.find(tenant, id).await?.is_none() {
            return Ok(false);
        }
        self.delete_files(id).await?;
        Ok(self.store.execute(&DELETE, params![tenant.as_str(), id]).await? > 0)
    }

    /// Forgets what is older than `age_max`; how many reports that were. One call takes 500 at most.
    pub async fn expire(&self, age_max: Duration) -> Result<usize, ArchiveError> {
        let rows = self.store.query(&EXPIRED, params![milliseconds_ago(age_max)]).await?;
        for row in &rows {
            let tenant: String = row.get("tenant")?;
            let id: String = row.get("id")?;
            if let Ok(tenant) = tenant.parse() {
                self.delete(&tenant, &id).await?;
            }
        }
        Ok(rows.len())
    }
}

fn milliseconds_ago(age: Duration) -> i64 {
    let age_ms = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
    Timestamp::now().as_millisecond().saturating_sub(age_ms)
}

fn key(id: &str, name: &str) -> Option<BlobKey> {
    format!("analysis/{id}/{name}").parse().ok()
}

fn render_all(finished: &Finished) -> Result<Vec<(String, Bytes)>, RenderError> {
    let mut files = Vec::new();
    for format in Format::ALL {
        let text = report::render(format, &finished.report, &finished.images)?;
        files.push((format.file_name().to_owned(), text.into()));
    }
    files.extend(finished.images.iter().map(|image| (image.file.clone(), image.bytes.clone())));
    Ok(files)
}

fn summary(row: &Row) -> Result<ReportSummary, StoreError> {
    let created_ms: i64 = row.get("created_ms")?;
    let score: Option<i64> = row.get("score")?;
    Ok(ReportSummary {
        id: row.get("id")?,
        url: row.get("url")?,
        title: row.get("title")?,
        page_type: row.get("page_type")?,
        generated_at: Timestamp::from_millisecond(created_ms).unwrap_or_default(),
        score: score.and_then(|score| u8::try_from(score).ok()),
        high: row.get("high")?,
        medium: row.get("medium")?,
        low: row.get("low")?,
    })
}
