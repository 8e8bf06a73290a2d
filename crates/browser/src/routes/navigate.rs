//! Going to an address.

use axum::extract::State;
use paddock_platform::{http::Json, problem::Problem};
use utoipa_axum::routes;

use super::Routes;
use crate::service::{BrowserService, NavigateRequest, Navigated, Target, WaitFor};

/// Those that act on a tab.
pub(super) fn in_tab() -> Routes {
    Routes::new().routes(routes!(navigate))
}

/// Goes to an address, in the tab of `tabId` or in a new one.
#[utoipa::path(post, path = "/navigate", tag = "browser", request_body = NavigateRequest,
    responses((status = OK, body = Navigated)))]
async fn navigate(
    State(service): State<BrowserService>,
    target: Target,
    Json(request): Json<NavigateRequest>,
) -> Result<Json<Navigated>, Problem> {
    Ok(Json(service.navigate(target, request, WaitFor::Load).await?))
}
