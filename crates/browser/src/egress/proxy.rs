//! The proxy itself: accepts Chrome's connections and carries each to its host.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use metrics::{Gauge, counter, gauge};
use moka::future::Cache;
use paddock_platform::{
    config::Section,
    egress::{Destination, Host, LocalAddresses, Resolve, Rules},
    task::Tasks,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{
    EgressOptions,
    connect::connect,
    door::is_listed,
    failure::EgressFailure,
    metrics::{EGRESS_BYTES_TOTAL, EGRESS_CONNECTIONS, EGRESS_REFUSED_TOTAL},
    relay::{Traffic, relay},
    socks::{self, SocksError, Target},
};

/// Failures remembered; the oldest make room.
const FAILURES_MAX: u64 = 4096;
/// How long a failure is remembered: longer than any navigation that may ask for it.
const FAILURE_TTL: Duration = Duration::from_mins(2);
/// Pause after a failed accept: running out of file descriptors does not pass in a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A connection was given up before it was carried.
#[derive(Debug, thiserror::Error)]
enum TunnelError {
    #[error("the client does not speak the protocol")]
    Socks(#[from] SocksError),
    #[error("the client went away")]
    Client(#[from] io::Error),
    #[error("the handshake took too long")]
    HandshakeTimeout,
    #[error("the target was not reached")]
    Target(#[from] EgressFailure),
}

/// State shared by the accept loop, the connections and the handles.
pub(super) struct Proxy {
    options: Section<EgressOptions>,
    resolver: Box<dyn Resolve>,
    failures: Cache<(Host, u16), EgressFailure>,
    slots: Arc<Semaphore>,
    traffic: Traffic,
    address: SocketAddr,
    local: LocalAddresses,
}

impl Proxy {
    pub(super) fn new(
        options: Section<EgressOptions>,
        resolver: Box<dyn Resolve>,
        address: SocketAddr,
    ) -> Self {
        let failures = Cache::builder().max_capacity(FAILURES_MAX).time_to_live(FAILURE_TTL).build();
        let slots = Arc::new(Semaphore::new(options.current().connections_max.min(Semaphore::MAX_PERMITS)));
        let traffic = Traffic {
            sent: counter!(EGRESS_BYTES_TOTAL, "direction" => "sent"),
            received: counter!(EGRESS_BYTES_TOTAL, "direction" => "received"),
        };
        Self { options, resolver, failures, slots, traffic, address, local: LocalAddresses::default() }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) async fn last_failure(&self, host: &str, port: u16) -> Option<EgressFailure> {
        self.failures.get(&(Host::parse(host), port)).await
    }

    /// Serves until shutdown; with a list, connections to no hosts but those. Every connection is a task of its own.
    pub(super) async fn run(
        self: Arc<Self>,
        listener: TcpListener,
        only: Option<Arc<[Destination]>>,
        tasks: Tasks,
    ) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = tasks.stopping() => return,
            };
            match accepted {
                Ok((client, peer)) => self.admit(client, peer, only.clone(), &tasks),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a page's connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Starts a connection's task, or drops it when it comes from elsewhere or all slots are taken.
    fn admit(
        self: &Arc<Self>,
        client: TcpStream,
        peer: SocketAddr,
        only: Option<Arc<[Destination]>>,
        tasks: &Tasks,
    ) {
        if !peer.ip().to_canonical().is_loopback() {
            refused("peer");
            return;
        }
        let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else {
            refused(EgressFailure::Overloaded.reason());
            return;
        };
        let proxy = Arc::clone(self);
        let stopping = tasks.stop_token();
        tasks.spawn("browser_egress", async move {
            let _open = OpenConnection::new(slot);
            if let Some(Err(error)) = stopping.run_until_cancelled(proxy.serve(client, only.as_deref())).await
            {
                let reason = match &error {
                    TunnelError::Socks(_) => "malformed",
                    TunnelError::Client(_) => return,
                    TunnelError::HandshakeTimeout => "handshake_timed_out",
                    TunnelError::Target(failure) => failure.reason(),
                };
                refused(reason);
                tracing::debug!(reason, error = %error, "page's connection was not made");
            }
        });
    }

    async fn serve(&self, mut client: TcpStream, only: Option<&[Destination]>) -> Result<(), TunnelError> {
        let options = self.options.current();
        client.set_nodelay(true)?;
        let handshake = timeout(options.handshake_timeout, handshake(&mut client)).await;
        let (target, early) = handshake.map_err(|_| TunnelError::HandshakeTimeout)??;
        let mut host = self.reach(&target, only, &options, &mut client).await?;
        host.set_nodelay(true)?;
        client.write_all(&socks::connected()).await?;
        // A client may send its first bytes along with the request.
        host.write_all(&early).await?;
        match relay(client, host, &self.traffic, options.idle_timeout).await {
            Ok(()) => Ok(()),
            Err(error) => {
                tracing::trace!(%error, "connection ended early");
                Ok(())
            }
        }
    }

    /// Connects to the target; a failure is remembered and answered.
    async fn reach(
        &self,
        target: &Target,
        only: Option<&[Destination]>,
        options: &EgressOptions,
        client: &mut TcpStream,
    ) -> Result<TcpStream, EgressFailure> {
        let key = (target.host.clone(), target.port);
        let connected = if only.is_none_or(|only| is_listed(only, &target.host)) {
            let local = self.local.current();
            let rules = Rules { allow: &options.allow, deny: &options.deny, local: &local };
            connect(target, self.resolver.as_ref(), rules, options.connect_timeout).await
        } else {
            Err(EgressFailure::unlisted(&target.host))
        };
        match connected {
            Ok(host) => {
                self.failures.invalidate(&key).await;
                Ok(host)
            }
            Err(failure) => {
                self.failures.insert(key, failure.clone()).await;
                // The client may be gone already; the failure is what counts.
                _ = client.write_all(&socks::failed(&failure)).await;
                Err(failure)
            }
        }
    }
}

/// Both messages of the client; yields the target and what the client sent after them.
async fn handshake(client: &mut TcpStream) -> Result<(Target, Vec<u8>), TunnelError> {
    let mut received = Vec::with_capacity(socks::MESSAGE_LEN_MAX);
    let greeting_len = message(client, &mut received, socks::greeting).await?;
    received.drain(..greeting_len);
    client.write_all(&socks::METHOD_ACCEPTED).await?;
    let (target, request_len) = message(client, &mut received, socks::request).await?;
    received.drain(..request_len);
    Ok((target, received))
}

/// Reads until `parse` has its message. Never reads more than one message's maximum ahead.
async fn message<T>(
    client: &mut TcpStream,
    received: &mut Vec<u8>,
    parse: fn(&[u8]) -> Result<Option<T>, SocksError>,
) -> Result<T, TunnelError> {
    loop {
        match parse(received) {
            Ok(Some(message)) => return Ok(message),
            Ok(None) => {}
            Err(error) => {
                if let Some(reply) = error.reply() {
                    client.write_all(&reply).await?;
                }
                return Err(error.into());
            }
        }
        let mut chunk = [0; socks::MESSAGE_LEN_MAX];
        let len = client.read(&mut chunk).await?;
        if len == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        received.extend_from_slice(&chunk[..len]);
    }
}

fn refused(reason: &'static str) {
    counter!(EGRESS_REFUSED_TOTAL, "reason" => reason).increment(1);
}

/// Holds a connection's slot and counts it while it is open, also when its task is cancelled.
struct OpenConnection {
    gauge: Gauge,
    _slot: OwnedSemaphorePermit,
}

impl OpenConnection {
    fn new(slot: OwnedSemaphorePermit) -> Self {
        let gauge = gauge!(EGRESS_CONNECTIONS);
        gauge.increment(1.0);
        Self { gauge, _slot: slot }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.gauge.decrement(1.0);
    }
}
