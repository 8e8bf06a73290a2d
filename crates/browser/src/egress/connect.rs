//! From a target to an open connection: resolve, check every address, connect to one that was checked.

use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::{Pin, pin},
    time::Duration,
};

use futures_util::future::{Either, select};
use tokio::{net::TcpStream, time::timeout};

use super::{
    failure::EgressFailure,
    network::Network,
    policy,
    resolve::Resolve,
    socks::{Host, Target},
};

/// Addresses of one name that are tried; names with more are load-balanced, and the first few are enough.
const ADDRESSES_MAX: usize = 8;
/// How long an attempt has the field for itself before the next address is tried beside it (RFC 8305, section 5).
const HEAD_START: Duration = Duration::from_millis(250);

/// Connects to the target within the deadline, to no address but those that `allow` or the public internet contain.
pub(super) async fn connect(
    target: &Target,
    resolver: &dyn Resolve,
    allow: &[Network],
    deadline: Duration,
) -> Result<TcpStream, EgressFailure> {
    let connected = timeout(deadline, async {
        let addresses = match &target.host {
            Host::Address(address) => vec![*address],
            Host::Name(name) => resolver.resolve(name.clone()).await.map_err(|error| {
                tracing::debug!(host = %name, %error, "name does not resolve");
                EgressFailure::NotFound
            })?,
        };
        let addresses = permitted(&addresses, allow)?;
        let sockets: Vec<_> =
            addresses.into_iter().map(|address| SocketAddr::new(address, target.port)).collect();
        race(&sockets).await.map_err(|error| EgressFailure::from(&error))
    });
    connected.await.unwrap_or(Err(EgressFailure::TimedOut))
}

/// The addresses that pages may reach, IPv4 spelled as such; the first refusal when there are none.
fn permitted(addresses: &[IpAddr], allow: &[Network]) -> Result<Vec<IpAddr>, EgressFailure> {
    let mut refused = None;
    let mut permitted = Vec::new();
    for address in addresses.iter().map(IpAddr::to_canonical) {
        match policy::refusal(address, allow) {
            Some(network) => _ = refused.get_or_insert(EgressFailure::Refused { address, network }),
            None => permitted.push(address),
        }
    }
    permitted.truncate(ADDRESSES_MAX);
    if permitted.is_empty() { Err(refused.unwrap_or(EgressFailure::NotFound)) } else { Ok(permitted) }
}

type Attempt<'a> = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send + 'a>>;

/// The first connection that any of the addresses gives, each tried when the one before failed or had its head start.
fn race(addresses: &[SocketAddr]) -> Attempt<'_> {
    Box::pin(async move {
        let [first, others @ ..] = addresses else {
            return Err(io::Error::from(io::ErrorKind::AddrNotAvailable));
        };
        let mut attempt = pin!(TcpStream::connect(first));
        if others.is_empty() {
            return attempt.await;
        }
        match timeout(HEAD_START, attempt.as_mut()).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(_)) => race(others).await,
            Err(_) => match select(attempt, race(others)).await {
                Either::Left((Ok(stream), _)) | Either::Right((Ok(stream), _)) => Ok(stream),
                Either::Left((Err(_), others)) => others.await,
                Either::Right((Err(_), attempt)) => attempt.await,
            },
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn of_mixed_answers_only_the_public_ones_are_kept() {
        let mixed = addresses(&["10.0.0.1", "8.8.8.8", "::1", "2606:4700::1111", "::ffff:1.1.1.1"]);
        assert_eq!(permitted(&mixed, &[]).unwrap(), addresses(&["8.8.8.8", "2606:4700::1111", "1.1.1.1"]));
    }

    #[test]
    fn when_none_is_public_the_first_is_named() {
        let failure = permitted(&addresses(&["192.168.1.1", "::1"]), &[]).unwrap_err();
        assert_eq!(
            failure.to_string(),
            "192.168.1.1 is in 192.168.0.0/16 (private), which pages may not reach; `[browser] allow` lists the \
             exceptions"
        );
    }

    #[test]
    fn a_name_without_addresses_is_not_found() {
        assert_eq!(permitted(&[], &[]), Err(EgressFailure::NotFound));
    }

    #[tokio::test]
    async fn an_address_that_refuses_makes_way_for_the_next() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = listener.local_addr().unwrap();
        let closed = SocketAddr::new("127.0.0.3".parse().unwrap(), open.port());
        let stream = race(&[closed, closed, open]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), open);
        assert_eq!(race(&[closed, closed]).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }
}
