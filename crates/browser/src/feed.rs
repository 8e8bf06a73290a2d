//! What happens in the fleet and on its pages, for those who watch: the stream behind `/browser/events`.
//!
//! Events are numbered and the last ones are kept, so that a watcher who lost its connection goes on where it was. Each
//! tenant also has a generation, which grows with every change of its instances and tabs: what is remembered of a list
//! holds for one generation alone.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use metrics::{Unit, counter, describe_counter};
use paddock_cdp::{Event, Session};
use paddock_platform::identity::Tenant;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::broadcast;
use uuid::Uuid;

use crate::{
    downloads::PageDownload,
    ids::{InstanceId, TabId},
    instance::InstanceStatus,
};

/// Events that happened, by `type`.
pub(crate) const BROWSER_EVENTS_TOTAL: &str = "browser_events_total";

/// Events that are kept for watchers who come back.
const RING_LEN_MAX: usize = 2048;
/// Bytes of them.
const RING_SIZE_MAX: usize = 2 << 20;
/// Events that a watcher may lag behind.
const LAG_MAX: usize = 1024;
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

/// One event.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Its number, one more than that of the event before, whosever that was.
    pub(crate) number: u64,
    pub(crate) tenant: Tenant,
    pub(crate) instance: InstanceId,
    pub(crate) tab: Option<TabId>,
    /// `instance`, `tabOpened`, `tabNavigated`, …
    pub(crate) kind: &'static str,
    /// The event as JSON.
    pub(crate) text: String,
}

/// What a watcher begins with.
#[derive(Debug)]
pub(crate) struct Watching {
    /// What it missed since it was last connected.
    pub(crate) missed: Vec<Arc<Entry>>,
    /// Whether older ones are gone for good.
    pub(crate) lost: bool,
    /// What comes.
    pub(crate) events: broadcast::Receiver<Arc<Entry>>,
}

/// Takes events in and hands them out. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Feed(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Tells the numbers of this run from those of another.
    run: String,
    events: broadcast::Sender<Arc<Entry>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    ring: VecDeque<Arc<Entry>>,
    ring_size: usize,
    number_last: u64,
    instances: HashMap<InstanceId, (Tenant, InstanceStatus)>,
    generations: HashMap<Tenant, u64>,
}

impl Default for Feed {
    fn default() -> Self {
        let run = Uuid::now_v7().simple().to_string();
        Self(Arc::new(Inner { run, events: broadcast::Sender::new(LAG_MAX), state: Mutex::default() }))
    }
}

impl Feed {
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

    /// Watches from now on, or from after the event of an id that the watcher saw last.
    pub(crate) fn watch(&self, last_id: Option<&str>) -> Watching {
        let state = self.state();
        let events = self.0.events.subscribe();
        let Some(last_id) = last_id else { return Watching { missed: Vec::new(), lost: false, events } };
        let number =
            last_id.strip_prefix(&self.0.run).and_then(|rest| rest.strip_prefix('-')?.parse::<u64>().ok());
        let kept_from = state.ring.front().map_or(state.number_last + 1, |entry| entry.number);
        let lost = number.is_none_or(|number| number + 1 < kept_from);
        let after = number.unwrap_or(state.number_last);
        let missed = state.ring.iter().filter(|entry| entry.number > after).cloned().collect();
        Watching { missed, lost, events }
    }

    /// The id of an event, as [`Feed::watch`] takes it.
    pub(crate) fn id_of(&self, number: u64) -> String {
        format!("{}-{number}", self.0.run)
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
        state.number_last += 1;
        let mut event = Map::new();
        event.insert("type".to_owned(), kind.into());
        event.insert("at".to_owned(), Timestamp::now().to_string().into());
        event.insert("instanceId".to_owned(), instance.as_str().into());
        if let Some(tab) = tab {
            event.insert("tabId".to_owned(), tab.as_str().into());
        }
        if let Value::Object(data) = data {
            event.extend(data.into_iter().filter(|(_, value)| !value.is_null()));
        }
        let entry = Arc::new(Entry {
            number: state.number_last,
            tenant,
            instance: instance.clone(),
            tab: tab.cloned(),
            kind,
            text: Value::Object(event).to_string(),
        });
        state.ring_size += entry.text.len();
        state.ring.push_back(Arc::clone(&entry));
        while state.ring.len() > RING_LEN_MAX || state.ring_size > RING_SIZE_MAX {
            let Some(oldest) = state.ring.pop_front() else { break };
            state.ring_size -= oldest.text.len();
        }
        // An error means that nobody watches.
        self.0.events.send(entry).ok();
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
    use super::*;

    fn feed_of(instance: &InstanceId) -> Feed {
        let feed = Feed::default();
        let tenant = Tenant::local();
        feed.state().instances.insert(instance.clone(), (tenant, InstanceStatus::Running));
        feed
    }

    #[test]
    fn a_watcher_who_comes_back_gets_what_it_missed() {
        let (instance, tab) = (InstanceId::new(), TabId::new());
        let feed = feed_of(&instance);
        for _ in 0..3 {
            feed.tab(&instance, &tab, "tabNavigated", json!({ "url": "http://a/" }));
        }
        let watching = feed.watch(Some(&feed.id_of(1)));
        assert_eq!(watching.missed.iter().map(|entry| entry.number).collect::<Vec<_>>(), [2, 3]);
        assert!(!watching.lost);
        assert!(watching.missed[0].text.contains("\"url\":\"http://a/\""));
        let stranger = feed.watch(Some("another-run-1"));
        assert!(stranger.lost && stranger.missed.is_empty());
        assert!(!feed.watch(None).lost);
    }

    #[test]
    fn what_is_kept_is_bounded_and_what_is_gone_is_told() {
        let (instance, tab) = (InstanceId::new(), TabId::new());
        let feed = feed_of(&instance);
        for _ in 0..RING_LEN_MAX + 10 {
            feed.tab(&instance, &tab, "tabCrashed", json!({}));
        }
        assert_eq!(feed.state().ring.len(), RING_LEN_MAX);
        assert!(feed.watch(Some(&feed.id_of(1))).lost);
        assert!(!feed.watch(Some(&feed.id_of(10))).lost);
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
