//! The routes of `ToolHive`'s administrators, under `/registry/v1`: sources, registries (which are called views here),
//! entries, and who one is.

use std::collections::BTreeSet;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use paddock_platform::{
    http::{Json, Path},
    identity::{Caller, Scope},
    problem::{INVALID_REQUEST, Problem},
};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::TAG;
use crate::{
    apply::WantedView,
    claims::Claims,
    config::ViewOptions,
    error::RegistryError,
    filter::FilterOptions,
    import::{SourceBody, source_json},
    publish::StatusChange,
    registry::Registry,
    source::{Creation, Source},
};

/// How many entries of a source or view are listed.
const ENTRIES_MAX: usize = 10_000;

pub(super) fn routes() -> OpenApiRouter<Registry> {
    OpenApiRouter::new()
        .routes(routes!(me))
        .routes(routes!(list_sources))
        .routes(routes!(get_source, put_source, delete_source))
        .routes(routes!(source_entries))
        .routes(routes!(list_views))
        .routes(routes!(get_view, put_view, delete_view))
        .routes(routes!(view_entries))
        .routes(routes!(create_entry))
        .routes(routes!(delete_entry))
        .routes(routes!(entry_claims, put_entry_claims))
}

/// Who you are
#[utoipa::path(get, path = "/v1/me", tag = TAG, responses((status = 200, description = "The subject and its roles", body = Value)))]
async fn me(caller: Caller) -> Json<Value> {
    let roles = [
        ("superAdmin", Scope::ALL),
        ("manageSources", Scope::admin("registry")),
        ("manageRegistries", Scope::admin("registry")),
        ("manageEntries", Scope::write("registry")),
    ];
    let held: Vec<&str> =
        roles.iter().filter(|(_, scope)| caller.may(*scope)).map(|(role, _)| *role).collect();
    Json(json!({"subject": caller.key_id().unwrap_or("local"), "roles": held}))
}

/// List sources
#[utoipa::path(get, path = "/v1/sources", tag = TAG, responses((status = 200, description = "The sources", body = Value)))]
async fn list_sources(State(registry): State<Registry>) -> Json<Value> {
    let sources: Vec<Value> = registry.sources().iter().map(|source| source_json(source)).collect();
    Json(json!({"sources": sources}))
}

fn source(registry: &Registry, name: &str) -> Result<std::sync::Arc<Source>, Problem> {
    registry.source(name).ok_or_else(|| Problem::not_found("source", name))
}

/// A source
#[utoipa::path(get, path = "/v1/sources/{name}", tag = TAG, params(("name" = String, Path, description = "The source")),
    responses((status = 200, description = "The source and how its last sync went", body = Value)))]
async fn get_source(
    State(registry): State<Registry>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    let source = source(&registry, &name)?;
    Ok(Json(source_json(&source)))
}

/// Make or change a source
///
/// In the shape of `ToolHive`'s configuration. What the configuration file has is changed there. A path on the server's own
/// machine and its cluster are taken from the configuration file only.
#[utoipa::path(put, path = "/v1/sources/{name}", tag = TAG, params(("name" = String, Path, description = "The source")),
    request_body = Value,
    responses((status = 201, description = "It is made", body = Value), (status = 200, description = "It is changed", body = Value)))]
async fn put_source(
    State(registry): State<Registry>,
    caller: Caller,
    Path(name): Path<String>,
    Json(body): Json<SourceBody>,
) -> Result<Response, Problem> {
    caller.require(Scope::admin("registry"))?;
    let existing = registry.source(&name);
    if existing.as_ref().is_some_and(|source| source.creation == Creation::Config) {
        return Err(RegistryError::Configured { kind: "source", name }.into());
    }
    let options = body.into_source(&name).map_err(RegistryError::Options)?;
    let reads_here = options.file.as_ref().is_some_and(|file| file.path.is_some())
        || options.git.as_ref().is_some_and(|git| !git.url.starts_with("http"))
        || options.kubernetes.is_some();
    if reads_here {
        let detail = "a path on the server's machine, and the cluster that it runs in, are named in its configuration file only";
        return Err(Problem::new(INVALID_REQUEST, detail));
    }
    if let Some(mistake) = options.mistake() {
        return Err(RegistryError::Options(mistake).into());
    }
    if options.managed.is_some() && registry.sources().iter().any(|other| other.options.managed.is_some()) {
        return Err(RegistryError::Options("there is a managed source already".to_owned()).into());
    }
    let text =
        serde_json::to_string(&options).map_err(|error| Problem::internal("keeping a source", &error))?;
    registry.make("source", &name, text, &caller).await?;
    let status = if existing.is_some() { StatusCode::OK } else { StatusCode::CREATED };
    let made = source(&registry, &name)?;
    Ok((status, Json(source_json(&made))).into_response())
}

/// Remove a source
#[utoipa::path(delete, path = "/v1/sources/{name}", tag = TAG, params(("name" = String, Path, description = "The source")),
    responses((status = 204, description = "It is gone")))]
async fn delete_source(
    State(registry): State<Registry>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    caller.require(Scope::admin("registry"))?;
    if source(&registry, &name)?.creation == Creation::Config {
        return Err(RegistryError::Configured { kind: "source", name }.into());
    }
    let user = registry
        .wanted_views()
        .into_iter()
        .find(|view| view.creation == Creation::Api && view.options.sources.contains(&name));
    if let Some(view) = user {
        return Err(RegistryError::InUse { name, view: view.options.name }.into());
    }
    registry.unmake("source", &name, &caller).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The entries of a source
#[utoipa::path(get, path = "/v1/sources/{name}/entries", tag = TAG, params(("name" = String, Path, description = "The source")),
    responses((status = 200, description = "The entries, at most 10,000", body = Value)))]
async fn source_entries(
    State(registry): State<Registry>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    let content = source(&registry, &name)?.content.load_full();
    let entries: Vec<Value> = content
        .entries
        .iter()
        .take(ENTRIES_MAX)
        .map(|entry| json!({"entryType": "server", "name": *entry.name, "version": *entry.version, "claims": *entry.claims}))
        .collect();
    Ok(Json(json!({"entries": entries, "total": content.entries.len()})))
}

fn view_json(wanted: &WantedView) -> Value {
    json!({
        "name": wanted.options.name,
        "sources": wanted.options.sources,
        "claims": wanted.options.claims,
        "filter": wanted.options.filter,
        "creationType": wanted.creation,
        "createdAt": wanted.created_at,
        "updatedAt": wanted.updated_at,
    })
}

fn view(registry: &Registry, name: &str) -> Result<WantedView, Problem> {
    let found = registry.wanted_views().into_iter().find(|view| view.options.name == name);
    found.ok_or_else(|| Problem::not_found("registry", name))
}

/// List registries
#[utoipa::path(get, path = "/v1/registries", tag = TAG, responses((status = 200, description = "The views", body = Value)))]
async fn list_views(State(registry): State<Registry>) -> Json<Value> {
    let views: Vec<Value> = registry.wanted_views().iter().map(view_json).collect();
    Json(json!({"registries": views}))
}

/// A registry
#[utoipa::path(get, path = "/v1/registries/{name}", tag = TAG, params(("name" = String, Path, description = "The view")),
    responses((status = 200, description = "The view", body = Value)))]
async fn get_view(
    State(registry): State<Registry>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    Ok(Json(view_json(&view(&registry, &name)?)))
}

/// What a registry consists of.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ViewBody {
    sources: Vec<String>,
    #[serde(default)]
    claims: Claims,
    #[serde(default)]
    filter: FilterOptions,
}

/// Make or change a registry
///
/// Its sources in order, the claims that it asks for, and which of the entries it shows.
#[utoipa::path(put, path = "/v1/registries/{name}", tag = TAG, params(("name" = String, Path, description = "The view")),
    request_body = Value,
    responses((status = 201, description = "It is made", body = Value), (status = 200, description = "It is changed", body = Value)))]
async fn put_view(
    State(registry): State<Registry>,
    caller: Caller,
    Path(name): Path<String>,
    Json(body): Json<ViewBody>,
) -> Result<Response, Problem> {
    caller.require(Scope::admin("registry"))?;
    let existing = view(&registry, &name).ok();
    if existing.as_ref().is_some_and(|view| view.creation == Creation::Config) {
        return Err(RegistryError::Configured { kind: "view", name }.into());
    }
    let ViewBody { sources, claims, filter } = body;
    let options = ViewOptions { name: name.clone(), sources, claims, filter, ..ViewOptions::default() };
    let all = registry.sources();
    let known: BTreeSet<&str> = all.iter().map(|source| source.options.name.as_str()).collect();
    if let Some(mistake) = options.mistake(&known) {
        return Err(RegistryError::Options(mistake).into());
    }
    let text =
        serde_json::to_string(&options).map_err(|error| Problem::internal("keeping a view", &error))?;
    registry.make("view", &name, text, &caller).await?;
    let status = if existing.is_some() { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, Json(view_json(&view(&registry, &name)?))).into_response())
}

/// Remove a registry
#[utoipa::path(delete, path = "/v1/registries/{name}", tag = TAG, params(("name" = String, Path, description = "The view")),
    responses((status = 204, description = "It is gone")))]
async fn delete_view(
    State(registry): State<Registry>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    caller.require(Scope::admin("registry"))?;
    if view(&registry, &name)?.creation == Creation::Config {
        return Err(RegistryError::Configured { kind: "view", name }.into());
    }
    registry.unmake("view", &name, &caller).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The entries of a registry
#[utoipa::path(get, path = "/v1/registries/{name}/entries", tag = TAG, params(("name" = String, Path, description = "The view")),
    responses((status = 200, description = "The entries with their sources, at most 10,000", body = Value)))]
async fn view_entries(
    State(registry): State<Registry>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    let seen = registry.see(Some(&name), Some(&caller))?;
    let position = |source: &str| seen.view.sources().position(|name| name == source);
    let entries: Vec<Value> = seen
        .selection
        .entries
        .iter()
        .take(ENTRIES_MAX)
        .map(|entry| {
            json!({
                "entryType": "server", "name": *entry.name, "version": *entry.version,
                "sourceName": *entry.source, "position": position(&entry.source),
            })
        })
        .collect();
    Ok(Json(json!({"entries": entries, "total": seen.selection.entries.len()})))
}

/// What is published.
#[derive(Deserialize)]
struct EntryBody {
    #[serde(default)]
    claims: Claims,
    server: Option<Box<RawValue>>,
    skill: Option<serde::de::IgnoredAny>,
    plugin: Option<serde::de::IgnoredAny>,
}

/// Publish an entry
///
/// A server with its claims. Skills and plugins are not kept here.
#[utoipa::path(post, path = "/v1/entries", tag = TAG, request_body = Value,
    responses((status = 201, description = "It is published", body = Value)))]
async fn create_entry(
    State(registry): State<Registry>,
    caller: Caller,
    Json(body): Json<EntryBody>,
) -> Result<Response, Problem> {
    let EntryBody { claims, server: Some(server), skill: None, plugin: None } = body else {
        return Err(Problem::invalid_field(
            "server",
            "is needed, alone; skills and plugins are not kept here",
        ));
    };
    let (rendered, ..) = registry.publish(&caller, server.get(), claims).await?;
    let media_type = [(http::header::CONTENT_TYPE, "application/json")];
    Ok((StatusCode::CREATED, media_type, rendered).into_response())
}

fn only_servers(kind: &str) -> Result<(), Problem> {
    if kind == "server" {
        return Ok(());
    }
    Err(Problem::invalid_field("type", format!("`{kind}` is not kept here; `server` is")))
}

/// Withdraw an entry
#[utoipa::path(delete, path = "/v1/entries/{type}/{name}/versions/{version}", tag = TAG,
    params(("type" = String, Path, description = "`server`"), ("name" = String, Path, description = "The server, its `/` written `%2F`"),
        ("version" = String, Path, description = "The version")),
    responses((status = 204, description = "It is withdrawn")))]
async fn delete_entry(
    State(registry): State<Registry>,
    caller: Caller,
    Path((kind, name, version)): Path<(String, String, String)>,
) -> Result<StatusCode, Problem> {
    only_servers(&kind)?;
    let change = StatusChange { status: crate::entry::Status::Deleted, status_message: None };
    registry.set_status(&caller, &name, Some(&version), change).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What a published server asks for
#[utoipa::path(get, path = "/v1/entries/{type}/{name}/claims", tag = TAG,
    params(("type" = String, Path, description = "`server`"), ("name" = String, Path, description = "The server, its `/` written `%2F`")),
    responses((status = 200, description = "The claims", body = Value)))]
async fn entry_claims(
    State(registry): State<Registry>,
    caller: Caller,
    Path((kind, name)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    only_servers(&kind)?;
    caller.require(Scope::write("registry"))?;
    Ok(Json(json!({"claims": registry.claims_of(&name).await?})))
}

/// The claims of an entry.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClaimsBody {
    claims: Claims,
}

/// Set what a published server asks for
#[utoipa::path(put, path = "/v1/entries/{type}/{name}/claims", tag = TAG, request_body = Value,
    params(("type" = String, Path, description = "`server`"), ("name" = String, Path, description = "The server, its `/` written `%2F`")),
    responses((status = 204, description = "They are set")))]
async fn put_entry_claims(
    State(registry): State<Registry>,
    caller: Caller,
    Path((kind, name)): Path<(String, String)>,
    Json(body): Json<ClaimsBody>,
) -> Result<StatusCode, Problem> {
    only_servers(&kind)?;
    registry.set_claims(&caller, &name, body.claims).await?;
    Ok(StatusCode::NO_CONTENT)
}
