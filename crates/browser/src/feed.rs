//! What happens in the fleet and on its pages, for those who watch: it goes into the server's feed, which `/events` and
//! `/browser/events` show.
//!
//! Each tenant also has a generation, which grows with every change of its instances and tabs: what is remembered of a list
//! holds for one generation alone.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use metrics::{Unit, counter, describe_counter};
use paddock_cdp::{Event, Session};
use paddock_platform::{
    events::{Events, News, Topic},
    identity::Tenant,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    downloads::PageDownload,
    ids::{InstanceId, TabId},
    instance::InstanceStatus,
};

/// Events that happened, by `type`.
pub(crate) const BROWSER_EVENTS_TOTAL: &str = "browser_events_total";

/// Events of instances.
pub(crate) const INSTANCES: &str = "browser.instances";
/// Events of tabs and of the pages in them.
pub(crate) const TABS: &str = "browser.tabs";
const TOPICS: [Topic; 2] = [
    Topic { name: INSTANCES, about: "instances that start, stop, sleep and fail" },
    Topic { name: TABS, about: "tabs that open, navigate, crash and close; their dialogs and downloads" },
];
/// The member with the instance's id, and the one with the tab's.
pub(crate) const INSTANCE_ID: &str = "instanceId";
pub(crate) const TAB_ID: &str = "tabId";
/// Characters kept of what a page says.
const TEXT_LEN_MAX: usize = 2000;
/// A tab's messages that wait to be looked at.
const MESSAGES_MAX: usize = 256;

/// Events of a page that are looked at beside those of [`crate::page::EVENTS`].
const MESSAGES: &[&str] = &["Page.downloadWillBegin"];

/// Registers unit and help of the module's metrics.
pub(crate) fn describe() {
    describe_counter!(BROWSER_EVENTS_TOTAL, Unit::Count, "Events of instances and pages, by type");
}

/// Takes events in and publishes them. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Feed(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    events: Events,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    instances: HashMap<InstanceId, (Tenant, InstanceStatus)>,
    generations: HashMap<Tenant, u64>,
}

impl Feed {
    /// Publishes to the server's feed.
    pub(crate) fn new(events: Events) -> Self {
        events.declare(&TOPICS);
        Self(Arc::new(Inner { events, state: Mutex::default() }))
    }

    /// The server's feed.
    pub(crate) fn events(&self) -> &Events {
        &self.0.events
    }

    /// An instance is in another state than before.
    pub(crate) fn instance(
        &self,
        id: &InstanceId,
        tenant: &Tenant,
        status: InstanceStatus,
        error: Option<&str>,
    ) {
        let mut state = self.state();
        state.instances.insert(id.clone(), (tenant.clone(), status));
        self.publish(&mut state, id, None, "instance", json!({ "status": status, "error": error }));
        if status == InstanceStatus::Stopped {
            state.instances.remove(id);
        }
    }

    /// An instance of an earlier run: nothing happened to it, but something may.
    pub(crate) fn knows(&self, id: &InstanceId, tenant: &Tenant, status: InstanceStatus) {
        self.state().instances.insert(id.clone(), (tenant.clone(), status));
    }

    /// Something happened to a tab.
    pub(crate) fn tab(&self, instance: &InstanceId, tab: &TabId, kind: &'static str, data: Value) {
        self.publish(&mut self.state(), instance, Some(tab), kind, data);
    }

    /// What an event of a page means for those who watch. Called before anybody acts on the event: a list that is asked
    /// for afterwards is a new one.
    pub(crate) fn page_event(&self, instance: &InstanceId, tab: &TabId, event: &Event) {
        match event.method {
            "Page.lifecycleEvent" => self.changed(instance),
            "Page.frameNavigated" => {
                #[derive(Deserialize)]
                struct Navigated {
                    frame: Frame,
                }
                if let Ok(Navigated { frame }) = event.parse()
                    && frame.parent_id.is_none()
                {
                    let url = frame.unreachable_url.unwrap_or(frame.url);
                    self.tab(instance, tab, "tabNavigated", json!({ "url": cut(url) }));
                }
            }
            "Page.navigatedWithinDocument" => {
                if let Ok(Within { url }) = event.parse() {
                    self.tab(instance, tab, "tabNavigated", json!({ "url": cut(url), "sameDocument": true }));
                }
            }
            "Page.javascriptDialogOpening" => {
                if let Ok(Dialog { kind, message }) = event.parse() {
                    self.tab(instance, tab, "dialog", json!({ "dialog": kind, "message": cut(message) }));
                }
            }
            "Inspector.targetCrashed" => self.tab(instance, tab, "tabCrashed", json!({})),
            _ => {}
        }
    }

    /// Follows what a page says until it is closed.
    pub(crate) async fn follow(self, session: Session, instance: InstanceId, tab: TabId) {
        let mut messages = session.subscribe(MESSAGES, MESSAGES_MAX);
        // The task must not keep the session: it ends with the last handle.
        drop(session);
        while let Some(event) = messages.next().await {
            if let Ok(Download { guid, url, suggested_filename }) = event.parse() {
                let data = json!({
                    "downloadId": guid,
                    "url": cut(url),
                    "filename": cut(suggested_filename),
                });
                self.tab(&instance, &tab, "download", data);
            }
        }
    }

    /// A download of a page came to its end.
    pub(crate) fn download(&self, instance: &InstanceId, download: &PageDownload) {
        let data = json!({
            "downloadId": download.id,
            "filename": download.filename,
            "state": download.state,
            "size": download.size,
        });
        self.publish(&mut self.state(), instance, download.tab_id.as_ref(), "downloadEnded", data);
    }

    /// Something changed that no event tells of.
    pub(crate) fn changed(&self, instance: &InstanceId) {
        let mut state = self.state();
        if let Some((tenant, _)) = state.instances.get(instance).cloned() {
            *state.generations.entry(tenant).or_default() += 1;
        }
    }

    /// Grows with every change of the tenant's instances and tabs.
    pub(crate) fn generation(&self, tenant: &Tenant) -> u64 {
        self.state().generations.get(tenant).copied().unwrap_or(0)
    }

    fn publish(
        &self,
        state: &mut State,
        instance: &InstanceId,
        tab: Option<&TabId>,
        kind: &'static str,
        data: Value,
    ) {
        let Some((tenant, _)) = state.instances.get(instance).cloned() else { return };
        *state.generations.entry(tenant.clone()).or_default() += 1;
        counter!(BROWSER_EVENTS_TOTAL, "type" => kind).increment(1);
        let mut about = vec![(INSTANCE_ID, Arc::from(instance.as_str()))];
        about.extend(tab.map(|tab| (TAB_ID, Arc::from(tab.as_str()))));
        let topic = if tab.is_some() { TABS } else { INSTANCES };
        let data = if let Value::Object(data) = data { data } else { Map::new() };
        self.0.events.publish(News { tenant: Some(tenant), topic, kind, about, data });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn cut(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(TEXT_LEN_MAX) {
        text.truncate(end);
        text.push('…');
    }
    text
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Frame {
    parent_id: Option<String>,
    url: String,
    unreachable_url: Option<String>,
}

#[derive(Deserialize)]
struct Within {
    url: String,
}

#[derive(Deserialize)]
struct Dialog {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Download {
    #[serde(default)]
    guid: String,
    url: String,
    suggested_filename: String,
}

#[cfg(test)]
mod tests {
    use paddock_platform::{events::EventFilter, identity::Caller};

    use super::*;

    fn feed_of(instance: &InstanceId) -> Feed {
        let feed = Feed::new(Events::default());
        let tenant = Tenant::local();
        feed.state().instances.insert(instance.clone(), (tenant, InstanceStatus::Running));
        feed
    }

    #[tokio::test]
    async fn what_happens_to_a_tab_is_published_under_its_topic() {
        let (instance, tab) = (InstanceId::new(), TabId::new());
        let feed = feed_of(&instance);
        let filter = EventFilter::new(feed.events(), &Caller::local(), Some("browser")).unwrap();
        let mut watch = feed.events().watch(filter.about(TAB_ID, Some(tab.as_str())), None).unwrap();
        feed.tab(&instance, &tab, "tabNavigated", json!({ "url": "http://a/" }));
        let event = watch.events.recv().await.unwrap();
        assert!(event.topic == TABS && watch.filter.admits(&event));
        assert!(event.text.contains("\"url\":\"http://a/\""), "{}", event.text);
        feed.instance(&instance, &Tenant::local(), InstanceStatus::Stopped, None);
        let event = watch.events.recv().await.unwrap();
        assert!(event.topic == INSTANCES && !watch.filter.admits(&event));
    }

    #[test]
    fn a_change_begins_a_generation() {
        let (instance, tab) = (InstanceId::new(), TabId::new());
        let feed = feed_of(&instance);
        let before = feed.generation(&Tenant::local());
        feed.tab(&instance, &tab, "tabClosed", json!({}));
        assert_eq!(feed.generation(&Tenant::local()), before + 1);
        feed.changed(&instance);
        assert_eq!(feed.generation(&Tenant::local()), before + 2);
        assert_eq!(feed.generation(&"other".parse().unwrap()), 0);
    }
}
