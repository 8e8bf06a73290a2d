//! `/jobs/webhooks`.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{StatusCode, header};
use paddock_platform::{
    http::{Cursor, Json, Page, Path, Query, page_limit},
    identity::{Caller, Scope},
    problem::Problem,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Delivery, DeliveryFilter, DeliveryId, DeliveryState, NewWebhook, Rotation, Webhook, WebhookChange,
    WebhookId, Webhooks, WithSecret,
};

const READ: Scope = Scope::read("jobs");
const WRITE: Scope = Scope::write("jobs");

/// The routes of webhooks, to be nested under `/jobs/webhooks`.
pub fn routes(webhooks: Webhooks) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show, change, remove))
        .routes(routes!(rotate))
        .routes(routes!(ping))
        .routes(routes!(redrive))
        .routes(routes!(deliveries))
        .routes(routes!(delivery))
        .with_state(webhooks)
}

/// The webhooks of a tenant.
#[derive(Serialize, JsonSchema, ToSchema)]
struct WebhookList {
    /// The oldest first.
    webhooks: Vec<Webhook>,
}

/// Which deliveries to begin anew.
#[derive(Default, Deserialize, JsonSchema, ToSchema)]
#[serde(default, deny_unknown_fields)]
struct Redrive {
    /// These, 1,000 at most; all dead ones when left out.
    ids: Option<Vec<DeliveryId>>,
}

/// What a redrive did.
#[derive(Serialize, JsonSchema, ToSchema)]
struct RedriveOutcome {
    /// Deliveries that begin anew; 1,000 at most in one call.
    redriven: u64,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct DeliveriesQuery {
    /// `pending`, `delivered`, `dead` or `dropped`.
    #[serde(default)]
    state: Option<DeliveryState>,
    /// How many to give, 1 to 500.
    #[serde(default)]
    limit: Option<u32>,
    /// From the answer before: the next ones.
    #[serde(default)]
    cursor: Option<String>,
}

/// Make a webhook
///
/// The secret is shown in this answer and never again.
#[utoipa::path(post, path = "/", tag = "jobs", request_body = NewWebhook, responses(
    (status = 201, description = "The webhook and its secret", body = WithSecret),
))]
async fn create(
    State(webhooks): State<Webhooks>,
    caller: Caller,
    Json(new): Json<NewWebhook>,
) -> Result<Response, Problem> {
    caller.require(WRITE)?;
    let made = webhooks.create(&caller, new).await?;
    let location = format!("/jobs/webhooks/{}", made.webhook.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(made)).into_response())
}

/// List the webhooks
#[utoipa::path(get, path = "/", tag = "jobs", responses((status = 200, description = "All webhooks", body = WebhookList)))]
async fn list(State(webhooks): State<Webhooks>, caller: Caller) -> Result<Json<WebhookList>, Problem> {
    caller.require(READ)?;
    Ok(Json(WebhookList { webhooks: webhooks.list(caller.tenant()).await? }))
}

/// A webhook
#[utoipa::path(get, path = "/{webhook}", tag = "jobs", params(("webhook" = String, Path, description = "The webhook")),
    responses((status = 200, description = "The webhook", body = Webhook)))]
async fn show(
    State(webhooks): State<Webhooks>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Webhook>, Problem> {
    caller.require(READ)?;
    Ok(Json(webhooks.get(caller.tenant(), &known(&id)?).await?))
}

/// Change a webhook
///
/// `{"enabled": true}` also ends a pause.
#[utoipa::path(patch, path = "/{webhook}", tag = "jobs", params(("webhook" = String, Path, description = "The webhook")),
    request_body = WebhookChange, responses((status = 200, description = "The webhook", body = Webhook)))]
async fn change(
    State(webhooks): State<Webhooks>,
    caller: Caller,
    Path(id): Path<String>,
    Json(change): Json<WebhookChange>,
) -> Result<Json<Webhook>, Problem> {
    caller.require(WRITE)?;
    Ok(Json(webhooks.change(caller.tenant(), &known(&id)?, change).await?))
}

/// Delete a webhook
///
/// What was on its way to it is dropped.
#[utoipa::path(delete, path = "/{webhook}", tag = "jobs", params(("webhook" = String, Path, description = "The webhook")),
    responses((status = 204, description = "It is gone")))]
async fn remove(
    State(webhooks): State<Webhooks>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    caller.require(WRITE)?;
    webhooks.delete(caller.tenant(), &known(&id)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Replace a webhook's secret
///
/// The new one is shown in this answer and never again. For a while deliveries carry signatures of both.
#[utoipa::path(post, path = "/{webhook}/rotate", tag = "jobs",
    params(("webhook" = String, Path, description = "The webhook")), request_body = Rotation,
    responses((status = 200, description = "The webhook and its new secret", body = WithSecret)))]
async fn rotate(
    State(webhooks): State<Webhooks>,
    caller: Caller,
    Path(id): Path<String>,
    rotation: Option<Json<Rotation>>,
) -> Result<Json<WithSecret>, Problem> {
    caller.require(WRITE)?;
    let rotation = rotation.map(|Json(rotation)| rotation).unwrap_or_default();
    Ok(Json(webhooks.rotate(caller.tenant(), &known(&id)?, &rotation).await?))
}

/// Send a webhook a ping
///
/// One try, now, also of a webhook that is paused or disabled. One that arrives ends a pause.
#[utoipa::path(post, path = "/{webhook}/ping", tag = "jobs",
    params(("webhook" = String, Path, description = "The webhook")),
    responses((status = 200, description = "What came of it", body = Delivery)))]
async fn ping(
    State(webhooks): State<Webhooks>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Delivery>, Problem> {
    caller.require(WRITE)?;
    Ok(Json(webhooks.ping(caller.tenant(), &known(&id)?).await?))
}

/// Begin dead deliveries anew
#[utoipa::path(post, path = "/{webhook}/redrive", tag = "jobs",
    params(("webhook" = String, Path, description = "The webhook")), request_body = Redrive,
    responses((status = 200, description = "How many", body = RedriveOutcome)))]
async fn redrive(
    State(webhooks): State<Webhooks>,
    caller: Caller,
    Path(id): Path<String>,
    redrive: Option<Json<Redrive>>,
) -> Result<Json<RedriveOutcome>, Problem> {
    caller.require(WRITE)?;
    let ids = redrive.and_then(|Json(redrive)| redrive.ids);
    Ok(Json(RedriveOutcome { redriven: webhooks.redrive(caller.tenant(), &known(&id)?, ids).await? }))
}

/// List a webhook's deliveries
///
/// The newest first, without their bodies.
#[utoipa::path(get, path = "/{webhook}/deliveries", tag = "jobs",
    params(("webhook" = String, Path, description = "The webhook"), DeliveriesQuery),
    responses((status = 200, description = "A page of deliveries", body = Page<Delivery>)))]
async fn deliveries(
    State(webhooks): State<Webhooks>,
    caller: Caller,
    Path(id): Path<String>,
    Query(query): Query<DeliveriesQuery>,
) -> Result<Json<Page<Delivery>>, Problem> {
    caller.require(READ)?;
    let (state, limit, after) = match &query.cursor {
        Some(cursor) => {
            let cursor: Cursor<Option<DeliveryState>, DeliveryId> = Cursor::decode(cursor)?;
            (cursor.query, cursor.limit, Some(cursor.after))
        }
        None => (query.state, page_limit(query.limit)?, None),
    };
    let filter = DeliveryFilter { state, after };
    let found = webhooks.deliveries(caller.tenant(), &known(&id)?, &filter, limit + 1).await?;
    Page::from_overfetched(found, limit, &state, |delivery: &Delivery| delivery.id.clone()).map(Json)
}

/// A delivery
#[utoipa::path(get, path = "/{webhook}/deliveries/{delivery}", tag = "jobs", params(
    ("webhook" = String, Path, description = "The webhook"), ("delivery" = String, Path, description = "The delivery"),
), responses((status = 200, description = "The delivery with its tries and its body", body = Delivery)))]
async fn delivery(
    State(webhooks): State<Webhooks>,
    caller: Caller,
    Path((webhook, id)): Path<(String, String)>,
) -> Result<Json<Delivery>, Problem> {
    caller.require(READ)?;
    let unknown = || Problem::not_found("delivery", id.chars().take(64).collect::<String>());
    let parsed: DeliveryId = id.parse().map_err(|_| unknown())?;
    let found = webhooks.delivery(caller.tenant(), &parsed).await?;
    if found.webhook.as_str() != webhook {
        return Err(unknown());
    }
    Ok(Json(found))
}

/// A text that is no id names no webhook.
fn known(id: &str) -> Result<WebhookId, Problem> {
    id.parse().map_err(|_| super::WebhookError::no_webhook(id).into())
}
