//! Auctions: rounds of calls with a price, until one is left who pays it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::contract_net::work_time;
use crate::message::{Address, InvalidField, Performative};

/// The protocol's name in messages.
pub(crate) const AUCTION: &str = "auction";
/// The most rounds, and the most seconds that all of them may take.
const ROUNDS_MAX: u32 = 1_000;
const ALL_ROUNDS_MAX_S: f64 = 3_600.0;

/// How the price moves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AuctionKind {
    /// It rises as long as more than one would pay it.
    #[default]
    English,
    /// It falls until somebody would pay it.
    Dutch,
}

/// An auction that is to be held.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AuctionInput {
    /// `english`, with a price that rises, or `dutch`, with one that falls.
    #[serde(default)]
    pub kind: AuctionKind,
    /// Who is asked to bid, for example `capability:render?all`.
    pub bidders: Vec<String>,
    /// What is sold, as bidders are told.
    pub item: Value,
    /// The price of the first round.
    pub start: f64,
    /// By how much it moves from one round to the next.
    pub step: f64,
    /// Of a price that falls: where it stops.
    #[serde(default)]
    pub floor: f64,
    /// For how many seconds answers are taken in each round.
    #[serde(default = "round_time")]
    pub round: f64,
    /// How many rounds there are at most.
    #[serde(default = "rounds")]
    pub rounds_max: u32,
    /// For how many seconds the one that won may work.
    #[serde(default = "work_time")]
    pub timeout: f64,
    /// The conversation; a new one when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<String>,
}

const fn round_time() -> f64 {
    2.0
}

const fn rounds() -> u32 {
    100
}

impl AuctionInput {
    /// What serde does not check, times left out.
    pub(crate) fn check(&self) -> Result<(), InvalidField> {
        let invalid = |field, detail: &str| Err(InvalidField::new(field, detail));
        if !self.start.is_finite() {
            return invalid("start", "must be a number");
        }
        if !(self.step.is_finite() && self.step > 0.0) {
            return invalid("step", "must be more than 0");
        }
        if self.kind == AuctionKind::Dutch && self.floor > self.start {
            return invalid("floor", "must be `start` at most");
        }
        if !(1..=ROUNDS_MAX).contains(&self.rounds_max) {
            return invalid("rounds_max", "must be 1 to 1000");
        }
        if self.round * f64::from(self.rounds_max) > ALL_ROUNDS_MAX_S {
            return invalid("rounds_max", "times `round` must be 3600 seconds at most");
        }
        Ok(())
    }
}

/// One round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct AuctionRound {
    /// Its price.
    pub price: f64,
    /// Who would pay it, the first one first.
    pub bidders: Vec<Address>,
    /// How many answered that they would not.
    pub refused: usize,
    /// How many did not answer in time.
    pub silent: usize,
}

/// How an auction went.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct Auction {
    /// The conversation: its timeline has every message.
    pub conversation: String,
    /// How many were asked in the first round.
    pub asked: usize,
    /// The rounds, in order.
    pub rounds: Vec<AuctionRound>,
    /// Who won; nobody, if nobody would pay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub winner: Option<Address>,
    /// What it pays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<f64>,
    /// What the winner came to.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub result: Value,
    /// Whether it did it: `inform`, or `failure`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Performative>,
}

/// What follows from a round.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// Another one, at this price, with those who bid; everybody, if nobody is named.
    Round(f64, Vec<Address>),
    /// The auction is over.
    Over,
}

/// An auction under way.
#[derive(Debug)]
pub(crate) struct Bidding {
    kind: AuctionKind,
    price: f64,
    step: f64,
    floor: f64,
    rounds_max: usize,
    asked: usize,
    bidders: Vec<Address>,
    refused: Vec<Address>,
    rounds: Vec<AuctionRound>,
    leader: Option<(Address, f64)>,
    /// All who ever bid.
    known: Vec<Address>,
}

impl Bidding {
    pub(crate) const fn new(input: &AuctionInput) -> Self {
        Self {
            kind: input.kind,
            price: input.start,
            step: input.step,
            floor: input.floor,
            rounds_max: input.rounds_max as usize,
            asked: 0,
            bidders: Vec::new(),
            refused: Vec::new(),
            rounds: Vec::new(),
            leader: None,
            known: Vec::new(),
        }
    }

    /// A round begins, in which so many were asked.
    pub(crate) const fn begin(&mut self, asked: usize) {
        self.asked = asked;
    }

    /// Takes an answer of this round. The first of each counts.
    pub(crate) fn answer(&mut self, from: &Address, performative: Performative) {
        if self.bidders.contains(from) || self.refused.contains(from) {
            return;
        }
        match performative {
            Performative::Propose => {
                if !self.known.contains(from) {
                    self.known.push(from.clone());
                }
                self.bidders.push(from.clone());
            }
            Performative::Agree => {}
            _ => self.refused.push(from.clone()),
        }
    }

    /// Whether nobody has to be waited for any more in this round.
    pub(crate) const fn is_complete(&self) -> bool {
        let is_sold = matches!(self.kind, AuctionKind::Dutch) && !self.bidders.is_empty();
        is_sold || self.bidders.len() + self.refused.len() >= self.asked
    }

    /// The round is over.
    pub(crate) fn close_round(&mut self) -> Step {
        let (bidders, refused) = (std::mem::take(&mut self.bidders), std::mem::take(&mut self.refused).len());
        let silent = self.asked.saturating_sub(bidders.len() + refused);
        self.rounds.push(AuctionRound { price: self.price, bidders: bidders.clone(), refused, silent });
        let is_last = self.rounds.len() >= self.rounds_max;
        match bidders.first() {
            Some(first) => {
                self.leader = Some((first.clone(), self.price));
                if self.kind == AuctionKind::Dutch || bidders.len() == 1 || is_last {
                    return Step::Over;
                }
                self.price += self.step;
                Step::Round(self.price, bidders)
            }
            // Nobody follows: the one that was first before has it.
            None if self.kind == AuctionKind::English => Step::Over,
            None => {
                self.price -= self.step;
                if is_last || self.price < self.floor {
                    Step::Over
                } else {
                    Step::Round(self.price, Vec::new())
                }
            }
        }
    }

    /// Who won and what it pays, those who bid and did not win, and the rounds.
    pub(crate) fn close(self) -> (Option<(Address, f64)>, Vec<Address>, Vec<AuctionRound>) {
        let winner = self.leader.as_ref().map(|(winner, _)| winner);
        let losers = self.known.into_iter().filter(|bidder| Some(bidder) != winner).collect();
        (self.leader, losers, self.rounds)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn input(kind: &str, start: f64) -> AuctionInput {
        let input = json!({ "kind": kind, "bidders": ["a"], "item": "x", "start": start, "step": 10, "rounds_max": 50 });
        serde_json::from_value(input).unwrap()
    }

    fn bidder(number: usize) -> Address {
        format!("a{number}").parse().unwrap()
    }

    /// Holds an auction among bidders who pay up to their limits. Gives the winner, the price, and the rounds.
    fn hold(
        input: &AuctionInput,
        limits: &[f64],
    ) -> (Option<(Address, f64)>, Vec<Address>, Vec<AuctionRound>) {
        let mut bidding = Bidding::new(input);
        let (mut price, mut asked): (f64, Vec<Address>) =
            (input.start, (0..limits.len()).map(bidder).collect());
        loop {
            bidding.begin(asked.len());
            for (number, limit) in limits.iter().enumerate() {
                if asked.contains(&bidder(number)) && !bidding.is_complete() {
                    let bids = *limit >= price;
                    bidding.answer(
                        &bidder(number),
                        if bids { Performative::Propose } else { Performative::Refuse },
                    );
                }
            }
            match bidding.close_round() {
                Step::Over => return bidding.close(),
                Step::Round(next, to) => {
                    price = next;
                    if !to.is_empty() {
                        asked = to;
                    }
                }
            }
        }
    }

    #[test]
    fn the_price_rises_until_one_is_left() {
        let (winner, losers, rounds) = hold(&input("english", 10.0), &[35.0, 15.0, 60.0]);
        assert_eq!(winner, Some((bidder(2), 40.0)));
        assert_eq!(losers, [bidder(0), bidder(1)]);
        assert_eq!(rounds.iter().map(|round| round.price).collect::<Vec<_>>(), [10.0, 20.0, 30.0, 40.0]);
        // Nobody follows: the first of the round before.
        assert_eq!(hold(&input("english", 10.0), &[15.0, 15.0]).0, Some((bidder(0), 10.0)));
        assert_eq!(hold(&input("english", 100.0), &[15.0, 15.0]).0, None);
    }

    #[test]
    fn the_price_falls_until_somebody_pays() {
        let (winner, losers, rounds) = hold(&input("dutch", 100.0), &[35.0, 15.0, 62.0]);
        assert_eq!((winner, losers, rounds.len()), (Some((bidder(2), 60.0)), Vec::new(), 5));
        assert_eq!(hold(&input("dutch", 20.0), &[-5.0]).0, None);
    }

    #[test]
    fn who_is_silent_is_out_and_counted() {
        let mut bidding = Bidding::new(&input("english", 1.0));
        bidding.begin(3);
        bidding.answer(&bidder(0), Performative::Propose);
        bidding.answer(&bidder(1), Performative::Propose);
        bidding.answer(&bidder(1), Performative::Refuse);
        assert!(!bidding.is_complete());
        assert_eq!(bidding.close_round(), Step::Round(11.0, vec![bidder(0), bidder(1)]));
        bidding.begin(2);
        assert_eq!(bidding.close_round(), Step::Over);
        let (winner, losers, rounds) = bidding.close();
        assert_eq!((winner, losers), (Some((bidder(0), 1.0)), vec![bidder(1)]));
        assert_eq!(rounds.iter().map(|round| round.silent).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn what_cannot_be_held_is_refused() {
        for (member, value) in
            [("step", json!(0)), ("rounds_max", json!(0)), ("round", json!(1_000)), ("floor", json!(2))]
        {
            let mut all = serde_json::to_value(input("dutch", 1.0)).unwrap();
            all[member] = value;
            let input: AuctionInput = serde_json::from_value(all).unwrap();
            let expected = if member == "round" { "rounds_max" } else { member };
            assert_eq!(input.check().unwrap_err().field, expected);
        }
    }

    proptest! {
        #[test]
        fn it_ends_and_the_winner_can_pay(limits in proptest::collection::vec(0..400_i32, 1..6), dutch: bool) {
            let limits: Vec<f64> = limits.into_iter().map(f64::from).collect();
            let input = if dutch { input("dutch", 400.0) } else { input("english", 5.0) };
            let (winner, losers, rounds) = hold(&input, &limits);
            prop_assert!(rounds.len() <= 50);
            if let Some((winner, price)) = winner {
                let number = (0..limits.len()).find(|number| bidder(*number) == winner).unwrap();
                prop_assert!(limits[number] >= price);
                prop_assert!(!losers.contains(&winner));
                // Nobody else would have paid a step more than what was paid.
                let others = limits.iter().enumerate().filter(|(other, _)| *other != number);
                prop_assert!(others.clone().all(|(_, limit)| *limit < price + 10.0));
            }
        }
    }
}
