//! Answering JavaScript dialogs.

use axum::extract::State;
use paddock_platform::{http::Json, problem::Problem};
use utoipa_axum::routes;

use super::Routes;
use crate::service::{BrowserService, DialogAnswered, DialogRequest, Target};

/// Those that act on a tab.
pub(super) fn in_tab() -> Routes {
    Routes::new().routes(routes!(dialog))
}

/// Answers the JavaScript dialog that is open in the page.
#[utoipa::path(post, path = "/dialog", tag = "browser", request_body = DialogRequest,
    responses((status = OK, body = DialogAnswered)))]
async fn dialog(
    State(service): State<BrowserService>,
    target: Target,
    Json(request): Json<DialogRequest>,
) -> Result<Json<DialogAnswered>, Problem> {
    Ok(Json(service.answer_dialog(target, request).await?))
}
