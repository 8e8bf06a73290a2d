//! Names of instances and tabs, in Pinchtab's form: a prefix and eight hexadecimal digits.

use std::{fmt, str::FromStr, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// Longest text that is looked up as an id, in bytes.
const ID_SIZE_MAX: usize = 64;

/// A text that is not an id of the expected kind.
#[derive(Debug, thiserror::Error)]
#[error("`{text}` is not an id; expected `{prefix}` and eight hexadecimal digits")]
pub struct ParseIdError {
    text: String,
    prefix: &'static str,
}

fn without_description(schema: &mut schemars::Schema) {
    schema.remove("description");
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $pattern:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema, ToSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schema(value_type = String)]
        // Tools name a tab in each of their inputs: what it looks like would be said two dozen times.
        #[schemars(transform = without_description)]
        pub struct $name(#[schemars(regex(pattern = $pattern))] Arc<str>);

        impl $name {
            /// A new one. Not a secret: the last four bytes of a UUID v7, which are random.
            pub(crate) fn new() -> Self {
                let bytes = Uuid::now_v7().into_bytes();
                let random = u32::from_be_bytes([bytes[12], bytes[13], bytes[14], bytes[15]]);
                Self(format!(concat!($prefix, "{:08x}"), random).into())
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let digits = text.strip_prefix($prefix).unwrap_or_default();
                let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
                if digits.len() == 8 && digits.bytes().all(hex) {
                    Ok(Self(text.into()))
                } else {
                    Err(ParseIdError { text: text.to_owned(), prefix: $prefix })
                }
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

id!(
    /// Names an instance: `inst_` and eight hexadecimal digits.
    InstanceId, "inst_", r"^inst_[0-9a-f]{8}$"
);
id!(
    /// Names a tab: `tab_` and eight hexadecimal digits.
    TabId, "tab_", r"^tab_[0-9a-f]{8}$"
);

id!(
    /// Names a profile: `prof_` and eight hexadecimal digits.
    ProfileId, "prof_", r"^prof_[0-9a-f]{8}$"
);

impl TryFrom<String> for ProfileId {
    type Error = ParseIdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl TryFrom<String> for InstanceId {
    type Error = ParseIdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl TryFrom<String> for TabId {
    type Error = ParseIdError;

    /// An id that was never given names nothing, which is for the one who looks it up to say: Pinchtab's clients may
    /// know ids of another form.
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if (1..=ID_SIZE_MAX).contains(&text.len()) && text.bytes().all(plain) {
            Ok(Self(text.into()))
        } else {
            Err(ParseIdError { text, prefix: "tab_" })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_being_printed() {
        let id = InstanceId::new();
        assert_eq!(id.to_string().parse::<InstanceId>().unwrap(), id);
        assert_ne!(id, InstanceId::new());
    }

    #[test]
    fn an_id_in_a_body_may_be_one_that_was_never_given() {
        assert!(serde_json::from_str::<TabId>("\"A25658CE1BA82659\"").is_ok());
        for text in ["", "a b", "tab/1", &"a".repeat(65)] {
            assert!(TabId::try_from(text.to_owned()).is_err(), "{text}");
        }
    }

    #[test]
    fn an_id_of_another_kind_is_refused() {
        for text in ["", "inst_", "inst_0123456", "inst_0123456g", "inst_0123456A", "tab_01234567"] {
            assert!(text.parse::<InstanceId>().is_err(), "{text}");
        }
    }
}
