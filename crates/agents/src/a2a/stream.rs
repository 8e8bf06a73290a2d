//! Tasks that are followed: server-sent events, each an answer of JSON-RPC.
//!
//! What an agent's model says comes in pieces of the artifact as it says it. The last piece completes them, or replaces them
//! where they were not what the agent came to.

use std::{collections::VecDeque, convert::Infallible};

use axum::response::{
    IntoResponse, Response,
    sse::{Event, KeepAlive, Sse},
};
use futures_util::{StreamExt, stream};
use paddock_jobs::{Job, JobState};
use paddock_platform::{events::HEARTBEAT_INTERVAL, identity::Caller};
use serde_json::{Value, json};

use super::{
    Call, Dialect, INTERNAL_ERROR, RpcError, UNSUPPORTED_OPERATION, envelope, error,
    task::{artifact_of, context_of, status_of},
};
use crate::{
    message::{AgentName, Content, Performative},
    service::{Agents, Followed, News},
};

/// A task that is followed.
struct Following {
    agents: Agents,
    caller: Caller,
    name: AgentName,
    dialect: Dialect,
    /// The id of the request.
    id: Value,
    followed: Followed,
    /// The state that was told last.
    state: JobState,
    pieces: Pieces,
    ready: VecDeque<Value>,
}

/// The pieces of an artifact. The last one is kept back, so that there is something to say when it is the last.
#[derive(Debug, Default)]
struct Pieces {
    told: String,
    kept: String,
}

impl Pieces {
    /// One more; gives the one that is told now, and whether it goes on with those before.
    fn add(&mut self, text: &str) -> Option<(String, bool)> {
        let piece = std::mem::replace(&mut self.kept, text.to_owned());
        let goes_on = !self.told.is_empty();
        self.told.push_str(&piece);
        (!piece.is_empty()).then_some((piece, goes_on))
    }

    /// What is still to be told of a text so that all of it was; `None` if what was told is something else.
    fn rest<'a>(&self, text: &'a str) -> Option<&'a str> {
        let is_begun = !self.told.is_empty();
        text.strip_prefix(self.told.as_str()).filter(|rest| is_begun && !rest.is_empty())
    }
}

impl Call<'_> {
    pub(super) async fn stream_message(&self) -> Result<Response, RpcError> {
        let sent = self.sent()?;
        self.refuse_followup().await?;
        if sent.performative != Performative::Request {
            // One that is answered with a message: there is no task to follow.
            let message = self.ask(sent).await?;
            let event = if self.dialect == Dialect::V10 { json!({ "message": message }) } else { message };
            let event = Event::default().data(envelope(self.id, &event).to_string());
            return Ok(Sse::new(stream::iter([Ok::<_, Infallible>(event)])).into_response());
        }
        let followed = self.agents.begin_followed(self.caller, self.task_input(sent)?).await;
        self.follow(followed.map_err(|problem| error(INTERNAL_ERROR, problem.detail))?).await
    }

    pub(super) async fn stream_task(&self) -> Result<Response, RpcError> {
        let place = self.agents.0.core.events.place();
        let place = place.map_err(|problem| error(INTERNAL_ERROR, problem.detail))?;
        let events = self.agents.0.jobs.subscribe();
        let job = self.named_task().await?;
        if job.state.is_final() && self.dialect == Dialect::V10 {
            return Err(error(UNSUPPORTED_OPERATION, "the task has ended: there is nothing to follow"));
        }
        self.follow(Followed::new(self.agents, self.caller, job, events, None, place)).await
    }

    async fn follow(&self, followed: Followed) -> Result<Response, RpcError> {
        let mut task = self.view(&followed.job, true).await;
        if self.dialect == Dialect::V10 {
            task = json!({ "task": task });
        }
        let following = Following {
            agents: self.agents.clone(),
            caller: self.caller.clone(),
            name: self.name.clone(),
            dialect: self.dialect,
            id: self.id.clone(),
            state: followed.job.state,
            followed,
            pieces: Pieces::default(),
            ready: VecDeque::from([task]),
        };
        let stopping = self.agents.0.core.events.stopping();
        let events = stream::unfold(following, |mut following| async move {
            let event = following.next().await?;
            Some((Ok::<_, Infallible>(event), following))
        });
        let events = events.take_until(async move { stopping.cancelled().await });
        Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT_INTERVAL)).into_response())
    }
}

impl Following {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(result) = self.ready.pop_front() {
                return Some(Event::default().data(envelope(&self.id, &result).to_string()));
            }
            match self.followed.next().await? {
                News::Told(event) => self.hear(&event),
                News::Job(job) => self.look(&job).await,
            }
        }
    }

    /// The agent tells what it does.
    fn hear(&mut self, event: &Value) {
        match event["event"].as_str() {
            Some("text") => {
                let piece = self.pieces.add(event["text"].as_str().unwrap_or_default());
                if let Some((text, goes_on)) = piece {
                    let artifact = artifact_of(&self.followed.job, &Content::text(text), self.dialect);
                    self.tell_artifact(&artifact, goes_on, false);
                }
            }
            // What was said before a tool is called is not what the agent came to.
            Some("tool") => self.pieces = Pieces::default(),
            _ => {}
        }
    }

    async fn artifact(&self, job: &Job) -> Option<Value> {
        let null = Value::Null;
        let call = Call {
            agents: &self.agents,
            caller: &self.caller,
            name: self.name.clone(),
            dialect: self.dialect,
            id: &null,
            params: &null,
        };
        call.artifact(job).await
    }

    fn tell_artifact(&mut self, artifact: &Value, goes_on: bool, is_last: bool) {
        let job = &self.followed.job;
        let event = json!({
            "taskId": job.id.to_string(), "contextId": context_of(job), "artifact": artifact,
            "append": goes_on, "lastChunk": is_last,
        });
        let event = self.tagged(event, "artifact-update", "artifactUpdate");
        self.ready.push_back(event);
    }

    /// Says what is new of the task.
    async fn look(&mut self, job: &Job) {
        let before = std::mem::replace(&mut self.state, job.state);
        if job.state == JobState::Waiting && before == JobState::Running {
            return;
        }
        if let Some(artifact) = self.artifact(job).await {
            let text = artifact["parts"][0]["text"].as_str();
            match text.and_then(|text| self.pieces.rest(text)) {
                Some(rest) => {
                    let artifact = artifact_of(job, &Content::text(rest), self.dialect);
                    self.tell_artifact(&artifact, true, true);
                }
                None => self.tell_artifact(&artifact, false, true),
            }
        }
        let mut event = json!({
            "taskId": job.id.to_string(), "contextId": context_of(job), "status": status_of(job, self.dialect),
        });
        if self.dialect == Dialect::V03 {
            event["final"] = json!(job.state.is_final());
        }
        let event = self.tagged(event, "status-update", "statusUpdate");
        self.ready.push_back(event);
    }

    /// What tells one kind of event from another: a member of it in 0.3, and a member around it in 1.0.
    fn tagged(&self, mut event: Value, kind: &str, member: &str) -> Value {
        match self.dialect {
            Dialect::V03 => {
                event["kind"] = json!(kind);
                event
            }
            Dialect::V10 => json!({ member: event }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_make_the_text_or_it_is_told_whole() {
        let mut pieces = Pieces::default();
        assert_eq!(pieces.rest("It rains"), None);
        assert_eq!(pieces.add("It "), None);
        assert_eq!(pieces.rest("It "), None, "nothing was told yet");
        assert_eq!(pieces.add("ra"), Some(("It ".to_owned(), false)));
        assert_eq!(pieces.add("ins"), Some(("ra".to_owned(), true)));
        assert_eq!(pieces.rest("It rains"), Some("ins"));
        assert_eq!(pieces.rest("It ra"), None, "the last piece says something");
        assert_eq!(pieces.rest("The sun shines"), None);
    }
}
