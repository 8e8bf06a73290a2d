//! Protocols on behalf of a caller: who is asked, who answers, what is decided.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use paddock_platform::{identity::Caller, problem::Problem};
use serde_json::Value;
use tokio::time::Instant;

use super::{Agents, SentView, messages::Asker};
use crate::{
    AgentError,
    message::{Address, Draft, InvalidField, Label, Message, MessageView, Performative},
};

/// The longest time for answers, and for the work.
const WAIT_MAX: Duration = Duration::from_hours(1);

pub(super) fn seconds(field: &'static str, seconds: f64) -> Result<Duration, InvalidField> {
    let wait = Duration::try_from_secs_f64(seconds).ok().filter(|wait| !wait.is_zero() && *wait <= WAIT_MAX);
    wait.ok_or_else(|| InvalidField::new(field, "must be more than 0 and at most 3600 seconds"))
}

/// Addresses as a caller wrote them; at least one.
pub(super) fn addresses(field: &'static str, texts: &[String]) -> Result<Vec<Address>, Problem> {
    if texts.is_empty() {
        return Err(Problem::invalid_field(field, "names nobody"));
    }
    texts.iter().map(|text| text.parse().map_err(|error| Problem::invalid_field(field, error))).collect()
}

pub(super) fn content(message: &Message) -> Value {
    MessageView::from(message).content
}

/// A protocol that is under way.
pub(super) struct Negotiation {
    agents: Agents,
    asker: Asker,
    protocol: &'static str,
    pub(super) conversation: Label,
    /// What answers to the last call name.
    call: Label,
    calls: u32,
}

impl Negotiation {
    pub(super) fn open(
        agents: &Agents,
        caller: &Caller,
        protocol: &'static str,
        conversation: Option<&str>,
    ) -> Result<Self, Problem> {
        let conversation = match conversation {
            None => Label::fresh(),
            Some(text) => text.parse().map_err(|error| Problem::invalid_field("conversation", error))?,
        };
        let asker = agents.asker(caller)?;
        let call = asker.id.clone();
        Ok(Self { agents: agents.clone(), asker, protocol, conversation, call, calls: 0 })
    }

    fn draft(&self, performative: Performative, to: Address, content: &Value) -> Draft {
        Draft::new(performative, to)
            .json(content)
            .conversation(self.conversation.clone())
            .protocol(Label::of(self.protocol))
            .reply_with(self.call.clone())
    }

    async fn send(&self, draft: Draft) -> Result<SentView, AgentError> {
        self.agents.send_as(&self.asker.space, draft, Address::Caller(self.asker.id.clone())).await
    }

    /// Asks many at once: a call whose answers [`Negotiation::answer`] gives from now on.
    pub(super) async fn call(
        &mut self,
        performative: Performative,
        to: &[Address],
        content: &Value,
        wait: Duration,
    ) -> Result<usize, AgentError> {
        self.calls += 1;
        let call = format!("{}-{}", self.asker.id, self.calls);
        self.call = call.parse().unwrap_or_else(|_| self.asker.id.clone());
        let Some((first, others)) = to.split_first() else { return Ok(0) };
        let mut draft = self.draft(performative, first.clone(), content);
        if let Ok(reply_by) = Timestamp::now().checked_add(wait) {
            draft = draft.reply_by(reply_by);
        }
        let draft = others.iter().cloned().fold(draft, Draft::also);
        Ok(self.send(draft).await?.delivered)
    }

    /// The next answer to the last call, until a moment. What names another call came too late.
    pub(super) async fn answer(&mut self, until: Instant) -> Option<Arc<Message>> {
        loop {
            let answer = tokio::time::timeout_at(until, self.asker.answers.recv()).await.ok().flatten()?;
            if answer.in_reply_to.as_ref().is_none_or(|call| *call == self.call) {
                return Some(answer);
            }
        }
    }

    /// Notes what was decided in the timeline.
    pub(super) fn note(&self, entry: Value) {
        let core = &self.agents.0.core;
        core.note(&self.asker.space, Some(&self.conversation), "decision", None, entry);
    }

    /// Tells those who did not win. One that is gone meanwhile need not know.
    pub(super) async fn reject(&self, losers: &[Address], content: impl Fn(&Address) -> Value) {
        for loser in losers {
            let draft = self.draft(Performative::RejectProposal, loser.clone(), &content(loser));
            let _ = self.send(draft).await;
        }
    }

    /// Gives the work to the one that won, and waits for what it comes to.
    pub(super) async fn award(
        &mut self,
        winner: &Address,
        content: &Value,
        work: Duration,
    ) -> Result<Arc<Message>, AgentError> {
        self.send(self.draft(Performative::AcceptProposal, winner.clone(), content)).await?;
        let until = Instant::now() + work;
        while let Ok(Some(answer)) = tokio::time::timeout_at(until, self.asker.answers.recv()).await {
            let is_interim = matches!(answer.performative, Performative::Agree | Performative::Propose);
            if answer.sender == *winner && !is_interim {
                return Ok(answer);
            }
        }
        Err(AgentError::NoAnswer(work))
    }
}
