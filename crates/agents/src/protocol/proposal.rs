//! Proposals: each of those who are asked accepts or rejects, by a deadline.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::contract_net::deadline;
use crate::message::{Address, Performative};

/// The protocol's name in messages.
pub(crate) const PROPOSE: &str = "propose";

/// Something that is proposed.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProposalInput {
    /// To whom.
    pub receivers: Vec<String>,
    /// What.
    pub proposal: Value,
    /// For how many seconds answers are taken.
    #[serde(default = "deadline")]
    pub deadline: f64,
    /// The conversation; a new one when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<String>,
}

/// What became of a proposal.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct Proposal {
    /// The conversation: its timeline has every message.
    pub conversation: String,
    /// How many were asked.
    pub asked: usize,
    /// Who accepted it, the first one first.
    pub accepted: Vec<Address>,
    /// Who rejected it, or answered anything else.
    pub rejected: Vec<Address>,
    /// How many did not answer in time.
    pub silent: usize,
}

/// A proposal under way.
#[derive(Debug)]
pub(crate) struct Ballot(Proposal);

impl Ballot {
    pub(crate) fn new(conversation: String, asked: usize) -> Self {
        Self(Proposal { conversation, asked, ..Proposal::default() })
    }

    /// Takes an answer. The first of each counts.
    pub(crate) fn answer(&mut self, from: &Address, performative: Performative) {
        if self.0.accepted.contains(from) || self.0.rejected.contains(from) {
            return;
        }
        match performative {
            Performative::AcceptProposal => self.0.accepted.push(from.clone()),
            // It will answer later.
            Performative::Agree => {}
            _ => self.0.rejected.push(from.clone()),
        }
    }

    /// Whether everybody who was asked has answered.
    pub(crate) const fn is_complete(&self) -> bool {
        self.0.accepted.len() + self.0.rejected.len() >= self.0.asked
    }

    pub(crate) fn close(mut self) -> Proposal {
        let answered = self.0.accepted.len() + self.0.rejected.len();
        self.0.silent = self.0.asked.saturating_sub(answered);
        self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn everybody_counts_once(answers in proptest::collection::vec((0..8_usize, 0..4_usize), 0..30)) {
            let mut ballot = Ballot::new("c".to_owned(), 8);
            let performatives =
                [Performative::AcceptProposal, Performative::RejectProposal, Performative::Agree, Performative::Failure];
            for (from, performative) in answers {
                ballot.answer(&format!("a{from}").parse().unwrap(), performatives[performative]);
            }
            let is_complete = ballot.is_complete();
            let proposal = ballot.close();
            prop_assert_eq!(proposal.accepted.len() + proposal.rejected.len() + proposal.silent, 8);
            prop_assert_eq!(is_complete, proposal.silent == 0);
        }
    }
}
