//! Resources of a Kubernetes cluster as a source, against an API of a cluster that keeps its rules.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test says what it found by panicking"
)]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use futures_util::stream;
use serde_json::{Value, json};
use support::{TestRegistry, caller, eventually, json_answer, parameter, serve};
use tokio::sync::watch;

const LIST: &str = "/registry/v0.1/servers";
const GROUP: &str = "/apis/toolhive.stacklok.dev/v1beta1";
const ANNOTATION: &str = "toolhive.stacklok.dev";

/// What a cluster has, and what happened to it.
#[derive(Default)]
struct Held {
    token: String,
    version: u64,
    /// By their paths.
    resources: BTreeMap<String, Value>,
    /// Version, path and event.
    events: Vec<(u64, String, Value)>,
    /// Kinds that were never installed.
    unknown: BTreeSet<&'static str>,
    broken: bool,
    watches: usize,
    asked: Vec<String>,
}

/// The part of a cluster's API that lists and watches, behind a token.
struct Cluster {
    base: String,
    account: tempfile::TempDir,
    held: Arc<Mutex<Held>>,
    news: watch::Sender<u64>,
    stop: tokio::sync::oneshot::Sender<()>,
}

type Shared = (Arc<Mutex<Held>>, watch::Receiver<u64>);

impl Cluster {
    async fn start() -> Self {
        let held: Arc<Mutex<Held>> = Arc::default();
        let (news, told) = watch::channel(0);
        let app = Router::new().fallback(answer).with_state((Arc::clone(&held), told));
        let (base, stop) = serve(app).await;
        let cluster = Self { base, account: tempfile::tempdir().unwrap(), held, news, stop };
        std::fs::write(cluster.account.path().join("namespace"), "mcp\n").unwrap();
        cluster.issue("first");
        cluster
    }

    /// Replaces the token that it accepts, on both sides.
    fn issue(&self, token: &str) {
        token.clone_into(&mut self.held.lock().unwrap().token);
        std::fs::write(self.account.path().join("token"), token).unwrap();
    }

    /// Puts a resource, and tells those who watch.
    fn put(&self, namespace: &str, plural: &str, name: &str, mut resource: Value) {
        let path = format!("{GROUP}/namespaces/{namespace}/{plural}/{name}");
        let mut held = self.held.lock().unwrap();
        held.version += 1;
        resource["metadata"]["namespace"] = namespace.into();
        resource["metadata"]["name"] = name.into();
        resource["metadata"]["uid"] = format!("{plural}/{namespace}/{name}").into();
        resource["metadata"]["resourceVersion"] = held.version.to_string().into();
        let before = held.resources.insert(path.clone(), resource.clone());
        let r#type = if before.is_some() { "MODIFIED" } else { "ADDED" };
        self.tell(&mut held, path, json!({"type": r#type, "object": resource}));
    }

    fn delete(&self, namespace: &str, plural: &str, name: &str) {
        let path = format!("{GROUP}/namespaces/{namespace}/{plural}/{name}");
        let mut held = self.held.lock().unwrap();
        held.version += 1;
        let resource = held.resources.remove(&path).unwrap();
        self.tell(&mut held, path, json!({"type": "DELETED", "object": resource}));
    }

    fn tell(&self, held: &mut Held, path: String, event: Value) {
        let version = held.version;
        held.events.push((version, path, event));
        let _ = self.news.send(version);
    }

    fn change<T>(&self, change: impl FnOnce(&mut Held) -> T) -> T {
        change(&mut self.held.lock().unwrap())
    }

    /// The configuration of a source that reads it, and looks seldom of itself.
    fn source(&self, more: &str) -> String {
        format!(
            "[[sources]]\nname = \"cluster\"\ninterval = \"1h\"\n\
             kubernetes = {{ url = \"{}\", account = \"{}\"{more} }}\n",
            self.base,
            self.account.path().display()
        )
    }
}

/// A resource that is exported.
fn exported(description: &str) -> Value {
    let annotations = json!({
        format!("{ANNOTATION}/registry-export"): "true",
        format!("{ANNOTATION}/registry-url"): "https://mcp.example.com/mcp",
        format!("{ANNOTATION}/registry-description"): description,
    });
    json!({"metadata": {"annotations": annotations}, "spec": {"image": "acme/tool:1.2.0"}})
}

async fn answer(State((held, told)): State<Shared>, uri: Uri, headers: HeaderMap) -> Response {
    let mut state = held.lock().unwrap();
    state.asked.push(uri.to_string());
    let bearer = headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
    if bearer != Some(format!("Bearer {}", state.token)) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    if state.broken {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let plural = uri.path().rsplit('/').next().unwrap().to_owned();
    if !uri.path().starts_with(GROUP) || state.unknown.contains(plural.as_str()) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let scope = uri.path().to_owned();
    if parameter(&uri, "watch").as_deref() == Some("true") {
        state.watches += 1;
        let since: u64 = parameter(&uri, "resourceVersion").unwrap().parse().unwrap();
        drop(state);
        return watch_answer(held, told, scope, since);
    }
    let limit: usize = parameter(&uri, "limit").unwrap().parse().unwrap();
    let start: usize = parameter(&uri, "continue").map_or(0, |token| token.parse().unwrap());
    let all: Vec<&Value> = state
        .resources
        .iter()
        .filter(|(path, _)| is_in(path, &scope))
        .map(|(_, resource)| resource)
        .collect();
    let page: Vec<&&Value> = all.iter().skip(start).take(limit).collect();
    let mut metadata = json!({"resourceVersion": state.version.to_string()});
    if start + limit < all.len() {
        metadata["continue"] = (start + limit).to_string().into();
    }
    json_answer(&json!({"apiVersion": "toolhive.stacklok.dev/v1beta1", "metadata": metadata, "items": page}))
}

/// Whether a resource belongs to a list, of one namespace or of all.
fn is_in(path: &str, scope: &str) -> bool {
    let (list, _) = path.rsplit_once('/').unwrap();
    let plural = scope.rsplit('/').next().unwrap();
    list == scope || (scope == format!("{GROUP}/{plural}") && list.ends_with(&format!("/{plural}")))
}

/// Lines of events from a version on, for as long as the client listens.
fn watch_answer(held: Arc<Mutex<Held>>, told: watch::Receiver<u64>, scope: String, since: u64) -> Response {
    let lines = stream::unfold((told, since), move |(mut told, since)| {
        let (held, scope) = (Arc::clone(&held), scope.clone());
        async move {
            loop {
                let next = {
                    let held = held.lock().unwrap();
                    let mut later = held.events.iter().filter(|(version, ..)| *version > since);
                    later.find(|(_, path, _)| is_in(path, &scope)).cloned()
                };
                if let Some((version, _, event)) = next {
                    return Some((Ok::<_, std::convert::Infallible>(format!("{event}\n")), (told, version)));
                }
                if told.changed().await.is_err() {
                    return None;
                }
            }
        }
    });
    Body::from_stream(lines).into_response()
}

#[tokio::test]
async fn exported_resources_of_every_kind_are_served_and_others_are_not() {
    let cluster = Cluster::start().await;
    cluster.put("mcp", "mcpservers", "one", exported("The first"));
    cluster.put("mcp", "mcpservers", "two", exported("The second"));
    cluster.put("mcp", "mcpremoteproxies", "proxy", exported("A proxy"));
    cluster.put("mcp", "virtualmcpservers", "all", exported("All of them"));
    cluster.put("mcp", "mcpservers", "hidden", json!({"metadata": {}, "spec": {}}));
    cluster.put("other", "mcpservers", "elsewhere", exported("In another namespace"));
    let mut lacking = exported("");
    lacking["metadata"]["annotations"].as_object_mut().unwrap().remove(&format!("{ANNOTATION}/registry-url"));
    cluster.put("mcp", "mcpservers", "lacking", lacking);
    let test = TestRegistry::with(&cluster.source(", page_limit = 1")).await;
    let status = test.sync("cluster").await;
    assert_eq!((&status["entries"], &status["quarantined"]), (&json!(4), &json!(1)), "{status}");
    assert_eq!(
        test.names(LIST).await,
        [
            "com.toolhive.k8s.mcp/all@1.2.0",
            "com.toolhive.k8s.mcp/one@1.2.0",
            "com.toolhive.k8s.mcp/proxy@1.2.0",
            "com.toolhive.k8s.mcp/two@1.2.0",
        ]
    );
    let quarantine = String::from_utf8(test.get("/registry/quarantine").await.body.to_vec()).unwrap();
    assert!(quarantine.contains("mcp/lacking") && quarantine.contains("registry-url"), "{quarantine}");
    assert!(cluster.change(|held| held.asked.iter().any(|url| url.contains("continue=1"))));
}

#[tokio::test]
async fn all_namespaces_are_read_where_that_is_asked_for() {
    let cluster = Cluster::start().await;
    cluster.put("mcp", "mcpservers", "one", exported("The first"));
    cluster.put("other", "mcpservers", "two", exported("The second"));
    let test = TestRegistry::with(&cluster.source(", namespaces = [\"*\"]")).await;
    test.sync("cluster").await;
    let names = test.names(LIST).await;
    assert_eq!(names, ["com.toolhive.k8s.mcp/one@1.2.0", "com.toolhive.k8s.other/two@1.2.0"]);
}

#[tokio::test]
async fn what_changes_in_the_cluster_is_served_without_waiting_for_the_interval() {
    let cluster = Cluster::start().await;
    cluster.put("mcp", "mcpservers", "one", exported("As it was"));
    let test = TestRegistry::with(&cluster.source("")).await;
    test.sync("cluster").await;
    let described = async || {
        let latest = test.get("/registry/v0.1/servers/com.toolhive.k8s.mcp%2Fone/versions/latest").await;
        (latest.status == StatusCode::OK)
            .then(|| latest.json()["server"]["description"].as_str().unwrap().to_owned())
    };
    assert_eq!(described().await.as_deref(), Some("As it was"));
    cluster.put("mcp", "mcpservers", "one", exported("As it is"));
    eventually("the change is served", async || {
        described().await.filter(|description| description == "As it is")
    })
    .await;
    cluster.put("mcp", "virtualmcpservers", "new", exported("It is new"));
    eventually("the new one is served", async || (test.names(LIST).await.len() == 2).then_some(())).await;
    cluster.delete("mcp", "mcpservers", "one");
    cluster.delete("mcp", "virtualmcpservers", "new");
    eventually("what is gone is served no longer", async || test.names(LIST).await.is_empty().then_some(()))
        .await;
    assert!(cluster.change(|held| held.watches) >= 3);
}

#[tokio::test]
async fn a_token_that_was_replaced_is_read_again() {
    let cluster = Cluster::start().await;
    cluster.put("mcp", "mcpservers", "one", exported("The first"));
    let test = TestRegistry::with(&cluster.source("")).await;
    assert_eq!(test.sync("cluster").await["entries"], 1);
    cluster.change(|held| "second".clone_into(&mut held.token));
    let status = test.sync("cluster").await;
    assert!(status["error"].as_str().unwrap().contains("401"), "{status}");
    cluster.issue("third");
    let status = test.sync("cluster").await;
    assert_eq!((&status["entries"], &status["error"]), (&json!(1), &Value::Null), "{status}");
}

#[tokio::test]
async fn a_cluster_that_breaks_or_lost_its_kinds_takes_nothing_away() {
    let cluster = Cluster::start().await;
    cluster.put("mcp", "mcpservers", "one", exported("The first"));
    let test = TestRegistry::with(&cluster.source("")).await;
    test.sync("cluster").await;
    cluster.change(|held| held.broken = true);
    let status = test.sync("cluster").await;
    assert!(status["error"].as_str().unwrap().contains("500"), "{status}");
    cluster.change(|held| {
        held.broken = false;
        held.unknown.extend(["mcpservers", "mcpremoteproxies", "virtualmcpservers"]);
    });
    let status = test.sync("cluster").await;
    assert!(status["error"].as_str().unwrap().contains("v1beta1"), "{status}");
    assert_eq!(test.names(LIST).await.len(), 1, "what was there is served");
    cluster.change(|held| {
        held.unknown.remove("mcpservers");
    });
    assert_eq!(test.sync("cluster").await["error"], Value::Null, "the other kinds need not be installed");
}

/// How many entries a tenant sees.
async fn seen(test: &TestRegistry, tenant: &str) -> usize {
    let list = test.get_as(caller(tenant, &["registry:read"]), LIST).await.json();
    list["servers"].as_array().unwrap().len()
}

#[tokio::test]
async fn claims_of_a_resource_hide_its_entry_also_after_a_restart_without_the_cluster() {
    let cluster = Cluster::start().await;
    let mut secret = exported("For one team");
    secret["metadata"]["annotations"][format!("{ANNOTATION}/authz-claims")] =
        r#"{"team": "payments"}"#.into();
    cluster.put("mcp", "mcpservers", "secret", secret);
    cluster.put("mcp", "mcpservers", "open", exported("For everybody"));
    let grants = "[[grants]]\ntenants = [\"acme\"]\nclaims = { team = [\"payments\"] }\n";
    let config = format!("{}{grants}", cluster.source(""));
    let test = TestRegistry::with(&config).await;
    test.sync("cluster").await;
    assert_eq!((seen(&test, "acme").await, seen(&test, "other").await), (2, 1));
    let Cluster { stop, account, .. } = cluster;
    drop(stop);
    let fixture = test.stop().await;
    let test = TestRegistry::start_on(fixture, toml::from_str(&config).unwrap()).await;
    assert_eq!((seen(&test, "acme").await, seen(&test, "other").await), (2, 1));
    drop(account);
}
