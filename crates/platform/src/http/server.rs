//! Listening, accepting, and stopping without dropping what is in flight.

use std::{io, net::SocketAddr, num::NonZeroUsize, sync::Arc, time::Duration};

use axum::Router;
use metrics::gauge;
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;

use super::{
    address::{ListenAddress, is_loopback},
    connection::Connections,
    metrics::HTTP_CONNECTIONS,
    options::ServerOptions,
};
use crate::task::Tasks;

const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause after an error of accepting, which usually is a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What connections get to end after being told to close at once.
const ABORT_GRACE: Duration = Duration::from_secs(1);

/// The server could not begin to listen.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The name in `server.listen` does not resolve.
    #[error("`server.listen = \"{listen}\"` names no address of this machine")]
    Resolve {
        /// What was configured.
        listen: ListenAddress,
        /// Why it does not.
        source: io::Error,
    },
    /// Beyond loopback, a server without a key would be open to everybody.
    #[error(
        "`{address}` can be reached from other machines, and no key exists; create one with `paddock keys create`, or listen on 127.0.0.1"
    )]
    KeyNeeded {
        /// The address.
        address: SocketAddr,
    },
    /// The address cannot be bound.
    #[error("cannot listen on {address}{}", if source.kind() == io::ErrorKind::AddrInUse { ": another program listens there; choose another with --listen" } else { "" })]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why it cannot.
        source: io::Error,
    },
}

/// How the server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were closed with a request in flight, because the deadline passed.
    pub connections_aborted: usize,
}

impl Drained {
    /// Whether every request was answered.
    pub fn is_complete(self) -> bool {
        self.connections_aborted == 0
    }
}

/// A server that is bound and does not accept yet: clients that connect now wait.
#[derive(Debug)]
pub struct Server {
    listeners: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
    connections_max: NonZeroUsize,
    header_timeout: Duration,
    stall_timeout: Duration,
    shutdown: Duration,
}

impl Server {
    /// Binds every address that `server.listen` resolves to and logs each. Refuses to listen beyond loopback unless
    /// `a_key_exists`.
    pub async fn bind(options: &ServerOptions, a_key_exists: bool) -> Result<Self, ServerError> {
        let mut listeners = Vec::new();
        for address in resolve(&options.listen).await? {
            if !is_loopback(address.ip()) && !a_key_exists {
                return Err(ServerError::KeyNeeded { address });
            }
            let listener =
                TcpListener::bind(address).await.map_err(|source| ServerError::Bind { address, source })?;
            listeners.push((address, listener));
        }
        let addresses = listeners
            .iter()
            .map(|(address, listener)| {
                listener.local_addr().map_err(|source| ServerError::Bind { address: *address, source })
            })
            .collect::<Result<Vec<_>, _>>()?;
        for address in &addresses {
            tracing::info!(%address, "listening");
        }
        Ok(Self {
            listeners: listeners.into_iter().map(|(_, listener)| listener).collect(),
            addresses,
            connections_max: options.connections_max,
            header_timeout: options.header_timeout.get(),
            stall_timeout: options.timeout.get(),
            shutdown: options.shutdown.get(),
        })
    }

    /// The addresses that it is bound to, with the port taken where 0 was asked for.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Serves until `stop`; then stops accepting, lets requests in flight finish until the deadline
    /// (`server.shutdown`), and closes what is left.
    pub async fn serve(self, app: Router, tasks: &Tasks, stop: CancellationToken) -> Drained {
        let permits_max = self.connections_max.get().min(Semaphore::MAX_PERMITS).min(u32::MAX as usize);
        let permits = Arc::new(Semaphore::new(permits_max));
        let abort = CancellationToken::new();
        let connections = Connections {
            app,
            tasks: tasks.clone(),
            header_timeout: self.header_timeout,
            stall_timeout: self.stall_timeout,
            stop: stop.clone(),
            abort: abort.clone(),
        };
        let listeners: Vec<_> = self
            .listeners
            .into_iter()
            .map(|listener| {
                let accepting = accept(listener, connections.clone(), Arc::clone(&permits));
                tasks.spawn("http_listener", accepting)
            })
            .collect();
        drop(connections);
        for listener in listeners {
            if let Err(error) = listener.await {
                tracing::error!(%error, "a listener failed");
                stop.cancel();
            }
        }
        // All permits are back when all connections have ended.
        let all = permits_max as u32;
        if tokio::time::timeout(self.shutdown, permits.acquire_many(all)).await.is_ok() {
            return Drained { connections_aborted: 0 };
        }
        let connections_aborted = permits_max - permits.available_permits();
        tracing::warn!(connections_aborted, "closing connections whose requests did not finish in time");
        abort.cancel();
        let _ = tokio::time::timeout(ABORT_GRACE, permits.acquire_many(all)).await;
        Drained { connections_aborted }
    }
}

async fn resolve(listen: &ListenAddress) -> Result<Vec<SocketAddr>, ServerError> {
    let resolved = tokio::time::timeout(RESOLVE_TIMEOUT, tokio::net::lookup_host(listen.as_str())).await;
    let error = |source| ServerError::Resolve { listen: listen.clone(), source };
    let mut addresses: Vec<_> = match resolved {
        Ok(addresses) => addresses.map_err(error)?.collect(),
        Err(_) => return Err(error(io::Error::from(io::ErrorKind::TimedOut))),
    };
    addresses.sort();
    addresses.dedup();
    if addresses.is_empty() {
        return Err(error(io::Error::from(io::ErrorKind::NotFound)));
    }
    Ok(addresses)
}

/// Accepts until the server stops. At the maximum of connections, one more waits here and all others in the system's
/// queue. The permit is taken after accepting: a listener that nobody connects to must not hold one.
async fn accept(listener: TcpListener, connections: Connections, permits: Arc<Semaphore>) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = connections.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let permit = tokio::select! {
                    biased;
                    () = connections.stop.cancelled() => return,
                    permit = Arc::clone(&permits).acquire_owned() => permit,
                };
                let Ok(permit) = permit else { return };
                let serving = connections.clone().serve(stream, peer);
                connections.tasks.spawn("http_connection", async move {
                    let open = gauge!(HTTP_CONNECTIONS);
                    open.increment(1.0);
                    let _closed = OnDrop(open, permit);
                    serving.await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accepting a connection failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Counts the connection as closed and gives its permit back, also when its task panics.
struct OnDrop(
    metrics::Gauge,
    #[expect(dead_code, reason = "held for its drop")] tokio::sync::OwnedSemaphorePermit,
);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
