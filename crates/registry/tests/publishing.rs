//! Publishing, and who may see and change what.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test says what it found by panicking"
)]

mod support;

use axum::http::{Method, StatusCode};
use paddock_platform::identity::Caller;
use serde_json::{Value, json};
use support::{Answer, ServersFile, TestRegistry, caller, server};

const PUBLISH: &str = "/registry/v0.1/publish";
const LIST: &str = "/registry/v0.1/servers";
const OFFICIAL: &str = "io.modelcontextprotocol.registry/official";

async fn publish(test: &TestRegistry, by: Caller, server: &Value) -> Answer {
    test.send_as(by, Method::POST, PUBLISH, server).await
}

fn writer(tenant: &str) -> Caller {
    caller(tenant, &["registry:write"])
}

#[tokio::test]
async fn what_is_published_is_there_at_once_and_stays_as_it_is() {
    let test = TestRegistry::with("").await;
    let published = publish(&test, writer("acme"), &server("com.acme/tool", "1.0.0")).await;
    assert_eq!(published.status, StatusCode::OK, "{}", published.json());
    let official = published.json()["_meta"][OFFICIAL].clone();
    assert_eq!((&official["status"], &official["isLatest"]), (&json!("active"), &json!(true)));
    for member in ["publishedAt", "updatedAt", "statusChangedAt"] {
        assert!(official[member].is_string(), "{member}");
    }
    let detail = test.get(published.header("location")).await;
    assert_eq!(detail.body, published.body);
    let again = publish(&test, writer("acme"), &server("com.acme/tool", "1.0.0")).await;
    assert_eq!(again.status, StatusCode::CONFLICT);
    assert_eq!(again.json()["type"], "urn:paddock:problem:registry-version-exists");
    publish(&test, writer("acme"), &server("com.acme/tool", "1.1.0")).await;
    assert_eq!(test.names(&format!("{LIST}?version=latest")).await, ["com.acme/tool@1.1.0"]);
}

#[tokio::test]
async fn an_invalid_entry_is_refused_with_all_its_mistakes() {
    let test = TestRegistry::with("").await;
    let mut bad = server("com.acme/tool", "^1.0.0");
    bad["remotes"][0]["url"] = json!("http://localhost");
    let refused = publish(&test, writer("acme"), &bad).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    let problem = refused.json();
    let references: Vec<&str> = problem["issues"]
        .as_array()
        .unwrap()
        .iter()
        .map(|issue| issue["reference"].as_str().unwrap())
        .collect();
    assert!(references.contains(&"version-looks-like-range") && references.contains(&"invalid-remote-url"));
    assert_eq!(test.names(LIST).await.len(), 0);
    let checked = test.send(Method::POST, "/registry/validate", &bad).await.json();
    assert_eq!(checked["valid"], false);
}

#[tokio::test]
async fn a_namespace_that_one_does_not_own_is_out_of_reach() {
    let test = TestRegistry::with("").await;
    publish(&test, writer("acme"), &server("com.acme/tool", "1.0.0")).await;
    let refused = publish(&test, writer("other"), &server("com.acme/other", "1.0.0")).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert_eq!(refused.json()["type"], "urn:paddock:problem:registry-namespace-not-owned");
    let path = format!("{LIST}/com.acme%2Ftool/versions/1.0.0");
    let withdrawn = test.send_as(writer("other"), Method::DELETE, &path, &Value::Null).await;
    assert_eq!(withdrawn.status, StatusCode::FORBIDDEN);
    assert_eq!(test.names(LIST).await, ["com.acme/tool@1.0.0"]);
}

#[tokio::test]
async fn namespaces_are_given_by_the_configuration_where_it_gives_any() {
    let test = TestRegistry::with(
        "[[namespaces]]\nnamespace = \"com.acme.*\"\ntenants = [\"acme\"]\n[[namespaces]]\nnamespace = \"com.key\"\nkeys = [\"key-of-other\"]\n",
    )
    .await;
    for (tenant, name, status) in [
        ("acme", "com.acme.team/tool", StatusCode::OK),
        ("acme", "com.acme/tool", StatusCode::FORBIDDEN),
        ("acme", "com.acmeandmore/tool", StatusCode::FORBIDDEN),
        ("other", "com.key/tool", StatusCode::OK),
        ("other", "com.acme.team/other", StatusCode::FORBIDDEN),
    ] {
        assert_eq!(
            publish(&test, writer(tenant), &server(name, "1.0.0")).await.status,
            status,
            "{tenant} {name}"
        );
    }
}

#[tokio::test]
async fn versions_are_deprecated_and_withdrawn_and_their_numbers_stay_taken() {
    let test = TestRegistry::with("").await;
    for version in ["1.0.0", "1.1.0"] {
        publish(&test, writer("acme"), &server("com.acme/tool", version)).await;
    }
    let path = |version: &str| format!("{LIST}/com.acme%2Ftool/versions/{version}");
    let withdrawn = test.send_as(writer("acme"), Method::DELETE, &path("1.1.0"), &Value::Null).await;
    assert_eq!(withdrawn.json()["_meta"][OFFICIAL]["status"], "deleted");
    assert_eq!(test.get(&path("latest")).await.json()["server"]["version"], "1.0.0");
    assert_eq!(test.get(&path("1.1.0")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(
        publish(&test, writer("acme"), &server("com.acme/tool", "1.1.0")).await.status,
        StatusCode::CONFLICT
    );
    let change = json!({"status": "deprecated", "statusMessage": "use y"});
    let all =
        test.send_as(writer("acme"), Method::PATCH, &format!("{LIST}/com.acme%2Ftool/status"), &change).await;
    assert_eq!(all.json()["updatedCount"], 2);
    assert_eq!(test.names(LIST).await.len(), 2);
    let long = json!({"status": "active", "statusMessage": "x".repeat(501)});
    let refused =
        test.send_as(writer("acme"), Method::PATCH, &format!("{}/status", path("1.0.0")), &long).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn only_administrators_repair_what_was_published() {
    let test = TestRegistry::with("").await;
    publish(&test, writer("acme"), &server("com.acme/tool", "1.0.0")).await;
    let mut repaired = server("com.acme/tool", "1.0.0");
    repaired["description"] = json!("Repaired");
    let path = format!("{LIST}/com.acme%2Ftool/versions/1.0.0");
    assert_eq!(
        test.send_as(writer("acme"), Method::PUT, &path, &repaired).await.status,
        StatusCode::FORBIDDEN
    );
    let admin = caller("ops", &["registry:admin"]);
    let edited = test.send_as(admin.clone(), Method::PUT, &path, &repaired).await;
    assert_eq!(edited.json()["server"]["description"], "Repaired");
    let other = server("com.acme/other", "1.0.0");
    assert_eq!(test.send_as(admin, Method::PUT, &path, &other).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn what_comes_from_elsewhere_is_not_changed_here() {
    let file = ServersFile::new(&[server("a.b/one", "1.0.0")]);
    let test =
        TestRegistry::with(&format!("{}[[sources]]\nname = \"here\"\nmanaged = {{}}\n", file.source("file")))
            .await;
    test.sync("file").await;
    let change = json!({"status": "deleted"});
    let path = format!("{LIST}/a.b%2Fone/versions/1.0.0/status");
    let refused = test.send(Method::PATCH, &path, &change).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert!(refused.json()["detail"].as_str().unwrap().contains("`file`"));
}

#[tokio::test]
async fn without_a_managed_source_nothing_is_published() {
    let file = ServersFile::new(&[]);
    let test = TestRegistry::with(&file.source("file")).await;
    let refused = publish(&test, writer("acme"), &server("com.acme/tool", "1.0.0")).await;
    assert_eq!(refused.json()["type"], "urn:paddock:problem:registry-not-managed");
}

#[tokio::test]
async fn claims_decide_who_sees_what_and_caches_are_told() {
    let file = ServersFile::new(&[server("a.b/hidden", "1.0.0")]);
    let open = ServersFile::new(&[server("a.b/open", "1.0.0")]);
    let test = TestRegistry::with(&format!(
        "{}claims = {{ team = [\"a\", \"b\"] }}\n{}[[grants]]\ntenants = [\"acme\"]\nclaims = {{ team = \"a\" }}\n",
        file.source("hidden"),
        open.source("open")
    ))
    .await;
    test.sync("hidden").await;
    test.sync("open").await;
    let count = async |by: Caller| test.get_as(by, LIST).await.json()["metadata"]["count"].as_u64().unwrap();
    assert_eq!(count(caller("acme", &["registry:read"])).await, 2);
    assert_eq!(count(caller("other", &["registry:read"])).await, 1);
    assert_eq!(count(caller("ops", &["registry:admin"])).await, 2);
    let answer = test.get_as(caller("other", &["registry:read"]), LIST).await;
    assert_eq!(answer.header("cache-control"), "private, no-cache");
    assert!(answer.header("vary").contains("authorization"));
    let hidden = test
        .get_as(caller("other", &["registry:read"]), &format!("{LIST}/a.b%2Fhidden/versions/latest"))
        .await;
    assert_eq!(hidden.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_entry_asks_for_no_claims_that_its_publisher_does_not_hold() {
    let test = TestRegistry::with("[[grants]]\ntenants = [\"acme\"]\nclaims = { team = [\"a\"] }\n").await;
    let body = |team: &str| json!({"claims": {"team": team}, "server": server("com.acme/tool", "1.0.0")});
    let refused = test.send_as(writer("acme"), Method::POST, "/registry/v1/entries", &body("b")).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    let created = test.send_as(writer("acme"), Method::POST, "/registry/v1/entries", &body("a")).await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.json());
    let seen = test.get_as(caller("other", &["registry:read"]), LIST).await.json();
    assert_eq!(seen["metadata"]["count"], 0);
    let path = "/registry/v1/entries/server/com.acme%2Ftool/claims";
    assert_eq!(test.get_as(writer("acme"), path).await.json()["claims"], json!({"team": "a"}));
    let opened = test.send_as(writer("acme"), Method::PUT, path, &json!({"claims": {}})).await;
    assert_eq!(opened.status, StatusCode::NO_CONTENT);
    let seen = test.get_as(caller("other", &["registry:read"]), LIST).await.json();
    assert_eq!(seen["metadata"]["count"], 1);
}

#[tokio::test]
async fn views_are_public_only_where_they_say_so() {
    let file = ServersFile::new(&[server("a.b/one", "1.0.0")]);
    let text = format!(
        "{}[[views]]\nname = \"default\"\nsources = [\"f\"]\n[[views]]\nname = \"open\"\nsources = [\"f\"]\npublic = true\n\
         [[views]]\nname = \"claimed\"\nsources = [\"f\"]\nclaims = {{ org = \"acme\" }}\n",
        file.source("f")
    );
    let test = TestRegistry::with(&text).await;
    test.sync("f").await;
    let nobody = Caller::anonymous();
    assert_eq!(test.get_as(nobody.clone(), LIST).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(
        test.get_as(nobody.clone(), "/registry/nothing/v0.1/servers").await.status,
        StatusCode::UNAUTHORIZED
    );
    let open = test.get_as(nobody, "/registry/open/v0.1/servers").await;
    assert_eq!((open.status, open.header("cache-control")), (StatusCode::OK, "public, no-cache"));
    let stranger = caller("x", &["jobs:read"]);
    assert_eq!(test.get_as(stranger, LIST).await.status, StatusCode::FORBIDDEN);
    let reader = caller("x", &["registry:read"]);
    assert_eq!(
        test.get_as(reader.clone(), "/registry/claimed/v0.1/servers").await.status,
        StatusCode::FORBIDDEN
    );
    assert_eq!(test.get_as(reader, "/registry/nothing/v0.1/servers").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn readers_change_nothing() {
    let test = TestRegistry::with("").await;
    let reader = caller("acme", &["registry:read"]);
    for (method, path) in [
        (Method::POST, PUBLISH),
        (Method::POST, "/registry/sync"),
        (Method::PUT, "/registry/v1/sources/x"),
        (Method::POST, "/registry/v1/entries"),
    ] {
        let refused = test.send_as(reader.clone(), method, path, &server("com.acme/tool", "1.0.0")).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{path}");
    }
    assert_eq!(test.get_as(reader, "/registry/audit").await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn every_change_is_in_the_log() {
    let test = TestRegistry::with("").await;
    publish(&test, writer("acme"), &server("com.acme/tool", "1.0.0")).await;
    let path = format!("{LIST}/com.acme%2Ftool/versions/1.0.0");
    test.send_as(writer("acme"), Method::DELETE, &path, &Value::Null).await;
    let log = test.get("/registry/audit").await.json();
    let events: Vec<&str> =
        log["items"].as_array().unwrap().iter().map(|it| it["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["entry.status", "entry.publish"]);
    assert_eq!(log["items"][1]["key"], "key-of-acme");
}

#[tokio::test]
async fn administrators_make_sources_and_views_that_a_restart_keeps() {
    let test = TestRegistry::with("").await;
    let data = json!({"servers": [server("a.b/inline", "1.0.0")]}).to_string();
    let source = json!({"file": {"data": data}, "syncPolicy": {"interval": "1h"}});
    let admin = || caller("ops", &["registry:admin"]);
    let made = test.send_as(admin(), Method::PUT, "/registry/v1/sources/inline", &source).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.json());
    assert_eq!((&made.json()["creationType"], &made.json()["sourceType"]), (&json!("API"), &json!("file")));
    let view = json!({"sources": ["inline"]});
    let made = test.send_as(admin(), Method::PUT, "/registry/v1/registries/second", &view).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.json());
    test.sync("inline").await;
    assert_eq!(test.names("/registry/second/v0.1/servers").await, ["a.b/inline@1.0.0"]);
    let in_use = test.send_as(admin(), Method::DELETE, "/registry/v1/sources/inline", &Value::Null).await;
    assert_eq!(in_use.status, StatusCode::CONFLICT);

    let test = TestRegistry::start_on(test.stop().await, paddock_registry::RegistryOptions::default()).await;
    assert_eq!(test.names("/registry/second/v0.1/servers").await, ["a.b/inline@1.0.0"]);
    let sources = test.get("/registry/v1/sources").await.json();
    assert_eq!(sources["sources"].as_array().unwrap().len(), 2);
    let gone = test.send_as(admin(), Method::DELETE, "/registry/v1/registries/second", &Value::Null).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    let gone = test.send_as(admin(), Method::DELETE, "/registry/v1/sources/inline", &Value::Null).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    assert_eq!(test.get("/registry/v1/sources/inline").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_the_file_has_and_paths_on_the_machine_are_out_of_the_administrators_reach() {
    let test = TestRegistry::with("").await;
    let admin = || caller("ops", &["registry:admin"]);
    let local =
        test.send_as(admin(), Method::PUT, "/registry/v1/sources/local", &json!({"managed": {}})).await;
    assert_eq!(local.status, StatusCode::FORBIDDEN);
    for source in [
        json!({"file": {"path": "/etc/passwd"}}),
        json!({"git": {"repository": "/srv/repo", "path": "x.json"}}),
        json!({"managed": {}}),
        json!({"kubernetes": {}}),
        json!({}),
    ] {
        let refused = test.send_as(admin(), Method::PUT, "/registry/v1/sources/new", &source).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{source}");
    }
    let me = test.get_as(admin(), "/registry/v1/me").await.json();
    assert_eq!(me["subject"], "key-of-ops");
}
