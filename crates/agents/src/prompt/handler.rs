//! A prompt agent: takes messages, runs the model on them, and answers.

use std::{fmt, sync::Arc, time::Instant};

use bytes::Bytes;
use jiff::Timestamp;
use metrics::{counter, histogram};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    PromptDefinition,
    answer::{only_tells, performative_of, question},
    memory::{self, Memory},
    model::Model,
    run::{Call, End, Means, Run},
};
use crate::{
    envelope,
    handler::{Failure, Handled, Handler},
    live::Teller,
    message::{Content, Draft, Label, Message, Performative},
    metrics::{AGENTS_RUN_DURATION_SECONDS, AGENTS_RUNS_TOTAL},
    turn::Turn,
};

/// Keys of paused runs in the state.
pub(crate) const PENDING: &str = "pending/";
/// The protocol of messages that decide about a call.
pub(crate) const APPROVAL: &str = "approval";
/// How many runs of one agent may wait for a decision.
const PENDING_MAX: usize = 100;

/// A run that waits for somebody to approve a call.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct PendingApproval {
    /// What the decision names.
    pub id: String,
    /// Since when it waits.
    #[schema(value_type = String)]
    #[schemars(with = "String")]
    pub since: Timestamp,
    /// The conversation that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<Label>,
    /// The tool that the model wants to call.
    pub tool: String,
    /// With this input.
    pub input: Value,
}

/// A paused run as the state has it.
#[derive(Serialize, Deserialize)]
struct Paused {
    approval: PendingApproval,
    run: Run,
    /// The message that it answers, without its content.
    envelope: String,
}

/// What decides about a call.
#[derive(Deserialize)]
struct Decision {
    id: String,
    approve: bool,
    #[serde(default)]
    reason: String,
}

/// An agent that is a model with instructions.
pub(crate) struct PromptHandler {
    prompt: Arc<PromptDefinition>,
    model: Arc<dyn Model>,
}

impl fmt::Debug for PromptHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PromptHandler").field("model", &self.prompt.model).finish_non_exhaustive()
    }
}

impl Handler for PromptHandler {
    fn handle<'a>(&'a mut self, message: Arc<Message>, turn: &'a mut Turn) -> Handled<'a> {
        Handled::Later(Box::pin(self.take(message, turn)))
    }
}

impl PromptHandler {
    pub(crate) const fn new(prompt: Arc<PromptDefinition>, model: Arc<dyn Model>) -> Self {
        Self { prompt, model }
    }

    async fn take(&mut self, message: Arc<Message>, turn: &mut Turn) -> Result<(), Failure> {
        if message.protocol.as_ref().is_some_and(|protocol| protocol.as_str() == APPROVAL) {
            return self.decided(&message, turn).await;
        }
        let conversation = message.conversation.as_ref().map(Label::as_str);
        let mut memory = Memory::load(turn, conversation);
        let text = question(&message);
        if only_tells(&message) {
            // What it is told, it remembers; there is nothing to answer.
            let told = format!("[{} from {}] {text}", message.performative, message.sender);
            self.add(turn, &mut memory, "user", &told, message.conversation.as_ref()).await;
            return memory.keep(turn, conversation, &self.prompt.memory);
        }
        let mut messages = memory.messages();
        messages.push(json!({ "role": "user", "content": text }));
        self.go(turn, &message, Run::new(messages), Some(&text)).await
    }

    /// A decision about a call of a paused run.
    async fn decided(&mut self, message: &Arc<Message>, turn: &mut Turn) -> Result<(), Failure> {
        let decision: Decision =
            message.content.read().ok_or_else(|| Failure::invalid("a decision has `id` and `approve`"))?;
        let key = format!("{PENDING}{}", decision.id);
        let paused = turn.get(&key).and_then(|bytes| serde_json::from_slice::<Paused>(&bytes).ok());
        let Some(Paused { approval, mut run, envelope }) = paused else {
            return Err(Failure::invalid(format!("nothing waits under `{}`", decision.id)));
        };
        let Some(asked) = envelope::read(&envelope, Bytes::new()) else {
            return Err(Failure::invalid("the paused run cannot be read"));
        };
        turn.remove(&key);
        turn.keep_now();
        let entry = json!({ "id": decision.id, "tool": approval.tool, "approved": decision.approve, "reason": decision.reason });
        turn.home.host.note(approval.conversation.as_ref(), "approval", entry);
        turn.send(Draft::reply(message, Performative::Confirm).json(&json!({ "id": decision.id })))?;
        run.decide(decision.approve, &decision.reason);
        self.go(turn, &asked, run, None).await
    }

    /// Works on a message until there is an answer, or the run pauses; `text` is what it asks, if it is new.
    async fn go(
        &mut self,
        turn: &mut Turn,
        message: &Message,
        mut run: Run,
        text: Option<&str>,
    ) -> Result<(), Failure> {
        let began = Instant::now();
        let teller = Teller::new(&turn.home.host, message);
        if let Some(teller) = &teller {
            teller.begin_step(run.steps);
        }
        let (prompt, model) = (&*self.prompt, &*self.model);
        let conversation = message.conversation.as_ref();
        let end = run.go(turn, Means { prompt, model, conversation, teller: teller.as_ref() }).await?;
        let outcome = match &end {
            End::Text(_) | End::Value(_) => "answered",
            End::Waits(_) => "waits",
            End::Failed(_) => "failed",
        };
        counter!(AGENTS_RUNS_TOTAL, "outcome" => outcome).increment(1);
        histogram!(AGENTS_RUN_DURATION_SECONDS).record(began.elapsed());
        let name = conversation.map(Label::as_str);
        let mut memory = Memory::load(turn, name);
        if let Some(text) = text {
            self.add(turn, &mut memory, "user", text, conversation).await;
        }
        let (performative, content) = match end {
            End::Waits(call) => {
                let told = self.pause(turn, message, run, call, &memory)?;
                if let (Some(teller), Some(told)) = (teller, told) {
                    teller.approval(&told);
                }
                return Ok(());
            }
            End::Text(text) => {
                self.add(turn, &mut memory, "assistant", &text, conversation).await;
                let content = Content::text(text);
                (performative_of(message.performative, &content), content)
            }
            End::Value(value) => {
                self.add(turn, &mut memory, "assistant", &value.to_string(), conversation).await;
                let content = Content::json(&value);
                (performative_of(message.performative, &content), content)
            }
            End::Failed(detail) => {
                turn.log(tracing::Level::WARN, &detail);
                let told = json!({ "detail": detail, "steps": run.steps, "tokens": run.tokens });
                (Performative::Failure, Content::json(&told))
            }
        };
        memory.keep(turn, name, &self.prompt.memory)?;
        turn.send(Draft::reply(message, performative).content(content)).map(|_| ())
    }

    /// Keeps a run until somebody has decided. Gives what it waits for, if it does.
    fn pause(
        &self,
        turn: &mut Turn,
        message: &Message,
        run: Run,
        call: Call,
        memory: &Memory,
    ) -> Result<Option<Value>, Failure> {
        if turn.keys(PENDING).len() >= PENDING_MAX {
            let detail = format!("{PENDING_MAX} runs wait for approvals already");
            return turn.send(Draft::reply(message, Performative::Refuse).text(detail)).map(|_| None);
        }
        let approval = PendingApproval {
            id: Uuid::now_v7().simple().to_string(),
            since: Timestamp::now(),
            conversation: message.conversation.clone(),
            tool: call.name,
            input: call.input,
        };
        let entry = json!({ "id": approval.id, "tool": approval.tool, "input": approval.input });
        turn.home.host.note(message.conversation.as_ref(), "approval", entry.clone());
        let key = format!("{PENDING}{}", approval.id);
        let paused = Paused { approval, run, envelope: envelope::write(message) };
        let bytes = serde_json::to_vec(&paused).unwrap_or_default();
        turn.set(&key, Bytes::from(bytes))?;
        turn.keep_now();
        memory.keep(turn, message.conversation.as_ref().map(Label::as_str), &self.prompt.memory)?;
        let told = json!({ "waits_for": "approval", "approval": entry });
        turn.send(Draft::reply(message, Performative::Agree).json(&told)).map(|_| Some(entry))
    }

    /// Remembers a message; what falls out of the window can be looked up and goes into the summary, as far as that is
    /// wanted.
    async fn add(
        &self,
        turn: &mut Turn,
        memory: &mut Memory,
        role: &str,
        text: &str,
        conversation: Option<&Label>,
    ) {
        let Some(conversation) = conversation else { return };
        let definition = &self.prompt.memory;
        let gone = memory.add(role, text, definition.window);
        if definition.history > 0
            && let Err(failure) = memory::set_aside(turn, conversation.as_str(), &gone, definition.history)
        {
            let text = format!("what was said before cannot be looked up any more: {failure}");
            turn.log(tracing::Level::WARN, &text);
        }
        if gone.is_empty() || !definition.summary {
            return;
        }
        let said: Vec<String> = gone.iter().map(|gone| format!("{}: {}", gone.role, gone.content)).collect();
        let content = format!(
            "Summary so far:\n{}\n\nWhat was said then:\n{}\n\nWrite the new summary in at most 200 words.",
            memory.summary,
            said.join("\n")
        );
        let messages = json!([
            { "role": "system", "content": "You summarise conversations. Keep names, numbers, decisions and open questions." },
            { "role": "user", "content": content },
        ]);
        let request =
            json!({ "model": self.prompt.model, "messages": messages, "max_completion_tokens": 400 });
        match self.model.ask(request, None).await {
            Ok(answer) => {
                if let Some(summary) = answer["choices"][0]["message"]["content"].as_str() {
                    summary.clone_into(&mut memory.summary);
                }
            }
            Err(problem) => {
                turn.log(tracing::Level::WARN, &format!("the conversation was not summarised: {problem}"));
            }
        }
    }
}
