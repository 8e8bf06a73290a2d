//! The request log: who asked which model, and how it went. Bodies are in it only where the configuration says so.
//!
//! Entries wait in a queue of bounded length and are written in batches. When the store cannot keep up, entries are not
//! kept and counted (`llm_log_dropped_total`); what is billed does not depend on them.

use std::time::Duration;

use jiff::Timestamp;
use metrics::counter;
use paddock_platform::{
    config::Section,
    params,
    problem::error_chain,
    store::{Row, Store, StoreError},
    task::Tasks,
};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::mpsc;
use utoipa::ToSchema;

use super::{Dims, Pico, dollars};
use crate::{
    config::{LlmOptions, LogMode, LogOptions},
    metrics::LLM_LOG_DROPPED_TOTAL,
    store::{EXPIRE_REQUESTS, INSERT_REQUEST, LIST_REQUESTS},
};

/// Entries written in one transaction.
const BATCH_MAX: usize = 256;
/// How long entries wait for others.
const BATCH_WAIT: Duration = Duration::from_millis(250);
/// How often old entries are looked for.
const EXPIRE_INTERVAL: Duration = Duration::from_mins(1);

/// One call, as it is kept.
#[derive(Clone, Debug)]
pub(crate) struct LogEntry {
    pub(crate) dims: Dims,
    pub(crate) outcome: &'static str,
    pub(crate) status: u16,
    pub(crate) attempts: u32,
    pub(crate) input: u64,
    pub(crate) output: u64,
    pub(crate) cost: Pico,
    pub(crate) first_token: Option<Duration>,
    pub(crate) took: Duration,
    pub(crate) trace_id: String,
    pub(crate) tags: String,
    pub(crate) request: Option<bytes::Bytes>,
    pub(crate) answer: Option<bytes::Bytes>,
}

/// A call in the log.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema, ToSchema)]
pub struct LoggedCall {
    /// Its identity.
    pub id: String,
    /// When it ended.
    #[schemars(with = "String")]
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Whose it was.
    pub tenant: String,
    /// The id of the key; empty for none.
    pub key: String,
    /// What was asked for: `chat`, `embeddings`, …
    pub api: String,
    /// The model as the caller named it.
    pub model: String,
    /// The provider that answered.
    pub provider: String,
    /// The provider's model.
    pub target: String,
    /// The credential.
    pub credential: String,
    /// `ok`, or why not.
    pub outcome: String,
    /// The status that the caller got.
    pub status: u16,
    /// Attempts at providers.
    pub attempts: u32,
    /// Tokens that were sent.
    pub input_tokens: u64,
    /// Tokens that were answered.
    pub output_tokens: u64,
    /// What it cost, in US dollars.
    pub cost_usd: f64,
    /// How long the answer took to begin, in milliseconds.
    pub first_token_ms: Option<u64>,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// The trace that it belongs to.
    pub trace_id: String,
    /// The caller's tags.
    pub tags: String,
    /// The request's body, where bodies are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// The answer's body, where bodies are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
}

/// Which entries are asked for.
#[derive(Clone, Debug)]
pub(crate) struct LogFilter {
    pub(crate) tenant: String,
    /// Entries before this one, by time and id.
    pub(crate) before: Option<(i64, String)>,
    pub(crate) limit: u32,
}

/// Keeps entries. Cheap to clone.
#[derive(Clone)]
pub(crate) struct RequestLog {
    store: Store,
    queue: mpsc::Sender<LogEntry>,
}

impl std::fmt::Debug for RequestLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RequestLog")
    }
}

impl RequestLog {
    /// Starts to write.
    pub(crate) fn start(store: Store, options: Section<LlmOptions>, tasks: &Tasks) -> Self {
        let (queue, entries) = mpsc::channel(options.current().log.queue_max.max(1));
        let writer = Writer { store: store.clone(), options, entries };
        let stopping = tasks.stop_token();
        tasks.spawn("llm-request-log", writer.run(stopping));
        Self { store, queue }
    }

    /// Keeps an entry, as far as the configuration says.
    pub(crate) fn add(&self, options: &LogOptions, mut entry: LogEntry) {
        let is_ok = entry.outcome == "ok";
        if options.mode == LogMode::Off || (is_ok && fastrand::f64() >= options.sample_ratio) {
            return;
        }
        if options.mode == LogMode::Metadata {
            (entry.request, entry.answer) = (None, None);
        }
        let body_max = options.body_max.as_usize();
        for body in [&mut entry.request, &mut entry.answer].into_iter().flatten() {
            body.truncate(body_max);
        }
        if self.queue.try_send(entry).is_err() {
            counter!(LLM_LOG_DROPPED_TOTAL).increment(1);
        }
    }

    /// Entries, the newest first.
    pub(crate) async fn list(&self, filter: LogFilter) -> Result<Vec<LoggedCall>, StoreError> {
        let (before_ms, before_id) = filter.before.unwrap_or((i64::MAX, String::new()));
        let params = params![filter.tenant, before_ms, before_id, filter.limit];
        let rows = self.store.query(&LIST_REQUESTS, params).await?;
        rows.iter().map(LoggedCall::read).collect()
    }
}

impl LoggedCall {
    fn read(row: &Row) -> Result<Self, StoreError> {
        let count = |column: usize| row.get::<i64>(column).map(i64::unsigned_abs);
        Ok(Self {
            id: row.get(0)?,
            at: Timestamp::from_millisecond(row.get(1)?).unwrap_or_default(),
            tenant: row.get(2)?,
            key: row.get(3)?,
            api: row.get(4)?,
            model: row.get(5)?,
            provider: row.get(6)?,
            target: row.get(7)?,
            credential: row.get(8)?,
            outcome: row.get(9)?,
            status: row.get(10)?,
            attempts: row.get(11)?,
            input_tokens: count(12)?,
            output_tokens: count(13)?,
            cost_usd: dollars(count(14)?),
            first_token_ms: row.get::<Option<i64>>(15)?.map(i64::unsigned_abs),
            duration_ms: count(16)?,
            trace_id: row.get(17)?,
            tags: row.get(18)?,
            request: row.get(19)?,
            answer: row.get(20)?,
        })
    }
}

struct Writer {
    store: Store,
    options: Section<LlmOptions>,
    entries: mpsc::Receiver<LogEntry>,
}

impl Writer {
    async fn run(mut self, stopping: tokio_util::sync::CancellationToken) {
        let mut expire = tokio::time::interval(EXPIRE_INTERVAL);
        loop {
            let mut batch = Vec::with_capacity(BATCH_MAX);
            tokio::select! {
                count = self.entries.recv_many(&mut batch, BATCH_MAX) => if count == 0 { return },
                _ = expire.tick() => self.expire().await,
                () = stopping.cancelled() => return self.drain().await,
            }
            if !batch.is_empty() {
                self.write(batch).await;
                // What comes meanwhile is one transaction.
                tokio::select! {
                    () = tokio::time::sleep(BATCH_WAIT) => {}
                    () = stopping.cancelled() => {}
                }
            }
        }
    }

    /// What is left when the server stops.
    async fn drain(&mut self) {
        let mut rest = Vec::new();
        while let Ok(entry) = self.entries.try_recv() {
            rest.push(entry);
        }
        while !rest.is_empty() {
            let batch = rest.split_off(rest.len().saturating_sub(BATCH_MAX));
            self.write(batch).await;
        }
    }

    async fn write(&self, batch: Vec<LogEntry>) {
        let count = batch.len() as u64;
        let written = self.store.write(|tx| {
            Box::pin(async move {
                for entry in batch {
                    tx.execute(&INSERT_REQUEST, row(entry)).await?;
                }
                Ok(())
            })
        });
        if let Err(error) = written.await {
            counter!(LLM_LOG_DROPPED_TOTAL).increment(count);
            tracing::error!(
                error = error_chain(&error),
                count,
                "entries of the log of model calls were not kept"
            );
        }
    }

    async fn expire(&self) {
        let retention = self.options.current().log.retention.get();
        let Ok(retention) = jiff::SignedDuration::try_from(retention) else { return };
        let oldest = (Timestamp::now() - retention).as_millisecond();
        loop {
            match self.store.execute(&EXPIRE_REQUESTS, params![oldest]).await {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) => {
                    tracing::error!(error = error_chain(&error), "old model calls could not be forgotten");
                    return;
                }
            }
        }
    }
}

fn row(entry: LogEntry) -> paddock_platform::store::Params {
    let int = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    // PostgreSQL keeps no NUL.
    let text = |body: bytes::Bytes| String::from_utf8_lossy(&body).replace('\0', "\u{fffd}");
    let id = uuid::Uuid::now_v7();
    let LogEntry { dims, .. } = entry;
    params![
        id.to_string(),
        Timestamp::now(),
        &*dims.tenant,
        &*dims.key,
        dims.api,
        &*dims.model,
        &*dims.provider,
        &*dims.target,
        &*dims.credential,
        entry.outcome,
        entry.status,
        entry.attempts,
        int(entry.input),
        int(entry.output),
        int(entry.cost),
        entry.first_token.map(|took| int(took.as_millis() as u64)),
        int(entry.took.as_millis() as u64),
        entry.trace_id,
        entry.tags,
        entry.request.map(text),
        entry.answer.map(text),
    ]
}
