//! Passes messages between standard input and output and the `/mcp` of a running server.
//!
//! Messages pass as they are: the server's answers, versions and errors are the client's to understand. What the two
//! transports do differently is done here: the headers that HTTP wants, the session id, and cancelling by hanging up.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::StreamExt;
use paddock_platform::task::Tasks;
use reqwest::{Method, RequestBuilder, Response, header};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    sync::{Semaphore, mpsc},
};
use tokio_util::sync::CancellationToken;

use crate::{
    client::Client,
    exit::{CommandError, CommandResult, Exit},
};

/// Longest message from the client, and longest event from the server.
const MESSAGE_SIZE_MAX: u64 = 64 << 20;
/// Messages that are passed on at once; more wait in the pipe.
const IN_FLIGHT_MAX: usize = 64;
/// Messages that wait for the client to read them.
const ANSWERS_MAX: usize = 64;
/// How long open requests may take to end when the client has gone.
const END_DEADLINE: std::time::Duration = std::time::Duration::from_secs(5);
const SESSION_ID: &str = "mcp-session-id";
const PROTOCOL_VERSION: &str = "mcp-protocol-version";
/// The first version whose requests name their method in a header.
const STANDARD_HEADERS: &str = "2026-07-28";

/// What has to be known of a message from the client.
#[derive(Default, Deserialize)]
struct Message {
    id: Option<Value>,
    #[serde(default)]
    method: String,
    #[serde(default)]
    params: Value,
}

/// What was agreed upon when the conversation began.
#[derive(Clone, Default)]
struct Agreed {
    session: Option<header::HeaderValue>,
    version: Option<String>,
}

struct Bridge {
    client: Client,
    agreed: Mutex<Agreed>,
    open: Mutex<HashMap<String, CancellationToken>>,
    answers: mpsc::Sender<Vec<u8>>,
}

/// Runs until the client closes its end.
pub(super) async fn run(client: Client, stop: CancellationToken) -> CommandResult {
    let (answers, to_write) = mpsc::channel(ANSWERS_MAX);
    let tasks = Tasks::default();
    tasks.spawn("mcp_bridge_write", write(to_write, stop.clone()));
    let bridge = Arc::new(Bridge { client, agreed: Mutex::default(), open: Mutex::default(), answers });
    let read = stop.run_until_cancelled(read(Arc::clone(&bridge), &tasks));
    let outcome = read.await.unwrap_or(Ok(()));
    bridge.hang_up().await;
    drop(bridge);
    let _ = tasks.stop(END_DEADLINE).await;
    outcome
}

async fn read(bridge: Arc<Bridge>, tasks: &Tasks) -> CommandResult {
    let places = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
    let mut input = BufReader::new(tokio::io::stdin());
    loop {
        let mut line = Vec::new();
        let read = (&mut input).take(MESSAGE_SIZE_MAX).read_until(b'\n', &mut line).await;
        let size = read.map_err(|error| CommandError::from_error(Exit::Failure, &error))?;
        if size == 0 {
            return Ok(());
        }
        if size as u64 == MESSAGE_SIZE_MAX {
            return Err(CommandError::new(Exit::Failure, "a message of the client has over 64 MiB"));
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let message: Message = serde_json::from_slice(&line).unwrap_or_default();
        // The handshake comes before all else; everything after it may overtake.
        if matches!(message.method.as_str(), "initialize" | "notifications/initialized") {
            bridge.pass(line, message).await;
            continue;
        }
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return Ok(()) };
        let bridge = Arc::clone(&bridge);
        tasks.spawn("mcp_bridge_message", async move {
            bridge.pass(line, message).await;
            drop(place);
        });
    }
}

async fn write(mut answers: mpsc::Receiver<Vec<u8>>, stop: CancellationToken) {
    let mut output = tokio::io::stdout();
    while let Some(mut answer) = answers.recv().await {
        answer.push(b'\n');
        if output.write_all(&answer).await.is_err() || output.flush().await.is_err() {
            // Nobody reads any more.
            return stop.cancel();
        }
    }
}

impl Bridge {
    /// Passes one message on, and its answers back.
    async fn pass(&self, line: Vec<u8>, message: Message) {
        if message.method == "notifications/cancelled" {
            self.cancel(&message.params["requestId"]);
        }
        let id = message.id.as_ref().map(Value::to_string);
        let token = CancellationToken::new();
        if let Some(id) = &id {
            self.lock_open().insert(id.clone(), token.clone());
        }
        let passing = self.exchange(line, &message);
        let outcome = token.run_until_cancelled(passing).await.unwrap_or(Ok(()));
        if let Some(id) = &id {
            self.lock_open().remove(id);
        }
        if let (Err(error), Some(id)) = (outcome, message.id) {
            let error = json!({"code": -32603, "message": error.to_string()});
            self.answer(json!({"jsonrpc": "2.0", "id": id, "error": error}).to_string().into_bytes()).await;
        }
    }

    async fn exchange(&self, line: Vec<u8>, message: &Message) -> Result<(), CommandError> {
        let request = self.client.request(Method::POST, "/mcp").body(line);
        let response = self.client.send(self.with_headers(request, message)).await?;
        if message.method == "initialize" {
            self.lock_agreed().session = response.headers().get(SESSION_ID).cloned();
        }
        let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        if kind.is_some_and(|kind| kind.starts_with("text/event-stream")) {
            return self.pass_events(response).await;
        }
        let body = response.bytes().await.map_err(|error| broke_off(&error))?;
        if body.is_empty() {
            return Ok(());
        }
        let answer: &RawValue = serde_json::from_slice(&body)
            .map_err(|_| CommandError::new(Exit::Failure, "the server's answer is not JSON"))?;
        if message.method == "initialize" {
            let answer: Value = serde_json::from_str(answer.get()).unwrap_or_default();
            self.lock_agreed().version = answer["result"]["protocolVersion"].as_str().map(str::to_owned);
        }
        self.answer(answer.get().as_bytes().to_vec()).await;
        Ok(())
    }

    fn with_headers(&self, request: RequestBuilder, message: &Message) -> RequestBuilder {
        let agreed = self.lock_agreed().clone();
        let mut request = request
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json, text/event-stream");
        let own = message.params["_meta"]["io.modelcontextprotocol/protocolVersion"].as_str();
        let version = own.map(str::to_owned).or(agreed.version).filter(|_| message.method != "initialize");
        if let Some(version) = version {
            if version.as_str() >= STANDARD_HEADERS {
                request = request.header("mcp-method", &message.method);
                let name = message.params["name"].as_str().or_else(|| message.params["uri"].as_str());
                if let Some(name) = name {
                    request = request.header("mcp-name", name);
                }
            }
            request = request.header(PROTOCOL_VERSION, version);
        }
        match agreed.session {
            Some(session) => request.header(SESSION_ID, session),
            None => request,
        }
    }

    /// Passes the messages of an event stream (WHATWG HTML, section 9.2.6) on; only `data` matters here.
    async fn pass_events(&self, response: Response) -> Result<(), CommandError> {
        let mut chunks = response.bytes_stream();
        let (mut line, mut data) = (Vec::new(), Vec::new());
        while let Some(chunk) = chunks.next().await {
            for byte in chunk.map_err(|error| broke_off(&error))? {
                if byte != b'\n' {
                    line.push(byte);
                    if (line.len() + data.len()) as u64 > MESSAGE_SIZE_MAX {
                        return Err(CommandError::new(
                            Exit::Failure,
                            "an answer of the server has over 64 MiB",
                        ));
                    }
                    continue;
                }
                let text = line.strip_suffix(b"\r").unwrap_or(&line);
                if text.is_empty() {
                    if !data.is_empty() {
                        self.answer(std::mem::take(&mut data)).await;
                    }
                } else if let Some(more) = text.strip_prefix(b"data:") {
                    data.extend_from_slice(more.trim_ascii_start());
                }
                line.clear();
            }
        }
        Ok(())
    }

    async fn answer(&self, answer: Vec<u8>) {
        // A reader that went away ends the conversation elsewhere.
        let _ = self.answers.send(answer).await;
    }

    fn cancel(&self, id: &Value) {
        if let Some(token) = self.lock_open().get(&id.to_string()) {
            token.cancel();
        }
    }

    /// Cancels what is open and ends the session.
    async fn hang_up(&self) {
        self.lock_open().values().for_each(CancellationToken::cancel);
        let session = self.lock_agreed().session.clone();
        if let Some(session) = session {
            let request = self.client.request(Method::DELETE, "/mcp").header(SESSION_ID, session);
            let _ = request.timeout(END_DEADLINE).send().await;
        }
    }

    fn lock_agreed(&self) -> std::sync::MutexGuard<'_, Agreed> {
        self.agreed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_open(&self) -> std::sync::MutexGuard<'_, HashMap<String, CancellationToken>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn broke_off(error: &reqwest::Error) -> CommandError {
    CommandError::from_error(Exit::NoServer, error)
}
