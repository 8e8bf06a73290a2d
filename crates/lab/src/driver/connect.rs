//! HTTP connections that the steps of a seat share.
//!
//! HTTP/1.1 has one connection per seat and target, taken out while it is used: a deadline that drops the operation
//! drops the connection with it. It is polled by the operation itself, which saves a task and two wake-ups per
//! request. HTTP/2 has a few connections that many seats share, each read by a task of its own.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body::Body as _;
use http_body_util::Full;
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use paddock_platform::task::Tasks;
use tokio::net::TcpStream;

use super::{BODY_KEPT_BYTES_MAX, Failure, Seat};

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
            let connection = self.take(seat).await?;
            self.put(seat, connection);
        } else {
            self.sender(seat).await?;
        }
        Ok(())
    }

    /// Sends a request; the answer's body has still to be read.
    pub(crate) async fn send(
        &self,
        seat: Seat,
        request: impl Fn() -> Result<Request<Full<Bytes>>, Failure>,
    ) -> Result<Exchange, Failure> {
        if !self.shared.is_empty() {
            let mut sender = self.sender(seat).await?;
            let response = sender.send_request(request()?).await.map_err(|error| failure(&error))?;
            return Ok(Exchange { response, connection: None });
        }
        let mut connection = self.take(seat).await?;
        match connection.request(request()?).await {
            Ok(response) => Ok(Exchange { response, connection: Some(connection) }),
            // The server closed an idle connection just then; the request was not sent. Once more, on a new one.
            Err(error) if error.is_canceled() => {
                let mut connection = Http1::open(&self.authority).await?;
                let response = connection.request(request()?).await.map_err(|error| failure(&error))?;
                Ok(Exchange { response, connection: Some(connection) })
            }
            Err(error) => Err(failure(&error)),
        }
    }

    /// Gives the connection back after the body was read.
    pub(crate) fn put(&self, seat: Seat, connection: Http1) {
        if let Some(place) = self.own.get(seat.number)
            && connection.driver.is_some()
        {
            *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection);
        }
    }

    async fn take(&self, seat: Seat) -> Result<Http1, Failure> {
        let kept = self
            .own
            .get(seat.number)
            .and_then(|place| place.lock().unwrap_or_else(PoisonError::into_inner).take());
        match kept {
            Some(connection) => Ok(connection),
            None => Http1::open(&self.authority).await,
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
    pub(crate) response: Response<Incoming>,
    connection: Option<Http1>,
}

impl Exchange {
    /// The next piece of the body; `None` at its end.
    pub(crate) async fn next(&mut self) -> Option<Result<Bytes, Failure>> {
        let Self { response, connection } = self;
        std::future::poll_fn(|context| {
            let mut body = Pin::new(response.body_mut());
            loop {
                let frame = match body.as_mut().poll_frame(context) {
                    Poll::Pending => match connection {
                        Some(connection) => {
                            connection.drive(context);
                            body.as_mut().poll_frame(context)
                        }
                        None => Poll::Pending,
                    },
                    ready @ Poll::Ready(_) => ready,
                };
                match frame {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(None) => return Poll::Ready(None),
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(failure(&error)))),
                    Poll::Ready(Some(Ok(frame))) => {
                        // Trailers are not a piece of the body.
                        if let Ok(data) = frame.into_data() {
                            return Poll::Ready(Some(Ok(data)));
                        }
                    }
                }
            }
        })
        .await
    }

    /// Reads the whole body, and keeps it up to [`BODY_KEPT_BYTES_MAX`] if asked to.
    pub(crate) async fn read(&mut self, keep: bool) -> Result<Bytes, Failure> {
        if self.response.body().is_end_stream() {
            return Ok(Bytes::new());
        }
        let mut kept = BytesMut::new();
        while let Some(piece) = self.next().await {
            let piece = piece?;
            if keep && kept.len() < BODY_KEPT_BYTES_MAX {
                let room = BODY_KEPT_BYTES_MAX - kept.len();
                kept.extend_from_slice(piece.get(..room.min(piece.len())).unwrap_or_default());
            }
        }
        Ok(kept.freeze())
    }

    /// Gives the connection back; for answers that were read to their end.
    pub(crate) fn finish(self, pool: &Pool, seat: Seat) {
        if let Some(connection) = self.connection {
            pool.put(seat, connection);
        }
    }
}

type Driven = http1::Connection<TokioIo<TcpStream>, Full<Bytes>>;

/// An HTTP/1.1 connection that is driven by whoever uses it.
#[derive(Debug)]
pub(crate) struct Http1 {
    sender: http1::SendRequest<Full<Bytes>>,
    /// `None` once it has ended.
    driver: Option<Pin<Box<Driven>>>,
}

impl Http1 {
    async fn open(authority: &str) -> Result<Self, Failure> {
        let stream = connect(authority).await?;
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| failure(&error))?;
        Ok(Self { sender, driver: Some(Box::pin(connection)) })
    }

    async fn request(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<Response<Incoming>> {
        std::future::poll_fn(|context| {
            // Also notices a connection that the server closed while it was idle.
            self.drive(context);
            self.sender.poll_ready(context)
        })
        .await?;
        let sent = self.sender.send_request(request);
        let mut sent = std::pin::pin!(sent);
        let driver = &mut self.driver;
        std::future::poll_fn(|context| {
            drive(driver, context);
            sent.as_mut().poll(context)
        })
        .await
    }

    fn drive(&mut self, context: &mut Context<'_>) {
        drive(&mut self.driver, context);
    }
}

/// Lets the connection write and read what it can; its errors reach the request or body that is waited for.
fn drive(driver: &mut Option<Pin<Box<Driven>>>, context: &mut Context<'_>) {
    if let Some(connection) = driver
        && connection.as_mut().poll(context).is_ready()
    {
        *driver = None;
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
pub(crate) fn failure(error: &hyper::Error) -> Failure {
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
