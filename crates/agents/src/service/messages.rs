//! Sending and asking from outside.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use paddock_platform::{identity::Caller, problem::Problem};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use utoipa::ToSchema;

use super::Agents;
use crate::{
    commit::Change,
    core::Trouble,
    dead::DeadReason,
    error::{AGENT_FAILED, AgentError},
    live,
    message::{
        Address, AgentName, Content, Delivery, Draft, Label, Message, MessageId, MessageView, Performative,
    },
    prompt::APPROVAL,
    space::Space,
};

/// Answers that may wait for one who asks.
const ANSWERS_MAX: usize = 1_024;
/// The longest wait for an answer.
const ASK_MAX: Duration = Duration::from_hours(1);

/// A message that was accepted.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct SentView {
    /// Its id.
    pub id: MessageId,
    /// How many agents got it.
    pub delivered: usize,
    /// How many would have got it and did not, with the first reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undelivered: Option<String>,
}

/// An answer.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct AnswerView {
    /// The conversation, for those that follow.
    pub conversation: Label,
    /// The answer.
    pub answer: MessageView,
}

/// What an agent is to do.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExecuteInput {
    /// The agent's name, or `capability:NAME`. On `/agents/{name}/execute` it is in the path.
    #[serde(default)]
    pub agent: String,
    /// What it is asked: a text, or any JSON.
    pub input: Value,
    /// The conversation that it belongs to; a new one when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<String>,
    /// How many seconds it may take; `agents.ask_timeout` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<f64>,
    /// To whom the agent tells what it does on its way. Streams set it: others have no name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hearer: Option<String>,
}

/// What an agent came to.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct ExecuteOutput {
    /// Who answered.
    pub agent: String,
    /// The answer: a text, or JSON.
    pub output: Value,
    /// The conversation, for what follows.
    pub conversation: Label,
}

/// Somebody who waits for answers, as long as this is there.
pub(crate) struct Asker {
    pub(super) id: Label,
    pub(super) space: Arc<Space>,
    pub(super) answers: mpsc::Receiver<Arc<Message>>,
    _place: tokio::sync::OwnedSemaphorePermit,
}

impl Drop for Asker {
    fn drop(&mut self) {
        self.space.askers.pin().remove(&self.id);
    }
}

impl Agents {
    fn sender(caller: &Caller) -> Address {
        let id = caller.key_id().unwrap_or("local");
        Address::Caller(id.parse().unwrap_or_else(|_| Label::of("local")))
    }

    /// Sends a message. A durable one is on disk when this returns.
    pub async fn send(&self, caller: &Caller, draft: Draft) -> Result<SentView, AgentError> {
        let space = self.0.core.space(caller.tenant());
        self.send_as(&space, draft, Self::sender(caller)).await
    }

    pub(super) async fn send_as(
        &self,
        space: &Arc<Space>,
        draft: Draft,
        from: Address,
    ) -> Result<SentView, AgentError> {
        let core = &self.0.core;
        let size = draft.message().content.body.len();
        if size > core.limits.turn.message {
            let detail = format!(
                "has {size} bytes, and {} are the most (`agents.message_max`)",
                core.limits.turn.message
            );
            return Err(crate::message::InvalidField::new("content", detail).into());
        }
        if draft.message().is_late(Timestamp::now()) {
            return Err(Trouble::new(None, DeadReason::Late, "its `reply_by` is over already").into());
        }
        let message = draft.from(from);
        let id = message.id;
        let meters = &core.meters;
        if message.is_durable() { &meters.accepted_durable } else { &meters.accepted }.increment(1);
        // Before its receivers have it, so that what they do comes after it.
        core.journal.sent(&space.tenant, &message);
        let (count, troubles) = if message.delivery == Delivery::Durable {
            let posts = core.posts_or_troubles(space, &message).await;
            let (posts, troubles) = posts.ok_or(AgentError::Overloaded("the server stops"))?;
            let count = posts.len();
            if let Some(commits) = core.commits()
                && !posts.is_empty()
            {
                commits.try_write(Change { posts, ..Change::default() }).await?;
            }
            core.tell_callers(space, &message);
            (count, troubles)
        } else {
            let mut delivered = core.deliver(space, &message);
            if !delivered.blocked.is_empty() {
                core.deliver_blocked(&message, &mut delivered).await;
            }
            (delivered.count, delivered.troubles)
        };
        let first = troubles.into_iter().next();
        if count == 0
            && let Some(trouble) = first
        {
            return Err(trouble.into());
        }
        let undelivered = first.map(|trouble| AgentError::from(trouble).to_string());
        Ok(SentView { id, delivered: count, undelivered })
    }

    pub(super) fn asker(&self, caller: &Caller) -> Result<Asker, AgentError> {
        self.wait_as(caller, self.name_of_asker())
    }

    /// As [`Agents::asker`], for somebody who also wants to hear what is told before the answer.
    pub(super) fn hearer(&self, caller: &Caller) -> Result<Asker, AgentError> {
        self.wait_as(caller, live::hearing(self.name_of_asker()))
    }

    fn name_of_asker(&self) -> Label {
        self.0.core.nodes.as_ref().map_or_else(Label::fresh, |nodes| nodes.asker())
    }

    fn wait_as(&self, caller: &Caller, id: Label) -> Result<Asker, AgentError> {
        let place = Arc::clone(&self.0.askers).try_acquire_owned();
        let place = place.map_err(|_| {
            AgentError::Overloaded("as many callers wait for answers as may (`agents.asks_max`)")
        })?;
        let space = self.0.core.space(caller.tenant());
        let (sender, answers) = mpsc::channel(ANSWERS_MAX);
        space.askers.pin().insert(id.clone(), sender);
        Ok(Asker { id, space, answers, _place: place })
    }

    /// Sends a message and waits for the answer: the first that is more than an `agree`.
    pub async fn ask(
        &self,
        caller: &Caller,
        draft: Draft,
        timeout: Option<Duration>,
    ) -> Result<(Label, Arc<Message>), AgentError> {
        self.ask_for(caller, draft, timeout, None).await
    }

    /// As [`Agents::ask`]; what is told before the answer goes on to who wants to hear it.
    async fn ask_for(
        &self,
        caller: &Caller,
        draft: Draft,
        timeout: Option<Duration>,
        hearer: Option<&Label>,
    ) -> Result<(Label, Arc<Message>), AgentError> {
        let timeout = timeout.unwrap_or_else(|| self.0.options.current().ask_timeout.get()).min(ASK_MAX);
        let mut asker = if hearer.is_some() { self.hearer(caller)? } else { self.asker(caller)? };
        let conversation = draft.message().conversation.clone().unwrap_or_else(Label::fresh);
        let draft = draft.conversation(conversation.clone()).reply_with(asker.id.clone());
        let until = Timestamp::now().checked_add(timeout).ok();
        let draft = match (draft.message().reply_by, until) {
            (None, Some(until)) => draft.reply_by(until),
            _ => draft,
        };
        let from = Address::Caller(asker.id.clone());
        let space = Arc::clone(&asker.space);
        self.send_as(&space, draft, from).await?;
        let answer = async {
            while let Some(answer) = asker.answers.recv().await {
                if answer.performative != Performative::Agree {
                    return Some(answer);
                }
                if let (Some(hearer), Some(agent), true) =
                    (hearer, answer.sender.agent(), live::is_told(&answer))
                {
                    let told = live::told(agent, hearer, answer.content.clone());
                    // Who does not hear it reads the answer.
                    let _ = self.0.core.deliver(&asker.space, &told);
                }
            }
            None
        };
        let answer = tokio::time::timeout(timeout, answer).await.ok().flatten();
        answer.map(|answer| (conversation, answer)).ok_or(AgentError::NoAnswer(timeout))
    }

    /// Has an agent do something and waits for what it comes to.
    pub async fn execute(&self, caller: &Caller, input: ExecuteInput) -> Result<ExecuteOutput, Problem> {
        let to: Address = input.agent.parse().map_err(|error| Problem::invalid_field("agent", error))?;
        let content = match &input.input {
            Value::String(text) => Content::text(text.clone()),
            value => Content::json(value),
        };
        let mut draft = Draft::new(Performative::Request, to).content(content);
        if let Some(conversation) = &input.conversation {
            let label =
                conversation.parse().map_err(|error| Problem::invalid_field("conversation", error))?;
            draft = draft.conversation(label);
        }
        let timeout = input.timeout.map(|seconds| {
            Duration::try_from_secs_f64(seconds)
                .map_err(|_| Problem::invalid_field("timeout", "must be a number of seconds"))
        });
        let hearer: Option<Label> = match &input.hearer {
            None => None,
            Some(hearer) => Some(hearer.parse().map_err(|error| Problem::invalid_field("hearer", error))?),
        };
        let (conversation, answer) =
            self.ask_for(caller, draft, timeout.transpose()?, hearer.as_ref()).await?;
        let view = MessageView::from(&*answer);
        let output = if view.content.is_null() { json!(view.content_base64) } else { view.content };
        match answer.performative {
            Performative::Failure | Performative::Refuse | Performative::NotUnderstood => {
                let told =
                    output["detail"].as_str().or(output.as_str()).unwrap_or("it did not say why").to_owned();
                let detail = format!("`{}` answered {}: {told}", answer.sender, answer.performative);
                Err(Problem::new(AGENT_FAILED, detail)
                    .with("performative", answer.performative.name())
                    .with("conversation", conversation.as_str())
                    .with("answer", output))
            }
            _ => Ok(ExecuteOutput { agent: answer.sender.to_string(), output, conversation }),
        }
    }

    /// Decides about a call that waits for approval, and waits until the agent has heard it.
    pub async fn decide(
        &self,
        caller: &Caller,
        name: &AgentName,
        id: &str,
        approve: bool,
        reason: &str,
    ) -> Result<(), Problem> {
        self.cell(caller.tenant(), name)?;
        if !self.approvals(caller.tenant(), name).await?.iter().any(|waiting| waiting.id == id) {
            return Err(Problem::not_found("approval", id));
        }
        let content = json!({ "id": id, "approve": approve, "reason": reason });
        let draft =
            Draft::new(Performative::Confirm, name.clone()).json(&content).protocol(Label::of(APPROVAL));
        self.send(caller, draft).await?;
        Ok(())
    }
}
