//! Who may be connected to: a host by its name, and each address that the name resolved to.

use std::net::IpAddr;

use super::{Destination, Network, policy};

/// Addresses of one name that are tried; names with more are load-balanced, and the first few are enough.
const ADDRESSES_MAX: usize = 8;

/// A host as somebody named it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// By its address.
    Address(IpAddr),
    /// By its name, in lower case and without the dot at its end.
    Name(String),
}

impl Host {
    /// The host as a URL writes it, or its canonical spelling.
    pub fn parse(text: &str) -> Self {
        let bare = text.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(text);
        match bare.parse() {
            Ok(address) => Self::Address(address),
            Err(_) => Self::Name(bare.strip_suffix('.').unwrap_or(bare).to_ascii_lowercase()),
        }
    }
}

/// Why a host or an address is not connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The address is in a network that nobody may reach from here.
    Network {
        /// What the host's name resolved to, or what was asked for.
        address: IpAddr,
        /// The network that makes it refused.
        network: Network,
    },
    /// The operator does not want it.
    Denied {
        /// The host or address.
        host: String,
        /// The entry of the list.
        rule: String,
    },
}

/// What decides about a host.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// What may be reached beside the public internet.
    pub allow: &'a [Destination],
    /// What may not be reached, whatever `allow` says; `*` is all that `allow` does not list.
    pub deny: &'a [Destination],
    /// Addresses of this machine.
    pub local: &'a [IpAddr],
}

impl Rules<'_> {
    /// The entry that denies a host, by its name alone.
    pub fn denial(&self, host: &Host) -> Option<Refusal> {
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
            .then(|| Refusal::Denied { host, rule: format!("`{rule}`") })
    }

    /// Whether `allow` names the host or the address.
    pub fn allows(&self, host: &Host, address: IpAddr) -> bool {
        let by_name = matches!(host, Host::Name(name) if self.allow.iter().any(|rule| rule.has_host(name)));
        by_name || self.allow.iter().any(|rule| rule.has_address(address))
    }

    /// Why an address of a host is not connected to.
    pub fn refusal(&self, host: &Host, address: IpAddr) -> Option<Refusal> {
        let allowed = self.allows(host, address);
        let denied =
            |rule: &&Destination| rule.has_address(address) && (**rule != Destination::Any || !allowed);
        if let Some(rule) = self.deny.iter().find(denied) {
            return Some(Refusal::Denied { host: address.to_string(), rule: format!("`{rule}`") });
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
        Some(Refusal::Network { address, network })
    }

    /// The addresses that may be connected to, IPv4 spelled as such; when there are none, the first refusal, and `None`
    /// if there was no address at all.
    pub fn permitted(&self, host: &Host, addresses: &[IpAddr]) -> Result<Vec<IpAddr>, Option<Refusal>> {
        let mut refused = None;
        let mut permitted = Vec::new();
        for address in addresses.iter().map(IpAddr::to_canonical) {
            match self.refusal(host, address) {
                Some(refusal) => _ = refused.get_or_insert(refusal),
                None => permitted.push(address),
            }
        }
        permitted.truncate(ADDRESSES_MAX);
        if permitted.is_empty() { Err(refused) } else { Ok(permitted) }
    }
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
        assert!(matches!(closed.permitted(&name(), &own), Err(Some(Refusal::Network { .. }))));
        let allow: [Destination; 1] = ["1.2.3.4".parse().unwrap()];
        assert!(Rules { allow: &allow, ..closed }.permitted(&name(), &own).is_ok());
    }

    #[test]
    fn what_is_denied_is_refused_by_name_and_by_address() {
        let deny: [Destination; 2] = ["*.evil.example", "9.9.9.0/24"].map(|text| text.parse().unwrap());
        let rules = Rules { deny: &deny, ..NONE };
        assert!(rules.denial(&Host::parse("a.evil.example")).is_some());
        assert!(rules.denial(&Host::parse("9.9.9.9")).is_some());
        assert!(rules.denial(&name()).is_none());
        let mixed = addresses(&["9.9.9.9", "8.8.8.8"]);
        assert_eq!(rules.permitted(&name(), &mixed).unwrap(), addresses(&["8.8.8.8"]));
        let allow: [Destination; 1] = ["a.evil.example".parse().unwrap()];
        assert!(Rules { allow: &allow, ..rules }.denial(&Host::parse("a.evil.example")).is_some());
    }

    #[test]
    fn denying_everything_leaves_what_is_allowed() {
        let deny: [Destination; 1] = ["*".parse().unwrap()];
        let allow: [Destination; 2] = ["*.shop.example", "10.0.0.0/8"].map(|text| text.parse().unwrap());
        let rules = Rules { deny: &deny, allow: &allow, ..NONE };
        assert!(rules.denial(&Host::parse("a.shop.example")).is_none());
        assert!(rules.permitted(&name(), &addresses(&["10.1.1.1"])).is_ok());
        let other = Host::parse("other.example");
        assert!(rules.permitted(&other, &addresses(&["8.8.8.8"])).is_err());
        assert!(rules.permitted(&other, &addresses(&["10.1.1.1"])).is_ok());
        assert!(Rules { allow: &allow[..1], ..rules }.denial(&other).is_some());
    }

    #[test]
    fn a_host_that_is_allowed_by_name_may_be_private() {
        let allow: [Destination; 1] = ["*.intranet.example".parse().unwrap()];
        let rules = Rules { allow: &allow, ..NONE };
        let private = addresses(&["10.0.0.1"]);
        assert!(rules.permitted(&Host::parse("wiki.intranet.example"), &private).is_ok());
        assert!(rules.permitted(&name(), &private).is_err());
    }

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn of_mixed_answers_only_the_public_ones_are_kept() {
        let mixed = addresses(&["10.0.0.1", "8.8.8.8", "::1", "2606:4700::1111", "::ffff:1.1.1.1"]);
        assert_eq!(
            NONE.permitted(&name(), &mixed).unwrap(),
            addresses(&["8.8.8.8", "2606:4700::1111", "1.1.1.1"])
        );
    }

    #[test]
    fn when_none_is_public_the_first_is_named() {
        let refusal = NONE.permitted(&name(), &addresses(&["192.168.1.1", "::1"])).unwrap_err();
        let (address, network) = ([192, 168, 1, 1].into(), "192.168.0.0/16".parse().unwrap());
        assert_eq!(refusal, Some(Refusal::Network { address, network }));
    }

    #[test]
    fn a_name_without_addresses_is_refused_for_no_reason() {
        assert_eq!(NONE.permitted(&name(), &[]), Err(None));
    }
}
