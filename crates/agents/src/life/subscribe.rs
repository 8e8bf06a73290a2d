//! Subscriptions: whoever asks an agent to be told what it publishes under a topic is told so, until it cancels.
//!
//! The runtime does this for all agents alike. Who is told is in the agent's state, and what is told is sent with the turn
//! that published it.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Go, Life};
use crate::{
    mailbox::Delivery,
    message::{Address, Draft, Label, Message, Performative, Topic},
};

/// Where subscriptions are in the state: under a key that agents cannot write.
const SUBSCRIPTIONS: &str = "\u{1}subscriptions";
/// How many may subscribe to one agent.
const SUBSCRIPTIONS_MAX: usize = 1_000;
/// How many messages one turn sends to those who subscribe.
const INFORMS_MAX: usize = 10_000;
/// The protocol's name in messages.
const SUBSCRIBE: &str = "subscribe";

/// What is asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    topic: Topic,
}

/// Who is told what.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Subscription {
    topic: Topic,
    to: Address,
    /// Who may cancel it, beside those who are told.
    by: Address,
    conversation: Label,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    in_reply_to: Option<Label>,
    is_durable: bool,
}

impl Life {
    pub(super) fn load_subscriptions(&mut self) {
        let stored = self.turn.state.get(SUBSCRIPTIONS);
        let stored = stored.and_then(|bytes| serde_json::from_slice(bytes).ok());
        self.subscriptions = stored.unwrap_or_default();
    }

    /// Subscribes, or cancels, if that is what a message asks for and the agent itself has nothing to say about it.
    pub(super) async fn subscribed(&mut self, delivery: &Delivery) -> Option<Go> {
        let message = &delivery.message;
        let answer = match message.performative {
            Performative::Subscribe => {
                let Wish { topic } = message.content.read()?;
                self.subscribe(message, &topic)
            }
            Performative::Cancel => self.cancel(message)?,
            _ => return None,
        };
        if self.turn.send(answer).is_err() {
            self.turn.roll_back();
            self.load_subscriptions();
        }
        self.turn.keep_now();
        self.done.0 += 1;
        self.succeeded(delivery.row).await;
        Some(self.checkpoint(false).await)
    }

    fn subscribe(&mut self, message: &Message, topic: &Topic) -> Draft {
        let label = || message.id.to_string().parse().unwrap_or_else(|_| Label::fresh());
        let conversation = message.conversation.clone().unwrap_or_else(label);
        let reply = |performative, told: serde_json::Value| {
            Draft::reply(message, performative)
                .conversation(conversation.clone())
                .protocol(Label::of(SUBSCRIBE))
                .json(&told)
        };
        let new = Subscription {
            topic: topic.clone(),
            to: message.answer_to().clone(),
            by: message.sender.clone(),
            conversation: conversation.clone(),
            in_reply_to: message.reply_with.clone(),
            is_durable: message.is_durable(),
        };
        let mut subscriptions = self.subscriptions.clone();
        // Asked again, it is the same subscription.
        subscriptions.retain(|known| known.conversation != new.conversation || known.to != new.to);
        if subscriptions.len() >= SUBSCRIPTIONS_MAX {
            let detail = format!("{SUBSCRIPTIONS_MAX} subscribe already");
            return reply(Performative::Refuse, json!({ "detail": detail }));
        }
        subscriptions.push(new);
        match self.keep_subscriptions(subscriptions) {
            Ok(()) => reply(Performative::Agree, json!({ "topic": topic })),
            Err(detail) => reply(Performative::Refuse, json!({ "detail": detail })),
        }
    }

    /// Ends what a message cancels; `None` if there is nothing of that conversation.
    fn cancel(&mut self, message: &Message) -> Option<Draft> {
        let conversation = message.conversation.as_ref()?;
        let mut subscriptions = self.subscriptions.clone();
        let is_meant = |known: &Subscription| {
            known.conversation == *conversation && (known.by == message.sender || known.to == message.sender)
        };
        subscriptions.retain(|known| !is_meant(known));
        if subscriptions.len() == self.subscriptions.len() {
            return None;
        }
        let reply = |performative| Draft::reply(message, performative).protocol(Label::of(SUBSCRIBE));
        Some(match self.keep_subscriptions(subscriptions) {
            Ok(()) => reply(Performative::Inform).json(&json!({ "cancelled": conversation })),
            Err(detail) => reply(Performative::Failure).json(&json!({ "detail": detail })),
        })
    }

    fn keep_subscriptions(&mut self, subscriptions: Vec<Subscription>) -> Result<(), String> {
        let bytes = Bytes::from(serde_json::to_vec(&subscriptions).unwrap_or_default());
        let size_max = self.core.limits.turn.state;
        let kept = self.turn.state.set(SUBSCRIPTIONS, bytes, size_max);
        kept.map_err(|failure| failure.detail)?;
        self.subscriptions = subscriptions;
        Ok(())
    }

    /// Tells those who subscribe what this turn publishes.
    pub(super) fn inform_subscribers(&mut self) {
        if self.subscriptions.is_empty() || self.turn.sends.is_empty() {
            return;
        }
        let space = Arc::clone(&self.cell.space);
        let is_there = |address: &Address| match address {
            Address::Caller(id) => space.askers.pin().contains_key(id),
            Address::Agent(name) => space.agent(name).is_some(),
            Address::Capability { .. } | Address::Topic(_) => true,
        };
        let (mut informs, mut has_gone) = (Vec::new(), false);
        'all: for message in &self.turn.sends {
            for topic in message.receivers().iter().filter_map(|address| match address {
                Address::Topic(topic) => Some(topic),
                _ => None,
            }) {
                for known in self.subscriptions.iter().filter(|known| known.topic == *topic) {
                    if informs.len() >= INFORMS_MAX {
                        let text =
                            "those who subscribe are not told all that one turn publishes: it is too much";
                        self.core.log(&self.cell, tracing::Level::WARN, text);
                        break 'all;
                    }
                    if is_there(&known.to) {
                        informs.push(known.inform(message).from(self.turn.home.address.clone()));
                    } else {
                        has_gone = true;
                    }
                }
            }
        }
        self.turn.sends.append(&mut informs);
        if has_gone {
            let mut left = self.subscriptions.clone();
            left.retain(|known| is_there(&known.to));
            // There is less of it than before, so there is room.
            let _ = self.keep_subscriptions(left);
        }
    }
}

impl Subscription {
    fn inform(&self, message: &Message) -> Draft {
        let mut inform = Draft::new(Performative::Inform, self.to.clone())
            .content(message.content.clone())
            .conversation(self.conversation.clone())
            .protocol(Label::of(SUBSCRIBE));
        if let Some(label) = &self.in_reply_to {
            inform = inform.in_reply_to(label.clone());
        }
        if self.is_durable || message.is_durable() { inform.durable() } else { inform }
    }
}
