//! A cluster's API: where it is, who we are there, and whom we take for it.

use std::{
    path::Path,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use paddock_platform::config::Secret;
use reqwest::{Certificate, Client, RequestBuilder, redirect::Policy};
use url::Url;

use crate::{
    error::FetchError,
    kubernetes::{EVERYWHERE, KubernetesOptions},
};

/// How long a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How large a file of a service account may be: a bundle of authorities is the largest.
const FILE_SIZE_MAX: u64 = 1 << 20;

/// The client for the authorities that were read last, or for those of the system: they are the same for years.
#[derive(Debug, Default)]
pub(crate) struct Clients(Mutex<Option<(Option<blake3::Hash>, Client)>>);

impl Clients {
    /// A client that takes nobody for the cluster but whom these authorities vouch for; it follows nobody elsewhere, as it
    /// would take the token there.
    fn trusting(&self, authorities: Option<&[u8]>, path: &Path) -> Result<Client, FetchError> {
        let hash = authorities.map(blake3::hash);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, client)) = &*kept
            && *known == hash
        {
            return Ok(client.clone());
        }
        let refused = |source| FetchError::Authorities { path: path.to_owned(), source };
        let mut builder = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(Policy::none())
            .user_agent(concat!("paddock/", env!("CARGO_PKG_VERSION")));
        if let Some(authorities) = authorities {
            builder = builder.tls_certs_only(Certificate::from_pem_bundle(authorities).map_err(refused)?);
        }
        let client = builder.build().map_err(refused)?;
        *kept = Some((hash, client.clone()));
        Ok(client)
    }
}

/// A cluster's API, as one sync or one watch uses it.
pub(super) struct Cluster {
    base: Url,
    http: Client,
    token: Option<Secret>,
}

impl Cluster {
    /// Reads the service account anew: its token is replaced every hour.
    pub(super) async fn open(options: &KubernetesOptions, clients: &Clients) -> Result<Self, FetchError> {
        let base = match &options.url {
            Some(url) => url.clone(),
            None => own_cluster()?,
        };
        let token = options.account.join("token");
        if base.scheme() != "https" {
            // `kubectl proxy` vouches for its callers itself.
            let token = if tokio::fs::try_exists(&token).await.unwrap_or(false) {
                Some(Secret::new(text_of(&token).await?))
            } else {
                None
            };
            return Ok(Self { base, http: clients.trusting(None, &options.account)?, token });
        }
        let path = options.account.join("ca.crt");
        let authorities = text_of(&path).await?;
        let http = clients.trusting(Some(authorities.as_bytes()), &path)?;
        Ok(Self { base, http, token: Some(Secret::new(text_of(&token).await?)) })
    }

    /// The namespaces to read; none is all of them.
    pub(super) async fn namespaces(
        &self,
        options: &KubernetesOptions,
    ) -> Result<Vec<Option<String>>, FetchError> {
        if options.namespaces == [EVERYWHERE] {
            return Ok(vec![None]);
        }
        if !options.namespaces.is_empty() {
            return Ok(options.namespaces.iter().cloned().map(Some).collect());
        }
        let path = options.account.join("namespace");
        let own = text_of(&path).await?;
        if crate::config::is_label(&own) {
            return Ok(vec![Some(own)]);
        }
        let source = std::io::Error::new(std::io::ErrorKind::InvalidData, "it holds no namespace");
        Err(FetchError::File { path, source })
    }

    /// Where the resources of a kind are.
    pub(super) fn path(&self, options: &KubernetesOptions, namespace: Option<&str>, plural: &str) -> String {
        let base = self.base.path().trim_end_matches('/');
        let group = format!("{base}/apis/toolhive.stacklok.dev/{}", options.version);
        match namespace {
            Some(namespace) => format!("{group}/namespaces/{namespace}/{plural}"),
            None => format!("{group}/{plural}"),
        }
    }

    pub(super) fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(path);
        url
    }

    pub(super) fn get(&self, url: Url) -> RequestBuilder {
        let request = self.http.get(url);
        match &self.token {
            Some(token) => request.bearer_auth(token.expose()),
            None => request,
        }
    }
}

/// The API of the cluster that this process runs in.
fn own_cluster() -> Result<Url, FetchError> {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let host = variable("KUBERNETES_SERVICE_HOST").ok_or(FetchError::NotInCluster)?;
    let port = variable("KUBERNETES_SERVICE_PORT").unwrap_or_else(|| "443".to_owned());
    address(&host, &port).ok_or(FetchError::NotInCluster)
}

fn address(host: &str, port: &str) -> Option<Url> {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    Url::parse(&format!("https://{host}:{port}")).ok()
}

async fn text_of(path: &Path) -> Result<String, FetchError> {
    let error = |source| FetchError::File { path: path.to_owned(), source };
    let size = tokio::fs::metadata(path).await.map_err(error)?.len();
    if size > FILE_SIZE_MAX {
        return Err(error(std::io::Error::new(std::io::ErrorKind::InvalidData, "it is too large")));
    }
    let text = tokio::fs::read_to_string(path).await.map_err(error)?;
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_cluster_is_found_by_either_kind_of_address() {
        assert_eq!(address("10.96.0.1", "443").unwrap().as_str(), "https://10.96.0.1/");
        assert_eq!(address("fd00::1", "6443").unwrap().as_str(), "https://[fd00::1]:6443/");
        assert_eq!(address("10.96.0.1", "tcp"), None);
    }

    #[tokio::test]
    async fn a_service_account_without_an_authority_or_a_token_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let options = KubernetesOptions {
            url: Some("https://127.0.0.1:1".parse().unwrap()),
            account: dir.path().to_owned(),
            ..KubernetesOptions::default()
        };
        let open = async || Cluster::open(&options, &Clients::default()).await.err().map(|it| it.to_string());
        assert!(open().await.unwrap().contains("ca.crt"));
        std::fs::write(dir.path().join("ca.crt"), "-----BEGIN CERTIFICATE-----\nnot base64!\n").unwrap();
        assert!(open().await.unwrap().contains("ca.crt"));
        std::fs::write(dir.path().join("ca.crt"), "").unwrap();
        assert!(open().await.unwrap().contains("token"));
    }
}
