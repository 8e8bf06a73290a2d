//! HTTP connections that the steps of a seat share.
//!
//! HTTP/1.1 has one connection per seat and target, taken out while it is used: a deadline that drops the operation
//! drops the connection with it. HTTP/2 has a few connections that many seats share, each read by a task of its own.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use paddock_platform::task::Tasks;
use tokio::net::TcpStream;

use super::{
    BODY_KEPT_BYTES_MAX, Failure, Outcome, Seat,
    http1::{Framing, Http1},
};

/// Longest wait for a connection; an operation's own deadline may be earlier.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Version of HTTP that is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Version {
    #[default]
    One,
    /// HTTP/2 from the first byte (prior knowledge); the number is how many connections all seats share.
    Two { connections: usize },
}

/// A request in the form that each version wants it.
pub(crate) trait Ask {
    /// The method: it decides whether the answer has a body.
    fn method(&self) -> &Method;

    /// The whole request as HTTP/1.1 sends it.
    fn bytes(&self) -> Result<Bytes, Failure>;

    /// The request for HTTP/2.
    fn request(&self) -> Result<Request<Full<Bytes>>, Failure>;
}

/// Pools by target; a clone shares them.
#[derive(Clone, Debug, Default)]
pub struct Pools(Arc<Mutex<HashMap<Key, Arc<Pool>>>>);

/// Target and version.
type Key = (String, Version);

impl Pools {
    /// The pool of a target such as `127.0.0.1:8080`.
    pub(crate) fn pool(&self, authority: &str, version: Version, seats: usize, tasks: &Tasks) -> Arc<Pool> {
        let mut pools = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let pool = pools.entry((authority.to_owned(), version)).or_insert_with(|| {
            let shared = match version {
                Version::One => 0,
                Version::Two { connections } => connections.max(1),
            };
            Arc::new(Pool {
                authority: authority.to_owned(),
                own: (0..seats).map(|_| Mutex::default()).collect(),
                shared: (0..shared).map(|_| tokio::sync::Mutex::default()).collect(),
                tasks: tasks.clone(),
            })
        });
        Arc::clone(pool)
    }
}

/// Connections to one target.
#[derive(Debug)]
pub(crate) struct Pool {
    authority: String,
    own: Vec<Mutex<Option<Http1>>>,
    shared: Vec<tokio::sync::Mutex<Option<http2::SendRequest<Full<Bytes>>>>>,
    tasks: Tasks,
}

impl Pool {
    /// Opens the seat's connection if it has none.
    pub(crate) async fn prepare(&self, seat: Seat) -> Result<(), Failure> {
        if self.shared.is_empty() {
            let (connection, _) = self.take(seat).await?;
            self.put(seat, connection);
        } else {
            self.sender(seat).await?;
        }
        Ok(())
    }

    /// Sends a request; the answer's body has still to be read.
    pub(crate) async fn send(&self, seat: Seat, ask: &impl Ask) -> Result<Exchange, Failure> {
        if self.shared.is_empty() {
            let bytes = ask.bytes()?;
            let (mut connection, is_kept) = self.take(seat).await?;
            let head = match connection.request(&bytes, ask.method()).await {
                // The server closed the kept connection just when the request was on its way (RFC 9112, section 9.3.1).
                Err(_) if is_kept && ask.method().is_idempotent() && connection.has_received_nothing() => {
                    connection = self.open().await?;
                    connection.request(&bytes, ask.method()).await?
                }
                head => head?,
            };
            let body = Body::One { connection, framing: head.framing, keep: head.keep };
            return Ok(Exchange { status: head.status, body });
        }
        let request = ask.request()?;
        let mut sender = self.sender(seat).await?;
        let response = sender.send_request(request).await.map_err(|error| failure(&error))?;
        Ok(Exchange { status: response.status().as_u16(), body: Body::Two(response) })
    }

    fn put(&self, seat: Seat, connection: Http1) {
        if let Some(place) = self.own.get(seat.number) {
            *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection);
        }
    }

    async fn open(&self) -> Result<Http1, Failure> {
        Ok(Http1::new(connect(&self.authority).await?, &self.authority))
    }

    /// The seat's connection, and whether it has served a request before.
    async fn take(&self, seat: Seat) -> Result<(Http1, bool), Failure> {
        let kept = self
            .own
            .get(seat.number)
            .and_then(|place| place.lock().unwrap_or_else(PoisonError::into_inner).take())
            // A server may close a connection that is idle: no fault of the request that comes after.
            .filter(Http1::is_usable);
        match kept {
            Some(connection) => Ok((connection, true)),
            None => Ok((self.open().await?, false)),
        }
    }

    async fn sender(&self, seat: Seat) -> Result<http2::SendRequest<Full<Bytes>>, Failure> {
        let index = seat.number % self.shared.len().max(1);
        let Some(place) = self.shared.get(index) else {
            return Err(Failure::new("connect", "there is no connection to share"));
        };
        let mut kept = place.lock().await;
        if let Some(sender) = kept.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok(sender.clone());
        }
        let stream = connect(&self.authority).await?;
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| failure(&error))?;
        self.tasks.spawn("lab_http2_connection", async move {
            // Every request on it learns of the error itself.
            let _ = connection.await;
        });
        *kept = Some(sender.clone());
        Ok(sender)
    }
}

/// An answer whose body has still to be read.
pub(crate) struct Exchange {
    pub(crate) status: u16,
    body: Body,
}

enum Body {
    One { connection: Http1, framing: Framing, keep: bool },
    Two(Response<Incoming>),
}

impl Exchange {
    /// The next piece of the body; `None` at its end.
    pub(crate) async fn next(&mut self) -> Option<Result<Bytes, Failure>> {
        match &mut self.body {
            Body::One { connection, framing, .. } => connection.body(framing).await.transpose(),
            Body::Two(response) => loop {
                match response.body_mut().frame().await? {
                    Err(error) => return Some(Err(failure(&error))),
                    Ok(frame) => {
                        // Trailers are not a piece of the body.
                        if let Ok(data) = frame.into_data() {
                            return Some(Ok(data));
                        }
                    }
                }
            },
        }
    }

    /// Reads the whole body, and keeps it up to [`BODY_KEPT_BYTES_MAX`] if asked to.
    async fn read(&mut self, keep: bool) -> Result<Bytes, Failure> {
        if !keep && let Body::One { connection, framing: Framing::Length(left), .. } = &mut self.body {
            connection.skip(left).await?;
            return Ok(Bytes::new());
        }
        let mut kept = Kept::new(keep);
        while let Some(piece) = self.next().await {
            kept.add(&piece?);
        }
        Ok(kept.into_body())
    }

    /// The whole answer as what came of an operation; the seat may use the connection again.
    pub(crate) async fn outcome(mut self, keep: bool, pool: &Pool, seat: Seat) -> Result<Outcome, Failure> {
        let body = self.read(keep).await?;
        let answered = self.answered();
        self.finish(pool, seat);
        Ok(Outcome { body, ..answered })
    }

    /// What its status alone says: from 400 on, the server says no.
    pub(crate) fn answered(&self) -> Outcome {
        let refusal = (self.status >= 400).then(|| format!("http-{}", self.status).into());
        Outcome { status: Some(self.status.into()), refusal, ..Outcome::default() }
    }

    /// Gives the connection back; for answers that were read to their end.
    pub(crate) fn finish(self, pool: &Pool, seat: Seat) {
        if let Body::One { connection, keep: true, .. } = self.body {
            pool.put(seat, connection);
        }
    }
}

/// The beginning of a body, for checks: at most [`BODY_KEPT_BYTES_MAX`] of it.
#[derive(Debug)]
pub(crate) struct Kept {
    bytes: BytesMut,
    room: usize,
}

impl Kept {
    /// Keeps nothing unless it is wanted.
    pub(crate) fn new(is_wanted: bool) -> Self {
        Self { bytes: BytesMut::new(), room: if is_wanted { BODY_KEPT_BYTES_MAX } else { 0 } }
    }

    /// Adds the next piece, as far as there is room.
    pub(crate) fn add(&mut self, piece: &[u8]) {
        let beginning = piece.get(..self.room.min(piece.len())).unwrap_or_default();
        self.bytes.extend_from_slice(beginning);
        self.room -= beginning.len();
    }

    /// What was kept.
    pub(crate) fn into_body(self) -> Bytes {
        self.bytes.freeze()
    }
}

async fn connect(authority: &str) -> Result<TcpStream, Failure> {
    let stream = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(authority))
        .await
        .map_err(|_| Failure::new("connect-timeout", format!("{authority} did not accept within 10 s")))?
        .map_err(|error| io_failure("connect", authority, &error))?;
    // Best effort: without it small requests may wait for an acknowledgement.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// Names an I/O error as it is counted; `otherwise` is the kind of what has no name of its own.
pub(crate) fn io_failure(otherwise: &'static str, authority: &str, error: &std::io::Error) -> Failure {
    use std::io::ErrorKind;
    let kind = match error.kind() {
        ErrorKind::ConnectionRefused => "connect-refused",
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted => "reset",
        ErrorKind::TimedOut => "connect-timeout",
        ErrorKind::UnexpectedEof => "closed",
        ErrorKind::AddrNotAvailable => "no-local-port",
        _ => otherwise,
    };
    Failure::new(kind, format!("{authority}: {error}"))
}

/// Names an error of hyper as it is counted.
fn failure(error: &hyper::Error) -> Failure {
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        if let Some(io) = inner.downcast_ref::<std::io::Error>() {
            return io_failure("io", "the connection", io);
        }
        source = inner.source();
    }
    let kind = if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        "closed"
    } else if error.is_parse() {
        "protocol"
    } else if error.is_timeout() {
        "timeout"
    } else {
        "http"
    };
    Failure::new(kind, paddock_platform::problem::error_chain(error))
}
