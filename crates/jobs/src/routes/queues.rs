//! `/jobs/queues`.

use axum::extract::State;
use paddock_platform::{
    http::{Json, Path},
    identity::{Caller, Scope},
    problem::Problem,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::TAG;
use crate::{JobError, Jobs, QueueStatus};

pub(super) fn routes() -> OpenApiRouter<Jobs> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show))
        .routes(routes!(pause))
        .routes(routes!(resume))
        .routes(routes!(drain))
        .routes(routes!(purge))
}

/// The queues.
#[derive(Debug, Serialize, ToSchema)]
struct Queues {
    /// The heaviest first.
    queues: Vec<QueueStatus>,
}

/// Whoever administers sees what is in the queues altogether, everybody else their own.
async fn statuses(jobs: &Jobs, caller: &Caller) -> Result<Vec<QueueStatus>, JobError> {
    let tenant = (!caller.may(Scope::admin("jobs"))).then(|| caller.tenant());
    jobs.queues(tenant).await
}

async fn status(jobs: &Jobs, caller: &Caller, queue: &str) -> Result<Json<QueueStatus>, Problem> {
    let found = statuses(jobs, caller).await?.into_iter().find(|status| status.name == queue);
    found.map(Json).ok_or_else(|| Problem::not_found("queue", queue))
}

/// List queues
#[utoipa::path(get, path = "/queues", tag = TAG, responses((status = 200, body = Queues)))]
async fn list(State(jobs): State<Jobs>, caller: Caller) -> Result<Json<Queues>, Problem> {
    Ok(Json(Queues { queues: statuses(&jobs, &caller).await? }))
}

/// A queue
#[utoipa::path(get, path = "/queues/{queue}", tag = TAG,
    params(("queue" = String, Path, description = "The queue")), responses((status = 200, body = QueueStatus)))]
async fn show(
    State(jobs): State<Jobs>,
    caller: Caller,
    Path(queue): Path<String>,
) -> Result<Json<QueueStatus>, Problem> {
    status(&jobs, &caller, &queue).await
}

/// The queue that a path names: one that does not exist is not found there.
async fn known(jobs: &Jobs, caller: &Caller, queue: &str) -> Result<(), Problem> {
    caller.require(Scope::admin("jobs"))?;
    status(jobs, caller, queue).await.map(drop)
}

/// Pause a queue
///
/// Nothing is taken out of it, on no server.
#[utoipa::path(post, path = "/queues/{queue}/pause", tag = TAG,
    params(("queue" = String, Path, description = "The queue")), responses((status = 200, body = QueueStatus)))]
async fn pause(
    State(jobs): State<Jobs>,
    caller: Caller,
    Path(queue): Path<String>,
) -> Result<Json<QueueStatus>, Problem> {
    known(&jobs, &caller, &queue).await?;
    jobs.pause_queue(&queue).await?;
    status(&jobs, &caller, &queue).await
}

/// Resume a queue
///
/// Undoes pausing and draining.
#[utoipa::path(post, path = "/queues/{queue}/resume", tag = TAG,
    params(("queue" = String, Path, description = "The queue")), responses((status = 200, body = QueueStatus)))]
async fn resume(
    State(jobs): State<Jobs>,
    caller: Caller,
    Path(queue): Path<String>,
) -> Result<Json<QueueStatus>, Problem> {
    known(&jobs, &caller, &queue).await?;
    jobs.resume_queue(&queue).await?;
    status(&jobs, &caller, &queue).await
}

/// Drain a queue
///
/// Nothing is put into it; what is in it is done.
#[utoipa::path(post, path = "/queues/{queue}/drain", tag = TAG,
    params(("queue" = String, Path, description = "The queue")), responses((status = 200, body = QueueStatus)))]
async fn drain(
    State(jobs): State<Jobs>,
    caller: Caller,
    Path(queue): Path<String>,
) -> Result<Json<QueueStatus>, Problem> {
    known(&jobs, &caller, &queue).await?;
    jobs.drain_queue(&queue).await?;
    status(&jobs, &caller, &queue).await
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
struct Purge {
    /// Only count.
    dry_run: bool,
}

/// What a purge did.
#[derive(Debug, Serialize, ToSchema)]
struct Purged {
    /// Jobs of yours that waited or were scheduled.
    matched: u64,
    /// Those that were cancelled.
    cancelled: u64,
}

/// Purge a queue
///
/// Cancels your jobs that wait in it or are scheduled; with `dry_run` only counts them.
#[utoipa::path(post, path = "/queues/{queue}/purge", tag = TAG, request_body = Purge,
    params(("queue" = String, Path, description = "The queue")), responses((status = 200, body = Purged)))]
async fn purge(
    State(jobs): State<Jobs>,
    caller: Caller,
    Path(queue): Path<String>,
    body: Option<Json<Purge>>,
) -> Result<Json<Purged>, Problem> {
    status(&jobs, &caller, &queue).await?;
    let dry_run = body.is_some_and(|Json(purge)| purge.dry_run);
    let matched = jobs.purge_queue(caller.tenant(), &queue, dry_run).await?;
    Ok(Json(Purged { matched, cancelled: if dry_run { 0 } else { matched } }))
}
