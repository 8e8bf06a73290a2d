//! The feed: takes events in, keeps the last ones, hands them out.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use metrics::{counter, gauge};
use serde_json::{Map, Value};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    EventFilter, EventsOptions,
    metrics::{EVENTS_PUBLISHED_TOTAL, EVENTS_STREAMS},
};
use crate::{
    identity::Tenant,
    problem::{OVERLOADED, Problem},
};

/// How long a topic on demand goes on after its last watcher left: time to come back and miss nothing.
const WANTED_FOR: Duration = Duration::from_mins(1);
/// The type of the event that says that some were missed.
pub(super) const LAGGED: &str = "lagged";
/// When to come back to a server with as many watchers as may be.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Something that events are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Topic {
    /// `area.things`. Reading the area is what a watcher needs.
    pub name: &'static str,
    /// What its events tell.
    pub about: &'static str,
}

/// An event before it has a number.
#[derive(Clone, Debug)]
pub struct News {
    /// Whose; `None` for what everybody is to know.
    pub tenant: Option<Tenant>,
    /// One of the declared topics.
    pub topic: &'static str,
    /// What happened: `tabOpened`, `state`.
    pub kind: &'static str,
    /// What it is about, by the names of its members: areas filter by them.
    pub about: Vec<(&'static str, Arc<str>)>,
    /// The other members.
    pub data: Map<String, Value>,
}

/// One event.
#[derive(Debug)]
pub struct Event {
    /// Its number, one more than that of the event before, whosever that was.
    pub number: u64,
    /// Whose it is; `None` for what everybody is to know.
    pub tenant: Option<Tenant>,
    /// Its topic.
    pub topic: &'static str,
    /// What happened.
    pub kind: &'static str,
    /// What it is about.
    pub about: Vec<(&'static str, Arc<str>)>,
    /// The event as a JSON object, without its id.
    pub text: String,
}

/// What a watcher begins with. As long as it is there the watcher counts as one.
#[derive(Debug)]
pub struct Watch {
    /// What it missed since it was last connected, if it said when that was.
    pub missed: Vec<Arc<Event>>,
    /// Whether older ones are gone for good.
    pub lost: bool,
    /// What comes, of everybody: see [`EventFilter::admits`].
    pub events: broadcast::Receiver<Arc<Event>>,
    /// Which of them it wants.
    pub filter: EventFilter,
    _place: Place,
}

/// Takes events in and hands them out. Cheap to clone; see the [module](super) for the model.
#[derive(Clone, Debug)]
pub struct Events(Arc<Inner>);

struct Inner {
    /// Tells the numbers of this run from those of another.
    run: String,
    kept_max: usize,
    kept_size_max: u64,
    places: Arc<Semaphore>,
    events: broadcast::Sender<Arc<Event>>,
    state: Mutex<State>,
    stopping: CancellationToken,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").field("run", &self.run).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct State {
    kept: VecDeque<Arc<Event>>,
    kept_size: u64,
    number_last: u64,
    topics: BTreeMap<&'static str, TopicState>,
}

struct TopicState {
    about: &'static str,
    /// Starts the source of a topic on demand.
    start: Option<Arc<dyn Fn() + Send + Sync>>,
    watchers: usize,
    left_at: Option<Instant>,
    /// Whether the source of a topic on demand runs, and since which number.
    runs_since: Option<u64>,
}

impl Default for Events {
    fn default() -> Self {
        Self::new(&EventsOptions::default(), CancellationToken::new())
    }
}

impl Events {
    /// A feed; its streams end when `stopping` is cancelled.
    pub fn new(options: &EventsOptions, stopping: CancellationToken) -> Self {
        super::metrics::describe();
        Self(Arc::new(Inner {
            run: Uuid::now_v7().simple().to_string(),
            kept_max: options.kept_max,
            kept_size_max: options.kept_size_max.get(),
            places: Arc::new(Semaphore::new(options.streams_max.min(Semaphore::MAX_PERMITS))),
            events: broadcast::Sender::new(options.lag_max.max(1)),
            state: Mutex::default(),
            stopping,
        }))
    }

    /// Declares topics whose events are always published.
    pub fn declare(&self, topics: &[Topic]) {
        for topic in topics {
            self.add(*topic, None);
        }
    }

    /// Declares a topic whose source is started by its first watcher. `start` is called before the watcher is let in, so
    /// that it misses nothing; it must not call the feed.
    pub fn declare_on_demand(&self, topic: Topic, start: Arc<dyn Fn() + Send + Sync>) {
        self.add(topic, Some(start));
    }

    fn add(&self, topic: Topic, start: Option<Arc<dyn Fn() + Send + Sync>>) {
        let state = TopicState { about: topic.about, start, watchers: 0, left_at: None, runs_since: None };
        self.state().topics.insert(topic.name, state);
    }

    /// The topics that there are.
    pub fn topics(&self) -> Vec<Topic> {
        let state = self.state();
        state.topics.iter().map(|(name, topic)| Topic { name, about: topic.about }).collect()
    }

    /// Whether the source of a topic on demand is to go on. Once this says no, the source counts as stopped.
    pub fn is_wanted(&self, topic: &str) -> bool {
        let mut state = self.state();
        let Some(topic) = state.topics.get_mut(topic) else { return false };
        let wanted = topic.watchers > 0 || topic.left_at.is_some_and(|left| left.elapsed() < WANTED_FOR);
        if !wanted {
            topic.runs_since = None;
        }
        wanted
    }

    /// Publishes an event.
    pub fn publish(&self, news: News) {
        let News { tenant, topic, kind, about, data } = news;
        counter!(EVENTS_PUBLISHED_TOTAL, "topic" => topic).increment(1);
        let mut members = Map::new();
        members.insert("type".to_owned(), kind.into());
        members.insert("topic".to_owned(), topic.into());
        members.insert("at".to_owned(), Timestamp::now().to_string().into());
        members.extend(about.iter().map(|(name, value)| ((*name).to_owned(), value.as_ref().into())));
        members.extend(data.into_iter().filter(|(_, value)| !value.is_null()));
        let text = Value::Object(members).to_string();
        let mut state = self.state();
        state.number_last += 1;
        let event = Arc::new(Event { number: state.number_last, tenant, topic, kind, about, text });
        state.kept_size += event.text.len() as u64;
        state.kept.push_back(Arc::clone(&event));
        while state.kept.len() > self.0.kept_max || state.kept_size > self.0.kept_size_max {
            let Some(oldest) = state.kept.pop_front() else { break };
            state.kept_size -= oldest.text.len() as u64;
        }
        // Within the lock, so that watchers see the numbers in order. An error means that nobody watches.
        self.0.events.send(event).ok();
    }

    /// Watches from now on, or from after the event of an id that the watcher saw last.
    pub fn watch(&self, filter: EventFilter, last_id: Option<&str>) -> Result<Watch, Problem> {
        let mut place = self.place()?;
        let mut state = self.state();
        let events = self.0.events.subscribe();
        let State { kept, number_last, topics, .. } = &mut *state;
        let mut whole_since = kept.front().map_or(*number_last, |oldest| oldest.number - 1);
        for name in filter.topics() {
            let Some(topic) = topics.get_mut(name) else { continue };
            topic.watchers += 1;
            if let Some(start) = &topic.start
                && topic.runs_since.is_none()
            {
                start();
                // A number that nobody has seen: whoever comes with an earlier one has missed what was not recorded.
                *number_last += 1;
                topic.runs_since = Some(*number_last);
            }
            whole_since = whole_since.max(topic.runs_since.unwrap_or(0));
        }
        let number_last = *number_last;
        filter.topics().clone_into(&mut place.topics);
        let (missed, lost) = match last_id {
            None => (Vec::new(), false),
            Some(last_id) => {
                let number = self.number_of(last_id);
                let after = number.unwrap_or(number_last);
                let is_missed = |event: &&Arc<Event>| event.number > after && filter.admits(event);
                let missed = kept.iter().filter(is_missed).cloned().collect();
                (missed, number.is_none_or(|number| number < whole_since))
            }
        };
        Ok(Watch { missed, lost, events, filter, _place: place })
    }

    /// A place for a stream that an area makes itself, such as that of one job; as long as it is there it counts as one.
    pub fn place(&self) -> Result<Place, Problem> {
        let permit = Arc::clone(&self.0.places).try_acquire_owned().map_err(|_| {
            let detail = "as many event streams are open as may be (`[events] streams_max`)";
            Problem::new(OVERLOADED, detail).retry_after(RETRY_AFTER)
        })?;
        gauge!(EVENTS_STREAMS).increment(1.0);
        Ok(Place { events: self.clone(), topics: Vec::new(), _permit: permit })
    }

    /// Tells all watchers of a topic that its source missed some.
    pub fn lagged(&self, topic: &'static str, missed: u64) {
        let data = [("missed".to_owned(), missed.into())].into_iter().collect();
        self.publish(News { tenant: None, topic, kind: LAGGED, about: Vec::new(), data });
    }

    /// The id of an event, as [`Events::watch`] takes it.
    pub fn id_of(&self, event: &Event) -> String {
        format!("{}-{}", self.0.run, event.number)
    }

    fn number_of(&self, id: &str) -> Option<u64> {
        id.strip_prefix(&self.0.run)?.strip_prefix('-')?.parse().ok()
    }

    /// Cancelled when the server shuts down: streams end then.
    pub fn stopping(&self) -> CancellationToken {
        self.0.stopping.clone()
    }

    fn leave(&self, topics: &[&'static str]) {
        let mut state = self.state();
        for name in topics {
            let Some(topic) = state.topics.get_mut(name) else { continue };
            topic.watchers = topic.watchers.saturating_sub(1);
            topic.left_at = Some(Instant::now());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A watcher's place among those that may be.
pub struct Place {
    events: Events,
    topics: Vec<&'static str>,
    _permit: OwnedSemaphorePermit,
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Place")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        gauge!(EVENTS_STREAMS).decrement(1.0);
        self.events.leave(&self.topics);
    }
}

#[cfg(test)]
#[path = "feed_tests.rs"]
mod tests;
