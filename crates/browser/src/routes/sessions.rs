//! Sessions of agents.

use axum::extract::State;
use http::StatusCode;
use paddock_platform::{
    http::{Json, Path},
    identity::Caller,
    problem::Problem,
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::Routes;
use crate::sessions::{SessionOpened, SessionRequest, SessionView, Sessions};

/// Those of a server that has sessions.
pub(super) fn session_routes(sessions: Sessions) -> Routes {
    OpenApiRouter::new()
        .routes(routes!(list_sessions, open_session))
        .routes(routes!(get_my_session))
        .routes(routes!(get_session))
        .routes(routes!(revoke_session))
        .with_state(sessions)
}

/// Opens a session for an agent. The token in the answer is shown this once.
#[utoipa::path(post, path = "/sessions", tag = "browser", request_body = SessionRequest,
    responses((status = CREATED, body = SessionOpened)))]
async fn open_session(
    State(sessions): State<Sessions>,
    caller: Caller,
    Json(request): Json<SessionRequest>,
) -> Result<(StatusCode, Json<SessionOpened>), Problem> {
    Ok((StatusCode::CREATED, Json(sessions.create(&caller, request).await?)))
}

/// Lists the sessions of the caller's tenant, the last opened first.
#[utoipa::path(get, path = "/sessions", tag = "browser", responses((status = OK, body = Vec<SessionView>)))]
async fn list_sessions(
    State(sessions): State<Sessions>,
    caller: Caller,
) -> Result<Json<Vec<SessionView>>, Problem> {
    Ok(Json(sessions.list(&caller).await?))
}

/// The session that the request presents.
#[utoipa::path(get, path = "/sessions/me", tag = "browser", responses((status = OK, body = SessionView)))]
async fn get_my_session(
    State(sessions): State<Sessions>,
    caller: Caller,
) -> Result<Json<SessionView>, Problem> {
    Ok(Json(sessions.me(&caller).await?))
}

/// A session.
#[utoipa::path(get, path = "/sessions/{id}", tag = "browser", params(("id" = String, Path)),
    responses((status = OK, body = SessionView)))]
async fn get_session(
    State(sessions): State<Sessions>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<SessionView>, Problem> {
    Ok(Json(sessions.get(&caller, &id).await?))
}

/// Ends a session at once and for good. An agent may end its own.
#[utoipa::path(post, path = "/sessions/{id}/revoke", tag = "browser", params(("id" = String, Path)),
    responses((status = OK, body = SessionView)))]
async fn revoke_session(
    State(sessions): State<Sessions>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<SessionView>, Problem> {
    Ok(Json(sessions.revoke(&caller, &id).await?))
}
