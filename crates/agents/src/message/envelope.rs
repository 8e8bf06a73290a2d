//! The envelope.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Address, Content, ConversationId, Label, MessageId, Performative};

/// How surely a message arrives.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
#[schema(as = MessageDelivery)]
pub enum Delivery {
    /// As long as this server runs.
    #[default]
    Memory,
    /// Once it is accepted it is on disk, and its effects take place exactly once.
    Durable,
}

/// A message. Shared once it is sent, never copied.
#[derive(Debug)]
pub struct Message {
    /// What tells it from others; the same one sent twice has the same id.
    pub id: MessageId,
    /// What it does.
    pub performative: Performative,
    /// Whom it is from.
    pub sender: Address,
    pub(crate) to: Receivers,
    /// What it carries.
    pub content: Content,
    /// The exchange that it belongs to.
    pub conversation: Option<ConversationId>,
    /// What answers are to name in `in_reply_to`.
    pub reply_with: Option<Label>,
    /// The `reply_with` of the message that it answers.
    pub in_reply_to: Option<Label>,
    /// Where answers go, if not to the sender.
    pub reply_to: Option<Address>,
    /// When it is of no use any more.
    pub reply_by: Option<Timestamp>,
    /// The protocol of the conversation, such as `contract-net`.
    pub protocol: Option<Label>,
    /// The language of the content.
    pub language: Option<Label>,
    /// What the words of the content mean.
    pub ontology: Option<Label>,
    /// How surely it arrives.
    pub delivery: Delivery,
}

/// Most messages have one receiver: no list for them.
#[derive(Clone, Debug)]
pub(crate) enum Receivers {
    One(Address),
    Many(Vec<Address>),
}

impl Message {
    /// Whom it is for; never empty.
    pub fn receivers(&self) -> &[Address] {
        match &self.to {
            Receivers::One(address) => std::slice::from_ref(address),
            Receivers::Many(addresses) => addresses,
        }
    }

    /// Whether it has to be on disk.
    pub const fn is_durable(&self) -> bool {
        matches!(self.delivery, Delivery::Durable)
    }

    /// Whether it came too late.
    pub fn is_late(&self, now: Timestamp) -> bool {
        self.reply_by.is_some_and(|until| until < now)
    }

    /// Where answers go.
    pub fn answer_to(&self) -> &Address {
        self.reply_to.as_ref().unwrap_or(&self.sender)
    }
}

/// A message that is not sent yet: it has no sender. Its id may be chosen by who wants to be able to send it twice.
#[derive(Debug)]
pub struct Draft(Message);

impl Draft {
    /// A message without content.
    pub fn new(performative: Performative, to: impl Into<Address>) -> Self {
        let to = to.into();
        Self(Message {
            id: MessageId::next(),
            performative,
            // Replaced when it is sent.
            sender: to.clone(),
            to: Receivers::One(to),
            content: Content::default(),
            conversation: None,
            reply_with: None,
            in_reply_to: None,
            reply_to: None,
            reply_by: None,
            protocol: None,
            language: None,
            ontology: None,
            delivery: Delivery::Memory,
        })
    }

    /// An answer: to whom the message says, in its conversation and protocol, delivered as surely.
    pub fn reply(message: &Message, performative: Performative) -> Self {
        let mut draft = Self::new(performative, message.answer_to().clone());
        draft.0.conversation.clone_from(&message.conversation);
        draft.0.in_reply_to.clone_from(&message.reply_with);
        draft.0.protocol.clone_from(&message.protocol);
        draft.0.language.clone_from(&message.language);
        draft.0.ontology.clone_from(&message.ontology);
        draft.0.delivery = message.delivery;
        draft
    }

    /// One more receiver.
    #[must_use]
    pub fn also(mut self, to: impl Into<Address>) -> Self {
        match &mut self.0.to {
            Receivers::One(first) => self.0.to = Receivers::Many(vec![first.clone(), to.into()]),
            Receivers::Many(all) => all.push(to.into()),
        }
        self
    }

    /// With this content.
    #[must_use]
    pub fn content(mut self, content: Content) -> Self {
        self.0.content = content;
        self
    }

    /// With this value as JSON.
    #[must_use]
    pub fn json(self, value: &impl Serialize) -> Self {
        self.content(Content::json(value))
    }

    /// With this text.
    #[must_use]
    pub fn text(self, text: impl Into<String>) -> Self {
        self.content(Content::text(text))
    }

    /// With this id, instead of a fresh one.
    #[must_use]
    pub const fn id(mut self, id: MessageId) -> Self {
        self.0.id = id;
        self
    }

    /// On disk before it is acknowledged.
    #[must_use]
    pub const fn durable(mut self) -> Self {
        self.0.delivery = Delivery::Durable;
        self
    }

    /// Delivered as long as this server runs, whatever it answers.
    #[must_use]
    pub(crate) const fn in_memory(mut self) -> Self {
        self.0.delivery = Delivery::Memory;
        self
    }

    /// Of no use after this moment.
    #[must_use]
    pub const fn reply_by(mut self, until: Timestamp) -> Self {
        self.0.reply_by = Some(until);
        self
    }

    /// Answers go there.
    #[must_use]
    pub fn reply_to(mut self, address: Address) -> Self {
        self.0.reply_to = Some(address);
        self
    }

    /// The message that it will be.
    pub const fn message(&self) -> &Message {
        &self.0
    }

    /// The message, from this sender.
    pub(crate) fn from(mut self, sender: Address) -> Arc<Message> {
        self.0.sender = sender;
        Arc::new(self.0)
    }

    pub(crate) const fn of(message: Message) -> Self {
        Self(message)
    }
}

macro_rules! labels {
    ($($name:ident: $about:literal),*) => {
        impl Draft {
            $(
                #[doc = $about]
                #[must_use]
                pub fn $name(mut self, label: Label) -> Self {
                    self.0.$name = Some(label);
                    self
                }
            )*
        }
    };
}

labels! {
    conversation: "In this conversation.",
    reply_with: "Answers are to name this.",
    in_reply_to: "Answers the message that named this.",
    protocol: "In this protocol.",
    language: "In this language.",
    ontology: "In the words of this ontology."
}
