//! Ports that are reserved for instances: only for those that ask for one.

use std::{
    collections::BTreeSet,
    fmt,
    net::{Ipv4Addr, TcpListener},
    str::FromStr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::BrowserError;

/// A range of ports, both ends included: `9868-9968`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct PortRange {
    first: u16,
    last: u16,
}

/// A text that is not a range of ports.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a range of ports; write for example `9868-9968`")]
pub struct ParsePortRangeError(String);

impl PortRange {
    /// A range, both ends included.
    pub const fn new(first: u16, last: u16) -> Self {
        Self { first, last }
    }
}

impl FromStr for PortRange {
    type Err = ParsePortRangeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParsePortRangeError(text.to_owned());
        let (first, last) = text.split_once('-').ok_or_else(error)?;
        let number = |text: &str| text.trim().parse::<u16>().ok().filter(|number| *number > 0);
        let (first, last) = (number(first).ok_or_else(error)?, number(last).ok_or_else(error)?);
        if first <= last { Ok(Self { first, last }) } else { Err(error()) }
    }
}

impl TryFrom<String> for PortRange {
    type Error = ParsePortRangeError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<PortRange> for String {
    fn from(range: PortRange) -> Self {
        range.to_string()
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// Who has which port.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ports(Arc<Mutex<BTreeSet<u16>>>);

/// A reserved port; free again when dropped.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    ports: Ports,
}

impl Port {
    pub(crate) const fn number(&self) -> u16 {
        self.number
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.ports.taken().remove(&self.number);
    }
}

impl Ports {
    /// Reserves the port that is wanted, or the lowest that is free, here and on the machine.
    pub(crate) fn take(&self, range: PortRange, wanted: Option<u16>) -> Result<Port, BrowserError> {
        let mut taken = self.taken();
        let number = match wanted {
            Some(number) => {
                let free = !taken.contains(&number) && is_free(number);
                free.then_some(number).ok_or(BrowserError::PortTaken { port: number })?
            }
            None => (range.first..=range.last)
                .find(|number| !taken.contains(number) && is_free(*number))
                .ok_or(BrowserError::PortsExhausted { range })?,
        };
        taken.insert(number);
        Ok(Port { number, ports: self.clone() })
    }

    fn taken(&self) -> MutexGuard<'_, BTreeSet<u16>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_free(number: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_read_and_written() {
        assert_eq!("9868-9968".parse::<PortRange>().unwrap(), PortRange::new(9868, 9968));
        assert_eq!(PortRange::new(1, 2).to_string(), "1-2");
        for text in ["", "1", "2-1", "0-5", "1-70000", "a-b"] {
            assert!(text.parse::<PortRange>().is_err(), "{text}");
        }
    }

    #[test]
    fn ports_run_out_and_are_used_again() {
        // One that is free now; another program may take one meanwhile, and then it counts as taken.
        let probe = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (ports, range) = (Ports::default(), PortRange::new(probe, probe));
        let port = ports.take(range, None).unwrap();
        assert_eq!(port.number(), probe);
        assert!(matches!(ports.take(range, None), Err(BrowserError::PortsExhausted { .. })));
        assert!(matches!(ports.take(range, Some(probe)), Err(BrowserError::PortTaken { .. })));
        drop(port);
        assert_eq!(ports.take(range, Some(probe)).unwrap().number(), probe);
    }

    #[test]
    fn a_port_that_another_program_has_is_not_given_away() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let number = listener.local_addr().unwrap().port();
        assert!(Ports::default().take(PortRange::new(number, number), None).is_err());
    }
}
