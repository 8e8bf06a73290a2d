//! Runs a contract net on behalf of a caller.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use paddock_platform::{identity::Caller, problem::Problem};
use serde_json::Value;

use super::Agents;
use crate::{
    message::{Address, Draft, InvalidField, Label, Message, MessageView, Performative},
    protocol::{Bid, CONTRACT_NET, ContractNet, ContractNetInput, Tender},
};

/// The longest time for bids, and for the work.
const WAIT_MAX: Duration = Duration::from_hours(1);

fn seconds(field: &'static str, seconds: f64) -> Result<Duration, InvalidField> {
    let wait = Duration::try_from_secs_f64(seconds).ok().filter(|wait| !wait.is_zero() && *wait <= WAIT_MAX);
    wait.ok_or_else(|| InvalidField::new(field, "must be more than 0 and at most 3600 seconds"))
}

fn content(message: &Message) -> Value {
    MessageView::from(message).content
}

impl Agents {
    /// Calls for proposals, awards the best bid at the deadline, or earlier if everybody has answered, and waits for what
    /// the winner comes to.
    pub async fn contract_net(
        &self,
        caller: &Caller,
        input: ContractNetInput,
    ) -> Result<ContractNet, Problem> {
        let (deadline, work) = (seconds("deadline", input.deadline)?, seconds("timeout", input.timeout)?);
        let mut bidders: Vec<Address> = Vec::new();
        for bidder in &input.bidders {
            bidders.push(bidder.parse().map_err(|error| Problem::invalid_field("bidders", error))?);
        }
        let Some(first) = bidders.first().cloned() else {
            return Err(Problem::invalid_field("bidders", "names nobody"));
        };
        let conversation = match &input.conversation {
            None => Label::fresh(),
            Some(text) => text.parse().map_err(|error| Problem::invalid_field("conversation", error))?,
        };
        let mut asker = self.asker(caller)?;
        let space = Arc::clone(&asker.space);
        let from = Address::Caller(asker.id.clone());
        let until = tokio::time::Instant::now() + deadline;
        let mut cfp = Draft::new(Performative::Cfp, first)
            .json(&input.task)
            .conversation(conversation.clone())
            .protocol(Label::of(CONTRACT_NET))
            .reply_with(asker.id.clone());
        if let Ok(reply_by) = Timestamp::now().checked_add(deadline) {
            cfp = cfp.reply_by(reply_by);
        }
        for bidder in bidders.into_iter().skip(1) {
            cfp = cfp.also(bidder);
        }
        let sent = self.send_as(&space, cfp, from.clone()).await?;
        let mut tender = Tender::new(input.by, input.prefer, sent.delivered);
        while !tender.is_complete() {
            match tokio::time::timeout_at(until, asker.answers.recv()).await {
                Ok(Some(answer)) => tender.answer(&answer.sender, answer.performative, content(&answer)),
                Ok(None) | Err(_) => break,
            }
        }
        let (bids, refused, silent) = tender.close();
        let mut result = ContractNet {
            conversation: conversation.as_str().to_owned(),
            asked: sent.delivered,
            refused,
            silent,
            winner: bids.first().map(|best| best.bidder.clone()),
            bids,
            result: Value::Null,
            outcome: None,
        };
        let decide = |bid: &Bid, performative| {
            Draft::new(performative, bid.bidder.clone())
                .json(&bid.proposal)
                .conversation(conversation.clone())
                .protocol(Label::of(CONTRACT_NET))
                .reply_with(asker.id.clone())
        };
        let Some((best, others)) = result.bids.split_first() else { return Ok(result) };
        let accept = decide(best, Performative::AcceptProposal);
        let rejections: Vec<Draft> =
            others.iter().map(|bid| decide(bid, Performative::RejectProposal)).collect();
        for rejection in rejections {
            // One that is gone meanwhile need not know.
            let _ = self.send_as(&space, rejection, from.clone()).await;
        }
        let winner = best.bidder.clone();
        self.send_as(&space, accept, from).await?;
        let until = tokio::time::Instant::now() + work;
        while let Ok(Some(answer)) = tokio::time::timeout_at(until, asker.answers.recv()).await {
            if answer.sender == winner
                && !matches!(answer.performative, Performative::Agree | Performative::Propose)
            {
                result.result = content(&answer);
                result.outcome = Some(answer.performative);
                return Ok(result);
            }
        }
        Err(crate::AgentError::NoAnswer(work).into())
    }
}
