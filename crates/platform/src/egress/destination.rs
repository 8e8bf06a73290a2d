//! A network or the hosts of a name, as lists of what is allowed and denied have them.

use std::{fmt, net::IpAddr, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::network::{Network, ParseNetworkError};

/// `10.0.0.0/8`, `fd00::/8`, `192.0.2.7`; `example.com`, `*.example.com` (that host and all within it), or `*`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Destination {
    /// Addresses.
    Network(Network),
    /// A host, in lower case.
    Host(String),
    /// A host and all within it.
    Domain(String),
    /// Everything.
    Any,
}

impl Destination {
    /// Whether it names this host.
    pub fn has_host(&self, host: &str) -> bool {
        match self {
            Self::Network(_) => false,
            Self::Host(name) => name == host,
            Self::Domain(name) => {
                host.strip_suffix(name.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }
            Self::Any => true,
        }
    }

    /// Whether it names this address.
    pub fn has_address(&self, address: IpAddr) -> bool {
        match self {
            Self::Network(network) => network.contains(address),
            Self::Host(_) | Self::Domain(_) => false,
            Self::Any => true,
        }
    }
}

impl FromStr for Destination {
    type Err = ParseNetworkError;

    fn from_str(text: &str) -> Result<Self, ParseNetworkError> {
        let network = match text.parse() {
            Ok(network) => return Ok(Self::Network(network)),
            Err(error) => error,
        };
        if text == "*" {
            return Ok(Self::Any);
        }
        let (name, is_domain) = match text.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (text, false),
        };
        let is_label = |label: &str| {
            !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        // What looks like an address is a mistake in one, not a host.
        let is_numeric = name.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        if is_numeric || name.len() > 253 || !name.split('.').all(is_label) {
            return Err(network);
        }
        let name = name.to_ascii_lowercase();
        Ok(if is_domain { Self::Domain(name) } else { Self::Host(name) })
    }
}

impl From<Network> for Destination {
    fn from(network: Network) -> Self {
        Self::Network(network)
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(network) => network.fmt(f),
            Self::Host(name) => f.write_str(name),
            Self::Domain(name) => write!(f, "*.{name}"),
            Self::Any => f.write_str("*"),
        }
    }
}

impl Serialize for Destination {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Destination {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Destination {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Destination".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "examples": ["10.0.0.0/8", "*.example.com", "*"] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn destination(text: &str) -> Destination {
        text.parse().unwrap()
    }

    #[test]
    fn a_domain_is_its_host_and_all_within_it() {
        let domain = destination("*.Example.com");
        for (host, expected) in [
            ("example.com", true),
            ("a.example.com", true),
            ("a.b.example.com", true),
            ("badexample.com", false),
            ("example.com.evil", false),
        ] {
            assert_eq!(domain.has_host(host), expected, "{host}");
        }
        assert!(destination("a.example").has_host("a.example"));
        assert!(!destination("a.example").has_host("b.a.example"));
        assert!(destination("*").has_host("x") && destination("*").has_address([1, 2, 3, 4].into()));
        assert!(destination("10.0.0.0/8").has_address([10, 1, 1, 1].into()));
    }

    #[test]
    fn what_is_neither_a_network_nor_a_host_is_refused() {
        for text in ["", "10.0.0.300", "10.0.0.1/8", "a b", "*.", "http://a", "a..b", "*.*.a"] {
            assert!(text.parse::<Destination>().is_err(), "{text}");
        }
        for text in ["10.0.0.0/8", "*.example.com", "example.com", "*"] {
            assert_eq!(destination(text).to_string(), text);
        }
    }
}
