//! Where `ToolHive`'s resources are read: the options of a source in a Kubernetes cluster.

use std::path::PathBuf;

use paddock_platform::units::HumanDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::{Host, Url};

use crate::config::is_label;

/// All namespaces, where a namespace is named.
pub(crate) const EVERYWHERE: &str = "*";
/// Three lists and three watches are kept for each.
const NAMESPACES_MAX: usize = 100;

/// `ToolHive`'s resources in a Kubernetes cluster: `MCPServer`, `MCPRemoteProxy` and `VirtualMCPServer`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct KubernetesOptions {
    /// Namespaces that are read; `*` alone is all of them. Without any, the one that Paddock's own pod runs in.
    pub namespaces: Vec<String>,
    /// The version of `ToolHive`'s resources.
    pub version: String,
    /// The cluster's API. Without one, where `KUBERNETES_SERVICE_HOST` and `KUBERNETES_SERVICE_PORT` say, as in every pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<Url>,
    /// The service account: a directory with `token`, `ca.crt` and `namespace`, which are read anew for each sync.
    pub account: PathBuf,
    /// How many resources are asked for at a time.
    pub page_limit: u32,
    /// How long one page may take.
    pub timeout: HumanDuration,
}

impl Default for KubernetesOptions {
    fn default() -> Self {
        Self {
            namespaces: Vec::new(),
            version: "v1beta1".to_owned(),
            url: None,
            account: PathBuf::from("/var/run/secrets/kubernetes.io/serviceaccount"),
            page_limit: 500,
            timeout: HumanDuration::from_secs(30),
        }
    }
}

impl KubernetesOptions {
    /// What is wrong with them, as it follows the name of the source.
    pub(crate) fn mistake(&self) -> Option<&'static str> {
        let is_everywhere = self.namespaces == [EVERYWHERE];
        if !is_everywhere && !self.namespaces.iter().all(|namespace| is_label(namespace)) {
            return Some("names something in its `kubernetes` that is no namespace; `*` stands alone");
        }
        if self.namespaces.len() > NAMESPACES_MAX {
            return Some("names more than 100 namespaces in its `kubernetes`; `*` is all of them");
        }
        if !is_label(&self.version) {
            return Some("has a `version` in its `kubernetes` that is none, such as `v1beta1`");
        }
        if self.url.as_ref().is_some_and(|url| !is_safe(url)) {
            return Some("needs an `https` `url` in its `kubernetes`; `http` is for this machine alone");
        }
        (!(1..=1000).contains(&self.page_limit)).then_some("has a `page_limit` that is not 1 to 1000")
    }
}

/// The token goes there: nobody on the way may read it.
fn is_safe(url: &Url) -> bool {
    match (url.scheme(), url.host()) {
        ("https", Some(_)) => true,
        ("http", Some(Host::Domain(name))) => name == "localhost",
        ("http", Some(Host::Ipv4(address))) => address.is_loopback(),
        ("http", Some(Host::Ipv6(address))) => address.is_loopback(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(text: &str) -> KubernetesOptions {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn a_token_is_sent_nowhere_in_the_clear() {
        for url in [
            "https://10.0.0.1",
            "https://k8s.example",
            "http://127.0.0.1:8001",
            "http://[::1]:1",
            "http://localhost:1",
        ] {
            assert_eq!(options(&format!("url = \"{url}\"")).mistake(), None, "{url}");
        }
        for url in
            ["http://10.0.0.1", "http://k8s.example", "http://localhost.example", "file:///x", "unix:/x"]
        {
            assert!(options(&format!("url = \"{url}\"")).mistake().is_some(), "{url}");
        }
    }

    #[test]
    fn what_is_no_namespace_goes_into_no_path() {
        for namespaces in ["[]", "[\"*\"]", "[\"mcp\", \"tools-1\"]"] {
            assert_eq!(options(&format!("namespaces = {namespaces}")).mistake(), None, "{namespaces}");
        }
        for namespaces in ["[\"\"]", "[\"*\", \"mcp\"]", "[\"../../api\"]", "[\"Mcp\"]"] {
            assert!(options(&format!("namespaces = {namespaces}")).mistake().is_some(), "{namespaces}");
        }
        assert!(options("version = \"v1/../x\"").mistake().is_some());
        assert!(options("page_limit = 0").mistake().is_some());
    }
}
