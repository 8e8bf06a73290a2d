//! The routes and tools of the area, called as their users call them.

#![expect(clippy::unwrap_used, reason = "in functions that tests share")]

mod support;

use std::time::Duration;

use axum::Extension;
use http::{Method, StatusCode, header};
use paddock_browser::{BrowserOptions, BrowserService, router, tools};
use paddock_platform::{
    identity::{Caller, Scope},
    tool::Toolbox,
};
use serde_json::{Value, json};
use support::{TestFleet, options};

/// The area's routes on a port of their own, as seen by one caller.
struct Api {
    base: String,
    client: reqwest::Client,
}

impl Api {
    async fn serve(fleet: &TestFleet, service: &BrowserService, caller: Caller) -> Self {
        let (routes, _) = router(service.clone()).split_for_parts();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let stopping = fleet.tasks.stop_token();
        fleet.tasks.spawn("test_api", async move {
            tokio::select! {
                result = axum::serve(listener, routes.layer(Extension(caller))).into_future() => result.unwrap(),
                () = stopping.cancelled() => {}
            }
        });
        Self { base, client: reqwest::Client::builder().no_proxy().build().unwrap() }
    }

    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> reqwest::Response {
        let request = self.client.request(method, format!("{}{path}", self.base));
        match body {
            Some(body) => request.json(&body).send().await.unwrap(),
            None => request.send().await.unwrap(),
        }
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        answer(self.send(Method::GET, path, None).await).await
    }

    async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        answer(self.send(Method::POST, path, Some(body)).await).await
    }
}

async fn answer(response: reqwest::Response) -> (StatusCode, Value) {
    let status = response.status();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

async fn started() -> (TestFleet, BrowserService, Api) {
    started_with(options()).await
}

async fn started_with(options: BrowserOptions) -> (TestFleet, BrowserService, Api) {
    let fleet = TestFleet::start_with(options).await;
    let service = BrowserService::new(fleet.fleet.clone());
    let api = Api::serve(&fleet, &service, Caller::local()).await;
    (fleet, service, api)
}

#[tokio::test]
async fn a_client_of_pinchtab_drives_an_instance() {
    let (fleet, _service, api) = started().await;
    let (status, instance) = api.post("/instances/start", json!({ "mode": "headless" })).await;
    assert_eq!(status, StatusCode::CREATED, "{instance}");
    assert_eq!((&instance["status"], &instance["headless"]), (&json!("running"), &json!(true)));
    let id = instance["id"].as_str().unwrap();

    let url = fleet.url("/");
    let (status, tab) = api.post(&format!("/instances/{id}/tabs/open"), json!({ "url": url })).await;
    assert_eq!(status, StatusCode::CREATED, "{tab}");
    assert_eq!((tab["url"].as_str(), tab["title"].as_str()), (Some(url.as_str()), Some("A page")));
    let tab = tab["tabId"].as_str().unwrap();

    let next = fleet.url("/title/next");
    let (status, page) = api.post(&format!("/tabs/{tab}/navigate"), json!({ "url": next })).await;
    assert_eq!((status, page["tabId"].as_str()), (StatusCode::OK, Some(tab)), "{page}");
    assert_eq!(page["navigation"]["status"], json!(200));

    let (_, tabs) = api.get("/instances/tabs").await;
    assert_eq!(tabs[0]["id"].as_str(), Some(tab));
    assert_eq!(tabs[0]["instanceId"].as_str(), Some(id));
    assert_eq!(tabs[0]["title"], json!("next"));
    let (_, list) = api.get("/tabs").await;
    assert_eq!(list["tabs"], tabs);
    assert_eq!(api.get(&format!("/instances/{id}/tabs")).await.1, tabs);

    let (status, value) = api.post("/evaluate", json!({ "expression": "document.title" })).await;
    assert_eq!((status, value), (StatusCode::OK, json!({ "result": "next" })));

    let (status, closed) = api.post("/close", json!({ "tabId": tab })).await;
    assert_eq!((status, &closed["closed"]), (StatusCode::OK, &json!(true)));
    let (status, stopped) = api.post(&format!("/instances/{id}/stop"), json!({})).await;
    assert_eq!((status, stopped), (StatusCode::OK, json!({ "id": id, "status": "stopped" })));
    assert_eq!(api.get("/instances").await.1, json!([]));
    assert_eq!(api.get(&format!("/instances/{id}")).await.0, StatusCode::NOT_FOUND);
    fleet.finish().await;
}

#[tokio::test]
async fn navigating_without_a_tab_opens_one_and_makes_room_for_it() {
    let (fleet, _service, api) = started_with(BrowserOptions { tabs_per_instance_max: 2, ..options() }).await;
    let mut tabs = Vec::new();
    for title in ["one", "two", "three"] {
        let url = fleet.url(&format!("/title/{title}"));
        let (status, page) = api.post("/navigate", json!({ "url": url })).await;
        assert_eq!((status, page["title"].as_str()), (StatusCode::OK, Some(title)), "{page}");
        tabs.push(page["tabId"].clone());
    }
    let (_, list) = api.get("/tabs").await;
    let open: Vec<_> = list["tabs"].as_array().unwrap().iter().map(|tab| tab["id"].clone()).collect();
    assert_eq!(open, [tabs[2].clone(), tabs[1].clone()]);
    let (_, instances) = api.get("/instances").await;
    assert_eq!(instances.as_array().unwrap().len(), 1);
    let (status, health) = api.get("/health").await;
    assert_eq!((status, &health["tabs"]), (StatusCode::OK, &json!(2)));
    fleet.finish().await;
}

#[tokio::test]
async fn a_snapshot_comes_in_the_format_asked_for_and_its_references_make_pictures() {
    let (fleet, _service, api) = started().await;
    api.post("/navigate", json!({ "url": fleet.url("/") })).await;
    let (status, snapshot) = api.get("/snapshot").await;
    assert_eq!((status, &snapshot["title"]), (StatusCode::OK, &json!("A page")));
    let nodes = snapshot["nodes"].as_array().unwrap();
    let heading = nodes.iter().find(|node| node["role"] == "heading").unwrap();
    assert_eq!(heading["name"], json!("Hello"));

    let response = api.send(Method::GET, "/snapshot?format=compact&filter=interactive", None).await;
    assert!(response.headers()[header::CONTENT_TYPE].to_str().unwrap().starts_with("text/plain"));
    assert!(response.text().await.unwrap().starts_with("# A page"));

    let reference = heading["ref"].as_str().unwrap();
    let path = format!("/screenshot?selector={reference}&format=png&raw=true");
    let response = api.send(Method::GET, &path, None).await;
    assert_eq!(response.headers()[header::CONTENT_TYPE], "image/png");
    assert_eq!(&response.bytes().await.unwrap()[1..4], b"PNG");
    let (_, picture) = api.get("/screenshot?beyondViewport=true").await;
    assert_eq!(picture["format"], json!("jpeg"));
    assert!(picture["base64"].as_str().unwrap().starts_with("/9j/"));

    let (status, problem) = api.get("/snapshot?selector=%23nothing").await;
    assert_eq!((status, &problem["status"]), (StatusCode::NOT_FOUND, &json!(404)), "{problem}");
    fleet.finish().await;
}

#[tokio::test]
async fn failures_are_problems_that_say_what_to_do() {
    let (fleet, _service, api) = started().await;
    let (status, problem) = api.get("/snapshot").await;
    assert_eq!((status, &problem["type"]), (StatusCode::NOT_FOUND, &json!("urn:paddock:problem:not-found")));
    for (body, expected) in [
        (json!({ "url": "http://10.0.0.1/" }), "address-refused"),
        (json!({ "url": "file:///etc/passwd" }), "invalid-request"),
        (json!({ "url": "http://no-such-host.invalid/" }), "host-not-found"),
        (json!({ "url": fleet.url("/redirect-loop") }), "redirect-loop"),
        (json!({ "url": fleet.url("/download") }), "not-a-page"),
        (json!({ "url": fleet.url("/never-answers"), "timeout": 0.2 }), "deadline-exceeded"),
        (json!({ "url": fleet.url("/"), "timeout": -1 }), "invalid-request"),
    ] {
        let (_, problem) = api.post("/navigate", body).await;
        assert_eq!(problem["type"], json!(format!("urn:paddock:problem:{expected}")), "{problem}");
    }
    let (_, problem) = api.post("/instances/start", json!({ "mode": "sideways" })).await;
    assert_eq!(problem["type"], json!("urn:paddock:problem:invalid-request"), "{problem}");
    let (_, problem) = api.post("/evaluate", json!({ "expression": "nonsense(" })).await;
    assert_eq!(problem["type"], json!("urn:paddock:problem:evaluation-failed"), "{problem}");
    fleet.finish().await;
}

#[tokio::test]
async fn tenants_and_scopes_keep_callers_apart() {
    let (fleet, service, api) = started().await;
    let stranger = Caller::with_key("k2", "other".parse().unwrap(), vec![Scope::admin("browser")]);
    let stranger = Api::serve(&fleet, &service, stranger).await;
    let reader = Caller::with_key("k3", "local".parse().unwrap(), vec![Scope::read("browser")]);
    let reader = Api::serve(&fleet, &service, reader).await;
    let (_, page) = api.post("/navigate", json!({ "url": fleet.url("/") })).await;
    let (tab, instance) = (page["tabId"].as_str().unwrap(), page["instanceId"].as_str().unwrap());

    assert_eq!(stranger.get("/instances").await.1, json!([]));
    assert_eq!(stranger.get("/tabs").await.1, json!({ "tabs": [] }));
    for path in [format!("/instances/{instance}"), format!("/tabs/{tab}/snapshot")] {
        assert_eq!(stranger.get(&path).await.0, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(reader.get(&path).await.0, StatusCode::OK, "{path}");
    }
    let stop = format!("/instances/{instance}/stop");
    assert_eq!(stranger.post(&stop, json!({})).await.0, StatusCode::NOT_FOUND);
    assert_eq!(reader.post(&stop, json!({})).await.0, StatusCode::FORBIDDEN);
    fleet.finish().await;
}

#[tokio::test]
async fn the_tools_do_what_the_routes_do() {
    let (fleet, service, _api) = started().await;
    let toolbox = Toolbox::new(tools(&service)).unwrap();
    let caller = Caller::local();
    let call = async |name: &str, input: Value| {
        toolbox.call(&caller, name, input, Duration::from_secs(30)).await.unwrap()
    };
    let instance = call("browser_start", json!({ "name": "mine" })).await;
    let input = json!({ "url": fleet.url("/"), "instanceId": instance["id"] });
    let page = call("browser_navigate", input).await;
    assert_eq!(page["title"], "A page");
    assert!(page["snapshot"].as_str().unwrap().contains("heading \"Hello\""), "{page}");
    let snapshot = call("browser_snapshot", json!({ "tabId": page["tabId"] })).await;
    assert!(snapshot["snapshot"].as_str().unwrap().contains("heading \"Hello\""), "{snapshot}");
    let picture = call("browser_screenshot", json!({ "selector": "h1", "png": true })).await;
    assert!(picture["base64"].as_str().unwrap().starts_with("iVBOR"));
    assert_eq!(call("browser_evaluate", json!({ "expression": "6 * 7" })).await["result"], json!(42));
    let list = call("browser_instances", json!({})).await;
    assert_eq!(list["instances"][0]["profileName"], json!("mine"));
    call("browser_stop", json!({ "instanceId": instance["id"] })).await;
    let wrong = json!({ "instanceId": "nonsense" });
    let problem = toolbox.call(&caller, "browser_stop", wrong, Duration::from_secs(5)).await.unwrap_err();
    assert!(problem.detail.contains("instanceId"), "{problem:?}");
    fleet.finish().await;
}

#[tokio::test]
async fn a_request_wakes_the_instance_that_it_is_about() {
    let (fleet, _service, api) = started().await;
    let (_, page) = api.post("/navigate", json!({ "url": fleet.url("/title/here") })).await;
    let (tab, instance) = (page["tabId"].as_str().unwrap(), page["instanceId"].as_str().unwrap());
    let (status, slept) = api.post(&format!("/instances/{instance}/hibernate"), json!({})).await;
    assert_eq!((status, &slept["status"]), (StatusCode::OK, &json!("hibernated")), "{slept}");
    let (_, list) = api.get("/tabs").await;
    assert_eq!((&list["tabs"][0]["id"], &list["tabs"][0]["title"]), (&json!(tab), &json!("here")));
    let (status, value) = api.post("/evaluate", json!({ "expression": "document.title" })).await;
    assert_eq!((status, &value["result"]), (StatusCode::OK, &json!("here")), "{value}");

    let (_, log) = api.get(&format!("/instances/{instance}/logs")).await;
    let log = log.as_str().unwrap();
    assert!(log.contains("hibernated: asked to") && log.contains("running: awake"), "{log}");
    let (status, woken) = api.post(&format!("/instances/{instance}/restart"), json!({})).await;
    assert_eq!((status, &woken["status"]), (StatusCode::OK, &json!("running")), "{woken}");
    assert_eq!(api.get(&format!("/tabs/{tab}/snapshot")).await.1["title"], json!("here"));
    let (_, metrics) = api.get("/instances/metrics").await;
    assert_eq!(metrics[0]["instanceId"], json!(instance));
    assert!(
        metrics[0]["memoryMB"].as_f64().unwrap() > 1.0 && metrics[0]["jsHeapUsedMB"].as_f64().unwrap() > 0.0
    );
    let (_, health) = api.get("/health").await;
    assert_eq!(health["defaultInstance"], json!({ "id": instance, "status": "running" }));
    let (status, same) = api.post("/ensure-browser", json!({})).await;
    assert_eq!((status, &same["id"]), (StatusCode::OK, &json!(instance)));
    fleet.finish().await;
}

#[tokio::test]
async fn instances_for_the_servers_own_use_are_nobodys() {
    let (fleet, _service, api) = started().await;
    let spec = paddock_browser::InstanceSpec::ephemeral(paddock_platform::identity::Tenant::local());
    let own = fleet.fleet.create(spec).await.unwrap();
    let tab = own.open(paddock_browser::TabSpec::default()).await.unwrap();
    assert_eq!(api.get("/instances").await.1, json!([]));
    assert_eq!(api.get(&format!("/instances/{}", own.id())).await.0, StatusCode::NOT_FOUND);
    assert_eq!(api.get(&format!("/tabs/{}/snapshot", tab.id())).await.0, StatusCode::NOT_FOUND);
    let (_, page) = api.post("/navigate", json!({ "url": fleet.url("/") })).await;
    assert_ne!(page["instanceId"], json!(own.id()));
    fleet.finish().await;
}

#[tokio::test]
async fn a_profile_keeps_what_its_instances_learned() {
    let (fleet, _service, api) = started().await;
    let (status, profile) = api.post("/profiles", json!({ "name": "work", "useWhen": "at work" })).await;
    assert_eq!((status, &profile["status"]), (StatusCode::CREATED, &json!("created")), "{profile}");
    let id = profile["id"].as_str().unwrap().to_owned();
    let url = fleet.url("/stored");
    let visit = async |expected: &str| {
        let (status, instance) = api.post("/instances/start", json!({ "profileId": "work" })).await;
        assert_eq!((status, &instance["profileId"]), (StatusCode::CREATED, &json!(id)), "{instance}");
        let (status, problem) = api.post(&format!("/profiles/{id}/start"), json!({})).await;
        assert_eq!(status, StatusCode::CONFLICT, "{problem}");
        let path = format!("/instances/{}/tabs/open", instance["id"].as_str().unwrap());
        api.post(&path, json!({ "url": url })).await;
        let (_, seen) = api.post("/evaluate", json!({ "expression": "seen.textContent" })).await;
        assert_eq!(seen["result"], json!(expected));
        let set = "localStorage.k = 'mine'; document.cookie = 'c=1; max-age=3600'; 0";
        api.post("/evaluate", json!({ "expression": set })).await;
        let (_, of) = api.get("/profiles/work/instance").await;
        assert_eq!((&of["running"], &of["id"]), (&json!(true), &instance["id"]));
        let (_, figures) = api.get("/profiles/work/analytics").await;
        assert_eq!(figures["topEndpoints"]["/evaluate"], json!(2), "{figures}");
        assert_eq!(figures["totalActions"], figures["last24h"]);
        let (_, log) = api.get("/profiles/work/logs?limit=1").await;
        assert_eq!(log[0]["endpoint"], json!("/evaluate"), "{log}");
        assert_eq!((&log[0]["url"], log.as_array().unwrap().len()), (&json!(url), 1), "{log}");
        let host = format!("127.0.0.1:{}", url.port().unwrap());
        let counted = async {
            while api.get("/profiles/work/analytics").await.1["commonHosts"][&host].is_null() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), counted).await.expect("the host is counted");
        let (status, stopped) = api.post("/profiles/work/stop", json!({})).await;
        assert_eq!((status, &stopped["status"]), (StatusCode::OK, &json!("stopped")), "{stopped}");
    };
    visit(",,").await;
    visit("mine,,c=1").await;
    let reset = api.post(&format!("/profiles/{id}/reset"), json!({})).await;
    assert_eq!(reset.0, StatusCode::OK);
    visit(",,").await;
    fleet.finish().await;
}

#[tokio::test]
async fn profiles_are_named_changed_and_deleted_by_their_id() {
    let (fleet, _service, api) = started().await;
    let create = async |name: &str| api.post("/profiles/create", json!({ "name": name })).await;
    let (_, a) = create("a").await;
    create("b").await;
    assert_eq!(create("a").await.0, StatusCode::CONFLICT);
    assert_eq!(create("../b").await.0, StatusCode::BAD_REQUEST);
    let id = a["id"].as_str().unwrap();
    let patch = async |path: &str, body: Value| answer(api.send(Method::PATCH, path, Some(body)).await).await;
    assert_eq!(patch("/profiles/a", json!({ "name": "c" })).await.0, StatusCode::NOT_FOUND);
    assert_eq!(patch(&format!("/profiles/{id}"), json!({ "name": "b" })).await.0, StatusCode::CONFLICT);
    let (status, renamed) = patch(&format!("/profiles/{id}"), json!({ "name": "c" })).await;
    assert_eq!((status, &renamed["name"]), (StatusCode::OK, &json!("c")), "{renamed}");
    assert_eq!(api.get(&format!("/profiles/{id}")).await.0, StatusCode::NOT_FOUND);
    let (_, meta) = patch("/profiles/meta", json!({ "name": "c", "useWhen": "never" })).await;
    assert_eq!(meta["status"], json!("updated"), "{meta}");
    assert_eq!(api.get("/profiles/c").await.1["useWhen"], json!("never"));

    api.post("/instances/start", json!({})).await;
    let names =
        |list: Value| -> Vec<_> { list.as_array().unwrap().iter().map(|p| p["source"].clone()).collect() };
    assert_eq!(names(api.get("/profiles").await.1), ["created", "created"]);
    assert_eq!(names(api.get("/profiles?all=true").await.1), ["created", "created", "temporary"]);
    let id = renamed["id"].as_str().unwrap();
    let delete = async |path: String| api.send(Method::DELETE, &path, None).await.status();
    assert_eq!(delete("/profiles/c".to_owned()).await, StatusCode::NOT_FOUND);
    assert_eq!(delete(format!("/profiles/{id}")).await, StatusCode::OK);
    fleet.finish().await;
}

#[tokio::test]
async fn ports_are_given_to_those_who_ask_and_run_out() {
    let probe = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let ports = paddock_browser::PortRange::new(probe, probe);
    let (fleet, _service, api) = started_with(BrowserOptions { ports, ..options() }).await;
    let start = async |port: Value| api.post("/instances/start", json!({ "port": port })).await;
    let (status, first) = start(json!("auto")).await;
    assert_eq!((status, &first["port"]), (StatusCode::CREATED, &json!(probe.to_string())), "{first}");
    let (status, problem) = start(json!("auto")).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{problem}");
    assert_eq!(start(json!(probe)).await.0, StatusCode::CONFLICT);
    assert_eq!(api.post("/instances/start", json!({})).await.1["port"], json!(""));
    api.post(&format!("/instances/{}/stop", first["id"].as_str().unwrap()), json!({})).await;
    assert_eq!(start(json!(probe.to_string())).await.1["port"], json!(probe.to_string()));
    fleet.finish().await;
}
