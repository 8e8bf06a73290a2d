//! A server's agents in this process, and what is sent to them.

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt as _, future::BoxFuture, stream};
use paddock_agents::{
    AgentDefinition, Agents, AgentsOptions, Failure, Ground, Handled, Handler, Native, Start, Turn,
    message::{AgentName, Content, Draft, MediaType, Message, Performative},
    wasm::{Limits, Module, WasmOptions},
};
use paddock_jobs::{Jobs, JobsOptions};
use paddock_llm::{Gateway, LlmOptions};
use paddock_platform::{
    blobs::{Blobs, BlobsOptions},
    bus::Bus,
    config::Section,
    events::Events,
    identity::{Caller, Tenant},
    store::{Store, testing::Fixture},
    task::Tasks,
    tool::Toolbox,
};

/// Bytes of a message.
pub(crate) const PAYLOAD: usize = 1_024;
/// The longest wait for an answer.
pub(crate) const ANSWER_MAX: Duration = Duration::from_mins(2);
/// How many are asked at once where it does not matter.
const ASKED_AT_ONCE: usize = 64;

pub(crate) struct Server {
    pub(crate) agents: Agents,
    pub(crate) tasks: Tasks,
    pub(crate) caller: Caller,
}

/// As a server has them, but for the engine of components that are deployed: most cases have one of their own.
pub(crate) fn options() -> AgentsOptions {
    let wasm = WasmOptions { instances_max: 64, ..WasmOptions::default() };
    AgentsOptions { sends_max: 100_000, asks_max: 20_000, wasm, ..AgentsOptions::default() }
}

impl Server {
    pub(crate) async fn start(fixture: &Fixture, options: AgentsOptions) -> Self {
        Self::start_on(fixture.open().await, fixture.data_dir(), options).await
    }

    pub(crate) async fn start_on(store: Store, data: &Path, options: AgentsOptions) -> Self {
        let tasks = Tasks::default();
        let blobs = Blobs::open(&BlobsOptions::default(), data).unwrap();
        let models =
            Gateway::open(Section::fixed(LlmOptions::default()), store.clone(), &tasks).await.unwrap();
        let jobs = Section::fixed(JobsOptions::default());
        let jobs = Jobs::open(store.clone(), blobs.clone(), jobs, &tasks).await.unwrap();
        let ground = Ground {
            store,
            blobs,
            models,
            jobs,
            events: Events::default(),
            bus: Bus::local(),
            data,
            tasks: &tasks,
        };
        let agents = Agents::open(Section::fixed(options), ground).await.unwrap();
        agents.run(Toolbox::new([]).unwrap()).await.unwrap();
        Self { agents, tasks, caller: Caller::local() }
    }

    pub(crate) fn register<H: Handler + 'static>(
        &self,
        definition: AgentDefinition,
        make: impl Fn() -> H + Send + Sync + 'static,
    ) {
        self.agents.register(&Tenant::local(), definition, make).unwrap();
    }

    /// An agent that is this function.
    pub(crate) fn native<F>(&self, name: &AgentName, handle: impl Fn() -> F + Send + Sync + 'static)
    where
        F: FnMut(&Message, &mut Turn) -> Result<(), Failure> + Send + 'static,
    {
        self.register(AgentDefinition::native(name.clone()), move || Native::new(handle()));
    }

    pub(crate) async fn send(&self, draft: Draft) {
        self.agents.send(&self.caller, draft).await.unwrap();
    }

    /// The answer to a question, which has to be one.
    pub(crate) async fn ask(&self, draft: Draft) -> Arc<Message> {
        let (_, answer) = self.agents.ask(&self.caller, draft, Some(ANSWER_MAX)).await.unwrap();
        assert_eq!(answer.performative, Performative::Inform, "{}", answer.content.to_text());
        answer
    }

    /// Has each of them answer once.
    pub(crate) async fn ask_each(&self, names: &[AgentName], content: &Content) {
        let asking = names.iter().map(|name| async move {
            self.ask(request(name, content)).await;
        });
        stream::iter(asking).buffer_unordered(ASKED_AT_ONCE).collect::<Vec<()>>().await;
    }

    pub(crate) async fn stop(self) {
        self.tasks.stop(Duration::from_mins(1)).await.unwrap();
    }
}

/// The names of so many agents.
pub(crate) fn names(prefix: &str, count: usize) -> Vec<AgentName> {
    (0..count).map(|number| format!("{prefix}-{number}").parse().unwrap()).collect()
}

/// So many bytes of JSON with a place for a time, which [`stamp`] writes and [`stamped`] reads.
pub(crate) fn body(size: usize) -> Vec<u8> {
    let around = format!("{{\"at\":\"{:0DIGITS$}\",\"text\":\"\"}}", 0);
    let text = "x".repeat(size.saturating_sub(around.len()));
    format!("{{\"at\":\"{:0DIGITS$}\",\"text\":\"{text}\"}}", 0).into_bytes()
}

const DIGITS: usize = 20;
/// What comes before the time.
const BEFORE: usize = r#"{"at":""#.len();

pub(crate) fn stamp(body: &mut [u8], mut nanos: u64) {
    for digit in body[BEFORE..BEFORE + DIGITS].iter_mut().rev() {
        *digit = b'0' + (nanos % 10) as u8;
        nanos /= 10;
    }
}

/// The time in a body, wherever an agent put spaces when it wrote it anew.
pub(crate) fn stamped(body: &[u8]) -> u64 {
    let digits = body.iter().skip_while(|byte| !byte.is_ascii_digit());
    digits
        .take_while(|byte| byte.is_ascii_digit())
        .fold(0, |nanos, digit| nanos * 10 + u64::from(digit - b'0'))
}

/// 1 KiB of JSON.
pub(crate) fn payload() -> Content {
    Content { media_type: MediaType::JSON, body: Bytes::from(body(PAYLOAD)) }
}

pub(crate) fn inform(to: &AgentName, content: &Content) -> Draft {
    Draft::new(Performative::Inform, to.clone()).content(content.clone())
}

pub(crate) fn request(to: &AgentName, content: &Content) -> Draft {
    Draft::new(Performative::Request, to.clone()).content(content.clone())
}

/// A component as an agent of the program: without a definition in the store.
pub(crate) struct Guest(Box<dyn Handler>);

impl Guest {
    pub(crate) fn new(module: &Module, limits: &Limits) -> Self {
        Self(module.handler(limits))
    }
}

impl Handler for Guest {
    fn start<'a>(&'a mut self, start: Start, turn: &'a mut Turn) -> Handled<'a> {
        self.0.start(start, turn)
    }

    fn handle<'a>(&'a mut self, message: Arc<Message>, turn: &'a mut Turn) -> Handled<'a> {
        self.0.handle(message, turn)
    }

    fn snapshot(&mut self) -> BoxFuture<'_, Option<Bytes>> {
        self.0.snapshot()
    }

    fn memory(&self) -> u64 {
        self.0.memory()
    }
}
