//! One agent as the runtime sees it: what stays while handlers come and go.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, AtomicUsize, Ordering},
    },
};

use jiff::Timestamp;
use paddock_platform::identity::Caller;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    definition::AgentDefinition,
    handler::Factory,
    mailbox::Mailbox,
    message::{AgentName, Performative},
    space::Space,
};

/// How many lines of its log are kept of each agent.
const LOG_LINES_MAX: usize = 200;
/// An agent that is not due on schedule.
const NEVER: i64 = i64::MIN;

/// Where an agent stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AgentStatus {
    /// It handles messages.
    Active,
    /// Somebody suspended it: messages wait.
    Suspended,
    /// It failed too often and was stopped: it takes no messages until it is deployed or resumed.
    Failed,
}

impl AgentStatus {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Failed => "failed",
        }
    }

    const fn of(code: u8) -> Self {
        match code {
            1 => Self::Suspended,
            2 => Self::Failed,
            _ => Self::Active,
        }
    }

    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Active => 0,
            Self::Suspended => 1,
            Self::Failed => 2,
        }
    }
}

/// One version of an agent, ready to be run.
pub(crate) struct Agent {
    pub(crate) definition: Arc<AgentDefinition>,
    pub(crate) version: u32,
    pub(crate) factory: Factory,
    /// On whose behalf it calls tools: no further than the tools that it was granted.
    pub(crate) caller: Caller,
}

impl Agent {
    pub(crate) fn may_call(&self, tool: &str) -> bool {
        self.definition.tools.iter().any(|granted| granted == tool)
    }
}

/// Another version that gets a share of the conversations.
pub(crate) struct Split {
    pub(crate) agent: Arc<Agent>,
    /// Of the conversations that begin.
    pub(crate) weight: f64,
    pub(crate) since: Timestamp,
}

/// One line of an agent's log.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct LogLine {
    /// When.
    #[schema(value_type = String)]
    #[schemars(with = "String")]
    pub at: Timestamp,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: String,
    /// What it says.
    pub text: String,
}

/// What an agent did since the server began.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) handled: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) sent: AtomicU64,
    pub(crate) restarts: AtomicU64,
    pub(crate) busy_us: AtomicU64,
}

/// To end: it was removed, or the server stops.
pub(crate) const ORDER_END: u8 = 1;
/// To begin anew with a fresh handler.
pub(crate) const ORDER_RESTART: u8 = 2;
/// To put the handler away.
pub(crate) const ORDER_PARK: u8 = 4;
/// To look at its definition or status.
pub(crate) const ORDER_LOOK: u8 = 8;
/// To write what it did and make room: another server is to run the agent.
pub(crate) const ORDER_LEAVE: u8 = 16;
/// To make its handler, although no message asks for it yet: others come after it.
pub(crate) const ORDER_START: u8 = 32;

/// One agent.
pub(crate) struct Cell {
    pub(crate) name: AgentName,
    /// What its rows in the store are found by.
    pub(crate) key: Arc<str>,
    pub(crate) space: Arc<Space>,
    pub(crate) mailbox: Mailbox,
    pub(crate) counts: Counts,
    /// The last place in the store of what waited when this server took the agent, and fits; the rest comes by itself.
    pub(crate) place_before: AtomicI64,
    /// How many durable messages may be sent to it elsewhere before its backlog is looked at again.
    pub(crate) allowance: AtomicI64,
    /// How many durable messages are on their way to it elsewhere, and not in the store yet.
    pub(crate) underway: AtomicUsize,
    /// The server that runs it, if it is another.
    owner: RwLock<Option<Arc<str>>>,
    /// Whether what it got on schedule last still waits.
    pub(crate) has_scheduled: AtomicBool,
    /// Whether the task that runs it has made its handler, or tried to.
    pub(crate) has_started: AtomicBool,
    /// When it is due on schedule, in milliseconds.
    due_ms: AtomicI64,
    agent: RwLock<Arc<Agent>>,
    split: RwLock<Option<Arc<Split>>>,
    /// The version whose turn it is, if it is not the one in force.
    acting: RwLock<Option<Arc<Agent>>>,
    status: AtomicU8,
    orders: AtomicU8,
    log: Mutex<VecDeque<LogLine>>,
}

impl std::fmt::Debug for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cell").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Cell {
    pub(crate) fn new(space: &Arc<Space>, agent: Agent, mailbox_max: usize) -> Self {
        let name = agent.definition.name.clone();
        let (bound, overflow, shed) = mailbox_of(&agent.definition, mailbox_max);
        Self {
            key: Arc::from(format!("{}/{name}", space.tenant)),
            name,
            space: Arc::clone(space),
            mailbox: Mailbox::new(bound, overflow, shed),
            counts: Counts::default(),
            place_before: AtomicI64::new(0),
            allowance: AtomicI64::new(0),
            underway: AtomicUsize::new(0),
            owner: RwLock::new(None),
            has_scheduled: AtomicBool::new(false),
            has_started: AtomicBool::new(false),
            due_ms: AtomicI64::new(NEVER),
            agent: RwLock::new(Arc::new(agent)),
            split: RwLock::default(),
            acting: RwLock::default(),
            status: AtomicU8::new(0),
            orders: AtomicU8::new(0),
            log: Mutex::default(),
        }
    }

    /// What tells it from others as long as it is there.
    pub(crate) fn id(self: &Arc<Self>) -> usize {
        Arc::as_ptr(self) as usize
    }

    /// The server that runs it, if it is another and known.
    pub(crate) fn owner(&self) -> Option<Arc<str>> {
        self.owner.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_owner(&self, owner: Option<Arc<str>>) {
        *self.owner.write().unwrap_or_else(PoisonError::into_inner) = owner;
    }

    /// The version in force.
    pub(crate) fn agent(&self) -> Arc<Agent> {
        Arc::clone(&self.agent.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another version in force, and gives the one before.
    pub(crate) fn replace(&self, agent: Agent, mailbox_max: usize) -> Arc<Agent> {
        let (bound, overflow, shed) = mailbox_of(&agent.definition, mailbox_max);
        self.mailbox.configure(bound, overflow, shed);
        let mut current = self.agent.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *current, Arc::new(agent))
    }

    /// The version that has a share beside it.
    pub(crate) fn split(&self) -> Option<Arc<Split>> {
        self.split.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_split(&self, split: Option<Arc<Split>>) {
        *self.split.write().unwrap_or_else(PoisonError::into_inner) = split;
    }

    /// The version whose turn it is.
    pub(crate) fn acting(&self) -> Arc<Agent> {
        let acting = self.acting.read().unwrap_or_else(PoisonError::into_inner).clone();
        acting.unwrap_or_else(|| self.agent())
    }

    pub(crate) fn set_acting(&self, agent: Option<Arc<Agent>>) {
        *self.acting.write().unwrap_or_else(PoisonError::into_inner) = agent;
    }

    pub(crate) fn status(&self) -> AgentStatus {
        AgentStatus::of(self.status.load(Ordering::Acquire))
    }

    pub(crate) fn set_status(&self, status: AgentStatus) {
        self.status.store(status.code(), Ordering::Release);
    }

    /// Whether it is due on schedule at this time, and at no other.
    pub(crate) fn is_due(&self, at: Timestamp) -> bool {
        self.due_ms.load(Ordering::Acquire) == at.as_millisecond()
    }

    pub(crate) fn set_due(&self, at: Timestamp) {
        self.due_ms.store(at.as_millisecond(), Ordering::Release);
    }

    /// Is not due any more. Gives whether it was.
    pub(crate) fn clear_due(&self) -> bool {
        self.due_ms.swap(NEVER, Ordering::AcqRel) != NEVER
    }

    /// Tells the agent's task something; it has to be nudged, too.
    pub(crate) fn order(&self, order: u8) {
        self.orders.fetch_or(order, Ordering::AcqRel);
    }

    pub(crate) fn withdraw(&self, order: u8) {
        self.orders.fetch_and(!order, Ordering::AcqRel);
    }

    pub(crate) fn take_orders(&self) -> u8 {
        self.orders.swap(0, Ordering::AcqRel)
    }

    pub(crate) fn write_log(&self, line: LogLine) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.len() >= LOG_LINES_MAX {
            log.pop_front();
        }
        log.push_back(line);
    }

    /// The last lines of its log, the oldest first.
    pub(crate) fn log(&self) -> Vec<LogLine> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

fn mailbox_of(
    definition: &AgentDefinition,
    mailbox_max: usize,
) -> (usize, crate::mailbox::Overflow, Vec<Performative>) {
    let mailbox = &definition.mailbox;
    let shed = if mailbox.shed.is_empty() { vec![Performative::Inform] } else { mailbox.shed.clone() };
    (mailbox.messages_max.unwrap_or(mailbox_max).min(mailbox_max), mailbox.overflow, shed)
}
