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
    let (_, problem) = api.post("/instances/start", json!({ "mode": "headed" })).await;
    assert_eq!(problem["type"], json!("urn:paddock:problem:not-implemented"), "{problem}");
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
