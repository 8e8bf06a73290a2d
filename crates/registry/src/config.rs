//! The `[registry]` section.

use std::{collections::BTreeSet, path::PathBuf};

use paddock_platform::{
    config::SecretRef,
    units::{ByteSize, HumanDuration},
};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use url::Url;

use crate::{
    claims::{Claims, GrantOptions},
    filter::FilterOptions,
    gateway::GatewayOptions,
    kubernetes::KubernetesOptions,
    proof::PublishOptions,
    semantic::EmbeddingOptions,
};

/// The view that serves where none is named.
pub const VIEW_DEFAULT: &str = "default";
/// The source that exists when none is configured.
pub const SOURCE_DEFAULT: &str = "local";

/// Where entries of MCP servers come from, and who sees which of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, remote = "Self")]
pub struct RegistryOptions {
    /// Serve the default view at `/v0.1/…` too, for clients whose base URL is the bare address. Takes effect at start.
    pub root: bool,
    /// Where entries come from. Without any there is one managed source, `local`.
    pub sources: Vec<SourceOptions>,
    /// Named registries over sources; the first source that has a name serves all of its versions. Without any there is
    /// `default`, over all sources in their order.
    pub views: Vec<ViewOptions>,
    /// What callers may claim beside their tenant and key.
    pub grants: Vec<GrantOptions>,
    /// Who may publish under which namespaces. Without any, every caller with `registry:write` may use the ones that
    /// nobody else has used yet.
    pub namespaces: Vec<NamespaceOptions>,
    /// How those who hold no key prove that a namespace is theirs, and publish under it for a moment.
    pub publish: PublishOptions,
    /// Finding servers by what they mean, beside the words that they say: by the embeddings of a model.
    pub embeddings: EmbeddingOptions,
    /// MCP servers that are run or reached on behalf of agents.
    pub gateway: GatewayOptions,
    /// How large one entry may be.
    pub entry_size_max: ByteSize,
    /// How many entries one source may have.
    pub entries_max: usize,
    /// How large the content of one source may be.
    pub source_size_max: ByteSize,
    /// How many entries a page may have; more are not refused but cut to this.
    pub page_limit_max: u32,
    /// How much memory rendered pages of one view may take.
    pub page_cache_max: ByteSize,
    /// How long one sync may take.
    pub sync_timeout: HumanDuration,
    /// How long a source that fails is left alone at most; it begins with a second and doubles.
    pub backoff_max: HumanDuration,
    /// How many syncs that changed or failed are remembered per source.
    pub history_max: u32,
}

impl Default for RegistryOptions {
    fn default() -> Self {
        Self {
            root: false,
            sources: Vec::new(),
            views: Vec::new(),
            grants: Vec::new(),
            namespaces: Vec::new(),
            publish: PublishOptions::default(),
            embeddings: EmbeddingOptions::default(),
            gateway: GatewayOptions::default(),
            entry_size_max: ByteSize::bytes(256 << 10),
            entries_max: 1_000_000,
            source_size_max: ByteSize::mib(512),
            page_limit_max: 1_000,
            page_cache_max: ByteSize::mib(32),
            sync_timeout: HumanDuration::from_secs(600),
            backoff_max: HumanDuration::from_secs(900),
            history_max: 100,
        }
    }
}

/// Where some entries come from: exactly one of `file`, `git`, `api`, `kubernetes` and `managed`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SourceOptions {
    /// Its name: 1 to 63 of `a-z`, `0-9` and `-`.
    #[schemars(regex(pattern = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"))]
    pub name: String,
    /// A file on this machine, behind a URL, or written here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<FileOptions>,
    /// A file in a git repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub git: Option<GitOptions>,
    /// Another registry that speaks the official API.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api: Option<ApiOptions>,
    /// `ToolHive`'s resources in a Kubernetes cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<KubernetesOptions>,
    /// Entries that are published here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub managed: Option<ManagedOptions>,
    /// How often it is looked at. A file that did not change costs next to nothing. Default: 30s for files on this
    /// machine, 5m for others, 1h for registries. A Kubernetes cluster tells of changes in between.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<HumanDuration>,
    /// Which of its entries are taken.
    #[serde(skip_serializing_if = "FilterOptions::is_empty")]
    pub filter: FilterOptions,
    /// What a caller must claim to see its entries.
    #[serde(skip_serializing_if = "Claims::is_empty")]
    pub claims: Claims,
    /// Keep entries out that break the schema in any way; otherwise those that clients can read are served and marked.
    pub strict: bool,
}

/// A file: exactly one of `path`, `url` and `data`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FileOptions {
    /// A path on this machine; symlinks are followed each time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// An `http` or `https` URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<Url>,
    /// The content itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
}

/// A file in a git repository.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GitOptions {
    /// The repository: `https://…`, `http://…`, `file:///…` or a path.
    pub url: String,
    /// The branch; without branch, tag and commit, the one that the repository has as its default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// A tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// A commit, by its full id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The file in the repository.
    pub path: String,
    /// Who to authenticate as.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Where the password or token is, `env:NAME` or `file:/path`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretRef>,
}

/// Another registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ApiOptions {
    /// Its base URL, without `/v0.1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<Url>,
    /// Where a token for it is, `env:NAME` or `file:/path`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<SecretRef>,
    /// How many entries are asked for at a time.
    pub page_limit: u32,
    /// How long one page may take.
    pub timeout: HumanDuration,
    /// How often everything is fetched anew; in between, only what was updated.
    pub full_interval: HumanDuration,
}

impl Default for ApiOptions {
    fn default() -> Self {
        Self {
            url: None,
            token: None,
            page_limit: 100,
            timeout: HumanDuration::from_secs(30),
            full_interval: HumanDuration::from_secs(24 * 3600),
        }
    }
}

/// Entries that are published here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ManagedOptions {}

/// A named registry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ViewOptions {
    /// Its name, as it stands in `/registry/NAME/v0.1/…`: 1 to 63 of `a-z`, `0-9` and `-`.
    #[schemars(regex(pattern = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"))]
    pub name: String,
    /// Its sources; an earlier one hides the entries of the same name in later ones.
    pub sources: Vec<String>,
    /// Which entries it shows.
    #[serde(skip_serializing_if = "FilterOptions::is_empty")]
    pub filter: FilterOptions,
    /// What a caller must claim to use it at all.
    #[serde(skip_serializing_if = "Claims::is_empty")]
    pub claims: Claims,
    /// Anybody may read it, from any web page, without a key: entries with claims stay hidden from them.
    pub public: bool,
}

/// Who may publish under a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NamespaceOptions {
    /// The part of names before the `/`; `com.example.*` is every one below.
    pub namespace: String,
    /// Tenants that may.
    pub tenants: Vec<String>,
    /// Keys that may, by their ids.
    pub keys: Vec<String>,
}

/// What kind of source it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SourceKind {
    /// A file.
    File,
    /// A file in a git repository.
    Git,
    /// Another registry.
    Api,
    /// Resources in a Kubernetes cluster.
    Kubernetes,
    /// Published here.
    Managed,
}

impl SourceKind {
    /// The name, also as a label of metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Git => "git",
            Self::Api => "api",
            Self::Kubernetes => "kubernetes",
            Self::Managed => "managed",
        }
    }
}

impl SourceOptions {
    /// A managed source.
    pub fn managed(name: impl Into<String>) -> Self {
        Self { name: name.into(), managed: Some(ManagedOptions {}), ..Self::default() }
    }

    /// What kind it is; an unchecked one may be none.
    pub const fn kind(&self) -> Option<SourceKind> {
        match (&self.file, &self.git, &self.api, &self.kubernetes, &self.managed) {
            (Some(_), None, None, None, None) => Some(SourceKind::File),
            (None, Some(_), None, None, None) => Some(SourceKind::Git),
            (None, None, Some(_), None, None) => Some(SourceKind::Api),
            (None, None, None, Some(_), None) => Some(SourceKind::Kubernetes),
            (None, None, None, None, Some(_)) => Some(SourceKind::Managed),
            _ => None,
        }
    }

    /// How often it is looked at.
    pub fn interval(&self) -> HumanDuration {
        let is_local = self.file.as_ref().is_some_and(|file| file.url.is_none());
        self.interval.unwrap_or(match self.kind() {
            Some(SourceKind::File) if is_local => HumanDuration::from_secs(30),
            Some(SourceKind::Api) => HumanDuration::from_secs(3600),
            Some(SourceKind::Managed) => HumanDuration::from_secs(1),
            _ => HumanDuration::from_secs(300),
        })
    }

    /// Why it cannot be used, if it cannot.
    pub fn mistake(&self) -> Option<String> {
        let name = &self.name;
        if !is_label(name) {
            return Some(format!("`{name}` is not the name of a source; use 1 to 63 of a-z, 0-9 and `-`"));
        }
        let said = match self.kind() {
            None => "needs exactly one of `file`, `git`, `api`, `kubernetes` and `managed`".to_owned(),
            Some(SourceKind::File) => {
                let file = self.file.as_ref()?;
                let ways = [file.path.is_some(), file.url.is_some(), file.data.is_some()];
                if ways.into_iter().filter(|way| *way).count() == 1 {
                    return self.filter_mistake();
                }
                "needs exactly one of `path`, `url` and `data` in its `file`".to_owned()
            }
            Some(SourceKind::Git) => {
                let git = self.git.as_ref()?;
                let refs = [git.branch.is_some(), git.tag.is_some(), git.commit.is_some()];
                if git.url.is_empty() || git.path.is_empty() {
                    "needs `url` and `path` in its `git`".to_owned()
                } else if refs.into_iter().filter(|way| *way).count() > 1 {
                    "takes one of `branch`, `tag` and `commit`".to_owned()
                } else {
                    return self.filter_mistake();
                }
            }
            Some(SourceKind::Api) => {
                let api = self.api.as_ref()?;
                if api.url.as_ref().is_none_or(|url| !matches!(url.scheme(), "http" | "https")) {
                    "needs an `http` or `https` `url` in its `api`".to_owned()
                } else if !(1..=1000).contains(&api.page_limit) {
                    "has a `page_limit` that is not 1 to 1000".to_owned()
                } else {
                    return self.filter_mistake();
                }
            }
            Some(SourceKind::Kubernetes) => match self.kubernetes.as_ref()?.mistake() {
                Some(said) => said.to_owned(),
                None => return self.filter_mistake(),
            },
            Some(SourceKind::Managed) => return self.filter_mistake(),
        };
        Some(format!("source `{name}` {said}"))
    }

    fn filter_mistake(&self) -> Option<String> {
        let interval = self.interval.map(HumanDuration::get);
        if interval.is_some_and(|interval| interval.as_millis() < 100) {
            return Some(format!("source `{}` has an `interval` below 100ms", self.name));
        }
        crate::filter::Filter::compile(&self.filter)
            .err()
            .map(|error| format!("source `{}`: {error}", self.name))
    }
}

/// Whether it is a DNS label: what sources and views are called.
pub(crate) fn is_label(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
}

impl RegistryOptions {
    /// The sources in force: the configured ones, or `local`.
    pub fn sources(&self) -> Vec<SourceOptions> {
        if self.sources.is_empty() {
            return vec![SourceOptions::managed(SOURCE_DEFAULT)];
        }
        self.sources.clone()
    }

    /// The views in force over these sources: the configured ones, or `default`.
    pub fn views(&self, sources: &[SourceOptions]) -> Vec<ViewOptions> {
        if self.views.is_empty() {
            let sources = sources.iter().map(|source| source.name.clone()).collect();
            return vec![ViewOptions { name: VIEW_DEFAULT.to_owned(), sources, ..ViewOptions::default() }];
        }
        self.views.clone()
    }

    /// Why they cannot be used, if they cannot.
    pub fn mistake(&self) -> Option<String> {
        let mut names = BTreeSet::new();
        for source in &self.sources {
            if let Some(mistake) = source.mistake() {
                return Some(mistake);
            }
            if !names.insert(source.name.as_str()) {
                return Some(format!("two sources are called `{}`", source.name));
            }
        }
        if self.sources.iter().filter(|source| source.managed.is_some()).count() > 1 {
            return Some("there are two managed sources; what is published belongs to one".to_owned());
        }
        let sources = self.sources();
        let known: BTreeSet<_> = sources.iter().map(|source| source.name.as_str()).collect();
        let mut views = BTreeSet::new();
        for view in &self.views {
            if let Some(mistake) = view.mistake(&known) {
                return Some(mistake);
            }
            if !views.insert(view.name.as_str()) {
                return Some(format!("two views are called `{}`", view.name));
            }
        }
        if self.page_limit_max == 0 {
            return Some("`page_limit_max` is zero".to_owned());
        }
        let of_sections = self.publish.mistake().or_else(|| self.embeddings.mistake());
        of_sections.or_else(|| self.gateway.mistake())
    }
}

impl ViewOptions {
    /// Why it cannot be used over these sources, if it cannot.
    pub fn mistake(&self, sources: &BTreeSet<&str>) -> Option<String> {
        let name = &self.name;
        if !is_label(name) || crate::routes::RESERVED.contains(&name.as_str()) {
            return Some(format!("`{name}` is not the name of a view; use 1 to 63 of a-z, 0-9 and `-`"));
        }
        let mut seen = BTreeSet::new();
        for source in &self.sources {
            if !sources.contains(source.as_str()) {
                return Some(format!("view `{name}` names the source `{source}`, which there is not"));
            }
            if !seen.insert(source) {
                return Some(format!("view `{name}` names the source `{source}` twice"));
            }
        }
        let filter = crate::filter::Filter::compile(&self.filter);
        filter.err().map(|error| format!("view `{name}`: {error}"))
    }
}

impl Serialize for RegistryOptions {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

/// Also checks what no single key can say: names that are there once, views of sources that there are.
impl<'de> Deserialize<'de> for RegistryOptions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let options = Self::deserialize(deserializer)?;
        options.mistake().map_or(Ok(options), |mistake| Err(D::Error::custom(mistake)))
    }
}
