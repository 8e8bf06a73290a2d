//! Holds auctions, and makes proposals, on behalf of a caller.

use paddock_platform::{identity::Caller, problem::Problem};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    Agents,
    negotiate::{Negotiation, addresses, content, seconds},
};
use crate::{
    message::Performative,
    protocol::{AUCTION, Auction, AuctionInput, Ballot, Bidding, PROPOSE, Proposal, ProposalInput, Step},
};

impl Agents {
    /// Calls for bids at one price after the other, until one bidder is left; sells to it, and waits for what it comes to.
    pub async fn auction(&self, caller: &Caller, input: AuctionInput) -> Result<Auction, Problem> {
        input.check()?;
        let (round, work) = (seconds("round", input.round)?, seconds("timeout", input.timeout)?);
        let everybody = addresses("bidders", &input.bidders)?;
        let mut net = Negotiation::open(self, caller, AUCTION, input.conversation.as_deref())?;
        let mut bidding = Bidding::new(&input);
        let (mut price, mut to, mut number) = (input.start, everybody.clone(), 0_u32);
        let mut asked_first = 0;
        loop {
            number += 1;
            let until = Instant::now() + round;
            let call = json!({ "item": input.item, "price": price, "round": number, "kind": input.kind });
            let asked = net.call(Performative::Cfp, &to, &call, round).await?;
            if number == 1 {
                asked_first = asked;
            }
            bidding.begin(asked);
            while !bidding.is_complete()
                && let Some(answer) = net.answer(until).await
            {
                bidding.answer(&answer.sender, answer.performative);
            }
            match bidding.close_round() {
                Step::Over => break,
                Step::Round(next, bidders) => {
                    price = next;
                    to = if bidders.is_empty() { everybody.clone() } else { bidders };
                }
            }
        }
        let (winner, losers, rounds) = bidding.close();
        net.note(json!({
            "sold_to": winner.as_ref().map(|(winner, _)| winner), "price": winner.as_ref().map(|(_, price)| price),
            "rounds": rounds.len(),
        }));
        let sold = json!({ "item": input.item, "price": winner.as_ref().map(|(_, price)| price) });
        net.reject(&losers, |_| sold.clone()).await;
        let (mut result, mut outcome) = (Value::Null, None);
        if let Some((winner, _)) = &winner {
            let answer = net.award(winner, &sold, work).await?;
            (result, outcome) = (content(&answer), Some(answer.performative));
        }
        let (winner, price) = winner.unzip();
        let conversation = net.conversation.as_str().to_owned();
        Ok(Auction { conversation, asked: asked_first, rounds, winner, price, result, outcome })
    }

    /// Proposes something, and tells who accepts and who rejects it: at the deadline, or once everybody has answered.
    pub async fn propose(&self, caller: &Caller, input: ProposalInput) -> Result<Proposal, Problem> {
        let deadline = seconds("deadline", input.deadline)?;
        let to = addresses("receivers", &input.receivers)?;
        let mut net = Negotiation::open(self, caller, PROPOSE, input.conversation.as_deref())?;
        let until = Instant::now() + deadline;
        let asked = net.call(Performative::Propose, &to, &input.proposal, deadline).await?;
        let mut ballot = Ballot::new(net.conversation.as_str().to_owned(), asked);
        while !ballot.is_complete()
            && let Some(answer) = net.answer(until).await
        {
            ballot.answer(&answer.sender, answer.performative);
        }
        let proposal = ballot.close();
        net.note(json!({
            "accepted": proposal.accepted.len(), "rejected": proposal.rejected.len(), "silent": proposal.silent,
        }));
        Ok(proposal)
    }
}
