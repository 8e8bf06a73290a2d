//! The one way out for pages: a SOCKS5 proxy on loopback that every browser is started with.
//!
//! Chrome hands each host *name* to the proxy and resolves nothing itself. The egress resolves the name, checks every
//! address against the public internet and `[browser] allow`, and connects to an address that it checked. Navigations,
//! redirects, sub-resources, web sockets and workers all pass here, and because the address that was checked is the
//! address that is connected to, a name that changes its answer in between (DNS rebinding) gains nothing.
//!
//! Chrome reports every failure as "proxy connection failed"; [`Egress::last_failure`] knows the reason.
//!
//! Invariant: no socket is connected to an address for which [`Rules`](paddock_platform::egress::Rules) were not asked.

mod connect;
mod door;
mod failure;
mod metrics;
mod proxy;
mod relay;
mod socks;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

pub use paddock_platform::egress::{Destination, Network, ParseNetworkError, Resolve, SystemResolver};
use paddock_platform::{config::Section, task::Tasks};
use tokio::net::TcpListener;

pub(crate) use self::door::{Door, is_listed};
pub use self::{
    failure::EgressFailure,
    metrics::{EGRESS_BYTES_TOTAL, EGRESS_CONNECTIONS, EGRESS_REFUSED_TOTAL},
};

/// What is reached past the proxy: nothing, where Chrome would leave out loopback and link-local addresses.
pub(crate) const NO_BYPASS: &str = "<-loopback>";

/// What pages may reach, and the bounds of their connections. All but `connections_max` follow a reload.
#[derive(Clone, Debug)]
pub struct EgressOptions {
    /// What pages may reach beside the public internet.
    pub allow: Vec<Destination>,
    /// What pages may not reach, whatever `allow` says; `*` is all that `allow` does not list.
    pub deny: Vec<Destination>,
    /// Connections open at once; further ones are closed at once. Read at the start only.
    pub connections_max: usize,
    /// How long a client may take to say where it wants to go.
    pub handshake_timeout: Duration,
    /// How long resolving a name and connecting to it may take.
    pub connect_timeout: Duration,
    /// How long a connection may stay open without a byte in either direction.
    pub idle_timeout: Duration,
}

impl Default for EgressOptions {
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            deny: Vec::new(),
            connections_max: 4096,
            handshake_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_mins(10),
        }
    }
}

/// The egress could not start.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on loopback for the connections of pages")]
pub struct EgressError {
    #[source]
    source: io::Error,
}

/// Handle to the running egress. Cheap to clone.
#[derive(Clone)]
pub struct Egress {
    proxy: Arc<proxy::Proxy>,
    tasks: Tasks,
}

impl std::fmt::Debug for Egress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Egress").field("address", &self.address()).finish_non_exhaustive()
    }
}

impl Egress {
    /// Starts the egress on a free loopback port; it runs until `tasks` stop.
    pub async fn start(options: Section<EgressOptions>, tasks: &Tasks) -> Result<Self, EgressError> {
        Self::start_with(options, SystemResolver::default(), tasks).await
    }

    /// As [`Egress::start`], with names resolved by `resolver`.
    pub async fn start_with(
        options: Section<EgressOptions>,
        resolver: impl Resolve,
        tasks: &Tasks,
    ) -> Result<Self, EgressError> {
        let (listener, address) = listen().await.map_err(|source| EgressError { source })?;
        metrics::describe();
        let proxy = Arc::new(proxy::Proxy::new(options, Box::new(resolver), address));
        tasks.spawn("browser_egress_accept", Arc::clone(&proxy).run(listener, None, tasks.clone()));
        Ok(Self { proxy, tasks: tasks.clone() })
    }

    /// Where the proxy listens.
    pub fn address(&self) -> SocketAddr {
        self.proxy.address()
    }

    /// The arguments that send all of a Chrome's traffic through here, and none past it.
    pub fn chromium_arguments(&self) -> [String; 6] {
        [
            format!("--proxy-server=socks5://{}", self.address()),
            // Without this Chrome would reach loopback and link-local addresses directly.
            format!("--proxy-bypass-list={NO_BYPASS}"),
            // Nothing is resolved in the browser, not even speculatively.
            format!("--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE {}", self.address().ip()),
            // WebRTC would send UDP past the proxy.
            "--force-webrtc-ip-handling-policy=disable_non_proxied_udp".to_owned(),
            // What the full browser calls the same.
            "--webrtc-ip-handling-policy=disable_non_proxied_udp".to_owned(),
            "--disable-quic".to_owned(),
        ]
    }

    /// Why the last connection to this host and port was not made, if it was not and that was within two minutes.
    ///
    /// `host` is spelled as in a URL: IPv6 addresses with or without brackets, names in any case.
    pub async fn last_failure(&self, host: &str, port: u16) -> Option<EgressFailure> {
        self.proxy.last_failure(host, port).await
    }
}

async fn listen() -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}
