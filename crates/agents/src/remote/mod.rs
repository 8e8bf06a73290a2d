//! Agents elsewhere: a message becomes a call of A2A, and its answer a message again.

mod calls;

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures_util::StreamExt;
use paddock_platform::{
    config::Section,
    egress::{Destination, Host, LocalAddresses, Refusal, Resolve, Rules, SystemResolver, network_name},
    problem::error_chain,
};
use reqwest::{
    RequestBuilder, StatusCode,
    dns::{Addrs, Name, Resolving},
    redirect::Policy,
};
use serde_json::Value;
use url::Url;

pub(crate) use self::calls::RemoteHandler;
use crate::{definition::RemoteDefinition, error::AgentError, handler::Failure, message::InvalidField};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);
/// The largest answer.
const ANSWER_MAX: usize = 8 << 20;
const USER_AGENT: &str = concat!("Paddock-Agents/", env!("CARGO_PKG_VERSION"));

/// Calls agents elsewhere, where it may connect to. Cheap to clone.
#[derive(Clone)]
pub(crate) struct RemoteClient(Arc<Inner>);

struct Inner {
    resolver: Resolver,
    http: OnceLock<reqwest::Client>,
}

/// Gives out addresses that may be connected to, and no others.
#[derive(Clone)]
struct Resolver(Arc<Known>);

struct Known {
    allow: Section<Vec<Destination>>,
    system: SystemResolver,
    local: LocalAddresses,
}

/// The host is in a network that agents may not reach.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}; `[agents] allow` lists the exceptions")]
struct RefusedError(String);

impl Resolver {
    fn permitted(
        &self,
        host: &Host,
        addresses: &[std::net::IpAddr],
    ) -> Result<Vec<std::net::IpAddr>, RefusedError> {
        let (allow, local) = (self.0.allow.current(), self.0.local.current());
        let rules = Rules { allow: &allow, deny: &[], local: &local };
        rules.permitted(host, addresses).map_err(|refusal| match refusal {
            Some(Refusal::Network { address, network }) => RefusedError(format!(
                "{address} is in {network} ({}), which agents may not reach",
                network_name(&network)
            )),
            _ => RefusedError("it leads to no address".to_owned()),
        })
    }
}

impl reqwest::dns::Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.clone();
        Box::pin(async move {
            let addresses = resolver.0.system.resolve(name.as_str().to_owned()).await?;
            let permitted = resolver.permitted(&Host::parse(name.as_str()), &addresses)?;
            let addresses: Addrs = Box::new(permitted.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}

impl RemoteClient {
    pub(crate) fn new(allow: Section<Vec<Destination>>) -> Self {
        let known = Known { allow, system: SystemResolver::default(), local: LocalAddresses::default() };
        Self(Arc::new(Inner { resolver: Resolver(Arc::new(known)), http: OnceLock::new() }))
    }

    /// Whether agents may be at an address. A name that does not resolve now is checked when it does.
    pub(crate) async fn check(&self, url: &Url) -> Result<(), AgentError> {
        let resolver = &self.0.resolver;
        let host = Host::parse(url.host_str().unwrap_or_default());
        let addresses = match &host {
            Host::Address(address) => vec![*address],
            Host::Name(name) => resolver.0.system.resolve(name.clone()).await.unwrap_or_default(),
        };
        if addresses.is_empty() {
            return Ok(());
        }
        match resolver.permitted(&host, &addresses) {
            Ok(_) => Ok(()),
            Err(refused) => Err(InvalidField::new("remote.url", refused).into()),
        }
    }

    fn http(&self) -> Result<&reqwest::Client, Failure> {
        if let Some(client) = self.0.http.get() {
            return Ok(client);
        }
        let client = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .redirect(Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .dns_resolver(self.0.resolver.clone())
            .build()
            .map_err(|error| Failure::fatal(format!("no client can be made: {error}")))?;
        Ok(self.0.http.get_or_init(|| client))
    }

    /// Sends a request, with the token that the agent wants, and reads what it answers.
    async fn fetch(
        &self,
        to: &RemoteDefinition,
        request: impl FnOnce(&reqwest::Client) -> RequestBuilder,
    ) -> Result<(StatusCode, Value), Failure> {
        // What needs no resolving is not asked about by the connection.
        if let Host::Address(_) = Host::parse(to.url.host_str().unwrap_or_default()) {
            self.check(&to.url).await.map_err(|error| Failure::invalid(error.to_string()))?;
        }
        let mut request = request(self.http()?);
        if let Some(token) = &to.token {
            let token = token.resolve().map_err(|error| Failure::retryable(error.to_string()))?;
            request = request.bearer_auth(token.expose());
        }
        let unreachable = |error: reqwest::Error| {
            Failure::retryable(format!("{} cannot be reached: {}", to.url, error_chain(&error)))
        };
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let mut bytes = Vec::new();
        let mut stream = response.bytes_stream();
        while let Some(piece) = stream.next().await {
            bytes.extend_from_slice(&piece.map_err(unreachable)?);
            if bytes.len() > ANSWER_MAX {
                let detail = format!("{} answers with more than {ANSWER_MAX} bytes", to.url);
                return Err(Failure::invalid(detail));
            }
        }
        Ok((status, serde_json::from_slice(&bytes).unwrap_or_default()))
    }
}
