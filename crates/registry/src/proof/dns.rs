//! TXT records of a domain. Nothing else here knows the library that asks for them.

use std::{net::SocketAddr, time::Duration};

use hickory_resolver::{
    TokioResolver,
    config::{NameServerConfig, ResolverConfig},
    net::{NetError, runtime::TokioRuntimeProvider},
    proto::rr::{RData, Record},
};

use super::{config::PublishOptions, error::ProofError};

/// How long one server has for one answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
/// How often it is asked.
const TRIES: usize = 2;
/// How many records of a domain are read.
const RECORDS_MAX: usize = 128;

/// The texts of a domain's TXT records, each put together; none if it has none.
pub(super) async fn texts_of(domain: &str, options: &PublishOptions) -> Result<Vec<String>, ProofError> {
    let unchecked = |error: &str| {
        tracing::info!(registry.domain = domain, error, "the TXT records of a domain could not be read");
        ProofError::Unchecked(format!("the TXT records of `{domain}` could not be read"))
    };
    let resolver = resolver(&options.dns_servers).map_err(|error| unchecked(&error.to_string()))?;
    // With the dot, no search domain of the system is appended.
    let lookup = resolver.txt_lookup(format!("{domain}."));
    match tokio::time::timeout(options.timeout.get(), lookup).await {
        Ok(Ok(found)) => Ok(found.answers().iter().filter_map(text_of).take(RECORDS_MAX).collect()),
        Ok(Err(error)) if error.is_no_records_found() => Ok(Vec::new()),
        Ok(Err(error)) => Err(unchecked(&error.to_string())),
        Err(_) => Err(unchecked("no answer in time")),
    }
}

/// Made for each look-up: what the system is configured to ask is read anew, and nothing is cached, so that a key that was
/// replaced is known at once.
fn resolver(servers: &[SocketAddr]) -> Result<TokioResolver, NetError> {
    let mut builder = if servers.is_empty() {
        TokioResolver::builder_tokio()?
    } else {
        let servers = servers.iter().map(server).collect();
        let config = ResolverConfig::from_parts(None, Vec::new(), servers);
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
    };
    let options = builder.options_mut();
    options.timeout = ANSWER_TIMEOUT;
    options.attempts = TRIES;
    options.cache_size = 0;
    options.edns0 = true;
    builder.build()
}

fn server(address: &SocketAddr) -> NameServerConfig {
    let mut server = NameServerConfig::udp_and_tcp(address.ip());
    for connection in &mut server.connections {
        connection.port = address.port();
    }
    server
}

fn text_of(record: &Record) -> Option<String> {
    let RData::TXT(text) = &record.data else { return None };
    let bytes = text.txt_data.iter().flat_map(|part| part.iter().copied()).collect();
    String::from_utf8(bytes).ok()
}
