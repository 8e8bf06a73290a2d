//! A server's agents, with handlers that do what a test wants.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use paddock_jobs::{Jobs, JobsOptions, Role};
use paddock_llm::{Gateway, LlmOptions};
use paddock_platform::{
    blobs::{Blobs, BlobsOptions},
    bus::Bus,
    config::Section,
    events::Events,
    identity::{Caller, Scope, Tenant},
    problem::Problem,
    store::testing::Fixture,
    task::Tasks,
    tool::{Tool, Toolbox},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::{
    AgentDefinition, Agents, AgentsOptions, Failure, Ground, Native, Turn,
    message::{Address, AgentName, Draft, Message, Performative},
};

/// Far longer than anything takes that works.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);

pub(super) fn name(text: &str) -> AgentName {
    text.parse().unwrap()
}

pub(super) fn to(text: &str) -> Address {
    text.parse().unwrap()
}

pub(super) fn inform(receiver: &str, number: u64) -> Draft {
    Draft::new(Performative::Inform, to(receiver)).json(&number)
}

/// What handlers saw.
#[derive(Default)]
pub(super) struct Seen {
    numbers: Mutex<Vec<(String, u64)>>,
    changed: Notify,
}

impl Seen {
    pub(super) fn note(&self, agent: &str, number: u64) {
        self.numbers.lock().unwrap().push((agent.to_owned(), number));
        self.changed.notify_waiters();
    }

    pub(super) fn of(&self, agent: &str) -> Vec<u64> {
        let numbers = self.numbers.lock().unwrap();
        numbers.iter().filter(|(of, _)| of == agent).map(|(_, number)| *number).collect()
    }

    pub(super) fn count(&self) -> usize {
        self.numbers.lock().unwrap().len()
    }

    /// Waits until something is so.
    pub(super) async fn until(&self, mut is_so: impl FnMut(&Self) -> bool) {
        let wait = async {
            loop {
                let changed = self.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if is_so(self) {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("it happens");
    }
}

/// A running server.
pub(super) struct Server {
    pub(super) agents: Agents,
    pub(super) seen: Arc<Seen>,
    pub(super) tasks: Tasks,
    pub(super) jobs: Jobs,
}

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Named {
    /// A name for the test.
    name: String,
}

fn echo() -> Tool {
    Tool::new("lab_echo", "says what it was told", Scope::write("lab"), |_, input: Named| async move {
        Ok::<_, Problem>(input)
    })
}

pub(super) fn local() -> Caller {
    Caller::local()
}

/// Waits until something is so, looking often.
pub(super) async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "{what}");
}

impl Server {
    /// Opens the agents on a store; a second time is a restart.
    pub(super) async fn open(fixture: &Fixture, options: AgentsOptions) -> Self {
        Self::open_with(fixture, options, Bus::local()).await
    }

    /// As [`Server::open`], with a bus that other servers hear.
    pub(super) async fn open_with(fixture: &Fixture, mut options: AgentsOptions, bus: Bus) -> Self {
        // Each server reserves the addresses of all its instances: several of the default's do not fit into a process.
        options.wasm.instances_max = 16;
        let tasks = Tasks::default();
        let store = fixture.open().await;
        let blobs = Blobs::open(&BlobsOptions::default(), fixture.data_dir()).unwrap();
        let llm = Section::fixed(LlmOptions { sim: true, ..LlmOptions::default() });
        let models = Gateway::open(llm, store.clone(), &tasks).await.unwrap();
        let jobs = Section::fixed(JobsOptions::default());
        let jobs = Jobs::open(store.clone(), blobs.clone(), jobs, &tasks).await.unwrap();
        let ground = Ground {
            store,
            blobs,
            models,
            jobs: jobs.clone(),
            events: Events::default(),
            bus,
            data: fixture.data_dir(),
            tasks: &tasks,
        };
        let agents = Agents::open(Section::fixed(options), ground).await.unwrap();
        Self { agents, seen: Arc::default(), tasks, jobs }
    }

    pub(super) async fn start(fixture: &Fixture, options: AgentsOptions) -> Self {
        let server = Self::open(fixture, options).await;
        server.run().await;
        server
    }

    pub(super) async fn run(&self) {
        let tools = crate::tools(&self.agents).into_iter().chain([echo()]);
        let toolbox = Toolbox::new(tools).unwrap().with_guests(crate::tool_source(&self.agents, None));
        self.jobs.run(toolbox.clone(), Role { works: true, queues: Vec::new() }).await.unwrap();
        self.agents.run(toolbox).await.unwrap();
    }

    pub(super) async fn stop(self) {
        self.jobs.drain().await;
        self.tasks.stop(PATIENCE).await.unwrap();
    }

    /// Adds an agent that does this with its messages.
    pub(super) fn add<F>(&self, definition: AgentDefinition, handle: F)
    where
        F: FnMut(&Message, &mut Turn) -> Result<(), Failure> + Clone + Send + Sync + 'static,
    {
        self.agents.register(&Tenant::local(), definition, move || Native::new(handle.clone())).unwrap();
    }

    /// Adds an agent that notes the numbers that it is told.
    pub(super) fn add_noting(&self, agent: &str) {
        let (seen, of) = (Arc::clone(&self.seen), agent.to_owned());
        self.add(AgentDefinition::native(name(agent)), move |message, _| {
            seen.note(&of, message.content.read().unwrap_or_default());
            Ok(())
        });
    }
}
