//! The last requests of a tab, bounded in number and bytes.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use paddock_cdp::{
    Event,
    protocol::network::{LoadingEnded, RequestDetails, ResponseDetails, ServedFromCache},
};
use tokio::sync::broadcast;

use super::{Entry, Filter, retain::Bodies};

/// Ended requests that wait for a slow reader of a stream.
const STREAM_MAX: usize = 256;

/// What the log may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) entries_max: usize,
    pub(crate) size_max: usize,
}

/// The log of one tab.
#[derive(Debug, Default)]
pub(crate) struct Log {
    state: Mutex<State>,
    ended: OnceLock<broadcast::Sender<Arc<Entry>>>,
    /// Bodies that were fetched in advance.
    pub(crate) bodies: Bodies,
}

#[derive(Debug, Default)]
struct State {
    entries: VecDeque<Entry>,
    /// Number of the first entry, counted from the beginning.
    first: u64,
    /// The last entry of each request.
    by_id: HashMap<String, u64>,
    size: usize,
}

impl Log {
    /// Takes an event in. What is not understood changes nothing.
    pub(crate) fn apply(&self, event: &Event, bounds: Bounds) {
        let params = &event.params;
        let mut state = self.lock();
        let ended = match event.method {
            "Network.requestWillBeSent" => {
                params.parse_borrowed().ok().and_then(|details| state.begin(details, bounds))
            }
            "Network.requestServedFromCache" => {
                let served: Option<ServedFromCache> = params.parse().ok();
                if let Some(entry) = served.and_then(|served| state.entry(&served.request_id)) {
                    entry.from_cache = true;
                }
                None
            }
            "Network.responseReceived" => {
                let details: Option<ResponseDetails<'_>> = params.parse_borrowed().ok();
                if let Some(details) = details {
                    state.answered(details, bounds);
                }
                None
            }
            "Network.loadingFinished" | "Network.loadingFailed" => {
                let details: Option<LoadingEnded> = params.parse().ok();
                details.and_then(|details| state.end(details, event.method == "Network.loadingFailed"))
            }
            _ => None,
        };
        drop(state);
        if let Some((entry, sender)) = ended.zip(self.ended.get()) {
            sender.send(Arc::new(entry)).ok();
        }
    }

    /// The requests that are meant, oldest first.
    pub(crate) fn list(&self, filter: &Filter) -> Vec<Entry> {
        let state = self.lock();
        let limit = filter.limit.filter(|limit| *limit > 0).unwrap_or(usize::MAX);
        let mut entries: Vec<Entry> =
            state.entries.iter().rev().filter(|entry| filter.matches(entry)).take(limit).cloned().collect();
        entries.reverse();
        entries
    }

    /// How many requests it holds.
    pub(crate) fn len(&self) -> usize {
        self.lock().entries.len()
    }

    /// One request; of a redirect, the last hop.
    pub(crate) fn get(&self, request_id: &str) -> Option<Entry> {
        self.lock().entry(request_id).cloned()
    }

    /// Forgets all requests.
    pub(crate) fn clear(&self) {
        let mut state = self.lock();
        state.first += state.entries.len() as u64;
        state.entries.clear();
        state.by_id.clear();
        state.size = 0;
        drop(state);
        self.bodies.clear();
    }

    /// Requests from now on, each when it has ended.
    pub(crate) fn follow(&self) -> broadcast::Receiver<Arc<Entry>> {
        self.ended.get_or_init(|| broadcast::Sender::new(STREAM_MAX)).subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn entry(&mut self, request_id: &str) -> Option<&mut Entry> {
        let number = *self.by_id.get(request_id)?;
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.entries.get_mut(index)
    }

    /// A new request. Returns the hop before, which this ends.
    fn begin(&mut self, mut details: RequestDetails<'_>, bounds: Bounds) -> Option<Entry> {
        let redirect = details.redirect_response.take();
        let timestamp = details.timestamp;
        let ended = redirect.and_then(|response| {
            let before = self.entry(&details.request_id)?;
            let footprint = before.footprint();
            before.redirected(response, timestamp);
            let (before, grown) = (before.clone(), before.footprint() - footprint);
            self.size += grown;
            Some(before)
        });
        let entry = Entry::new(details);
        self.size += entry.footprint();
        self.by_id.insert(entry.request_id.clone(), self.first + self.entries.len() as u64);
        self.entries.push_back(entry);
        self.shrink(bounds);
        ended
    }

    fn answered(&mut self, details: ResponseDetails<'_>, bounds: Bounds) {
        let Some(entry) = self.entry(&details.request_id) else { return };
        let footprint = entry.footprint();
        entry.answered(details);
        let now = entry.footprint();
        self.size = self.size - footprint + now;
        self.shrink(bounds);
    }

    fn end(&mut self, details: LoadingEnded, failed: bool) -> Option<Entry> {
        let entry = self.entry(&details.request_id)?;
        if failed {
            entry.failed(details);
        } else {
            entry.finished(&details);
        }
        Some(entry.clone())
    }

    fn shrink(&mut self, bounds: Bounds) {
        while self.entries.len() > bounds.entries_max || self.size > bounds.size_max {
            let Some(entry) = self.entries.pop_front() else { return };
            self.size = self.size.saturating_sub(entry.footprint());
            if self.by_id.get(&entry.request_id) == Some(&self.first) {
                self.by_id.remove(&entry.request_id);
            }
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use paddock_cdp::Payload;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const BOUNDS: Bounds = Bounds { entries_max: 3, size_max: 1 << 20 };

    fn event(method: &'static str, params: &serde_json::Value) -> Event {
        Event { method, params: Payload::from_json(params) }
    }

    fn request(id: &str, url: &str) -> Event {
        event(
            "Network.requestWillBeSent",
            &json!({
            "requestId": id, "timestamp": 1.0, "wallTime": 1_700_000_000.5, "type": "Fetch",
            "request": { "url": url, "method": "GET", "headers": { "Accept": "*/*" } } }),
        )
    }

    fn response(id: &str, status: u16) -> Event {
        event(
            "Network.responseReceived",
            &json!({
            "requestId": id, "timestamp": 1.2, "type": "Fetch",
            "response": { "status": status, "mimeType": "text/plain", "headers": { "X": "1" } } }),
        )
    }

    fn finished(id: &str) -> Event {
        event(
            "Network.loadingFinished",
            &json!({ "requestId": id, "timestamp": 1.5, "encodedDataLength": 120.0 }),
        )
    }

    #[test]
    fn a_request_is_followed_to_its_end() {
        let log = Log::default();
        let mut ended = log.follow();
        for event in [request("1", "http://a/x"), response("1", 201), finished("1")] {
            log.apply(&event, BOUNDS);
        }
        let entry = log.get("1").unwrap();
        assert_eq!((entry.status, entry.size, entry.duration), (201, 120, Some(500.0)));
        assert_eq!(entry.start_time.to_string(), "2023-11-14T22:13:20.5Z");
        assert!(entry.finished && !entry.failed);
        assert_eq!(ended.try_recv().unwrap().url, "http://a/x");
    }

    #[test]
    fn the_hops_of_a_redirect_are_entries_of_their_own() {
        let log = Log::default();
        log.apply(&request("1", "http://a/old"), BOUNDS);
        let next = event(
            "Network.requestWillBeSent",
            &json!({
            "requestId": "1", "timestamp": 1.1, "request": { "url": "http://a/new", "method": "GET" },
            "redirectResponse": { "status": 302, "headers": { "Location": "/new" } } }),
        );
        log.apply(&next, BOUNDS);
        let entries = log.list(&Filter::default());
        let seen: Vec<_> = entries.iter().map(|entry| (entry.url.as_str(), entry.status)).collect();
        assert_eq!(seen, [("http://a/old", 302), ("http://a/new", 0)]);
        assert_eq!(log.get("1").unwrap().url, "http://a/new");
    }

    #[test]
    fn a_filter_keeps_the_last_that_match() {
        let log = Log::default();
        for (id, url) in [("1", "http://a/1.png"), ("2", "http://a/2"), ("3", "http://a/3.png")] {
            log.apply(&request(id, url), BOUNDS);
        }
        let filter = Filter { filter: Some("*.png".into()), limit: Some(1), ..Filter::default() };
        assert_eq!(log.list(&filter)[0].request_id, "3");
        assert_eq!(log.list(&Filter { kind: Some("xhr".into()), ..Filter::default() }).len(), 3);
    }

    proptest! {
        #[test]
        fn the_log_stays_within_its_bounds(steps in prop::collection::vec((0_u8..4, 0_u8..6, 0_usize..5000), 0..80)) {
            let bounds = Bounds { entries_max: 3, size_max: 10_000 };
            let log = Log::default();
            for (kind, id, length) in steps {
                let id = id.to_string();
                log.apply(&match kind {
                    0 | 1 => request(&id, &format!("http://a/{}", "x".repeat(length))),
                    2 => response(&id, 200),
                    _ => finished(&id),
                }, bounds);
                let state = log.lock();
                prop_assert!(state.entries.len() <= 3 && state.size <= 10_000);
                prop_assert_eq!(state.size, state.entries.iter().map(Entry::footprint).sum::<usize>());
                prop_assert!(state.by_id.len() <= state.entries.len());
                for (id, number) in &state.by_id {
                    let index = usize::try_from(number - state.first).unwrap();
                    prop_assert_eq!(&state.entries[index].request_id, id);
                }
            }
        }
    }
}
