//! Carries a batch out: line by line, some at once, from where it was.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderValue, StatusCode};
use jiff::Timestamp;
use paddock_platform::{
    identity::{Caller, Tenant},
    params,
    problem::{CONFLICT, Problem},
    store::StoreError,
    tool::Progress,
};

use super::{
    BatchOptions, BatchView, CallOutput, Durable, Uploaded,
    batch::{Counts, Ended},
    file::PURPOSE_OUTPUT,
    line::{Line, LineError, api_of, read_lines, write_error, write_output},
    store::{BEGIN_BATCH, COUNT_BATCH, FINALIZE_BATCH},
};
use crate::dialect::Api;

/// How often it is looked whether somebody wants the batch to end, and told how far it is.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// The first and the longest wait before a line is tried again.
const WAIT_FIRST: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_mins(1);

/// What came of a line, as it is written into a file.
enum Came {
    Answered(Vec<u8>),
    Refused(Vec<u8>),
    /// The batch ended before the line was tried.
    Left,
}

/// A batch that is being carried out.
struct Work<'a> {
    durable: &'a Durable,
    caller: &'a Caller,
    batch: &'a BatchView,
    api: Api,
    options: BatchOptions,
    /// No further line is begun.
    stops: AtomicBool,
    completed: AtomicU64,
    failed: AtomicU64,
}

impl Durable {
    /// Carries a batch out to its end. Called again, it goes on where it was.
    pub(crate) async fn run_batch(
        &self,
        caller: &Caller,
        id: &str,
        progress: &Progress,
    ) -> Result<BatchView, Problem> {
        let tenant = caller.tenant();
        let _running = self
            .enter(id)
            .ok_or_else(|| Problem::new(CONFLICT, format!("the batch `{id}` is being carried out")))?;
        let mut batch = self.find_batch(tenant, id).await?;
        if batch.is_final() {
            return Ok(batch);
        }
        let options = self.options();
        let lines = match self.lines_of(tenant, &batch, options.lines_max).await? {
            Ok(lines) => lines,
            Err(errors) => {
                self.end_batch(id, Ended { status: "failed", errors, ..Ended::default() }).await?;
                return self.find_batch(tenant, id).await;
            }
        };
        let total = i64::try_from(lines.len()).unwrap_or(i64::MAX);
        if self.0.store.execute(&BEGIN_BATCH, params![id, total, Timestamp::now()]).await? > 0 {
            batch = self.find_batch(tenant, id).await?;
        }
        let Some(api) = api_of(&batch.endpoint) else {
            return Err(Problem::invalid_field("endpoint", "is not one whose requests can be in a batch"));
        };
        let work = Work {
            durable: self,
            caller,
            batch: &batch,
            api: api.api(),
            options,
            stops: AtomicBool::new(batch.status == "cancelling"),
            completed: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        };
        let came = work.all(&lines, progress).await?;
        work.finish(&lines, &came).await?;
        self.find_batch(tenant, id).await
    }

    /// The lines of a batch, or what is wrong with them.
    async fn lines_of(
        &self,
        tenant: &Tenant,
        batch: &BatchView,
        lines_max: usize,
    ) -> Result<Result<Vec<Line>, Vec<LineError>>, Problem> {
        match self.file_content(tenant, &batch.input_file_id).await {
            Ok(content) => Ok(read_lines(&content, &batch.endpoint, lines_max)),
            Err(problem) if problem.kind.status == StatusCode::NOT_FOUND => {
                Ok(Err(vec![LineError::new("missing_file", "the input file is gone")]))
            }
            Err(problem) => Err(problem),
        }
    }
}

impl Work<'_> {
    /// Does every line; gives what came of each, in their order.
    async fn all(&self, lines: &[Line], progress: &Progress) -> Result<Vec<Came>, Problem> {
        let mut came: Vec<Came> = lines.iter().map(|_| Came::Left).collect();
        let work = async {
            let tried = stream::iter(0..lines.len())
                .map(|index| self.numbered(index, &lines[index]))
                .buffer_unordered(self.options.concurrency_max.max(1));
            futures_util::pin_mut!(tried);
            while let Some((index, result)) = tried.next().await {
                came[index] = result?;
                match &came[index] {
                    Came::Answered(_) => self.completed.fetch_add(1, Ordering::Relaxed),
                    Came::Refused(_) => self.failed.fetch_add(1, Ordering::Relaxed),
                    Came::Left => 0,
                };
            }
            Ok::<_, Problem>(())
        };
        tokio::select! {
            done = work => done?,
            failed = self.look(lines.len(), progress) => return Err(failed.into()),
        }
        Ok(came)
    }

    /// Tells how far it is, and looks whether it shall end; ends itself only with an error.
    async fn look(&self, total: usize, progress: &Progress) -> StoreError {
        let tenant = self.caller.tenant();
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            let counts = self.counts(total as u64);
            let done = counts.completed + counts.failed;
            progress.report(done as f64, Some(total as f64), format!("{done} of {total} requests"));
            let int = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
            let row = params![self.batch.id.clone(), int(counts.completed), int(counts.failed)];
            if let Err(error) = self.durable.0.store.execute(&COUNT_BATCH, row).await {
                return error;
            }
            let is_asked = self
                .durable
                .find_batch(tenant, &self.batch.id)
                .await
                .is_ok_and(|batch| batch.status == "cancelling");
            if is_asked || self.is_over() {
                self.stops.store(true, Ordering::Relaxed);
            }
        }
    }

    fn is_over(&self) -> bool {
        Timestamp::now() >= self.batch.expires
    }

    fn counts(&self, total: u64) -> Counts {
        let completed = self.completed.load(Ordering::Relaxed);
        Counts { total, completed, failed: self.failed.load(Ordering::Relaxed) }
    }

    async fn numbered(&self, index: usize, line: &Line) -> (usize, Result<Came, Problem>) {
        (index, self.line(index, line).await)
    }

    /// Does a line, again while its provider fails or is at its limits.
    async fn line(&self, index: usize, line: &Line) -> Result<Came, Problem> {
        let mut headers = HeaderMap::new();
        headers.insert("x-paddock-class", HeaderValue::from_static("batch"));
        let key = format!("batch/{}/{index}", self.batch.id);
        let mut attempt = 0;
        loop {
            if self.stops.load(Ordering::Relaxed) || self.is_over() {
                return Ok(Came::Left);
            }
            let body = Bytes::copy_from_slice(line.body.as_bytes());
            let gateway = self.durable.gateway();
            let output = gateway.call_once(self.caller, self.api, headers.clone(), body, &key).await?;
            attempt += 1;
            let status = StatusCode::from_u16(output.status).unwrap_or(StatusCode::BAD_GATEWAY);
            if status.is_success() {
                return Ok(Came::Answered(self.written(index, line, &output)));
            }
            let may_pass = status.is_server_error() || matches!(output.status, 408 | 429);
            if !may_pass || attempt >= self.options.attempts_max {
                return Ok(Came::Refused(self.written(index, line, &output)));
            }
            self.wait(attempt, output.retry_after_ms).await;
        }
    }

    fn written(&self, index: usize, line: &Line, output: &CallOutput) -> Vec<u8> {
        let mut written = Vec::new();
        write_output(&mut written, &self.request_id(index), line, output);
        written
    }

    fn request_id(&self, index: usize) -> String {
        format!("batch_req_{}_{index}", self.batch.id.trim_start_matches("batch_"))
    }

    /// Waits before a line is tried again, not longer than the batch may take.
    async fn wait(&self, attempt: u32, ordered_ms: Option<u64>) {
        let grown =
            (WAIT_FIRST * 2_u32.pow(attempt.min(8) - 1)).min(WAIT_MAX).mul_f64(0.5 + fastrand::f64() / 2.0);
        let wait = ordered_ms.map_or(grown, |ordered| grown.max(Duration::from_millis(ordered)));
        let left =
            Duration::try_from(self.batch.expires.duration_since(Timestamp::now())).unwrap_or_default();
        let until = tokio::time::Instant::now() + wait.min(left);
        while !self.stops.load(Ordering::Relaxed) && tokio::time::Instant::now() < until {
            tokio::time::sleep_until(until.min(tokio::time::Instant::now() + LOOK_INTERVAL)).await;
        }
    }

    /// Writes the files, and that the batch has ended.
    async fn finish(&self, lines: &[Line], came: &[Came]) -> Result<(), Problem> {
        let id = &self.batch.id;
        self.durable.0.store.execute(&FINALIZE_BATCH, params![id, Timestamp::now()]).await?;
        let (mut answers, mut errors, mut counts) = (Vec::new(), Vec::new(), self.counts(lines.len() as u64));
        let is_over = self.is_over();
        let (code, why) = if is_over {
            ("batch_expired", "the batch's time was over before this request was answered")
        } else {
            ("batch_cancelled", "the batch was cancelled before this request was answered")
        };
        let mut left = 0_u64;
        for (index, (line, came)) in lines.iter().zip(came).enumerate() {
            match came {
                Came::Answered(written) => answers.extend_from_slice(written),
                Came::Refused(written) => errors.extend_from_slice(written),
                Came::Left => {
                    left += 1;
                    write_error(&mut errors, &self.request_id(index), line, code, why);
                }
            }
        }
        let status = match (left, is_over) {
            (0, _) => "completed",
            (_, true) => "expired",
            (_, false) => "cancelled",
        };
        if is_over {
            counts.failed += left;
        }
        let output_file = self.keep("output", answers).await?;
        let error_file = self.keep("error", errors).await?;
        let ended = Ended { status, counts, output_file, error_file, errors: Vec::new() };
        self.durable.end_batch(id, ended).await?;
        Ok(())
    }

    /// Keeps a file of the batch, if there is something in it. Its id follows from the batch's: written again, it is the
    /// same file.
    async fn keep(&self, what: &str, bytes: Vec<u8>) -> Result<Option<String>, Problem> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let suffix = self.batch.id.trim_start_matches("batch_");
        let id = format!("file-{suffix}-{what}");
        let name = format!("{}_{what}.jsonl", self.batch.id);
        let file = Uploaded { name, purpose: PURPOSE_OUTPUT.to_owned(), bytes: Bytes::from(bytes) };
        self.durable.keep_file(self.caller.tenant(), &id, file).await?;
        Ok(Some(id))
    }
}
