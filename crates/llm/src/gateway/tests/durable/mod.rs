//! Calls that are made once, calls that become jobs, and batches.

mod batches;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Extension, Router, body::Body};
use futures_util::{FutureExt, future::BoxFuture};
use http::{Request, StatusCode};
use paddock_platform::{
    blobs::{Blobs, BlobsOptions},
    config::{Live, Section},
    durable::{DurableCall, DurableCalls, DurableReceipt, DurableState},
    identity::{Caller, Scope, Tenant},
    problem::Problem,
    store::testing::{Fixture, on_each_engine},
    tool::Toolbox,
};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::{Read, chat, options, post, read};
use crate::{
    CallInput, Durable, Gateway, LlmOptions,
    routes::router,
    sim::{SimOptions, SimServer, Spread},
};

const SIM: &str = "
    [[providers]]
    name = 'p'
    url = 'sim:?tokens=5'
    models = ['m']
    [prices]
    m = { input = 1, output = 1 }
";

/// Keeps calls, and makes one when it is told to.
#[derive(Default)]
struct Calls {
    accepted: Mutex<Vec<(String, Caller, DurableCall)>>,
    ended: Mutex<HashMap<String, DurableState>>,
}

impl DurableCalls for Calls {
    fn submit<'a>(
        &'a self,
        caller: &'a Caller,
        call: DurableCall,
    ) -> BoxFuture<'a, Result<DurableReceipt, Problem>> {
        let mut accepted = self.accepted.lock().unwrap();
        let known = accepted
            .iter()
            .find(|(_, _, known)| known.unique_key.is_some() && known.unique_key == call.unique_key);
        let id = known.map_or_else(|| format!("job-{}", accepted.len()), |(id, ..)| id.clone());
        if known.is_none() {
            accepted.push((id.clone(), caller.clone(), call));
        }
        let receipt = DurableReceipt { location: format!("/jobs/{id}"), id };
        async move { Ok(receipt) }.boxed()
    }

    fn state<'a>(
        &'a self,
        _: &'a Tenant,
        _: &'static str,
        id: &'a str,
        _: Duration,
    ) -> BoxFuture<'a, Result<DurableState, Problem>> {
        let state = self.ended.lock().unwrap().get(id).cloned().unwrap_or(DurableState::Pending);
        async move { Ok(state) }.boxed()
    }
}

/// A gateway with durable calls.
struct Server {
    gateway: Gateway,
    durable: Durable,
    calls: Arc<Calls>,
    toolbox: Toolbox,
    app: Router,
    _blobs: tempfile::TempDir,
}

impl Server {
    async fn start(fixture: &Fixture, toml: &str) -> Self {
        let live = Live::new(options(toml));
        let section: Section<LlmOptions> = live.section(|options| options);
        let gateway = Gateway::open(section.clone(), fixture.open().await, &fixture.tasks).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(&BlobsOptions::default(), dir.path()).unwrap();
        let calls = Arc::<Calls>::default();
        let durable = Durable::start(gateway.clone(), blobs, calls.clone(), section, &fixture.tasks);
        let toolbox = Toolbox::new(crate::tools(&gateway, Some(&durable))).unwrap();
        let (app, _) = router(gateway.clone(), Some(durable.clone())).split_for_parts();
        let app = app.layer(Extension(Caller::local()));
        Self { gateway, durable, calls, toolbox, app, _blobs: dir }
    }

    async fn send(&self, request: Request<Body>) -> Read {
        read(self.app.clone().oneshot(request).await.unwrap()).await
    }

    async fn get(&self, path: &str) -> Read {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    /// Makes the accepted call with this number, as its job would.
    async fn run(&self, number: usize) -> Result<Value, Problem> {
        let (id, caller, call) = self.calls.accepted.lock().unwrap()[number].clone();
        let result = self.toolbox.call(&caller, call.tool, call.input, Duration::from_mins(1)).await;
        let state = match &result {
            Ok(value) => DurableState::Done(value.clone()),
            Err(problem) => {
                DurableState::Failed { status: problem.kind.status.as_u16(), message: problem.detail.clone() }
            }
        };
        self.calls.ended.lock().unwrap().insert(id, state);
        result
    }

    async fn row(&self) -> Value {
        self.get("/usage").await.json()["rows"][0].clone()
    }

    /// Calls that were counted as answered.
    async fn answered(&self) -> u64 {
        let rows = self.get("/usage?group=tenant").await.json()["rows"].clone();
        rows[0]["requests"].as_u64().unwrap() - rows[0]["failures"].as_u64().unwrap()
    }

    fn requests(&self) -> u64 {
        self.gateway.lanes().iter().map(|lane| lane.requests).sum()
    }

    async fn batch_of(&self, lines: &str) -> Value {
        let request = Request::post("/batches").header("content-type", "application/jsonl");
        let created = self.send(request.body(Body::from(lines.to_owned())).unwrap()).await;
        assert_eq!(created.status, StatusCode::ACCEPTED, "{created:?}");
        created.json()
    }

    async fn lines(&self, file: &Value) -> Vec<Value> {
        let content = self.get(&format!("/v1/files/{}/content", file.as_str().unwrap())).await;
        content.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn input(prompt: &str, key: &str) -> CallInput {
    let input = json!({"api": "chat/completions", "request": chat("m", prompt), "idempotency_key": key});
    serde_json::from_value(input).unwrap()
}

fn asynchronous(body: &Value) -> Request<Body> {
    let mut request = post("/v1/chat/completions", body);
    request.headers_mut().insert("prefer", "respond-async".parse().unwrap());
    request
}

#[tokio::test]
async fn a_call_with_a_key_is_made_once_and_counted_once() {
    on_each_engine(async |fixture| {
        let server = Server::start(fixture, SIM).await;
        let first = server.gateway.call(&Caller::local(), input("hello", "a")).await.unwrap();
        let second = server.gateway.call(&Caller::local(), input("hello", "a")).await.unwrap();
        assert_eq!(first, second);
        assert!(first.simulated && first.route.starts_with("p/m"), "{first:?}");
        assert_eq!(server.requests(), 1);
        let row = server.row().await;
        let tokens = first.body["usage"]["completion_tokens"].clone();
        assert_eq!((&row["requests"], &row["output_tokens"]), (&json!(1), &tokens));
        assert!(row["cost_usd"].as_f64().unwrap() > 0.0);
        let third = server.gateway.call(&Caller::local(), input("hello", "b")).await.unwrap();
        assert_ne!(third.body["id"], first.body["id"]);
    })
    .await;
}

#[tokio::test]
async fn a_key_stands_for_one_request_of_one_tenant() {
    let fixture = Fixture::sqlite();
    let server = Server::start(&fixture, SIM).await;
    let first = server.gateway.call(&Caller::local(), input("hello", "a")).await.unwrap();
    let refused = server.gateway.call(&Caller::local(), input("another", "a")).await.unwrap_err();
    assert!(refused.detail.contains("idempotency_key"), "{refused}");
    let other = Caller::with_key("k", "other".parse().unwrap(), vec![Scope::write("llm")]);
    let theirs = server.gateway.call(&other, input("hello", "a")).await.unwrap();
    assert_ne!(theirs.body["id"], first.body["id"], "another tenant's answer is its own");
    assert_eq!(server.requests(), 2);
}

#[tokio::test]
async fn a_refused_call_is_not_kept() {
    let fixture = Fixture::sqlite();
    let server = Server::start(&fixture, SIM).await;
    for _ in 0..2 {
        let refused =
            server.gateway.call(&Caller::local(), input("[sim status=422]", "a")).await.unwrap_err();
        assert_eq!(refused.kind.status, StatusCode::UNPROCESSABLE_ENTITY);
    }
    assert_eq!(server.requests(), 0, "a refusal is no failure of the provider's");
    assert_eq!(server.row().await["failures"], 2);
}

#[tokio::test]
async fn a_call_whose_server_died_is_asked_for_again_at_the_same_place_and_not_billed_twice() {
    on_each_engine(async |fixture| {
        // What is asked first is never answered; under the same key it is, at once, if the provider has begun it.
        let hour = Duration::from_hours(1);
        let (first, second) = (sim(fixture, 1, hour).await, sim(fixture, 2, hour).await);
        let many = format!(
            "[[providers]]\nname = 'a'\nurl = '{first}'\n[[providers]]\nname = 'b'\nurl = '{second}'\n
             [[routes]]\nmodel = 'm'\ntargets = [{{ provider = 'a' }}, {{ provider = 'b' }}]"
        );
        let server = Server::start(fixture, &many).await;
        for round in 1..=6 {
            let key = format!("key-{round}");
            let begun = async || {
                while answers(&first).await.0 + answers(&second).await.0 < round {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            let caller = Caller::local();
            // What a death leaves: the call went out, and nobody heard how it went.
            tokio::select! {
                answered = server.gateway.call(&caller, input("hello", &key)) => panic!("{answered:?}"),
                () = begun() => {}
            }
            server.gateway.call(&caller, input("hello", &key)).await.unwrap();
        }
        let ((of_first, again_first), (of_second, again_second)) =
            (answers(&first).await, answers(&second).await);
        assert_eq!((of_first + of_second, again_first + again_second), (6, 6), "each is billed once");
        assert_eq!(server.answered().await, 6);
    })
    .await;
}

/// The address of a simulated provider that takes so long, and honours keys.
async fn sim(fixture: &Fixture, seed: u64, latency: Duration) -> String {
    let options = SimOptions { seed, latency: Spread::fixed(latency), ..SimOptions::default() };
    let server = SimServer::bind("127.0.0.1:0", options).await.unwrap();
    let address = server.address().unwrap();
    let tasks = fixture.tasks.clone();
    fixture.tasks.spawn("sim", async move { server.serve(&tasks).await });
    format!("http://{address}/v1")
}

/// How many answers a simulated provider has begun, and how many it gave again.
async fn answers(url: &str) -> (u64, u64) {
    let mut request = Request::new(http_body_util::Full::default());
    *request.uri_mut() = format!("{url}/stats").parse().unwrap();
    let response = crate::upstream::http_client(Duration::from_secs(5)).request(request).await.unwrap();
    let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
    let stats: Value = serde_json::from_slice(&body).unwrap();
    (stats["answers"].as_u64().unwrap(), stats["replayed"].as_u64().unwrap())
}

#[tokio::test]
async fn a_call_whose_caller_does_not_wait_becomes_a_job() {
    let fixture = Fixture::sqlite();
    let server = Server::start(&fixture, SIM).await;
    let accepted = server.send(asynchronous(&chat("m", "[sim reply=\"Hello there\"]"))).await;
    assert_eq!(accepted.status, StatusCode::ACCEPTED, "{accepted:?}");
    assert_eq!(accepted.header("preference-applied"), "respond-async");
    assert_eq!(accepted.json()["job"], "/jobs/job-0");
    let place = accepted.header("location").strip_prefix("/llm").unwrap().to_owned();
    let pending = server.get(&place).await;
    assert_eq!((pending.status, pending.json()["state"].clone()), (StatusCode::ACCEPTED, json!("pending")));
    server.run(0).await.unwrap();
    let answered = server.get(&place).await;
    assert_eq!(answered.status, StatusCode::OK);
    assert_eq!(answered.json()["choices"][0]["message"]["content"], "Hello there");
    assert_eq!(answered.header("x-paddock-simulated"), "true");
    assert_eq!(server.row().await["requests"], 1);
}

#[tokio::test]
async fn what_is_wrong_with_a_call_is_said_before_it_becomes_a_job() {
    let fixture = Fixture::sqlite();
    let server = Server::start(&fixture, SIM).await;
    let mut stream = chat("m", "hello");
    stream["stream"] = json!(true);
    for (body, status, part) in [
        (stream, 400, "stream"),
        (chat("n", "hello"), 404, "did you mean `m`"),
        (json!({"model": "m"}), 400, "messages"),
    ] {
        let refused = server.send(asynchronous(&body)).await;
        assert_eq!(refused.status.as_u16(), status, "{refused:?}");
        assert!(refused.json()["error"]["message"].as_str().unwrap().contains(part), "{refused:?}");
    }
    assert!(server.calls.accepted.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_call_that_is_sent_again_under_its_key_is_one_job() {
    let fixture = Fixture::sqlite();
    let server = Server::start(&fixture, SIM).await;
    let send = async || {
        let mut request = asynchronous(&chat("m", "hello"));
        request.headers_mut().insert("idempotency-key", "order-7".parse().unwrap());
        server.send(request).await.header("location").to_owned()
    };
    assert_eq!(send().await, send().await);
    assert_eq!(server.calls.accepted.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_failed_call_says_with_which_status() {
    let fixture = Fixture::sqlite();
    let server = Server::start(&fixture, SIM).await;
    let accepted = server.send(asynchronous(&chat("m", "[sim status=422]"))).await;
    let place = accepted.header("location").strip_prefix("/llm").unwrap().to_owned();
    server.run(0).await.unwrap_err();
    assert_eq!(server.get(&place).await.status, StatusCode::UNPROCESSABLE_ENTITY);
}
