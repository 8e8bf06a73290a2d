//! The `[agents]` section.

use std::path::PathBuf;

use paddock_platform::{
    egress::Destination,
    units::{ByteSize, HumanDuration},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{nodes::NodesOptions, wasm::WasmOptions};

/// Agents: what they are allowed, how they are kept. What bounds the runtime is read once, at start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AgentsOptions {
    /// A directory of `*.md` files, each of which is an agent of the local tenant: deployed at the start, and again when
    /// its text is another. Empty: none.
    pub dir: PathBuf,
    /// How many agents there may be.
    pub agents_max: usize,
    /// How many messages may wait for one agent.
    pub mailbox_max: usize,
    /// The largest content of a message.
    pub message_max: ByteSize,
    /// How many messages and reminders one turn may send.
    pub sends_max: usize,
    /// The largest state of one agent.
    pub state_max: ByteSize,
    /// How many messages an agent handles before others have their turn.
    pub batch_max: usize,
    /// How long a sender waits for a mailbox that is full, where the mailbox says that it waits.
    pub block_max: HumanDuration,
    /// An agent that had nothing to do for so long is put away: its handler is dropped, and made again for the next message.
    pub park_after: HumanDuration,
    /// How many agents may be awake; beyond, those that have nothing to do are put away at once.
    pub awake_max: usize,
    /// An agent's state is written after so many messages at the latest. Durable messages are not touched by it: what
    /// they change is always written with them.
    pub checkpoint_messages: u32,
    /// And after so long at the latest.
    pub checkpoint_interval: HumanDuration,
    /// How many durable changes may wait to be written.
    pub pending_max: usize,
    /// For how long a durable message that is sent again is recognised.
    pub dedup_window: HumanDuration,
    /// How many messages that nobody handled are kept to be looked at.
    pub dead_letters_max: usize,
    /// How many reminders may be pending.
    pub reminders_max: usize,
    /// How many callers may wait for answers.
    pub asks_max: usize,
    /// How long a caller waits for an answer when it does not say.
    pub ask_timeout: HumanDuration,
    /// How long timelines of conversations are kept.
    pub conversations_retention: HumanDuration,
    /// How many entries of timelines may wait to be written; more are left out, and counted.
    pub timeline_pending_max: usize,
    /// A turn that takes longer is logged and counted as slow.
    pub slow_after: HumanDuration,
    /// Networks that remote agents may be in, beside the public internet.
    pub allow: Vec<Destination>,
    /// WASM agents.
    pub wasm: WasmOptions,
    /// Several servers that share a database and its agents.
    pub nodes: NodesOptions,
}

impl Default for AgentsOptions {
    fn default() -> Self {
        Self {
            dir: PathBuf::new(),
            agents_max: 200_000,
            mailbox_max: 1_000,
            message_max: ByteSize::mib(1),
            sends_max: 1_000,
            state_max: ByteSize::mib(1),
            batch_max: 64,
            block_max: HumanDuration::from_secs(30),
            park_after: HumanDuration::from_secs(60),
            awake_max: 10_000,
            checkpoint_messages: 1_000,
            checkpoint_interval: HumanDuration::from_secs(5),
            pending_max: 10_000,
            dedup_window: HumanDuration::from_secs(3_600),
            dead_letters_max: 10_000,
            reminders_max: 100_000,
            asks_max: 10_000,
            ask_timeout: HumanDuration::from_secs(60),
            conversations_retention: HumanDuration::from_secs(7 * 86_400),
            timeline_pending_max: 10_000,
            slow_after: HumanDuration::from_secs(30),
            allow: Vec::new(),
            wasm: WasmOptions::default(),
            nodes: NodesOptions::default(),
        }
    }
}
