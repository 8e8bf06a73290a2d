//! `/mcp/{server}` of a server that is a program, or speaks the protocol of 2024-11-05: streamable HTTP on this side.

use std::{convert::Infallible, time::Duration};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{Stream, stream};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use paddock_platform::problem::{NOT_FOUND, Problem};
use serde_json::value::RawValue;
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    blocks::event,
    conversation::{Conversation, Exchange, Side, Unclaimed},
    error::GatewayError,
    message::{
        Envelope, HEADER_MISMATCH, INVALID_PARAMS, META_CAPABILITIES, META_VERSION, METHOD_NOT_FOUND,
        REQUEST_TIMEOUT, SERVER_ERROR, error_answer,
    },
    remote::{METHOD, NAME, PROTOCOL_VERSION, SESSION_ID, STATELESS_SINCE},
    routes::{Asked, Guards, outcome_of, shown},
    sessions::{Behind, InUse},
};

/// How often a stream on which nothing happens shows that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// The versions that clients with sessions may speak.
const VERSIONS: &[&str] = &["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];
/// Codes of errors that are answered with 400 in the protocol without sessions.
const BAD_REQUESTS: std::ops::RangeInclusive<i64> = -32_022..=HEADER_MISMATCH;

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

pub(super) fn no_session() -> Problem {
    Problem::new(NOT_FOUND, "this session does not exist, or no longer; initialize anew")
}

fn json(status: StatusCode, body: Bytes) -> Response {
    (status, [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
}

/// Answers a message.
pub(super) async fn post(asked: Asked<'_>) -> Result<Response, Problem> {
    let version = text(asked.headers, PROTOCOL_VERSION);
    let begins = asked.envelope.method() == "initialize";
    if let Some(id) = text(asked.headers, SESSION_ID).filter(|_| !begins) {
        if version.is_some_and(|version| !VERSIONS.contains(&version)) {
            let id = asked.envelope.id.map(RawValue::get);
            let message = "the MCP-Protocol-Version is not one that sessions have";
            return Ok(json(StatusCode::BAD_REQUEST, error_answer(id, SERVER_ERROR, message)));
        }
        let in_use = asked.server.sessions.find(id, asked.caller).ok_or_else(no_session)?;
        let Behind::Conversation(conversation) = in_use.0.behind.clone() else { return Err(no_session()) };
        return exchange(asked, &conversation, Some(in_use), false).await;
    }
    let own = asked.envelope.head().and_then(|head| head.meta.and_then(|meta| meta.version));
    if own.as_deref().or(version).is_some_and(|version| version >= STATELESS_SINCE) {
        let refused = mismatch(&asked, own.as_deref()).map(|mistake| (HEADER_MISMATCH, mistake));
        let refused = refused.or_else(|| incomplete(&asked).map(|mistake| (INVALID_PARAMS, mistake)));
        if let Some((code, mistake)) = refused {
            let id = asked.envelope.id.map(RawValue::get);
            return Ok(json(StatusCode::BAD_REQUEST, error_answer(id, code, &mistake)));
        }
        let conversation = asked.server.stateless().await?;
        return exchange(asked, &conversation, None, true).await;
    }
    if begins {
        return initialize(asked).await;
    }
    let id = asked.envelope.id.map(RawValue::get);
    Ok(json(StatusCode::BAD_REQUEST, error_answer(id, SERVER_ERROR, "the Mcp-Session-Id header is missing")))
}

/// Headers repeat what the message says, and must not say something else.
fn mismatch(asked: &Asked<'_>, version: Option<&str>) -> Option<String> {
    let head = asked.envelope.head().unwrap_or_default();
    let object = match asked.envelope.method() {
        "tools/call" | "prompts/get" => head.name,
        "resources/read" => head.uri,
        _ => None,
    };
    let said = [
        (PROTOCOL_VERSION, version.map(str::to_owned)),
        (METHOD, Some(asked.envelope.method().to_owned())),
        (NAME, object),
    ];
    said.into_iter().find_map(|(name, wanted)| {
        let wanted = wanted?;
        let found = text(asked.headers, name);
        (found != Some(wanted.as_str()))
            .then(|| format!("the header {name} does not say what the message says"))
    })
}

/// Every request says which version it is of and what its client can do: nothing is remembered from one to the next.
fn incomplete(asked: &Asked<'_>) -> Option<String> {
    if !asked.envelope.is_request() {
        return None;
    }
    let meta = asked.envelope.head().and_then(|head| head.meta).unwrap_or_default();
    let said = [(META_VERSION, meta.version.is_some()), (META_CAPABILITIES, meta.capabilities.is_some())];
    let missing = said.into_iter().find(|(_, is_said)| !is_said);
    missing.map(|(name, _)| format!("the request's _meta lacks {name}"))
}

/// Begins a session, with a conversation of its own.
async fn initialize(asked: Asked<'_>) -> Result<Response, Problem> {
    let server = &asked.server;
    let opening = server.sessions.begin()?;
    let conversation = server.connect(Side::Client).await?;
    let unclaimed = Unclaimed::new(&conversation);
    let failed = |reason: String| Problem::from(server.failed(&reason));
    let mut exchange = conversation.ask(&asked.envelope).await.map_err(|ended| failed(ended.to_string()))?;
    let timeout = server.options.start_timeout.get();
    let answer = match tokio::time::timeout(timeout, &mut exchange.answer).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => return Err(failed(exchange.ended().to_string())),
        Err(_) => {
            conversation.kill("it does not begin");
            return Err(failed(format!("it did not answer within `start_timeout`, {}s", timeout.as_secs())));
        }
    };
    let is_refused = Envelope::read(&answer).is_none_or(|envelope| envelope.error.is_some());
    let mut response = json(StatusCode::OK, answer);
    if !is_refused {
        unclaimed.claim();
        let id = server.sessions.keep(opening, asked.caller, Behind::Conversation(conversation));
        let id =
            HeaderValue::try_from(id).map_err(|error| Problem::internal("making a session id", &error))?;
        response.headers_mut().insert(HeaderName::from_static(SESSION_ID), id);
    }
    Ok(response)
}

async fn exchange(
    asked: Asked<'_>,
    conversation: &Conversation,
    in_use: Option<InUse>,
    is_stateless: bool,
) -> Result<Response, Problem> {
    let server = asked.server.name.to_string();
    let failed = |reason: String| GatewayError::Failed { server: server.clone(), reason };
    if !asked.envelope.is_request() {
        conversation.tell(&asked.envelope).await.map_err(|ended| failed(ended.to_string()))?;
        return Ok(StatusCode::ACCEPTED.into_response());
    }
    let timeout = asked.server.options.timeout.get();
    // What a client listens to has no end.
    let listens = asked.envelope.method() == "subscriptions/listen";
    let deadline = (!listens).then(|| Instant::now() + timeout);
    let id = asked.envelope.id.map_or("null", RawValue::get).to_owned();
    let exchange = conversation.ask(&asked.envelope).await.map_err(|ended| failed(ended.to_string()))?;
    let mut guards = asked.guards;
    guards.in_use = in_use;
    let mut answering = Answering {
        exchange,
        deadline,
        guards,
        held: asked.held,
        id,
        stopping: asked.stopping,
        is_done: false,
        listens: true,
    };
    match answering.next().await {
        Said::Answer(answer) => {
            let status = if is_stateless { status_of(&answer) } else { StatusCode::OK };
            Ok(json(status, answer))
        }
        Said::TimedOut => {
            answering.probe(&asked.server.shared.tasks);
            Err(GatewayError::TimedOut { server, timeout }.into())
        }
        Said::Ended(reason) => Err(failed(reason).into()),
        Said::Notice(first) => {
            let tasks = asked.server.shared.tasks.clone();
            Ok(stream_of(stream::unfold((Some(first), answering), move |(first, mut answering)| {
                let tasks = tasks.clone();
                async move {
                    if let Some(first) = first {
                        return Some((event(&first), (None, answering)));
                    }
                    if answering.is_done {
                        return None;
                    }
                    let bytes = match tokio::time::timeout(KEEP_ALIVE, answering.next()).await {
                        Err(_) => Bytes::from_static(b": \n\n"),
                        Ok(Said::Notice(message) | Said::Answer(message)) => event(&message),
                        Ok(Said::TimedOut) => {
                            answering.probe(&tasks);
                            let message = format!("the server did not answer within {}s", timeout.as_secs());
                            event(&error_answer(Some(&answering.id), REQUEST_TIMEOUT, &message))
                        }
                        Ok(Said::Ended(reason)) => {
                            event(&error_answer(Some(&answering.id), SERVER_ERROR, &reason))
                        }
                    };
                    Some((bytes, (None, answering)))
                }
            })))
        }
    }
}

/// The status of an answer in the protocol without sessions.
fn status_of(answer: &[u8]) -> StatusCode {
    #[derive(serde::Deserialize)]
    struct Code {
        code: i64,
    }
    let error = Envelope::read(answer).and_then(|envelope| envelope.error);
    match error.and_then(|error| serde_json::from_str::<Code>(error.get()).ok()) {
        Some(Code { code: METHOD_NOT_FOUND }) => StatusCode::NOT_FOUND,
        Some(Code { code }) if BAD_REQUESTS.contains(&code) => StatusCode::BAD_REQUEST,
        _ => StatusCode::OK,
    }
}

fn stream_of(events: impl Stream<Item = Bytes> + Send + 'static) -> Response {
    let events = futures_util::StreamExt::map(events, Ok::<_, Infallible>);
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform")),
    ];
    (headers, Body::from_stream(events)).into_response()
}

enum Said {
    Notice(Bytes),
    Answer(Bytes),
    TimedOut,
    Ended(String),
}

/// A request whose answer is being waited for.
struct Answering {
    exchange: Exchange,
    deadline: Option<Instant>,
    guards: Guards,
    held: super::policy::Held,
    id: String,
    stopping: CancellationToken,
    is_done: bool,
    listens: bool,
}

impl Answering {
    /// What is said next; the answer comes after all notices.
    async fn next(&mut self) -> Said {
        let deadline = self.deadline;
        let late = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(late);
        let said = loop {
            break tokio::select! {
                biased;
                notice = self.exchange.notices.recv(), if self.listens => {
                    let Some(notice) = notice else {
                        // The answer is there, or will never be.
                        self.listens = false;
                        continue;
                    };
                    return Said::Notice(notice);
                }
                answer = &mut self.exchange.answer => match answer {
                    Ok(answer) => Said::Answer(answer),
                    Err(_) => Said::Ended(self.exchange.ended().to_string()),
                },
                () = self.stopping.cancelled() => Said::Ended("paddock is stopping".to_owned()),
                () = &mut late => Said::TimedOut,
            };
        };
        self.is_done = true;
        self.guards.finish(match &said {
            Said::Answer(answer) => outcome_of(answer),
            Said::TimedOut => "timeout",
            Said::Ended(_) | Said::Notice(_) => "failed",
        });
        match said {
            Said::Answer(answer) => Said::Answer(shown(&self.held, answer)),
            said => said,
        }
    }

    /// Whoever does not answer may not live any more.
    fn probe(&self, tasks: &paddock_platform::task::Tasks) {
        let (conversation, sent) = self.exchange.sent();
        tasks.spawn("registry_gateway_probe", async move { conversation.probe(sent).await });
    }
}

/// Streams what the server says beside its answers.
pub(super) fn listen(in_use: InUse, stopping: CancellationToken) -> Result<Response, Problem> {
    let Behind::Conversation(conversation) = in_use.0.behind.clone() else { return Err(no_session()) };
    let messages = conversation.listen();
    let events =
        stream::unfold((messages, in_use, stopping), |(mut messages, in_use, stopping)| async move {
            let bytes = next_of(&mut messages, &stopping).await?;
            Some((bytes, (messages, in_use, stopping)))
        });
    Ok(stream_of(events))
}

async fn next_of(messages: &mut mpsc::Receiver<Bytes>, stopping: &CancellationToken) -> Option<Bytes> {
    tokio::select! {
        message = messages.recv() => message.map(|message| event(&message)),
        () = tokio::time::sleep(KEEP_ALIVE) => Some(Bytes::from_static(b": \n\n")),
        () = stopping.cancelled() => None,
    }
}
