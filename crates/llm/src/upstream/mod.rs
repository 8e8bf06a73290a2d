//! Providers: where they are, how they are spoken to, and what their headers say.

mod body;
mod client;
mod headers;
mod provider;

pub(crate) use body::UpstreamBody;
pub(crate) use client::{HttpClient, http_client};
pub(crate) use headers::{learned_rest, retry_after};
pub(crate) use provider::{Endpoint, Provider};
