//! Batches, as their callers see them: OpenAI's form.

use std::{collections::BTreeMap, time::Duration};

use jiff::{SignedDuration, Timestamp};
use paddock_platform::{
    durable::{DurableCall, DurableState},
    identity::{Caller, Tenant},
    params,
    problem::{CONFLICT, Problem},
    store::{Row, StoreError},
    units::HumanDuration,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{
    Durable,
    file::PURPOSE_INPUT,
    line::{LineError, api_of},
    store::{CANCEL_BATCH, END_BATCH, FIND_BATCH, INSERT_BATCH, LIST_BATCHES, SET_BATCH_JOB},
};

/// The tool that carries a batch out.
pub(crate) const BATCH_TOOL: &str = "llm_batch_run";
/// How often the job of a batch is tried: what it has done stays done.
const ATTEMPTS: u32 = 100;
/// What a job may take beyond the batch's time, to write what there is.
const SLACK: Duration = Duration::from_mins(30);
/// Pairs of metadata, and the longest key and value of one: OpenAI's limits.
const METADATA_MAX: usize = 16;
const METADATA_KEY_MAX: usize = 64;
const METADATA_VALUE_MAX: usize = 512;

/// A batch to be made.
#[derive(Clone, Debug, Deserialize, JsonSchema, ToSchema)]
pub(crate) struct BatchInput {
    /// The file with the requests, one a line.
    pub(crate) input_file_id: String,
    /// What all of them ask: `/v1/chat/completions`, `/v1/completions`, `/v1/responses`, `/v1/embeddings`, `/v1/messages`.
    pub(crate) endpoint: String,
    /// How long it may take, for example `24h`.
    pub(crate) completion_window: String,
    /// Whatever the caller wants to find again.
    #[serde(default)]
    pub(crate) metadata: Option<BTreeMap<String, String>>,
}

/// A batch, in OpenAI's form.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub(crate) struct BatchView {
    pub(crate) id: String,
    object: &'static str,
    pub(super) endpoint: String,
    /// What is wrong with the file, if the batch failed for it.
    #[schema(value_type = Option<Object>)]
    errors: Option<Value>,
    pub(super) input_file_id: String,
    completion_window: String,
    /// `validating`, `in_progress`, `finalizing`, `completed`, `failed`, `expired`, `cancelling` or `cancelled`.
    pub(crate) status: String,
    /// Answers, one a line.
    pub(crate) output_file_id: Option<String>,
    /// Requests that were refused or failed, one a line.
    pub(crate) error_file_id: Option<String>,
    created_at: i64,
    in_progress_at: Option<i64>,
    expires_at: i64,
    finalizing_at: Option<i64>,
    completed_at: Option<i64>,
    failed_at: Option<i64>,
    expired_at: Option<i64>,
    cancelling_at: Option<i64>,
    cancelled_at: Option<i64>,
    pub(super) request_counts: Counts,
    #[schema(value_type = Option<Object>)]
    metadata: Option<Value>,
    /// Where the job is that carries it out.
    job: String,
    #[serde(skip)]
    created_ms: i64,
    #[serde(skip)]
    pub(super) expires: Timestamp,
}

/// How many requests a batch has, and how they went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema, ToSchema)]
pub(super) struct Counts {
    pub(super) total: u64,
    pub(super) completed: u64,
    pub(super) failed: u64,
}

/// How a batch ends.
#[derive(Debug, Default)]
pub(super) struct Ended {
    pub(super) status: &'static str,
    pub(super) counts: Counts,
    pub(super) output_file: Option<String>,
    pub(super) error_file: Option<String>,
    pub(super) errors: Vec<LineError>,
}

impl BatchView {
    fn read(row: &Row) -> Result<Self, StoreError> {
        let seconds = |column: usize| {
            Ok::<_, StoreError>(row.get::<Option<Timestamp>>(column)?.map(Timestamp::as_second))
        };
        let json = |column: usize| {
            let text: Option<String> = row.get(column)?;
            Ok::<_, StoreError>(text.and_then(|text| serde_json::from_str::<Value>(&text).ok()))
        };
        let count = |column: usize| row.get::<i64>(column).map(i64::unsigned_abs);
        let (status, ended): (String, Option<i64>) = (row.get(7)?, seconds(18)?);
        let (created, expires): (Timestamp, Timestamp) = (row.get(13)?, row.get(14)?);
        let ended_as = |wanted: &str| ended.filter(|_| status == wanted);
        Ok(Self {
            id: row.get(0)?,
            object: "batch",
            endpoint: row.get(2)?,
            errors: json(8)?.map(|data| json!({"object": "list", "data": data})),
            input_file_id: row.get(4)?,
            completion_window: row.get(3)?,
            output_file_id: row.get(5)?,
            error_file_id: row.get(6)?,
            created_at: created.as_second(),
            in_progress_at: seconds(15)?,
            expires_at: expires.as_second(),
            finalizing_at: seconds(17)?,
            completed_at: ended_as("completed"),
            failed_at: ended_as("failed"),
            expired_at: ended_as("expired"),
            cancelling_at: seconds(16)?,
            cancelled_at: ended_as("cancelled"),
            request_counts: Counts { total: count(10)?, completed: count(11)?, failed: count(12)? },
            metadata: json(9)?,
            job: row.get(1)?,
            created_ms: created.as_millisecond(),
            expires,
            status,
        })
    }

    pub(crate) fn is_final(&self) -> bool {
        matches!(self.status.as_str(), "completed" | "failed" | "expired" | "cancelled")
    }
}

impl Durable {
    /// Makes a batch, and the job that carries it out.
    pub(crate) async fn create_batch(
        &self,
        caller: &Caller,
        input: BatchInput,
    ) -> Result<BatchView, Problem> {
        if api_of(&input.endpoint).is_none() {
            return Err(Problem::invalid_field("endpoint", "is not one whose requests can be in a batch"));
        }
        let window = self.window(&input.completion_window)?;
        let metadata = input.metadata.as_ref().map(checked_metadata).transpose()?;
        let tenant = caller.tenant();
        let file = self.file(tenant, &input.input_file_id).await?;
        if file.purpose != PURPOSE_INPUT {
            return Err(Problem::invalid_field("input_file_id", "must be a file with the purpose `batch`"));
        }
        let id = format!("batch_{}", uuid::Uuid::now_v7().simple());
        let now = Timestamp::now();
        let expires = now.checked_add(SignedDuration::try_from(window).unwrap_or(SignedDuration::MAX));
        let row = params![
            id.clone(),
            tenant,
            input.endpoint,
            input.completion_window,
            input.input_file_id,
            metadata,
            now,
            expires.unwrap_or(Timestamp::MAX),
        ];
        self.0.store.execute(&INSERT_BATCH, row).await?;
        if let Err(problem) = self.submit_batch(caller, &id, window).await {
            let errors = vec![LineError::new("job_refused", problem.detail.clone())];
            self.end_batch(&id, Ended { status: "failed", errors, ..Ended::default() }).await?;
            return Err(problem);
        }
        self.batch(caller, &id).await
    }

    /// Makes the job of a batch, unless there is one.
    async fn submit_batch(&self, caller: &Caller, id: &str, left: Duration) -> Result<(), Problem> {
        let call = DurableCall {
            tool: BATCH_TOOL,
            input: json!({"batch": id}),
            timeout: left + SLACK,
            attempts: ATTEMPTS,
            unique_key: Some(format!("llm-batch:{id}")),
        };
        let receipt = self.calls().submit(caller, call).await?;
        self.0.store.execute(&SET_BATCH_JOB, params![id, receipt.id]).await?;
        Ok(())
    }

    fn window(&self, text: &str) -> Result<Duration, Problem> {
        let window_max = self.options().window_max;
        match text.parse::<HumanDuration>() {
            Ok(window) if !window.get().is_zero() && window.get() <= window_max.get() => Ok(window.get()),
            _ => Err(Problem::invalid_field(
                "completion_window",
                format!("must be a time such as `24h`, {window_max} at most"),
            )),
        }
    }

    /// A batch of a tenant, as it is written down.
    pub(super) async fn find_batch(&self, tenant: &Tenant, id: &str) -> Result<BatchView, Problem> {
        let row = self.0.store.query_first(&FIND_BATCH, params![tenant, id]).await?;
        let row = row.ok_or_else(|| Problem::not_found("batch", id))?;
        Ok(BatchView::read(&row)?)
    }

    /// A batch of a tenant. One whose job somebody ended has ended; one whose server died before it had a job gets one.
    pub(crate) async fn batch(&self, caller: &Caller, id: &str) -> Result<BatchView, Problem> {
        let tenant = caller.tenant();
        let batch = self.find_batch(tenant, id).await?;
        if batch.is_final() {
            return Ok(batch);
        }
        if batch.job.is_empty() {
            let left = Duration::try_from(batch.expires.duration_since(Timestamp::now()));
            self.submit_batch(caller, id, left.unwrap_or_default()).await?;
            return self.find_batch(tenant, id).await;
        }
        let state = self.calls().state(tenant, BATCH_TOOL, &batch.job, Duration::ZERO).await;
        let (status, message) = match state {
            Ok(DurableState::Cancelled) => ("cancelled", "its job was cancelled".to_owned()),
            Ok(DurableState::Failed { message, .. }) => ("failed", message),
            _ => return Ok(batch),
        };
        let errors = vec![LineError::new("job_ended", message)];
        self.end_batch(id, Ended { status, counts: batch.request_counts, errors, ..Ended::default() })
            .await?;
        self.find_batch(tenant, id).await
    }

    /// Batches of a tenant, the newest first, after one of them.
    pub(crate) async fn batches(
        &self,
        tenant: &Tenant,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<BatchView>, Problem> {
        let (before_ms, before_id) = match after {
            Some(id) => (self.find_batch(tenant, id).await?.created_ms, id.to_owned()),
            None => (i64::MAX, String::new()),
        };
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = self.0.store.query(&LIST_BATCHES, params![tenant, before_ms, before_id, limit]).await?;
        Ok(rows.iter().map(BatchView::read).collect::<Result<_, _>>()?)
    }

    /// Asks a batch to end; what was answered until then is kept.
    pub(crate) async fn cancel_batch(&self, caller: &Caller, id: &str) -> Result<BatchView, Problem> {
        let batch = self.batch(caller, id).await?;
        let cancelled = self.0.store.execute(&CANCEL_BATCH, params![id, Timestamp::now()]).await? > 0;
        let now = self.batch(caller, id).await?;
        if cancelled || now.status == "cancelling" || now.status == "cancelled" {
            return Ok(now);
        }
        Err(Problem::new(CONFLICT, format!("a batch that is {} cannot be cancelled", batch.status)))
    }

    /// Writes down how a batch ended, unless it has.
    pub(super) async fn end_batch(&self, id: &str, ended: Ended) -> Result<(), StoreError> {
        let errors = (!ended.errors.is_empty()).then(|| json!(ended.errors).to_string());
        let int = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let row = params![
            id,
            ended.status,
            Timestamp::now(),
            int(ended.counts.completed),
            int(ended.counts.failed),
            ended.output_file,
            ended.error_file,
            errors,
            int(ended.counts.total),
        ];
        self.0.store.execute(&END_BATCH, row).await.map(drop)
    }
}

fn checked_metadata(metadata: &BTreeMap<String, String>) -> Result<String, Problem> {
    let fits = |(key, value): (&String, &String)| {
        key.chars().count() <= METADATA_KEY_MAX && value.chars().count() <= METADATA_VALUE_MAX
    };
    if metadata.len() > METADATA_MAX || !metadata.iter().all(fits) {
        let detail = "must have 16 pairs at most, with 64 characters in a key and 512 in a value";
        return Err(Problem::invalid_field("metadata", detail));
    }
    Ok(json!(metadata).to_string())
}
