//! The registry as its users meet it: a server with sources, and the commands that use it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what it found by panicking")]

#[path = "registry/git.rs"]
mod git;
mod support;

use std::{fs, path::Path};

use reqwest::StatusCode;
use serde_json::{Value, json};
use support::{TestServer, eventually, paddock, run, text};

fn server_json(name: &str, version: &str) -> Value {
    json!({
        "$schema": "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json",
        "name": name,
        "description": format!("What {name} does"),
        "version": version,
        "remotes": [{"type": "streamable-http", "url": "https://mcp.example.com/mcp"}],
    })
}

fn write_list(path: &Path, servers: &[Value]) {
    fs::write(path, json!({"servers": servers}).to_string()).unwrap();
}

/// A server with a file as its source, managed entries, and a public view.
fn start(file: &Path, more: &[&str]) -> TestServer {
    let sources = format!(
        "registry.sources=[{{ name = \"files\", interval = \"100ms\", file = {{ path = \"{}\" }} }}, \
         {{ name = \"ours\", managed = {{}} }}]",
        file.display()
    );
    let views = "registry.views=[{ name = \"default\", sources = [\"ours\", \"files\"], public = true }]";
    let mut flags = vec!["--set", &sources, "--set", views, "--set", "browser.warm=0"];
    flags.extend(more);
    TestServer::start_plain(&flags)
}

async fn get(url: String) -> reqwest::Response {
    reqwest::get(url).await.unwrap()
}

#[tokio::test]
async fn entries_are_published_found_and_listed_from_a_shell() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("servers.json");
    write_list(&file, &[server_json("io.example/weather", "1.0.0"), json!({"name": "bad"})]);
    let server = start(&file, &[]);
    let command = |args: &[&str]| {
        let output = paddock().arg("registry").args(args).args(["--server", &server.base]).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", text(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(command(&["sync", "files"]).contains("files"));
    let mine = dir.path().join("server.json");
    fs::write(&mine, server_json("com.acme/tracker", "1.0.0").to_string()).unwrap();
    assert!(command(&["validate", mine.to_str().unwrap()]).contains("valid"));
    assert!(command(&["publish", mine.to_str().unwrap()]).contains("com.acme/tracker 1.0.0 is published"));
    assert!(command(&["search", "wether"]).contains("io.example/weather"));
    assert!(command(&["status"]).contains("default *"));
    assert!(command(&["history", "files"]).contains("+ io.example/weather@1.0.0"));
    assert!(command(&["quarantine"]).contains("1 entries are kept out"));
    let status: Value = serde_json::from_str(&command(&["status", "--json"])).unwrap();
    assert_eq!(status["views"][0]["servers"], 2);

    let again = run(&["registry", "publish", mine.to_str().unwrap(), "--server", &server.base]);
    assert_eq!(again.status.code(), Some(19), "{}", text(&again));
    assert!(text(&again).contains("versions never change"), "{}", text(&again));
}

#[tokio::test]
async fn commands_without_a_server_check_files_and_take_configurations_over() {
    let dir = tempfile::tempdir().unwrap();
    let bad = dir.path().join("bad.json");
    fs::write(&bad, server_json("com.acme/tool", "^1.0").to_string()).unwrap();
    let output = run(&["registry", "validate", bad.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(19), "{}", text(&output));
    assert!(text(&output).contains("version-looks-like-range"), "{}", text(&output));

    let config = dir.path().join("thv.yaml");
    fs::write(&config, "sources:\n  - {name: a, file: {path: /data/registry.json}, syncPolicy: {interval: 5m}}\nregistries:\n  - {name: default, sources: [a]}\nauth: {mode: anonymous}\n").unwrap();
    let output = run(&["registry", "import-config", config.to_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output));
    let imported = dir.path().join("paddock.toml");
    fs::write(&imported, &output.stdout).unwrap();
    let checked = run(&["config", "check", "--config", imported.to_str().unwrap()]);
    assert!(checked.status.success(), "{}", text(&checked));
}

#[tokio::test]
async fn a_public_view_is_read_without_a_key_and_from_any_page_and_nothing_else_is() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("servers.json");
    write_list(&file, &[server_json("io.example/weather", "1.0.0")]);
    let server = start(&file, &["--set", "server.keys_required=true", "--set", "registry.root=true"]);
    let ask = async |path: &str, origin: Option<&str>| {
        let request = reqwest::Client::new().get(format!("{}{path}", server.base));
        let request = if let Some(origin) = origin { request.header("origin", origin) } else { request };
        request.send().await.unwrap()
    };
    for path in ["/registry/v0.1/servers", "/v0.1/servers", "/registry/default/v0.1/servers"] {
        for origin in [None, Some("https://github.com")] {
            let answer = ask(path, origin).await;
            assert_eq!(answer.status(), StatusCode::OK, "{path} {origin:?}");
            assert_eq!(answer.headers()["access-control-allow-origin"], "*");
        }
    }
    assert_eq!(ask("/registry/status", None).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(ask("/registry/status", Some("https://github.com")).await.status(), StatusCode::FORBIDDEN);
    assert_eq!(
        ask("/registry/v0.1/servers/a.b%2Fc/versions/latest", None).await.status(),
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn a_page_of_another_site_sees_no_more_than_the_public_on_a_server_without_keys() {
    let server = TestServer::start_plain(&["--set", "browser.warm=0"]);
    let path = format!("{}/registry/v0.1/servers", server.base);
    assert_eq!(get(path.clone()).await.status(), StatusCode::OK);
    let foreign =
        reqwest::Client::new().get(path).header("origin", "https://attacker.example").send().await.unwrap();
    assert_eq!(foreign.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn changed_files_become_visible_and_metrics_tell_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("servers.json");
    write_list(&file, &[server_json("io.example/weather", "1.0.0")]);
    let server = start(&file, &[]);
    write_list(&file, &[server_json("io.example/weather", "1.0.0"), server_json("io.example/new", "1.0.0")]);
    let output = run(&["registry", "sync", "--server", &server.base]);
    assert!(output.status.success(), "{}", text(&output));
    let listed: Value = get(format!("{}/registry/v0.1/servers", server.base)).await.json().await.unwrap();
    assert_eq!(listed["metadata"]["count"], 2);
    let metrics = get(format!("{}/metrics", server.base)).await.text().await.unwrap();
    for metric in [
        "sync_duration_seconds_bucket{source_type=\"file\"",
        "sync_server_count{source_type=\"file\"} 2",
        "http_request_duration_seconds",
        "process_resident_memory_bytes",
        "go_goroutines",
        "registry_syncs_total",
    ] {
        assert!(metrics.contains(metric), "{metric}:\n{metrics}");
    }
    let ready: Value = get(format!("{}/readyz", server.base)).await.json().await.unwrap();
    let registry = ready["resources"].as_array().unwrap().iter().find(|it| it["name"] == "registry").unwrap();
    assert_eq!(registry["status"], "ok");
}

#[tokio::test]
async fn the_tools_do_what_the_routes_do() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("servers.json");
    write_list(&file, &[server_json("io.example/weather", "1.0.0")]);
    let server = start(&file, &[]);
    let call = async |tool: &str, input: Value| {
        let request = reqwest::Client::new().post(format!("{}/tools/{tool}", server.base)).json(&input);
        let answer = request.send().await.unwrap();
        let status = answer.status();
        (status, answer.json::<Value>().await.unwrap())
    };
    assert_eq!(call("registry_sync", json!({})).await.0, StatusCode::OK);
    let (_, found) = call("registry_search", json!({"query": "weather"})).await;
    assert_eq!(found["hits"][0]["name"], "io.example/weather", "{found}");
    let (_, one) = call("registry_get", json!({"name": "io.example/weather"})).await;
    assert_eq!(one["server"]["version"], "1.0.0", "{one}");
    let (status, published) =
        call("registry_publish", json!({"server": server_json("com.acme/tool", "1.0.0")})).await;
    assert_eq!(status, StatusCode::OK, "{published}");
    assert_eq!(call("registry_get", json!({"name": "com.acme/none"})).await.0, StatusCode::NOT_FOUND);
}

#[test]
fn servers_are_found_by_what_they_mean_where_a_model_embeds_them() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("servers.json");
    write_list(&file, &[server_json("io.example/weather", "1.0.0"), server_json("io.example/mail", "1.0.0")]);
    let provider = "llm.providers=[{ name = \"p\", url = \"sim:?dimensions=64\", models = [\"embedder\"] }]";
    let server = start(&file, &["--set", provider, "--set", "registry.embeddings.model=embedder"]);
    let found = eventually("the servers are embedded", || {
        let output = run(&["registry", "search", "weather", "--json", "--server", &server.base]);
        let found: Value = serde_json::from_slice(&output.stdout).ok()?;
        (found["semantic"] == "used").then_some(found)
    });
    assert_eq!(found["hits"][0]["name"], "io.example/weather", "{found}");
}

#[tokio::test]
async fn whoever_proves_a_namespace_publishes_on_a_server_that_needs_keys_and_does_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("servers.json");
    write_list(&file, &[]);
    let flags = ["server.keys_required=true", "registry.root=true", "registry.publish.proofs=[\"none\"]"];
    let flags: Vec<&str> = flags.iter().flat_map(|flag| ["--set", *flag]).collect();
    let server = start(&file, &flags);
    let client = reqwest::Client::new();
    let post = |path: &str, body: &Value| client.post(format!("{}{path}", server.base)).json(body);
    let granted: Value = post("/v0/auth/none", &json!({})).send().await.unwrap().json().await.unwrap();
    let token = granted["registry_token"].as_str().unwrap();
    let entry = server_json("io.modelcontextprotocol.anonymous/tool", "1.0.0");
    let without = post("/v0/publish", &entry).send().await.unwrap();
    assert_eq!(without.status(), StatusCode::UNAUTHORIZED);
    let published = post("/v0/publish", &entry).bearer_auth(token).send().await.unwrap();
    let (status, said) = (published.status(), published.text().await.unwrap());
    assert_eq!(status, StatusCode::OK, "{said}");
    let foreign = server_json("com.acme/tool", "1.0.0");
    let refused = post("/v0/publish", &foreign).bearer_auth(token).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    for path in ["/registry/sync", "/tools/registry_sync", "/tools/registry_search"] {
        let refused = post(path, &json!({})).bearer_auth(token).send().await.unwrap();
        assert!(refused.status().is_client_error(), "{path}: {}", refused.status());
    }
    let wrong = post("/v0/publish", &entry).bearer_auth(format!("{token}0")).send().await.unwrap();
    assert_eq!(wrong.status(), StatusCode::UNAUTHORIZED);
}
