//! New versions of an agent that is at work.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    call, client,
    components::{LEDGER, deploy, upload},
    get,
    kills::{books, entry},
    post, start,
    support::{PATIENCE, TestServer},
};

const AGENT: &str = "ledger-0";
/// Those who send, the even ones in memory, the others durably.
const SENDERS: usize = 4;
/// Each brings four versions.
const ROUNDS: u32 = 6;
/// Messages between two changes, at least.
const BETWEEN: u32 = 20;
const LOOK: Duration = Duration::from_millis(1);

/// Sends numbers until it is told to stop, and gives how many.
async fn send(server: &TestServer, stream: usize, stop: &AtomicBool, taken: &AtomicU32) -> u32 {
    let (client, url) = (client(), format!("{}/agents/messages", server.base));
    let delivery = if stream.is_multiple_of(2) { "memory" } else { "durable" };
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) {
        let message = json!({
            "performative": "inform", "receivers": [AGENT], "delivery": delivery,
            "content_base64": BASE64_STANDARD.encode(entry(1, sent, stream)),
        });
        let response = client.post(&url).json(&message).send().await.unwrap();
        assert_eq!(response.status(), 202, "{}", response.text().await.unwrap_or_default());
        sent += 1;
        taken.fetch_add(1, Ordering::Relaxed);
    }
    sent
}

/// Waits until more messages were taken.
async fn more(taken: &AtomicU32) {
    let (goal, began) = (taken.load(Ordering::Relaxed) + BETWEEN, Instant::now());
    while taken.load(Ordering::Relaxed) < goal {
        assert!(began.elapsed() < PATIENCE, "messages are taken no more");
        tokio::time::sleep(LOOK).await;
    }
}

/// Deploys, splits, promotes and rolls back, with messages in between.
async fn change(server: &TestServer, digest: &str, taken: &AtomicU32) {
    let path = |end: &str| format!("/agents/{AGENT}/{end}");
    let beside = async |about: String| {
        let definition = json!({ "name": AGENT, "description": about, "wasm": { "module": digest } });
        post(server, "/agents?weight=0.5", definition).await["version"].clone()
    };
    for round in 0..ROUNDS {
        deploy(server, AGENT, digest, json!({ "description": format!("new {round}") })).await;
        more(taken).await;
        let version = beside(format!("beside {round}")).await;
        more(taken).await;
        let split = json!({ "version": version, "weight": 0.2 });
        call(server, Method::PUT, &path("split"), split).await;
        more(taken).await;
        assert_eq!(post(server, &path("promote"), json!({})).await["version"], version);
        more(taken).await;
        beside(format!("in vain {round}")).await;
        more(taken).await;
        call(server, Method::DELETE, &path("split"), Value::Null).await;
        post(server, &path("rollback"), json!({ "version": 1 })).await;
        more(taken).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_message_is_lost_doubled_or_late_while_versions_come_and_go() {
    let server = start(&[]);
    let digest = upload(&server, LEDGER).await;
    deploy(&server, AGENT, &digest, json!({ "description": "first" })).await;
    let (stop, taken) = (AtomicBool::new(false), AtomicU32::new(0));
    let senders = join_all((0..SENDERS).map(|stream| send(&server, stream, &stop, &taken)));
    let changes = async {
        change(&server, &digest, &taken).await;
        stop.store(true, Ordering::Relaxed);
    };
    let (sent, ()) = tokio::join!(senders, changes);

    let expected: u32 = sent.iter().sum();
    let began = Instant::now();
    let book = loop {
        let book = books(&server, 0).await;
        if let Some(book) = book.filter(|book| book.count >= expected || began.elapsed() > PATIENCE) {
            break book;
        }
        tokio::time::sleep(LOOK).await;
    };
    assert_eq!((&book.came[..SENDERS], book.count, book.disorder), (&sent[..], expected, 0), "{book:?}");
    assert_eq!(get(&server, "/agents/dead-letters").await["dead_letters"], json!([]));
    let shown = get(&server, &format!("/agents/{AGENT}")).await;
    assert!(shown["agent"]["version"].as_u64().unwrap() > u64::from(3 * ROUNDS), "{shown}");
    assert_eq!((&shown["agent"]["failed"], &shown["agent"]["restarts"]), (&json!(0), &json!(0)));
}
