//! Ids of webhooks and of deliveries.

use std::{fmt, str::FromStr, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// Hexadecimal digits after the prefix.
const DIGITS: usize = 32;

macro_rules! id {
    ($name:ident, $prefix:literal, $about:literal) => {
        #[doc = $about]
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema, ToSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schema(value_type = String)]
        pub struct $name(#[schemars(with = "String")] Arc<str>);

        impl $name {
            /// A new one; later ones sort after earlier ones.
            pub(crate) fn new() -> Self {
                Self(format!(concat!($prefix, "{}"), Uuid::now_v7().simple()).into())
            }

            /// Its text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = ParseWebhookIdError;

            fn from_str(text: &str) -> Result<Self, ParseWebhookIdError> {
                let digits = text.strip_prefix($prefix).unwrap_or_default();
                let valid = digits.len() == DIGITS
                    && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
                if valid { Ok(Self(text.into())) } else { Err(ParseWebhookIdError { prefix: $prefix }) }
            }
        }

        impl TryFrom<String> for $name {
            type Error = ParseWebhookIdError;

            fn try_from(text: String) -> Result<Self, ParseWebhookIdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

/// A text that is not such an id.
#[derive(Debug, thiserror::Error)]
#[error("is not an id; it is `{prefix}` and 32 hexadecimal digits")]
pub struct ParseWebhookIdError {
    prefix: &'static str,
}

id!(WebhookId, "wh_", "Identity of a webhook.");
id!(DeliveryId, "msg_", "Identity of a delivery: what the receiver sees as `webhook-id`.");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_being_printed_and_sort_by_their_age() {
        let ids: Vec<DeliveryId> = (0..3).map(|_| DeliveryId::new()).collect();
        assert!(ids.is_sorted());
        assert_eq!(ids[0].to_string().parse::<DeliveryId>().unwrap(), ids[0]);
        for text in ["", "wh_", "msg_01", &ids[0].to_string(), &format!("wh_{}", "G".repeat(32))] {
            assert!(text.parse::<WebhookId>().is_err(), "{text}");
        }
    }
}
