//! The addresses of this machine's own interfaces: behind a public one of them are the services of this machine.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How old the list may be.
const AGE_MAX: Duration = Duration::from_secs(10);

/// The addresses, read anew when they are old.
#[derive(Debug, Default)]
pub struct LocalAddresses(Mutex<Option<(Instant, Arc<[IpAddr]>)>>);

impl LocalAddresses {
    /// The addresses as they are now, or were a moment ago.
    pub fn current(&self) -> Arc<[IpAddr]> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((read, addresses)) = &*known
            && read.elapsed() < AGE_MAX
        {
            return Arc::clone(addresses);
        }
        let text = |path| fs::read_to_string(path).unwrap_or_default();
        let mut addresses = of_fib_trie(&text("/proc/net/fib_trie"));
        addresses.extend(of_if_inet6(&text("/proc/net/if_inet6")));
        let addresses: Arc<[IpAddr]> = addresses.into();
        *known = Some((Instant::now(), Arc::clone(&addresses)));
        addresses
    }
}

/// The kernel's routing table: a leaf `|-- 192.0.2.7` and, below it, `/32 host LOCAL`.
fn of_fib_trie(text: &str) -> Vec<IpAddr> {
    let mut leaf: Option<Ipv4Addr> = None;
    let mut addresses = Vec::new();
    for line in text.lines() {
        if let Some((_, address)) = line.split_once("|-- ") {
            leaf = address.trim().parse().ok();
        } else if line.contains("host LOCAL")
            && let Some(address) = leaf
            && !addresses.contains(&address.into())
        {
            addresses.push(IpAddr::from(address));
        }
    }
    addresses
}

/// One interface per line; the address comes first, in 32 hexadecimal digits.
fn of_if_inet6(text: &str) -> Vec<IpAddr> {
    let address = |line: &str| {
        let digits = line.split_whitespace().next()?;
        u128::from_str_radix(digits, 16).ok().map(|bits| IpAddr::from(Ipv6Addr::from_bits(bits)))
    };
    text.lines().filter_map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_from_the_kernels_tables() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n\
                    Local:\n     |-- 203.0.113.7\n        /32 host LOCAL\n     |-- 203.0.113.255\n        /32 link BROADCAST\n";
        assert_eq!(of_fib_trie(trie), [IpAddr::from([203, 0, 113, 7])]);
        let inet6 = "00000000000000000000000000000001 01 80 10 80       lo\n";
        assert_eq!(of_if_inet6(inet6), [IpAddr::from(Ipv6Addr::LOCALHOST)]);
    }
}
