//! Which addresses may be reached: the public internet, and what the operator allows beside it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::network::Network;

/// A range that is not the public internet, and what it is instead.
struct Special {
    network: Network,
    name: &'static str,
}

const fn v4([a, b, c, d]: [u8; 4], prefix: u8, name: &'static str) -> Special {
    Special { network: Network::v4(Ipv4Addr::new(a, b, c, d), prefix), name }
}

/// The range of these three leading groups; none has more.
const fn v6([a, b, c]: [u16; 3], prefix: u8, name: &'static str) -> Special {
    Special { network: Network::v6(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), prefix), name }
}

/// IANA's special-purpose IPv4 registry and the address of a cloud's host agent; the first match names the range.
const SPECIAL_V4: [Special; 17] = [
    v4([0, 0, 0, 0], 8, "this host"),
    v4([10, 0, 0, 0], 8, "private"),
    v4([100, 64, 0, 0], 10, "shared by a carrier"),
    v4([127, 0, 0, 0], 8, "loopback"),
    v4([169, 254, 0, 0], 16, "link-local, where clouds serve machine credentials"),
    v4([172, 16, 0, 0], 12, "private"),
    v4([192, 0, 0, 0], 24, "reserved for protocols"),
    v4([192, 0, 2, 0], 24, "documentation"),
    v4([192, 88, 99, 0], 24, "relays of 6to4"),
    v4([192, 168, 0, 0], 16, "private"),
    v4([198, 18, 0, 0], 15, "benchmarks"),
    v4([198, 51, 100, 0], 24, "documentation"),
    v4([203, 0, 113, 0], 24, "documentation"),
    v4([224, 0, 0, 0], 4, "multicast"),
    v4([255, 255, 255, 255], 32, "broadcast"),
    v4([240, 0, 0, 0], 4, "reserved"),
    // Answers only inside Azure, and there with the machine's configuration.
    v4([168, 63, 129, 16], 32, "a cloud's host agent"),
];

/// IANA's special-purpose IPv6 registry; the first match names the range. What lies outside `2000::/3` and is not
/// listed is [`UNASSIGNED_V6`].
const SPECIAL_V6: [Special; 14] = [
    v6([0, 0, 0], 128, "unspecified"),
    Special { network: Network::v6(Ipv6Addr::LOCALHOST, 128), name: "loopback" },
    v6([0, 0, 0], 96, "IPv4-compatible"),
    v6([0x64, 0xff9b, 1], 48, "local translation to IPv4"),
    v6([0x100, 0, 0], 32, "discarded"),
    v6([0x2001, 0, 0], 32, "Teredo"),
    v6([0x2001, 0, 0], 23, "reserved for protocols"),
    v6([0x2001, 0xdb8, 0], 32, "documentation"),
    v6([0x3fff, 0, 0], 20, "documentation"),
    v6([0x5f00, 0, 0], 16, "segment routing"),
    v6([0xfc00, 0, 0], 7, "private"),
    v6([0xfe80, 0, 0], 10, "link-local"),
    v6([0xfec0, 0, 0], 10, "site-local"),
    v6([0xff00, 0, 0], 8, "multicast"),
];

/// All of IPv6: the range that an address belongs to when it is outside of every assigned one.
const UNASSIGNED_V6: Special = v6([0, 0, 0], 0, "unassigned");
/// Addresses that are routed on the public internet.
const GLOBAL_UNICAST_V6: Network = Network::v6(Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);
/// Translation to IPv4 (RFC 6052): the last 32 bits are the IPv4 address.
const NAT64: Network = Network::v6(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96);
/// 6to4 (RFC 3056): bits 16 to 48 are the IPv4 address of the router.
const SIX_TO_FOUR: Network = Network::v6(Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16);

/// The range that keeps everybody from `address`, or `None` when it may be connected to.
///
/// `allow` lifts the refusal for its networks. An address that carries an IPv4 address within (mapped, NAT64, 6to4)
/// is judged by that one.
pub fn refusal(address: IpAddr, allow: &[Network]) -> Option<Network> {
    if allow.iter().any(|network| network.contains(address)) {
        return None;
    }
    match address.to_canonical() {
        IpAddr::V4(address) => special(&SPECIAL_V4, address.into()).map(|special| special.network),
        IpAddr::V6(address) => match embedded_v4(address) {
            Some(embedded) => refusal(embedded.into(), allow),
            None => special_v6(address).map(|special| special.network),
        },
    }
}

/// What a refused network is, in a few words.
pub fn network_name(network: &Network) -> &'static str {
    SPECIAL_V4
        .iter()
        .chain(&SPECIAL_V6)
        .chain([&UNASSIGNED_V6])
        .find(|special| special.network == *network)
        .map_or("an address of this machine", |special| special.name)
}

fn special(table: &'static [Special], address: IpAddr) -> Option<&'static Special> {
    table.iter().find(|special| special.network.contains(address))
}

fn special_v6(address: Ipv6Addr) -> Option<&'static Special> {
    let address = IpAddr::V6(address);
    special(&SPECIAL_V6, address).or_else(|| (!GLOBAL_UNICAST_V6.contains(address)).then_some(&UNASSIGNED_V6))
}

fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let bits = address.to_bits();
    if NAT64.contains(address.into()) {
        Some(Ipv4Addr::from_bits(bits as u32))
    } else if SIX_TO_FOUR.contains(address.into()) {
        Some(Ipv4Addr::from_bits((bits >> 80) as u32))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refused(address: &str) -> Option<String> {
        refusal(address.parse().unwrap(), &[]).map(|network| network.to_string())
    }

    #[test]
    fn the_public_internet_is_open() {
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "93.184.216.34",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2a00:1450:4001::200e",
            "64:ff9b::8.8.8.8",
            "2002:808:808::1",
            "::ffff:8.8.8.8",
        ] {
            assert_eq!(refused(address), None, "{address}");
        }
    }

    #[test]
    fn everything_else_is_refused_and_the_range_is_named() {
        for (address, network) in [
            ("127.0.0.1", "127.0.0.0/8"),
            ("127.255.255.255", "127.0.0.0/8"),
            ("0.0.0.0", "0.0.0.0/8"),
            ("10.0.0.1", "10.0.0.0/8"),
            ("172.16.0.1", "172.16.0.0/12"),
            ("172.31.255.255", "172.16.0.0/12"),
            ("192.168.0.1", "192.168.0.0/16"),
            ("169.254.169.254", "169.254.0.0/16"),
            ("100.64.0.1", "100.64.0.0/10"),
            ("100.100.100.200", "100.64.0.0/10"),
            ("192.0.0.192", "192.0.0.0/24"),
            ("168.63.129.16", "168.63.129.16"),
            ("192.0.2.1", "192.0.2.0/24"),
            ("198.51.100.1", "198.51.100.0/24"),
            ("203.0.113.1", "203.0.113.0/24"),
            ("198.19.255.255", "198.18.0.0/15"),
            ("224.0.0.1", "224.0.0.0/4"),
            ("239.255.255.250", "224.0.0.0/4"),
            ("240.0.0.1", "240.0.0.0/4"),
            ("255.255.255.255", "255.255.255.255"),
            ("::", "::"),
            ("::1", "::1"),
            ("::7f00:1", "::/96"),
            ("::127.0.0.1", "::/96"),
            ("::ffff:127.0.0.1", "127.0.0.0/8"),
            ("::ffff:10.0.0.1", "10.0.0.0/8"),
            ("64:ff9b::127.0.0.1", "127.0.0.0/8"),
            ("64:ff9b::a9fe:a9fe", "169.254.0.0/16"),
            ("64:ff9b:1::1", "64:ff9b:1::/48"),
            ("2002:7f00:1::", "127.0.0.0/8"),
            ("2002:c0a8:101::1", "192.168.0.0/16"),
            ("2001::1", "2001::/32"),
            ("2001:20::1", "2001::/23"),
            ("2001:db8::1", "2001:db8::/32"),
            ("3fff::1", "3fff::/20"),
            ("100::1", "100::/32"),
            ("fc00::1", "fc00::/7"),
            ("fd00:ec2::254", "fc00::/7"),
            ("fe80::1", "fe80::/10"),
            ("fec0::1", "fec0::/10"),
            ("ff02::1", "ff00::/8"),
            ("5f00::1", "5f00::/16"),
            ("4000::1", "::/0"),
            ("e000::1", "::/0"),
            ("64:ff9b:2::1", "::/0"),
        ] {
            assert_eq!(refused(address).as_deref(), Some(network), "{address}");
        }
    }

    #[test]
    fn what_is_allowed_is_reached_in_every_spelling() {
        let allow: Vec<Network> = ["127.0.0.2", "fd00::/8"].map(|text| text.parse().unwrap()).to_vec();
        let open = |address: &str| refusal(address.parse().unwrap(), &allow).is_none();
        assert!(open("127.0.0.2"));
        assert!(open("::ffff:127.0.0.2"));
        assert!(open("64:ff9b::127.0.0.2"));
        assert!(open("fd12::1"));
        assert!(!open("127.0.0.1"));
        assert!(!open("::1"));
        assert!(!open("fc12::1"));
    }

    #[test]
    fn every_range_has_a_name() {
        for special in SPECIAL_V4.iter().chain(&SPECIAL_V6) {
            assert_eq!(network_name(&special.network), special.name);
        }
    }

    proptest! {
        /// The standard library's own idea of these ranges, as far as it has one.
        #[test]
        fn no_address_that_is_local_by_the_standard_library_is_open(bits: u32) {
            let address = Ipv4Addr::from_bits(bits);
            let local = address.is_private() || address.is_loopback() || address.is_link_local()
                || address.is_multicast() || address.is_broadcast() || address.is_unspecified()
                || address.is_documentation();
            prop_assert!(!local || refusal(address.into(), &[]).is_some());
        }

        #[test]
        fn an_embedded_address_is_judged_like_the_address_itself(bits: u32) {
            let v4 = Ipv4Addr::from_bits(bits);
            let plain = refusal(v4.into(), &[]);
            let wide = u128::from(bits);
            let nat64 = Ipv6Addr::from_bits((0x0064_ff9b_u128 << 96) | wide);
            let six_to_four = Ipv6Addr::from_bits((0x2002_u128 << 112) | (wide << 80) | 1);
            for embedding in [v4.to_ipv6_mapped(), nat64, six_to_four] {
                prop_assert_eq!(refusal(embedding.into(), &[]), plain, "{}", embedding);
            }
            let compatible = Ipv6Addr::from_bits(wide);
            prop_assert!(refusal(compatible.into(), &[]).is_some());
        }

        #[test]
        fn only_global_unicast_is_open(bits: u128) {
            let address = Ipv6Addr::from_bits(bits);
            if refusal(address.into(), &[]).is_none() {
                let global = GLOBAL_UNICAST_V6.contains(address.into());
                prop_assert!(global || NAT64.contains(address.into()) || address.to_ipv4_mapped().is_some());
            }
        }

        #[test]
        fn an_allowed_address_is_never_refused(bits: u128) {
            let address = IpAddr::V6(Ipv6Addr::from_bits(bits));
            prop_assert_eq!(refusal(address, &[Network::of(address)]), None);
        }
    }
}
