//! Every bound on instances, reached on purpose: what is over it is refused as documented, and room is used again.

#![expect(clippy::unwrap_used, reason = "in functions that tests share")]

#[path = "support/api.rs"]
mod api;
mod support;

use api::{Api, started_with};
use http::{Method, StatusCode, header};
use paddock_browser::{BrowserError, BrowserOptions, Instance, InstanceSpec, InstanceStatus, TabId, TabSpec};
use paddock_platform::{
    identity::Tenant,
    params,
    problem::Problem,
    store::{Statement, testing},
    units::ByteSize,
};
use serde_json::{Value, json};
use support::{Pages, TestFleet, options};

/// Starts an instance that is refused: the status, whether it says when to come back, and its words.
async fn refused(api: &Api, body: Value) -> (StatusCode, bool, String) {
    let response = api.send(Method::POST, "/instances/start", Some(body)).await;
    let (status, retry) = (response.status(), response.headers().contains_key(header::RETRY_AFTER));
    let problem: Value = response.json().await.unwrap();
    (status, retry, problem["detail"].as_str().unwrap().to_owned())
}

async fn start(api: &Api, body: Value) -> Value {
    let (status, instance) = api.post("/instances/start", body).await;
    assert_eq!(status, StatusCode::CREATED, "{instance}");
    instance
}

async fn stop(api: &Api, instance: &Value) {
    let path = format!("/instances/{}/stop", instance["id"].as_str().unwrap());
    assert_eq!(api.post(&path, json!({})).await.0, StatusCode::OK);
}

/// The first of two neighbouring ports that nobody has.
fn two_free_ports() -> u16 {
    loop {
        let first = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let number = first.local_addr().unwrap().port();
        if number < u16::MAX && std::net::TcpListener::bind(("127.0.0.1", number + 1)).is_ok() {
            return number;
        }
    }
}

#[tokio::test]
async fn ports_run_out_with_a_clear_error_and_are_used_again() {
    let first = two_free_ports();
    let range = format!("{first}-{}", first + 1);
    let (fleet, _service, api) =
        started_with(BrowserOptions { ports: range.parse().unwrap(), ..options() }).await;
    let one = start(&api, json!({ "port": "auto" })).await;
    let other = start(&api, json!({ "port": "auto" })).await;
    assert_eq!((&one["port"], &other["port"]), (&json!(first.to_string()), &json!((first + 1).to_string())));
    let (status, retry, detail) = refused(&api, json!({ "port": "auto" })).await;
    assert_eq!((status, retry), (StatusCode::SERVICE_UNAVAILABLE, true));
    assert!(detail.contains(&range) && detail.contains("[browser] ports"), "{detail}");
    // Nothing else needs one.
    stop(&api, &start(&api, json!({})).await).await;
    let (status, ..) = refused(&api, json!({ "port": first })).await;
    assert_eq!(status, StatusCode::CONFLICT);
    stop(&api, &one).await;
    let again = start(&api, json!({ "port": "auto" })).await;
    assert_eq!(again["port"], one["port"]);
    fleet.finish().await;
}

#[tokio::test]
async fn below_the_memory_floor_instances_are_refused_with_a_time_to_come_back() {
    let memory_floor = ByteSize::bytes(u64::MAX);
    let (fleet, _service, api) = started_with(BrowserOptions { memory_floor, ..options() }).await;
    let (status, retry, detail) = refused(&api, json!({})).await;
    assert_eq!((status, retry), (StatusCode::SERVICE_UNAVAILABLE, true));
    assert!(detail.contains("memory_floor"), "{detail}");
    assert!(fleet.fleet.instances().is_empty());
    fleet.finish().await;
}

#[tokio::test]
async fn instances_in_total_and_of_a_tenant_are_bounded() {
    let bounds = BrowserOptions { instances_max: 2, instances_per_tenant_max: 1, ..options() };
    let (fleet, _service, api) = started_with(bounds).await;
    let own = start(&api, json!({})).await;
    let (status, retry, detail) = refused(&api, json!({})).await;
    assert_eq!((status, retry), (StatusCode::TOO_MANY_REQUESTS, true));
    assert!(detail.contains("instances_per_tenant_max"), "{detail}");
    let others = fleet.fleet.create(InstanceSpec::new("other".parse().unwrap())).await.unwrap();
    stop(&api, &own).await;
    let third = fleet.fleet.create(InstanceSpec::new("third".parse().unwrap())).await.unwrap();
    let (status, retry, detail) = refused(&api, json!({})).await;
    assert_eq!((status, retry), (StatusCode::SERVICE_UNAVAILABLE, true));
    assert!(detail.contains("instances_max"), "{detail}");
    drop((others, third));
    fleet.finish().await;
}

#[tokio::test]
async fn requests_that_work_with_an_instance_at_a_time_are_bounded() {
    let (fleet, _service, api) =
        started_with(BrowserOptions { requests_per_instance_max: 1, ..options() }).await;
    let instance = fleet.instance().await;
    instance.open(TabSpec::default()).await.unwrap();
    let first = instance.enter().await.unwrap();
    let response = api.send(Method::POST, "/evaluate", Some(json!({ "expression": "1" }))).await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(response.headers().contains_key(header::RETRY_AFTER));
    drop(first);
    assert_eq!(api.evaluate("1").await, json!(1));
    drop(instance);
    fleet.finish().await;
}

static INSERT: Statement = Statement::new(
    "test",
    "insert",
    "INSERT INTO browser_instances (id, node, tenant, spec, tabs, created_at, used_at) \
     VALUES (?1, ?2, 'local', '{}', ?3, ?4, ?4)",
);

#[tokio::test]
async fn a_thousand_instances_exist_and_no_more() {
    let fixture = testing::Fixture::sqlite();
    let store = fixture.open().await;
    let data = tempfile::tempdir().unwrap();
    let fleet = TestFleet::start_in(store.clone(), data, options()).await;
    let pages = Pages::serve(&fixture.tasks).await;
    let data = fleet.restart().await;
    let node = std::fs::read_to_string(data.path().join("browser/node")).unwrap();
    let url = pages.url("/title/here");
    store
        .write(move |tx| {
            Box::pin(async move {
                let now = jiff::Timestamp::now();
                for number in 0..1000 {
                    let tabs = format!(r#"[{{"id":"tab_{number:08x}","url":"{url}","title":"here"}}]"#);
                    tx.execute(&INSERT, params![format!("inst_{number:08x}"), &node, tabs, now]).await?;
                }
                Ok(())
            })
        })
        .await
        .unwrap();
    let fleet =
        TestFleet::start_in(store, data, BrowserOptions { instances_running_max: 3, ..options() }).await;
    assert_eq!(fleet.fleet.instances().len(), 1000);
    let error = fleet.fleet.create(InstanceSpec::new(Tenant::local())).await.unwrap_err();
    assert!(matches!(error, BrowserError::InstancesExhausted { max: 1000 }), "{error:?}");
    // One after the other wakes, and others hibernate for it.
    for number in [0, 7, 499, 998, 999] {
        let id: TabId = format!("tab_{number:08x}").parse().unwrap();
        let instance = fleet.fleet.instance_of(&id).unwrap();
        let (_in_use, tab) = instance.enter_tab(&id).await.unwrap();
        assert_eq!(tab.info().await.unwrap().title, "here");
    }
    let awake = |instance: &&Instance| instance.status() == InstanceStatus::Running;
    assert!(fleet.fleet.handles().iter().filter(awake).count() <= 3);
    fleet.restart().await;
}

#[tokio::test]
async fn five_hundred_tabs_are_open_and_no_more() {
    let fleet = TestFleet::start_with(BrowserOptions { tabs_per_instance_max: 500, ..options() }).await;
    let instance = fleet.instance().await;
    for _ in 0..500 {
        instance.open(TabSpec::default()).await.unwrap();
    }
    let error = instance.open(TabSpec::default()).await.unwrap_err();
    assert!(matches!(error, BrowserError::TabsExhausted { max: 500 }), "{error:?}");
    instance.tabs()[0].close().await;
    instance.open(TabSpec::default()).await.unwrap();
    fleet.finish().await;
}
