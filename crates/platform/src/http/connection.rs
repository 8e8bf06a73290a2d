//! One connection: HTTP/1.1 or h2c, with deadlines, until it ends or the server stops.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body, extract::ConnectInfo};
use hyper::{Request, Version, body::Incoming, rt::Executor, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::{
    stall::StallLimit,
    stream::{Activity, STREAM, StreamBody, StreamProgress},
};
use crate::task::Tasks;

/// The read buffer of an HTTP/1 connection: headers larger than this are refused with 431.
const HEADERS_SIZE_MAX: usize = 64 << 10;
/// The same for h2c.
const HEADER_LIST_SIZE_MAX: u32 = 64 << 10;
const STREAMS_MAX: u32 = 256;
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// What every connection is served with. Cheap to clone.
#[derive(Clone)]
pub(super) struct Connections {
    pub(super) app: Router,
    pub(super) tasks: Tasks,
    pub(super) header_timeout: Duration,
    /// How long a client may take none of an answer.
    pub(super) stall_timeout: Duration,
    /// Finish what is in flight and close.
    pub(super) stop: CancellationToken,
    /// Close at once.
    pub(super) abort: CancellationToken,
}

/// Runs h2c streams as counted tasks, each as long as its client takes what it asked for.
#[derive(Clone)]
struct StreamExecutor {
    tasks: Tasks,
    stall_timeout: Duration,
}

impl<F> Executor<F> for StreamExecutor
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, stream: F) {
        let (progress, stall_timeout) = (Arc::new(StreamProgress::new()), self.stall_timeout);
        let stream = STREAM.scope(Arc::clone(&progress), stream);
        self.tasks.spawn("http_stream", async move {
            tokio::select! {
                biased;
                _ = stream => {}
                () = progress.stalled(stall_timeout) => {
                    tracing::debug!("a client takes nothing of its answer; the stream is reset");
                }
            }
        });
    }
}

impl Connections {
    /// Serves one connection to its end.
    pub(super) async fn serve(self, stream: TcpStream, peer: SocketAddr) {
        // Answers are written whole: waiting for more to fill a packet only delays them.
        let _ = stream.set_nodelay(true);
        let activity = Arc::new(Activity::default());
        let speaks_h2 = Arc::new(AtomicBool::new(false));
        let (app, requests, h2_seen) = (self.app, Arc::clone(&activity), Arc::clone(&speaks_h2));
        let service = service_fn(move |mut request: Request<Incoming>| {
            let in_flight = (request.version() == Version::HTTP_2).then(|| {
                h2_seen.store(true, Ordering::Relaxed);
                requests.enter()
            });
            requests.begin();
            request.extensions_mut().insert(ConnectInfo(peer));
            let answer = app.clone().call(request);
            async move {
                let response = answer.await?;
                let Some(in_flight) = in_flight else { return Ok::<_, Infallible>(response) };
                Ok(match STREAM.try_with(Arc::clone) {
                    Ok(progress) => {
                        response.map(|body| Body::new(StreamBody::new(body, progress, in_flight)))
                    }
                    Err(_) => response,
                })
            }
        });
        let builder = builder(&self.tasks, self.header_timeout, self.stall_timeout);
        let connection = builder.serve_connection_with_upgrades(
            StallLimit::new(TokioIo::new(stream), self.stall_timeout),
            service,
        );
        tokio::pin!(connection);

        // hyper's own deadline for headers begins when it knows the protocol; a client that stays silent, or sends
        // only the beginning of the h2c preface, is caught here.
        let silent = async {
            tokio::time::sleep(self.header_timeout).await;
            if activity.begun() > 0 {
                std::future::pending::<()>().await;
            }
        };
        // The same deadline holds on HTTP/1 between two requests; on h2c hyper has none.
        let idle = async {
            tokio::time::sleep(self.header_timeout).await;
            if !speaks_h2.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            activity.idle(self.header_timeout).await;
        };
        let mut was_idle = false;
        tokio::select! {
            biased;
            result = connection.as_mut() => return log_end(result),
            () = self.stop.cancelled() => connection.as_mut().graceful_shutdown(),
            () = silent => return,
            () = idle => {
                was_idle = true;
                connection.as_mut().graceful_shutdown();
            }
        }
        // What is left of answers in its buffers is still sent; a client that does not even take that is cut off.
        let flushed = async {
            if !was_idle {
                std::future::pending::<()>().await;
            }
            activity.idle(self.stall_timeout).await;
        };
        tokio::select! {
            biased;
            result = connection.as_mut() => log_end(result),
            () = self.abort.cancelled() => {}
            () = flushed => {}
        }
    }
}

fn builder(tasks: &Tasks, header_timeout: Duration, stall_timeout: Duration) -> Builder<StreamExecutor> {
    let mut builder = Builder::new(StreamExecutor { tasks: tasks.clone(), stall_timeout });
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(HEADERS_SIZE_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_LIST_SIZE_MAX)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

/// Connections end in many ways that are the client's affair: a debug line is enough.
fn log_end(result: Result<(), Box<dyn std::error::Error + Send + Sync>>) {
    if let Err(error) = result {
        tracing::debug!(error = crate::problem::error_chain(error.as_ref()), "a connection ended early");
    }
}
