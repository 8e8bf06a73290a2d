//! What a tab's pages load: a log of requests, their export, and rules that decide about them.
//!
//! The log is fed by the tab's follower with the events that it takes in anyway. Bodies stay in Chrome, which keeps the
//! last megabyte of each tab, until they are asked for ([`retain`]). [`route`] and [`intercept`] hold requests that a
//! rule is about until it has been applied to them.

mod entry;
mod filter;
mod har;
pub(crate) mod intercept;
pub(crate) mod log;
pub(crate) mod retain;
mod route;

pub use entry::Entry;
pub use filter::Filter;
pub use har::ExportFormat;
pub(crate) use har::entry as har_entry;
pub(crate) use intercept::{Credentials, Interception};
pub(crate) use log::Log;
pub use route::{Route, RouteAction, RouteError};
