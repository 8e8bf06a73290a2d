//! Runs a contract net on behalf of a caller.

use paddock_platform::{identity::Caller, problem::Problem};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    Agents,
    negotiate::{Negotiation, addresses, content, seconds},
};
use crate::{
    message::{Address, Performative},
    protocol::{Bid, CONTRACT_NET, ContractNet, ContractNetInput, Tender},
};

impl Agents {
    /// Calls for proposals, awards the best bid at the deadline, or earlier if everybody has answered, and waits for what
    /// the winner comes to.
    pub async fn contract_net(
        &self,
        caller: &Caller,
        input: ContractNetInput,
    ) -> Result<ContractNet, Problem> {
        let (deadline, work) = (seconds("deadline", input.deadline)?, seconds("timeout", input.timeout)?);
        let bidders = addresses("bidders", &input.bidders)?;
        let mut net = Negotiation::open(self, caller, CONTRACT_NET, input.conversation.as_deref())?;
        let until = Instant::now() + deadline;
        let asked = net.call(Performative::Cfp, &bidders, &input.task, deadline).await?;
        let mut tender = Tender::new(input.by, input.prefer, asked);
        while !tender.is_complete()
            && let Some(answer) = net.answer(until).await
        {
            tender.answer(&answer.sender, answer.performative, content(&answer));
        }
        let (bids, refused, silent) = tender.close();
        let winner = bids.first().cloned();
        net.note(json!({
            "awarded": winner.as_ref().map(|best| &best.bidder), "bids": bids.len(), "refused": refused, "silent": silent,
        }));
        let losers: Vec<Address> = bids.iter().skip(1).map(|bid| bid.bidder.clone()).collect();
        let proposal_of = |bidder: &Address| {
            bids.iter().find(|bid| bid.bidder == *bidder).map_or(Value::Null, |bid| bid.proposal.clone())
        };
        net.reject(&losers, proposal_of).await;
        let (mut result, mut outcome) = (Value::Null, None);
        if let Some(Bid { bidder, proposal, .. }) = &winner {
            let answer = net.award(bidder, proposal, work).await?;
            (result, outcome) = (content(&answer), Some(answer.performative));
        }
        Ok(ContractNet {
            conversation: net.conversation.as_str().to_owned(),
            asked,
            refused,
            silent,
            bids,
            winner: winner.map(|best| best.bidder),
            result,
            outcome,
        })
    }
}
