//! The DevTools protocol, per instance: what Playwright's and Puppeteer's `connectOverCDP` connect to.

use axum::{
    extract::{OriginalUri, State, ws::WebSocketUpgrade},
    response::Response,
};
use http::{HeaderMap, Uri, header};
use paddock_platform::{
    http::{Json, Path},
    identity::Caller,
    problem::Problem,
};
use utoipa_axum::routes;

use super::Routes;
use crate::{
    ids::InstanceId,
    service::{BrowserService, BrowserVersion, DebugTarget},
};

type Service = State<BrowserService>;

pub(super) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(cdp))
        .routes(routes!(cdp_version))
        .routes(routes!(cdp_version_slash))
        .routes(routes!(cdp_list))
        .routes(routes!(cdp_list_short))
        .routes(routes!(cdp_list_slash))
}

/// Speaks the DevTools protocol with an instance, over a WebSocket, as if the instance were a browser of its own.
#[utoipa::path(get, path = "/instances/{id}/cdp", tag = "browser", params(("id" = String, Path)),
    responses((status = SWITCHING_PROTOCOLS, description = "DevTools messages, one per text frame")))]
async fn cdp(
    State(service): Service,
    caller: Caller,
    Path(id): Path<InstanceId>,
    upgrade: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let upgrade = upgrade.map_err(|_| not_a_websocket())?;
    let passage = service.cdp_enter(&caller, &id).await?;
    let upgrade = upgrade.max_message_size(passage.message_max).max_frame_size(passage.message_max);
    Ok(upgrade.on_upgrade(|socket| passage.serve(socket)))
}

pub(super) fn not_a_websocket() -> Problem {
    Problem::new(
        paddock_platform::problem::INVALID_REQUEST,
        "this route speaks WebSocket: ask for the upgrade",
    )
}

/// Tells a DevTools client the version of the browser and where to connect to.
#[utoipa::path(get, path = "/instances/{id}/json/version", tag = "browser", params(("id" = String, Path)),
    responses((status = OK, body = BrowserVersion)))]
async fn cdp_version(
    State(service): Service,
    caller: Caller,
    Path(id): Path<InstanceId>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
) -> Result<Json<BrowserVersion>, Problem> {
    let url = debugger_url(&uri, &headers);
    Ok(Json(service.cdp_version(&caller, &id, url).await?))
}

/// As without the slash, which Playwright adds.
#[utoipa::path(get, path = "/instances/{id}/json/version/", tag = "browser", params(("id" = String, Path)),
    responses((status = OK, body = BrowserVersion)))]
async fn cdp_version_slash(
    service: Service,
    caller: Caller,
    id: Path<InstanceId>,
    uri: OriginalUri,
    headers: HeaderMap,
) -> Result<Json<BrowserVersion>, Problem> {
    cdp_version(service, caller, id, uri, headers).await
}

/// Lists the pages of an instance for a DevTools client.
#[utoipa::path(get, path = "/instances/{id}/json/list", tag = "browser", params(("id" = String, Path)),
    responses((status = OK, body = Vec<DebugTarget>)))]
async fn cdp_list(
    State(service): Service,
    caller: Caller,
    Path(id): Path<InstanceId>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
) -> Result<Json<Vec<DebugTarget>>, Problem> {
    let url = debugger_url(&uri, &headers);
    Ok(Json(service.cdp_targets(&caller, &id, url).await?))
}

/// Another name of `/instances/{id}/json/list`.
#[utoipa::path(get, path = "/instances/{id}/json", tag = "browser", params(("id" = String, Path)),
    responses((status = OK, body = Vec<DebugTarget>)))]
async fn cdp_list_short(
    service: Service,
    caller: Caller,
    id: Path<InstanceId>,
    uri: OriginalUri,
    headers: HeaderMap,
) -> Result<Json<Vec<DebugTarget>>, Problem> {
    cdp_list(service, caller, id, uri, headers).await
}

/// Another name of `/instances/{id}/json/list`.
#[utoipa::path(get, path = "/instances/{id}/json/", tag = "browser", params(("id" = String, Path)),
    responses((status = OK, body = Vec<DebugTarget>)))]
async fn cdp_list_slash(
    service: Service,
    caller: Caller,
    id: Path<InstanceId>,
    uri: OriginalUri,
    headers: HeaderMap,
) -> Result<Json<Vec<DebugTarget>>, Problem> {
    cdp_list(service, caller, id, uri, headers).await
}

/// Where the WebSocket is, as the client reached this server. A key that came in the query stays in it.
fn debugger_url(uri: &Uri, headers: &HeaderMap) -> String {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let host = uri.authority().map(|authority| authority.as_str().to_owned());
    let host = host.or_else(|| text(header::HOST.as_str()).map(str::to_owned)).unwrap_or_default();
    let scheme = if text("x-forwarded-proto") == Some("https") { "wss" } else { "ws" };
    let base = uri.path().split("/json").next().unwrap_or_default();
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    format!("{scheme}://{host}{base}/cdp{query}")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_address_is_the_one_that_the_client_reached() {
        let mut headers =
            HeaderMap::from_iter([(header::HOST, HeaderValue::from_static("paddock.example:7070"))]);
        let uri = Uri::from_static("/browser/instances/inst_00000001/json/version/?token=k");
        assert_eq!(
            debugger_url(&uri, &headers),
            "ws://paddock.example:7070/browser/instances/inst_00000001/cdp?token=k"
        );
        headers.insert("x-forwarded-proto", HeaderValue::from_static("https"));
        assert!(debugger_url(&uri, &headers).starts_with("wss://"));
    }
}
