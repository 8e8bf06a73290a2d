use std::time::Duration;

use paddock_cdp::Payload;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn event(method: &str, params: &Value) -> Event {
    let method = EVENTS.iter().find(|known| **known == method).copied().unwrap_or("Unknown.event");
    Event { method, params: Payload::from_json(params) }
}

fn page() -> Page {
    let frame = json!({ "id": "F", "loaderId": "L0", "url": "about:blank" });
    Page::new(serde_json::from_value(frame).unwrap(), Instant::now())
}

fn request(id: &str, loader: &str, kind: &str, url: &str) -> Event {
    let params = json!({
        "requestId": id, "loaderId": loader, "type": kind, "frameId": "F", "request": { "url": url },
    });
    event("Network.requestWillBeSent", &params)
}

fn committed(loader: &str, url: &str) -> Event {
    let frame = json!({ "id": "F", "loaderId": loader, "url": url, "mimeType": "text/html" });
    event("Page.frameNavigated", &json!({ "frame": frame }))
}

#[test]
fn a_load_is_followed_from_request_to_load_event() {
    let (mut page, now) = (page(), Instant::now());
    page.begin(now);
    page.apply(&request("L1", "L1", "Document", "http://a/"), now);
    assert_eq!(page.quiet_since, None);
    let response = json!({ "url": "http://a/", "status": 404, "mimeType": "text/html",
        "headers": { "content-length": "12" } });
    page.apply(&event("Network.responseReceived", &json!({ "requestId": "L1", "response": response })), now);
    page.apply(&committed("L1", "http://a/"), now);
    let step =
        |name| event("Page.lifecycleEvent", &json!({ "frameId": "F", "loaderId": "L1", "name": name }));
    page.apply(&step("DOMContentLoaded"), now);
    assert_eq!(page.stage, Stage::Parsed);
    let later = now + Duration::from_secs(1);
    page.apply(&event("Network.loadingFinished", &json!({ "requestId": "L1" })), later);
    page.apply(&step("load"), later);
    assert_eq!((page.stage, page.quiet_since), (Stage::Loaded, Some(later)));
    let answer = page.answer("L1").unwrap();
    assert_eq!((answer.status, answer.length, answer.finished), (Some(404), Some(12), true));
}

#[test]
fn what_an_earlier_document_had_under_way_does_not_delay_the_next() {
    let (mut page, now) = (page(), Instant::now());
    page.apply(&request("1", "L0", "Fetch", "http://a/slow"), now);
    page.apply(&request("2", "L1", "Script", "http://b/s"), now);
    page.apply(&committed("L1", "http://b/"), now);
    assert_eq!(page.quiet_since, None);
    page.apply(&event("Network.loadingFailed", &json!({ "requestId": "2" })), now);
    assert!(page.quiet_since.is_some());
}

#[test]
fn requests_that_stay_open_by_design_do_not_count() {
    let (mut page, now) = (page(), Instant::now());
    page.apply(&request("1", "L0", "EventSource", "http://a/events"), now);
    page.apply(&request("2", "L0", "Image", "data:image/png,x"), now);
    assert!(page.quiet_since.is_some());
}

#[test]
fn a_promise_of_too_much_is_a_breach_before_the_bytes_come() {
    let (mut page, now) = (page(), Instant::now());
    page.begin(now);
    page.apply(&request("L1", "L1", "Document", "http://a/"), now);
    assert_eq!(page.breach(1000, 5), None);
    let response = json!({ "url": "http://a/", "status": 200, "headers": { "Content-Length": "1001" } });
    page.apply(&event("Network.responseReceived", &json!({ "requestId": "L1", "response": response })), now);
    assert_eq!(page.breach(1000, 5), Some(Breach::TooLarge { bytes: 1001 }));
}

#[test]
fn a_document_is_stopped_at_its_bound_also_after_it_has_loaded_and_closed_if_it_goes_on() {
    let (mut page, now) = (page(), Instant::now());
    let mib = 1_u64 << 20;
    let load = |page: &mut Page, mib: u64| {
        page.apply(
            &event("Network.dataReceived", &json!({ "requestId": "1", "dataLength": mib << 20 })),
            now,
        );
    };
    page.apply(&committed("L1", "http://a/"), now);
    page.stage = Stage::Loaded;
    load(&mut page, 5);
    assert_eq!(page.excess(5 * mib, now), None);
    load(&mut page, 1);
    assert_eq!(page.excess(5 * mib, now), Some(Excess::Stop));
    assert_eq!(page.excess(5 * mib, now), None);
    load(&mut page, 1);
    assert_eq!(page.excess(5 * mib, now), Some(Excess::Stop));
    assert_eq!(page.excess(5 * mib, now + Duration::from_secs(61)), None);
    load(&mut page, 4);
    assert_eq!(page.excess(5 * mib, now), Some(Excess::Close));
    page.apply(&committed("L2", "http://a/"), now);
    assert_eq!(page.excess(5 * mib, now), None);
}

#[test]
fn what_lost_events_said_is_taken_from_the_frame() {
    let (mut page, now) = (page(), Instant::now());
    let frame = json!({ "id": "F", "loaderId": "L7", "url": "http://a/" });
    page.resync(serde_json::from_value(frame).unwrap(), now);
    assert_eq!((page.documents_since("L7"), page.stage), (Some(0), Stage::Loaded));
}

proptest! {
    #[test]
    fn no_sequence_of_events_breaks_the_state(
        steps in prop::collection::vec((0..EVENTS.len(), 0_u8..4, 0_u8..3), 0..60),
    ) {
        let (mut page, now) = (page(), Instant::now());
        for (method, id, loader) in steps {
            let (id, loader) = (format!("L{id}"), format!("L{loader}"));
            let params = json!({
                "requestId": id, "loaderId": loader, "frameId": "F", "name": "load", "type": "Document",
                "request": { "url": "http://a/" }, "dataLength": 10, "url": "http://a/",
                "response": { "url": "http://a/", "status": 200 },
                "frame": { "id": "F", "loaderId": loader, "url": "http://a/" },
            });
            page.apply(&event(EVENTS[method], &params), now);
            prop_assert_eq!(page.quiet_since.is_some(), page.in_flight.is_empty());
            prop_assert!(page.answers.len() <= ANSWERS_MAX);
        }
    }
}
