//! Ways out that lead to fewer hosts than the fleet's: one for each context whose instance may not reach all of them.
//!
//! Chrome gives a context a proxy of its own, and SOCKS as Chrome speaks it has no names of users: so a door is a port.

use std::{net::SocketAddr, sync::Arc};

use paddock_platform::egress::{Destination, Host};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Egress, EgressError, listen};

/// A way out for one context. It is closed when it is dropped; connections that are open go on until they end.
#[derive(Debug)]
pub(crate) struct Door {
    address: SocketAddr,
    _open: DropGuard,
}

impl Door {
    /// What Chrome calls it.
    pub(crate) fn proxy_server(&self) -> String {
        format!("socks5://{}", self.address)
    }
}

impl Egress {
    /// Opens a way out that leads to no hosts but these, and of them to those that the fleet's rules allow.
    pub(crate) async fn open_door(&self, only: Arc<[Destination]>) -> Result<Door, EgressError> {
        let (listener, address) = listen().await.map_err(|source| EgressError { source })?;
        let open = CancellationToken::new();
        let closed = open.clone();
        let (proxy, tasks) = (Arc::clone(&self.proxy), self.tasks.clone());
        self.tasks.spawn("browser_egress_door", async move {
            let _ = closed.run_until_cancelled(proxy.run(listener, Some(only), tasks)).await;
        });
        Ok(Door { address, _open: open.drop_guard() })
    }
}

/// Whether a list names a host, as it is written in an address.
pub(crate) fn is_listed(only: &[Destination], host: &Host) -> bool {
    only.iter().any(|rule| match host {
        Host::Name(name) => rule.has_host(name),
        Host::Address(address) => rule.has_address(address.to_canonical()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_listed_as_it_is_written() {
        let only: Vec<Destination> =
            ["shop.example", "*.blog.example", "127.0.0.1"].map(|text| text.parse().unwrap()).into();
        for host in ["shop.example", "blog.example", "a.blog.example", "127.0.0.1"] {
            assert!(is_listed(&only, &Host::parse(host)), "{host}");
        }
        for host in ["www.shop.example", "localhost", "127.0.0.2", "evilblog.example"] {
            assert!(!is_listed(&only, &Host::parse(host)), "{host}");
        }
    }
}
