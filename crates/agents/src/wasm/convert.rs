//! Messages as agents see them, and drafts as they make them.

use std::fmt::Display;

use bytes::Bytes;
use jiff::Timestamp;

use super::bindings::paddock::agent::types as wit;
use crate::{
    handler::Failure,
    message::{Address, Content, Draft, InvalidField, Label, Message, Performative},
};

macro_rules! performatives {
    ($($name:ident),*) => {
        pub(super) const fn performative(performative: Performative) -> wit::Performative {
            match performative { $(Performative::$name => wit::Performative::$name),* }
        }

        pub(super) const fn performative_of(performative: wit::Performative) -> Performative {
            match performative { $(wit::Performative::$name => Performative::$name),* }
        }
    };
}

performatives!(
    AcceptProposal,
    Agree,
    Cancel,
    Cfp,
    Confirm,
    Disconfirm,
    Failure,
    Inform,
    InformIf,
    InformRef,
    NotUnderstood,
    Propagate,
    Propose,
    Proxy,
    QueryIf,
    QueryRef,
    Refuse,
    RejectProposal,
    Request,
    RequestWhen,
    RequestWhenever,
    Subscribe
);

fn text(value: &impl Display) -> String {
    value.to_string()
}

pub(super) fn message(message: &Message) -> wit::Message {
    let label = |label: &Option<Label>| label.as_ref().map(|label| label.as_str().to_owned());
    wit::Message {
        id: text(&message.id),
        performative: performative(message.performative),
        sender: text(&message.sender),
        receivers: message.receivers().iter().map(text).collect(),
        content: wit::Content {
            media_type: message.content.media_type.as_str().to_owned(),
            body: message.content.body.to_vec(),
        },
        conversation: label(&message.conversation),
        reply_with: label(&message.reply_with),
        in_reply_to: label(&message.in_reply_to),
        reply_to: message.reply_to.as_ref().map(text),
        protocol: label(&message.protocol),
        language: label(&message.language),
        ontology: label(&message.ontology),
        reply_by: message.reply_by.and_then(|until| u64::try_from(until.as_millisecond()).ok()),
        durable: message.is_durable(),
    }
}

pub(super) fn content(content: wit::Content) -> Result<Content, InvalidField> {
    let media_type =
        content.media_type.parse().map_err(|error| InvalidField::new("content.media-type", error))?;
    Ok(Content { media_type, body: Bytes::from(content.body) })
}

type SetLabel = fn(Draft, Label) -> Draft;

pub(super) fn draft(from: wit::Draft) -> Result<Draft, InvalidField> {
    let mut receivers = from.receivers.iter();
    let first =
        receivers.next().ok_or_else(|| InvalidField::new("receivers", "is empty: it is for nobody"))?;
    let mut draft = Draft::new(performative_of(from.performative), receiver(first)?);
    for more in receivers {
        draft = draft.also(receiver(more)?);
    }
    draft = draft.content(content(from.content)?);
    if let Some(address) = from.reply_to {
        draft = draft.reply_to(address.parse().map_err(|error| InvalidField::new("reply-to", error))?);
    }
    if let Some(until) = from.reply_by {
        let until = i64::try_from(until).ok().and_then(|until| Timestamp::from_millisecond(until).ok());
        draft = draft.reply_by(until.ok_or_else(|| InvalidField::new("reply-by", "is no time"))?);
    }
    if from.durable {
        draft = draft.durable();
    }
    let labels: [(&'static str, Option<String>, SetLabel); 6] = [
        ("conversation", from.conversation, Draft::conversation),
        ("reply-with", from.reply_with, Draft::reply_with),
        ("in-reply-to", from.in_reply_to, Draft::in_reply_to),
        ("protocol", from.protocol, Draft::protocol),
        ("language", from.language, Draft::language),
        ("ontology", from.ontology, Draft::ontology),
    ];
    for (field, label, set) in labels {
        if let Some(label) = label {
            draft = set(draft, label.parse().map_err(|error| InvalidField::new(field, error))?);
        }
    }
    Ok(draft)
}

fn receiver(text: &str) -> Result<Address, InvalidField> {
    text.parse().map_err(|error| InvalidField::new("receivers", error))
}

/// How long a guest's own words about a failure may be.
const DETAIL_MAX: usize = 2_000;

pub(super) fn failure(failure: wit::Failure) -> Failure {
    let bounded = |detail: String| match detail.char_indices().nth(DETAIL_MAX) {
        Some((end, _)) => detail[..end].to_owned(),
        None => detail,
    };
    match failure {
        wit::Failure::Invalid(detail) => Failure::invalid(bounded(detail)),
        wit::Failure::Retryable(detail) => Failure::retryable(bounded(detail)),
        wit::Failure::Fatal(detail) => Failure::fatal(bounded(detail)),
    }
}
