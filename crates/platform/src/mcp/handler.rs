//! What an MCP client can ask: which tools there are, and to call one.

use std::{collections::HashMap, sync::Arc};

use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        self, CallToolRequestParams, CallToolResponse, CallToolResult, Implementation,
        ListPromptsRequestMethod, ListPromptsResult, ListToolsResult, PaginatedRequestParams,
        ProgressNotificationParam, ProgressToken, ProtocolVersion, ServerCapabilities, ServerConfig,
    },
    service::{Peer, RequestContext},
};
use serde_json::Value;
use tokio::sync::watch;

use super::{
    answer::{answered, described, described_guest, failed},
    calls::{self, Calls, Client},
    http::session_of,
    options::McpOptions,
};
use crate::{
    config::Section,
    http::tools::agent,
    identity::Caller,
    problem::{NOT_FOUND, OVERLOADED, Problem, UNAUTHENTICATED},
    tool::{Progress, Step, ToolContext, Toolbox},
};

/// When to come back after being refused for too many calls.
const RETRY_AFTER_FULL: std::time::Duration = std::time::Duration::from_secs(1);

/// The toolbox as MCP clients see it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Mcp(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    toolbox: Toolbox,
    options: Section<McpOptions>,
    info: ServerConfig,
    described: HashMap<&'static str, model::Tool>,
    calls: Calls,
}

impl Mcp {
    /// `instructions` tell a model how the tools go together; clients may put them into its prompt.
    pub fn new(toolbox: Toolbox, options: Section<McpOptions>, version: &str, instructions: &str) -> Self {
        calls::describe();
        let info = ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("paddock", version).with_title("Paddock"))
            .with_instructions(instructions);
        let described = toolbox.all().map(|tool| (tool.name, described(tool))).collect();
        Self(Arc::new(Shared { toolbox, options, info, described, calls: Calls::default() }))
    }

    pub(super) fn calls(&self) -> &Calls {
        &self.0.calls
    }
}

/// Who asks.
#[derive(Clone, Debug)]
pub(super) enum Asking {
    /// The caller and session that the HTTP request carries.
    PerRequest,
    /// Always the same: whoever started this process.
    Always(Caller, String),
}

/// Who makes a request.
struct Who {
    caller: Caller,
    session: Option<String>,
    /// The name that it gives itself, or else its session.
    agent: String,
}

/// The protocol's server.
#[derive(Clone, Debug)]
pub(super) struct Handler {
    pub(super) mcp: Mcp,
    pub(super) asking: Asking,
}

impl Handler {
    fn who(&self, context: &RequestContext<RoleServer>) -> Result<Who, ErrorData> {
        match &self.asking {
            // The transport cancels its calls itself.
            Asking::Always(caller, agent) => {
                Ok(Who { caller: caller.clone(), session: None, agent: agent.clone() })
            }
            Asking::PerRequest => {
                let parts = context.extensions.get::<::http::request::Parts>();
                let caller = parts.and_then(|parts| parts.extensions.get::<Caller>());
                // Without the edge there is no caller: closed rather than open.
                let caller =
                    caller.ok_or_else(|| ErrorData::invalid_request("this route needs a key", None))?;
                let session = parts.and_then(|parts| session_of(&parts.headers));
                let agent =
                    parts.and_then(|parts| agent(&parts.headers).ok()).filter(|agent| !agent.is_empty());
                let agent = agent.or_else(|| session.clone()).unwrap_or_default();
                Ok(Who { caller: caller.clone(), session, agent })
            }
        }
    }

    async fn run(
        &self,
        context: &RequestContext<RoleServer>,
        name: &str,
        input: Value,
    ) -> Result<CallToolResult, Problem> {
        let shared = &self.mcp.0;
        let options = shared.options.current();
        let Who { caller, session, agent } =
            self.who(context).map_err(|error| Problem::new(UNAUTHENTICATED, error.message.into_owned()))?;
        let key = caller.key_id().map(str::to_owned);
        let client = session.map(|session| Client { key, session });
        let max = options.calls_max.get();
        let _call = shared.calls.enter(client, &context.id, &context.ct, max).ok_or_else(|| {
            Problem::new(OVERLOADED, format!("{max} tool calls run already, the server's `mcp.calls_max`"))
                .retry_after(RETRY_AFTER_FULL)
        })?;
        let mut call = ToolContext::new(caller, options.timeout.get());
        call.agent = agent;
        let (progress, steps) = Progress::watched();
        let told = context.meta.get_progress_token().map(|token| tell(context.peer.clone(), token, steps));
        if told.is_some() {
            call.progress = progress;
        }
        let guest = shared.toolbox.guest(&call.caller, name);
        let running = shared.toolbox.run(call, name, input);
        let output = match told {
            None => running.await?,
            Some(told) => {
                tokio::select! {
                    output = running => output?,
                    never = told => match never {},
                }
            }
        };
        let has_schema = shared.described.get(name).is_some_and(|tool| tool.output_schema.is_some())
            || guest.is_some_and(|guest| guest.output_schema.is_some());
        Ok(answered(output, has_schema))
    }
}

impl ServerHandler for Handler {
    fn get_info(&self) -> ServerConfig {
        self.mcp.0.info.clone()
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let caller = self.who(&context)?.caller;
        let shared = &self.mcp.0;
        let tools = shared.toolbox.visible_to(&caller).filter_map(|tool| shared.described.get(tool.name));
        let guests = shared.toolbox.guests_of(&caller);
        let guests = guests.iter().filter_map(|guest| described_guest(guest));
        Ok(ListToolsResult::with_all_items(tools.cloned().chain(guests).collect()))
    }

    /// There are none, and none are declared. Older clients ask all the same, and are told so.
    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        if context.protocol_version().is_some_and(|version| version >= ProtocolVersion::V_2026_07_28) {
            return Err(ErrorData::method_not_found::<ListPromptsRequestMethod>());
        }
        Ok(ListPromptsResult::default())
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let input = Value::Object(request.arguments.unwrap_or_default());
        let result = tokio::select! {
            result = self.run(&context, &request.name, input) => result,
            // Nobody reads the answer; dropping the call is what counts.
            () = context.ct.cancelled() => Ok(CallToolResult::error(Vec::new())),
        };
        match result {
            Ok(result) => Ok(result.into()),
            // No tool could answer this one: an error of the protocol.
            Err(problem)
                if problem.kind == NOT_FOUND && self.mcp.0.toolbox.scope_of(&request.name).is_none() =>
            {
                Err(ErrorData::invalid_params(problem.detail, None))
            }
            Err(problem) => Ok(failed(&problem).into()),
        }
    }

    fn get_tool(&self, name: &str) -> Option<model::Tool> {
        self.mcp.0.described.get(name).cloned()
    }
}

/// Passes on how far a call is, for as long as it runs.
async fn tell(
    peer: Peer<RoleServer>,
    token: ProgressToken,
    mut steps: watch::Receiver<Step>,
) -> std::convert::Infallible {
    while steps.changed().await.is_ok() {
        let step = steps.borrow_and_update().clone();
        let mut param = ProgressNotificationParam::new(token.clone(), step.done).with_message(step.message);
        if let Some(total) = step.total {
            param = param.with_total(total);
        }
        if peer.notify_progress(param).await.is_err() {
            break;
        }
    }
    std::future::pending().await
}
