//! A network in CIDR notation, as lists of what is allowed have them.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A range of addresses: `127.0.0.0/8`, `fd00::/8`, or one address alone.
///
/// An IPv4 network never contains an IPv6 address, but an IPv4-mapped one (`::ffff:127.0.0.1`) is the IPv4 address
/// that it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network {
    /// First address of the network: all bits after the prefix are zero.
    base: IpAddr,
    prefix: u8,
}

/// A text that is not a network.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ParseNetworkError {
    /// Neither an address nor an address with a prefix length.
    #[error("`{text}` is not a network; write for example `10.0.0.0/8`, `fd00::/8` or `127.0.0.1`")]
    Syntax {
        /// What was written.
        text: String,
    },
    /// The address has bits set after the prefix, so it is unclear which network is meant.
    #[error(
        "`{text}` names an address within a network; write `{network}` for the network or `{address}` for the address alone"
    )]
    HostBits {
        /// What was written.
        text: String,
        /// The network with this prefix.
        network: Network,
        /// The address as a network of one.
        address: IpAddr,
    },
}

impl Network {
    /// The IPv4 network of this base and prefix length; bits after the prefix are dropped.
    ///
    /// For tables of constants: a prefix over 32 does not compile there.
    pub(super) const fn v4(base: Ipv4Addr, prefix: u8) -> Self {
        assert!(prefix <= 32, "an IPv4 prefix has at most 32 bits");
        let base = base.to_bits() & mask_v4(prefix);
        Self { base: IpAddr::V4(Ipv4Addr::from_bits(base)), prefix }
    }

    /// The IPv6 network of this base and prefix length; bits after the prefix are dropped.
    pub(super) const fn v6(base: Ipv6Addr, prefix: u8) -> Self {
        assert!(prefix <= 128, "an IPv6 prefix has at most 128 bits");
        let base = base.to_bits() & mask_v6(prefix);
        Self { base: IpAddr::V6(Ipv6Addr::from_bits(base)), prefix }
    }

    /// The network of one address.
    pub const fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self { base: IpAddr::V4(address), prefix: 32 },
            IpAddr::V6(address) => Self { base: IpAddr::V6(address), prefix: 128 },
        }
    }

    /// Whether the address belongs to the network.
    pub const fn contains(&self, address: IpAddr) -> bool {
        match (self.base, address.to_canonical()) {
            (IpAddr::V4(base), IpAddr::V4(address)) => {
                address.to_bits() & mask_v4(self.prefix) == base.to_bits()
            }
            (IpAddr::V6(base), IpAddr::V6(address)) => {
                address.to_bits() & mask_v6(self.prefix) == base.to_bits()
            }
            _ => false,
        }
    }

    /// Number of leading bits that all addresses of the network share.
    pub const fn prefix(&self) -> u8 {
        self.prefix
    }

    const fn is_single(&self) -> bool {
        matches!((self.base, self.prefix), (IpAddr::V4(_), 32) | (IpAddr::V6(_), 128))
    }
}

const fn mask_v4(prefix: u8) -> u32 {
    if prefix == 0 { 0 } else { u32::MAX << (32 - prefix) }
}

const fn mask_v6(prefix: u8) -> u128 {
    if prefix == 0 { 0 } else { u128::MAX << (128 - prefix) }
}

impl FromStr for Network {
    type Err = ParseNetworkError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let syntax = || ParseNetworkError::Syntax { text: text.to_owned() };
        let (address, prefix) = match text.trim().split_once('/') {
            Some((address, prefix)) if prefix.bytes().all(|byte| byte.is_ascii_digit()) => {
                (address, Some(prefix.parse::<u8>().map_err(|_| syntax())?))
            }
            Some(_) => return Err(syntax()),
            None => (text.trim(), None),
        };
        let written: IpAddr = address.parse().map_err(|_| syntax())?;
        let Some(prefix) = prefix else { return Ok(Self::of(written)) };
        // `::ffff:10.0.0.0/104` is `10.0.0.0/8`.
        let (address, prefix) = match (written, written.to_canonical()) {
            (IpAddr::V6(_), IpAddr::V4(mapped)) if prefix >= 96 => (IpAddr::V4(mapped), prefix - 96),
            _ => (written, prefix),
        };
        let network = match address {
            IpAddr::V4(v4) if prefix <= 32 => Self::v4(v4, prefix),
            IpAddr::V6(v6) if prefix <= 128 => Self::v6(v6, prefix),
            _ => return Err(syntax()),
        };
        if network.base == address {
            Ok(network)
        } else {
            Err(ParseNetworkError::HostBits { text: text.to_owned(), network, address })
        }
    }
}

impl fmt::Display for Network {
    /// As it is parsed; a network of one address is that address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_single() { write!(f, "{}", self.base) } else { write!(f, "{}/{}", self.base, self.prefix) }
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Network;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a network such as \"10.0.0.0/8\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Network, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

impl JsonSchema for Network {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Network".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "a network such as \"10.0.0.0/8\", or one address",
            "pattern": r"^\s*[0-9a-fA-F:.]+(/[0-9]{1,3})?\s*$",
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn network(text: &str) -> Network {
        text.parse().unwrap()
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_contains_its_addresses_and_no_others() {
        assert!(network("10.0.0.0/8").contains(address("10.255.255.255")));
        assert!(!network("10.0.0.0/8").contains(address("11.0.0.0")));
        assert!(network("127.0.0.2").contains(address("127.0.0.2")));
        assert!(!network("127.0.0.2").contains(address("127.0.0.1")));
        assert!(network("fd00::/8").contains(address("fdff::1")));
        assert!(!network("fd00::/8").contains(address("fe80::1")));
        assert!(network("0.0.0.0/0").contains(address("8.8.8.8")));
        assert!(!network("0.0.0.0/0").contains(address("::1")));
        assert!(!network("::/0").contains(address("8.8.8.8")));
    }

    #[test]
    fn an_ipv4_mapped_address_is_the_ipv4_address_it_stands_for() {
        assert!(network("127.0.0.0/8").contains(address("::ffff:127.0.0.1")));
        assert_eq!(network("::ffff:10.0.0.0/104"), network("10.0.0.0/8"));
        assert_eq!(network("::ffff:10.1.2.3"), network("10.1.2.3/32"));
    }

    #[test]
    fn what_is_not_a_network_is_refused_with_an_example() {
        for text in
            ["", "localhost", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/+8", "10/8", "10.0.0.0/8/8"]
        {
            let error = text.parse::<Network>().unwrap_err().to_string();
            assert!(error.contains("10.0.0.0/8"), "{text}: {error}");
        }
    }

    #[test]
    fn an_address_where_a_network_belongs_is_asked_about() {
        let error = "192.168.1.7/24".parse::<Network>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "`192.168.1.7/24` names an address within a network; write `192.168.1.0/24` for the network or \
             `192.168.1.7` for the address alone"
        );
    }

    #[test]
    fn a_config_holds_networks_as_text() {
        let networks: Vec<Network> = serde_json::from_str(r#"["127.0.0.0/8", "fd00::/8", "::1"]"#).unwrap();
        assert_eq!(serde_json::to_string(&networks).unwrap(), r#"["127.0.0.0/8","fd00::/8","::1"]"#);
        assert!(serde_json::from_str::<Network>("8").is_err());
    }

    proptest! {
        #[test]
        fn a_network_survives_being_printed(base: Ipv4Addr, prefix in 0_u8..=32) {
            let network = Network::v4(base, prefix);
            prop_assert_eq!(network.to_string().parse::<Network>().unwrap(), network);
        }

        #[test]
        fn an_ipv6_network_survives_being_printed(base: Ipv6Addr, prefix in 0_u8..=128) {
            let network = Network::v6(base, prefix);
            // `::ffff:0:0/96` and what lies within read back as IPv4: the same addresses.
            if network.base.to_canonical() == network.base {
                prop_assert_eq!(network.to_string().parse::<Network>().unwrap(), network);
            }
        }

        #[test]
        fn addresses_that_differ_after_the_prefix_share_the_network(base: u32, other: u32, prefix in 0_u8..=32) {
            let network = Network::v4(Ipv4Addr::from_bits(base), prefix);
            let same_prefix = (base & mask_v4(prefix)) | (other & !mask_v4(prefix));
            prop_assert!(network.contains(IpAddr::V4(Ipv4Addr::from_bits(same_prefix))));
            let differs = base & mask_v4(prefix) != other & mask_v4(prefix);
            prop_assert_eq!(!network.contains(IpAddr::V4(Ipv4Addr::from_bits(other))), differs);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "[0-9a-f:./ ]{0,24}") {
            let _ = text.parse::<Network>();
        }
    }
}
