//! Short texts that name conversations, protocols and answers.

use std::{fmt, str::FromStr, sync::Arc};

use super::as_text;

/// The longest label.
const LABEL_MAX: usize = 256;

/// A short text that callers choose: 1 to 256 bytes without control characters. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Label(Arc<str>);

/// What messages of one exchange have in common.
pub type ConversationId = Label;

/// A text that is no label.
#[derive(Debug, thiserror::Error)]
#[error("must be 1 to {LABEL_MAX} bytes without control characters")]
pub struct ParseLabelError;

impl Label {
    /// A label that nobody has used before.
    pub fn fresh() -> Self {
        Self(Arc::from(uuid::Uuid::now_v7().simple().to_string()))
    }

    /// A label of the program.
    pub fn of(text: &'static str) -> Self {
        Self(Arc::from(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Label {
    type Err = ParseLabelError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let valid = (1..=LABEL_MAX).contains(&text.len()) && !text.chars().any(char::is_control);
        if valid { Ok(Self(Arc::from(text))) } else { Err(ParseLabelError) }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

as_text!(Label, "1 to 256 bytes without control characters");
