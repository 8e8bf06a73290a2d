//! What operators look at, and the hand on the breakers.

use axum::extract::State;
use http::HeaderMap;
use paddock_platform::{
    http::{Json, Query},
    identity::{Caller, Scope},
    problem::Problem,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::TAG;
use crate::{
    gateway::{BreakerInput, Decision, Gateway, LaneStatus, RouteStatus, Status},
    routing::Explanation,
};

/// Decisions that are shown when nobody names a number.
const DECISIONS_DEFAULT: usize = 100;

/// Credentials, breakers and budgets
///
/// Budgets are shown to those with the scope `llm:admin`.
#[utoipa::path(get, path = "/status", tag = TAG, responses((status = 200, description = "How everything does", body = Status)))]
pub(super) async fn status(State(gateway): State<Gateway>, caller: Caller) -> Json<Status> {
    let mut status = gateway.status();
    if !caller.may(Scope::admin("llm")) {
        status.budgets.clear();
    }
    Json(status)
}

/// Configured routes
#[utoipa::path(get, path = "/routes", tag = TAG, responses((status = 200, description = "The routes", body = Vec<RouteStatus>)))]
pub(super) async fn routes(State(gateway): State<Gateway>) -> Json<Vec<RouteStatus>> {
    Json(gateway.routes())
}

/// A request that is explained and not made.
#[derive(Debug, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RouteInput {
    /// The model.
    model: String,
    /// The body of a chat completion, for what the request needs; only the model where it is left out.
    #[serde(default)]
    request: Option<Value>,
}

/// Explain a route
///
/// Where a call would go, with every place that is considered, its score, and why it would be refused. Nothing is sent
/// and nothing is counted. The headers of calls (`X-Paddock-Tags`, …) count as they do there.
#[utoipa::path(post, path = "/route", tag = TAG, request_body = RouteInput, responses(
    (status = 200, description = "What would be decided", body = Explanation),
))]
pub(super) async fn route(
    State(gateway): State<Gateway>,
    caller: Caller,
    headers: HeaderMap,
    Json(input): Json<RouteInput>,
) -> Result<Json<Explanation>, Problem> {
    let mut request = input.request.unwrap_or_else(|| json!({"messages": []}));
    if let Value::Object(members) = &mut request {
        members.insert("model".to_owned(), json!(input.model));
        members.entry("messages").or_insert_with(|| json!([]));
    }
    Ok(Json(gateway.explain(&caller, headers, &request)?))
}

/// How many decisions.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct DecisionsQuery {
    /// How many, 1,000 at most.
    limit: Option<usize>,
}

/// The last decisions.
#[derive(Debug, Serialize, JsonSchema, ToSchema)]
pub(super) struct DecisionList {
    /// The newest first.
    items: Vec<Decision>,
}

/// The last decisions
///
/// Where the last calls of the tenant went, and why; of all tenants with the scope `llm:admin`.
#[utoipa::path(get, path = "/decisions", tag = TAG, params(DecisionsQuery), responses(
    (status = 200, description = "The last decisions", body = DecisionList),
))]
pub(super) async fn decisions(
    State(gateway): State<Gateway>,
    caller: Caller,
    Query(query): Query<DecisionsQuery>,
) -> Json<DecisionList> {
    let limit = query.limit.unwrap_or(DECISIONS_DEFAULT);
    Json(DecisionList { items: gateway.decisions(&caller, limit) })
}

/// Breakers
#[utoipa::path(get, path = "/breakers", tag = TAG, responses((status = 200, description = "The breakers", body = Vec<LaneStatus>)))]
pub(super) async fn breakers(State(gateway): State<Gateway>) -> Json<Vec<LaneStatus>> {
    Json(gateway.lanes())
}

/// Open, close or reset breakers
#[utoipa::path(post, path = "/breakers", tag = TAG, request_body = BreakerInput, responses(
    (status = 200, description = "Those that were meant, as they are now", body = Vec<LaneStatus>),
))]
pub(super) async fn set_breakers(
    State(gateway): State<Gateway>,
    Json(input): Json<BreakerInput>,
) -> Result<Json<Vec<LaneStatus>>, Problem> {
    let changed = gateway.set_breakers(&input);
    if changed.is_empty() {
        return Err(Problem::not_found("breaker of", "such a provider, model or credential"));
    }
    Ok(Json(changed))
}
