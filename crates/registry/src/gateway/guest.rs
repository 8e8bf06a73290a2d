//! The servers' tools in the toolbox, so that `/mcp`, `/tools`, jobs, missions and agents have them.

use std::{pin::Pin, sync::Arc, time::Instant};

use paddock_platform::{
    identity::{Caller, Scope},
    problem::Problem,
    tool::{Content, GuestTool, ToolContext, ToolOutput, ToolSource},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Gateway, client::Called, error::GatewayError};

/// The scope that a caller needs for any of these tools.
pub(super) const CALL: Scope = Scope::call("registry");
/// Finds tools.
const SEARCH: &str = "tools_search";
/// Calls one that was found.
const CALL_FOUND: &str = "tools_call";
/// Hits when the caller names no number, and at most.
const LIMIT_DEFAULT: usize = 10;
pub(super) const LIMIT_MAX: usize = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Search {
    query: String,
    #[serde(default)]
    server: Option<String>,
    #[serde(default)]
    limit: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {
    name: String,
    #[serde(default)]
    arguments: Option<Value>,
}

impl ToolSource for Gateway {
    fn scope_of(&self, name: &str) -> Option<Scope> {
        let is_ours = match name {
            SEARCH | CALL_FOUND => !self.0.board.load().servers.is_empty(),
            // A server that does not run yet has tools that nobody knows.
            _ => name
                .split_once("__")
                .is_some_and(|(server, _)| self.0.board.load().servers.contains_key(server)),
        };
        is_ours.then_some(CALL)
    }

    fn tool(&self, caller: &Caller, name: &str) -> Option<Arc<GuestTool>> {
        if !caller.may(CALL) {
            return None;
        }
        if let Some(own) = self.0.own_tools.iter().find(|tool| tool.name == name) {
            return (!self.0.board.load().servers.is_empty()).then(|| Arc::clone(own));
        }
        let board = self.0.board.load();
        let catalogue = board.catalogue.load();
        let listed = catalogue.find(name)?;
        board.rules.of(caller).allows(name).then(|| Arc::clone(&listed.tool))
    }

    fn listed(&self, caller: &Caller) -> Vec<Arc<GuestTool>> {
        if !caller.may(CALL) {
            return Vec::new();
        }
        let board = self.0.board.load();
        let catalogue = board.catalogue.load();
        let allowed = board.rules.of(caller);
        let max = board.tools_listed_max;
        let tools: Vec<_> =
            catalogue.allowed(&allowed).take(max + 1).map(|listed| Arc::clone(&listed.tool)).collect();
        if tools.len() > max { self.0.own_tools.to_vec() } else { tools }
    }

    fn call(
        &self,
        context: ToolContext,
        name: &str,
        input: Value,
    ) -> Pin<Box<dyn Future<Output = Result<ToolOutput, Problem>> + Send>> {
        let (gateway, name) = (self.clone(), name.to_owned());
        Box::pin(async move {
            context.caller.require(CALL)?;
            match name.as_str() {
                SEARCH => {
                    let Search { query, server, limit } = parse(input)?;
                    let limit = limit.unwrap_or(LIMIT_DEFAULT).clamp(1, LIMIT_MAX);
                    let (tools, total) = gateway.search_tools(&context.caller, query, server, limit).await?;
                    Ok(read(json!({"tools": tools, "total": total})))
                }
                CALL_FOUND => {
                    let Call { name, arguments } = parse(input)?;
                    gateway.call_tool(context, &name, arguments.unwrap_or_else(|| json!({}))).await
                }
                _ => gateway.call_tool(context, &name, input).await,
            }
        })
    }
}

fn parse<T: for<'de> Deserialize<'de>>(input: Value) -> Result<T, Problem> {
    serde_json::from_value(input).map_err(|error| Problem::invalid_field("input", error))
}

fn read(value: Value) -> ToolOutput {
    ToolOutput { content: vec![Content::Text(value.to_string())], value }
}

impl Gateway {
    /// Calls a tool by its name here.
    async fn call_tool(&self, context: ToolContext, name: &str, input: Value) -> Result<ToolOutput, Problem> {
        let no_tool = || GatewayError::NoTool(name.to_owned());
        let (server_name, own_name) = name.split_once("__").ok_or_else(no_tool)?;
        let server = self.server(server_name).map_err(|_| no_tool())?;
        if !self.held(&server, &context.caller).allows(own_name) {
            return Err(no_tool().into());
        }
        let record =
            self.0.audit.begin(&server.name, own_name, server.has_tool(own_name), &context.caller, "tools");
        let record = record.await;
        let called = async {
            let _place = server.places.enter(&server.name, &context.caller)?;
            let left = context.deadline.saturating_duration_since(Instant::now());
            let client = server.own().await?;
            client.call(own_name, &input, left.min(server.options.timeout.get()), &context.progress).await
        };
        let called = called.await;
        record.finish(called.as_ref().map_or_else(GatewayError::label, |_| "ok"));
        Ok(output_of(called?))
    }
}

fn output_of(called: Called) -> ToolOutput {
    let part = |part: &Value| match (part["type"].as_str(), part["text"].as_str()) {
        (Some("text"), Some(text)) => Content::Text(text.to_owned()),
        _ => Content::Mcp(part.clone()),
    };
    let content = called.content.iter().map(part).collect();
    let value = called.structured_content.unwrap_or_else(|| json!({"content": called.content}));
    ToolOutput { value, content }
}

/// The two tools that stand for all others where those are too many.
pub(super) fn own_tools() -> [Arc<GuestTool>; 2] {
    let tool = |name: &str, description: &str, input_schema: Value, is_read_only: bool| {
        Arc::new(GuestTool {
            name: name.to_owned(),
            description: description.to_owned(),
            output_schema: None,
            scope: CALL,
            definition: json!({
                "name": name, "description": description, "inputSchema": input_schema,
                "annotations": {"readOnlyHint": is_read_only, "openWorldHint": !is_read_only},
            }),
            input_schema,
        })
    };
    let search = tool(
        SEARCH,
        "Finds tools of connected MCP servers by what they do, also for misspelled words, with the schemas of their \
         input. Call what it finds with tools_call.",
        json!({
            "type": "object",
            "additionalProperties": false,
            "required": ["query"],
            "properties": {
                "query": {"type": "string", "maxLength": 500, "description": "What the tool should do, in a few words."},
                "server": {"type": "string", "description": "Tools of this server only."},
                "limit": {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "description": "How many tools; 10 by default."},
            },
        }),
        true,
    );
    let call = tool(
        CALL_FOUND,
        "Calls a tool that tools_search found.",
        json!({
            "type": "object",
            "additionalProperties": false,
            "required": ["name"],
            "properties": {
                "name": {"type": "string", "description": "Its name, as tools_search gives it: server__tool."},
                "arguments": {"type": "object", "description": "Its input, as its schema says."},
            },
        }),
        false,
    );
    [search, call]
}
