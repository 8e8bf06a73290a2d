//! The queue of tasks.

use axum::extract::State;
use http::StatusCode;
use paddock_platform::{
    http::{Json, Path, Query},
    identity::Caller,
    problem::Problem,
};
use utoipa_axum::routes;

use super::Routes;
use crate::{
    scheduler::Task,
    service::{
        BrowserService, SchedulerView, TaskBatch, TaskBatchRequest, TaskCancelled, TaskList, TaskQuery,
        TaskRequest, TaskSubmitted,
    },
};

type Service = State<BrowserService>;

pub(super) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list_tasks, submit_task))
        .routes(routes!(submit_tasks))
        .routes(routes!(get_task))
        .routes(routes!(cancel_task))
        .routes(routes!(scheduler_stats))
}

/// Leaves an action on a tab to the server: it is done when its agent's turn comes.
#[utoipa::path(post, path = "/tasks", tag = "browser", request_body = TaskRequest,
    responses((status = ACCEPTED, body = TaskSubmitted), (status = TOO_MANY_REQUESTS, description = "The queue is full")))]
async fn submit_task(
    State(service): Service,
    caller: Caller,
    Json(request): Json<TaskRequest>,
) -> Result<(StatusCode, Json<TaskSubmitted>), Problem> {
    Ok((StatusCode::ACCEPTED, Json(service.submit_task(&caller, request)?)))
}

/// Leaves several actions of one agent to the server.
#[utoipa::path(post, path = "/tasks/batch", tag = "browser", request_body = TaskBatchRequest,
    responses((status = ACCEPTED, body = TaskBatch)))]
async fn submit_tasks(
    State(service): Service,
    caller: Caller,
    Json(request): Json<TaskBatchRequest>,
) -> Result<(StatusCode, Json<TaskBatch>), Problem> {
    Ok((StatusCode::ACCEPTED, Json(service.submit_tasks(&caller, request)?)))
}

/// Lists the tasks of the caller's tenant: those that wait, that are under way and that ended not long ago.
#[utoipa::path(get, path = "/tasks", tag = "browser", params(TaskQuery), responses((status = OK, body = TaskList)))]
async fn list_tasks(
    State(service): Service,
    caller: Caller,
    Query(query): Query<TaskQuery>,
) -> Result<Json<TaskList>, Problem> {
    Ok(Json(service.tasks(&caller, &query)?))
}

/// Shows one task.
#[utoipa::path(get, path = "/tasks/{id}", tag = "browser", params(("id" = String, Path)),
    responses((status = OK, body = Task)))]
async fn get_task(
    State(service): Service,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Task>, Problem> {
    Ok(Json(service.task(&caller, &id)?))
}

/// Cancels a task that waits or is under way. 409 for one that has ended.
#[utoipa::path(post, path = "/tasks/{id}/cancel", tag = "browser", params(("id" = String, Path)),
    responses((status = OK, body = TaskCancelled), (status = CONFLICT, description = "It has ended")))]
async fn cancel_task(
    State(service): Service,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<TaskCancelled>, Problem> {
    Ok(Json(service.cancel_task(&caller, &id)?))
}

/// Tells how the queue of the caller's tenant does.
#[utoipa::path(get, path = "/scheduler/stats", tag = "browser", responses((status = OK, body = SchedulerView)))]
async fn scheduler_stats(State(service): Service, caller: Caller) -> Result<Json<SchedulerView>, Problem> {
    Ok(Json(service.scheduler_stats(&caller)?))
}
