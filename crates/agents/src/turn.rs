//! One turn of an agent: what it may look at, and what it wants done.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use paddock_platform::{identity::Tenant, problem::Problem};
use serde_json::Value;

use crate::{
    handler::Failure,
    message::{Address, AgentName, Draft, Label, Message, MessageId, Topic},
    state::State,
};

/// The key under which an agent reads its fencing token: a number that is larger whenever another server runs the agent.
/// What it changes elsewhere can be guarded by it, where that refuses smaller ones. Nobody writes it.
const FENCE: &str = "paddock:fence";

/// One turn of an agent. All of it is buffered in memory: sends and changes take place when the turn succeeds. Only tool
/// calls happen at once.
pub struct Turn {
    pub(crate) home: Arc<Home>,
    pub(crate) state: State,
    pub(crate) sends: Vec<Arc<Message>>,
    pub(crate) reminders: Vec<(Duration, Arc<Message>)>,
    pub(crate) subscriptions: Vec<(Topic, bool)>,
    /// Whether the state has to be in the store before the agent goes on.
    pub(crate) is_urgent: bool,
}

/// What all turns of one agent have in common.
pub(crate) struct Home {
    pub(crate) name: AgentName,
    pub(crate) tenant: Tenant,
    pub(crate) address: Address,
    /// Under which the server runs the agent.
    pub(crate) epoch: i64,
    pub(crate) limits: TurnLimits,
    pub(crate) host: Arc<dyn Host>,
}

/// The most of each that a turn may have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TurnLimits {
    /// Messages, and reminders.
    pub(crate) sends: usize,
    /// Bytes of the state.
    pub(crate) state: usize,
    /// Bytes of a message's content.
    pub(crate) message: usize,
}

/// What a turn asks of the server at once.
pub(crate) trait Host: Send + Sync {
    fn may_call(&self, tool: &str) -> bool;
    fn call_tool(&self, name: &str, input: Value) -> BoxFuture<'static, Result<Value, Problem>>;
    fn log(&self, level: tracing::Level, text: &str);
    /// The tools that the agent was granted, as models are told of them.
    fn tool_specs(&self) -> Vec<Value>;
    /// Notes something in the timeline of a conversation.
    fn note(&self, conversation: Option<&Label>, kind: &'static str, entry: Value);
    /// Tells somebody who wants to hear it what the agent does. Gives whether they, or their server, took it.
    fn tell(&self, hearer: &Label, event: &Value) -> bool;
}

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turn").field("agent", &self.name().as_str()).finish_non_exhaustive()
    }
}

impl Turn {
    pub(crate) fn new(home: Arc<Home>, state: State) -> Self {
        Self {
            home,
            state,
            sends: Vec::new(),
            reminders: Vec::new(),
            subscriptions: Vec::new(),
            is_urgent: false,
        }
    }

    /// The agent's name.
    pub fn name(&self) -> &AgentName {
        &self.home.name
    }

    /// Whose agent it is.
    pub fn tenant(&self) -> &Tenant {
        &self.home.tenant
    }

    /// What time it is.
    pub fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    /// Sends a message, once the turn has succeeded.
    pub fn send(&mut self, draft: Draft) -> Result<MessageId, Failure> {
        if self.sends.len() >= self.home.limits.sends {
            let max = self.home.limits.sends;
            return Err(Failure::invalid(format!(
                "one turn sends {max} messages at most (`agents.sends_max`)"
            )));
        }
        let size_max = self.home.limits.message;
        let size = draft.message().content.body.len();
        if size > size_max {
            let detail =
                format!("a message of {size} bytes, and {size_max} are the most (`agents.message_max`)");
            return Err(Failure::invalid(detail));
        }
        let message = draft.from(self.home.address.clone());
        let id = message.id;
        self.sends.push(message);
        Ok(id)
    }

    /// Sends a message later, once the turn has succeeded. Those of durable messages' turns, and of agents that are not part
    /// of the program, survive a restart of the server: they are durable messages then.
    pub fn remind(&mut self, after: Duration, draft: Draft) -> Result<(), Failure> {
        if self.reminders.len() >= self.home.limits.sends {
            return Err(Failure::invalid("too many reminders in one turn (`agents.sends_max`)"));
        }
        self.reminders.push((after, draft.from(self.home.address.clone())));
        Ok(())
    }

    /// Gets what is published under a topic from now on.
    pub fn subscribe(&mut self, topic: Topic) {
        self.subscriptions.push((topic, true));
    }

    /// Gets it no longer.
    pub fn unsubscribe(&mut self, topic: &Topic) {
        self.subscriptions.push((topic.clone(), false));
    }

    /// A value of the state, as this turn left it.
    pub fn get(&self, key: &str) -> Option<Bytes> {
        if key == FENCE {
            return Some(Bytes::from(self.home.epoch.to_string()));
        }
        self.state.get(key).cloned()
    }

    /// Changes the state.
    pub fn set(&mut self, key: &str, value: Bytes) -> Result<(), Failure> {
        if key == FENCE {
            return Err(Failure::invalid(format!("the key `{FENCE}` of the state is read only")));
        }
        if key.starts_with('\u{1}') {
            return Err(Failure::invalid("a key of the state begins with no control character"));
        }
        self.state.set(key, value, self.home.limits.state)
    }

    /// Removes a value from the state.
    pub fn remove(&mut self, key: &str) {
        self.state.remove(key);
    }

    /// The keys of the state that begin so, in order.
    pub fn keys(&self, prefix: &str) -> Vec<String> {
        self.state.keys(prefix)
    }

    /// Whether the agent was granted a tool.
    pub fn may_call(&self, tool: &str) -> bool {
        self.home.host.may_call(tool)
    }

    /// Calls a tool of the toolbox that the agent was granted. What a tool did stays done if the turn fails.
    pub fn call_tool(&self, name: &str, input: Value) -> BoxFuture<'static, Result<Value, Problem>> {
        self.home.host.call_tool(name, input)
    }

    /// Writes a line to the agent's log.
    pub fn log(&self, level: tracing::Level, text: &str) {
        self.home.host.log(level, text);
    }

    /// Has the state written before anything else is handled.
    pub(crate) const fn keep_now(&mut self) {
        self.is_urgent = true;
    }

    /// Moves the turn out, leaving an empty one: for handlers that need to own it for a while. It has to be put back
    /// before the handler is done.
    #[must_use]
    pub fn lend(&mut self) -> Self {
        let empty = Self::new(Arc::clone(&self.home), State::default());
        std::mem::replace(self, empty)
    }

    /// Forgets what the turn wanted done.
    pub(crate) fn roll_back(&mut self) {
        self.state.roll_back();
        self.sends.clear();
        self.reminders.clear();
        self.subscriptions.clear();
        self.is_urgent = false;
    }
}

/// Turns without a server, for tests of handlers.
#[cfg(test)]
pub(crate) mod detached {
    use std::sync::Mutex;

    use super::*;

    type Tools = dyn Fn(&str, Value) -> BoxFuture<'static, Result<Value, Problem>> + Send + Sync;

    /// What was told to those who hear.
    pub(crate) type Told = Arc<Mutex<Vec<Value>>>;

    struct Alone {
        tools: Option<Box<Tools>>,
        told: Told,
    }

    impl Host for Alone {
        fn may_call(&self, _: &str) -> bool {
            self.tools.is_some()
        }

        fn call_tool(&self, name: &str, input: Value) -> BoxFuture<'static, Result<Value, Problem>> {
            match &self.tools {
                Some(tools) => tools(name, input),
                None => Box::pin(std::future::ready(Err(Problem::not_found("tool", name)))),
            }
        }

        fn log(&self, level: tracing::Level, text: &str) {
            tracing::info!(%level, text, "an agent says");
        }

        fn tool_specs(&self) -> Vec<Value> {
            Vec::new()
        }

        fn note(&self, _: Option<&Label>, _: &'static str, _: Value) {}

        fn tell(&self, _: &Label, event: &Value) -> bool {
            self.told.lock().unwrap().push(event.clone());
            true
        }
    }

    impl Turn {
        fn alone(name: AgentName, tools: Option<Box<Tools>>, told: Told) -> Self {
            let home = Home {
                address: name.clone().into(),
                name,
                tenant: Tenant::local(),
                epoch: 1,
                limits: TurnLimits { sends: 100, state: 1 << 20, message: 1 << 20 },
                host: Arc::new(Alone { tools, told }),
            };
            Self::new(Arc::new(home), State::default())
        }

        /// A turn of nobody, without tools.
        pub(crate) fn detached(name: AgentName) -> Self {
            Self::alone(name, None, Told::default())
        }

        /// The same, with these tools.
        pub(crate) fn with_tools<F>(self, tools: F) -> Self
        where
            F: Fn(&str, Value) -> BoxFuture<'static, Result<Value, Problem>> + Send + Sync + 'static,
        {
            self.with_tools_and_told(tools, Told::default())
        }

        /// The same, and what is told.
        pub(crate) fn with_tools_and_told<F>(self, tools: F, told: Told) -> Self
        where
            F: Fn(&str, Value) -> BoxFuture<'static, Result<Value, Problem>> + Send + Sync + 'static,
        {
            Self::alone(self.home.name.clone(), Some(Box::new(tools)), told)
        }

        /// What it wants to send.
        pub(crate) fn sent(&self) -> &[Arc<Message>] {
            &self.sends
        }
    }
}
