//! Timelines, and messages that nobody handled.

use axum::extract::State;
use paddock_platform::{
    http::{Json, Path, Query, page_limit},
    identity::Caller,
    problem::Problem,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Area, TAG};
use crate::{
    dead::DeadLetterView,
    message::Label,
    service::Agents,
    store::{ConversationSummary, Entry},
    trace::trace_of,
};

pub(super) fn routes() -> OpenApiRouter<Area> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(timeline)).routes(routes!(dead_letters))
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct LimitQuery {
    /// How many, 1 to 500.
    limit: Option<u32>,
}

/// Conversations.
#[derive(Debug, Serialize, ToSchema)]
struct Conversations {
    /// The one in which something happened last comes first.
    conversations: Vec<ConversationSummary>,
}

/// List conversations
///
/// Those in which something happened lately.
#[utoipa::path(get, path = "/conversations", tag = TAG, params(LimitQuery), responses(
    (status = 200, description = "Conversations", body = Conversations),
))]
async fn list(
    State(agents): State<Agents>,
    caller: Caller,
    Query(query): Query<LimitQuery>,
) -> Result<Json<Conversations>, Problem> {
    let conversations = agents.conversations(caller.tenant(), page_limit(query.limit)?).await?;
    Ok(Json(Conversations { conversations }))
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct TimelineQuery {
    /// Entries after the one of this number.
    after: Option<i64>,
    /// How many, 1 to 500.
    limit: Option<u32>,
}

/// A timeline.
#[derive(Debug, Serialize, ToSchema)]
struct Timeline {
    /// The conversation.
    id: Label,
    /// The trace that its turns, model calls and tool calls are in, where traces are sent (`telemetry.otlp`).
    trace_id: String,
    /// What happened in it, in order.
    entries: Vec<Entry>,
}

/// The timeline of a conversation
///
/// Every message that was sent in it, what failed, which tools and models were called, what was decided.
#[utoipa::path(get, path = "/conversations/{id}", tag = TAG,
    params(("id" = String, Path, description = "The conversation"), TimelineQuery),
    responses((status = 200, description = "What happened", body = Timeline)))]
async fn timeline(
    State(agents): State<Agents>,
    caller: Caller,
    Path(id): Path<String>,
    Query(query): Query<TimelineQuery>,
) -> Result<Json<Timeline>, Problem> {
    let not_found = || Problem::not_found("conversation", id.chars().take(64).collect::<String>());
    let label: Label = id.parse().map_err(|_| not_found())?;
    let after = query.after.unwrap_or(0);
    let entries = agents.timeline(caller.tenant(), &label, after, page_limit(query.limit)?).await?;
    if entries.is_empty() && after == 0 {
        return Err(not_found());
    }
    let trace_id = format!("{:032x}", trace_of(caller.tenant(), &label));
    Ok(Json(Timeline { id: label, trace_id, entries }))
}

/// Messages that nobody handled.
#[derive(Debug, Serialize, ToSchema)]
struct DeadLetters {
    /// The newest first.
    dead_letters: Vec<DeadLetterView>,
}

/// List dead letters
///
/// Messages that nobody handled, and why.
#[utoipa::path(get, path = "/dead-letters", tag = TAG, params(LimitQuery), responses(
    (status = 200, description = "Dead letters", body = DeadLetters),
))]
async fn dead_letters(
    State(agents): State<Agents>,
    caller: Caller,
    Query(query): Query<LimitQuery>,
) -> Result<Json<DeadLetters>, Problem> {
    let dead_letters = agents.dead_letters(caller.tenant(), page_limit(query.limit)?).await?;
    Ok(Json(DeadLetters { dead_letters }))
}
