//! The simulated provider as a server.

use std::{io, net::SocketAddr};

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use paddock_platform::task::Tasks;
use tokio::net::TcpListener;

use super::{Sim, SimOptions};

/// A server that answers as every vendor does.
#[derive(Debug)]
pub struct SimServer {
    sim: Sim,
    listener: TcpListener,
}

/// The connection is to break.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct ResetError(String);

impl SimServer {
    /// Binds an address.
    pub async fn bind(listen: &str, options: SimOptions) -> io::Result<Self> {
        Ok(Self { sim: Sim::new(options), listener: TcpListener::bind(listen).await? })
    }

    /// Where it listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until the tasks stop.
    pub async fn serve(self, tasks: &Tasks) {
        let stopping = tasks.stop_token();
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = stopping.cancelled() => return,
            };
            let Ok((connection, _)) = accepted else { continue };
            let _ = connection.set_nodelay(true);
            let (sim, stopping) = (self.sim.clone(), stopping.clone());
            tasks.spawn("llm-sim-connection", async move {
                let service = service_fn(move |request| {
                    let sim = sim.clone();
                    async move { sim.answer(request).await.map_err(ResetError) }
                });
                let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                let serving = builder.serve_connection(TokioIo::new(connection), service);
                let _ = stopping.run_until_cancelled(serving).await;
            });
        }
    }
}
