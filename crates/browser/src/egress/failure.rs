//! Why a connection was not made.

use std::{io, net::IpAddr};

use paddock_platform::egress::{Host, Network, Refusal, network_name};

/// Why the egress did not connect a page to a host.
///
/// Chrome reports all of these as one error of its proxy; whoever explains a failed navigation asks
/// [`Egress::last_failure`](super::Egress::last_failure).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EgressFailure {
    /// Every address of the host is in a network that pages may not reach.
    #[error(
        "{address} is in {network} ({}), which pages may not reach; `[browser] allow` lists the exceptions",
        network_name(network)
    )]
    Refused {
        /// The address that the host's name resolved to, or that was asked for.
        address: IpAddr,
        /// The network that makes it refused.
        network: Network,
    },
    /// The operator does not want pages to reach it.
    #[error("`{host}` is not allowed: `[browser] deny` lists {rule}")]
    Denied {
        /// The host or address.
        host: String,
        /// The entry of the list.
        rule: String,
    },
    /// The instance is to reach other hosts only.
    #[error("`{host}` is not among the `allowedDomains` of the instance")]
    Unlisted {
        /// The host or address.
        host: String,
    },
    /// The host's name resolved to no address.
    #[error("the name does not resolve")]
    NotFound,
    /// Nothing listens on the port.
    #[error("the connection was refused")]
    ConnectionRefused,
    /// There is no route to the host, or the connection broke while it was made.
    #[error("the host is unreachable")]
    Unreachable,
    /// No answer within the connect timeout.
    #[error("the host did not answer in time")]
    TimedOut,
    /// The egress is at its maximum of connections or of name look-ups.
    #[error("too many connections are open")]
    Overloaded,
}

impl EgressFailure {
    /// That a host is not among those that an instance may reach.
    pub(crate) fn unlisted(host: &Host) -> Self {
        let host = match host {
            Host::Name(name) => name.clone(),
            Host::Address(address) => address.to_string(),
        };
        Self::Unlisted { host }
    }

    /// The failure as a metric label.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Refused { .. } => "refused",
            Self::Denied { .. } => "denied",
            Self::Unlisted { .. } => "unlisted",
            Self::NotFound => "not_found",
            Self::ConnectionRefused => "connection_refused",
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timed_out",
            Self::Overloaded => "overloaded",
        }
    }
}

impl From<Refusal> for EgressFailure {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Network { address, network } => Self::Refused { address, network },
            Refusal::Denied { host, rule } => Self::Denied { host, rule },
        }
    }
}

impl From<&io::Error> for EgressFailure {
    fn from(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::ConnectionRefused,
            io::ErrorKind::TimedOut => Self::TimedOut,
            _ => Self::Unreachable,
        }
    }
}
