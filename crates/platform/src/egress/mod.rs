//! Where the server may connect on behalf of others: the public internet, and what the operator allows beside it.
//!
//! Whoever connects to a host that a caller or a page named resolves the name, asks [`Rules::permitted`] about every
//! address, and connects to an address that was permitted. Because the address that was checked is the address that is
//! connected to, a name that changes its answer in between (DNS rebinding) gains nothing.

mod destination;
mod local;
mod network;
mod policy;
mod resolve;
mod rules;

pub use destination::Destination;
pub use local::LocalAddresses;
pub use network::{Network, ParseNetworkError};
pub use policy::{network_name, refusal};
pub use resolve::{Resolve, SystemResolver};
pub use rules::{Host, Refusal, Rules};
