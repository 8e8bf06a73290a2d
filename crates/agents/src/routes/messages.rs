//! Sending and asking.

use std::time::Duration;

use axum::extract::State;
use http::{HeaderMap, StatusCode};
use paddock_platform::{
    http::{Json, Path, Preference},
    identity::Caller,
    problem::Problem,
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Area, TAG, parse_name};
use crate::{
    Auction, AuctionInput, ContractNet, ContractNetInput, Proposal, ProposalInput,
    message::{Address, MessageInput, MessageView},
    service::{Agents, AnswerView, SentView},
};

pub(super) fn routes() -> OpenApiRouter<Area> {
    OpenApiRouter::new()
        .routes(routes!(send))
        .routes(routes!(send_to))
        .routes(routes!(ask))
        .routes(routes!(contract_net))
        .routes(routes!(auction))
        .routes(routes!(propose))
}

/// Send a message
///
/// To the agents that its `receivers` name: by name, by capability, by topic. One with `delivery: "durable"` is on disk when
/// this answers, and takes effect exactly once, however often it is sent under its `id`.
#[utoipa::path(post, path = "/messages", tag = TAG, request_body = MessageInput, responses(
    (status = 202, description = "It waits for its receivers", body = SentView),
    (status = 404, description = "There is nobody of that name or capability"),
    (status = 429, description = "The mailbox is full"),
))]
async fn send(
    State(agents): State<Agents>,
    caller: Caller,
    Json(input): Json<MessageInput>,
) -> Result<(StatusCode, Json<SentView>), Problem> {
    let sent = agents.send(&caller, input.into_draft(Vec::new())?).await?;
    Ok((StatusCode::ACCEPTED, Json(sent)))
}

/// Send a message to an agent
///
/// As `POST /agents/messages`, with this agent as a receiver.
#[utoipa::path(post, path = "/{name}/messages", tag = TAG, request_body = MessageInput,
    params(("name" = String, Path, description = "The agent")),
    responses(
        (status = 202, description = "It waits for the agent", body = SentView),
        (status = 429, description = "The mailbox is full"),
    ))]
async fn send_to(
    State(agents): State<Agents>,
    caller: Caller,
    Path(name): Path<String>,
    Json(input): Json<MessageInput>,
) -> Result<(StatusCode, Json<SentView>), Problem> {
    let to = Address::Agent(parse_name(&name)?);
    let sent = agents.send(&caller, input.into_draft(vec![to])?).await?;
    Ok((StatusCode::ACCEPTED, Json(sent)))
}

/// Ask an agent
///
/// Sends a message and waits for the first answer that is more than an `agree`; with `Prefer: wait=N` for N seconds at most.
#[utoipa::path(post, path = "/{name}/ask", tag = TAG, request_body = MessageInput,
    params(
        ("name" = String, Path, description = "The agent"),
        ("Prefer" = Option<String>, Header, description = "`wait=N`: seconds to wait for the answer"),
    ),
    responses(
        (status = 200, description = "The answer", body = AnswerView),
        (status = 504, description = "None came in time"),
    ))]
async fn ask(
    State(agents): State<Agents>,
    caller: Caller,
    Path(name): Path<String>,
    headers: HeaderMap,
    Json(input): Json<MessageInput>,
) -> Result<Json<AnswerView>, Problem> {
    let wait: Option<Duration> = Preference::of(&headers)?.wait;
    let to = Address::Agent(parse_name(&name)?);
    let (conversation, answer) = agents.ask(&caller, input.into_draft(vec![to])?, wait).await?;
    Ok(Json(AnswerView { conversation, answer: MessageView::from(&*answer) }))
}

/// Run a contract net
///
/// Calls for proposals, awards the best bid by the deadline, tells the others, and waits for what the winner comes to.
#[utoipa::path(post, path = "/contract-net", tag = TAG, request_body = ContractNetInput, responses(
    (status = 200, description = "How it went", body = ContractNet),
    (status = 504, description = "The winner did not answer in time"),
))]
async fn contract_net(
    State(agents): State<Agents>,
    caller: Caller,
    Json(input): Json<ContractNetInput>,
) -> Result<Json<ContractNet>, Problem> {
    Ok(Json(agents.contract_net(&caller, input).await?))
}

/// Hold an auction
///
/// Calls for bids at one price after the other, rising (`english`) or falling (`dutch`), sells to the bidder that is left,
/// tells the others, and waits for what it comes to.
#[utoipa::path(post, path = "/auction", tag = TAG, request_body = AuctionInput, responses(
    (status = 200, description = "How it went", body = Auction),
    (status = 504, description = "The winner did not answer in time"),
))]
async fn auction(
    State(agents): State<Agents>,
    caller: Caller,
    Json(input): Json<AuctionInput>,
) -> Result<Json<Auction>, Problem> {
    Ok(Json(agents.auction(&caller, input).await?))
}

/// Propose something
///
/// To agents, each of which accepts or rejects it, by the deadline.
#[utoipa::path(post, path = "/propose", tag = TAG, request_body = ProposalInput, responses(
    (status = 200, description = "Who accepted it, and who did not", body = Proposal),
))]
async fn propose(
    State(agents): State<Agents>,
    caller: Caller,
    Json(input): Json<ProposalInput>,
) -> Result<Json<Proposal>, Problem> {
    Ok(Json(agents.propose(&caller, input).await?))
}
