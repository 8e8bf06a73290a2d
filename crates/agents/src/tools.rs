//! The area's tools: agents for models, for MCP clients, for jobs, and for each other.

use std::time::Duration;

use paddock_platform::{
    identity::Scope,
    problem::Problem,
    tool::{Tool, ToolContext},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    AuctionInput, ContractNetInput, ProposalInput,
    message::{Capability, MessageInput, MessageView},
    service::{AgentView, Agents, AnswerView, ExecuteInput, SentView},
};

/// The tool that runs an agent.
pub(crate) const EXECUTE: &str = "agents_execute";
/// How many agents `agents_list` gives.
const LIST_LIMIT: usize = 100;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Filter {
    /// That can do this.
    #[serde(default)]
    capability: Option<Capability>,
}

#[derive(Serialize, JsonSchema)]
struct AgentList {
    /// By name, 100 at most.
    agents: Vec<AgentView>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AskInput {
    /// The message; `receivers` names whom to ask.
    message: MessageInput,
    /// Seconds to wait for the answer.
    #[serde(default)]
    timeout: Option<f64>,
}

/// The tools of this area.
pub fn tools(agents: &Agents) -> Vec<Tool> {
    vec![
        list(agents),
        send(agents),
        ask(agents),
        execute(agents),
        contract_net(agents),
        auction(agents),
        propose(agents),
    ]
}

fn left(context: &ToolContext) -> Duration {
    context.deadline.saturating_duration_since(std::time::Instant::now())
}

fn list(agents: &Agents) -> Tool {
    let agents = agents.clone();
    Tool::new(
        "agents_list",
        "Lists the agents of this server: what each does and can be asked for.",
        Scope::read("agents"),
        move |context, input: Filter| {
            let agents = agents.list(context.caller.tenant(), input.capability.as_ref(), None, LIST_LIMIT);
            async move { Ok::<_, Problem>(AgentList { agents }) }
        },
    )
}

fn send(agents: &Agents) -> Tool {
    let agents = agents.clone();
    Tool::new(
        "agents_send",
        "Sends a message to agents, by name, capability or topic, and does not wait for an answer.",
        Scope::write("agents"),
        move |context, input: MessageInput| {
            let agents = agents.clone();
            async move {
                let sent: SentView = agents.send(&context.caller, input.into_draft(Vec::new())?).await?;
                Ok::<_, Problem>(sent)
            }
        },
    )
}

fn ask(agents: &Agents) -> Tool {
    let agents = agents.clone();
    Tool::new(
        "agents_ask",
        "Sends a message to an agent and waits for its answer, which is a message, too.",
        Scope::write("agents"),
        move |context, input: AskInput| {
            let agents = agents.clone();
            async move {
                let timeout = input.timeout.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
                let timeout = timeout.unwrap_or_else(|| left(&context)).min(left(&context));
                let draft = input.message.into_draft(Vec::new())?;
                let (conversation, answer) = agents.ask(&context.caller, draft, Some(timeout)).await?;
                Ok::<_, Problem>(AnswerView { conversation, answer: MessageView::from(&*answer) })
            }
        },
    )
}

fn execute(agents: &Agents) -> Tool {
    let agents = agents.clone();
    Tool::new(
        EXECUTE,
        "Has an agent do something, by its name or by `capability:NAME`, and gives what it came to.",
        Scope::write("agents"),
        move |context, input: ExecuteInput| {
            let agents = agents.clone();
            async move {
                let seconds = input.timeout.unwrap_or(f64::INFINITY).min(left(&context).as_secs_f64());
                agents.execute(&context.caller, ExecuteInput { timeout: Some(seconds), ..input }).await
            }
        },
    )
}

fn contract_net(agents: &Agents) -> Tool {
    let agents = agents.clone();
    Tool::new(
        "agents_contract_net",
        "Calls for proposals from agents, gives the task to the one with the best bid, and waits for its result.",
        Scope::write("agents"),
        move |context, input: ContractNetInput| {
            let agents = agents.clone();
            async move { agents.contract_net(&context.caller, input).await }
        },
    )
}

fn auction(agents: &Agents) -> Tool {
    let agents = agents.clone();
    Tool::new(
        "agents_auction",
        "Holds an auction among agents, with a price that rises or falls, and waits for what the winner does for it.",
        Scope::write("agents"),
        move |context, input: AuctionInput| {
            let agents = agents.clone();
            async move { agents.auction(&context.caller, input).await }
        },
    )
}

fn propose(agents: &Agents) -> Tool {
    let agents = agents.clone();
    Tool::new(
        "agents_propose",
        "Proposes something to agents, and tells who accepts it and who rejects it.",
        Scope::write("agents"),
        move |context, input: ProposalInput| {
            let agents = agents.clone();
            async move { agents.propose(&context.caller, input).await }
        },
    )
}
