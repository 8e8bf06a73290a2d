//! What sources give, taken apart into entries: the official API's lists, single `server.json`s and lists of them,
//! `ToolHive`'s upstream format and Kubernetes resources, and Docker's catalogue.
//!
//! The parts are slices of the content; what they say is looked at in [`read`](crate::read).

mod docker;
pub(crate) mod kubernetes;

use std::{borrow::Cow, sync::Arc};

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use crate::claims::Claims;

/// Content that is none of the formats.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// A page for people, as proxies and captive portals answer with.
    #[error("the content is HTML, not a list of servers")]
    Html,
    /// It is not text.
    #[error("the content is not UTF-8")]
    NotText,
    /// Nothing is there.
    #[error("the content is empty")]
    Empty,
    /// It ends early, or is no JSON.
    #[error("the content is not JSON: {0}")]
    Json(String),
    /// It is no YAML either.
    #[error("the content is neither JSON nor YAML: {0}")]
    Yaml(String),
    /// It is JSON of another kind.
    #[error(
        "the content is none of the known formats: a list of the official API, `server.json`, ToolHive's upstream \
         format, ToolHive's Kubernetes resources, Docker's catalogue"
    )]
    Unknown,
    /// `ToolHive`'s older format.
    #[error(
        "the content is in ToolHive's older format; its upstream format is supported (`thv registry convert`)"
    )]
    ToolHiveOld,
}

/// One entry as it stands in the content.
#[derive(Clone, Debug)]
pub(crate) struct Part<'a> {
    /// The server's document.
    pub(crate) server: Cow<'a, str>,
    /// What the official API says beside it.
    pub(crate) meta: Option<Cow<'a, str>>,
    /// What a caller must claim to see it, beside what the source asks.
    pub(crate) claims: Option<Arc<Claims>>,
}

/// The parts of the content.
pub(crate) type Parts<'a> = Vec<Result<Part<'a>, String>>;

#[derive(Deserialize)]
struct Top<'a> {
    #[serde(borrow)]
    servers: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    registry: Option<&'a RawValue>,
    #[serde(borrow)]
    items: Option<&'a RawValue>,
    #[serde(borrow)]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    server: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Listed<'a> {
    #[serde(borrow)]
    server: &'a RawValue,
    #[serde(borrow, rename = "_meta")]
    meta: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ToolHiveData<'a> {
    #[serde(borrow, default)]
    servers: Vec<&'a RawValue>,
}

/// Takes content apart.
pub(crate) fn split(content: &[u8]) -> Result<Parts<'_>, FormatError> {
    let text = std::str::from_utf8(content).map_err(|_| FormatError::NotText)?;
    let text = text.trim_start_matches('\u{feff}').trim();
    match text.as_bytes().first() {
        None => Err(FormatError::Empty),
        Some(b'<') => Err(FormatError::Html),
        Some(b'[') => split_list(text),
        Some(b'{') => split_object(text),
        Some(_) => split_yaml(text),
    }
}

fn json<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, FormatError> {
    serde_json::from_str(text).map_err(|error| FormatError::Json(error.to_string()))
}

fn split_object(text: &str) -> Result<Parts<'_>, FormatError> {
    let top: Top<'_> = json(text)?;
    match top {
        Top { server: Some(_), .. } => Ok(vec![part_of(text)]),
        Top { data: Some(data), .. } => {
            let data: ToolHiveData<'_> = json(data.get())?;
            Ok(data.servers.into_iter().map(|server| Ok(Part::bare(Cow::Borrowed(server.get())))).collect())
        }
        Top { servers: Some(servers), .. } if servers.get().starts_with('[') => split_list(servers.get()),
        Top { servers: Some(_), .. } => Err(FormatError::ToolHiveOld),
        Top { registry: Some(registry), .. } => docker::split_catalogue(registry.get()),
        Top { name: Some(_), .. } => Ok(vec![part_of(text)]),
        Top { items: Some(items), kind: Some(kind), .. } => {
            kubernetes::split(items.get(), serde_json::from_str(kind.get()).ok())
        }
        Top { .. } => Err(FormatError::Unknown),
    }
}

fn split_list(text: &str) -> Result<Parts<'_>, FormatError> {
    let items: Vec<&RawValue> = json(text)?;
    Ok(items.into_iter().map(|item| part_of(item.get())).collect())
}

/// An item of a list: an answer of the official API, a `server.json`, or a server of Docker's catalogue.
fn part_of(item: &str) -> Result<Part<'_>, String> {
    if !item.starts_with('{') {
        return Err("is not an object".to_owned());
    }
    if let Ok(Listed { server, meta }) = serde_json::from_str(item) {
        let meta = meta.map(|meta| Cow::Borrowed(meta.get()));
        return Ok(Part { server: Cow::Borrowed(server.get()), meta, claims: None });
    }
    if docker::is_server(item) {
        return docker::convert(item).map(|server| Part::bare(Cow::Owned(server)));
    }
    Ok(Part::bare(Cow::Borrowed(item)))
}

/// YAML is what Docker's catalogue is written in.
fn split_yaml(text: &str) -> Result<Parts<'static>, FormatError> {
    let value: Value = serde_saphyr::from_str(text).map_err(|error| {
        let reason = error.to_string();
        FormatError::Yaml(reason.lines().next().unwrap_or_default().to_owned())
    })?;
    let text = value.to_string();
    match text.as_bytes().first() {
        Some(b'{' | b'[') => {
            Ok(split(text.as_bytes())?.into_iter().map(|part| part.map(Part::into_owned)).collect())
        }
        _ => Err(FormatError::Unknown),
    }
}

impl<'a> Part<'a> {
    /// A server's document alone.
    pub(crate) const fn bare(server: Cow<'a, str>) -> Self {
        Self { server, meta: None, claims: None }
    }

    fn into_owned(self) -> Part<'static> {
        Part {
            server: Cow::Owned(self.server.into_owned()),
            meta: self.meta.map(|meta| Cow::Owned(meta.into_owned())),
            claims: self.claims,
        }
    }
}

#[cfg(test)]
mod tests;
