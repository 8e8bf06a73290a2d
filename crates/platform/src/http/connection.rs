//! One connection: HTTP/1.1 or h2c, with deadlines, until it ends or the server stops.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::ConnectInfo};
use hyper::{Request, body::Incoming, rt::Executor, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::stall::StallLimit;
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

/// Runs h2c streams as counted tasks.
#[derive(Clone)]
struct StreamExecutor(Tasks);

impl<F> Executor<F> for StreamExecutor
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, stream: F) {
        self.0.spawn("http_stream", stream);
    }
}

impl Connections {
    /// Serves one connection to its end.
    pub(super) async fn serve(self, stream: TcpStream, peer: SocketAddr) {
        // Answers are written whole: waiting for more to fill a packet only delays them.
        let _ = stream.set_nodelay(true);
        let spoken = Arc::new(AtomicBool::new(false));
        let (app, seen) = (self.app, Arc::clone(&spoken));
        let service = service_fn(move |mut request: Request<Incoming>| {
            seen.store(true, Ordering::Relaxed);
            request.extensions_mut().insert(ConnectInfo(peer));
            app.clone().call(request)
        });
        let builder = builder(&self.tasks, self.header_timeout);
        let connection = builder.serve_connection_with_upgrades(
            StallLimit::new(TokioIo::new(stream), self.stall_timeout),
            service,
        );
        tokio::pin!(connection);

        // hyper's own deadline for headers begins when it knows the protocol; a client that stays silent, or sends
        // only the beginning of the h2c preface, is caught here.
        let silent = async {
            tokio::time::sleep(self.header_timeout).await;
            if spoken.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            result = connection.as_mut() => return log_end(result),
            () = self.stop.cancelled() => connection.as_mut().graceful_shutdown(),
            () = silent => return,
        }
        tokio::select! {
            biased;
            result = connection.as_mut() => log_end(result),
            () = self.abort.cancelled() => {}
        }
    }
}

fn builder(tasks: &Tasks, header_timeout: Duration) -> Builder<StreamExecutor> {
    let mut builder = Builder::new(StreamExecutor(tasks.clone()));
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
