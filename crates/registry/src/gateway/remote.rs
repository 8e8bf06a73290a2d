//! A server that is elsewhere, as a [`Line`]: over streamable HTTP, or over HTTP with server-sent events as in protocol
//! 2024-11-05.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderMap, HeaderValue, header};
use paddock_platform::task::Tasks;
use reqwest::{RequestBuilder, Response, StatusCode};
use tokio::sync::{Semaphore, mpsc};
use url::Url;

use super::{
    blocks::{Blocks, field},
    line::{End, Line, QUEUE_MAX},
    message::{Envelope, SERVER_ERROR, error_answer},
    secrets::Mask,
};

pub(super) const SESSION_ID: &str = "mcp-session-id";
pub(super) const PROTOCOL_VERSION: &str = "mcp-protocol-version";
pub(super) const METHOD: &str = "mcp-method";
pub(super) const NAME: &str = "mcp-name";
/// The first version without sessions, whose requests name their method and object in headers.
pub(super) const STATELESS_SINCE: &str = "2026-07-28";
/// Requests of one line at once; more wait.
const IN_FLIGHT_MAX: usize = 32;
/// How long the end of a session may take.
const END_DEADLINE: Duration = Duration::from_secs(5);

/// Where a server is, and how it is asked.
#[derive(Clone, Debug)]
pub(super) struct Remote {
    pub(super) url: Url,
    pub(super) http: reqwest::Client,
    /// Secrets among them.
    pub(super) headers: HeaderMap,
    pub(super) message_size_max: usize,
    pub(super) mask: Arc<Mask>,
}

/// A server did not answer as servers do.
#[derive(Debug, thiserror::Error)]
pub(super) enum RemoteError {
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    #[error("it answers {0}")]
    Status(StatusCode),
    #[error("it answers with `{0}`, which is neither JSON nor an event stream")]
    MediaType(String),
    #[error("it says more than `message_size_max`, {0} bytes, at once")]
    TooLarge(usize),
    #[error("it does not say where messages go")]
    NoEndpoint,
}

impl Remote {
    /// Why a request failed, without its URL: that may hold a secret.
    pub(super) fn failure(&self, error: reqwest::Error) -> RemoteError {
        let error = error.without_url();
        RemoteError::Unreachable(self.mask.clean_text(&paddock_platform::problem::error_chain(&error)))
    }

    /// The whole body of an answer, without secrets.
    pub(super) async fn body(&self, response: Response) -> Result<Bytes, RemoteError> {
        let mut body = Vec::new();
        let mut chunks = response.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            body.extend_from_slice(&chunk.map_err(|error| self.failure(error))?);
            if body.len() > self.message_size_max {
                return Err(RemoteError::TooLarge(self.message_size_max));
            }
        }
        Ok(self.mask.clean(body.into()))
    }
}

pub(super) fn is_event_stream(response: &Response) -> bool {
    media_type(response).starts_with("text/event-stream")
}

fn media_type(response: &Response) -> String {
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.unwrap_or_default().to_ascii_lowercase()
}

/// What was agreed upon when the conversation began.
#[derive(Debug, Default)]
struct Agreed {
    session: Option<HeaderValue>,
    version: Option<HeaderValue>,
}

/// One conversation over streamable HTTP.
struct Streamable {
    remote: Remote,
    agreed: Mutex<Agreed>,
    incoming: mpsc::Sender<Bytes>,
    end: End,
}

/// Opens a line over streamable HTTP. Nothing is sent before the first message.
pub(super) fn open_streamable(remote: Remote, tasks: &Tasks) -> Line {
    let end = End::default();
    let (outgoing, mut to_send) = mpsc::channel::<Bytes>(QUEUE_MAX);
    let (incoming, received) = mpsc::channel(QUEUE_MAX);
    let line = Arc::new(Streamable { remote, agreed: Mutex::default(), incoming, end: end.clone() });
    let (own, ending) = (tasks.clone(), end.clone());
    let stopping = tasks.stop_token();
    tasks.spawn("registry_gateway_remote", async move {
        let places = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
        let sending = async {
            while let Some(message) = to_send.recv().await {
                let begins = Envelope::read(&message).is_some_and(|message| message.method() == "initialize");
                if begins {
                    // What comes after it needs what is agreed upon in it.
                    line.exchange(message).await;
                    continue;
                }
                let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
                let line = Arc::clone(&line);
                own.spawn("registry_gateway_request", async move {
                    let ending = line.end.clone();
                    tokio::select! { () = line.exchange(message) => {}, () = ending.closed() => {} }
                    drop(place);
                });
            }
        };
        tokio::select! { () = sending => {}, () = ending.closed() => {}, () = stopping.cancelled() => {} }
        line.hang_up().await;
        ending.set_ended("the connection was closed");
    });
    Line { outgoing, incoming: received, end }
}

impl Streamable {
    /// Sends one message and passes on what is answered to it.
    async fn exchange(&self, message: Bytes) {
        let Some(envelope) = Envelope::read(&message) else { return };
        let result = self.send(message.clone(), &envelope).await;
        if let (Err(error), Some(id)) = (result, envelope.id.filter(|_| envelope.is_request())) {
            let answer = error_answer(Some(id.get()), SERVER_ERROR, &error.to_string());
            let _ = self.incoming.send(answer).await;
        }
    }

    async fn send(&self, message: Bytes, envelope: &Envelope<'_>) -> Result<(), RemoteError> {
        let request = self.remote.http.post(self.remote.url.clone()).body(message);
        let response = self.with_headers(request, envelope).send().await;
        let response = response.map_err(|error| self.remote.failure(error))?;
        let begins = envelope.method() == "initialize";
        if begins {
            self.lock().session = response.headers().get(SESSION_ID).cloned();
        }
        let status = response.status();
        if status == StatusCode::NOT_FOUND && self.lock().session.is_some() {
            self.end.kill("it has forgotten the session");
        }
        if is_event_stream(&response) && status.is_success() {
            return self.pass_events(response).await;
        }
        let kind = media_type(&response);
        let body = self.remote.body(response).await?;
        let is_message = kind.contains("json") && Envelope::read(&body).is_some();
        if !is_message {
            return match status {
                status if !status.is_success() => Err(RemoteError::Status(status)),
                _ if body.trim_ascii().is_empty() => Ok(()),
                _ => Err(RemoteError::MediaType(kind)),
            };
        }
        if begins {
            self.agree(&body);
        }
        let _ = self.incoming.send(body).await;
        Ok(())
    }

    fn with_headers(&self, request: RequestBuilder, envelope: &Envelope<'_>) -> RequestBuilder {
        let mut headers = self.remote.headers.clone();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        let head = envelope.head().unwrap_or_default();
        let own = head.meta.and_then(|meta| meta.version);
        {
            let agreed = self.lock();
            if let Some(session) = &agreed.session {
                headers.insert(SESSION_ID, session.clone());
            }
            if let Some(version) = &agreed.version {
                headers.insert(PROTOCOL_VERSION, version.clone());
            }
        }
        if let Some(version) = own.filter(|version| version.as_str() >= STATELESS_SINCE) {
            let said = [
                (PROTOCOL_VERSION, Some(version)),
                (METHOD, envelope.method.as_deref().map(str::to_owned)),
                (NAME, head.name.or(head.uri)),
            ];
            for (name, value) in said {
                if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
                    headers.insert(name, value);
                }
            }
        }
        request.headers(headers)
    }

    /// Remembers the version that the server chose.
    fn agree(&self, answer: &[u8]) {
        let answer: serde_json::Value = serde_json::from_slice(answer).unwrap_or_default();
        let version = answer["result"]["protocolVersion"].as_str();
        self.lock().version = version.and_then(|version| HeaderValue::try_from(version).ok());
    }

    async fn pass_events(&self, response: Response) -> Result<(), RemoteError> {
        let mut blocks = Blocks::new(self.remote.message_size_max);
        let mut chunks = response.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            blocks.push(&chunk.map_err(|error| self.remote.failure(error))?);
            while let Some(block) =
                blocks.next().map_err(|_| RemoteError::TooLarge(self.remote.message_size_max))?
            {
                let Some(data) = field(&block, "data").filter(|data| !data.is_empty()) else { continue };
                let message = self.remote.mask.clean(data.into());
                if self.lock().version.is_none()
                    && message.windows(17).any(|part| part == b"\"protocolVersion\"")
                {
                    self.agree(&message);
                }
                if self.incoming.send(message).await.is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn hang_up(&self) {
        let Some(session) = self.lock().session.take() else { return };
        let mut headers = self.remote.headers.clone();
        headers.insert(SESSION_ID, session);
        let request = self.remote.http.delete(self.remote.url.clone()).headers(headers).timeout(END_DEADLINE);
        // A server need not let sessions be ended.
        let _ = request.send().await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Agreed> {
        self.agreed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens a line over HTTP with server-sent events: one stream for all that comes, and requests for all that goes.
pub(super) async fn open_sse(remote: Remote, tasks: &Tasks) -> Result<Line, RemoteError> {
    let request = remote.http.get(remote.url.clone()).headers(remote.headers.clone());
    let response = request.header(header::ACCEPT, "text/event-stream").send().await;
    let response = response.map_err(|error| remote.failure(error))?;
    if !response.status().is_success() {
        return Err(RemoteError::Status(response.status()));
    }
    if !is_event_stream(&response) {
        return Err(RemoteError::MediaType(media_type(&response)));
    }
    let mut blocks = Blocks::new(remote.message_size_max);
    let mut chunks = Box::pin(response.bytes_stream());
    let endpoint = loop {
        let Some(chunk) = chunks.next().await else { return Err(RemoteError::NoEndpoint) };
        blocks.push(&chunk.map_err(|error| remote.failure(error))?);
        let block = blocks.next().map_err(|_| RemoteError::TooLarge(remote.message_size_max))?;
        let Some(block) = block else { continue };
        if field(&block, "event").as_deref() == Some(b"endpoint") {
            let data = field(&block, "data").unwrap_or_default();
            let endpoint = std::str::from_utf8(&data).ok().and_then(|text| remote.url.join(text).ok());
            // Credentials go to the server that they are for, and nowhere else.
            let endpoint = endpoint.filter(|endpoint| endpoint.origin() == remote.url.origin());
            break endpoint.ok_or(RemoteError::NoEndpoint)?;
        }
    };
    let end = End::default();
    let (outgoing, to_send) = mpsc::channel::<Bytes>(QUEUE_MAX);
    let (incoming, received) = mpsc::channel(QUEUE_MAX);
    let sending = post_all(remote.clone(), endpoint, to_send, incoming.clone());
    let (ending, receiving_end) = (end.clone(), end.clone());
    let stopping = tasks.stop_token();
    tasks.spawn("registry_gateway_remote", async move {
        let receiving = async {
            loop {
                let block = match blocks.next() {
                    Ok(block) => block,
                    Err(error) => return receiving_end.kill(error.to_string()),
                };
                if let Some(block) = block {
                    let Some(data) = field(&block, "data").filter(|data| !data.is_empty()) else { continue };
                    if incoming.send(remote.mask.clean(data.into())).await.is_err() {
                        return;
                    }
                    continue;
                }
                match chunks.next().await {
                    Some(Ok(chunk)) => blocks.push(&chunk),
                    Some(Err(_)) | None => return,
                }
            }
        };
        tokio::select! { () = receiving => {}, () = sending => {}, () = ending.closed() => {}, () = stopping.cancelled() => {} }
        ending.set_ended("the connection was closed");
    });
    Ok(Line { outgoing, incoming: received, end })
}

async fn post_all(
    remote: Remote,
    endpoint: Url,
    mut to_send: mpsc::Receiver<Bytes>,
    incoming: mpsc::Sender<Bytes>,
) {
    while let Some(message) = to_send.recv().await {
        let request = remote.http.post(endpoint.clone()).headers(remote.headers.clone());
        let request = request.header(header::CONTENT_TYPE, "application/json").body(message.clone());
        let failure = match request.send().await {
            Ok(response) if response.status().is_success() => continue,
            Ok(response) => RemoteError::Status(response.status()),
            Err(error) => remote.failure(error),
        };
        let id = Envelope::read(&message).filter(Envelope::is_request).and_then(|message| message.id);
        if let Some(id) = id {
            let _ = incoming.send(error_answer(Some(id.get()), SERVER_ERROR, &failure.to_string())).await;
        }
    }
}
