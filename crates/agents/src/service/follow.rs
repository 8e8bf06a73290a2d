//! Runs that are followed: what their agents tell on the way, and how they end.

use std::{collections::VecDeque, future::pending, sync::Arc};

use paddock_jobs::{Accepted, Job, JobEvent, NewJob, RetryPolicy};
use paddock_platform::{events::Place, identity::Caller, problem::Problem};
use serde_json::Value;
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::{Agents, ExecuteInput, messages::Asker};
use crate::{
    live,
    message::{Label, Message},
    tools::EXECUTE,
};

/// A run that is followed.
pub(crate) struct Followed {
    agents: Agents,
    caller: Caller,
    /// As it was last looked at.
    pub(crate) job: Job,
    events: Receiver<JobEvent>,
    /// Where the agent tells what it does; none for a run that another caller began.
    asker: Option<Asker>,
    ready: VecDeque<News>,
    has_ended: bool,
    _place: Place,
}

/// What is new of a run.
pub(crate) enum News {
    /// What its agent tells: an object whose member `event` says what it is.
    Told(Value),
    /// The job changed; the last one says how it ended.
    Job(Box<Job>),
}

impl Agents {
    /// Runs an agent as a job.
    pub(crate) async fn begin(&self, caller: &Caller, input: &ExecuteInput) -> Result<Accepted, Problem> {
        let input = serde_json::to_value(input)
            .map_err(|error| Problem::internal("serializing a request", &error))?;
        // What an agent did, it may not do twice.
        let retry = RetryPolicy { attempts: 1, ..RetryPolicy::default() };
        let job = NewJob { retry: Some(retry), ..NewJob::tool(EXECUTE, input) };
        Ok(self.0.jobs.enqueue(caller, job).await?)
    }

    /// Runs an agent as a job, and follows it. The conversation of an input that names none begins with it.
    pub(crate) async fn begin_followed(
        &self,
        caller: &Caller,
        input: ExecuteInput,
    ) -> Result<Followed, Problem> {
        let place = self.0.core.events.place()?;
        let asker = self.hearer(caller)?;
        let conversation = input.conversation.unwrap_or_else(|| Label::fresh().as_str().to_owned());
        let hearer = Some(asker.id.as_str().to_owned());
        let input = ExecuteInput { conversation: Some(conversation), hearer, ..input };
        // First subscribed, then begun: nothing falls in between.
        let events = self.0.jobs.subscribe();
        let job = self.begin(caller, &input).await?.job();
        let job = job.ok_or_else(|| Problem::not_found("job", "of the run"))?;
        Ok(Followed::new(self, caller, job, events, Some(asker), place))
    }
}

impl Followed {
    /// `events` are those since before the job was looked at.
    pub(crate) fn new(
        agents: &Agents,
        caller: &Caller,
        job: Job,
        events: Receiver<JobEvent>,
        asker: Option<Asker>,
        place: Place,
    ) -> Self {
        let (agents, caller, has_ended) = (agents.clone(), caller.clone(), job.state.is_final());
        Self { agents, caller, job, events, asker, ready: VecDeque::new(), has_ended, _place: place }
    }

    /// What is new; `None` after the end.
    pub(crate) async fn next(&mut self) -> Option<News> {
        loop {
            if let Some(news) = self.ready.pop_front() {
                return Some(news);
            }
            if self.has_ended {
                return None;
            }
            let Self { asker, events, .. } = &mut *self;
            let event = tokio::select! {
                biased;
                told = hear(asker) => {
                    self.ready.extend(event_of(&told).map(News::Told));
                    continue;
                }
                event = events.recv() => event,
            };
            match event {
                Ok(event) if event.id != self.job.id || !event.is_news_after(self.job.changes) => {}
                // A job that is gone, or a store that is: the client asks again and is told.
                Ok(_) | Err(RecvError::Lagged(_)) => {
                    let job = self.agents.0.jobs.get(self.caller.tenant(), self.job.id).await.ok()?;
                    self.look(job);
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }

    fn look(&mut self, job: Job) {
        let before = std::mem::replace(&mut self.job, job).state;
        if self.job.state == before {
            return;
        }
        self.has_ended = self.job.state.is_final();
        if self.has_ended
            && let Some(asker) = &mut self.asker
        {
            // What was told before the end comes before it.
            while let Ok(told) = asker.answers.try_recv() {
                self.ready.extend(event_of(&told).map(News::Told));
            }
        }
        self.ready.push_back(News::Job(Box::new(self.job.clone())));
    }
}

async fn hear(asker: &mut Option<Asker>) -> Arc<Message> {
    if let Some(asker) = asker
        && let Some(told) = asker.answers.recv().await
    {
        return told;
    }
    pending().await
}

fn event_of(told: &Message) -> Option<Value> {
    told.content.read().filter(|_| live::is_told(told))
}
