//! `/mcp/{server}` of a server that speaks streamable HTTP itself: requests and answers pass as they are, but for
//! credentials, sessions and what the caller may not see.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use paddock_platform::problem::Problem;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    blocks::{Blocks, field, with_data},
    bridge::no_session,
    error::GatewayError,
    message::{Envelope, REQUEST_TIMEOUT, SERVER_ERROR, error_answer},
    policy::Held,
    remote::{Remote, RemoteError, SESSION_ID, is_event_stream},
    routes::{Asked, Guards, outcome_of, shown},
    server::Server,
    sessions::{Behind, InUse},
};

/// Headers of a request that pass, beside all that begin with `mcp-`.
const REQUEST_HEADERS: [HeaderName; 2] = [header::ACCEPT, header::CONTENT_TYPE];
/// Headers of an answer that pass, beside all that begin with `mcp-`.
const ANSWER_HEADERS: [HeaderName; 3] = [header::CONTENT_TYPE, header::RETRY_AFTER, header::ALLOW];
const LAST_EVENT_ID: &str = "last-event-id";

fn upstream_of(in_use: &InUse) -> Result<HeaderValue, Problem> {
    match &in_use.0.behind {
        Behind::Upstream(session) => Ok(session.clone()),
        Behind::Conversation(_) => Err(no_session()),
    }
}

fn passing(headers: &HeaderMap, names: &[HeaderName]) -> HeaderMap {
    let passes = |name: &HeaderName| {
        names.contains(name)
            || name.as_str() == LAST_EVENT_ID
            || name.as_str().starts_with("mcp-") && name.as_str() != SESSION_ID
    };
    headers
        .iter()
        .filter(|(name, _)| passes(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn request(
    remote: &Remote,
    method: Method,
    headers: &HeaderMap,
    session: Option<HeaderValue>,
) -> reqwest::RequestBuilder {
    let mut all = passing(headers, &REQUEST_HEADERS);
    if let Some(session) = session {
        all.insert(HeaderName::from_static(SESSION_ID), session);
    }
    for (name, value) in &remote.headers {
        all.insert(name.clone(), value.clone());
    }
    remote.http.request(method, remote.url.clone()).headers(all)
}

fn failed(server: &Server, error: &RemoteError) -> Problem {
    GatewayError::Failed { server: server.name.to_string(), reason: error.to_string() }.into()
}

/// Passes a message on.
pub(super) async fn post(asked: Asked<'_>, remote: Remote) -> Result<Response, Problem> {
    let server = &asked.server;
    let mut guards = asked.guards;
    let session = match asked.headers.get(SESSION_ID).map(HeaderValue::to_str) {
        Some(Ok(id)) => {
            let in_use = server.sessions.find(id, asked.caller).ok_or_else(no_session)?;
            let upstream = upstream_of(&in_use)?;
            guards.in_use = Some(in_use);
            Some((id.to_owned(), upstream))
        }
        Some(Err(_)) => return Err(no_session()),
        None => None,
    };
    let begins = asked.envelope.method() == "initialize";
    let opening = begins.then(|| server.sessions.begin()).transpose()?;
    let timeout = server.options.timeout.get();
    let listens = asked.envelope.method() == "subscriptions/listen";
    let deadline = (!listens).then(|| Instant::now() + timeout);
    let upstream = session.as_ref().map(|(_, upstream)| upstream.clone());
    let sending = request(&remote, Method::POST, asked.headers, upstream).body(asked.body.clone()).send();
    let sent = tokio::select! {
        sent = sending => sent,
        () = late(deadline) => {
            guards.finish("timeout");
            return Err(GatewayError::TimedOut { server: server.name.to_string(), timeout }.into());
        }
    };
    let response = sent.map_err(|error| {
        guards.finish("failed");
        failed(server, &remote.failure(error))
    })?;
    if response.status() == StatusCode::NOT_FOUND
        && let Some((id, _)) = &session
    {
        server.sessions.end(id, asked.caller);
    }
    let theirs = response.headers().get(SESSION_ID).cloned();
    let kept = match (opening, theirs) {
        (Some(opening), Some(theirs)) => {
            Some(server.sessions.keep(opening, asked.caller, Behind::Upstream(theirs)))
        }
        _ => None,
    };
    let id = asked.envelope.id.map(|id| id.get().to_owned());
    let answering = Answering { remote, guards, held: asked.held, deadline, stopping: asked.stopping, id };
    let mut response = answering.answer(response, server).await?;
    if let Some(kept) = kept {
        let id =
            HeaderValue::try_from(kept).map_err(|error| Problem::internal("making a session id", &error))?;
        response.headers_mut().insert(HeaderName::from_static(SESSION_ID), id);
    }
    Ok(response)
}

/// Passes a request without a message on: for the server's stream.
pub(super) async fn listen(
    server: &Server,
    remote: Remote,
    headers: &HeaderMap,
    in_use: Option<InUse>,
    held: Held,
    stopping: CancellationToken,
) -> Result<Response, Problem> {
    let upstream = in_use.as_ref().map(upstream_of).transpose()?;
    let sent = request(&remote, Method::GET, headers, upstream).send().await;
    let response = sent.map_err(|error| failed(server, &remote.failure(error)))?;
    let guards = Guards::of_stream(in_use);
    Answering { remote, guards, held, deadline: None, stopping, id: None }.answer(response, server).await
}

/// Ends the server's own session.
pub(super) async fn end(
    server: &Server,
    remote: &Remote,
    headers: &HeaderMap,
    upstream: HeaderValue,
) -> Result<Response, Problem> {
    let timeout = server.options.timeout.get();
    let sent = request(remote, Method::DELETE, headers, Some(upstream)).timeout(timeout).send().await;
    let response = sent.map_err(|error| failed(server, &remote.failure(error)))?;
    Ok(response.status().into_response())
}

async fn late(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// A request whose answer is passed back.
struct Answering {
    remote: Remote,
    guards: Guards,
    held: Held,
    deadline: Option<Instant>,
    stopping: CancellationToken,
    id: Option<String>,
}

impl Answering {
    async fn answer(mut self, response: reqwest::Response, server: &Server) -> Result<Response, Problem> {
        let status = response.status();
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            // It is Paddock's credential that is refused, and not the caller's.
            self.guards.finish("failed");
            let reason = format!("it answers {status} to the credentials that it is given");
            return Err(GatewayError::Failed { server: server.name.to_string(), reason }.into());
        }
        let headers = passing(response.headers(), &ANSWER_HEADERS);
        if is_event_stream(&response) {
            let body = Body::from_stream(self.events(response));
            return Ok((status, headers, body).into_response());
        }
        let body = tokio::select! {
            body = self.remote.body(response) => body,
            () = late(self.deadline) => {
                self.guards.finish("timeout");
                let (server, timeout) = (server.name.to_string(), server.options.timeout.get());
                return Err(GatewayError::TimedOut { server, timeout }.into());
            }
        };
        let body = body.map_err(|error| {
            self.guards.finish("failed");
            failed(server, &error)
        })?;
        self.guards.finish(if status.is_success() { outcome_of(&body) } else { "refused" });
        Ok((status, headers, shown(&self.held, body)).into_response())
    }

    /// The events of an answer, until it ends, is late, or Paddock stops.
    fn events(
        self,
        response: reqwest::Response,
    ) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static {
        let blocks = Blocks::new(self.remote.message_size_max);
        let chunks = response.bytes_stream().boxed();
        stream::unfold(Some((self, blocks, chunks)), |state| async move {
            let (mut answering, mut blocks, mut chunks) = state?;
            loop {
                match blocks.next() {
                    Ok(Some(block)) => {
                        let block = answering.block(block);
                        return Some((Ok(block), Some((answering, blocks, chunks))));
                    }
                    Ok(None) => {}
                    Err(error) => {
                        return Some((Ok(answering.failure(SERVER_ERROR, &error.to_string())), None));
                    }
                }
                let chunk = tokio::select! {
                    chunk = chunks.next() => chunk,
                    () = answering.stopping.cancelled() => None,
                    () = late(answering.deadline) => {
                        answering.guards.finish("timeout");
                        return Some((Ok(answering.failure(REQUEST_TIMEOUT, "the server did not answer in time")), None));
                    }
                };
                match chunk {
                    Some(Ok(chunk)) => blocks.push(&chunk),
                    // Whoever reads sees that it broke off, as it did.
                    Some(Err(_)) => {
                        return Some((Err(std::io::Error::other("the server's stream broke off")), None));
                    }
                    None => {
                        answering.guards.finish("failed");
                        return None;
                    }
                }
            }
        })
    }

    fn failure(&self, code: i64, message: &str) -> Bytes {
        match &self.id {
            Some(id) => super::blocks::event(&error_answer(Some(id), code, message)),
            None => Bytes::from_static(b": \n\n"),
        }
    }

    fn block(&mut self, block: Bytes) -> Bytes {
        if self.guards.has_record() || !self.held.is_open() {
            let Some(data) = field(&block, "data").filter(|data| !data.is_empty()) else { return block };
            if Envelope::read(&data).is_some_and(|envelope| envelope.is_answer()) {
                self.guards.finish(outcome_of(&data));
            }
            let before = Bytes::from(data);
            let after = shown(&self.held, before.clone());
            if after != before {
                return self.remote.mask.clean(with_data(&block, &after));
            }
        }
        self.remote.mask.clean(block)
    }
}
