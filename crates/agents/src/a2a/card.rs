//! Cards: what agents are and can do.

use axum::extract::State;
use paddock_platform::{
    http::{Json, Path},
    identity::{Caller, Scope},
    problem::Problem,
};
use serde_json::{Value, json};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{TAG, VERSION};
use crate::service::{AgentView, Agents};

/// Agents that one card lists.
const SKILLS_MAX: usize = 200;

pub(super) fn routes() -> OpenApiRouter<Agents> {
    OpenApiRouter::new().routes(routes!(agent_card)).routes(routes!(server_card))
}

/// The card of an agent
///
/// What it is and can do, as A2A has it.
#[utoipa::path(get, path = "/a2a/{agent}/.well-known/agent-card.json", tag = TAG,
    params(("agent" = String, Path, description = "The agent's name")),
    responses((status = 200, description = "The card", body = serde_json::Value)))]
async fn agent_card(
    State(agents): State<Agents>,
    caller: Caller,
    Path(agent): Path<String>,
) -> Result<Json<Value>, Problem> {
    caller.require(Scope::read("agents"))?;
    let name = agent.parse().map_err(|_| Problem::not_found("agent", &agent))?;
    let view = agents.get(caller.tenant(), &name)?;
    let skills = skills_of(&view);
    let description = if view.description.is_empty() { "an agent" } else { &view.description };
    Ok(Json(card(
        &agents,
        name.as_str(),
        description,
        &view.version.to_string(),
        Some(name.as_str()),
        &skills,
    )))
}

/// The card of the server
///
/// Its agents are its skills; each has a card of its own.
#[utoipa::path(get, path = "/.well-known/agent-card.json", tag = TAG,
    responses((status = 200, description = "The card", body = serde_json::Value)))]
async fn server_card(State(agents): State<Agents>, caller: Caller) -> Result<Json<Value>, Problem> {
    caller.require(Scope::read("agents"))?;
    let views = agents.list(caller.tenant(), None, None, SKILLS_MAX);
    let skills: Vec<Value> = views.iter().flat_map(skills_of).collect();
    let first = views.first().map(|view| view.name.as_str());
    let about = "The agents of a Paddock server. Each has a card of its own at /a2a/{agent}/.well-known/agent-card.json.";
    Ok(Json(card(&agents, "Paddock", about, env!("CARGO_PKG_VERSION"), first, &skills)))
}

fn skills_of(view: &AgentView) -> Vec<Value> {
    let description = if view.description.is_empty() { view.name.as_str() } else { &view.description };
    let mut tags: Vec<&str> = view.capabilities.iter().map(crate::message::Capability::as_str).collect();
    if tags.is_empty() {
        tags.push(view.kind.name());
    }
    vec![json!({ "id": view.name, "name": view.name, "description": description, "tags": tags })]
}

fn card(
    agents: &Agents,
    name: &str,
    description: &str,
    version: &str,
    agent: Option<&str>,
    skills: &[Value],
) -> Value {
    let base = agents.0.base.get().map_or("", String::as_str);
    let url = agent.map_or_else(|| format!("{base}/a2a"), |agent| format!("{base}/a2a/{agent}"));
    json!({
        "name": name,
        "description": description,
        "version": version,
        "supportedInterfaces": [
            { "url": url, "protocolBinding": "JSONRPC", "protocolVersion": VERSION },
            { "url": url, "protocolBinding": "JSONRPC", "protocolVersion": "0.3" },
        ],
        // What clients of 0.3 read.
        "protocolVersion": "0.3.0",
        "url": url,
        "preferredTransport": "JSONRPC",
        "capabilities": { "streaming": true, "pushNotifications": false },
        "defaultInputModes": ["text/plain", "application/json"],
        "defaultOutputModes": ["text/plain", "application/json"],
        "skills": skills,
    })
}
