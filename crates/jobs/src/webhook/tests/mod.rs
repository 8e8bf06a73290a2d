//! What webhooks promise, on both stores, with a receiver on loopback.

mod delivering;
mod managing;

use std::{
    collections::VecDeque,
    io,
    net::IpAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::HeaderMap,
    response::{IntoResponse, Response},
    routing::post,
};
use futures_util::future::BoxFuture;
use http::StatusCode;
use paddock_platform::{
    blobs::{Blobs, BlobsOptions},
    config::Section,
    egress::Resolve,
    events::{Events, EventsOptions},
    identity::{Caller, Scope, Tenant},
    seal::Seal,
    store::{Store, testing::Fixture},
    task::Tasks,
    tool::Toolbox,
    units::HumanDuration,
};
use serde_json::{Value, json};

use super::{
    Delivery, DeliveryFilter, DeliveryState, NewWebhook, SigningSecret, WebhookId, WebhookOptions, Webhooks,
    resolver::Resolver,
};
use crate::{ClaimRequest, Completion, Failure, Job, JobFailure, JobId, Jobs, JobsOptions, NewJob, Role};

/// The longest that a test waits for what must happen.
const PATIENCE: Duration = Duration::from_mins(1);
/// A name that leads to the public internet until `Names::turned`, and to this machine from then on.
const TURNING: &str = "turning.example";

/// Options that try again at once, and that let webhooks reach this machine.
fn options() -> WebhookOptions {
    WebhookOptions {
        allow: vec!["127.0.0.0/8".parse().unwrap()],
        retries: vec![HumanDuration::from_millis(1); 2],
        breaker_failures: 100,
        ..WebhookOptions::default()
    }
}

/// A queue with webhooks, over a store.
struct Bed {
    store: Store,
    jobs: Jobs,
    webhooks: Webhooks,
    events: Events,
    names: Names,
    caller: Caller,
}

impl Bed {
    async fn start(fixture: &Fixture, options: WebhookOptions) -> Self {
        Self::start_with(fixture, options, JobsOptions::default().concurrency).await
    }

    async fn start_with(fixture: &Fixture, options: WebhookOptions, concurrency: usize) -> Self {
        let (store, tasks) = (fixture.open().await, &fixture.tasks);
        let blobs = Blobs::open(&BlobsOptions::default(), fixture.data_dir()).unwrap();
        let jobs_options = JobsOptions { concurrency, webhooks: options.clone(), ..JobsOptions::default() };
        let section = Section::fixed(jobs_options);
        let jobs = Jobs::open(store.clone(), blobs, section, tasks).await.unwrap();
        let (events, names) = (Events::new(&EventsOptions::default(), tasks.stop_token()), Names::default());
        let section = Section::fixed(options);
        let resolver = Resolver::with(section.clone(), names.clone());
        let seal = Seal::of(b"of a test").unwrap();
        let webhooks =
            Webhooks::open_with(store.clone(), &jobs, seal, section, events.clone(), tasks, resolver)
                .await
                .unwrap();
        let role = Role { works: true, queues: Vec::new() };
        jobs.run(Toolbox::new([]).unwrap(), role).await.unwrap();
        Self { store, jobs, webhooks, events, names, caller: Caller::local() }
    }

    fn tenant(&self) -> &Tenant {
        self.caller.tenant()
    }

    /// A webhook at the receiver.
    async fn webhook(&self, url: &str, events: &[&str]) -> (WebhookId, SigningSecret) {
        let events = events.iter().map(|event| event.parse().unwrap()).collect();
        let new = NewWebhook { url: url.to_owned(), events, ..NewWebhook::default() };
        let made = self.webhooks.create(&self.caller, new).await.unwrap();
        (made.webhook.id, made.secret.parse().unwrap())
    }

    /// Hands over a job of an external worker, who takes it.
    async fn claimed_job(&self, webhook: Option<&str>) -> Arc<Job> {
        let webhook = webhook.map(str::to_owned);
        let new = NewJob { webhook, ..NewJob::kind("resize", json!({})) };
        let id = self.jobs.enqueue(&self.caller, new).await.unwrap().id;
        let request = ClaimRequest {
            worker: "tester".to_owned(),
            kinds: vec!["resize".to_owned()],
            queues: Vec::new(),
            max: 1,
            wait: Duration::from_secs(30),
            lease: None,
            all_tenants: false,
        };
        let claimed = self.jobs.claim(&self.caller, request).await.unwrap();
        assert_eq!(claimed.iter().map(|job| job.id).collect::<Vec<_>>(), [id]);
        Arc::clone(&claimed[0])
    }

    /// Hands over a job of an external worker and ends it: with a result, or with a failure that is final.
    async fn ended_job(&self, webhook: Option<&str>, outcome: Result<Value, &str>) -> JobId {
        let claimed = self.claimed_job(webhook).await;
        let (id, attempt) = (claimed.id, claimed.attempt);
        match outcome {
            Ok(result) => {
                self.jobs.complete(&self.caller, vec![Completion { id, attempt, result }]).await.unwrap();
            }
            Err(class) => {
                let failure = JobFailure::new(class, "it is so").permanent();
                self.jobs.fail(&self.caller, vec![Failure { id, attempt, failure }]).await.unwrap();
            }
        }
        id
    }

    async fn deliveries(&self, webhook: &WebhookId) -> Vec<Delivery> {
        self.webhooks.deliveries(self.tenant(), webhook, &DeliveryFilter::default(), 100).await.unwrap()
    }

    /// The only delivery of a webhook, once it is in this state.
    async fn delivery_in(&self, webhook: &WebhookId, state: DeliveryState) -> Delivery {
        self.until("the delivery is there", async || {
            let found = self.deliveries(webhook).await;
            found.into_iter().find(|delivery| delivery.state == state)
        })
        .await
    }

    /// Asks often and gives up late.
    async fn until<T>(&self, what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            assert!(began.elapsed() < PATIENCE, "gave up waiting until {what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Somebody of another tenant who may do everything there.
fn stranger() -> Caller {
    Caller::with_key("key", "other".parse().unwrap(), vec![Scope::admin("jobs")])
}

/// The names of a test: everything leads to the public internet, some only at first.
#[derive(Clone, Default)]
struct Names(Arc<AtomicBool>);

impl Names {
    fn turn(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Resolve for Names {
    fn resolve(&self, name: String) -> BoxFuture<'_, io::Result<Vec<IpAddr>>> {
        let turned = name == TURNING && self.0.load(Ordering::Relaxed);
        let address: IpAddr = if turned { [127, 0, 0, 1].into() } else { [8, 8, 8, 8].into() };
        Box::pin(std::future::ready(Ok(vec![address])))
    }
}

/// One request that the receiver got.
#[derive(Clone, Debug)]
struct Got {
    path: String,
    headers: HeaderMap,
    body: String,
}

impl Got {
    fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    /// Checks the signature as a receiver does.
    fn is_signed_with(&self, secret: &SigningSecret) -> bool {
        let timestamp = self.header("webhook-timestamp").parse().unwrap();
        let expected = secret.sign(self.header("webhook-id"), timestamp, &self.body);
        self.header("webhook-signature").split(' ').any(|signature| signature == expected)
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// A server that takes webhooks and answers as it is told, at first, and with 204 after that.
#[derive(Clone)]
struct Receiver(Arc<ReceiverState>);

struct ReceiverState {
    base: String,
    got: Mutex<Vec<Got>>,
    answers: Mutex<VecDeque<Response>>,
}

impl Receiver {
    async fn start(tasks: &Tasks) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let receiver =
            Self(Arc::new(ReceiverState { base, got: Mutex::default(), answers: Mutex::default() }));
        let app = Router::new().route("/{*path}", post(take)).with_state(receiver.clone());
        let stopping = tasks.stop_token();
        tasks.spawn("receiver", async move {
            let serving = std::future::IntoFuture::into_future(axum::serve(listener, app));
            tokio::select! { _ = serving => {}, () = stopping.cancelled() => {} }
        });
        receiver
    }

    fn url(&self) -> String {
        format!("{}/hook", self.0.base)
    }

    /// What it answers next.
    fn answer(&self, answers: impl IntoIterator<Item = Response>) {
        self.0.answers.lock().unwrap().extend(answers);
    }

    fn got(&self) -> Vec<Got> {
        self.0.got.lock().unwrap().clone()
    }
}

async fn take(
    State(receiver): State<Receiver>,
    axum::extract::Path(path): axum::extract::Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let body = String::from_utf8(body.to_vec()).unwrap();
    receiver.0.got.lock().unwrap().push(Got { path, headers, body });
    let next = receiver.0.answers.lock().unwrap().pop_front();
    next.unwrap_or_else(|| StatusCode::NO_CONTENT.into_response())
}

fn status(code: u16) -> Response {
    StatusCode::from_u16(code).unwrap().into_response()
}
