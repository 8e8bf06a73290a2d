//! A server that is killed again and again while durable messages are on their way.
//!
//! Callers send numbers to agents that keep books and pass them on. Whoever is not answered sends again under the same
//! id, as the documentation says. In the end every book has to be right to the message: none lost, none twice, and those
//! of one sender to one receiver in the order in which they were sent.
//!
//! `PADDOCK_KILLS` says how often, `PADDOCK_SEED` repeats a choice of messages and moments.

use std::{
    io::Write as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use futures_util::future::join_all;
use paddock_platform::store::{StoreUrl, testing::Fixture};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{
    client,
    components::{LEDGER, deploy, upload},
    get,
    support::{PATIENCE, TestServer},
};

const AGENTS: usize = 6;
const CALLERS: usize = 4;
/// The stream of the first caller; those below are agents'.
const CALLER_STREAM: usize = 8;
/// Small, so that mailboxes are full again and again.
const MAILBOX_MAX: u64 = 8;
const KILLS_DEFAULT: u32 = 10;
/// Messages that are acknowledged between two kills, at most.
const BETWEEN_MAX: u32 = 60;
/// How long a caller leaves a server alone that did not take its message.
const RETRY_WAIT: Duration = Duration::from_millis(5);

/// What a caller has sent.
#[derive(Default)]
struct Sent {
    to: [u32; AGENTS],
    /// What the books have to show for it, passing on included.
    sum: u64,
    count: u64,
}

/// What an agent wrote down.
#[derive(Debug)]
pub(super) struct Books {
    pub(super) came: [u32; 16],
    sent: [u32; 16],
    sum: u64,
    pub(super) count: u32,
    pub(super) disorder: u32,
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap())
}

/// A random UUID, by which a message is known when it is sent again.
fn id(random: &mut fastrand::Rng) -> String {
    let (a, b) = (random.u64(..), random.u64(..));
    let (high, middle, low) = (a >> 32, (a >> 16) & 0xffff, a & 0xfff);
    format!("{high:08x}-{middle:04x}-4{low:03x}-8{:03x}-{:012x}", b & 0xfff, b >> 16)
}

/// A number, with its place in a stream, that is not passed on.
pub(super) fn entry(value: u32, place: u32, stream: usize) -> [u8; 16] {
    let mut body = [0; 16];
    body[..4].copy_from_slice(&value.to_le_bytes());
    body[4..8].copy_from_slice(&place.to_le_bytes());
    body[8] = stream as u8;
    body
}

/// Sends numbers until it is told to stop, each until somebody has taken it.
async fn send(
    caller: usize,
    mut random: fastrand::Rng,
    base: watch::Receiver<String>,
    stop: Arc<AtomicBool>,
    taken: Arc<AtomicU32>,
) -> Sent {
    let mut sent = Sent::default();
    let client = client();
    while !stop.load(Ordering::Relaxed) {
        // From agents with lower numbers to those with higher ones: in a ring, full mailboxes would wait for each other.
        let mut route: Vec<u8> = (0..AGENTS as u8).filter(|_| random.u8(..3) == 0).collect();
        if route.is_empty() {
            route.push(random.u8(..AGENTS as u8));
        }
        let first = usize::from(route.remove(0));
        let value = random.u32(..1_000_000);
        let mut body = entry(value, sent.to[first], CALLER_STREAM + caller);
        body[9] = route.len() as u8;
        for (place, agent) in route.iter().rev().enumerate() {
            body[10 + place] = *agent;
        }
        let message = json!({
            "id": id(&mut random), "performative": "inform", "receivers": [format!("ledger-{first}")],
            "delivery": "durable", "content_base64": BASE64_STANDARD.encode(body),
        });
        let began = Instant::now();
        loop {
            let url = format!("{}/agents/messages", *base.borrow());
            match client.post(url).json(&message).send().await {
                Ok(response) if response.status() == 202 => break,
                // Full, or not there: the same message again.
                Ok(response) => assert!(
                    [429, 503].contains(&response.status().as_u16()),
                    "{:?}: {}",
                    response.status(),
                    response.text().await.unwrap_or_default()
                ),
                Err(_) => {}
            }
            assert!(began.elapsed() < PATIENCE, "nobody takes a message");
            tokio::time::sleep(RETRY_WAIT).await;
        }
        let turns = route.len() as u64 + 1;
        sent.to[first] += 1;
        sent.sum += u64::from(value) * turns;
        sent.count += turns;
        taken.fetch_add(1, Ordering::Relaxed);
    }
    sent
}

/// Looks at the mailboxes, over and over, for as long as the server lives.
async fn watch_bounds(base: watch::Receiver<String>, stop: Arc<AtomicBool>) -> u64 {
    let client = client();
    let mut most = 0;
    while !stop.load(Ordering::Relaxed) {
        let url = format!("{}/agents", *base.borrow());
        let page: Value = match client.get(url).send().await {
            Ok(response) => response.json().await.unwrap_or_default(),
            Err(_) => Value::Null,
        };
        for agent in page["items"].as_array().into_iter().flatten() {
            let waiting = agent["waiting"].as_u64().unwrap();
            assert!(waiting <= MAILBOX_MAX, "{agent}");
            most = most.max(waiting);
        }
        tokio::time::sleep(RETRY_WAIT).await;
    }
    most
}

/// An agent's books; none while its mailbox is full.
pub(super) async fn books(server: &TestServer, agent: usize) -> Option<Books> {
    let request = client().post(format!("{}/agents/ledger-{agent}/ask", server.base));
    let response = request.json(&json!({ "performative": "query-ref" })).send().await.unwrap();
    if response.status() == 429 {
        return None;
    }
    let answer: Value = response.json().await.unwrap();
    let text = answer["answer"]["content_base64"].as_str().unwrap_or_else(|| panic!("{answer}"));
    let bytes = BASE64_STANDARD.decode(text).unwrap();
    let at = |place: usize| u32::from_le_bytes(bytes[place..place + 4].try_into().unwrap());
    Some(Books {
        came: std::array::from_fn(|stream| at(4 * stream)),
        sent: std::array::from_fn(|agent| at(64 + 4 * agent)),
        sum: u64::from_le_bytes(bytes[128..136].try_into().unwrap()),
        count: at(136),
        disorder: at(140),
    })
}

/// Waits until so many messages are in the books and none waits any more, and gives the books. Those that never come are
/// found by whoever reads them.
async fn settled(server: &TestServer, expected: u64) -> Vec<Books> {
    let began = Instant::now();
    loop {
        let page = get(server, "/agents").await;
        let waiting: u64 =
            page["items"].as_array().unwrap().iter().map(|agent| agent["waiting"].as_u64().unwrap()).sum();
        let books = join_all((0..AGENTS).map(|agent| books(server, agent))).await;
        if let Some(books) = books.into_iter().collect::<Option<Vec<_>>>() {
            let count: u64 = books.iter().map(|book| u64::from(book.count)).sum();
            if (waiting == 0 && count >= expected) || began.elapsed() > PATIENCE {
                return books;
            }
        }
        tokio::time::sleep(RETRY_WAIT).await;
    }
}

/// Every message of every pair is in the books, once and in its turn.
async fn audit(server: &TestServer, sent: &[Sent]) {
    let expected: u64 = sent.iter().map(|sent| sent.count).sum();
    let all = settled(server, expected).await;
    for (agent, book) in all.iter().enumerate() {
        assert_eq!(book.disorder, 0, "ledger-{agent}: {book:?}");
        for (caller, sent) in sent.iter().enumerate() {
            assert_eq!(
                book.came[CALLER_STREAM + caller],
                sent.to[agent],
                "caller {caller} to ledger-{agent}"
            );
        }
        for (other, its) in all.iter().enumerate() {
            assert_eq!(book.came[other], its.sent[agent], "ledger-{other} to ledger-{agent}");
        }
    }
    let count: u64 = all.iter().map(|book| u64::from(book.count)).sum();
    let sum: u64 = all.iter().map(|book| book.sum).sum();
    assert_eq!((count, sum), (expected, sent.iter().map(|sent| sent.sum).sum()));
    let dead = get(server, "/agents/dead-letters").await;
    assert_eq!(dead["dead_letters"], json!([]), "what waits for room finds it");
}

async fn kill_over_and_over(data: &Path, flags: &[&str]) {
    let kills = u32::try_from(number("PADDOCK_KILLS", KILLS_DEFAULT.into())).unwrap();
    let seed = number("PADDOCK_SEED", fastrand::u64(..));
    let _ = writeln!(std::io::stdout(), "PADDOCK_KILLS={kills} PADDOCK_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut server = TestServer::start_on_with(data, flags);
    let digest = upload(&server, LEDGER).await;
    for agent in 0..AGENTS {
        // Nobody passes on to the first, so its callers are the only ones that it can refuse.
        let overflow = if agent == 0 { "reject" } else { "block" };
        let mailbox = json!({ "messages_max": MAILBOX_MAX, "overflow": overflow });
        deploy(&server, &format!("ledger-{agent}"), &digest, json!({ "mailbox": mailbox })).await;
    }
    let (moved, base) = watch::channel(server.base.clone());
    let (stop, taken) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let callers = (0..CALLERS)
        .map(|caller| send(caller, random.fork(), base.clone(), Arc::clone(&stop), Arc::clone(&taken)));
    let callers = join_all(callers.collect::<Vec<_>>());
    let bounds = watch_bounds(base.clone(), Arc::clone(&stop));
    let killing = async {
        for _ in 0..kills {
            let goal = taken.load(Ordering::Relaxed) + random.u32(1..=BETWEEN_MAX);
            let began = Instant::now();
            while taken.load(Ordering::Relaxed) < goal {
                assert!(began.elapsed() < PATIENCE, "messages are taken no more: {}", server.rest());
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            // Not only where an acknowledgement was given: anywhere between two.
            tokio::time::sleep(Duration::from_micros(random.u64(..20_000))).await;
            server.signal(Signal::KILL);
            server.wait();
            server = tokio::task::block_in_place(|| TestServer::start_on_with(data, flags));
            moved.send_replace(server.base.clone());
        }
        stop.store(true, Ordering::Relaxed);
        server
    };
    let (mut server, sent, most) = tokio::join!(killing, callers, bounds);
    audit(&server, &sent).await;
    // What was seen is what is on disk.
    server.signal(Signal::KILL);
    server.wait();
    let server = TestServer::start_on_with(data, flags);
    audit(&server, &sent).await;
    let messages: u64 = sent.iter().map(|sent| sent.count).sum();
    let _ = writeln!(std::io::stdout(), "{messages} messages, {most} waited at once in one mailbox at most");
}

const FLAGS: [&str; 2] = ["--set", "browser.warm=0"];

#[tokio::test(flavor = "multi_thread")]
async fn no_durable_message_is_lost_doubled_or_late_when_the_server_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    kill_over_and_over(&dir.path().join("data"), &FLAGS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_durable_message_is_lost_doubled_or_late_on_postgresql_when_the_server_is_killed() {
    let Some(fixture) = Fixture::postgres().await else { return };
    let StoreUrl::Postgres(url) = &fixture.options.url else { panic!("{:?}", fixture.options.url) };
    let store = format!("store.url={url}");
    let dir = tempfile::tempdir().unwrap();
    let flags = [&FLAGS[..], &["--set", store.as_str()][..]].concat();
    kill_over_and_over(&dir.path().join("data"), &flags).await;
}
