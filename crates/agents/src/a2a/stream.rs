//! Tasks that are followed: server-sent events, each an answer of JSON-RPC.

use std::{collections::VecDeque, convert::Infallible};

use axum::response::{
    IntoResponse, Response,
    sse::{Event, KeepAlive, Sse},
};
use futures_util::{StreamExt, stream};
use paddock_jobs::{Job, JobEvent, JobState};
use paddock_platform::{
    events::{HEARTBEAT_INTERVAL, Place},
    identity::Caller,
};
use serde_json::{Value, json};
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::{
    Call, Dialect, INTERNAL_ERROR, RpcError, UNSUPPORTED_OPERATION, envelope, error,
    task::{context_of, status_of},
};
use crate::{
    message::{AgentName, Performative},
    service::Agents,
};

/// A task that is followed.
struct Following {
    agents: Agents,
    caller: Caller,
    name: AgentName,
    dialect: Dialect,
    /// The id of the request.
    id: Value,
    job: Job,
    events: Receiver<JobEvent>,
    ready: VecDeque<Value>,
    has_ended: bool,
    _place: Place,
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
        let place = self.place()?;
        // First subscribed, then begun: nothing falls in between.
        let events = self.agents.0.jobs.subscribe();
        let job = self.begin_task(sent).await?;
        self.follow(job, events, place).await
    }

    pub(super) async fn stream_task(&self) -> Result<Response, RpcError> {
        let place = self.place()?;
        let events = self.agents.0.jobs.subscribe();
        let job = self.named_task().await?;
        if job.state.is_final() && self.dialect == Dialect::V10 {
            return Err(error(UNSUPPORTED_OPERATION, "the task has ended: there is nothing to follow"));
        }
        self.follow(job, events, place).await
    }

    fn place(&self) -> Result<Place, RpcError> {
        self.agents.0.core.events.place().map_err(|problem| error(INTERNAL_ERROR, problem.detail))
    }

    async fn follow(&self, job: Job, events: Receiver<JobEvent>, place: Place) -> Result<Response, RpcError> {
        let mut task = self.view(&job, true).await;
        if self.dialect == Dialect::V10 {
            task = json!({ "task": task });
        }
        let following = Following {
            agents: self.agents.clone(),
            caller: self.caller.clone(),
            name: self.name.clone(),
            dialect: self.dialect,
            id: self.id.clone(),
            has_ended: job.state.is_final(),
            job,
            events,
            ready: VecDeque::from([task]),
            _place: place,
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
            if self.has_ended {
                return None;
            }
            match self.events.recv().await {
                Ok(event) if event.id != self.job.id || event.sequence <= self.job.changes => {}
                // A task that is gone, or a store that is: the client asks again and is told.
                Ok(_) | Err(RecvError::Lagged(_)) => {
                    let job = self.agents.0.jobs.get(self.caller.tenant(), self.job.id).await.ok()?;
                    self.look(job).await;
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// Says what is new of the task.
    async fn look(&mut self, job: Job) {
        let before = std::mem::replace(&mut self.job, job).state;
        let job = self.job.clone();
        if job.state == before || (job.state == JobState::Waiting && before == JobState::Running) {
            return;
        }
        let null = Value::Null;
        let call = Call {
            agents: &self.agents,
            caller: &self.caller,
            name: self.name.clone(),
            dialect: self.dialect,
            id: &null,
            params: &null,
        };
        if let Some(artifact) = call.artifact(&job).await {
            let event = json!({
                "taskId": job.id.to_string(), "contextId": context_of(&job), "artifact": artifact,
                "append": false, "lastChunk": true,
            });
            self.ready.push_back(self.tagged(event, "artifact-update", "artifactUpdate"));
        }
        let mut event = json!({
            "taskId": job.id.to_string(), "contextId": context_of(&job), "status": status_of(&job, self.dialect),
        });
        self.has_ended = job.state.is_final();
        if self.dialect == Dialect::V03 {
            event["final"] = json!(self.has_ended);
        }
        self.ready.push_back(self.tagged(event, "status-update", "statusUpdate"));
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
