//! Watching what happens: events of the caller's instances and pages, as they come.

use axum::response::Response;
use paddock_platform::{
    events::{EventFilter, Naming},
    identity::Caller,
    problem::Problem,
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{BrowserService, READ};
use crate::{
    feed::{INSTANCE_ID, TAB_ID},
    ids::{InstanceId, TabId},
};

/// Which events to show.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// Of one instance alone.
    #[serde(default)]
    pub instance_id: Option<InstanceId>,
    /// Of one tab alone.
    #[serde(default)]
    pub tab_id: Option<TabId>,
    /// Of these types alone, separated by commas: `instance`, `tabOpened`, `tabNavigated`, `tabCrashed`, `tabClosed`,
    /// `dialog`, `download`.
    #[serde(default)]
    pub types: Option<String>,
    /// As the header `Last-Event-ID`, for clients that cannot set it.
    #[serde(default)]
    pub last_event_id: Option<String>,
}

impl BrowserService {
    /// The events, from now on or from after the one that was seen last.
    pub(crate) fn events(
        &self,
        caller: &Caller,
        query: &EventsQuery,
        last_id: Option<&str>,
    ) -> Result<Response, Problem> {
        caller.require(READ)?;
        if let Some(id) = &query.instance_id {
            self.own(caller, id)?;
        }
        let events = self.fleet.0.feed.events();
        let filter = EventFilter::new(events, caller, Some("browser"))?
            .of_types(query.types.as_deref())
            .about(INSTANCE_ID, query.instance_id.as_ref().map(InstanceId::as_str))
            .about(TAB_ID, query.tab_id.as_ref().map(TabId::as_str));
        let watch = events.watch(filter, last_id.or(query.last_event_id.as_deref()))?;
        Ok(events.stream(watch, Naming::Kind))
    }
}
