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
    destination::Destination,
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

/// What decides about a target.
#[derive(Clone, Copy)]
pub(super) struct Rules<'a> {
    pub(super) allow: &'a [Destination],
    pub(super) deny: &'a [Destination],
    /// Addresses of this machine.
    pub(super) local: &'a [IpAddr],
}

impl Rules<'_> {
    /// The entry that keeps pages from a host, by its name alone.
    fn denial(&self, host: &Host) -> Option<EgressFailure> {
        let matches = |rule: &Destination| match host {
            Host::Name(name) => rule.has_host(name),
            Host::Address(address) => rule.has_address(address.to_canonical()),
        };
        let allowed = self.allow.iter().any(matches);
        let denied = |rule: &&Destination| matches(rule) && (**rule != Destination::Any || !allowed);
        let rule = self.deny.iter().find(denied)?;
        let host = match host {
            Host::Name(name) => name.clone(),
            Host::Address(address) => address.to_string(),
        };
        // A name may be allowed by the network that it is in: that is known when it is resolved.
        (*rule != Destination::Any || !self.allow.iter().any(|rule| matches!(rule, Destination::Network(_))))
            .then(|| EgressFailure::Denied { host, rule: format!("`{rule}`") })
    }

    /// Why an address of a host is not connected to.
    fn refusal(&self, host: &Host, address: IpAddr) -> Option<EgressFailure> {
        let by_name = matches!(host, Host::Name(name) if self.allow.iter().any(|rule| rule.has_host(name)));
        let by_address = self.allow.iter().any(|rule| rule.has_address(address));
        let allowed = by_name || by_address;
        let denied =
            |rule: &&Destination| rule.has_address(address) && (**rule != Destination::Any || !allowed);
        if let Some(rule) = self.deny.iter().find(denied) {
            return Some(EgressFailure::Denied { host: address.to_string(), rule: format!("`{rule}`") });
        }
        if allowed {
            return None;
        }
        let networks: Vec<Network> = self
            .allow
            .iter()
            .filter_map(|rule| if let Destination::Network(network) = rule { Some(*network) } else { None })
            .collect();
        let own = || self.local.contains(&address).then(|| Network::of(address));
        let network = policy::refusal(address, &networks).or_else(own)?;
        Some(EgressFailure::Refused { address, network })
    }
}

/// Connects to the target within the deadline, to no address but those that the rules permit.
pub(super) async fn connect(
    target: &Target,
    resolver: &dyn Resolve,
    rules: Rules<'_>,
    deadline: Duration,
) -> Result<TcpStream, EgressFailure> {
    if let Some(denial) = rules.denial(&target.host) {
        return Err(denial);
    }
    let connected = timeout(deadline, async {
        let addresses = match &target.host {
            Host::Address(address) => vec![*address],
            Host::Name(name) => resolver.resolve(name.clone()).await.map_err(|error| {
                tracing::debug!(host = %name, %error, "name does not resolve");
                EgressFailure::NotFound
            })?,
        };
        let addresses = permitted(&target.host, &addresses, rules)?;
        let sockets: Vec<_> =
            addresses.into_iter().map(|address| SocketAddr::new(address, target.port)).collect();
        race(&sockets).await.map_err(|error| EgressFailure::from(&error))
    });
    connected.await.unwrap_or(Err(EgressFailure::TimedOut))
}

/// The addresses that pages may reach, IPv4 spelled as such; the first refusal when there are none.
fn permitted(host: &Host, addresses: &[IpAddr], rules: Rules<'_>) -> Result<Vec<IpAddr>, EgressFailure> {
    let mut refused = None;
    let mut permitted = Vec::new();
    for address in addresses.iter().map(IpAddr::to_canonical) {
        match rules.refusal(host, address) {
            Some(failure) => _ = refused.get_or_insert(failure),
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

    const NONE: Rules<'_> = Rules { allow: &[], deny: &[], local: &[] };

    fn name() -> Host {
        Host::parse("shop.example")
    }

    #[test]
    fn addresses_of_this_machine_are_refused_unless_they_are_allowed() {
        let own = addresses(&["1.2.3.4"]);
        let closed = Rules { local: &own, ..NONE };
        assert!(matches!(permitted(&name(), &own, closed), Err(EgressFailure::Refused { .. })));
        let allow: [Destination; 1] = ["1.2.3.4".parse().unwrap()];
        assert!(permitted(&name(), &own, Rules { allow: &allow, ..closed }).is_ok());
    }

    #[test]
    fn what_is_denied_is_refused_by_name_and_by_address() {
        let deny: [Destination; 2] = ["*.evil.example", "9.9.9.0/24"].map(|text| text.parse().unwrap());
        let rules = Rules { deny: &deny, ..NONE };
        assert!(rules.denial(&Host::parse("a.evil.example")).is_some());
        assert!(rules.denial(&Host::parse("9.9.9.9")).is_some());
        assert!(rules.denial(&name()).is_none());
        let mixed = addresses(&["9.9.9.9", "8.8.8.8"]);
        assert_eq!(permitted(&name(), &mixed, rules).unwrap(), addresses(&["8.8.8.8"]));
        let allow: [Destination; 1] = ["a.evil.example".parse().unwrap()];
        assert!(Rules { allow: &allow, ..rules }.denial(&Host::parse("a.evil.example")).is_some());
    }

    #[test]
    fn denying_everything_leaves_what_is_allowed() {
        let deny: [Destination; 1] = ["*".parse().unwrap()];
        let allow: [Destination; 2] = ["*.shop.example", "10.0.0.0/8"].map(|text| text.parse().unwrap());
        let rules = Rules { deny: &deny, allow: &allow, ..NONE };
        assert!(rules.denial(&Host::parse("a.shop.example")).is_none());
        assert!(permitted(&name(), &addresses(&["10.1.1.1"]), rules).is_ok());
        let other = Host::parse("other.example");
        assert!(permitted(&other, &addresses(&["8.8.8.8"]), rules).is_err());
        assert!(permitted(&other, &addresses(&["10.1.1.1"]), rules).is_ok());
        assert!(Rules { allow: &allow[..1], ..rules }.denial(&other).is_some());
    }

    #[test]
    fn a_host_that_is_allowed_by_name_may_be_private() {
        let allow: [Destination; 1] = ["*.intranet.example".parse().unwrap()];
        let rules = Rules { allow: &allow, ..NONE };
        let private = addresses(&["10.0.0.1"]);
        assert!(permitted(&Host::parse("wiki.intranet.example"), &private, rules).is_ok());
        assert!(permitted(&name(), &private, rules).is_err());
    }

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn of_mixed_answers_only_the_public_ones_are_kept() {
        let mixed = addresses(&["10.0.0.1", "8.8.8.8", "::1", "2606:4700::1111", "::ffff:1.1.1.1"]);
        assert_eq!(
            permitted(&name(), &mixed, NONE).unwrap(),
            addresses(&["8.8.8.8", "2606:4700::1111", "1.1.1.1"])
        );
    }

    #[test]
    fn when_none_is_public_the_first_is_named() {
        let failure = permitted(&name(), &addresses(&["192.168.1.1", "::1"]), NONE).unwrap_err();
        assert_eq!(
            failure.to_string(),
            "192.168.1.1 is in 192.168.0.0/16 (private), which pages may not reach; `[browser] allow` lists the \
             exceptions"
        );
    }

    #[test]
    fn a_name_without_addresses_is_not_found() {
        assert_eq!(permitted(&name(), &[], NONE), Err(EgressFailure::NotFound));
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
