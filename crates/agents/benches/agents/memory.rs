//! What agents cost in memory: with an instance that is ready, and put away.

use std::time::{Duration, Instant};

use paddock_agents::{AgentsOptions, message::AgentName, wasm::WasmOptions};
use paddock_platform::{identity::Tenant, store::testing::Fixture, units::HumanDuration};

use crate::{
    component::{Guests, Kind},
    figures::{Figures, at_most, figures, mappings, memory as used, unmeasured},
    server::{Server, names, options, payload},
};

/// The longest wait until agents that nobody asks are put away.
const PARKING_MAX: Duration = Duration::from_mins(5);
/// Messages that each handles in a row, for what that leaves behind.
const ROUNDS: usize = 10;

struct Case {
    server: Server,
    guests: Guests,
    _fixture: Fixture,
}

impl Case {
    async fn open(kind: &str, options: AgentsOptions) -> Option<Self> {
        let fixture = Fixture::sqlite();
        let server = Server::start(&fixture, options).await;
        let guests = Guests::prepare(Kind::of(kind), WasmOptions::default(), &server.tasks).await?;
        let case = Self { server, guests, _fixture: fixture };
        // What the first ones cost, all others share.
        case.begin(&names("first", 8)).await;
        Some(case)
    }

    fn register(&self, names: &[AgentName]) {
        for name in names {
            self.guests.register(&self.server, name);
        }
    }

    async fn begin(&self, names: &[AgentName]) {
        self.register(names);
        self.server.ask_each(names, &payload()).await;
    }

    fn awake(&self, names: &[AgentName]) -> usize {
        let is_awake =
            |name: &&AgentName| self.server.agents.get(&Tenant::local(), name).is_ok_and(|agent| agent.awake);
        names.iter().filter(is_awake).count()
    }

    async fn until_parked(&self, names: &[AgentName]) {
        let began = Instant::now();
        while self.awake(names) > 0 {
            assert!(began.elapsed() < PARKING_MAX, "{} agents are still awake", self.awake(names));
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        // What they left behind is given back a moment later.
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

/// One kind of agent: registered, after its first message, after more of them, and parked.
pub(crate) async fn memory(kind: &str, count: usize) -> Figures {
    let count = at_most(count, 20);
    let options = AgentsOptions { park_after: HumanDuration::from_secs(20), ..options() };
    let Some(case) = Case::open(kind, options).await else {
        return unmeasured(["registered_bytes", "warm_bytes", "working_bytes", "parked_bytes"]);
    };
    let (names, content) = (names("agent", count), payload());
    let each = |bytes: f64| bytes / count as f64;
    let before = used();
    case.register(&names);
    let registered = used() - before;
    case.server.ask_each(&names, &content).await;
    let warm = used() - before;
    assert_eq!(case.awake(&names), count, "some were put away while others began");
    for _ in 0..ROUNDS {
        case.server.ask_each(&names, &content).await;
    }
    let working = used() - before;
    case.until_parked(&names).await;
    let parked = used() - before;
    case.server.stop().await;
    figures([
        ("registered_bytes", each(registered)),
        ("warm_bytes", each(warm)),
        ("working_bytes", each(working)),
        ("parked_bytes", each(parked)),
    ])
}

/// Agents that have run and are parked, and beside them others that are warm.
pub(crate) async fn crowd(kind: &str, warm: usize, parked: usize) -> Figures {
    let (warm, parked) = (at_most(warm, 100), at_most(parked, 1_000));
    let options =
        AgentsOptions { park_after: HumanDuration::from_secs(30), awake_max: warm + 1_000, ..options() };
    let Some(case) = Case::open(kind, options).await else {
        return unmeasured(["warm_agents", "warm_bytes", "parked_bytes", "mappings", "crowd_mib"]);
    };
    let (sleepers, workers) = (names("parked", parked), names("warm", warm));
    let before = used();
    case.begin(&sleepers).await;
    case.until_parked(&sleepers).await;
    let asleep = used();
    case.begin(&workers).await;
    // All of them answer again while all are there.
    case.server.ask_each(&workers, &payload()).await;
    let (all, awake, mappings) = (used(), case.awake(&workers), mappings());
    assert_eq!(case.awake(&sleepers), 0, "one that nobody asked was woken");
    case.server.stop().await;
    figures([
        ("warm_agents", awake as f64),
        ("warm_bytes", (all - asleep) / warm as f64),
        ("parked_bytes", (asleep - before) / parked as f64),
        ("mappings", mappings),
        ("crowd_mib", all / f64::from(1 << 20)),
    ])
}
