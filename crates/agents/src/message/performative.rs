//! What a message does.

use std::{fmt, str::FromStr};

use super::as_text;

/// What a message does: the communicative acts of FIPA-ACL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Performative {
    /// Takes up what was proposed.
    AcceptProposal,
    /// Will do what was requested.
    Agree,
    /// Wants no longer what was requested.
    Cancel,
    /// Calls for proposals.
    Cfp,
    /// Says that something is true that the receiver was not sure of.
    Confirm,
    /// Says that something is false that the receiver believes.
    Disconfirm,
    /// Tried what was requested, and failed.
    Failure,
    /// Says that something is so.
    Inform,
    /// Asks to be told whether something is so.
    InformIf,
    /// Asks to be told what something is.
    InformRef,
    /// Could not make sense of a message.
    NotUnderstood,
    /// To be passed on, and acted on.
    Propagate,
    /// Proposes to do something.
    Propose,
    /// To be passed on.
    Proxy,
    /// Asks whether something is so.
    QueryIf,
    /// Asks what something is.
    QueryRef,
    /// Will not do what was requested.
    Refuse,
    /// Does not take up what was proposed.
    RejectProposal,
    /// Asks for something to be done.
    Request,
    /// Asks for something to be done once something is so.
    RequestWhen,
    /// As often as something becomes so.
    RequestWhenever,
    /// Asks to be told now and whenever it changes.
    Subscribe,
}

use Performative as P;

const NAMES: [(P, &str); 22] = [
    (P::AcceptProposal, "accept-proposal"),
    (P::Agree, "agree"),
    (P::Cancel, "cancel"),
    (P::Cfp, "cfp"),
    (P::Confirm, "confirm"),
    (P::Disconfirm, "disconfirm"),
    (P::Failure, "failure"),
    (P::Inform, "inform"),
    (P::InformIf, "inform-if"),
    (P::InformRef, "inform-ref"),
    (P::NotUnderstood, "not-understood"),
    (P::Propagate, "propagate"),
    (P::Propose, "propose"),
    (P::Proxy, "proxy"),
    (P::QueryIf, "query-if"),
    (P::QueryRef, "query-ref"),
    (P::Refuse, "refuse"),
    (P::RejectProposal, "reject-proposal"),
    (P::Request, "request"),
    (P::RequestWhen, "request-when"),
    (P::RequestWhenever, "request-whenever"),
    (P::Subscribe, "subscribe"),
];

impl Performative {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        NAMES.iter().map(|(performative, _)| *performative)
    }

    /// Its name in FIPA's spelling: `accept-proposal`.
    pub const fn name(self) -> &'static str {
        NAMES[self as usize].1
    }

    /// Whether it is one that answers another message.
    pub const fn is_answer(self) -> bool {
        matches!(
            self,
            P::Agree
                | P::Confirm
                | P::Disconfirm
                | P::Failure
                | P::Inform
                | P::NotUnderstood
                | P::Propose
                | P::Refuse
        )
    }
}

/// A text that is no performative.
#[derive(Debug, thiserror::Error)]
#[error("`{text}` is not a performative; there are {}", NAMES.map(|(_, name)| name).join(", "))]
pub struct ParsePerformativeError {
    text: String,
}

impl FromStr for Performative {
    type Err = ParsePerformativeError;

    /// FIPA's spelling, and that of systems that write `ACCEPT_PROPOSAL`; `QUERY` is read as `query-ref`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some((performative, _)) = NAMES.iter().find(|(_, name)| *name == text) {
            return Ok(*performative);
        }
        let spelled: String =
            text.chars().take(32).collect::<String>().to_ascii_lowercase().replace('_', "-");
        if spelled == "query" {
            return Ok(P::QueryRef);
        }
        let found = NAMES.iter().find(|(_, name)| *name == spelled && text.len() == spelled.len());
        found
            .map(|(performative, _)| *performative)
            .ok_or_else(|| ParsePerformativeError { text: text.chars().take(64).collect() })
    }
}

impl fmt::Display for Performative {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

as_text!(Performative, "a performative of FIPA-ACL, such as `request` or `inform`");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_performative_is_read_in_both_spellings() {
        for performative in Performative::all() {
            let name = performative.name();
            assert_eq!(name.parse::<Performative>().unwrap(), performative);
            let upper = name.to_ascii_uppercase().replace('-', "_");
            assert_eq!(upper.parse::<Performative>().unwrap(), performative);
        }
        assert_eq!("QUERY".parse::<Performative>().unwrap(), Performative::QueryRef);
    }

    #[test]
    fn an_unknown_performative_is_refused_with_the_known_ones() {
        let error = "shout".parse::<Performative>().unwrap_err().to_string();
        assert!(error.contains("`shout`") && error.contains("accept-proposal"), "{error}");
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,40}") {
            if let Ok(performative) = text.parse::<Performative>() {
                prop_assert!(performative.name().len() >= 3);
            }
        }
    }
}
