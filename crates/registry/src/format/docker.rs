//! Docker's catalogue: `server.yaml`s, and the `registry:` that is published of them, as `server.json`s.
//!
//! Docker names servers without a namespace and gives no versions: they become `com.docker.mcp/NAME`, of the version
//! `0.0.0-COMMIT` where the commit is known. What `server.json` has no place for (category, tags, tools, the whole
//! description) goes into the publisher's metadata.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{FormatError, Part, Parts};
use crate::validate::{PUBLISHER_META, SCHEMA_CURRENT};

const NAMESPACE: &str = "com.docker.mcp";
const DESCRIPTION_LENGTH_MAX: usize = 100;

#[derive(Deserialize)]
struct Server {
    name: String,
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    image: String,
    #[serde(default)]
    meta: Meta,
    #[serde(default)]
    about: About,
    #[serde(default)]
    source: Source,
    #[serde(default)]
    run: Run,
    #[serde(default)]
    config: Config,
    remote: Option<Remote>,
    #[serde(default, rename = "_tools", alias = "tools")]
    tools: Vec<Named>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Meta {
    category: String,
    tags: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct About {
    title: String,
    description: String,
    icon: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Source {
    project: String,
    commit: String,
    directory: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Run {
    command: Vec<String>,
    volumes: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Config {
    secrets: Vec<Variable>,
    env: Vec<Variable>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Variable {
    env: String,
    name: String,
    description: String,
    example: Value,
    required: bool,
}

#[derive(Deserialize)]
struct Remote {
    #[serde(default)]
    transport_type: String,
    url: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Named {
    name: String,
    description: String,
}

/// A server of the published catalogue, whose key is its name.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Published {
    title: String,
    description: String,
    #[serde(rename = "type")]
    kind: String,
    image: String,
    icon: String,
    upstream: String,
    secrets: Vec<Variable>,
    env: Vec<Variable>,
    command: Vec<String>,
    volumes: Vec<String>,
    tools: Vec<Named>,
    metadata: Meta,
    remote: Option<Remote>,
}

/// Whether an object is a `server.yaml` and not a `server.json`.
pub(super) fn is_server(item: &str) -> bool {
    #[derive(Deserialize)]
    struct Marks {
        about: Option<serde::de::IgnoredAny>,
        version: Option<serde::de::IgnoredAny>,
        #[serde(rename = "type")]
        kind: Option<String>,
    }
    let marks: Option<Marks> = serde_json::from_str(item).ok();
    marks.is_some_and(|marks| marks.about.is_some() && marks.version.is_none() && marks.kind.is_some())
}

/// The servers of a published catalogue.
pub(super) fn split_catalogue(registry: &str) -> Result<Parts<'static>, FormatError> {
    let servers: BTreeMap<String, Value> =
        serde_json::from_str(registry).map_err(|error| FormatError::Json(error.to_string()))?;
    Ok(servers
        .into_iter()
        .map(|(name, value)| {
            let published: Published =
                serde_json::from_value(value).map_err(|error| format!("`{name}`: {error}"))?;
            server_json(&published.into_server(name))
        })
        .map(|server| server.map(|server| Part::bare(server.into())))
        .collect())
}

/// A `server.yaml`, as JSON, as a `server.json`.
pub(super) fn convert(item: &str) -> Result<String, String> {
    let server: Server = serde_json::from_str(item).map_err(|error| error.to_string())?;
    server_json(&server)
}

impl Published {
    fn into_server(self, name: String) -> Server {
        Server {
            name,
            kind: self.kind,
            image: self.image,
            meta: self.metadata,
            about: About { title: self.title, description: self.description, icon: self.icon },
            source: Source { project: self.upstream, ..Source::default() },
            run: Run { command: self.command, volumes: self.volumes },
            config: Config { secrets: self.secrets, env: self.env },
            remote: self.remote,
            tools: self.tools,
        }
    }
}

fn server_json(server: &Server) -> Result<String, String> {
    let Server { name, about, source, .. } = server;
    if server.remote.is_none() && server.image.is_empty() {
        return Err(format!("`{name}` of the type `{}` has neither an image nor a remote", server.kind));
    }
    let mut out = Map::new();
    out.insert("$schema".to_owned(), SCHEMA_CURRENT.into());
    out.insert("name".to_owned(), format!("{NAMESPACE}/{name}").into());
    out.insert("description".to_owned(), shortened(first_of(&about.description, &about.title, name)).into());
    if !about.title.is_empty() {
        out.insert("title".to_owned(), shortened(&about.title).into());
    }
    let commit = source.commit.get(..12).unwrap_or(&source.commit);
    let version = if commit.is_empty() { "0.0.0".to_owned() } else { format!("0.0.0-{commit}") };
    out.insert("version".to_owned(), version.into());
    if source.project.starts_with("https://github.com/") {
        let mut repository = json!({"url": source.project.trim_end_matches(".git"), "source": "github"});
        if !source.directory.is_empty() {
            repository["subfolder"] = source.directory.trim_matches('/').into();
        }
        out.insert("repository".to_owned(), repository);
    }
    if about.icon.starts_with("https://") {
        out.insert("icons".to_owned(), json!([{"src": about.icon}]));
    }
    match &server.remote {
        Some(remote) => out.insert("remotes".to_owned(), json!([remote_json(remote)])),
        None => out.insert("packages".to_owned(), json!([package_json(server)])),
    };
    out.insert("_meta".to_owned(), json!({ PUBLISHER_META: publisher_json(server) }));
    Ok(Value::Object(out).to_string())
}

fn remote_json(remote: &Remote) -> Value {
    let kind = if remote.transport_type == "sse" { "sse" } else { "streamable-http" };
    let headers: Vec<Value> =
        remote.headers.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
    let mut out = json!({"type": kind, "url": remote.url});
    if !headers.is_empty() {
        out["headers"] = headers.into();
    }
    out
}

fn package_json(server: &Server) -> Value {
    let positional = |value: &String| json!({"type": "positional", "value": value});
    let secrets = server.config.secrets.iter().map(|secret| variable_json(secret, &secret.env, true));
    let plain = server.config.env.iter().map(|variable| variable_json(variable, &variable.name, false));
    let volumes = server.run.volumes.iter();
    let volumes: Vec<Value> =
        volumes.map(|volume| json!({"type": "named", "name": "--volume", "value": volume})).collect();
    let mut out = json!({
        "registryType": "oci",
        "identifier": server.image,
        "runtimeHint": "docker",
        "transport": {"type": "stdio"},
    });
    let arguments: Vec<Value> = server.run.command.iter().map(positional).collect();
    let variables: Vec<Value> = secrets.chain(plain).collect();
    for (member, items) in
        [("runtimeArguments", volumes), ("packageArguments", arguments), ("environmentVariables", variables)]
    {
        if !items.is_empty() {
            out[member] = items.into();
        }
    }
    out
}

fn variable_json(variable: &Variable, name: &str, is_secret: bool) -> Value {
    let mut out = json!({"name": name, "isSecret": is_secret, "isRequired": variable.required});
    if !variable.description.is_empty() {
        out["description"] = variable.description.as_str().into();
    }
    if let Some(example) = variable.example.as_str() {
        out["placeholder"] = example.into();
    }
    out
}

fn publisher_json(server: &Server) -> Value {
    let tools: Vec<Value> =
        server.tools.iter().map(|tool| json!({"name": tool.name, "description": tool.description})).collect();
    json!({ NAMESPACE: {
        "category": server.meta.category,
        "tags": server.meta.tags,
        "description": server.about.description,
        "tools": tools,
    }})
}

fn first_of<'t>(description: &'t str, title: &'t str, name: &'t str) -> &'t str {
    [description, title].into_iter().find(|text| !text.trim().is_empty()).unwrap_or(name)
}

/// The schema allows 100 characters; the whole text is in the metadata.
fn shortened(text: &str) -> String {
    let text = text.trim();
    if text.chars().count() <= DESCRIPTION_LENGTH_MAX {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(DESCRIPTION_LENGTH_MAX - 1).collect();
    short.truncate(short.trim_end().len());
    short.push('…');
    short
}
