use super::*;
use crate::format::split;

/// A resource with these annotations beside the one that exports it.
fn resource(kind: &str, annotations: &[(&str, &str)], spec: Value) -> Value {
    let mut all =
        json!({"toolhive.stacklok.dev/registry-export": "true", "kubectl.kubernetes.io/last": "{}"});
    for (name, value) in annotations {
        all[format!("{PREFIX}{name}")] = (*value).into();
    }
    let mut resource = json!({
        "kind": kind,
        "metadata": {"namespace": "mcp", "name": "weather", "uid": "u1", "annotations": all},
        "status": {"phase": "Ready"},
    });
    resource["spec"] = spec;
    resource
}

const NEEDED: [(&str, &str); 2] =
    [("registry-url", "https://mcp.example/weather"), ("registry-description", "Tells the weather")];

fn parts(resources: &[Value]) -> Vec<Result<Part<'static>, String>> {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": resources}).to_string();
    let parts = split(list.as_bytes()).unwrap();
    parts.into_iter().map(|part| part.map(Part::into_owned)).collect()
}

fn entry(annotations: &[(&str, &str)], spec: Value) -> Value {
    let all: Vec<_> = NEEDED.iter().chain(annotations).copied().collect();
    let part = parts(&[resource("MCPServer", &all, spec)]).remove(0).unwrap();
    serde_json::from_str(&part.server).unwrap()
}

#[test]
fn an_exported_resource_becomes_an_entry_that_breaks_no_rule() {
    let server = entry(
        &[
            ("registry-title", "Weather"),
            ("registry-icon", "https://mcp.example/icon.png"),
            ("registry-category", "data"),
            ("tools", r#"["forecast"]"#),
            ("tool-definitions", r#"[{"name": "forecast", "description": "of tomorrow"}]"#),
        ],
        json!({"image": "ghcr.io/acme/weather:1.4.2", "transport": "stdio", "proxyMode": "sse"}),
    );
    assert_eq!(server["name"], "com.toolhive.k8s.mcp/weather");
    assert_eq!(server["description"], "Tells the weather");
    assert_eq!((&server["title"], &server["version"]), (&json!("Weather"), &json!("1.4.2")));
    assert_eq!(server["remotes"], json!([{"type": "sse", "url": "https://mcp.example/weather"}]));
    assert_eq!(server["packages"][0]["identifier"], "ghcr.io/acme/weather:1.4.2");
    let extension = &server["_meta"][PUBLISHER_META]["io.github.stacklok"]["https://mcp.example/weather"];
    assert_eq!(extension["metadata"]["kubernetes"]["kind"], "MCPServer");
    assert_eq!(extension["tags"], json!(["data"]));
    assert_eq!(extension["tool_definitions"][0]["name"], "forecast");
    let issues = crate::validate::issues_of(&server);
    assert!(issues.is_empty(), "{issues:?}");
}

#[test]
fn what_is_not_exported_or_about_to_go_is_no_entry() {
    let mut hidden = resource("MCPServer", &NEEDED, json!({}));
    hidden["metadata"]["annotations"]["toolhive.stacklok.dev/registry-export"] = "True".into();
    let mut going = resource("MCPServer", &NEEDED, json!({}));
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    let bare = json!({"kind": "MCPServer", "metadata": {"name": "x"}});
    assert_eq!(parts(&[hidden, going, bare]).len(), 0);
}

#[test]
fn what_lacks_an_address_or_says_its_claims_wrongly_is_kept_out_with_the_reason() {
    let lacking = resource("MCPRemoteProxy", &NEEDED[1..], json!({}));
    let wrong = resource("MCPServer", &[NEEDED[0], NEEDED[1], ("authz-claims", "{\"team\": 7}")], json!({}));
    let reasons: Vec<_> = parts(&[lacking, wrong]).into_iter().map(Result::unwrap_err).collect();
    assert!(
        reasons[0].contains("MCPRemoteProxy `mcp/weather`") && reasons[0].contains("registry-url"),
        "{reasons:?}"
    );
    assert!(reasons[1].contains("claims"), "{reasons:?}");
}

#[test]
fn claims_of_a_resource_are_those_of_its_entry() {
    let claimed = resource(
        "MCPServer",
        &[NEEDED[0], NEEDED[1], ("authz-claims", r#"{"team": ["a", "b"]}"#)],
        json!({}),
    );
    let free = resource("MCPServer", &[NEEDED[0], NEEDED[1], ("authz-claims", "{}")], json!({}));
    let parts = parts(&[claimed, free]);
    let claims = |index: usize| parts[index].as_ref().unwrap().claims.as_deref();
    assert_eq!(claims(0), Some(&Claims::from_pairs([("team", &["a", "b"])])));
    assert_eq!(claims(1), None);
}

#[test]
fn the_version_is_the_annotations_then_the_images_and_never_a_digest_or_a_port() {
    for (annotation, image, version) in [
        ("2.0.0-rc.1", "weather:1.4.2", "2.0.0-rc.1"),
        ("two", "weather:1.4.2", "1.4.2"),
        ("", "weather:v1.4.2@sha256:aa", "v1.4.2"),
        ("", "weather:latest", VERSION_DEFAULT),
        ("", "weather@sha256:1.2.3", VERSION_DEFAULT),
        ("", "registry:5000/weather", VERSION_DEFAULT),
        ("", "weather:1.4.2+build", VERSION_DEFAULT),
        ("1.0.0+build", "", VERSION_DEFAULT),
    ] {
        let server = entry(&[("registry-version", annotation)], json!({"image": image}));
        assert_eq!(server["version"], version, "{annotation} {image}");
    }
}

#[test]
fn resources_of_a_typed_list_take_its_kind() {
    let mut item = resource("", &NEEDED, json!({}));
    item.as_object_mut().unwrap().remove("kind");
    let list = json!({"kind": "VirtualMCPServerList", "items": [item]}).to_string();
    let part = split(list.as_bytes()).unwrap().remove(0).unwrap();
    assert!(part.server.contains(r#""kind":"VirtualMCPServer""#), "{}", part.server);
    assert!(!part.server.contains("packages"));
}
