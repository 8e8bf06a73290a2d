//! What all agents of a server share: who there is, how messages get to them, and what they may use.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use metrics::counter;
use paddock_platform::{
    events::{Events, News},
    identity::Tenant,
    problem::{FORBIDDEN, Problem},
    store::Store,
    task::Tasks,
    tool::{ToolContext, Toolbox},
};
use serde_json::{Map, Value, json};
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::{
    AgentsOptions,
    cell::{AgentStatus, Cell, LogLine, ORDER_RESTART},
    commit::Committer,
    dead::{DeadLetter, DeadLetters, DeadReason},
    deliver::stopped,
    journal::{Journal, Note, What},
    life, live,
    message::{AgentName, Content, Label, Message},
    metrics::{AGENTS_DEAD_LETTERS_TOTAL, AGENTS_TOOL_CALLS_TOTAL, Meters},
    nodes::Nodes,
    remind::Reminders,
    service::topics,
    shares::{Fair, Shares},
    space::Space,
    store,
    supervise::Supervisor,
    trace,
    turn::{Host, TurnLimits},
};

/// How long a tool call of an agent may take.
const TOOL_DEADLINE: Duration = Duration::from_mins(2);

/// What bounds the runtime; read once.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) turn: TurnLimits,
    pub(crate) mailbox_max: usize,
    pub(crate) batch_max: usize,
    pub(crate) block_max: Duration,
    pub(crate) park_after_s: u64,
    pub(crate) awake_max: usize,
    pub(crate) checkpoint_messages: u32,
    pub(crate) checkpoint_interval_s: u64,
    pub(crate) slow_after: Duration,
}

impl Limits {
    pub(crate) fn of(options: &AgentsOptions) -> Self {
        Self {
            turn: TurnLimits {
                sends: options.sends_max.max(1),
                state: options.state_max.as_usize(),
                message: options.message_max.as_usize(),
            },
            mailbox_max: options.mailbox_max.max(1),
            batch_max: options.batch_max.max(1),
            block_max: options.block_max.get(),
            park_after_s: options.park_after.get().as_secs().max(1),
            awake_max: options.awake_max.max(1),
            checkpoint_messages: options.checkpoint_messages.max(1),
            checkpoint_interval_s: options.checkpoint_interval.get().as_secs().max(1),
            slow_after: options.slow_after.get(),
        }
    }
}

/// What all agents share.
pub(crate) struct Core {
    pub(crate) limits: Limits,
    pub(crate) spaces: papaya::HashMap<Tenant, Arc<Space>>,
    /// Agents that have a task, by where they are in memory.
    pub(crate) awake: papaya::HashMap<usize, Arc<Cell>>,
    pub(crate) store: Store,
    pub(crate) commits: OnceLock<Committer>,
    pub(crate) journal: Journal,
    pub(crate) dead: DeadLetters,
    pub(crate) reminders: Reminders,
    pub(crate) supervisor: Supervisor,
    pub(crate) shares: Arc<Shares>,
    pub(crate) toolbox: OnceLock<Toolbox>,
    pub(crate) events: Events,
    pub(crate) meters: Meters,
    pub(crate) tasks: Tasks,
    /// The tasks of agents that are awake.
    pub(crate) lives: TaskTracker,
    /// That an agent has its handler.
    pub(crate) started: Notify,
    /// Seconds since the server began, more or less.
    pub(crate) tick: AtomicU64,
    /// The last place in the store's inboxes that was taken before the server began.
    pub(crate) place_before: i64,
    /// The servers that share the agents, where there may be others.
    pub(crate) nodes: Option<Arc<Nodes>>,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Core")
    }
}

/// What became of a message.
#[derive(Debug, Default)]
pub(crate) struct Delivered {
    /// How many agents, or callers who wait, got it.
    pub(crate) count: usize,
    /// Who did not, and why.
    pub(crate) troubles: Vec<Trouble>,
    /// Those whose mailboxes are full, for which the sender waits.
    pub(crate) blocked: Vec<Arc<Cell>>,
}

/// Somebody did not get a message.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    pub(crate) receiver: Option<AgentName>,
    pub(crate) reason: DeadReason,
    pub(crate) detail: String,
}

impl Trouble {
    pub(crate) fn new(receiver: Option<&AgentName>, reason: DeadReason, detail: impl Into<String>) -> Self {
        Self { receiver: receiver.cloned(), reason, detail: detail.into() }
    }
}

impl Core {
    pub(crate) fn tick(&self) -> u64 {
        self.tick.load(Ordering::Relaxed)
    }

    /// The agents of a tenant.
    pub(crate) fn space(&self, tenant: &Tenant) -> Arc<Space> {
        let spaces = self.spaces.pin();
        if let Some(space) = spaces.get(tenant) {
            return Arc::clone(space);
        }
        Arc::clone(spaces.get_or_insert_with(tenant.clone(), || Arc::new(Space::new(tenant.clone()))))
    }

    pub(crate) fn commits(&self) -> Option<&Committer> {
        self.commits.get()
    }

    /// Sees to it that somebody runs an agent whose mailbox says that nobody does.
    pub(crate) fn run(self: &Arc<Self>, cell: &Arc<Cell>) {
        let life = life::run(Arc::clone(self), Arc::clone(cell));
        let life = self.lives.track_future(life);
        self.tasks.spawn("agent", Fair::new(&self.shares, &cell.space.tenant, life));
    }

    pub(crate) fn nudge(self: &Arc<Self>, cell: &Arc<Cell>) {
        if cell.mailbox.nudge() {
            self.run(cell);
        }
    }

    /// Stops an agent that failed too often: it takes no messages until somebody resumes it.
    pub(crate) fn stop(self: &Arc<Self>, cell: &Arc<Cell>, reason: &str) {
        self.stop_here(cell);
        tracing::error!(agent = &*cell.key, reason, "an agent failed too often and was stopped");
        self.publish(cell, topics::STATES.name, "failed", json!({ "reason": reason }));
        let (core, cell) = (Arc::clone(self), Arc::clone(cell));
        self.tasks.spawn("agents-status", async move {
            let status = AgentStatus::Failed;
            if let Err(error) = store::set_status(&core.store, &cell.space.tenant, &cell.name, status).await {
                tracing::warn!(%error, agent = &*cell.key, "the status of an agent could not be written");
            }
        });
    }

    /// As [`Core::stop`], where the store knows already.
    pub(crate) fn stop_here(self: &Arc<Self>, cell: &Arc<Cell>) {
        cell.set_status(AgentStatus::Failed);
        for waiting in cell.mailbox.close() {
            self.bury(&cell.space, &waiting.message, stopped(cell));
        }
        cell.order(ORDER_RESTART);
        self.nudge(cell);
    }

    /// A dead letter, noted and counted.
    pub(crate) fn letter(&self, space: &Space, message: &Arc<Message>, trouble: Trouble) -> DeadLetter {
        let Trouble { receiver, reason, detail } = trouble;
        counter!(AGENTS_DEAD_LETTERS_TOTAL, "reason" => reason.name()).increment(1);
        let agent = receiver.as_ref().map(|name| name.as_str().to_owned());
        let entry = json!({ "message": message.id.to_string(), "reason": reason.name(), "detail": detail });
        self.note(space, message.conversation.as_ref(), "dead", agent, entry);
        DeadLetter {
            tenant: space.tenant.clone(),
            at: Timestamp::now(),
            receiver,
            reason,
            detail,
            message: Arc::clone(message),
        }
    }

    pub(crate) fn note(
        &self,
        space: &Space,
        conversation: Option<&Label>,
        kind: &'static str,
        agent: Option<String>,
        entry: Value,
    ) {
        if let Some(conversation) = conversation {
            let (tenant, conversation) = (space.tenant.clone(), conversation.clone());
            self.journal.note(Note { tenant, conversation, kind, agent, what: What::Value(entry) });
        }
    }

    /// Calls a tool for an agent: as the agent, and no further than it was granted.
    pub(crate) async fn call_tool(&self, cell: &Cell, name: &str, input: Value) -> Result<Value, Problem> {
        let agent = cell.acting();
        let result = if agent.may_call(name) {
            match self.toolbox.get() {
                Some(toolbox) => {
                    let mut context = ToolContext::new(agent.caller.clone(), TOOL_DEADLINE);
                    context.agent = cell.name.as_str().to_owned();
                    let span = trace::tool(&cell.name, name);
                    let called = toolbox.run(context, name, input).instrument(span.clone()).await;
                    if let Err(problem) = &called {
                        span.record("otel.status_code", "ERROR");
                        span.record("error.type", problem.kind.slug);
                    }
                    called.map(|output| output.value)
                }
                None => Err(Problem::not_found("tool", name)),
            }
        } else {
            let granted = agent.definition.tools.join(", ");
            let detail =
                format!("the agent `{}` was not granted the tool `{name}`, only: {granted}", cell.name);
            Err(Problem::new(FORBIDDEN, detail))
        };
        let outcome = result.as_ref().map_or_else(|problem| problem.kind.slug, |_| "ok");
        counter!(AGENTS_TOOL_CALLS_TOTAL, "outcome" => outcome).increment(1);
        result
    }

    /// Writes a line to an agent's log, and tells those who watch.
    pub(crate) fn log(&self, cell: &Cell, level: tracing::Level, text: &str) {
        /// A line that is longer is cut.
        const LINE_MAX: usize = 4_096;
        let end = (0..=text.len().min(LINE_MAX)).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        let level = level.as_str().to_ascii_lowercase();
        let line = LogLine { at: Timestamp::now(), level, text: text[..end].to_owned() };
        if self.events.is_wanted(topics::LOGS.name) {
            let data = json!({ "level": line.level, "text": line.text });
            self.publish(cell, topics::LOGS.name, "line", data);
        }
        cell.write_log(line);
    }

    pub(crate) fn publish(&self, cell: &Cell, topic: &'static str, kind: &'static str, data: Value) {
        let data = if let Value::Object(data) = data { data } else { Map::new() };
        let about = vec![("agent", Arc::from(cell.name.as_str()))];
        self.events.publish(News { tenant: Some(cell.space.tenant.clone()), topic, kind, about, data });
    }
}

/// What an agent's turns ask of the server.
pub(crate) struct Seat {
    pub(crate) core: Arc<Core>,
    pub(crate) cell: Arc<Cell>,
}

impl Host for Seat {
    fn may_call(&self, tool: &str) -> bool {
        self.cell.acting().may_call(tool)
    }

    fn call_tool(&self, name: &str, input: Value) -> BoxFuture<'static, Result<Value, Problem>> {
        let (core, cell, name) = (Arc::clone(&self.core), Arc::clone(&self.cell), name.to_owned());
        Box::pin(async move { core.call_tool(&cell, &name, input).await })
    }

    fn log(&self, level: tracing::Level, text: &str) {
        self.core.log(&self.cell, level, text);
    }

    fn tool_specs(&self) -> Vec<Value> {
        let agent = self.cell.acting();
        let Some(toolbox) = self.core.toolbox.get() else { return Vec::new() };
        let granted = toolbox.visible_to(&agent.caller).filter(|tool| agent.may_call(tool.name));
        let spec = |name: &str, description: &str, schema: &Value| {
            let function = json!({ "name": name, "description": description, "parameters": schema });
            json!({ "type": "function", "function": function })
        };
        let own = granted.map(|tool| spec(tool.name, tool.description, &tool.input_schema));
        let guests = agent.definition.tools.iter().filter_map(|name| toolbox.guest(&agent.caller, name));
        own.chain(guests.map(|tool| spec(&tool.name, &tool.description, &tool.input_schema))).collect()
    }

    fn tell(&self, hearer: &Label, event: &Value) -> bool {
        let told = live::told(&self.cell.name, hearer, Content::json(event));
        self.core.deliver(&self.cell.space, &told).count > 0
    }

    fn note(&self, conversation: Option<&Label>, kind: &'static str, entry: Value) {
        let agent = Some(self.cell.name.as_str().to_owned());
        self.core.note(&self.cell.space, conversation, kind, agent, entry);
    }
}
