//! Durable messages as the store has them: everything but the content, as JSON.

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::message::{
    Address, Content, Delivery, Label, MediaType, Message, MessageId, Performative, Receivers,
};

#[derive(Serialize, Deserialize)]
struct Envelope {
    id: MessageId,
    performative: Performative,
    sender: Address,
    receivers: Vec<Address>,
    media_type: MediaType,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    conversation: Option<Label>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reply_with: Option<Label>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    in_reply_to: Option<Label>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reply_to: Option<Address>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reply_by: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    protocol: Option<Label>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    language: Option<Label>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ontology: Option<Label>,
}

/// The envelope of a message.
pub(crate) fn write(message: &Message) -> String {
    let envelope = Envelope {
        id: message.id,
        performative: message.performative,
        sender: message.sender.clone(),
        receivers: message.receivers().to_vec(),
        media_type: message.content.media_type.clone(),
        conversation: message.conversation.clone(),
        reply_with: message.reply_with.clone(),
        in_reply_to: message.in_reply_to.clone(),
        reply_to: message.reply_to.clone(),
        reply_by: message.reply_by,
        protocol: message.protocol.clone(),
        language: message.language.clone(),
        ontology: message.ontology.clone(),
    };
    serde_json::to_string(&envelope).unwrap_or_default()
}

/// The message of an envelope and a content; `None` if the envelope is none.
pub(crate) fn read(envelope: &str, body: Bytes) -> Option<Message> {
    let mut envelope: Envelope = serde_json::from_str(envelope).ok()?;
    let to = match envelope.receivers.len() {
        0 => return None,
        1 => Receivers::One(envelope.receivers.remove(0)),
        _ => Receivers::Many(envelope.receivers),
    };
    Some(Message {
        id: envelope.id,
        performative: envelope.performative,
        sender: envelope.sender,
        to,
        content: Content { media_type: envelope.media_type, body },
        conversation: envelope.conversation,
        reply_with: envelope.reply_with,
        in_reply_to: envelope.in_reply_to,
        reply_to: envelope.reply_to,
        reply_by: envelope.reply_by,
        protocol: envelope.protocol,
        language: envelope.language,
        ontology: envelope.ontology,
        delivery: Delivery::Durable,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Draft, MessageView};

    #[test]
    fn a_message_is_read_as_it_was_written() {
        let draft = Draft::new(Performative::Cfp, "a".parse::<Address>().unwrap())
            .also("topic:b".parse::<Address>().unwrap())
            .text("hello")
            .conversation(Label::of("c"))
            .reply_with(Label::of("r"))
            .reply_by(Timestamp::from_second(1_800_000_000).unwrap())
            .durable();
        let message = draft.from("me".parse().unwrap());
        let read = read(&write(&message), message.content.body.clone()).unwrap();
        assert_eq!(MessageView::from(&read), MessageView::from(&*message));
        assert!(super::read("{}", Bytes::new()).is_none());
    }
}
