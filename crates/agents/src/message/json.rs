//! Messages as JSON: how the outside writes and reads them.

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    Address, Content, Delivery, Draft, InvalidField, Label, MediaType, Message, MessageId, Performative,
    envelope::Receivers,
};

/// How many receivers a message may name. More are reached by capability or topic.
const RECEIVERS_MAX: usize = 100;

/// A message as a caller writes it.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MessageInput {
    /// Its id, a UUID: a durable message that is sent again with the same id takes effect once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What it does: `request` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub performative: Option<String>,
    /// Whom it is for: names of agents, `capability:NAME` (also `?all`, `?any`), `topic:NAME`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub receivers: Vec<String>,
    /// Its content: any JSON; a text if `content_type` is one of text.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub content: Value,
    /// Its content in base64, where it is neither JSON nor text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_base64: Option<String>,
    /// The media type of its content; `text/plain` for a text and `application/json` for the rest when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// The conversation that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<String>,
    /// What answers are to name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_with: Option<String>,
    /// What the message that it answers named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_reply_to: Option<String>,
    /// Where answers go, if not to the sender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
    /// When it is of no use any more (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_by: Option<String>,
    /// The protocol of its conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// The language of its content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// What the words of its content mean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ontology: Option<String>,
    /// `memory`, or `durable`: on disk before it is acknowledged, and its effects exactly once.
    #[serde(default)]
    pub delivery: Delivery,
}

impl MessageInput {
    /// The message that is meant, to these receivers if it names none itself.
    pub fn into_draft(self, receivers: Vec<Address>) -> Result<Draft, InvalidField> {
        let performative = parsed("performative", self.performative.as_deref())?;
        let mut to = receivers;
        for receiver in &self.receivers {
            to.push(parse("receivers", receiver)?);
        }
        let to = match to.len() {
            0 => return Err(InvalidField::new("receivers", "names nobody")),
            1 => Receivers::One(to.remove(0)),
            2..=RECEIVERS_MAX => Receivers::Many(to),
            more => {
                let detail =
                    format!("names {more}, and {RECEIVERS_MAX} are the most; use a capability or a topic");
                return Err(InvalidField::new("receivers", detail));
            }
        };
        let content = content(self.content, self.content_base64, self.content_type.as_deref())?;
        let first = match &to {
            Receivers::One(address) => address.clone(),
            Receivers::Many(all) => all[0].clone(),
        };
        Ok(Draft::of(Message {
            id: parsed("id", self.id.as_deref())?.unwrap_or_else(MessageId::next),
            performative: performative.unwrap_or(Performative::Request),
            sender: first,
            to,
            content,
            conversation: parsed("conversation", self.conversation.as_deref())?,
            reply_with: parsed("reply_with", self.reply_with.as_deref())?,
            in_reply_to: parsed("in_reply_to", self.in_reply_to.as_deref())?,
            reply_to: parsed("reply_to", self.reply_to.as_deref())?,
            reply_by: parsed("reply_by", self.reply_by.as_deref())?,
            protocol: parsed("protocol", self.protocol.as_deref())?,
            language: parsed("language", self.language.as_deref())?,
            ontology: parsed("ontology", self.ontology.as_deref())?,
            delivery: self.delivery,
        }))
    }
}

fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(
    field: &'static str,
    text: &str,
) -> Result<T, InvalidField> {
    text.parse().map_err(|error| InvalidField::new(field, error))
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
    field: &'static str,
    text: Option<&str>,
) -> Result<Option<T>, InvalidField> {
    text.map(|text| parse(field, text)).transpose()
}

fn content(value: Value, base64: Option<String>, media_type: Option<&str>) -> Result<Content, InvalidField> {
    let media_type: Option<MediaType> = parsed("content_type", media_type)?;
    if let Some(base64) = base64 {
        if !value.is_null() {
            return Err(InvalidField::new(
                "content_base64",
                "is given beside `content`; one of them is the content",
            ));
        }
        let body =
            BASE64_STANDARD.decode(base64).map_err(|error| InvalidField::new("content_base64", error))?;
        let media_type = media_type.unwrap_or(MediaType::OCTETS);
        return Ok(Content { media_type, body: body.into() });
    }
    match (value, media_type) {
        (Value::Null, media_type) => {
            Ok(Content { media_type: media_type.unwrap_or(MediaType::TEXT), body: Bytes::new() })
        }
        (Value::String(text), media_type) if media_type.as_ref().is_none_or(|kind| !kind.is_json()) => {
            Ok(Content { media_type: media_type.unwrap_or(MediaType::TEXT), body: text.into() })
        }
        (value, None) => Ok(Content { media_type: MediaType::JSON, body: value.to_string().into() }),
        (value, Some(media_type)) if media_type.is_json() => {
            Ok(Content { media_type, body: value.to_string().into() })
        }
        (_, Some(media_type)) => {
            let detail =
                format!("must be a text, or `content_base64`, where `content_type` is `{media_type}`");
            Err(InvalidField::new("content", detail))
        }
    }
}

/// A message as callers see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct MessageView {
    /// Its id.
    pub id: MessageId,
    /// What it does.
    pub performative: Performative,
    /// Whom it is from.
    pub sender: Address,
    /// Whom it is for.
    pub receivers: Vec<Address>,
    /// Its content: JSON as it is, text as a text.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub content: Value,
    /// Its content in base64, where it is neither.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_base64: Option<String>,
    /// The media type of its content.
    pub content_type: MediaType,
    /// The conversation that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<Label>,
    /// What answers are to name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_with: Option<Label>,
    /// What the message that it answers named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_reply_to: Option<Label>,
    /// Where answers go, if not to the sender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<Address>,
    /// When it is of no use any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    #[schemars(with = "Option<String>")]
    pub reply_by: Option<Timestamp>,
    /// The protocol of its conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Label>,
    /// The language of its content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<Label>,
    /// What the words of its content mean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ontology: Option<Label>,
    /// How surely it arrives.
    pub delivery: Delivery,
}

impl From<&Message> for MessageView {
    fn from(message: &Message) -> Self {
        let Content { media_type, body } = &message.content;
        let json = media_type.is_json().then(|| serde_json::from_slice(body).ok()).flatten();
        // Bytes are bytes, whether they happen to be a text or not: whoever reads them need not look.
        let is_text = !media_type.is_json() && *media_type != MediaType::OCTETS;
        let text = || std::str::from_utf8(body).ok().filter(|_| is_text).map(Value::from);
        let content = json.or_else(text);
        Self {
            id: message.id,
            performative: message.performative,
            sender: message.sender.clone(),
            receivers: message.receivers().to_vec(),
            content_base64: content.is_none().then(|| BASE64_STANDARD.encode(body)),
            content: content.unwrap_or_default(),
            content_type: media_type.clone(),
            conversation: message.conversation.clone(),
            reply_with: message.reply_with.clone(),
            in_reply_to: message.in_reply_to.clone(),
            reply_to: message.reply_to.clone(),
            reply_by: message.reply_by,
            protocol: message.protocol.clone(),
            language: message.language.clone(),
            ontology: message.ontology.clone(),
            delivery: message.delivery,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn draft(value: Value) -> Result<Draft, InvalidField> {
        serde_json::from_value::<MessageInput>(value).unwrap().into_draft(Vec::new())
    }

    #[test]
    fn what_is_sent_is_what_is_read() {
        let input = json!({
            "performative": "CFP", "receivers": ["a", "capability:bid?all"], "content": {"task": 7},
            "conversation": "c1", "reply_with": "r1", "in_reply_to": "r0", "reply_to": "topic:bids",
            "reply_by": "2026-11-30T12:00:00Z", "protocol": "contract-net", "language": "en", "ontology": "o",
            "delivery": "durable",
        });
        let message = draft(input).unwrap().from("me".parse().unwrap());
        let view = serde_json::to_value(MessageView::from(&*message)).unwrap();
        assert_eq!(
            view,
            json!({
                "id": message.id.to_string(), "performative": "cfp", "sender": "me",
                "receivers": ["a", "capability:bid?all"], "content": {"task": 7},
                "content_type": "application/json", "conversation": "c1", "reply_with": "r1", "in_reply_to": "r0",
                "reply_to": "topic:bids", "reply_by": "2026-11-30T12:00:00Z", "protocol": "contract-net",
                "language": "en", "ontology": "o", "delivery": "durable",
            })
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (input, field) in [
            (json!({"performative": "shout", "receivers": ["a"]}), "performative"),
            (json!({}), "receivers"),
            (json!({"receivers": ["A"]}), "receivers"),
            (json!({"receivers": ["a"], "id": "7"}), "id"),
            (json!({"receivers": ["a"], "conversation": ""}), "conversation"),
            (json!({"receivers": ["a"], "reply_by": "soon"}), "reply_by"),
            (json!({"receivers": ["a"], "reply_to": "?"}), "reply_to"),
            (json!({"receivers": ["a"], "content_type": "json"}), "content_type"),
            (json!({"receivers": ["a"], "content": 7, "content_type": "text/plain"}), "content"),
            (json!({"receivers": ["a"], "content": 7, "content_base64": "AA=="}), "content_base64"),
            (json!({"receivers": ["a"], "content_base64": "%"}), "content_base64"),
            (json!({"receivers": vec!["a"; 101]}), "receivers"),
        ] {
            assert_eq!(draft(input.clone()).unwrap_err().field, field, "{input}");
        }
    }

    #[test]
    fn content_that_is_no_text_travels_in_base64() {
        let message =
            draft(json!({"receivers": ["a"], "content_base64": "AP8="})).unwrap().from("me".parse().unwrap());
        assert_eq!(message.content.body.as_ref(), [0, 255]);
        let view = MessageView::from(&*message);
        assert_eq!(view.content_base64.as_deref(), Some("AP8="));
        assert_eq!(view.content_type, MediaType::OCTETS);
        // Also where the bytes could be read as a text.
        let message =
            draft(json!({"receivers": ["a"], "content_base64": "AAA="})).unwrap().from("me".parse().unwrap());
        assert_eq!(MessageView::from(&*message).content_base64.as_deref(), Some("AAA="));
    }

    proptest! {
        #[test]
        fn any_content_survives(body: Vec<u8>, kind in 0..3) {
            let media_type = [MediaType::JSON, MediaType::TEXT, MediaType::OCTETS][kind as usize].clone();
            let content = Content { media_type, body: body.into() };
            let draft = Draft::new(Performative::Inform, "a".parse::<Address>().unwrap()).content(content.clone());
            let view = MessageView::from(draft.message());
            let input = MessageInput {
                receivers: vec!["a".to_owned()],
                content: view.content.clone(),
                content_base64: view.content_base64,
                content_type: Some(view.content_type.to_string()),
                ..MessageInput::default()
            };
            let again = input.into_draft(Vec::new()).unwrap();
            if content.media_type.is_json() && !view.content.is_null() {
                prop_assert_eq!(again.message().content.read::<Value>().unwrap(), view.content);
            } else if view.content.is_null() && content.media_type.is_json() {
                // `null`, or nothing.
            } else {
                prop_assert_eq!(&again.message().content, &content);
            }
        }
    }
}
