use serde_json::json;

use super::*;

fn server() -> Value {
    json!({
        "$schema": SCHEMA_CURRENT,
        "name": "com.example/weather",
        "description": "Weather",
        "version": "1.0.0",
        "packages": [{
            "registryType": "npm", "identifier": "@example/weather", "version": "1.0.0",
            "transport": {"type": "stdio"},
            "packageArguments": [{"type": "named", "name": "--port", "value": "80"}],
        }],
        "remotes": [{"type": "streamable-http", "url": "https://mcp.example.com/mcp"}],
    })
}

/// The references of what is wrong with the server when a part of it is another.
fn references(pointer: &str, value: Value) -> Vec<String> {
    let mut server = server();
    if let Some(part) = server.pointer_mut(pointer) {
        *part = value;
    } else {
        let (parent, member) = pointer.rsplit_once('/').unwrap();
        server.pointer_mut(parent).unwrap()[member] = value;
    }
    validate(&server).issues.into_iter().map(|issue| issue.reference).collect()
}

#[test]
fn a_right_entry_has_no_issues() {
    assert_eq!(validate(&server()), Verdict { valid: true, issues: Vec::new() });
}

#[test]
fn the_official_codes_are_given() {
    for (pointer, value, code) in [
        ("/name", json!("weather"), "invalid-server-name"),
        ("/name", json!("-a.b/weather"), "invalid-server-name"),
        ("/version", json!("latest"), "reserved-version-string"),
        ("/version", json!("^1.0.0"), "version-looks-like-range"),
        (
            "/repository",
            json!({"url": "https://example.com/x", "source": "github"}),
            "invalid-repository-url",
        ),
        (
            "/repository",
            json!({"url": "https://github.com/a/b", "source": "github", "subfolder": "../x"}),
            "invalid-subfolder-path",
        ),
        ("/websiteUrl", json!("example.com"), "website-url-must-be-absolute"),
        ("/websiteUrl", json!("http://example.com"), "website-url-invalid-scheme"),
        ("/title", json!("  "), "title-whitespace-only"),
        ("/icons", json!([{"src": "/icon.png"}]), "icon-src-not-absolute"),
        ("/icons", json!([{"src": "http://a.example/i.png"}]), "icon-src-invalid-scheme"),
        ("/packages/0/identifier", json!("a b"), "package-name-has-spaces"),
        ("/packages/0/version", json!("1.x"), "version-looks-like-range"),
        ("/packages/0/registryType", json!("mcpb"), "mcpb-file-sha256-required"),
        ("/packages/0/packageArguments/0/name", json!("--port 80"), "invalid-named-argument-name"),
        ("/packages/0/packageArguments/0/name", json!(""), "named-argument-name-required"),
        ("/packages/0/packageArguments/0/value", json!("--port=80"), "argument-value-starts-with-name"),
        ("/packages/0/packageArguments/0/default", json!("--port"), "argument-default-starts-with-name"),
        (
            "/packages/0/transport",
            json!({"type": "stdio", "url": "https://x"}),
            "stdio-transport-url-not-empty",
        ),
        ("/packages/0/transport", json!({"type": "sse"}), "streamable-transport-url-required"),
        ("/packages/0/transport", json!({"type": "sse", "url": "http://{host}/"}), "invalid-templated-url"),
        ("/packages/0/transport", json!({"type": "pigeon"}), "unsupported-transport-type"),
        ("/remotes/0/url", json!("http://localhost/mcp"), "invalid-remote-url"),
        ("/remotes/0/url", json!("https://{tenant}.example.com"), "invalid-templated-url"),
        ("/remotes/0/url", json!(""), "remote-transport-url-required"),
        ("/remotes/0/type", json!("stdio"), "unsupported-remote-transport-type"),
        ("/$schema", json!(""), "schema-field-required"),
        ("/_meta", json!({"com.example/own": {}}), "meta-key-not-allowed"),
    ] {
        let found = references(pointer, value.clone());
        assert!(found.iter().any(|it| it == code), "{pointer} = {value}: {code} is not among {found:?}");
    }
}

#[test]
fn a_broken_schema_is_told_by_the_place_of_the_rule() {
    for (pointer, value, reference) in [
        ("/repository", json!({}), "#/definitions/Repository/required"),
        (
            "/description",
            json!("x".repeat(101)),
            "#/definitions/ServerDetail/properties/description/maxLength",
        ),
        ("/packages", json!({}), "#/definitions/ServerDetail/properties/packages/type"),
        ("/packages/0/version", json!("latest"), "#/definitions/Package/properties/version/not"),
        ("/packages/0/packageArguments/0", json!({"type": "loud"}), "#/definitions/Argument/anyOf"),
        (
            "/packages/0/packageArguments/0",
            json!({"type": "positional"}),
            "#/definitions/PositionalArgument/anyOf",
        ),
    ] {
        let found = references(pointer, value.clone());
        assert!(
            found.iter().any(|it| it == reference),
            "{pointer} = {value}: {reference} not among {found:?}"
        );
    }
}

#[test]
fn an_old_version_of_the_schema_is_a_warning_only() {
    let old = "https://static.modelcontextprotocol.io/schemas/2025-10-17/server.schema.json";
    let mut server = server();
    server["$schema"] = json!(old);
    let verdict = validate(&server);
    assert!(verdict.valid);
    assert_eq!(verdict.issues[0].severity, Severity::Warning);
}

#[test]
fn variables_of_a_remote_are_known_by_their_declaration() {
    let mut server = server();
    server["remotes"][0] = json!({
        "type": "streamable-http", "url": "https://{tenant}.example.com/mcp", "variables": {"tenant": {}}
    });
    assert!(validate(&server).valid);
}

#[test]
fn an_entry_with_a_thousand_mistakes_reports_a_few() {
    let packages: Vec<Value> = (0..1000).map(|_| json!({})).collect();
    let mut server = server();
    server["packages"] = json!(packages);
    assert!(validate(&server).issues.len() <= ISSUES_MAX + 1);
}

#[test]
fn any_json_is_judged_without_a_panic() {
    for value in
        [json!(null), json!([]), json!("x"), json!({"packages": [1, null], "remotes": "x", "icons": [[]]})]
    {
        assert!(!validate(&value).valid, "{value}");
    }
}
