//! Messages that nobody will handle, and why.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
use paddock_platform::identity::Tenant;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::message::{AgentName, Message, MessageView};

/// Why a message was not handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DeadReason {
    /// There is nobody of that name, capability or topic.
    NoReceiver,
    /// The mailbox was full.
    Full,
    /// It made room for another.
    Shed,
    /// It came too late.
    Late,
    /// It was tried as often as it may.
    Poison,
    /// It made no sense to its receiver.
    Invalid,
    /// The agent was stopped or removed.
    Stopped,
    /// Who asked waits no longer.
    NobodyWaits,
    /// The server that runs the agent could not be reached.
    Unreachable,
}

impl DeadReason {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoReceiver => "no-receiver",
            Self::Full => "full",
            Self::Shed => "shed",
            Self::Late => "late",
            Self::Poison => "poison",
            Self::Invalid => "invalid",
            Self::Stopped => "stopped",
            Self::NobodyWaits => "nobody-waits",
            Self::Unreachable => "unreachable",
        }
    }
}

/// A message that nobody will handle.
#[derive(Clone, Debug)]
pub(crate) struct DeadLetter {
    pub(crate) tenant: Tenant,
    pub(crate) at: Timestamp,
    pub(crate) receiver: Option<AgentName>,
    pub(crate) reason: DeadReason,
    pub(crate) detail: String,
    pub(crate) message: Arc<Message>,
}

/// A dead letter as callers see it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct DeadLetterView {
    /// When it was given up.
    #[schema(value_type = String)]
    #[schemars(with = "String")]
    pub at: Timestamp,
    /// For which agent it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receiver: Option<AgentName>,
    /// Why.
    pub reason: DeadReason,
    /// What happened, where more is known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// The message.
    pub message: MessageView,
}

impl From<&DeadLetter> for DeadLetterView {
    fn from(letter: &DeadLetter) -> Self {
        Self {
            at: letter.at,
            receiver: letter.receiver.clone(),
            reason: letter.reason,
            detail: letter.detail.clone(),
            message: MessageView::from(&*letter.message),
        }
    }
}

/// The last dead letters of all tenants.
#[derive(Debug)]
pub(crate) struct DeadLetters {
    letters: Mutex<VecDeque<DeadLetter>>,
    max: usize,
}

impl DeadLetters {
    pub(crate) const fn new(max: usize) -> Self {
        Self { letters: Mutex::new(VecDeque::new()), max }
    }

    pub(crate) fn add(&self, letter: DeadLetter) {
        let mut letters = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
        if letters.len() >= self.max {
            letters.pop_front();
        }
        letters.push_back(letter);
    }

    /// Those of a tenant, the newest first.
    pub(crate) fn of(&self, tenant: &Tenant, limit: usize) -> Vec<DeadLetterView> {
        let letters = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
        letters.iter().rev().filter(|letter| letter.tenant == *tenant).take(limit).map(Into::into).collect()
    }
}
