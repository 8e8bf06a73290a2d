//! What is fetched for a proof, from where it may be fetched.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use paddock_platform::{
    config::Section,
    egress::{Host, LocalAddresses, Refusal, Resolve, Rules, SystemResolver, network_name},
    problem::error_chain,
    units::ByteSize,
};
use reqwest::{
    StatusCode,
    dns::{Addrs, Name, Resolving},
    redirect::Policy,
};
use url::Url;

use super::{config::PublishOptions, error::ProofError};
use crate::{error::FetchError, fetch::body_of};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const USER_AGENT: &str = concat!("paddock/", env!("CARGO_PKG_VERSION"));

/// Fetches small documents of hosts that callers name.
pub(super) struct Fetcher {
    resolver: Resolver,
    http: OnceLock<reqwest::Client>,
}

/// Gives out addresses that may be connected to, and no others.
#[derive(Clone)]
struct Resolver(Arc<Known>);

struct Known {
    options: Section<PublishOptions>,
    system: SystemResolver,
    local: LocalAddresses,
}

/// The host may not be reached, or not so.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}; `[registry.publish] allow` lists the exceptions")]
struct RefusedError(String);

impl Resolver {
    /// The addresses of a host that may be connected to; over plain http, only those that the operator lists.
    fn permitted(
        &self,
        host: &Host,
        addresses: &[IpAddr],
        is_plain: bool,
    ) -> Result<Vec<IpAddr>, RefusedError> {
        let (allow, local) = (self.0.options.current().allow, self.0.local.current());
        let rules = Rules { allow: &allow, deny: &[], local: &local };
        let mut permitted = rules.permitted(host, addresses).map_err(|refusal| match refusal {
            Some(Refusal::Network { address, network }) => {
                RefusedError(format!("{address} is in {network} ({})", network_name(&network)))
            }
            _ => RefusedError("it leads to no address".to_owned()),
        })?;
        if is_plain {
            permitted.retain(|address| rules.allows(host, *address));
        }
        if permitted.is_empty() {
            return Err(RefusedError("plain http is for hosts that are listed".to_owned()));
        }
        Ok(permitted)
    }

    /// What the connection does not ask about: an address, which needs no resolving, and plain http.
    async fn check(&self, url: &Url) -> Result<(), RefusedError> {
        let (host, is_plain) = (Host::parse(url.host_str().unwrap_or_default()), url.scheme() != "https");
        let addresses = match &host {
            Host::Address(address) => vec![*address],
            Host::Name(_) if !is_plain => return Ok(()),
            Host::Name(name) => self.0.system.resolve(name.clone()).await.unwrap_or_default(),
        };
        self.permitted(&host, &addresses, is_plain).map(|_| ())
    }
}

/// Called for every connection: it is made to one of these addresses and to no other.
impl reqwest::dns::Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.clone();
        Box::pin(async move {
            let addresses = resolver.0.system.resolve(name.as_str().to_owned()).await?;
            let permitted = resolver.permitted(&Host::parse(name.as_str()), &addresses, false)?;
            let addresses: Addrs = Box::new(permitted.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}

impl Fetcher {
    pub(super) fn new(options: Section<PublishOptions>) -> Self {
        let known = Known { options, system: SystemResolver::default(), local: LocalAddresses::default() };
        Self { resolver: Resolver(Arc::new(known)), http: OnceLock::new() }
    }

    /// A document of at most so many bytes. One that is not there proves nothing; a host that fails, or may not be asked, is
    /// no answer.
    pub(super) async fn get(
        &self,
        url: &Url,
        size_max: ByteSize,
        timeout: Duration,
    ) -> Result<Bytes, ProofError> {
        let unchecked = |error: String| {
            tracing::info!(url.full = url.as_str(), error, "what a proof needs could not be fetched");
            ProofError::Unchecked(format!("`{url}` could not be fetched"))
        };
        let fetching = async {
            self.resolver.check(url).await.map_err(|error| unchecked(error.to_string()))?;
            let http = self.http().map_err(|error| unchecked(error_chain(&error)))?;
            let sent = http.get(url.clone()).send().await;
            let response = sent.map_err(|error| unchecked(error_chain(&error)))?;
            match response.status() {
                StatusCode::OK => {}
                status if status.is_server_error() => return Err(unchecked(status.to_string())),
                status => return Err(ProofError::Refused(format!("`{url}` answered {}", status.as_u16()))),
            }
            body_of(response, url.as_str(), size_max).await.map_err(|error| match error {
                FetchError::TooLarge(_) => {
                    ProofError::Refused(format!("`{url}` gave more than {} bytes", size_max.get()))
                }
                error => unchecked(error_chain(&error)),
            })
        };
        let fetched = tokio::time::timeout(timeout, fetching).await;
        fetched.unwrap_or_else(|_| Err(unchecked("no answer in time".to_owned())))
    }

    /// A client that follows nobody elsewhere: the host that was asked must answer itself.
    fn http(&self) -> Result<&reqwest::Client, reqwest::Error> {
        if let Some(client) = self.http.get() {
            return Ok(client);
        }
        let client = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .redirect(Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_max_idle_per_host(0)
            .dns_resolver(self.resolver.clone())
            .build()?;
        Ok(self.http.get_or_init(|| client))
    }
}
