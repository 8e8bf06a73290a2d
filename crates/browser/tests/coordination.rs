//! Agents that share browsers: current tabs, locks, handoffs, activity.

#![expect(clippy::unwrap_used, reason = "in functions that tests share")]

mod support;

use axum::Extension;
use http::{Method, StatusCode};
use paddock_browser::{BrowserOptions, BrowserService, router};
use paddock_platform::{identity::Caller, units::HumanDuration};
use serde_json::{Value, json};
use support::{TestFleet, eventually, options};

struct Api {
    base: String,
    client: reqwest::Client,
}

impl Api {
    async fn serve(fleet: &TestFleet) -> Self {
        let service = BrowserService::new(fleet.fleet.clone());
        let (routes, _) = router(service).split_for_parts();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let stopping = fleet.tasks.stop_token();
        let routes = routes.layer(Extension(Caller::local()));
        fleet.tasks.spawn("test_api", async move {
            tokio::select! {
                result = axum::serve(listener, routes).into_future() => result.unwrap(),
                () = stopping.cancelled() => {}
            }
        });
        Self { base, client: reqwest::Client::builder().no_proxy().build().unwrap() }
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let status = response.status();
        (status, serde_json::from_str(&response.text().await.unwrap()).unwrap_or(Value::Null))
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.ask(Method::GET, path, &[], None).await
    }

    async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.ask(Method::POST, path, &[], Some(body)).await
    }

    async fn post_as(&self, agent: &str, path: &str, body: Value) -> (StatusCode, Value) {
        self.ask(Method::POST, path, &[("X-Agent-Id", agent)], Some(body)).await
    }
}

#[tokio::test]
async fn each_agent_stays_in_its_own_tab_and_the_anonymous_get_new_ones() {
    let fleet = TestFleet::start().await;
    let api = Api::serve(&fleet).await;
    let go = |title: &str| json!({ "url": fleet.url(&format!("/title/{title}")) });
    let (status, refused) = api.post_as("a", "/evaluate", json!({ "expression": "1" })).await;
    assert_eq!((status, &refused["code"]), (StatusCode::CONFLICT, &json!("no_current_tab")), "{refused}");

    let (_, a1) = api.post_as("a", "/navigate", go("a1")).await;
    let (_, b1) = api.post_as("b", "/navigate", go("b1")).await;
    let (_, a2) = api.post_as("a", "/navigate", go("a2")).await;
    assert_eq!(a1["tabId"], a2["tabId"], "{a2}");
    assert_ne!(a1["tabId"], b1["tabId"]);
    let title = json!({ "expression": "document.title" });
    assert_eq!(api.post_as("b", "/evaluate", title.clone()).await.1["result"], "b1");
    assert_eq!(api.post_as("a", "/evaluate", title.clone()).await.1["result"], "a2");

    let (_, one) = api.post("/navigate", go("one")).await;
    let (_, two) = api.post("/navigate", go("two")).await;
    assert_ne!(one["tabId"], two["tabId"]);
    assert_eq!(api.post("/evaluate", title.clone()).await.1["result"], "two");

    let focus = json!({ "action": "focus", "tabId": one["tabId"] });
    assert_eq!(api.post_as("a", "/tab", focus).await.1["focused"], true);
    assert_eq!(api.post_as("a", "/evaluate", title.clone()).await.1["result"], "one");
    assert_eq!(api.post_as("a", "/close", json!({})).await.1["tabId"], one["tabId"]);
    let (_, fresh) = api.post_as("a", "/navigate", go("fresh")).await;
    assert!(fresh["tabId"].is_string() && fresh["tabId"] != one["tabId"], "{fresh}");
    let (_, new) = api.post_as("a", "/tab", json!({ "action": "new" })).await;
    assert_eq!(new["url"], "about:blank", "{new}");
    assert_eq!(api.post_as("a", "/evaluate", json!({ "expression": "1" })).await.0, StatusCode::OK);
    fleet.finish().await;
}

#[tokio::test]
async fn a_tab_that_is_not_there_is_not_found() {
    let fleet = TestFleet::start().await;
    let api = Api::serve(&fleet).await;
    for (path, body) in [
        ("/tab", json!({ "action": "focus", "tabId": "nonexistent-tab-id-12345" })),
        ("/close", json!({ "tabId": "A25658CE1BA82659EBE9C93C46CEE63A" })),
        ("/tabs/A25658CE1BA82659EBE9C93C46CEE63A/navigate", json!({ "url": fleet.url("/") })),
        ("/lock", json!({ "tabId": "tab_00000000", "owner": "a" })),
    ] {
        let (status, problem) = api.post(path, body).await;
        assert_eq!(
            (status, &problem["code"]),
            (StatusCode::NOT_FOUND, &json!("not_found")),
            "{path}: {problem}"
        );
    }
    for body in [json!({ "action": "focus" }), json!({ "action": "explode" }), json!({})] {
        assert_eq!(api.post("/tab", body).await.0, StatusCode::BAD_REQUEST);
    }
    fleet.finish().await;
}

#[tokio::test]
async fn a_locked_tab_is_changed_by_its_owner_alone() {
    let fleet = TestFleet::start().await;
    let api = Api::serve(&fleet).await;
    let (_, page) = api.post("/navigate", json!({ "url": fleet.url("/") })).await;
    let tab = page["tabId"].as_str().unwrap();
    let (status, locked) =
        api.post(&format!("/tabs/{tab}/lock"), json!({ "owner": "a", "timeoutSec": 60 })).await;
    assert_eq!((status, &locked["locked"], &locked["owner"]), (StatusCode::OK, &json!(true), &json!("a")));
    assert!(locked["expiresAt"].is_string());
    let (status, problem) = api.post("/lock", json!({ "tabId": tab, "owner": "b" })).await;
    assert_eq!(status, StatusCode::CONFLICT, "{problem}");

    let evaluate = json!({ "expression": "1" });
    let path = format!("/tabs/{tab}/evaluate");
    for headers in [&[][..], &[("X-Owner", "b")], &[("X-Agent-Id", "b")]] {
        let (status, problem) = api.ask(Method::POST, &path, headers, Some(evaluate.clone())).await;
        assert_eq!((status, &problem["code"]), (StatusCode::LOCKED, &json!("tab_locked")), "{problem}");
    }
    assert_eq!(api.get(&format!("/tabs/{tab}/snapshot")).await.0, StatusCode::OK, "looking is free");
    for headers in [[("X-Owner", "a")], [("X-Agent-Id", "a")]] {
        assert_eq!(api.ask(Method::POST, &path, &headers, Some(evaluate.clone())).await.0, StatusCode::OK);
    }
    assert_eq!(api.get("/tabs").await.1["tabs"][0]["owner"], "a");
    assert_eq!(api.post("/unlock", json!({ "tabId": tab, "owner": "b" })).await.0, StatusCode::CONFLICT);
    let (_, unlocked) = api.post("/unlock", json!({ "tabId": tab, "owner": "a" })).await;
    assert_eq!(unlocked["unlocked"], true);
    assert_eq!(api.post(&path, evaluate).await.0, StatusCode::OK);
    assert_eq!(api.post("/lock", json!({ "tabId": tab })).await.0, StatusCode::BAD_REQUEST, "no owner");
    fleet.finish().await;
}

#[tokio::test]
async fn a_tab_that_was_handed_to_a_person_is_paused_until_it_is_resumed() {
    let fleet = TestFleet::start().await;
    let api = Api::serve(&fleet).await;
    let (_, page) = api.post("/navigate", json!({ "url": fleet.url("/") })).await;
    let tab = page["tabId"].as_str().unwrap();
    let (status, paused) = api.post(&format!("/tabs/{tab}/handoff"), json!({ "reason": "captcha" })).await;
    assert_eq!((status, &paused["status"]), (StatusCode::OK, &json!("paused_handoff")), "{paused}");
    let (status, problem) = api.post("/evaluate", json!({ "expression": "1", "tabId": tab })).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("tab_paused_handoff")), "{problem}");
    // Of several actions each says why it was not done.
    let clicks =
        json!({ "tabId": tab, "actions": [{ "kind": "click", "selector": "a" }, { "kind": "scroll" }] });
    let (status, batch) = api.post("/actions", clicks).await;
    assert_eq!((status, &batch["failed"]), (StatusCode::OK, &json!(2)), "{batch}");
    assert_eq!(batch["results"][1]["code"], "tab_paused_handoff", "{batch}");
    assert!(batch["results"][0]["error"].as_str().unwrap().contains("handoff"), "{batch}");
    assert_eq!(api.get("/tabs").await.1["tabs"][0]["status"], "paused_handoff");
    let (_, view) = api.get(&format!("/tabs/{tab}/handoff")).await;
    assert_eq!((&view["reason"], &view["status"]), (&json!("captcha"), &json!("paused_handoff")));
    let done = json!({ "status": "completed", "resolvedData": { "code": "1234" } });
    let (_, resumed) = api.post(&format!("/tabs/{tab}/resume"), done).await;
    assert_eq!((&resumed["status"], &resumed["resolvedData"]["code"]), (&json!("active"), &json!("1234")));
    assert_eq!(api.get(&format!("/tabs/{tab}/handoff")).await.1["status"], "active");
    assert_eq!(api.post("/evaluate", json!({ "expression": "1", "tabId": tab })).await.0, StatusCode::OK);
    fleet.finish().await;
}

#[tokio::test]
async fn a_tab_that_was_read_and_then_left_alone_is_closed() {
    let idle = Some(HumanDuration::from_secs(1));
    let fleet = TestFleet::start_with(BrowserOptions { tab_idle_after: idle, ..options() }).await;
    let api = Api::serve(&fleet).await;
    let (_, read) = api.post("/navigate", json!({ "url": fleet.url("/") })).await;
    let (_, kept) = api.post("/navigate", json!({ "url": fleet.url("/") })).await;
    let path = format!("/tabs/{}/snapshot", read["tabId"].as_str().unwrap());
    assert_eq!(api.get(&path).await.0, StatusCode::OK);
    let tabs = || fleet.fleet.handles().iter().flat_map(paddock_browser::Instance::tabs).collect::<Vec<_>>();
    eventually("the tab that was read is closed", || tabs().len() == 1).await;
    assert_eq!(tabs()[0].id().as_str(), kept["tabId"].as_str().unwrap());
    assert_eq!(api.get(&path).await.0, StatusCode::NOT_FOUND);
    fleet.finish().await;
}

#[tokio::test]
async fn what_agents_do_is_remembered_and_can_be_watched() {
    let fleet = TestFleet::start().await;
    let api = Api::serve(&fleet).await;
    let mut watched = api.client.get(format!("{}/api/events", api.base)).send().await.unwrap();
    let (_, page) = api.post_as("a", "/navigate", json!({ "url": fleet.url("/") })).await;
    let tab = page["tabId"].as_str().unwrap();
    api.get(&format!("/tabs/{tab}/snapshot")).await;
    let (_, list) = api.get(&format!("/api/activity?tabId={tab}&limit=100&ageSec=300")).await;
    let paths: Vec<&str> =
        list["events"].as_array().unwrap().iter().map(|e| e["path"].as_str().unwrap()).collect();
    assert_eq!(paths, [&format!("/tabs/{tab}/snapshot"), "/navigate"], "{list}");
    assert_eq!((&list["count"], &list["events"][1]["agentId"]), (&json!(2), &json!("a")));
    let chunk = watched.chunk().await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&chunk).into_owned();
    assert!(text.contains("event: action") && text.contains("\"path\":\"/navigate\""), "{text}");

    let report = json!({ "type": "thought", "message": "done", "step": 3 });
    assert_eq!(api.post("/api/agents/a/events", report).await.1["status"], "ok");
    let (_, agents) = api.get("/api/agents").await;
    assert_eq!((&agents[0]["id"], &agents[0]["requestCount"]), (&json!("a"), &json!(1)), "{agents}");
    let (_, agent) = api.get("/api/agents/a").await;
    assert_eq!(agent["events"][0]["report"]["step"], 3, "{agent}");
    assert_eq!(api.get("/api/agents/nobody").await.0, StatusCode::NOT_FOUND);
    drop(watched);
    fleet.finish().await;
}

#[tokio::test]
async fn what_is_left_out_says_so_and_says_what_to_do_instead() {
    let fleet = TestFleet::start().await;
    let api = Api::serve(&fleet).await;
    for path in
        ["/fingerprint/rotate", "/solve", "/solve/cloudflare", "/tabs/tab_00000000/solve", "/shutdown"]
    {
        let (status, problem) = api.post(path, json!({})).await;
        assert_eq!(
            (status, &problem["code"]),
            (StatusCode::NOT_IMPLEMENTED, &json!("not_implemented")),
            "{path}"
        );
    }
    assert_eq!(api.ask(Method::PUT, "/api/config", &[], None).await.0, StatusCode::NOT_IMPLEMENTED);
    let (_, config) = api.get("/api/config").await;
    assert_eq!(config["config"]["instanceDefaults"]["maxTabs"], 20, "{config}");
    let (_, document) = api.get("/openapi.json").await;
    assert!(document["paths"]["/tabs/{tab}/lock"]["post"].is_object(), "{document}");
    let (_, page) = api.post("/navigate", json!({ "url": fleet.url("/") })).await;
    let (_, metrics) = api.get(&format!("/tabs/{}/metrics", page["tabId"].as_str().unwrap())).await;
    assert!(metrics["memory"]["nodes"].as_u64().unwrap() > 3, "{metrics}");
    assert_eq!(api.get("/metrics").await.1["metrics"]["tabs"], 1);
    fleet.finish().await;
}

#[tokio::test]
async fn only_the_owner_of_a_lock_acts_on_its_tab() {
    let fleet = TestFleet::start().await;
    let api = Api::serve(&fleet).await;
    let (_, page) = api.post("/navigate", json!({ "url": fleet.url("/") })).await;
    let tab = &page["tabId"];
    let (status, locked) = api.post("/lock", json!({ "tabId": tab, "owner": "ann" })).await;
    assert_eq!(status, StatusCode::OK, "{locked}");
    let press = |owner: &str| json!({ "tabId": tab, "kind": "press", "key": "Escape", "owner": owner });
    assert_eq!(api.post("/action", press("bob")).await.0, StatusCode::LOCKED);
    let (status, done) = api.post("/action", press("ann")).await;
    assert_eq!(status, StatusCode::OK, "{done}");
    fleet.finish().await;
}
