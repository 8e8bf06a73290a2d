//! From a name to its addresses.

use std::{
    io,
    net::{IpAddr, ToSocketAddrs},
    sync::Arc,
};

use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;

/// Resolves host names. Who connects asks anew for every connection and checks every answer.
pub trait Resolve: Send + Sync + 'static {
    /// The addresses of a name, best first; empty or an error when it has none.
    fn resolve(&self, name: String) -> BoxFuture<'_, io::Result<Vec<IpAddr>>>;
}

/// Look-ups that may block a thread of the runtime at once; further ones wait within their connection's deadline.
const LOOKUPS_MAX: usize = 64;

/// The operating system's resolver: `/etc/hosts`, then DNS, as configured there.
#[derive(Debug)]
pub struct SystemResolver {
    lookups: Arc<Semaphore>,
}

impl Default for SystemResolver {
    fn default() -> Self {
        Self { lookups: Arc::new(Semaphore::new(LOOKUPS_MAX)) }
    }
}

impl Resolve for SystemResolver {
    fn resolve(&self, name: String) -> BoxFuture<'_, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            let permit = Arc::clone(&self.lookups).acquire_owned().await.map_err(io::Error::other)?;
            // The permit lives as long as the blocked thread, also when the caller has given up waiting.
            let lookup = tokio::task::spawn_blocking(move || {
                let addresses = (name.as_str(), 0).to_socket_addrs()?.map(|address| address.ip()).collect();
                drop(permit);
                Ok(addresses)
            });
            lookup.await.map_err(io::Error::other)?
        })
    }
}
