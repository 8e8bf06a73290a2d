//! Where the server listens, and which networks it takes a client's word from.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use http::{HeaderMap, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const X_FORWARDED_FOR: &str = "x-forwarded-for";

/// `host:port` to listen on; a name is resolved when binding. Port 0 takes a free one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct ListenAddress(#[schemars(regex(pattern = r"^.+:[0-9]{1,5}$"))] String);

/// A text that is not `host:port`.
#[derive(Debug, thiserror::Error)]
#[error("`{text}` is not an address to listen on; write `host:port`, for example `127.0.0.1:7070`")]
pub struct ParseListenError {
    text: String,
}

impl ListenAddress {
    /// The text, in the form that name resolution takes.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for ListenAddress {
    fn default() -> Self {
        Self("127.0.0.1:7070".to_owned())
    }
}

impl From<SocketAddr> for ListenAddress {
    fn from(address: SocketAddr) -> Self {
        Self(address.to_string())
    }
}

impl FromStr for ListenAddress {
    type Err = ParseListenError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let valid = text
            .rsplit_once(':')
            .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok() && is_host(host));
        if valid { Ok(Self(text.to_owned())) } else { Err(ParseListenError { text: text.to_owned() }) }
    }
}

fn is_host(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(v6) => v6.parse::<Ipv6Addr>().is_ok(),
        None => host.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-' || b == b'_'),
    }
}

impl TryFrom<String> for ListenAddress {
    type Error = ParseListenError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ListenAddress> for String {
    fn from(address: ListenAddress) -> Self {
        address.0
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An address, or a network in CIDR notation: `10.0.0.7`, `10.0.0.0/8`, `fd00::/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct ProxyNetwork {
    address: IpAddr,
    prefix: u8,
}

/// A text that is not a network.
#[derive(Debug, thiserror::Error)]
#[error("`{text}` is not a network; write for example `10.0.0.7` or `10.0.0.0/8`")]
pub struct ParseNetworkError {
    text: String,
}

impl ProxyNetwork {
    /// Whether the address lies in it. An IPv4 address inside an IPv6 one counts as what it is.
    pub fn contains(self, address: IpAddr) -> bool {
        let bits = |address: IpAddr| match address.to_canonical() {
            IpAddr::V4(v4) => (u128::from(v4.to_bits()) << 96, 32),
            IpAddr::V6(v6) => (v6.to_bits(), 128),
        };
        let ((own, own_width), (other, other_width)) = (bits(self.address), bits(address));
        let mask = if self.prefix == 0 { 0 } else { u128::MAX << (128 - u32::from(self.prefix)) };
        own_width == other_width && own & mask == other & mask
    }
}

impl FromStr for ProxyNetwork {
    type Err = ParseNetworkError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseNetworkError { text: text.to_owned() };
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse::<u8>().map_err(|_| error())?)),
            None => (text, None),
        };
        let address: IpAddr = address.trim().parse::<IpAddr>().map_err(|_| error())?.to_canonical();
        let width = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.unwrap_or(width);
        if prefix <= width { Ok(Self { address, prefix }) } else { Err(error()) }
    }
}

impl TryFrom<String> for ProxyNetwork {
    type Error = ParseNetworkError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ProxyNetwork> for String {
    fn from(network: ProxyNetwork) -> Self {
        network.to_string()
    }
}

impl fmt::Display for ProxyNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// Whose request it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Client {
    /// The peer, or, when the peer is a trusted proxy, the last address in `X-Forwarded-For` that is not one.
    pub(super) address: IpAddr,
    /// Whether it is certain that the request comes from this machine. A proxy on this machine connects from it, too:
    /// a request that it forwarded, or that must have come through one, is as local as the proxy says.
    pub(super) is_local: bool,
}

impl Client {
    /// The client of a request. A `X-Forwarded-For` of anybody but a trusted proxy is a claim, not a fact, and says no
    /// more than that the request did not begin here.
    pub(super) fn of(peer: IpAddr, headers: &HeaderMap, trusted: &[ProxyNetwork]) -> Self {
        let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
        if trusted.is_empty() {
            return Self { address: peer, is_local: is_loopback(peer) && !is_forwarded(headers) };
        }
        let mut client = Self { address: peer, is_local: false };
        if !is_trusted(peer) {
            return client;
        }
        for value in headers.get_all(X_FORWARDED_FOR).iter().rev() {
            for part in value.to_str().unwrap_or_default().rsplit(',') {
                let Ok(address) = part.trim().parse::<IpAddr>() else {
                    return Self { is_local: false, ..client };
                };
                client = Self { address, is_local: is_loopback(address) };
                if !is_trusted(address) {
                    return client;
                }
            }
        }
        client
    }
}

/// Whether the request says itself that somebody else sent it on.
fn is_forwarded(headers: &HeaderMap) -> bool {
    headers.contains_key(X_FORWARDED_FOR) || headers.contains_key(header::FORWARDED)
}

/// Whether an address reaches no further than this machine.
pub(super) fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// One client owns a whole IPv6 /64: its limits are counted together.
pub(super) fn metered_address(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn forwarded(values: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("x-forwarded-for", http::HeaderValue::from_static(value));
        }
        headers
    }

    fn client(peer: &str, values: &[&'static str], trusted: &[&str]) -> String {
        let trusted: Vec<_> = trusted.iter().map(|text| text.parse().unwrap()).collect();
        Client::of(peer.parse().unwrap(), &forwarded(values), &trusted).address.to_string()
    }

    fn is_local(peer: &str, values: &[&'static str], trusted: &[&str]) -> bool {
        let trusted: Vec<_> = trusted.iter().map(|text| text.parse().unwrap()).collect();
        Client::of(peer.parse().unwrap(), &forwarded(values), &trusted).is_local
    }

    #[test]
    fn only_what_certainly_comes_from_this_machine_is_local() {
        assert!(is_local("127.0.0.1", &[], &[]));
        assert!(is_local("::ffff:127.0.0.1", &[], &[]));
        assert!(!is_local("192.0.2.1", &[], &[]));
        assert!(!is_local("127.0.0.1", &["198.51.100.7"], &[]), "some proxy is not configured");
        assert!(!is_local("127.0.0.1", &["127.0.0.1"], &[]), "a claim");

        let trusted = ["127.0.0.1", "10.0.0.0/8"];
        assert!(is_local("127.0.0.1", &["127.0.0.1"], &trusted));
        assert!(!is_local("127.0.0.1", &["198.51.100.7"], &trusted));
        assert!(!is_local("127.0.0.1", &["127.0.0.1, 198.51.100.7"], &trusted), "the first part is a claim");
        assert!(!is_local("127.0.0.1", &["unknown, 127.0.0.1"], &trusted));
        assert!(!is_local("127.0.0.1", &["unknown"], &trusted));
        assert!(!is_local("127.0.0.1", &[], &trusted), "a proxy that says nothing");
        assert!(!is_local("127.0.0.1", &[], &["10.0.0.1"]));
    }

    #[test]
    fn a_stranger_cannot_choose_its_own_address() {
        assert_eq!(client("192.0.2.1", &["10.0.0.1"], &[]), "192.0.2.1");
        assert_eq!(client("192.0.2.1", &["10.0.0.1"], &["10.0.0.0/8"]), "192.0.2.1");
    }

    #[test]
    fn behind_trusted_proxies_the_last_stranger_is_the_client() {
        let trusted = ["10.0.0.0/8", "127.0.0.1"];
        assert_eq!(client("127.0.0.1", &["198.51.100.7"], &trusted), "198.51.100.7");
        assert_eq!(client("10.1.1.1", &["1.2.3.4, 198.51.100.7, 10.2.2.2"], &trusted), "198.51.100.7");
        assert_eq!(client("10.1.1.1", &["1.2.3.4", "198.51.100.7"], &trusted), "198.51.100.7");
        assert_eq!(client("10.1.1.1", &["nonsense"], &trusted), "10.1.1.1");
        assert_eq!(client("10.1.1.1", &[], &trusted), "10.1.1.1");
    }

    #[test]
    fn a_network_contains_its_addresses_only() {
        let contains = |network: &str, address: &str| {
            network.parse::<ProxyNetwork>().unwrap().contains(address.parse().unwrap())
        };
        assert!(contains("10.0.0.0/8", "10.255.0.1"));
        assert!(contains("10.0.0.0/8", "::ffff:10.0.0.1"));
        assert!(!contains("10.0.0.0/8", "11.0.0.1"));
        assert!(contains("0.0.0.0/0", "203.0.113.9"));
        assert!(!contains("0.0.0.0/0", "::1"));
        assert!(contains("fd00::/8", "fd12::1"));
    }

    #[test]
    fn an_ipv6_client_is_its_network() {
        let metered = |text: &str| metered_address(text.parse().unwrap());
        assert_eq!(metered("2001:db8::1"), metered("2001:db8::ffff:2"));
        assert_ne!(metered("2001:db8::1"), metered("2001:db8:0:1::1"));
    }

    #[test]
    fn addresses_to_listen_on_are_checked() {
        for text in ["127.0.0.1:7070", "localhost:0", "[::1]:7070", "0.0.0.0:80"] {
            assert_eq!(text.parse::<ListenAddress>().unwrap().to_string(), text);
        }
        for text in ["", "7070", ":7070", "localhost", "127.0.0.1:70700", "::1:7070x", "[::g]:1", "a b:1"] {
            assert!(text.parse::<ListenAddress>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parsers_panic(text in ".{0,32}") {
            let _ = text.parse::<ListenAddress>();
            let _ = text.parse::<ProxyNetwork>();
        }

        #[test]
        fn a_network_survives_being_printed(bits: u32, prefix in 0_u8..=32) {
            let network = ProxyNetwork { address: std::net::Ipv4Addr::from_bits(bits).into(), prefix };
            prop_assert_eq!(network.to_string().parse::<ProxyNetwork>().unwrap(), network);
        }
    }
}
