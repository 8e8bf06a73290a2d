//! What agents say to each other: envelopes in the terms of FIPA-ACL, typed here and as JSON outside.
//!
//! A [`Message`] is made once, from a [`Draft`], and shared from then on: mailboxes hold references, and its payload is
//! never copied within the process.

mod address;
mod content;
mod envelope;
mod id;
mod json;
mod label;
mod performative;

pub use address::{Address, AgentName, Capability, ParseAddressError, ParseNameError, Pick, Topic};
pub use content::{Content, MediaType, ParseMediaTypeError};
pub(crate) use envelope::Receivers;
pub use envelope::{Delivery, Draft, Message};
pub use id::{MessageId, ParseMessageIdError};
pub use json::{MessageInput, MessageView};
pub use label::{ConversationId, Label, ParseLabelError};
pub use performative::{ParsePerformativeError, Performative};

/// A member of a message that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}`: {detail}")]
pub struct InvalidField {
    /// Which member.
    pub field: &'static str,
    /// What is wrong with it.
    pub detail: String,
}

impl InvalidField {
    pub(crate) fn new(field: &'static str, detail: impl std::fmt::Display) -> Self {
        Self { field, detail: detail.to_string() }
    }
}

impl From<InvalidField> for paddock_platform::problem::Problem {
    fn from(invalid: InvalidField) -> Self {
        Self::invalid_field(invalid.field, invalid.detail)
    }
}

/// Serde, JSON Schema and OpenAPI through the text form.
macro_rules! as_text {
    ($name:ident, $about:literal) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "description": $about })
            }
        }

        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                utoipa::openapi::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .description(Some($about))
                    .into()
            }
        }

        impl utoipa::ToSchema for $name {}
    };
}
pub(crate) use as_text;
