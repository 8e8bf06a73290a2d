use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::*;
use crate::{identity::Caller, units::ByteSize};

const STATES: Topic = Topic { name: "jobs.states", about: "jobs" };
const TABS: Topic = Topic { name: "browser.tabs", about: "tabs" };

fn feed(options: &EventsOptions) -> Events {
    let events = Events::new(options, CancellationToken::new());
    events.declare(&[TABS]);
    events
}

fn tell(events: &Events, topic: &'static str, tenant: &str, number: usize) {
    let Value::Object(data) = json!({ "n": number, "nothing": null }) else { return };
    let about = vec![("tabId", Arc::from("tab"))];
    events.publish(News { tenant: Some(tenant.parse().unwrap()), topic, kind: "tabOpened", about, data });
}

fn watch(events: &Events, topics: Option<&str>, last_id: Option<&str>) -> Watch {
    let filter = EventFilter::new(events, &Caller::local(), topics).unwrap();
    events.watch(filter, last_id).unwrap()
}

fn numbers(events: &[Arc<Event>]) -> Vec<u64> {
    events.iter().map(|event| event.number).collect()
}

#[test]
fn a_watcher_who_comes_back_gets_what_it_missed_of_its_own() {
    let events = feed(&EventsOptions::default());
    for number in 0..3 {
        tell(&events, TABS.name, "local", number);
        tell(&events, TABS.name, "other", number);
    }
    let first = events.state().kept[0].clone();
    let back = watch(&events, None, Some(&events.id_of(&first)));
    assert_eq!(numbers(&back.missed), [3, 5]);
    assert!(!back.lost);
    assert!(back.missed[0].text.contains("\"tabId\":\"tab\"") && !back.missed[0].text.contains("nothing"));
    let stranger = watch(&events, None, Some("another-run-1"));
    assert!(stranger.lost && stranger.missed.is_empty());
    assert!(!watch(&events, None, None).lost);
}

#[test]
fn what_is_kept_is_bounded_and_what_is_gone_is_told() {
    let options = EventsOptions { kept_max: 10, ..EventsOptions::default() };
    let events = feed(&options);
    for number in 0..15 {
        tell(&events, TABS.name, "local", number);
    }
    assert_eq!(events.state().kept.len(), 10);
    let id = |number| format!("{}-{number}", events.0.run);
    assert!(watch(&events, None, Some(&id(4))).lost);
    assert!(!watch(&events, None, Some(&id(5))).lost);
    let small = feed(&EventsOptions { kept_size_max: ByteSize::bytes(1024), ..EventsOptions::default() });
    for number in 0..100 {
        tell(&small, TABS.name, "local", number);
    }
    assert!(small.state().kept_size <= 1024 && !small.state().kept.is_empty());
}

#[tokio::test]
async fn a_watcher_that_reads_too_slowly_is_told_how_much_it_missed() {
    let events = feed(&EventsOptions { lag_max: 4, ..EventsOptions::default() });
    let mut watch = watch(&events, None, None);
    for number in 0..10 {
        tell(&events, TABS.name, "local", number);
    }
    let missed = watch.events.recv().await.unwrap_err();
    assert_eq!(missed, broadcast::error::RecvError::Lagged(6));
    assert_eq!(watch.events.recv().await.unwrap().number, 7);
}

#[test]
fn no_more_watch_than_may() {
    let events = feed(&EventsOptions { streams_max: 1, ..EventsOptions::default() });
    let filter = EventFilter::new(&events, &Caller::local(), None).unwrap();
    let first = events.watch(filter.clone(), None).unwrap();
    assert_eq!(events.watch(filter.clone(), None).unwrap_err().kind.slug, "overloaded");
    drop(first);
    assert!(events.watch(filter, None).is_ok());
}

#[test]
fn a_topic_on_demand_starts_with_its_first_watcher_and_knows_what_it_did_not_see() {
    let events = feed(&EventsOptions::default());
    let starts = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&starts);
    events.declare_on_demand(STATES, Arc::new(move || _ = counter.fetch_add(1, Ordering::Relaxed)));
    tell(&events, TABS.name, "local", 0);
    let id = events.id_of(&events.state().kept[0].clone());
    assert!(!events.is_wanted(STATES.name));
    tell(&events, TABS.name, "local", 1);
    let first = watch(&events, Some("jobs"), Some(&id));
    assert!(first.lost, "nobody recorded the topic then");
    let second = watch(&events, None, None);
    assert_eq!(starts.load(Ordering::Relaxed), 1);
    assert!(!watch(&events, Some("browser"), Some(&id)).lost, "always recorded");
    tell(&events, STATES.name, "local", 2);
    let id = events.id_of(&events.state().kept.back().unwrap().clone());
    tell(&events, STATES.name, "local", 3);
    drop((first, second));
    assert!(events.is_wanted(STATES.name), "for a while");
    let back = watch(&events, Some("jobs"), Some(&id));
    assert!(!back.lost);
    assert_eq!(numbers(&back.missed), [5]);
}

#[test]
fn what_a_source_missed_everybody_is_told() {
    let events = feed(&EventsOptions::default());
    let watch = watch(&events, None, None);
    events.lagged(TABS.name, 7);
    let event = events.state().kept.back().unwrap().clone();
    assert!(watch.filter.admits(&event) && event.text.contains("\"missed\":7"), "{}", event.text);
}
