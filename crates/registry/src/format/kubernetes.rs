//! `ToolHive`'s Kubernetes resources as entries, as `ToolHive`'s registry server makes them.
//!
//! A resource that carries `registry-export: "true"` becomes an entry under `com.toolhive.k8s.NAMESPACE/NAME`, with what its
//! other annotations say. An image is a package of the entry only where it speaks over standard input and output: of the others
//! nobody but the cluster knows the address, and the schema asks for one.

use std::{borrow::Cow, sync::Arc};

use semver::Version;
use serde_json::{Map, Value, json};

use super::{FormatError, Part, Parts};
use crate::{
    claims::Claims,
    validate::{PUBLISHER_META, SCHEMA_CURRENT},
};

/// What all of the annotations begin with.
const PREFIX: &str = "toolhive.stacklok.dev/";
/// The version of what says none.
const VERSION_DEFAULT: &str = "1.0.0";
const VERSION_LENGTH_MAX: usize = 255;

/// What of a resource becomes an entry; none if it is not exported, or is about to go.
pub(crate) fn exported(resource: &Value, kind: &str) -> Option<Value> {
    let metadata = &resource["metadata"];
    let annotations = metadata["annotations"].as_object()?;
    let is_exported = annotations.get("toolhive.stacklok.dev/registry-export")?.as_str() == Some("true");
    if !is_exported || !metadata["deletionTimestamp"].is_null() {
        return None;
    }
    let annotations: Map<String, Value> = annotations
        .iter()
        .filter(|(key, _)| key.starts_with(PREFIX))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let spec = &resource["spec"];
    Some(json!({
        "kind": kind,
        "metadata": {
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
            "annotations": annotations,
        },
        "spec": {"image": spec["image"], "transport": spec["transport"], "proxyMode": spec["proxyMode"]},
    }))
}

/// Takes a list of resources apart; `list_kind` is that of the list, for resources that do not say theirs.
pub(super) fn split(items: &str, list_kind: Option<&str>) -> Result<Parts<'static>, FormatError> {
    let items: Vec<Value> = super::json(items)?;
    let of_list = list_kind.and_then(|kind| kind.strip_suffix("List")).unwrap_or_default();
    let parts = items.iter().filter_map(|item| {
        let kind = item["kind"].as_str().unwrap_or(of_list);
        let resource = exported(item, kind)?;
        Some(Resource(&resource).part())
    });
    Ok(parts.collect())
}

/// What is exported of a resource.
struct Resource<'a>(&'a Value);

impl<'a> Resource<'a> {
    fn text(&self, section: &str, member: &str) -> &'a str {
        self.0[section][member].as_str().unwrap_or_default()
    }

    fn annotation(&self, name: &str) -> Option<&'a str> {
        let value = self.0["metadata"]["annotations"][format!("{PREFIX}{name}")].as_str()?;
        Some(value.trim()).filter(|value| !value.is_empty())
    }

    fn part(&self) -> Result<Part<'static>, String> {
        let (namespace, name) = (self.text("metadata", "namespace"), self.text("metadata", "name"));
        let kind = self.0["kind"].as_str().unwrap_or_default();
        let said = |what: String| format!("{kind} `{namespace}/{name}` {what}");
        let needed = |annotation: &str| {
            self.annotation(annotation)
                .ok_or_else(|| said(format!("is exported without the annotation `{PREFIX}{annotation}`")))
        };
        let (url, description) = (needed("registry-url")?, needed("registry-description")?);
        let claims = self.claims().map_err(|error| said(format!("has claims that are none: {error}")))?;
        let mut server = json!({
            "$schema": SCHEMA_CURRENT,
            "name": format!("com.toolhive.k8s.{namespace}/{name}"),
            "description": description,
            "version": self.version(),
            "remotes": [{"type": self.remote_transport(), "url": url}],
            "_meta": {PUBLISHER_META: {"io.github.stacklok": {url: self.extension(kind)}}},
        });
        if let Some(title) = self.annotation("registry-title") {
            server["title"] = title.into();
        }
        if let Some(icon) = self.annotation("registry-icon") {
            server["icons"] = json!([{"src": icon}]);
        }
        let image = self.text("spec", "image");
        if !image.is_empty() && self.text("spec", "transport") == "stdio" {
            server["packages"] =
                json!([{"registryType": "oci", "identifier": image, "transport": {"type": "stdio"}}]);
        }
        Ok(Part { server: Cow::Owned(server.to_string()), meta: None, claims })
    }

    /// What a caller must claim. What cannot be read keeps the entry out: it might have hidden it.
    fn claims(&self) -> Result<Option<Arc<Claims>>, serde_json::Error> {
        let Some(text) = self.annotation("authz-claims") else { return Ok(None) };
        let claims: Claims = serde_json::from_str(text)?;
        Ok((!claims.is_empty()).then(|| Arc::new(claims)))
    }

    /// What its proxy speaks: the same as the server behind it, or what it was told to make of standard input and output.
    fn remote_transport(&self) -> &'static str {
        let spoken = match self.text("spec", "transport") {
            "stdio" => self.text("spec", "proxyMode"),
            transport => transport,
        };
        if spoken == "sse" { "sse" } else { "streamable-http" }
    }

    /// The annotation's version, or that of the image. What no version can be compared with is none.
    fn version(&self) -> &'a str {
        self.annotation("registry-version")
            .filter(|version| is_version(version))
            .or_else(|| tag_of(self.text("spec", "image")).filter(|tag| is_version(tag)))
            .unwrap_or(VERSION_DEFAULT)
    }

    /// What `ToolHive` adds to an entry of its own.
    fn extension(&self, kind: &str) -> Value {
        let mut origin = json!({"kind": kind});
        for member in ["namespace", "name", "uid"] {
            origin[member] = self.0["metadata"][member].clone();
        }
        for member in ["image", "transport"] {
            if let Some(text) = self.0["spec"][member].as_str() {
                origin[member] = text.into();
            }
        }
        let mut extension = json!({"status": "active", "metadata": {"kubernetes": origin}});
        if let Some(category) = self.annotation("registry-category") {
            extension["tags"] = json!([category]);
        }
        for (annotation, member) in [("tools", "tools"), ("tool-definitions", "tool_definitions")] {
            let list =
                self.annotation(annotation).and_then(|text| serde_json::from_str::<Vec<Value>>(text).ok());
            if let Some(list) = list {
                extension[member] = list.into();
            }
        }
        extension
    }
}

fn is_version(text: &str) -> bool {
    text.len() <= VERSION_LENGTH_MAX
        && !text.contains('+')
        && Version::parse(text.strip_prefix('v').unwrap_or(text)).is_ok()
}

/// The tag of an image: not its digest, and not the port of its registry.
fn tag_of(image: &str) -> Option<&str> {
    let image = image.split('@').next()?;
    let (rest, tag) = image.rsplit_once(':')?;
    (!rest.is_empty() && !tag.contains('/')).then_some(tag)
}

#[cfg(test)]
#[path = "kubernetes_tests.rs"]
mod tests;
