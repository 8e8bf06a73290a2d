//! The queue of tasks, and what clients do in one instance.

#![expect(clippy::unwrap_used, reason = "in functions that tests share")]

#[path = "support/api.rs"]
mod api;
mod support;

use std::time::{Duration, Instant};

use api::{Api, started, started_with};
use axum::{Json, Router, routing::post};
use http::{HeaderMap, StatusCode};
use paddock_browser::BrowserOptions;
use paddock_platform::units::HumanDuration;
use serde_json::{Value, json};
use support::{TestFleet, options};
use tokio::sync::mpsc;

/// A tab with a button that counts, and one that leads to a page which never comes.
async fn counter(fleet: &TestFleet, api: &Api) -> String {
    let (status, page) = api.post("/navigate", json!({ "url": fleet.url("/") })).await;
    assert_eq!(status, StatusCode::OK, "{page}");
    api.evaluate(
        "document.body.innerHTML = '<button id=b>0</button><button id=never>Never</button>';
         b.onclick = () => { b.textContent = Number(b.textContent) + 1 };
         never.onclick = () => { location.href = '/never-answers' }; 0",
    )
    .await;
    page["tabId"].as_str().unwrap().to_owned()
}

async fn submit(api: &Api, task: Value) -> Value {
    let (status, submitted) = api.post("/tasks", task).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{submitted}");
    submitted
}

/// The task, when it has ended.
async fn ended(api: &Api, id: &str) -> Value {
    let started = Instant::now();
    loop {
        let (status, task) = api.get(&format!("/tasks/{id}")).await;
        assert_eq!(status, StatusCode::OK, "{task}");
        if !matches!(task["state"].as_str(), Some("queued" | "running")) {
            return task;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "never ended: {task}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn endless(agent: &str, tab: &str) -> Value {
    let params = json!({ "waitNav": true, "timeout": 100 });
    json!({ "agentId": agent, "action": "click", "tabId": tab, "selector": "#never", "params": params })
}

#[tokio::test]
async fn a_task_does_its_action_and_is_remembered_as_its_agents() {
    let (fleet, _service, api) = started().await;
    let tab = counter(&fleet, &api).await;
    let submitted = submit(
        &api,
        json!({
            "agentId": "crawler", "action": "click", "tabId": tab, "selector": "#b", "priority": 5,
            "params": { "kind": "hover", "selector": "#other" },
        }),
    )
    .await;
    assert_eq!((&submitted["state"], &submitted["position"]), (&json!("queued"), &json!(1)));
    let task = ended(&api, submitted["taskId"].as_str().unwrap()).await;
    assert_eq!((&task["state"], &task["result"]["success"]), (&json!("done"), &json!(true)), "{task}");
    assert_eq!((&task["agentId"], &task["priority"]), (&json!("crawler"), &json!(5)));
    assert!(task["latencyMs"].is_u64() && task["completedAt"].is_string());
    assert_eq!(api.evaluate("b.textContent").await, "1");

    let (_, events) = api.get("/api/activity?agentId=crawler").await;
    let event = &events["events"][0];
    assert_eq!((&event["source"], &event["tabId"]), (&json!("scheduler"), &json!(tab)), "{events}");

    let missing = submit(&api, json!({ "agentId": "crawler", "action": "click" })).await;
    let task = ended(&api, missing["taskId"].as_str().unwrap()).await;
    assert_eq!(
        (&task["state"], &task["error"]),
        (&json!("failed"), &json!("tabId is required for task execution"))
    );

    let (_, list) = api.get("/tasks?agentId=crawler&state=done,cancelled").await;
    assert_eq!((&list["count"], &list["tasks"][0]["taskId"]), (&json!(1), &submitted["taskId"]));
    assert_eq!(api.get("/tasks?agentId=nobody").await.1, json!({ "tasks": [], "count": 0 }));
    let (_, stats) = api.get("/scheduler/stats").await;
    let metrics = &stats["metrics"];
    assert_eq!(
        (&metrics["tasksSubmitted"], &metrics["tasksCompleted"], &metrics["tasksFailed"]),
        (&json!(2), &json!(1), &json!(1))
    );
    assert_eq!(metrics["agents"]["crawler"]["completed"], 1);
    assert_eq!(
        (&stats["queue"]["totalQueued"], &stats["config"]["strategy"]),
        (&json!(0), &json!("fair-fifo"))
    );
    fleet.finish().await;
}

#[tokio::test]
async fn tasks_over_the_bounds_are_rejected_and_cancelled_ones_make_room() {
    let bounds = BrowserOptions {
        tasks_queued_max: 3,
        tasks_queued_per_agent_max: 2,
        tasks_running_max: 1,
        task_batch_max: 3,
        ..options()
    };
    let (fleet, _service, api) = started_with(bounds).await;
    let tab = counter(&fleet, &api).await;
    let running = submit(&api, endless("a", &tab)).await;
    let running = running["taskId"].as_str().unwrap();
    let batch = json!({ "agentId": "a", "tasks": [endless("", &tab), endless("", &tab), endless("", &tab)] });
    let (status, batch) = api.post("/tasks/batch", batch).await;
    assert_eq!((status, &batch["submitted"]), (StatusCode::ACCEPTED, &json!(3)), "{batch}");
    let states: Vec<&str> =
        batch["tasks"].as_array().unwrap().iter().map(|task| task["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["queued", "queued", "rejected"]);
    let rejected = batch["tasks"][2]["taskId"].as_str().unwrap();
    assert_eq!(api.get(&format!("/tasks/{rejected}")).await.1["state"], "rejected");

    let (status, full) = api.post("/tasks", endless("a", &tab)).await;
    assert_eq!(
        (status, &full["code"], &full["retryable"]),
        (StatusCode::TOO_MANY_REQUESTS, &json!("queue_full"), &json!(true))
    );
    assert_eq!(full["details"], json!({ "agentId": "a", "queued": 2, "maxQueue": 3, "maxPerAgent": 2 }));

    for task in &batch["tasks"].as_array().unwrap()[..2] {
        let id = task["taskId"].as_str().unwrap();
        let (status, cancelled) = api.post(&format!("/tasks/{id}/cancel"), json!({})).await;
        assert_eq!((status, cancelled), (StatusCode::OK, json!({ "status": "cancelled", "taskId": id })));
    }
    let (status, _) = api.post(&format!("/tasks/{running}/cancel"), json!({})).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(ended(&api, running).await["state"], "cancelled");
    let (status, problem) = api.post(&format!("/tasks/{running}/cancel"), json!({})).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("conflict")), "{problem}");
    let click = json!({ "agentId": "b", "action": "hover", "tabId": tab, "selector": "#b" });
    let next = submit(&api, click).await;
    assert_eq!(ended(&api, next["taskId"].as_str().unwrap()).await["state"], "done");
    assert_eq!(api.post("/tasks/tsk_none/cancel", json!({})).await.0, StatusCode::NOT_FOUND);
    let many = vec![endless("", &tab); 4];
    let (status, problem) = api.post("/tasks/batch", json!({ "agentId": "a", "tasks": many })).await;
    assert_eq!((status, &problem["code"]), (StatusCode::BAD_REQUEST, &json!("batch_too_large")));
    assert_eq!(problem["details"], json!({ "submitted": 4, "max": 3 }));
    for body in [json!({ "agentId": "a", "tasks": [] }), json!({ "tasks": [{ "action": "click" }] })] {
        assert_eq!(api.post("/tasks/batch", body).await.0, StatusCode::BAD_REQUEST);
    }
    fleet.finish().await;
}

#[tokio::test]
async fn time_that_is_over_fails_a_task_wherever_it_is_and_results_are_forgotten() {
    let bounds =
        BrowserOptions { tasks_running_max: 1, task_kept_for: HumanDuration::from_secs(1), ..options() };
    let (fleet, _service, api) = started_with(bounds).await;
    let tab = counter(&fleet, &api).await;
    let soon = (jiff::Timestamp::now() + Duration::from_millis(800)).to_string();
    let mut first = endless("a", &tab);
    first["deadline"] = json!(soon);
    let (first, second) = (submit(&api, first.clone()).await, submit(&api, first).await);
    let first = ended(&api, first["taskId"].as_str().unwrap()).await;
    assert_eq!(
        (&first["state"], &first["error"]),
        (&json!("failed"), &json!("deadline exceeded")),
        "{first}"
    );
    let second = ended(&api, second["taskId"].as_str().unwrap()).await;
    assert_eq!(second["state"], "failed", "{second}");
    let started = Instant::now();
    while api.get(&format!("/tasks/{}", second["taskId"].as_str().unwrap())).await.0 != StatusCode::NOT_FOUND
    {
        assert!(started.elapsed() < Duration::from_secs(30), "never forgotten");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    fleet.finish().await;
}

#[tokio::test]
async fn the_address_that_a_task_names_is_told_of_its_end() {
    let (fleet, _service, api) = started().await;
    let tab = counter(&fleet, &api).await;
    let (sender, mut told) = mpsc::channel(4);
    let router = Router::new().route(
        "/done",
        post(move |headers: HeaderMap, Json(task): Json<Value>| async move {
            let event = headers["x-pinchtab-event"].to_str().unwrap().to_owned();
            sender.send((event, task)).await.unwrap();
        }),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stopping = fleet.tasks.stop_token();
    fleet.tasks.spawn("test_callback", async move {
        tokio::select! {
            result = axum::serve(listener, router).into_future() => result.unwrap(),
            () = stopping.cancelled() => {}
        }
    });
    let task = json!({
        "agentId": "a", "action": "click", "tabId": tab, "selector": "#b",
        "callbackUrl": format!("http://{address}/done"),
    });
    let submitted = submit(&api, task).await;
    let (event, task) = tokio::time::timeout(Duration::from_secs(30), told.recv()).await.unwrap().unwrap();
    assert_eq!(
        (event.as_str(), &task["taskId"], &task["state"]),
        ("task.completed", &submitted["taskId"], &json!("done"))
    );
    fleet.finish().await;
}

#[tokio::test]
async fn clients_work_in_one_instance_whichever_tab_is_current() {
    let (fleet, _service, api) = started().await;
    let (_, one) = api.post("/instances/start", json!({})).await;
    let (_, two) = api.post("/instances/start", json!({})).await;
    let (one, two) = (one["id"].as_str().unwrap(), two["id"].as_str().unwrap());
    let cookies = json!({ "url": fleet.url("/"), "cookies": [{ "name": "who", "value": "one" }] });
    let (status, set) = api.post(&format!("/instances/{one}/cookies"), cookies).await;
    assert_eq!((status, &set["set"]), (StatusCode::OK, &json!(1)), "{set}");

    let open =
        |id: &str| (format!("/instances/{id}/tab"), json!({ "action": "new", "url": fleet.url("/stored") }));
    let (path, body) = open(one);
    let (status, tab) = api.post(&path, body).await;
    assert_eq!((status, tab["instanceId"].as_str()), (StatusCode::OK, Some(one)), "{tab}");
    assert_eq!(api.evaluate("document.cookie").await, "who=one");
    let (path, body) = open(two);
    api.post(&path, body).await;
    assert_eq!(api.evaluate("document.cookie").await, "");

    let tab = tab["tabId"].as_str().unwrap();
    let (status, _) =
        api.post(&format!("/instances/{two}/tab"), json!({ "action": "close", "tabId": tab })).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "it is not one of that instance");
    assert_eq!(api.get(&format!("/instances/{one}/cache/status")).await.1, json!({ "canClear": true }));
    let (status, cleared) = api.post(&format!("/instances/{one}/cache/clear"), json!({})).await;
    assert_eq!((status, cleared), (StatusCode::OK, json!({ "status": "cleared" })));
    let (status, closed) = api.post(&format!("/instances/{one}/tab"), json!({ "action": "close" })).await;
    assert_eq!((status, closed["tabId"].as_str()), (StatusCode::OK, Some(tab)), "{closed}");
    assert_eq!(api.get("/instances/inst_00000000/cache/status").await.0, StatusCode::NOT_FOUND);
    fleet.finish().await;
}

#[tokio::test]
async fn the_state_of_a_tab_tells_whether_it_can_be_acted_on() {
    let (fleet, _service, api) = started().await;
    let tab = counter(&fleet, &api).await;
    let (status, state) = api.get(&format!("/tabs/{tab}/state")).await;
    assert_eq!(status, StatusCode::OK, "{state}");
    assert_eq!(
        (&state["actionability"], &state["load"]["readyState"]),
        (&json!("ready"), &json!("complete"))
    );
    assert_eq!((&state["dialogPresent"], &state["tabId"]), (&json!(false), &json!(tab)));

    api.evaluate("b.onclick = () => alert('Stop')").await;
    let (status, _) = api.post("/action", json!({ "kind": "click", "selector": "#b" })).await;
    assert_eq!(status, StatusCode::CONFLICT);
    let (_, state) = api.get(&format!("/tabs/{tab}/state")).await;
    assert_eq!(
        (&state["actionability"], &state["dialog"]["message"]),
        (&json!("blocked"), &json!("Stop")),
        "{state}"
    );
    api.post("/dialog", json!({ "action": "accept" })).await;

    let never = json!({ "url": fleet.url("/never-loads"), "waitFor": "none", "tabId": tab });
    api.post("/navigate", never).await;
    let (_, state) = api.get(&format!("/tabs/{tab}/state")).await;
    assert_eq!(
        (&state["actionability"], &state["load"]["networkIdle"]),
        (&json!("caution"), &json!(false)),
        "{state}"
    );
    assert_eq!(api.get("/tabs/tab_00000000/state").await.0, StatusCode::NOT_FOUND);
    fleet.finish().await;
}
