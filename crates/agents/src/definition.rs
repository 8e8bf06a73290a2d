//! What an agent is, as its author says it.

use std::collections::BTreeMap;

use paddock_platform::units::HumanDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    mailbox::Overflow,
    message::{AgentName, Capability, InvalidField, Performative, Topic},
    prompt::PromptDefinition,
    schedule::ScheduleDefinition,
    supervise::Supervision,
    wasm::Limits,
};

/// The longest description.
const DESCRIPTION_MAX: usize = 4096;
/// Names that are paths of `/agents`.
const RESERVED: [&str; 9] = [
    "messages",
    "modules",
    "conversations",
    "dead-letters",
    "validate",
    "contract-net",
    "auction",
    "propose",
    "nodes",
];
/// How many capabilities, topics, tools and agents before it an agent may have of each.
const TERMS_MAX: usize = 100;

/// An agent: its name, what it can do, what it may use, and what it is: exactly one of `prompt`, `wasm` and `remote`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentDefinition {
    /// Its name within the tenant.
    pub name: AgentName,
    /// What it does, for those who look for one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// What it can do: messages can be addressed to `capability:NAME`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<Capability>,
    /// What it listens to from the start: messages to `topic:NAME`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub topics: Vec<Topic>,
    /// The tools of the toolbox that it may call. Who deploys it must be allowed to call them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<String>,
    /// Its mailbox.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mailbox: MailboxDefinition,
    /// What happens when it fails.
    #[serde(default, skip_serializing_if = "is_default")]
    pub supervision: Supervision,
    /// Labels of servers that it is best run on, where several share the agents: `zone: eu`. Without a server that has
    /// them all, any will do.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub placement: BTreeMap<String, String>,
    /// Agents that it depends on: they are started before it when the server starts, and come before it in a group.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<AgentName>,
    /// When it gets a request by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduleDefinition>,
    /// What its handler is configured with: the key `config` of its state, as JSON.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub config: Value,
    /// It is a prompt: a model that works with tools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<PromptDefinition>,
    /// It is a WASM component.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wasm: Option<WasmDefinition>,
    /// It is an agent elsewhere that speaks A2A.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<RemoteDefinition>,
}

/// The mailbox of an agent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MailboxDefinition {
    /// How many messages may wait; `agents.mailbox_max` when left out, which is also the most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages_max: Option<usize>,
    /// What happens to a message for which there is no room.
    pub overflow: Overflow,
    /// The performatives of messages that `shed` gives up; `inform` when left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shed: Vec<Performative>,
}

/// A WASM component that is an agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WasmDefinition {
    /// The digest of the component, as its upload answered.
    pub module: String,
    /// What it is allowed of memory and time; the server's limits when left out.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schema(value_type = Object)]
    pub limits: Limits,
}

/// An agent elsewhere.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoteDefinition {
    /// Where its A2A interface is: the address that takes JSON-RPC.
    #[schema(value_type = String)]
    pub url: url::Url,
    /// How long it may take to answer.
    #[serde(default = "remote_timeout")]
    #[schema(value_type = String)]
    pub timeout: HumanDuration,
    /// The secret that it wants as a bearer token: `env:NAME` or `file:/path`. Only the server's own configuration and
    /// operators may name one: it needs `agents:admin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub token: Option<paddock_platform::config::SecretRef>,
}

const fn remote_timeout() -> HumanDuration {
    HumanDuration::from_secs(60)
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What an agent is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AgentKind {
    /// A model that works with tools.
    Prompt,
    /// A WASM component.
    Wasm,
    /// An agent elsewhere that speaks A2A.
    Remote,
    /// Part of the program.
    Native,
}

impl AgentKind {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Prompt => "prompt",
            Self::Wasm => "wasm",
            Self::Remote => "remote",
            Self::Native => "native",
        }
    }
}

impl AgentDefinition {
    /// An agent that is part of the program.
    pub fn native(name: AgentName) -> Self {
        Self {
            name,
            description: String::new(),
            capabilities: Vec::new(),
            topics: Vec::new(),
            tools: Vec::new(),
            mailbox: MailboxDefinition::default(),
            supervision: Supervision::default(),
            placement: BTreeMap::new(),
            after: Vec::new(),
            schedule: None,
            config: Value::Null,
            prompt: None,
            wasm: None,
            remote: None,
        }
    }

    /// What it is made of.
    pub const fn kind(&self) -> AgentKind {
        if self.prompt.is_some() {
            AgentKind::Prompt
        } else if self.wasm.is_some() {
            AgentKind::Wasm
        } else if self.remote.is_some() {
            AgentKind::Remote
        } else {
            AgentKind::Native
        }
    }

    /// What serde does not check.
    pub fn check(&self, mailbox_max: usize) -> Result<(), InvalidField> {
        let kinds = [self.prompt.is_some(), self.wasm.is_some(), self.remote.is_some()];
        if kinds.iter().filter(|is_there| **is_there).count() != 1 {
            let detail = "exactly one of `prompt`, `wasm` and `remote` says what the agent is";
            return Err(InvalidField::new("prompt", detail));
        }
        if RESERVED.contains(&self.name.as_str()) {
            return Err(InvalidField::new("name", format!("`{}` is reserved", self.name)));
        }
        if self.description.len() > DESCRIPTION_MAX {
            return Err(InvalidField::new("description", format!("has {DESCRIPTION_MAX} bytes at most")));
        }
        for (field, count) in [
            ("capabilities", self.capabilities.len()),
            ("topics", self.topics.len()),
            ("tools", self.tools.len()),
            ("after", self.after.len()),
        ] {
            if count > TERMS_MAX {
                return Err(InvalidField::new(field, format!("has {TERMS_MAX} entries at most")));
            }
        }
        if let Some(messages_max) = self.mailbox.messages_max
            && !(1..=mailbox_max).contains(&messages_max)
        {
            let detail = format!("must be 1 to {mailbox_max} (`agents.mailbox_max`)");
            return Err(InvalidField::new("mailbox.messages_max", detail));
        }
        if let Some(remote) = &self.remote
            && !matches!(remote.url.scheme(), "http" | "https")
        {
            return Err(InvalidField::new("remote.url", "must begin with `http://` or `https://`"));
        }
        self.schedule.as_ref().map_or(Ok(()), ScheduleDefinition::check)?;
        self.supervision.check()?;
        self.prompt.as_ref().map_or(Ok(()), |prompt| prompt.check(&self.tools))
    }
}
