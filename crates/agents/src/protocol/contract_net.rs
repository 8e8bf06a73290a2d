//! The contract net: a call for proposals, bids, an award by a deadline.
//!
//! A [`Tender`] is told what comes in and says what follows. It sends nothing and knows no clock.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::message::{Address, Performative};

/// The protocol's name in messages.
pub(crate) const CONTRACT_NET: &str = "contract-net";

/// Which bid wins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Prefer {
    /// The one with the smallest number.
    #[default]
    Lowest,
    /// The one with the largest number.
    Highest,
}

/// A call for proposals.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ContractNetInput {
    /// Who is asked to bid, for example `capability:translate?all`.
    pub bidders: Vec<String>,
    /// What is to be done, as bidders are told.
    pub task: Value,
    /// The member of a bid that holds its number.
    #[serde(default = "price")]
    pub by: String,
    /// Which number wins.
    #[serde(default)]
    pub prefer: Prefer,
    /// For how many seconds bids are taken.
    #[serde(default = "deadline")]
    pub deadline: f64,
    /// For how many seconds the one that won may work.
    #[serde(default = "work_time")]
    pub timeout: f64,
    /// The conversation; a new one when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<String>,
}

fn price() -> String {
    "price".to_owned()
}

pub(super) const fn deadline() -> f64 {
    5.0
}

pub(super) const fn work_time() -> f64 {
    60.0
}

/// A bid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct Bid {
    /// Who made it.
    pub bidder: Address,
    /// Its number.
    pub value: f64,
    /// All of it.
    pub proposal: Value,
}

/// How a contract net went.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct ContractNet {
    /// The conversation: its timeline has every message.
    pub conversation: String,
    /// How many were asked.
    pub asked: usize,
    /// How many answered with a refusal, or with nothing that is a bid.
    pub refused: usize,
    /// How many did not answer in time.
    pub silent: usize,
    /// The bids, the best first.
    pub bids: Vec<Bid>,
    /// Who won; nobody, if nobody bid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub winner: Option<Address>,
    /// What the winner came to.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub result: Value,
    /// What it answered with: `inform`, or `failure`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Performative>,
}

/// A tender: who was asked, and what they answered.
#[derive(Debug)]
pub(crate) struct Tender {
    by: String,
    prefer: Prefer,
    asked: usize,
    answered: Vec<Address>,
    refused: usize,
    bids: Vec<Bid>,
}

impl Tender {
    pub(crate) const fn new(by: String, prefer: Prefer, asked: usize) -> Self {
        Self { by, prefer, asked, answered: Vec::new(), refused: 0, bids: Vec::new() }
    }

    /// Somebody answered. The first answer of each counts.
    pub(crate) fn answer(&mut self, from: &Address, performative: Performative, content: Value) {
        if self.answered.contains(from) {
            return;
        }
        self.answered.push(from.clone());
        match content[&self.by].as_f64() {
            Some(value) if performative == Performative::Propose && value.is_finite() => {
                self.bids.push(Bid { bidder: from.clone(), value, proposal: content });
            }
            _ => self.refused += 1,
        }
    }

    /// Whether everybody who was asked has answered.
    pub(crate) const fn is_complete(&self) -> bool {
        self.answered.len() >= self.asked
    }

    /// The bids, the best first; of equal ones the earlier. And how many refused, and how many said nothing.
    pub(crate) fn close(mut self) -> (Vec<Bid>, usize, usize) {
        let prefer = self.prefer;
        self.bids.sort_by(|left, right| match prefer {
            Prefer::Lowest => left.value.total_cmp(&right.value),
            Prefer::Highest => right.value.total_cmp(&left.value),
        });
        (self.bids, self.refused, self.asked.saturating_sub(self.answered.len()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn address(number: usize) -> Address {
        format!("a{number}").parse().unwrap()
    }

    #[test]
    fn the_best_of_the_first_answers_wins() {
        for (prefer, best) in [(Prefer::Lowest, 1), (Prefer::Highest, 2)] {
            let mut tender = Tender::new("price".to_owned(), prefer, 5);
            tender.answer(&address(1), Performative::Propose, json!({ "price": 3 }));
            tender.answer(&address(2), Performative::Propose, json!({ "price": 9.5 }));
            tender.answer(&address(2), Performative::Propose, json!({ "price": 1 }));
            tender.answer(&address(3), Performative::Refuse, json!({ "price": 0 }));
            tender.answer(&address(4), Performative::Propose, json!("cheap"));
            assert!(!tender.is_complete());
            let (bids, refused, silent) = tender.close();
            assert_eq!((bids[0].bidder.clone(), bids.len(), refused, silent), (address(best), 2, 2, 1));
        }
    }

    proptest! {
        #[test]
        fn everybody_counts_once(answers in proptest::collection::vec((0..8_usize, any::<bool>(), -9..9_i32), 0..30)) {
            let mut tender = Tender::new("price".to_owned(), Prefer::Lowest, 8);
            for (from, bids, price) in answers {
                let performative = if bids { Performative::Propose } else { Performative::Refuse };
                tender.answer(&address(from), performative, json!({ "price": price }));
            }
            let (bids, refused, silent) = tender.close();
            prop_assert_eq!(bids.len() + refused + silent, 8);
            prop_assert!(bids.windows(2).all(|pair| pair[0].value <= pair[1].value));
        }
    }
}
