//! `/llm`: the vendors' APIs under `/llm/v1`, and what operators look at beside them.

mod batches;
mod calls;
mod control;
mod usage;

use axum::{extract::FromRef, response::Response};
use paddock_platform::{
    http::{require, require_scope},
    identity::Scope,
    problem::Problem,
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    dialect::{Dialect, failure},
    durable::Durable,
    error::LlmError,
    gateway::Gateway,
};

pub(crate) use usage::{UsageQuery, UsageReport};

const TAG: &str = "llm";

/// Routes that speak a vendor's API, as they are registered, with whether it is Anthropic's: their bodies may be large,
/// they have deadlines of their own, and their failures are in the vendor's words.
pub const API_ROUTES: [(&str, bool); 17] = [
    ("/llm/v1/chat/completions", false),
    ("/llm/v1/completions", false),
    ("/llm/v1/responses", false),
    ("/llm/v1/embeddings", false),
    ("/llm/v1/models", false),
    ("/llm/v1/models/{*model}", false),
    ("/llm/v1/{*rest}", false),
    ("/llm/v1/files", false),
    ("/llm/v1/files/{id}", false),
    ("/llm/v1/files/{id}/content", false),
    ("/llm/v1/batches", false),
    ("/llm/v1/batches/{id}", false),
    ("/llm/v1/batches/{id}/cancel", false),
    ("/llm/batches", false),
    ("/llm/calls/{id}", false),
    ("/llm/v1/messages", true),
    ("/llm/v1/messages/count_tokens", true),
];

/// What the edge refused on a route of [`API_ROUTES`], in the words of OpenAI (`false`) or Anthropic (`true`).
pub fn render_failure(is_anthropic: bool) -> fn(&Problem) -> Response {
    if is_anthropic { in_anthropic } else { in_openai }
}

fn in_openai(problem: &Problem) -> Response {
    failure::render(Dialect::OpenAi, &LlmError::from(problem))
}

fn in_anthropic(problem: &Problem) -> Response {
    failure::render(Dialect::Anthropic, &LlmError::from(problem))
}

/// What the routes work with.
#[derive(Clone, Debug)]
struct Area {
    gateway: Gateway,
    durable: Option<Durable>,
}

impl FromRef<Area> for Gateway {
    fn from_ref(area: &Area) -> Self {
        area.gateway.clone()
    }
}

/// The area's routes, to be nested under `/llm`. Without durable calls there are no batches, and `Prefer: respond-async` is
/// a wish that is not granted.
pub fn router(gateway: Gateway, durable: Option<Durable>) -> OpenApiRouter {
    let kept = durable.clone().map(|durable| batches::routes(durable).route_layer(require("llm")));
    let calls = OpenApiRouter::new()
        .routes(routes!(calls::chat_completions))
        .routes(routes!(calls::completions))
        .routes(routes!(calls::responses))
        .routes(routes!(calls::embeddings))
        .routes(routes!(calls::messages))
        .routes(routes!(calls::count_tokens))
        .routes(routes!(calls::models))
        .routes(routes!(calls::model))
        .route("/v1/{*rest}", axum::routing::any(calls::nothing))
        .route_layer(require("llm"));
    // Looking and explaining change nothing.
    let looks = OpenApiRouter::new()
        .routes(routes!(control::status))
        .routes(routes!(control::routes))
        .routes(routes!(control::route))
        .routes(routes!(control::decisions))
        .routes(routes!(control::breakers))
        .routes(routes!(usage::usage))
        .routes(routes!(usage::requests))
        .route_layer(require_scope(Scope::read("llm")));
    let changes = OpenApiRouter::new()
        .routes(routes!(control::set_breakers))
        .route_layer(require_scope(Scope::admin("llm")));
    let area = calls.merge(looks).merge(changes).with_state(Area { gateway, durable });
    kept.into_iter().fold(area, OpenApiRouter::merge)
}
