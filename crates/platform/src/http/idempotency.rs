//! `Idempotency-Key`: a request that is sent again is answered again, not done again.
//!
//! As the IETF's draft-ietf-httpapi-idempotency-key-header describes: the first request under a key is done and its
//! answer kept for a day; the same request later gets that answer (marked `Idempotency-Replayed`); another request
//! under the key is refused with 422; one that comes while the first is in flight, with 409. Keys are per caller.
//! Failures of ours (5xx) and 429 are not kept: trying again is what the key is for. A client that goes away does not
//! stop its request: the usual reason to send one again is that the answer to the first was lost.

mod kept;

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    body::{Body, Bytes, to_bytes},
    extract::{FromRequest, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use moka::future::Cache;

use super::{
    extract::body_problem,
    trace::{CURRENT, current_request},
};
use crate::{
    identity::Caller,
    problem::{CONFLICT, DEADLINE_EXCEEDED, INTERNAL, OVERLOADED, Problem, ProblemKind},
    task::Tasks,
    units::ByteSize,
};

pub use kept::AnswersInStore;

/// The header that names a request.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// On an answer that was kept: `true`.
pub const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// The key was used for another request.
pub const IDEMPOTENCY_KEY_REUSED: ProblemKind =
    ProblemKind::new("idempotency-key-reused", StatusCode::UNPROCESSABLE_ENTITY, "Idempotency key reused");

const KEY_LENGTH_MAX: usize = 255;
/// Requests with a key in flight at once, those whose client went away included.
const IN_FLIGHT_MAX: usize = 1024;
/// How long a request may go on after its client went away.
const DETACHED_MAX: Duration = Duration::from_mins(10);
/// Headers of an answer that are kept with it; others (ids, limits) belong to one exchange.
const KEPT_HEADERS: [HeaderName; 5] =
    [header::CONTENT_TYPE, header::LOCATION, header::RETRY_AFTER, header::ETAG, header::CACHE_CONTROL];

/// What is kept under a key.
#[derive(Clone, Debug)]
pub struct KeptAnswer {
    /// Hash of the request that it answers.
    pub request: [u8; 32],
    /// Its status.
    pub status: StatusCode,
    /// Its headers, of those that are kept.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// Where answers are kept. The key names caller and request.
pub trait AnswerStore: Send + Sync + 'static {
    /// The answer kept under a key, if it is still there.
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<KeptAnswer>, Problem>>;
    /// Keeps an answer for its time.
    fn put(&self, key: String, answer: KeptAnswer) -> BoxFuture<'_, Result<(), Problem>>;
}

/// Keeps answers in memory: bounded in time and size, gone with the process.
#[derive(Debug)]
pub struct AnswersInMemory(Cache<String, KeptAnswer>);

impl AnswersInMemory {
    /// Keeps answers for `ttl`, the most recently used up to `size_max` altogether.
    pub fn new(ttl: Duration, size_max: ByteSize) -> Self {
        let weigh = |key: &String, answer: &KeptAnswer| {
            u32::try_from(key.len() + answer.body.len() + 256).unwrap_or(u32::MAX)
        };
        Self(Cache::builder().time_to_live(ttl).max_capacity(size_max.get()).weigher(weigh).build())
    }
}

impl Default for AnswersInMemory {
    /// A day, and 64 MiB.
    fn default() -> Self {
        Self::new(Duration::from_hours(24), ByteSize::mib(64))
    }
}

impl AnswerStore for AnswersInMemory {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<KeptAnswer>, Problem>> {
        Box::pin(async move { Ok(self.0.get(key).await) })
    }

    fn put(&self, key: String, answer: KeptAnswer) -> BoxFuture<'_, Result<(), Problem>> {
        Box::pin(async move {
            self.0.insert(key, answer).await;
            Ok(())
        })
    }
}

/// State of the middleware [`idempotent`]. Cheap to clone.
#[derive(Clone)]
pub struct Idempotency(Arc<Inner>);

struct Inner {
    store: Box<dyn AnswerStore>,
    answer_max: ByteSize,
    in_flight: Mutex<HashSet<String>>,
    tasks: Tasks,
}

impl Idempotency {
    /// Keeps answers in `store`; one with a body larger than `answer_max` is given but not kept.
    pub fn new(store: impl AnswerStore, answer_max: ByteSize, tasks: &Tasks) -> Self {
        let store = Box::new(store);
        Self(Arc::new(Inner { store, answer_max, in_flight: Mutex::default(), tasks: tasks.clone() }))
    }

    /// Keeps answers of up to 1 MiB in memory.
    pub fn in_memory(tasks: &Tasks) -> Self {
        Self::new(AnswersInMemory::default(), ByteSize::mib(1), tasks)
    }
}

/// Holds the key while its request is in flight.
struct Claim {
    inner: Arc<Inner>,
    key: String,
}

impl Claim {
    fn take(inner: &Arc<Inner>, key: &str) -> Result<Self, Problem> {
        let mut in_flight = inner.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = Duration::from_secs(1);
        if in_flight.len() >= IN_FLIGHT_MAX {
            let detail =
                format!("{IN_FLIGHT_MAX} requests with idempotency keys are in flight; try again shortly");
            return Err(Problem::new(OVERLOADED, detail).retry_after(wait));
        }
        if !in_flight.insert(key.to_owned()) {
            let detail = "a request with this idempotency key is in flight; ask again when it is done";
            return Err(Problem::new(CONFLICT, detail).retry_after(wait));
        }
        drop(in_flight);
        Ok(Self { inner: Arc::clone(inner), key: key.to_owned() })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.inner.in_flight.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

/// Middleware for routes that create or start something:
/// `.route_layer(middleware::from_fn_with_state(idempotency, idempotent))`.
pub async fn idempotent(State(state): State<Idempotency>, request: Request, next: Next) -> Response {
    match request.headers().get(IDEMPOTENCY_KEY).cloned() {
        Some(key) => {
            answer_once(&state.0, &key, request, next).await.unwrap_or_else(IntoResponse::into_response)
        }
        None => next.run(request).await,
    }
}

async fn answer_once(
    inner: &Arc<Inner>,
    key: &HeaderValue,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let key = storage_key(key, &request)?;
    let (request, hash) = hash_request(request).await?;
    let claim = Claim::take(inner, &key)?;
    if let Some(kept) = inner.store.get(&key).await? {
        return replay(kept, hash);
    }
    let current = current_request();
    let work = async move {
        let response = tokio::time::timeout(DETACHED_MAX, next.run(request)).await.map_err(|_| {
            Problem::new(DEADLINE_EXCEEDED, format!("not done within {}s", DETACHED_MAX.as_secs()))
        })?;
        keep(&claim, hash, response).await
    };
    let task = match current {
        Some(current) => inner.tasks.spawn("idempotent_request", CURRENT.scope(current, work)),
        None => inner.tasks.spawn("idempotent_request", work),
    };
    // A panic in the handler ends its task; the claim is released by unwinding.
    task.await.unwrap_or_else(|error| {
        tracing::error!(%error, "an idempotent request failed");
        Err(Problem::new(INTERNAL, "the handler failed; the server's log has the cause under the trace id"))
    })
}

/// Caller and key in one text: nobody meets another's answers.
fn storage_key(key: &HeaderValue, request: &Request) -> Result<String, Problem> {
    let text = key.to_str().ok().filter(|text| (1..=KEY_LENGTH_MAX).contains(&text.len()));
    let text = text.ok_or_else(|| {
        Problem::invalid_field(
            "Idempotency-Key",
            format_args!("must be 1 to {KEY_LENGTH_MAX} printable characters"),
        )
    })?;
    let caller = request.extensions().get::<Caller>();
    let tenant = caller.map_or("", |caller| caller.tenant().as_str());
    let key_id = caller.and_then(Caller::key_id).unwrap_or("");
    Ok(format!("{tenant}\n{key_id}\n{text}"))
}

async fn hash_request(request: Request) -> Result<(Request, [u8; 32]), Problem> {
    let (parts, body) = request.into_parts();
    let mut whole = Request::new(body);
    *whole.extensions_mut() = parts.extensions.clone();
    let body = Bytes::from_request(whole, &()).await.map_err(|rejection| body_problem(&rejection))?;
    let mut hasher = blake3::Hasher::new();
    let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
    for part in [parts.method.as_str(), target] {
        hasher.update(part.as_bytes()).update(b"\n");
    }
    hasher.update(&body);
    Ok((Request::from_parts(parts, Body::from(body)), *hasher.finalize().as_bytes()))
}

fn replay(kept: KeptAnswer, hash: [u8; 32]) -> Result<Response, Problem> {
    if kept.request != hash {
        let detail = "this idempotency key was used for another request; use a new key for a new request";
        return Err(Problem::new(IDEMPOTENCY_KEY_REUSED, detail));
    }
    let mut response = (kept.status, kept.headers, kept.body).into_response();
    response.headers_mut().insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
    Ok(response)
}

async fn keep(claim: &Claim, hash: [u8; 32], response: Response) -> Result<Response, Problem> {
    let Claim { inner, key } = claim;
    let status = response.status();
    let size_max = inner.answer_max.as_usize();
    // A stream has no upper bound: it is passed on as it comes.
    let size =
        http_body::Body::size_hint(response.body()).upper().and_then(|size| usize::try_from(size).ok());
    let worth_keeping = !status.is_server_error() && status != StatusCode::TOO_MANY_REQUESTS;
    if !worth_keeping || size.is_none_or(|size| size > size_max) {
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, size_max)
        .await
        .map_err(|error| Problem::internal("reading an answer to keep", &error))?;
    let mut headers = HeaderMap::new();
    for name in KEPT_HEADERS {
        if let Some(value) = parts.headers.get(&name) {
            headers.insert(name, value.clone());
        }
    }
    let kept = KeptAnswer { request: hash, status, headers, body: body.clone() };
    // It is done all the same: whoever waits for it must not believe otherwise.
    if let Err(error) = inner.store.put(key.clone(), kept).await {
        tracing::warn!(%error, "an answer was not kept; its request would be done again");
    }
    Ok(Response::from_parts(parts, Body::from(body)))
}
