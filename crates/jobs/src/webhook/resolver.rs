//! Where a webhook may lead: its URL, and every address that its host's name resolves to.

use std::{error::Error, net::SocketAddr, sync::Arc};

use paddock_platform::{
    config::Section,
    egress::{Host, LocalAddresses, Network, Refusal, Resolve, Rules, SystemResolver, network_name},
};
use reqwest::dns::{Addrs, Name, Resolving};
use url::Url;

use super::WebhookOptions;

/// Bytes of a URL.
const URL_LEN_MAX: usize = 2_000;

/// A URL that webhooks may not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// It is no URL, or one of no use here.
    #[error("{0}")]
    Url(&'static str),
    /// Every address of the host is in a network that webhooks may not reach.
    #[error(
        "{address} is in {network} ({}), which webhooks may not reach; `[jobs.webhooks] allow` lists the exceptions",
        network_name(network)
    )]
    Refused {
        /// What the host's name resolved to, or what was written.
        address: std::net::IpAddr,
        /// The network that makes it refused.
        network: Network,
    },
}

/// Reads the URL of a webhook.
pub(super) fn parse_url(text: &str) -> Result<Url, TargetError> {
    if text.len() > URL_LEN_MAX {
        return Err(TargetError::Url("is longer than 2,000 characters"));
    }
    let mut url =
        Url::parse(text).map_err(|_| TargetError::Url("is not a URL such as `https://example.com/hook`"))?;
    if !matches!(url.scheme(), "https" | "http") || url.host_str().is_none_or(str::is_empty) {
        return Err(TargetError::Url("is not an https URL"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(TargetError::Url("holds a user or password; deliveries are signed instead"));
    }
    url.set_fragment(None);
    Ok(url)
}

/// Decides where webhooks may lead, and resolves their hosts. Cheap to clone.
#[derive(Clone)]
pub(super) struct Resolver(Arc<Inner>);

struct Inner {
    options: Section<WebhookOptions>,
    system: Box<dyn Resolve>,
    local: LocalAddresses,
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Resolver")
    }
}

impl Resolver {
    pub(super) fn new(options: Section<WebhookOptions>) -> Self {
        Self::with(options, SystemResolver::default())
    }

    pub(super) fn with(options: Section<WebhookOptions>, system: impl Resolve) -> Self {
        Self(Arc::new(Inner { options, system: Box::new(system), local: LocalAddresses::default() }))
    }

    /// Checks a URL: its form, where its host leads now, and that nobody on the way can read along. A host that does not
    /// resolve now may do so later; it is checked for every connection anyway.
    pub(super) async fn check(&self, url: &Url) -> Result<(), TargetError> {
        let host = host_of(url);
        let addresses = match &host {
            Host::Address(address) => vec![*address],
            Host::Name(name) => self.0.system.resolve(name.clone()).await.unwrap_or_default(),
        };
        let permitted = if addresses.is_empty() { addresses } else { self.permitted(&host, &addresses)? };
        if url.scheme() == "https" {
            return Ok(());
        }
        let allow = self.0.options.current().allow;
        let rules = Rules { allow: &allow, deny: &[], local: &[] };
        if !permitted.is_empty() && permitted.iter().all(|address| rules.allows(&host, *address)) {
            return Ok(());
        }
        Err(TargetError::Url(
            "is not an https URL; plain http is for hosts that `[jobs.webhooks] allow` lists",
        ))
    }

    /// What is checked before a connection is asked for: what the resolver of the connection is not asked about, which is
    /// an address that needs no resolving, and plain http.
    pub(super) async fn check_before(&self, url: &Url) -> Result<(), TargetError> {
        match host_of(url) {
            Host::Name(_) if url.scheme() == "https" => Ok(()),
            Host::Name(_) | Host::Address(_) => self.check(url).await,
        }
    }

    fn permitted(
        &self,
        host: &Host,
        addresses: &[std::net::IpAddr],
    ) -> Result<Vec<std::net::IpAddr>, TargetError> {
        let allow = self.0.options.current().allow;
        let local = self.0.local.current();
        let rules = Rules { allow: &allow, deny: &[], local: &local };
        rules.permitted(host, addresses).map_err(|refusal| match refusal {
            Some(Refusal::Network { address, network }) => TargetError::Refused { address, network },
            Some(Refusal::Denied { .. }) | None => TargetError::Url("leads to no address"),
        })
    }
}

/// Called for every connection: it is made to one of these addresses and to no other.
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

/// The refusal behind a failed request, if that is what it was.
pub(super) fn refusal_in(error: &(dyn Error + 'static)) -> Option<TargetError> {
    let mut error = Some(error);
    while let Some(current) = error {
        if let Some(refusal) = current.downcast_ref::<TargetError>() {
            return Some(refusal.clone());
        }
        error = current.source();
    }
    None
}

fn host_of(url: &Url) -> Host {
    Host::parse(url.host_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::{io, net::IpAddr};

    use futures_util::future::BoxFuture;

    use super::*;

    /// A name for every case, as a hostile DNS server would have them.
    struct Script;

    impl Resolve for Script {
        fn resolve(&self, name: String) -> BoxFuture<'_, io::Result<Vec<IpAddr>>> {
            let texts: &[&str] = match name.as_str() {
                "public.example" => &["8.8.8.8"],
                "mixed.example" => &["10.0.0.1", "8.8.4.4"],
                "metadata.example" => &["169.254.169.254"],
                "six.example" => &["::ffff:127.0.0.1", "fd00::1"],
                "intranet.example" => &["10.1.1.1"],
                _ => &[],
            };
            let addresses = texts.iter().map(|text| text.parse().unwrap()).collect();
            Box::pin(std::future::ready(Ok(addresses)))
        }
    }

    fn resolver(allow: &[&str]) -> Resolver {
        let allow = allow.iter().map(|text| text.parse().unwrap()).collect();
        Resolver::with(Section::fixed(WebhookOptions { allow, ..WebhookOptions::default() }), Script)
    }

    async fn check(resolver: &Resolver, url: &str) -> Result<(), TargetError> {
        resolver.check(&parse_url(url)?).await
    }

    #[tokio::test]
    async fn a_webhook_may_lead_to_the_public_internet_alone() {
        let closed = resolver(&[]);
        for url in [
            "https://public.example/hook",
            "https://mixed.example",
            "https://8.8.8.8/",
            "https://unknown.example",
        ] {
            assert_eq!(check(&closed, url).await, Ok(()), "{url}");
        }
        for url in [
            "https://metadata.example/latest",
            "https://six.example",
            "https://127.0.0.1:8080/",
            "https://[::1]/",
            "https://0x7f.1/",
            "https://2130706433/",
            "https://[::ffff:10.0.0.1]/",
            "https://192.168.1.1",
        ] {
            assert!(matches!(check(&closed, url).await, Err(TargetError::Refused { .. })), "{url}");
        }
    }

    #[tokio::test]
    async fn the_operator_allows_what_is_private() {
        let open = resolver(&["10.0.0.0/8", "*.example"]);
        assert_eq!(check(&open, "http://intranet.example/hook").await, Ok(()));
        assert_eq!(check(&open, "http://10.2.2.2/").await, Ok(()));
        assert!(check(&open, "http://8.8.8.8/").await.is_err());
    }

    #[tokio::test]
    async fn plain_http_is_for_allowed_hosts() {
        let refused = check(&resolver(&[]), "http://public.example/").await.unwrap_err();
        assert!(refused.to_string().contains("https"), "{refused}");
    }

    #[tokio::test]
    async fn a_connection_is_made_to_checked_addresses_alone() {
        use reqwest::dns::Resolve as _;
        let resolve = |name: &str| resolver(&[]).resolve(name.parse().unwrap());
        let addresses: Vec<SocketAddr> = resolve("mixed.example").await.unwrap().collect();
        assert_eq!(addresses, ["8.8.4.4:0".parse().unwrap()]);
        let Err(refused) = resolve("metadata.example").await else { unreachable!("it must be refused") };
        assert!(matches!(refusal_in(refused.as_ref()), Some(TargetError::Refused { .. })));
    }

    #[test]
    fn urls_of_no_use_are_refused() {
        for url in [
            "",
            "example.com/hook",
            "ftp://example.com",
            "https://user:pw@example.com/",
            "file:///etc/passwd",
        ] {
            assert!(parse_url(url).is_err(), "{url}");
        }
        assert!(parse_url(&format!("https://example.com/{}", "a".repeat(URL_LEN_MAX))).is_err());
        assert_eq!(parse_url("https://Example.com/a#b").unwrap().as_str(), "https://example.com/a");
    }
}
