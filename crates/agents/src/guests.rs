//! Each agent as a tool: `agent__NAME`, for models and MCP clients that choose among tools.

use std::{pin::Pin, sync::Arc};

use paddock_platform::{
    identity::{Caller, Scope},
    problem::Problem,
    tool::{Content, GuestTool, ToolContext, ToolOutput, ToolSource},
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    message::AgentName,
    service::{AgentView, Agents, ExecuteInput},
};

/// What the names of these tools begin with.
const PREFIX: &str = "agent__";
/// Agents that are listed as tools.
const LISTED_MAX: usize = 50;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CallInput {
    input: Value,
    #[serde(default)]
    conversation: Option<String>,
}

/// The agents as tools, beside the guests that are there already.
#[derive(Debug)]
struct AgentTools {
    agents: Agents,
    others: Option<Arc<dyn ToolSource>>,
}

/// The agents as tools of a toolbox, together with other guests.
pub fn tool_source(agents: &Agents, others: Option<Arc<dyn ToolSource>>) -> Arc<dyn ToolSource> {
    Arc::new(AgentTools { agents: agents.clone(), others })
}

fn name_of(tool: &str) -> Option<AgentName> {
    tool.strip_prefix(PREFIX)?.parse().ok()
}

fn describe(agent: &AgentView) -> Arc<GuestTool> {
    let name = format!("{PREFIX}{}", agent.name);
    let about = if agent.description.is_empty() { "It says nothing of itself." } else { &agent.description };
    let description = format!("Asks the agent `{}`. {about}", agent.name);
    let input_schema = json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["input"],
        "properties": {
            "input": { "description": "What it is asked: a text, or any JSON." },
            "conversation": { "type": "string", "description": "The conversation of an earlier answer, to go on with it." },
        },
    });
    let definition = json!({ "name": name, "description": description, "inputSchema": input_schema });
    let scope = Scope::write("agents");
    Arc::new(GuestTool { name, description, input_schema, output_schema: None, scope, definition })
}

impl ToolSource for AgentTools {
    fn scope_of(&self, name: &str) -> Option<Scope> {
        match name_of(name) {
            Some(_) => Some(Scope::write("agents")),
            None => self.others.as_ref()?.scope_of(name),
        }
    }

    fn tool(&self, caller: &Caller, name: &str) -> Option<Arc<GuestTool>> {
        let Some(agent) = name_of(name) else { return self.others.as_ref()?.tool(caller, name) };
        let view = self.agents.get(caller.tenant(), &agent).ok()?;
        caller.may(Scope::write("agents")).then(|| describe(&view))
    }

    fn listed(&self, caller: &Caller) -> Vec<Arc<GuestTool>> {
        let mut listed = self.others.as_ref().map(|others| others.listed(caller)).unwrap_or_default();
        if caller.may(Scope::write("agents")) {
            let agents = self.agents.list(caller.tenant(), None, None, LISTED_MAX);
            listed.extend(agents.iter().map(describe));
        }
        listed
    }

    fn call(
        &self,
        context: ToolContext,
        name: &str,
        input: Value,
    ) -> Pin<Box<dyn Future<Output = Result<ToolOutput, Problem>> + Send>> {
        let Some(agent) = name_of(name) else {
            return match &self.others {
                Some(others) => others.call(context, name, input),
                None => Box::pin(std::future::ready(Err(Problem::not_found("tool", name)))),
            };
        };
        let agents = self.agents.clone();
        Box::pin(async move {
            context.caller.require(Scope::write("agents"))?;
            let input: CallInput =
                serde_json::from_value(input).map_err(|error| Problem::invalid_field("input", error))?;
            let left = context.deadline.saturating_duration_since(std::time::Instant::now());
            let asked = ExecuteInput {
                agent: agent.as_str().to_owned(),
                input: input.input,
                conversation: input.conversation,
                timeout: Some(left.as_secs_f64()),
                hearer: None,
            };
            let done = agents.execute(&context.caller, asked).await?;
            let text = done.output.as_str().map_or_else(|| done.output.to_string(), str::to_owned);
            let value = serde_json::to_value(&done)
                .map_err(|error| Problem::internal("serializing an agent's answer", &error))?;
            Ok(ToolOutput { value, content: vec![Content::Text(text)] })
        })
    }
}
