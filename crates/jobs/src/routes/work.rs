//! `/jobs/work`: what external workers call.

use std::time::Duration;

use axum::extract::State;
use jiff::Timestamp;
use paddock_platform::{http::Json, identity::Caller, problem::Problem};
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{TAG, parse_id};
use crate::{
    Beat, BeatStatus, ClaimRequest, Completion, Failure, Fault, Job, JobFailure, JobId, JobProgress,
    JobState, Jobs, Settled,
};

pub(super) fn routes() -> OpenApiRouter<Jobs> {
    OpenApiRouter::new()
        .routes(routes!(claim))
        .routes(routes!(heartbeat))
        .routes(routes!(complete))
        .routes(routes!(fail))
}

/// A worker asks for jobs.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Claim {
    /// Its name for itself, 1 to 128 bytes.
    worker: String,
    /// What it can do, 1 to 32 kinds.
    kinds: Vec<String>,
    /// Where it looks; everywhere when left out.
    #[serde(default)]
    queues: Vec<String>,
    /// How many it takes, 1 to 100.
    #[serde(default = "one")]
    max: usize,
    /// Seconds to wait for the first, 0 to 60.
    #[serde(default)]
    wait: f64,
    /// Seconds that it is believed without a sign of life, 5 to 3,600.
    #[serde(default)]
    lease: Option<f64>,
    /// Everybody's jobs; needs `jobs:admin`.
    #[serde(default)]
    all_tenants: bool,
}

const fn one() -> usize {
    1
}

fn seconds(field: &str, number: f64) -> Result<Duration, Problem> {
    Duration::try_from_secs_f64(number)
        .map_err(|_| Problem::invalid_field(field, "must be a number of seconds that is not negative"))
}

/// Jobs that were claimed.
#[derive(Debug, Serialize, ToSchema)]
struct Claimed {
    /// None if none came in time.
    jobs: Vec<ClaimedJob>,
}

/// A job that was claimed.
#[derive(Debug, Serialize, ToSchema)]
struct ClaimedJob {
    /// Its id.
    id: JobId,
    /// The attempt: name it in all that follows.
    attempt: u32,
    /// What it is.
    kind: String,
    /// Where it waited.
    queue: String,
    /// Whose it is.
    tenant: String,
    /// What it is called with.
    #[schema(value_type = Object)]
    input: Option<Box<RawValue>>,
    /// The number of the last attempt, should all fail.
    attempts_max: u32,
    /// When it was accepted.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// Until when the worker is believed without a sign of life.
    #[schema(value_type = Option<String>, format = DateTime)]
    lease_until: Option<Timestamp>,
    /// When the time for the attempt is over.
    #[schema(value_type = String, format = DateTime)]
    deadline: Timestamp,
    /// The trace that it continues.
    #[serde(skip_serializing_if = "Option::is_none")]
    trace: Option<String>,
    /// How far an earlier attempt came.
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<JobProgress>,
}

/// Claim jobs
///
/// Waits for some, if there are none and `wait` says so.
#[utoipa::path(post, path = "/work/claim", tag = TAG, request_body = Claim, responses((status = 200, body = Claimed)))]
async fn claim(
    State(jobs): State<Jobs>,
    caller: Caller,
    Json(asked): Json<Claim>,
) -> Result<Json<Claimed>, Problem> {
    let Claim { worker, kinds, queues, max, wait, lease, all_tenants } = asked;
    let wait = seconds("wait", wait)?;
    let lease = lease.map(|lease| seconds("lease", lease)).transpose()?;
    let request = ClaimRequest { worker, kinds, queues, max, wait, lease, all_tenants };
    let claimed = jobs.claim(&caller, request).await?;
    Ok(Json(Claimed { jobs: claimed.iter().map(|job| claimed_job(&jobs, job)).collect() }))
}

fn claimed_job(jobs: &Jobs, job: &Job) -> ClaimedJob {
    let policy = jobs.0.policy();
    ClaimedJob {
        id: job.id,
        attempt: job.attempt,
        kind: job.kind.to_string(),
        queue: job.queue.to_string(),
        tenant: job.tenant.to_string(),
        input: job.input.raw(),
        attempts_max: job.attempts_max(&policy.of(&job.queue).options),
        created_at: job.id.created_at(),
        lease_until: job.lease_until,
        deadline: jobs.deadline_of(job),
        trace: job.terms.trace.clone(),
        progress: job.progress.clone(),
    }
}

/// Signs of life.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Heartbeat {
    /// Seconds that the worker is believed from now on, 5 to 3,600.
    #[serde(default)]
    lease: Option<f64>,
    /// 1 to 1,000.
    jobs: Vec<BeatOf>,
}

/// A sign of life of one attempt.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct BeatOf {
    /// Which job.
    id: String,
    /// Which attempt.
    attempt: u32,
    /// How far it is.
    #[serde(default)]
    progress: Option<JobProgress>,
}

/// What was found of several attempts.
#[derive(Debug, Serialize, ToSchema)]
struct Answers {
    /// In the order of the request.
    jobs: Vec<Answer>,
}

/// What was found of an attempt.
#[derive(Debug, Serialize, ToSchema)]
struct Answer {
    /// Which job.
    id: JobId,
    /// `ok`, `cancel` (stop: it was cancelled) or `lost` (stop: this attempt is not the current one).
    status: &'static str,
    /// Until when the worker is believed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    lease_until: Option<Timestamp>,
    /// What the job came into.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<JobState>,
    /// When it is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    run_at: Option<Timestamp>,
}

const OK: &str = "ok";
const LOST: &str = "lost";

impl From<Settled> for Answer {
    fn from(settled: Settled) -> Self {
        let Settled { id, state, run_at } = settled;
        let status = if state.is_some() { OK } else { LOST };
        Self { id, status, lease_until: None, state, run_at }
    }
}

/// Keep attempts alive
///
/// And tell how far they are.
#[utoipa::path(post, path = "/work/heartbeat", tag = TAG, request_body = Heartbeat,
    responses((status = 200, body = Answers)))]
async fn heartbeat(
    State(jobs): State<Jobs>,
    caller: Caller,
    Json(asked): Json<Heartbeat>,
) -> Result<Json<Answers>, Problem> {
    let lease = asked.lease.map(|lease| seconds("lease", lease)).transpose()?;
    let beat = |beat: BeatOf| {
        Ok(Beat { id: parse_id(&beat.id)?, attempt: beat.attempt, lease, progress: beat.progress })
    };
    let beats = asked.jobs.into_iter().map(beat).collect::<Result<_, Problem>>()?;
    let answers = jobs.heartbeat(&caller, beats).await?.into_iter().map(|answer| Answer {
        id: answer.id,
        status: match answer.status {
            BeatStatus::Current => OK,
            BeatStatus::Cancel => "cancel",
            BeatStatus::Lost => LOST,
        },
        lease_until: answer.lease_until,
        state: None,
        run_at: None,
    });
    Ok(Json(Answers { jobs: answers.collect() }))
}

/// Attempts that ended well.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Complete {
    /// 1 to 1,000.
    jobs: Vec<CompletionOf>,
}

/// An attempt that ended well.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CompletionOf {
    /// Which job.
    id: String,
    /// Which attempt.
    attempt: u32,
    /// What it came to.
    #[serde(default)]
    #[schema(value_type = Object)]
    result: Value,
}

/// Complete jobs
#[utoipa::path(post, path = "/work/complete", tag = TAG, request_body = Complete,
    responses((status = 200, body = Answers)))]
async fn complete(
    State(jobs): State<Jobs>,
    caller: Caller,
    Json(asked): Json<Complete>,
) -> Result<Json<Answers>, Problem> {
    let completion = |done: CompletionOf| {
        Ok(Completion { id: parse_id(&done.id)?, attempt: done.attempt, result: done.result })
    };
    let completions = asked.jobs.into_iter().map(completion).collect::<Result<_, Problem>>()?;
    let settled = jobs.complete(&caller, completions).await?;
    Ok(Json(Answers { jobs: settled.into_iter().map(Answer::from).collect() }))
}

/// Attempts that failed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Fail {
    /// 1 to 1,000.
    jobs: Vec<FailureOf>,
}

/// An attempt that failed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct FailureOf {
    /// Which job.
    id: String,
    /// Which attempt.
    attempt: u32,
    /// What kind of failure, 1 to 64 bytes: retry policies go by it.
    #[serde(default = "failed")]
    class: String,
    /// A sentence for the person who looks.
    #[serde(default)]
    message: String,
    /// Whether trying again may help.
    #[serde(default = "yes")]
    retry: bool,
    /// Seconds before which trying again is useless.
    #[serde(default)]
    retry_after: Option<f64>,
}

fn failed() -> String {
    "failed".to_owned()
}

const fn yes() -> bool {
    true
}

/// Fail jobs
///
/// They are tried again as their policy says, unless `retry` is false.
#[utoipa::path(post, path = "/work/fail", tag = TAG, request_body = Fail, responses((status = 200, body = Answers)))]
async fn fail(
    State(jobs): State<Jobs>,
    caller: Caller,
    Json(asked): Json<Fail>,
) -> Result<Json<Answers>, Problem> {
    let failure = |failed: FailureOf| {
        let FailureOf { id, attempt, class, message, retry, retry_after } = failed;
        let retry_after = retry_after.map(|wait| seconds("retry_after", wait)).transpose()?;
        let failure = JobFailure { fault: Fault::new(class, message), retryable: retry, retry_after };
        Ok(Failure { id: parse_id(&id)?, attempt, failure })
    };
    let failures = asked.jobs.into_iter().map(failure).collect::<Result<_, Problem>>()?;
    let settled = jobs.fail(&caller, failures).await?;
    Ok(Json(Answers { jobs: settled.into_iter().map(Answer::from).collect() }))
}
