//! Messages at their times, whatever became of those before: how long each was under way.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use paddock_agents::{
    Turn,
    message::{Address, AgentName, Content, Draft, MediaType, Message, Performative},
    wasm::WasmOptions,
};
use paddock_platform::store::testing::Fixture;

use crate::{
    component::{Guests, Kind},
    figures::{Durations, Figures, figures, lasting, memory, unmeasured},
    server::{PAYLOAD, Server, body, names, options, stamp, stamped},
};

/// What is offered.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) agents: usize,
    pub(crate) rate: usize,
    pub(crate) size: usize,
}

/// Agents to which components answer.
const SINKS: usize = 16;
/// Of as many messages as this a second it is noted how long each was under way; of more, every so-manieth.
const NOTED_PER_S: usize = 8_192;
/// The first messages of a load are not judged.
const WARM_UP: Duration = Duration::from_secs(1);
/// Messages that are not there so long after the last one that came are lost.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// How long one message was under way.
#[derive(Clone, Copy)]
struct Wait {
    due_s: f64,
    ms: f64,
}

/// What came.
struct Seen {
    began: Instant,
    every: u64,
    count: AtomicU64,
    failures: AtomicU64,
    waits: Mutex<Vec<Wait>>,
}

impl Seen {
    fn note(&self, message: &Message) {
        if message.performative == Performative::Failure {
            self.failures.fetch_add(1, Ordering::Relaxed);
            return;
        }
        if !self.count.fetch_add(1, Ordering::Relaxed).is_multiple_of(self.every) {
            return;
        }
        let now = self.began.elapsed().as_secs_f64();
        let due_s = stamped(&message.content.body) as f64 / 1e9;
        let wait = Wait { due_s, ms: (now - due_s).max(0.0) * 1e3 };
        self.waits.lock().unwrap().push(wait);
    }

    /// Those that were due in between.
    fn durations(&self, from_s: f64, to_s: f64) -> Vec<f64> {
        let waits = self.waits.lock().unwrap();
        waits.iter().filter(|wait| (from_s..to_s).contains(&wait.due_s)).map(|wait| wait.ms).collect()
    }
}

/// Agents that handle messages at once, or components that answer to agents that do.
struct Field {
    server: Server,
    _fixture: Fixture,
    names: Vec<AgentName>,
    sinks: Vec<Address>,
    seen: Arc<Seen>,
    template: Vec<u8>,
}

/// What was sent.
#[derive(Clone, Copy, Default)]
struct Sent {
    tried: u64,
    refused: u64,
}

impl Field {
    /// `expected` is how many durations there will be: room for them is taken now, so that it is not seen as growth.
    async fn open(kind: &str, load: Load, every: u64, expected: usize) -> Option<Self> {
        let fixture = Fixture::sqlite();
        let server = Server::start(&fixture, options()).await;
        let mut waits = vec![Wait { due_s: -1.0, ms: -1.0 }; expected];
        waits.clear();
        let seen = Arc::new(Seen {
            began: Instant::now(),
            every,
            count: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            waits: Mutex::new(waits),
        });
        let names = names("agent", load.agents);
        let mut field =
            Self { server, _fixture: fixture, names, sinks: Vec::new(), seen, template: body(load.size) };
        if kind == "native" {
            field.names.iter().for_each(|name| field.observer(name));
        } else {
            let guests = Guests::prepare(Kind::of(kind), WasmOptions::default(), &field.server.tasks).await?;
            field.names.iter().for_each(|name| guests.register(&field.server, name));
            let sinks = self::names("sink", SINKS);
            for name in &sinks {
                field.observer(name);
            }
            field.sinks = sinks.into_iter().map(Address::from).collect();
        }
        Some(field)
    }

    /// An agent that notes what comes.
    fn observer(&self, name: &AgentName) {
        let seen = Arc::clone(&self.seen);
        self.server.native(name, move || {
            let seen = Arc::clone(&seen);
            move |message: &Message, _: &mut Turn| {
                seen.note(message);
                Ok(())
            }
        });
    }

    /// Sends so many a second for so long. Gives what was sent, and when that was, in seconds.
    async fn pace(&self, rate: usize, time: Duration) -> (Sent, f64, f64) {
        let (start, rate) = (Instant::now(), rate as f64);
        let from = start.duration_since(self.seen.began);
        let all = (rate * time.as_secs_f64()) as u64;
        let mut sent = Sent::default();
        while sent.tried < all {
            let due = ((start.elapsed().as_secs_f64() * rate) as u64 + 1).min(all);
            while sent.tried < due {
                let at = from + Duration::from_secs_f64(sent.tried as f64 / rate);
                let draft = self.draft(sent.tried as usize, at);
                if self.server.agents.send(&self.server.caller, draft).await.is_err() {
                    sent.refused += 1;
                }
                sent.tried += 1;
            }
            tokio::task::yield_now().await;
        }
        (sent, from.as_secs_f64(), self.seen.began.elapsed().as_secs_f64())
    }

    fn draft(&self, number: usize, at: Duration) -> Draft {
        let mut body = self.template.clone();
        stamp(&mut body, u64::try_from(at.as_nanos()).unwrap_or(u64::MAX));
        let content = Content { media_type: MediaType::JSON, body: Bytes::from(body) };
        let to = self.names[number * 7 % self.names.len()].clone();
        let draft = Draft::new(Performative::Request, to).content(content);
        match self.sinks.get(number % SINKS) {
            Some(sink) => draft.reply_to(sink.clone()),
            None => draft,
        }
    }

    /// Each component begins before it is measured.
    async fn warm(&self) {
        if !self.sinks.is_empty() {
            let content = Content { media_type: MediaType::JSON, body: Bytes::from(self.template.clone()) };
            self.server.ask_each(&self.names, &content).await;
        }
    }

    /// Waits for what is still under way, and gives how many never came.
    async fn settle(&self, sent: Sent) -> u64 {
        let accepted = sent.tried - sent.refused;
        let (mut last, mut since) = (0, Instant::now());
        loop {
            let come = self.seen.count.load(Ordering::Relaxed);
            if come >= accepted || since.elapsed() > SILENCE_MAX {
                return accepted.saturating_sub(come);
            }
            if come != last {
                (last, since) = (come, Instant::now());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

fn every(rate: usize) -> u64 {
    (rate / NOTED_PER_S).max(1) as u64
}

/// A load in four quarters: how long messages are under way, how many never come, and what becomes of it with time.
pub(crate) async fn load(kind: &str, load: Load, seconds: usize) -> Figures {
    let time = lasting(Duration::from_secs(seconds as u64));
    let every = every(load.rate);
    let expected = (load.rate as f64 * time.as_secs_f64() / every as f64 * 1.1) as usize + 1_024;
    let Some(field) = Field::open(kind, load, every, expected).await else {
        return unmeasured([
            "wait_p50_ms",
            "wait_p99_ms",
            "sent_per_s",
            "success_ratio",
            "degradation_ratio",
            "memory_grown_mib",
        ]);
    };
    field.warm().await;
    let (mut sent, mut handled_per_s, mut memories) = (Sent::default(), Vec::new(), Vec::new());
    let (mut begin_s, mut end_s) = (f64::MAX, 0.0_f64);
    for _ in 0..4 {
        let before = field.seen.count.load(Ordering::Relaxed);
        let (quarter, from_s, to_s) = field.pace(load.rate, time / 4).await;
        let handled = (field.seen.count.load(Ordering::Relaxed) - before) as f64;
        sent.tried += quarter.tried;
        sent.refused += quarter.refused;
        handled_per_s.push(handled / (to_s - from_s));
        memories.push(memory());
        (begin_s, end_s) = (begin_s.min(from_s), end_s.max(to_s));
    }
    let lost = field.settle(sent).await;
    let waits = Durations::of(field.seen.durations(begin_s + WARM_UP.as_secs_f64(), f64::MAX));
    let unsuccessful = sent.refused + lost + field.seen.failures.load(Ordering::Relaxed);
    let measured = figures([
        ("wait_p50_ms", waits.at(0.5)),
        ("wait_p99_ms", waits.at(0.99)),
        ("sent_per_s", sent.tried as f64 / (end_s - begin_s)),
        ("success_ratio", 1.0 - unsuccessful as f64 / sent.tried as f64),
        ("degradation_ratio", (1.0 - handled_per_s[3] / handled_per_s[0]).max(0.0)),
        ("memory_grown_mib", (memories[3] - memories[0]) / f64::from(1 << 20)),
    ]);
    field.server.stop().await;
    measured
}

/// What is calm, and the burst: messages a second, and for how long.
const CALM: (usize, Duration) = (1_000, Duration::from_secs(5));
const BURST: (usize, Duration) = (50_000, Duration::from_secs(10));
/// Whether it is calm again is looked at over so many seconds each.
const WINDOW_S: f64 = 0.1;
/// What is as good as calm, however calm it was.
const CALM_MS: f64 = 1.0;

/// Calm, a burst, calm again: how soon messages are under way for no longer than before.
pub(crate) async fn burst(kind: &str) -> Figures {
    let load = Load { agents: 1_000, rate: BURST.0, size: PAYLOAD };
    let (calm, busy) = (lasting(CALM.1), lasting(BURST.1));
    let expected = (BURST.0 as f64 * busy.as_secs_f64() * 1.1) as usize + 16_384;
    let Some(field) = Field::open(kind, load, 1, expected).await else {
        return unmeasured(["calm_p99_ms", "burst_p99_ms", "recovery_s", "success_ratio"]);
    };
    field.warm().await;
    let warming = lasting(WARM_UP);
    let (warm, ..) = field.pace(CALM.0, warming).await;
    let (before, from_s, until_s) = field.pace(CALM.0, calm).await;
    let (during, burst_s, burst_end_s) = field.pace(BURST.0, busy).await;
    let (after, after_s, end_s) = field.pace(CALM.0, calm).await;
    let sent = [warm, before, during, after].iter().fold(Sent::default(), |all, part| Sent {
        tried: all.tried + part.tried,
        refused: all.refused + part.refused,
    });
    let lost = field.settle(sent).await;
    let calm_ms = Durations::of(field.seen.durations(from_s, until_s)).at(0.99);
    let burst_ms = Durations::of(field.seen.durations(burst_s, burst_end_s)).at(0.99);
    let bound = (2.0 * calm_ms).max(CALM_MS);
    let windows = ((end_s - after_s) / WINDOW_S) as usize;
    let is_busy = |window: &usize| {
        let from = after_s + *window as f64 * WINDOW_S;
        let waits = field.seen.durations(from, from + WINDOW_S);
        waits.is_empty() || Durations::of(waits).at(0.5) > bound
    };
    // From the last window that was not calm.
    let busy_windows = (0..windows).rev().find(is_busy).map_or(0, |last| last + 1);
    let unsuccessful = sent.refused + lost + field.seen.failures.load(Ordering::Relaxed);
    let measured = figures([
        ("calm_p99_ms", calm_ms),
        ("burst_p99_ms", burst_ms),
        ("recovery_s", busy_windows as f64 * WINDOW_S),
        ("success_ratio", 1.0 - unsuccessful as f64 / sent.tried as f64),
    ]);
    field.server.stop().await;
    measured
}
