//! From a target to an open connection: resolve, check every address, connect to one that was checked.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    time::Duration,
};

use futures_util::future::{Either, select};
use paddock_platform::egress::{Host, Resolve, Rules};
use tokio::{net::TcpStream, time::timeout};

use super::{failure::EgressFailure, socks::Target};

/// How long an attempt has the field for itself before the next address is tried beside it (RFC 8305, section 5).
const HEAD_START: Duration = Duration::from_millis(250);

/// Connects to the target within the deadline, to no address but those that the rules permit.
pub(super) async fn connect(
    target: &Target,
    resolver: &dyn Resolve,
    rules: Rules<'_>,
    deadline: Duration,
) -> Result<TcpStream, EgressFailure> {
    if let Some(denial) = rules.denial(&target.host) {
        return Err(denial.into());
    }
    let connected = timeout(deadline, async {
        let addresses = match &target.host {
            Host::Address(address) => vec![*address],
            Host::Name(name) => resolver.resolve(name.clone()).await.map_err(|error| {
                tracing::debug!(host = %name, %error, "name does not resolve");
                EgressFailure::NotFound
            })?,
        };
        let permitted = rules.permitted(&target.host, &addresses);
        let addresses = permitted.map_err(|refusal| refusal.map_or(EgressFailure::NotFound, Into::into))?;
        let sockets: Vec<_> =
            addresses.into_iter().map(|address| SocketAddr::new(address, target.port)).collect();
        race(&sockets).await.map_err(|error| EgressFailure::from(&error))
    });
    connected.await.unwrap_or(Err(EgressFailure::TimedOut))
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
