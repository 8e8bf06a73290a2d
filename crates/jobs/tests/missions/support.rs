//! A server's jobs and missions in a runtime of their own, which can be killed at any moment.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use paddock_jobs::{
    JobId, Jobs, JobsOptions, QueueOptions, RetryPolicy, Role,
    mission::{Format, MissionView, Missions, Phase, StartMission, read},
    schedule::Schedules,
};
use paddock_platform::{
    blobs::{Blobs, BlobsOptions},
    config::Section,
    identity::{Caller, Scope, Tenant},
    keys::Keys,
    problem::Problem,
    store::{Store, testing::Fixture},
    task::Tasks,
    tool::{Tool, Toolbox},
    units::HumanDuration,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{runtime::Runtime, sync::Notify};

/// Far longer than anything takes: when it is over, something is wrong.
const WAIT_MAX: Duration = Duration::from_mins(2);
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// When the server is to die.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    Never,
    /// In the midst of the call with this number, from 0.
    During(usize),
    /// In the moment in which the call with this number returns.
    After(usize),
    /// While a person is asked.
    WhileAsking,
}

/// What the tool of these tests did, across all lives of the server.
#[derive(Default)]
pub struct Script {
    state: Mutex<State>,
    pub crash: Notify,
}

#[derive(Default)]
struct State {
    crash: Option<Crash>,
    calls: Vec<String>,
    done: Vec<String>,
}

impl Script {
    pub fn crash_at(&self, crash: Crash) {
        self.state.lock().unwrap().crash = Some(crash);
    }

    /// The calls that have ended, in order.
    pub fn done(&self) -> Vec<String> {
        self.state.lock().unwrap().done.clone()
    }

    pub fn calls(&self) -> usize {
        self.state.lock().unwrap().calls.len()
    }

    /// Notes a call; whether the server dies in it.
    fn begin(&self, name: &str) -> (usize, bool) {
        let mut state = self.state.lock().unwrap();
        state.calls.push(name.to_owned());
        let number = state.calls.len() - 1;
        (number, state.crash == Some(Crash::During(number)))
    }

    fn end(&self, number: usize, name: &str) {
        let mut state = self.state.lock().unwrap();
        state.done.push(name.to_owned());
        if state.crash == Some(Crash::After(number)) {
            self.crash.notify_one();
        }
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Do {
    /// What it is called in the script.
    name: String,
    #[serde(default)]
    item: Option<Value>,
    /// Fails for good.
    #[serde(default)]
    fail: bool,
    /// Never ends.
    #[serde(default)]
    hang: bool,
    /// Answers with so many bytes more.
    #[serde(default)]
    padding: usize,
}

fn probe(script: &Arc<Script>) -> Tool {
    let script = Arc::clone(script);
    Tool::new("lab_do", "does what the test says", Scope::write("lab"), move |_, input: Do| {
        let script = Arc::clone(&script);
        async move {
            let name = match &input.item {
                Some(item) => format!("{} {item}", input.name),
                None => input.name.clone(),
            };
            let (number, dies) = script.begin(&name);
            if dies {
                script.crash.notify_one();
            }
            if dies || input.hang {
                std::future::pending::<()>().await;
            }
            script.end(number, &name);
            if input.fail {
                return Err(Problem::invalid_field("fail", "was asked for"));
            }
            Ok(json!({"name": input.name, "item": input.item, "padding": "x".repeat(input.padding)}))
        }
    })
}

/// Where a server lives, over and over.
pub struct World<'a> {
    fixture: &'a Fixture,
    pub script: Arc<Script>,
}

/// One life of the server.
pub struct Life {
    runtime: Option<Runtime>,
    pub jobs: Jobs,
    pub missions: Missions,
    pub schedules: Schedules,
}

fn options() -> JobsOptions {
    // What was lost is tried again at once, and a lease is over soon.
    let retry = RetryPolicy { initial: HumanDuration::from_millis(10), ..RetryPolicy::default() };
    let standard = QueueOptions { retry, ..QueueOptions::default() };
    JobsOptions {
        lease: HumanDuration::from_secs(2),
        queue: BTreeMap::from([("standard".to_owned(), standard)]),
        ..JobsOptions::default()
    }
}

impl<'a> World<'a> {
    pub fn new(fixture: &'a Fixture) -> Self {
        Self { fixture, script: Arc::default() }
    }

    /// Starts a server on what the one before left.
    pub async fn live(&self) -> Life {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (store, data) = (self.fixture.options.clone(), self.fixture.data_dir().to_owned());
        let script = Arc::clone(&self.script);
        let opened = runtime.spawn(async move {
            let tasks = Tasks::default();
            let store = Store::open(&store, &data, &tasks).await.unwrap();
            let blobs = Blobs::open(&BlobsOptions::default(), &data).unwrap();
            let section = Section::fixed(options());
            let jobs = Jobs::open(store.clone(), blobs, section.clone(), &tasks).await.unwrap();
            let missions =
                Missions::open(&jobs, store.clone(), section.map(|options| options.missions)).await.unwrap();
            let keys = Keys::open(store.clone(), &tasks).await.unwrap();
            let schedules =
                Schedules::open(&jobs, &missions, keys, store, section.map(|options| options.schedules))
                    .await
                    .unwrap();
            let toolbox = Toolbox::new([probe(&script)]).unwrap();
            jobs.run(toolbox, Role { works: true, queues: Vec::new() }).await.unwrap();
            missions.run(&tasks);
            schedules.run(&tasks);
            (jobs, missions, schedules)
        });
        let (jobs, missions, schedules) = opened.await.unwrap();
        Life { runtime: Some(runtime), jobs, missions, schedules }
    }
}

impl Life {
    /// Runs something within the server.
    pub async fn within<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> T {
        self.runtime.as_ref().unwrap().spawn(future).await.unwrap()
    }

    /// Ends without a word, in the midst of whatever is done.
    pub fn kill(mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    pub async fn save(&self, yaml: &str) {
        let (missions, definition) = (self.missions.clone(), read(yaml, Format::Yaml).unwrap());
        self.within(async move { missions.save(&Caller::local(), definition).await.unwrap() }).await;
    }

    /// Stores a definition and starts it.
    pub async fn start(&self, yaml: &str, inputs: Value) -> JobId {
        let start = StartMission {
            definition: Some(read(yaml, Format::Yaml).unwrap()),
            inputs,
            ..StartMission::default()
        };
        let missions = self.missions.clone();
        self.within(async move { missions.start(&Caller::local(), start).await.unwrap().0 }).await
    }

    pub async fn look(&self, id: JobId) -> MissionView {
        let missions = self.missions.clone();
        self.within(async move { missions.get(&Tenant::local(), id).await.unwrap() }).await
    }

    /// Looks until it is as it has to become.
    pub async fn until(&self, id: JobId, is: impl Fn(&MissionView) -> bool) -> MissionView {
        let began = Instant::now();
        loop {
            let view = self.look(id).await;
            if is(&view) {
                return view;
            }
            assert!(began.elapsed() < WAIT_MAX, "{}", serde_json::to_string_pretty(&view).unwrap());
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    pub async fn end(&self, id: JobId) -> MissionView {
        self.until(id, |view| view.brief.state.is_final()).await
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The state of a step.
pub fn state<'a>(view: &'a MissionView, step: &str) -> &'a str {
    view.steps.iter().find(|known| known.name == step).unwrap().state
}

/// That a mission ended so, with everything that is known of it if not.
pub fn assert_state(view: &MissionView, state: Phase) {
    assert_eq!(view.brief.state, state, "{}", serde_json::to_string_pretty(view).unwrap());
}
