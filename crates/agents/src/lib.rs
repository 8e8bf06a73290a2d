//! Agents: addressable, isolated, supervised, and talking to each other.
//!
//! ```text
//!                  ┌──────────── router ────────────┐            ┌─────────── an agent ───────────┐
//! caller, agent ─▶ │ address ▶ who is meant ▶ place │ ─▶ mailbox │ batch ▶ turn ▶ turn ▶ … commit │ ─▶ messages
//!                  └────────────────────────────────┘            └───┬─────────────────────┬──────┘
//!                        │ durable                                   │ handler             │ durable
//!                        ▼                                           ▼                     ▼
//!                    committer ───────────▶ store      native, prompt, WASM, remote    committer
//! ```
//!
//! # The model
//! An **agent** has a name within its tenant, a **mailbox** and a [`Handler`]. The runtime gives the handler one
//! [`Message`](message::Message) after the other; what it wants done it says to its [`Turn`]: messages to send, changes of
//! its state, reminders. That takes place when the turn succeeds, and not at all if it fails. Native handlers, WASM
//! components, prompts and remote agents are all handlers, and the runtime knows no difference.
//!
//! A message goes to a name, to a **capability** (the least loaded, any, all who have it) or to a **topic**. Looking up who
//! is meant takes no lock, putting the message into a mailbox takes that mailbox's own, and wakes the agent only if it was
//! idle: under load an agent takes batches. Nothing of a message is copied on its way.
//!
//! # Delivery
//! `memory`: the message is there as long as the server runs. `durable`: it is on disk before its sender hears of it, known
//! by its id if it is sent again, and handled until a turn succeeds. Consumption, state and the messages that the turn sent
//! are written in one transaction, so that its effects take place exactly once. Tool calls happen at once and are outside
//! of that. One task, the committer, writes what all agents and callers have at the moment in one transaction, and puts
//! durable messages into their mailboxes only after it, in the order that the store has.
//!
//! What was changed by `memory` messages is written after some messages or some time (a *checkpoint*).
//!
//! What an agent tells on its way to an answer, the text of a model as it comes and the tools that it calls, goes as messages
//! do to who asked to hear it, but is kept nowhere: the answer is whole without it. See `live`.
//!
//! What is to be sent later, by a reminder or a schedule, waits in the store, and is posted in the transaction that takes it
//! out of there.
//!
//! # Life
//! An agent has a task while it is awake and nothing but an entry in a map when it is not. The task begins with the first
//! message, loads the state, and ends some time after the last one. A handler that fails is made anew by its supervisor,
//! within limits; a message that fails too often becomes a **dead letter**. Tenants share the processors equally.
//!
//! An agent may come after others: when a server starts, agents for which messages wait are started after those that they
//! come after.
//!
//! Servers that share a PostgreSQL database share its agents: each runs some of them, and takes over those of one that is
//! gone. See `nodes`.
//!
//! # Invariants
//! 1. A mailbox never holds more than its bound, messages on their way to disk and back included.
//! 2. Messages of one sender to one receiver are handled in the order in which they were sent, as long as both have the
//!    same delivery.
//! 3. Every message that was accepted is handled, or becomes a dead letter with a reason.
//! 4. A durable message is in the store from before its acknowledgement until the transaction of its effects.
//! 5. What follows from a durable message is not sent before that transaction.
//! 6. An agent is run by one task at a time, also where two versions of it share the conversations, and on one server at a
//!    time. What a server does after its lease has ended is not written.

pub mod a2a;
pub mod message;
pub mod metrics;
pub mod wasm;

mod cell;
mod commit;
mod config;
mod core;
mod dead;
mod definition;
mod deliver;
mod envelope;
mod error;
mod guests;
mod handler;
mod journal;
mod life;
mod live;
mod mailbox;
mod nodes;
mod order;
mod prompt;
mod protocol;
mod remind;
mod remote;
mod ring;
mod routes;
mod schedule;
mod service;
mod shares;
mod space;
mod state;
mod store;
mod supervise;
#[cfg(test)]
mod tests;
mod tools;
mod trace;
mod turn;

pub use cell::{AgentStatus, LogLine};
pub use config::AgentsOptions;
pub use dead::{DeadLetterView, DeadReason};
pub use definition::{AgentDefinition, AgentKind, MailboxDefinition, RemoteDefinition, WasmDefinition};
pub use error::{AGENT_FAILED, AGENT_STOPPED, AGENT_UNREACHABLE, AgentError, MAILBOX_FULL};
pub use guests::tool_source;
pub use handler::{Failure, FailureKind, Handled, Handler, Native, Start};
pub use mailbox::Overflow;
pub use nodes::{NodeView, NodesOptions, NodesView};
pub use prompt::{
    MarkdownError, MemoryDefinition, PendingApproval, PromptDefinition, RunLimits, from_markdown,
};
pub use protocol::{
    Auction, AuctionInput, AuctionKind, AuctionRound, Bid, ContractNet, ContractNetInput, Prefer, Proposal,
    ProposalInput,
};
pub use routes::{UNTIMED_ROUTES, UPLOAD_ROUTE, routes, upload_max};
pub use schedule::ScheduleDefinition;
pub use service::{
    AgentView, Agents, AnswerView, DefinitionView, ExecuteInput, ExecuteOutput, Ground, ModuleView, SentView,
    SplitInput, SplitView, Trial, TrialInput, Validation, VersionView,
};
pub use store::{ConversationSummary, Entry};
pub use supervise::{Strategy, Supervision};
pub use tools::tools;
pub use turn::Turn;
