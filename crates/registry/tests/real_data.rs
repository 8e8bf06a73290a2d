//! Real data, where it lies beside the repository: without it these tests say that they are skipped.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test says what it found by panicking"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use support::{TestRegistry, shared};

const DUMP: &str = "mirror-dumps/official-registry-dump-2025-12.json";
const OFFICIAL: &str = "io.modelcontextprotocol.registry/official";

#[derive(Deserialize)]
struct Dump {
    servers: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    server: Box<RawValue>,
    #[serde(rename = "_meta", default)]
    meta: Value,
}

fn source(path: &std::path::Path, more: &str) -> String {
    format!(
        "[[sources]]\nname = \"real\"\ninterval = \"1h\"\nfile = {{ path = \"{}\" }}\n{more}",
        path.display()
    )
}

/// JSON without white space between its tokens.
fn compact(text: &str) -> String {
    let (mut out, mut in_text, mut escaped) = (String::new(), false, false);
    for character in text.chars() {
        if in_text || !character.is_ascii_whitespace() {
            out.push(character);
        }
        match character {
            '"' if !escaped => in_text = !in_text,
            _ => {}
        }
        escaped = in_text && character == '\\' && !escaped;
    }
    out
}

#[tokio::test]
async fn the_official_dump_is_served_byte_for_byte() {
    let Some(path) = shared(DUMP) else { return };
    let dump: Dump = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let test = TestRegistry::with(&source(&path, "")).await;
    let status = test.sync("real").await;
    assert_eq!((&status["entries"], &status["quarantined"]), (&json!(2_354), &json!(0)));

    let (mut served, mut next) = (Vec::new(), "/registry/v0.1/servers?limit=100".to_owned());
    loop {
        let answer = test.get(&next).await;
        let page: Dump = serde_json::from_slice(&answer.body).unwrap();
        served.extend(page.servers);
        let cursor = answer.json()["metadata"]["nextCursor"].as_str().map(str::to_owned);
        let Some(cursor) = cursor else { break };
        next = format!("/registry/v0.1/servers?limit=100&cursor={cursor}");
    }
    assert_eq!(served.len(), dump.servers.len());
    for (expected, served) in dump.servers.iter().zip(&served) {
        assert_eq!(served.server.get(), compact(expected.server.get()));
        for member in ["status", "publishedAt", "updatedAt", "isLatest"] {
            assert_eq!(served.meta[OFFICIAL][member], expected.meta[OFFICIAL][member], "{}", expected.server);
        }
    }
    assert_eq!(test.follow("/registry/v0.1/servers?version=latest&limit=100").await.len(), 964);
}

#[tokio::test]
async fn entries_of_the_dump_are_judged_as_the_official_schema_judges_them() {
    let (Some(path), Some(schema)) = (shared(DUMP), shared("schemas/server.schema.2025-12-11.json")) else {
        return;
    };
    let schema: Value = serde_json::from_slice(&std::fs::read(schema).unwrap()).unwrap();
    let validator = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
    let dump: Dump = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let (mut invalid, mut disagreed) = (0, Vec::new());
    for Listed { server, .. } in &dump.servers {
        let server: Value = serde_json::from_str(server.get()).unwrap();
        let theirs = validator.is_valid(&server);
        let verdict = paddock_registry::validate(&server);
        let broken = verdict.issues.iter().find(|issue| issue.kind == paddock_registry::IssueKind::Schema);
        invalid += usize::from(!theirs);
        if theirs != broken.is_none() {
            let reasons: Vec<String> =
                validator.iter_errors(&server).map(|error| error.to_string()).collect();
            disagreed.push(format!("{}@{}: {broken:?} {reasons:?}", server["name"], server["version"]));
        }
    }
    assert!(
        disagreed.is_empty(),
        "{} disagreements: {:#?}",
        disagreed.len(),
        &disagreed[..disagreed.len().min(5)]
    );
    assert!((250..350).contains(&invalid), "{invalid}");
}

#[tokio::test]
async fn a_strict_source_keeps_out_what_the_schema_does_not_take() {
    let Some(path) = shared(DUMP) else { return };
    let test = TestRegistry::with(&source(&path, "strict = true\n")).await;
    let status = test.sync("real").await;
    let (entries, quarantined) =
        (status["entries"].as_u64().unwrap(), status["quarantined"].as_u64().unwrap());
    assert_eq!(entries + quarantined, 2_354);
    assert!(quarantined >= 282, "{quarantined}");
    let quarantine = test.get("/registry/quarantine?limit=1000").await.json();
    let mut by_reference: BTreeMap<String, usize> = BTreeMap::new();
    for entry in quarantine["entries"].as_array().unwrap() {
        let issues = entry["issues"].as_array().unwrap().iter();
        let references: BTreeSet<&str> = issues.map(|issue| issue["reference"].as_str().unwrap()).collect();
        for reference in references {
            *by_reference.entry(reference.to_owned()).or_default() += 1;
        }
    }
    assert_eq!(by_reference["#/definitions/Repository/required"], 266, "{by_reference:?}");
}

#[tokio::test]
async fn toolhives_and_dockers_files_are_read() {
    for (file, entries) in [
        ("derived/official-2354-all-versions.upstream.json", 2_354),
        ("derived/official-964-latest.upstream.json", 964),
        ("toolhive/upstream-registry.json", 12),
    ] {
        let Some(path) = shared(file) else { continue };
        let test = TestRegistry::with(&source(&path, "")).await;
        assert_eq!(test.sync("real").await["entries"], entries, "{file}");
    }
    if let Some(path) = shared("docker/npm_registry_servers.json") {
        let test = TestRegistry::with(&source(&path, "")).await;
        let status = test.sync("real").await;
        assert_eq!(
            (&status["entries"], &status["quarantined"]),
            (&json!(94), &json!(6)),
            "six have no version"
        );
    }
    let Some(path) = shared("docker/docker-mcp-registry-servers.json") else { return };
    let test = TestRegistry::with(&source(&path, "")).await;
    let status = test.sync("real").await;
    assert_eq!(
        (&status["entries"], &status["quarantined"]),
        (&json!(325), &json!(3)),
        "three have neither image nor remote"
    );
    let body = json!({"query": "alfresco search nodes", "limit": 1});
    let found = test.send(axum::http::Method::POST, "/registry/search", &body).await.json();
    assert_eq!(found["hits"][0]["name"], "com.docker.mcp/alfresco");
}

#[tokio::test]
async fn toolhives_filter_examples_give_what_their_filters_say() {
    let Some(config) = shared("toolhive/config-filter-test.yaml") else { return };
    let upstream = shared("toolhive/upstream-registry.json").unwrap();
    let text = std::fs::read_to_string(config).unwrap();
    let text = text.replace("/examples/upstream-registry.json", upstream.to_str().unwrap());
    let imported = paddock_registry::import_toolhive(&text).unwrap();
    let test = TestRegistry::start(imported.options).await;
    for (view, expected) in [
        ("database-servers", vec!["genai-toolbox"]),
        // Its comment expects `genai-toolbox` as well, which has the tag `mysql` that the filter excludes.
        ("security-and-database", vec!["crowdstrike-falcon"]),
        ("version-control", vec!["github"]),
        ("dev-tools", vec!["aws-api", "chrome-devtools-mcp", "fetch"]),
    ] {
        test.sync(view).await;
        let servers = test.follow(&format!("/registry/{view}/v0.1/servers")).await;
        let names: Vec<&str> = servers
            .iter()
            .map(|item| item["server"]["name"].as_str().unwrap().rsplit('/').next().unwrap())
            .collect();
        assert_eq!(names, expected, "{view}");
    }
    test.sync("all-servers").await;
    assert_eq!(test.follow("/registry/all-servers/v0.1/servers").await.len(), 12);
}

#[test]
fn every_example_configuration_is_taken_over_or_says_what_is_not() {
    let Some(dir) = shared("toolhive") else { return };
    let mut taken = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if !name.starts_with("config-") {
            continue;
        }
        let imported = paddock_registry::import_toolhive(&std::fs::read_to_string(&path).unwrap());
        let imported = imported.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(!imported.options.sources.is_empty(), "{name}");
        assert!(imported.notes.iter().any(|note| note.contains("auth")), "{name}: {:?}", imported.notes);
        assert!(
            imported.notes.iter().all(|note| !note.contains("not known")),
            "{name}: {:?}",
            imported.notes
        );
        taken += 1;
    }
    assert_eq!(taken, 14);
}
