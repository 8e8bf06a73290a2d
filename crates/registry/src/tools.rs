//! The area's tools: the same calls as its routes.

use paddock_platform::{
    identity::Scope,
    problem::Problem,
    tool::{Tool, ToolContext},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    claims::Claims,
    registry::Registry,
    search::{SearchInput, SearchOutput},
    status::{Quarantine, RegistryStatus},
    validate::{Verdict, validate},
};

/// How many entries `registry_quarantine` gives.
const QUARANTINE_LIMIT: usize = 50;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OfServer {
    /// The server's name, for example `io.github.example/weather`.
    name: String,
    /// Its version; the latest one if it is left out.
    version: Option<String>,
    /// The view to look in; the default one if it is left out.
    view: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Server {
    /// Its `server.json`: packages, remotes, what they need.
    server: Value,
    /// What the registry says of it: status, times, source, what is wrong with it.
    #[serde(rename = "_meta")]
    meta: Value,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OfSource {
    /// One source; all of them if it is left out.
    source: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Document {
    /// A `server.json`.
    server: Value,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Publish {
    /// A `server.json`; its version must be new.
    server: Value,
    /// What a caller must claim to see it.
    #[serde(default)]
    claims: Claims,
}

/// The tools of this area.
pub fn tools(registry: &Registry) -> Vec<Tool> {
    vec![
        search(registry.clone()),
        get(registry.clone()),
        status(registry.clone()),
        sync(registry.clone()),
        quarantine(registry.clone()),
        check(),
        publish(registry.clone()),
    ]
}

fn search(registry: Registry) -> Tool {
    Tool::new(
        "registry_search",
        "Finds MCP servers by what they do: by name, description, tags and tools, also for misspelled words. Use it before \
         asking for a server that may not exist.",
        Scope::read("registry"),
        move |context: ToolContext, input: SearchInput| {
            let registry = registry.clone();
            async move {
                let found: Result<SearchOutput, Problem> = registry.search(&context.caller, input).await;
                found
            }
        },
    )
}

fn get(registry: Registry) -> Tool {
    Tool::new(
        "registry_get",
        "Gives one MCP server of the registry: how to run or reach it, what it needs, and how it stands.",
        Scope::read("registry"),
        move |context: ToolContext, input: OfServer| {
            let registry = registry.clone();
            async move {
                let seen = registry.see(input.view.as_deref(), Some(&context.caller))?;
                let version = input.version.as_deref().unwrap_or("latest");
                let entry = seen.selection.find(&input.name, version).filter(|entry| !entry.is_deleted());
                let entry =
                    entry.ok_or_else(|| Problem::not_found("server", format!("{}@{version}", input.name)))?;
                let mut whole: Value = serde_json::from_slice(&entry.rendered)
                    .map_err(|error| Problem::internal("reading an entry", &error))?;
                Ok(Server { server: whole["server"].take(), meta: whole["_meta"].take() })
            }
        },
    )
}

fn status(registry: Registry) -> Tool {
    Tool::new(
        "registry_status",
        "Tells how the registry's sources and views stand: entries, last syncs, failures.",
        Scope::read("registry"),
        move |_, _: Nothing| {
            let registry = registry.clone();
            async move { Ok::<RegistryStatus, Problem>(registry.status()) }
        },
    )
}

fn sync(registry: Registry) -> Tool {
    Tool::new(
        "registry_sync",
        "Reads the registry's sources now and waits until that is done.",
        Scope::write("registry"),
        move |_, input: OfSource| {
            let registry = registry.clone();
            async move { registry.sync(input.source.as_deref()).await }
        },
    )
}

fn quarantine(registry: Registry) -> Tool {
    Tool::new(
        "registry_quarantine",
        "Lists entries that are kept out or marked because something is wrong with them, with the reasons.",
        Scope::read("registry"),
        move |_, input: OfSource| {
            let registry = registry.clone();
            async move {
                let quarantine: Result<Quarantine, Problem> =
                    registry.quarantine(input.source.as_deref(), QUARANTINE_LIMIT);
                quarantine
            }
        },
    )
}

fn check() -> Tool {
    Tool::new(
        "registry_validate",
        "Checks a server.json against the schema and the official registry's rules.",
        Scope::read("registry"),
        |_, input: Document| async move { Ok::<Verdict, Problem>(validate(&input.server)) },
    )
}

fn publish(registry: Registry) -> Tool {
    Tool::new(
        "registry_publish",
        "Publishes a version of an MCP server in this registry. A version never changes once it is published.",
        Scope::write("registry"),
        move |context: ToolContext, input: Publish| {
            let registry = registry.clone();
            async move {
                let text = input.server.to_string();
                let (rendered, ..) = registry.publish(&context.caller, &text, input.claims).await?;
                let mut whole: Value = serde_json::from_slice(&rendered)
                    .map_err(|error| Problem::internal("reading an entry", &error))?;
                Ok(Server { server: whole["server"].take(), meta: whole["_meta"].take() })
            }
        },
    )
}
