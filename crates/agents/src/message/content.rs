//! What a message carries.

use std::{borrow::Cow, fmt, str::FromStr};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::as_text;

/// The longest media type.
const MEDIA_TYPE_MAX: usize = 128;

/// What kind of content it is, such as `application/json`. Those of the program cost nothing to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MediaType(Cow<'static, str>);

/// A text that is not a media type.
#[derive(Debug, thiserror::Error)]
#[error("is not a media type; write for example `application/json`")]
pub struct ParseMediaTypeError;

impl MediaType {
    /// `application/json`.
    pub const JSON: Self = Self(Cow::Borrowed("application/json"));
    /// `text/plain`.
    pub const TEXT: Self = Self(Cow::Borrowed("text/plain"));
    /// `application/octet-stream`.
    pub const OCTETS: Self = Self(Cow::Borrowed("application/octet-stream"));

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is JSON, or one of the types that are written as JSON.
    pub fn is_json(&self) -> bool {
        let essence = self.0.split(';').next().unwrap_or_default().trim();
        essence == "application/json" || essence.ends_with("+json")
    }

    /// Whether it is some kind of text.
    pub fn is_text(&self) -> bool {
        self.0.starts_with("text/")
    }
}

impl FromStr for MediaType {
    type Err = ParseMediaTypeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        for known in [Self::JSON, Self::TEXT, Self::OCTETS] {
            if known.as_str() == text {
                return Ok(known);
            }
        }
        let token = |part: &str| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
            !part.is_empty() && part.bytes().all(allowed)
        };
        let essence = text.split(';').next().unwrap_or_default().trim_end();
        let valid = text.len() <= MEDIA_TYPE_MAX
            && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
            && essence.split_once('/').is_some_and(|(kind, sub)| token(kind) && token(sub));
        if valid { Ok(Self(Cow::Owned(text.to_owned()))) } else { Err(ParseMediaTypeError) }
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

as_text!(MediaType, "a media type, such as `application/json`");

/// What a message carries. Cloning shares the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// What kind of content it is.
    pub media_type: MediaType,
    /// The content itself.
    pub body: Bytes,
}

impl Default for Content {
    /// No text.
    fn default() -> Self {
        Self { media_type: MediaType::TEXT, body: Bytes::new() }
    }
}

impl Content {
    /// Plain text.
    pub fn text(text: impl Into<String>) -> Self {
        Self { media_type: MediaType::TEXT, body: Bytes::from(text.into()) }
    }

    /// A value as JSON. What cannot be written as JSON, such as a map with odd keys, is `null`.
    pub fn json(value: &impl Serialize) -> Self {
        let body = serde_json::to_vec(value).unwrap_or_else(|_| b"null".to_vec());
        Self { media_type: MediaType::JSON, body: Bytes::from(body) }
    }

    /// The content as a value, if it is JSON that fits.
    pub fn read<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&self.body).ok()
    }

    /// The content as text, with what is not UTF-8 replaced.
    pub fn to_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_are_checked() {
        for text in ["application/json", "text/plain; charset=utf-8", "application/vnd.x+json"] {
            assert_eq!(text.parse::<MediaType>().unwrap().as_str(), text);
        }
        for text in ["", "json", "a/", "/b", "a b/c", "text/plain\n", "ä/b"] {
            assert!(text.parse::<MediaType>().is_err(), "{text}");
        }
        assert!("application/vnd.x+json; v=1".parse::<MediaType>().unwrap().is_json());
    }
}
