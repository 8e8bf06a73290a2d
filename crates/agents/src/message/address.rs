//! Whom a message is for, and whom it is from.

use std::{fmt, str::FromStr, sync::Arc};

use super::{Label, as_text};

/// The longest name of an agent, a capability or a topic.
const NAME_MAX: usize = 64;

/// The name of an agent within its tenant: `a-z`, `0-9` and `-`, beginning with a letter. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AgentName(Arc<str>);

/// What an agent can do, by name: `a-z`, `0-9`, `-`, `.`, `_` and `:`. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Capability(Arc<str>);

/// What messages are published under: as a [`Capability`] is written. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic(Arc<str>);

/// A text that is not a name.
#[derive(Debug, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct ParseNameError {
    text: String,
    expected: &'static str,
}

const AGENT: &str = "the name of an agent: 1 to 64 of a-z, 0-9 and `-`, from a letter to a letter or digit";
const TERM: &str =
    "a capability or topic: 1 to 64 of a-z, 0-9, `-`, `.`, `_` and `:`, beginning with a letter";

fn refused(text: &str, expected: &'static str) -> ParseNameError {
    ParseNameError { text: text.chars().take(NAME_MAX + 1).collect(), expected }
}

fn is_agent_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=NAME_MAX).contains(&bytes.len())
        && bytes[0].is_ascii_lowercase()
        && bytes.last() != Some(&b'-')
        && bytes.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-')
}

fn is_term(text: &str) -> bool {
    let bytes = text.as_bytes();
    let allowed = |byte: &u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.' | b'_' | b':')
    };
    (1..=NAME_MAX).contains(&bytes.len()) && bytes[0].is_ascii_lowercase() && bytes.iter().all(allowed)
}

macro_rules! name {
    ($name:ident, $check:ident, $expected:ident, $about:literal) => {
        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = ParseNameError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                if $check(text) { Ok(Self(Arc::from(text))) } else { Err(refused(text, $expected)) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        as_text!($name, $about);
    };
}

name!(AgentName, is_agent_name, AGENT, "1 to 64 of a-z, 0-9 and `-`, from a letter to a letter or digit");
name!(Capability, is_term, TERM, "1 to 64 of a-z, 0-9, `-`, `.`, `_` and `:`, beginning with a letter");
name!(Topic, is_term, TERM, "1 to 64 of a-z, 0-9, `-`, `.`, `_` and `:`, beginning with a letter");

/// Which of those that have a capability.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Pick {
    /// The one with the fewest messages waiting.
    #[default]
    LeastLoaded,
    /// Every one.
    All,
    /// One after the other.
    Any,
}

/// Whom a message is for, or from.
///
/// As text: `name`, `capability:translate` (the least loaded), `capability:translate?all`, `capability:translate?any`,
/// `topic:prices`, `caller:…`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// One agent.
    Agent(AgentName),
    /// Whoever can do this.
    Capability {
        /// What it must be able to do.
        name: Capability,
        /// Which of them.
        pick: Pick,
    },
    /// Whoever subscribed to this.
    Topic(Topic),
    /// Somebody outside who asked, or sent something.
    Caller(Label),
}

/// A text that is not an address.
#[derive(Debug, thiserror::Error)]
pub enum ParseAddressError {
    /// A name in it is wrong.
    #[error(transparent)]
    Name(#[from] ParseNameError),
    /// What comes after `?` is unknown.
    #[error("`?{0}` is unknown; write `?all` or `?any`, or nothing for the least loaded")]
    Pick(String),
    /// The id of a caller is wrong.
    #[error("the caller's id {0}")]
    Caller(#[from] super::label::ParseLabelError),
}

impl Address {
    /// Whoever can do this and has the fewest messages waiting.
    pub const fn capability(name: Capability) -> Self {
        Self::Capability { name, pick: Pick::LeastLoaded }
    }

    /// The agent, if it is one.
    pub const fn agent(&self) -> Option<&AgentName> {
        match self {
            Self::Agent(name) => Some(name),
            _ => None,
        }
    }
}

impl FromStr for Address {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(rest) = text.strip_prefix("capability:") {
            let (name, pick) = match rest.split_once('?') {
                None => (rest, Pick::LeastLoaded),
                Some((name, "all")) => (name, Pick::All),
                Some((name, "any")) => (name, Pick::Any),
                Some((_, other)) => return Err(ParseAddressError::Pick(other.chars().take(32).collect())),
            };
            return Ok(Self::Capability { name: name.parse()?, pick });
        }
        if let Some(topic) = text.strip_prefix("topic:") {
            return Ok(Self::Topic(topic.parse()?));
        }
        if let Some(caller) = text.strip_prefix("caller:") {
            return Ok(Self::Caller(caller.parse()?));
        }
        Ok(Self::Agent(text.parse()?))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent(name) => f.write_str(name.as_str()),
            Self::Capability { name, pick } => {
                let pick = match pick {
                    Pick::LeastLoaded => "",
                    Pick::All => "?all",
                    Pick::Any => "?any",
                };
                write!(f, "capability:{name}{pick}")
            }
            Self::Topic(topic) => write!(f, "topic:{topic}"),
            Self::Caller(id) => write!(f, "caller:{id}"),
        }
    }
}

impl From<AgentName> for Address {
    fn from(name: AgentName) -> Self {
        Self::Agent(name)
    }
}

as_text!(Address, "an agent's name, `capability:NAME` (also `?all`, `?any`), `topic:NAME` or `caller:ID`");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_are_read_as_they_are_written() {
        for text in [
            "reviewer",
            "a",
            "a-1",
            "capability:translate",
            "capability:translate:v2.0?all",
            "capability:x?any",
            "topic:prices.eu",
            "caller:7f3a",
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "-a",
            "a-",
            "1a",
            "A",
            "a b",
            "capability:",
            "capability:x?best",
            "topic:",
            "topic:ä",
            "caller:",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
        assert!("a".repeat(65).parse::<AgentName>().is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "(capability:|topic:|caller:)?.{0,70}") {
            if let Ok(address) = text.parse::<Address>() {
                prop_assert_eq!(address.to_string().parse::<Address>().unwrap(), address);
            }
        }
    }
}
