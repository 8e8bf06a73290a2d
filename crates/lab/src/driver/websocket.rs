//! WebSocket: one connection per seat, a message out, an answer back.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _, future::BoxFuture};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{Error, Message},
};

use super::{
    BuildContext, BuildError, Call, Driver, Extra, Failure, Options, Outcome, Seat, Session, Target,
    connect::io_failure,
};
use crate::variables::{Bound, Template};

/// Messages that are looked at while waiting for the answer.
const MESSAGES_MAX: usize = 10_000;

/// One message and its answer: `websocket = { url = "ws://…", message = "ping" }`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebSocketOptions {
    /// Absolute address, `ws` only; the same for every operation.
    pub url: Template,
    /// Text that is sent.
    pub message: Template,
    /// The answer is the first message that contains this text; without it, the first message.
    #[serde(default)]
    pub answer_contains: Option<Template>,
    /// Whether every operation opens a connection of its own, which is then part of its latency.
    #[serde(default)]
    pub reconnect: bool,
}

impl Options for WebSocketOptions {
    fn build(&self, context: &BuildContext) -> Result<Arc<dyn Driver>, BuildError> {
        let url = self.url.bind(&context.variables)?;
        let Bound::Fixed(url) = url else {
            return Err(BuildError::field("url", "must be the same for every operation"));
        };
        let parsed = url::Url::parse(&url)
            .map_err(|error| BuildError::field("url", format!("`{url}` is not an address: {error}")))?;
        if parsed.scheme() != "ws" {
            return Err(BuildError::field("url", format!("`{url}` must begin with `ws://`")));
        }
        let host = match parsed.host() {
            Some(url::Host::Domain(name)) => name.to_owned(),
            Some(url::Host::Ipv4(address)) => address.to_string(),
            Some(url::Host::Ipv6(address)) => address.to_string(),
            None => return Err(BuildError::field("url", format!("`{url}` has no host"))),
        };
        let target = Target { host, port: parsed.port().unwrap_or(80) };
        Ok(Arc::new(WebSocket {
            url: url.into(),
            target,
            message: self.message.bind(&context.variables)?,
            answer: self.answer_contains.as_ref().map(|text| text.bind(&context.variables)).transpose()?,
            reconnect: self.reconnect,
        }))
    }
}

#[derive(Clone, Debug)]
struct WebSocket {
    url: Arc<str>,
    target: Target,
    message: Bound,
    answer: Option<Bound>,
    reconnect: bool,
}

impl Driver for WebSocket {
    fn session(&self, _: Seat) -> Box<dyn Session> {
        Box::new(WebSocketSession { driver: self.clone(), stream: None })
    }

    fn targets(&self) -> Vec<Target> {
        vec![self.target.clone()]
    }
}

type Stream = WebSocketStream<MaybeTlsStream<TcpStream>>;

struct WebSocketSession {
    driver: WebSocket,
    /// Taken out while it is used: a deadline closes it.
    stream: Option<Stream>,
}

impl Session for WebSocketSession {
    fn prepare(&mut self) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(async move {
            if !self.driver.reconnect && self.stream.is_none() {
                self.stream = Some(self.open().await?);
            }
            Ok(())
        })
    }

    fn execute<'a>(&'a mut self, call: Call<'a>) -> BoxFuture<'a, Outcome> {
        Box::pin(async move { self.converse(call).await.unwrap_or_else(Outcome::failed) })
    }
}

impl WebSocketSession {
    async fn open(&self) -> Result<Stream, Failure> {
        let (stream, _) =
            tokio_tungstenite::connect_async(&*self.driver.url).await.map_err(|e| failure(&e))?;
        if let MaybeTlsStream::Plain(tcp) = stream.get_ref() {
            // Best effort, as for HTTP.
            let _ = tcp.set_nodelay(true);
        }
        Ok(stream)
    }

    async fn converse(&mut self, call: Call<'_>) -> Result<Outcome, Failure> {
        let started = Instant::now();
        let mut extra = Vec::new();
        let mut stream = if let Some(stream) = self.stream.take() {
            stream
        } else {
            let stream = self.open().await?;
            extra.push(Extra { name: "connect", time: started.elapsed(), from_start: false });
            stream
        };
        let message = self.driver.message.text(call.variables, call.index).into_owned();
        stream.send(Message::text(message)).await.map_err(|error| failure(&error))?;
        let wanted = self.driver.answer.as_ref().map(|answer| answer.text(call.variables, call.index));
        for _ in 0..MESSAGES_MAX {
            let message = stream.next().await.unwrap_or(Err(Error::ConnectionClosed));
            let body = match message.map_err(|error| failure(&error))? {
                Message::Text(text) => Bytes::copy_from_slice(text.as_bytes()),
                Message::Binary(bytes) => bytes,
                Message::Close(_) => return Err(Failure::new("closed", "the server closed the connection")),
                _ => continue,
            };
            let is_answer = wanted
                .as_deref()
                .is_none_or(|wanted| std::str::from_utf8(&body).is_ok_and(|text| text.contains(wanted)));
            if is_answer {
                if self.driver.reconnect {
                    // The answer counts; how the connection ends does not.
                    let _ = stream.close(None).await;
                } else {
                    self.stream = Some(stream);
                }
                return Ok(Outcome { body, extra, ..Outcome::default() });
            }
        }
        Err(Failure::new("no-answer", format!("none of {MESSAGES_MAX} messages was the answer")))
    }
}

fn failure(error: &Error) -> Failure {
    match error {
        Error::Io(io) => io_failure("io", "the connection", io),
        Error::ConnectionClosed | Error::AlreadyClosed => Failure::new("closed", error.to_string()),
        Error::Http(response) => {
            Failure::new(format!("http-{}", response.status().as_u16()), "the server refused the upgrade")
        }
        Error::Protocol(_) => Failure::new("protocol", error.to_string()),
        _ => Failure::new("websocket", error.to_string()),
    }
}
