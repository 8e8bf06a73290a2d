//! Watching what agents do.

use futures_util::{Stream, StreamExt, stream};
use paddock_platform::{identity::Caller, problem::Problem};
use serde::Serialize;
use tokio::sync::broadcast::error::RecvError;
use utoipa::ToSchema;

use super::{BrowserService, READ, Target, WRITE};
use crate::{
    activity::{AgentEvent, AgentView, Event, Filter},
    sessions::not_in_session,
};

/// Longest report of an agent, in bytes of JSON.
const REPORT_SIZE_MAX: usize = 16 << 10;

/// Events.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct EventList {
    /// The events, the last first.
    pub events: Vec<Event>,
    /// How many these are.
    pub count: usize,
}

/// An agent and what it did last.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AgentDetail {
    /// The agent.
    pub agent: AgentView,
    /// Its events, the last first.
    pub events: Vec<Event>,
}

/// A report was taken in.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Reported {
    /// `ok`.
    pub status: String,
}

impl BrowserService {
    /// The events of the caller's tenant that a filter admits. A session sees its own.
    pub(crate) fn activity(&self, caller: &Caller, filter: Filter) -> Result<EventList, Problem> {
        caller.require(READ)?;
        let session_id = caller.session().map(|session| session.id.clone()).or(filter.session_id);
        let filter = Filter { session_id, ..filter };
        let events = self.shared().activity.list(caller.tenant(), &filter);
        Ok(EventList { count: events.len(), events })
    }

    /// The agents of the caller's tenant that were seen.
    pub fn agents(&self, caller: &Caller) -> Result<Vec<AgentView>, Problem> {
        caller.require(READ)?;
        not_in_session(caller)?;
        Ok(self.shared().activity.agents(caller.tenant()))
    }

    /// One agent with its last events.
    pub fn agent(&self, caller: &Caller, id: &str) -> Result<AgentDetail, Problem> {
        caller.require(READ)?;
        not_in_session(caller)?;
        let activity = &self.shared().activity;
        let agent = activity.agent(caller.tenant(), id).ok_or_else(|| Problem::not_found("agent", id))?;
        let filter = Filter { agent_id: Some(id.to_owned()), ..Filter::default() };
        Ok(AgentDetail { agent, events: activity.list(caller.tenant(), &filter) })
    }

    /// Takes in what an agent reports of itself. A session reports for its own agent.
    pub fn report(&self, target: &Target, id: &str, report: AgentEvent) -> Result<Reported, Problem> {
        target.caller.require(WRITE)?;
        let size = serde_json::to_vec(&report).map_or(usize::MAX, |report| report.len());
        if size > REPORT_SIZE_MAX {
            return Err(Problem::invalid_field("body", format!("is over {REPORT_SIZE_MAX} bytes")));
        }
        if target.caller.session().is_some_and(|session| session.agent != id) {
            not_in_session(&target.caller)?;
        }
        if id.len() > super::target::NAME_SIZE_MAX {
            return Err(Problem::not_found("agent", "with so long a name"));
        }
        let event = Event::reported(id, &target.identity(), report);
        self.shared().activity.add(target.caller.tenant(), event, &self.options());
        Ok(Reported { status: "ok".to_owned() })
    }

    /// The events of the caller's tenant, or of one of its agents, as they come, until the server stops. One that
    /// reads too slowly misses some: their ids have a gap.
    pub(crate) fn watch(
        &self,
        caller: &Caller,
        agent: Option<String>,
    ) -> Result<impl Stream<Item = Event> + use<>, Problem> {
        caller.require(READ)?;
        not_in_session(caller)?;
        let (tenant, stopping) = (caller.tenant().clone(), self.fleet().0.tasks.stop_token());
        let receiver = self.shared().activity.watch();
        let events = stream::unfold(receiver, |mut receiver| async move {
            loop {
                match receiver.recv().await {
                    Ok(event) => return Some((event, receiver)),
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                }
            }
        });
        let is_wanted = move |event: &Event| agent.as_ref().is_none_or(|agent| *agent == event.agent_id);
        let events = events.filter_map(move |(of, event)| {
            let wanted = of == tenant && is_wanted(&event);
            std::future::ready(wanted.then_some(event))
        });
        Ok(events.take_until(async move { stopping.cancelled().await }))
    }

    /// How many requests of the caller's tenant were seen.
    pub(crate) fn requests_seen(&self, caller: &Caller) -> u64 {
        self.shared().activity.count(caller.tenant())
    }
}
