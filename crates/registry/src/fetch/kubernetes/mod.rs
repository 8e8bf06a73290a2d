//! `ToolHive`'s resources in a Kubernetes cluster.
//!
//! A sync lists the resources of every kind in every namespace, page by page, and keeps what of them becomes entries: what
//! operators write into the status of a resource all the time is no change. Until the next sync a [watch](mod@watch) of each
//! list rings as soon as something that is exported differs.

mod cluster;
mod watch;

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use self::cluster::Cluster;
pub(crate) use self::{cluster::Clients, watch::changed};
use super::{Fetched, Fetcher, body_of, send, whole};
use crate::{
    content::TooManyError,
    error::FetchError,
    format::{FormatError, kubernetes::exported},
    kubernetes::KubernetesOptions,
    store::Mark,
};

/// What is read, with the names in the API's paths.
const KINDS: [(&str, &str); 3] = [
    ("MCPServer", "mcpservers"),
    ("MCPRemoteProxy", "mcpremoteproxies"),
    ("VirtualMCPServer", "virtualmcpservers"),
];
/// Empty pages in a row, after which a cluster is not believed that there is more.
const EMPTY_PAGES_MAX: usize = 3;

/// What was listed last: what a watch begins from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    lists: Vec<Listed>,
    /// What was exported, by the resources' ids.
    exported: BTreeMap<String, blake3::Hash>,
}

/// One list.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Listed {
    kind: &'static str,
    path: String,
    /// Of the cluster's state, when it was listed.
    version: String,
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    metadata: PageEnd,
    #[serde(default)]
    items: Option<Vec<Value>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PageEnd {
    #[serde(rename = "resourceVersion")]
    version: String,
    r#continue: String,
}

/// What one sync has read so far.
#[derive(Default)]
struct Reading {
    seen: Seen,
    resources: Vec<Value>,
    size: u64,
}

impl Fetcher {
    pub(super) async fn fetch_kubernetes(
        &self,
        options: &KubernetesOptions,
        mark: Mark,
    ) -> Result<Fetched, FetchError> {
        let cluster = Cluster::open(options, &self.clusters).await?;
        let mut reading = Reading::default();
        for namespace in cluster.namespaces(options).await? {
            for (kind, plural) in KINDS {
                let path = cluster.path(options, namespace.as_deref(), plural);
                self.list(&cluster, options, (kind, path), &mut reading).await?;
            }
        }
        if reading.seen.lists.is_empty() {
            return Err(FetchError::NoResources(options.version.clone()));
        }
        let document = json!({"kind": "List", "items": reading.resources}).to_string();
        let mark = Mark { cluster: Some(reading.seen.into()), ..mark };
        Ok(whole(document.into(), mark))
    }

    /// Reads all pages of a list. A kind that the cluster does not know has no resources.
    async fn list(
        &self,
        cluster: &Cluster,
        options: &KubernetesOptions,
        (kind, path): (&'static str, String),
        reading: &mut Reading,
    ) -> Result<(), FetchError> {
        let (mut tokens, mut empty) = (HashSet::new(), 0);
        let mut token = String::new();
        loop {
            let Some(page) = self.page_of(cluster, options, &path, &token, reading).await? else {
                return Ok(());
            };
            let items = page.items.unwrap_or_default();
            empty = if items.is_empty() { empty + 1 } else { 0 };
            for item in &items {
                reading.take(kind, item);
            }
            if reading.resources.len() > self.entries_max {
                let (found, allowed) = (reading.resources.len(), self.entries_max);
                return Err(TooManyError { found, allowed }.into());
            }
            token = page.metadata.r#continue;
            if token.is_empty() {
                reading.seen.lists.push(Listed { kind, path, version: page.metadata.version });
                return Ok(());
            }
            if empty >= EMPTY_PAGES_MAX {
                return Err(FetchError::EmptyPages);
            }
            if !tokens.insert(blake3::hash(token.as_bytes())) {
                return Err(FetchError::CursorLoop { pages: tokens.len() + 1 });
            }
        }
    }

    async fn page_of(
        &self,
        cluster: &Cluster,
        options: &KubernetesOptions,
        path: &str,
        token: &str,
        reading: &mut Reading,
    ) -> Result<Option<Page>, FetchError> {
        let mut url = cluster.url(path);
        url.query_pairs_mut().append_pair("limit", &options.page_limit.to_string());
        if !token.is_empty() {
            url.query_pairs_mut().append_pair("continue", token);
        }
        let shown = super::url::shown(&url);
        let request = cluster.get(url).timeout(options.timeout.get());
        let response = match send(request, &shown).await {
            Err(FetchError::Status { status: 404, .. }) => return Ok(None),
            response => response?,
        };
        let body: Bytes = body_of(response, &shown, self.size_max).await?;
        reading.size += body.len() as u64;
        if reading.size > self.size_max.get() {
            return Err(FetchError::TooLarge(self.size_max));
        }
        let page = serde_json::from_slice(&body).map_err(|error| FormatError::Json(error.to_string()))?;
        Ok(Some(page))
    }
}

impl Reading {
    fn take(&mut self, kind: &str, item: &Value) {
        let Some(resource) = exported(item, kind) else { return };
        self.seen.exported.insert(id_of(item).to_owned(), hash_of(&resource));
        self.resources.push(resource);
    }
}

fn id_of(item: &Value) -> &str {
    item["metadata"]["uid"].as_str().unwrap_or_default()
}

fn hash_of(resource: &Value) -> blake3::Hash {
    blake3::hash(resource.to_string().as_bytes())
}
