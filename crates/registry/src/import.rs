//! `ToolHive`'s configuration, as sources and views; and sources in the shapes of its API.

use std::collections::BTreeMap;

use paddock_platform::{config::SecretRef, units::HumanDuration};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use url::Url;

use crate::{
    claims::Claims,
    config::{
        ApiOptions, FileOptions, GitOptions, ManagedOptions, RegistryOptions, SourceOptions, ViewOptions,
    },
    filter::FilterOptions,
    kubernetes::{EVERYWHERE, KubernetesOptions},
    source::{Phase, Source},
};

/// A configuration of another registry server cannot be taken over.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It is no YAML, or not in that shape.
    #[error("this is not a configuration of ToolHive's registry server: {0}")]
    Shape(String),
    /// It says what cannot be.
    #[error("{0}")]
    Options(String),
}

/// A configuration that was taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The `[registry]` section.
    pub options: RegistryOptions,
    /// What was left behind, and what there is instead.
    pub notes: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Configuration {
    #[serde(default)]
    sources: Vec<NamedSource>,
    #[serde(default)]
    registries: Vec<NamedRegistry>,
    auth: Option<Auth>,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
struct NamedSource {
    name: String,
    #[serde(flatten)]
    body: SourceBody,
}

#[derive(Deserialize)]
struct NamedRegistry {
    name: String,
    sources: Vec<String>,
    #[serde(default)]
    claims: Claims,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Auth {
    mode: String,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

/// A source in the shape of `ToolHive`'s API and configuration.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct SourceBody {
    git: Option<Git>,
    api: Option<Api>,
    file: Option<File>,
    managed: Option<Value>,
    kubernetes: Option<Kubernetes>,
    sync_policy: SyncPolicy,
    filter: FilterOptions,
    claims: Claims,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Git {
    repository: String,
    branch: Option<String>,
    tag: Option<String>,
    commit: Option<String>,
    path: Option<String>,
    auth: Option<GitAuth>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct GitAuth {
    username: Option<String>,
    password_file: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Api {
    endpoint: String,
    timeout: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct File {
    path: Option<String>,
    url: Option<String>,
    data: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Kubernetes {
    namespaces: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SyncPolicy {
    interval: Option<String>,
}

impl SourceBody {
    /// The source that it describes.
    pub(crate) fn into_source(self, name: &str) -> Result<SourceOptions, String> {
        let said = |what: String| format!("source `{name}`: {what}");
        let interval = self.sync_policy.interval.as_deref().map(duration).transpose().map_err(&said)?;
        let api = self.api.map(Api::into_options).transpose().map_err(&said)?;
        let file = self.file.map(File::into_options).transpose().map_err(&said)?;
        let git = self.git.map(Git::into_options).transpose().map_err(&said)?;
        Ok(SourceOptions {
            name: name.to_owned(),
            file,
            git,
            api,
            kubernetes: self.kubernetes.map(Kubernetes::into_options),
            managed: self.managed.map(|_| ManagedOptions {}),
            interval,
            filter: self.filter,
            claims: self.claims,
            strict: false,
        })
    }
}

impl Api {
    fn into_options(self) -> Result<ApiOptions, String> {
        let url = url(&self.endpoint)?;
        let mut options = ApiOptions { url: Some(url), ..ApiOptions::default() };
        if let Some(timeout) = self.timeout {
            options.timeout = duration(&timeout)?;
        }
        Ok(options)
    }
}

impl Kubernetes {
    /// Without namespaces, `ToolHive` reads all of them.
    fn into_options(self) -> KubernetesOptions {
        let Self { mut namespaces } = self;
        if namespaces.is_empty() {
            namespaces.push(EVERYWHERE.to_owned());
        }
        KubernetesOptions { namespaces, ..KubernetesOptions::default() }
    }
}

impl File {
    fn into_options(self) -> Result<FileOptions, String> {
        let Self { path, url: address, data } = self;
        let address = address.as_deref().map(url).transpose()?;
        Ok(FileOptions { path: path.map(Into::into), url: address, data })
    }
}

impl Git {
    fn into_options(self) -> Result<GitOptions, String> {
        let auth = self.auth.unwrap_or_default();
        let secret =
            |path: String| format!("file:{path}").parse::<SecretRef>().map_err(|error| error.to_string());
        let password = auth.password_file.map(secret).transpose()?;
        Ok(GitOptions {
            url: self.repository,
            branch: self.branch,
            tag: self.tag,
            commit: self.commit,
            path: self.path.unwrap_or_else(|| "registry.json".to_owned()),
            username: auth.username,
            password,
        })
    }
}

fn url(text: &str) -> Result<Url, String> {
    Url::parse(text).map_err(|error| format!("`{text}` is not a URL: {error}"))
}

fn duration(text: &str) -> Result<HumanDuration, String> {
    text.parse().map_err(|_| format!("`{text}` is not a duration"))
}

/// Takes over a configuration of `ToolHive`'s registry server, in YAML.
pub fn import_toolhive(text: &str) -> Result<Imported, ImportError> {
    let parsed: Configuration =
        serde_saphyr::from_str(text).map_err(|error| ImportError::Shape(first_line(&error.to_string())))?;
    if parsed.sources.is_empty() {
        return Err(ImportError::Shape("it has no `sources`".to_owned()));
    }
    let mut notes = Vec::new();
    let mut options = RegistryOptions::default();
    for NamedSource { name, body } in parsed.sources {
        match body.into_source(&name) {
            Ok(source) => options.sources.push(source),
            Err(reason) => notes.push(format!("left out: {reason}")),
        }
    }
    let is_open = parsed.auth.as_ref().is_some_and(|auth| auth.mode == "anonymous");
    for NamedRegistry { name, mut sources, claims } in parsed.registries {
        sources.retain(|source| {
            let is_there = options.sources.iter().any(|known| known.name == *source);
            if !is_there {
                notes.push(format!("the view `{name}` goes without the source `{source}`"));
            }
            is_there
        });
        let public = is_open && claims.is_empty();
        options.views.push(ViewOptions { name, sources, claims, public, ..ViewOptions::default() });
    }
    if let Some(auth) = &parsed.auth {
        notes.extend(auth_notes(auth));
    }
    notes.extend(parsed.rest.keys().map(|key| note_of(key)));
    options.mistake().map_or(Ok(Imported { options, notes }), |mistake| Err(ImportError::Options(mistake)))
}

fn auth_notes(auth: &Auth) -> Vec<String> {
    let mut notes = Vec::new();
    if auth.mode == "anonymous" {
        notes.push("`auth.mode: anonymous`: the views without claims are public".to_owned());
    } else {
        notes.push(
            "`auth.oauth` is left out: Paddock knows its callers by their keys (`paddock keys create NAME --scope registry:read`)"
                .to_owned(),
        );
    }
    if auth.rest.contains_key("authz") {
        notes.push(
            "`auth.authz` is left out: `registry:write` and `registry:admin` are scopes of keys, and `[[registry.grants]]` \
             gives claims"
                .to_owned(),
        );
    }
    if auth.rest.contains_key("publicPaths") {
        notes.push("`auth.publicPaths` is left out: probes are open, everything else is guarded".to_owned());
    }
    notes
}

fn note_of(key: &str) -> String {
    match key {
        "database" => {
            "`database` is left out: `[store] url` is the database, an embedded one by default".to_owned()
        }
        "telemetry" => "`telemetry` is left out: `[telemetry] otlp` is where traces are sent".to_owned(),
        "audit" => "`audit` is left out: changes are always logged (`/registry/audit`)".to_owned(),
        other => format!("`{other}` is left out: it is not known"),
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// A source in the shape of `ToolHive`'s API.
pub(crate) fn source_json(source: &Source) -> Value {
    let (state, content, options) = (source.state(), source.content.load(), &source.options);
    let phase = match state.phase {
        Phase::Pending | Phase::Syncing => "Syncing",
        Phase::Complete => "Complete",
        Phase::Failed => "Failed",
    };
    json!({
        "name": options.name,
        "type": "server",
        "creationType": source.creation,
        "sourceType": source.kind,
        "sourceConfig": source_config(options),
        "filterConfig": options.filter,
        "syncSchedule": options.interval().to_string(),
        "claims": options.claims,
        "syncStatus": {
            "phase": phase,
            "lastSyncTime": state.last_sync,
            "lastAttempt": state.last_attempt,
            "attemptCount": state.failures,
            "serverCount": content.entries.len(),
            "skillCount": 0,
            "pluginCount": 0,
            "message": state.error,
        },
        "createdAt": source.created_at,
        "updatedAt": source.updated_at,
    })
}

/// Where a source is, without the secrets' places.
fn source_config(options: &SourceOptions) -> Value {
    #[derive(Serialize)]
    struct Shown<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        repository: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        branch: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        tag: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        commit: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        path: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        url: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        endpoint: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        namespaces: Option<&'a [String]>,
    }
    let (git, file, api) = (options.git.as_ref(), options.file.as_ref(), options.api.as_ref());
    let path = file.and_then(|file| file.path.as_ref()).map(|path| path.display().to_string());
    json!(Shown {
        repository: git.map(|git| git.url.as_str()),
        branch: git.and_then(|git| git.branch.as_deref()),
        tag: git.and_then(|git| git.tag.as_deref()),
        commit: git.and_then(|git| git.commit.as_deref()),
        path: path.or_else(|| git.map(|git| git.path.clone())),
        url: file.and_then(|file| file.url.as_ref()).map(Url::as_str),
        endpoint: api.and_then(|api| api.url.as_ref()).map(Url::as_str),
        namespaces: options.kubernetes.as_ref().map(|it| it.namespaces.as_slice()),
    })
}

#[cfg(test)]
#[path = "import_tests.rs"]
mod tests;
