//! What one instance may reach: fewer hosts than the server lets pages reach.

#![expect(clippy::unwrap_used, reason = "in functions that tests share")]

#[path = "support/api.rs"]
mod api;
mod support;

use api::{Api, started};
use http::StatusCode;
use serde_json::{Value, json};
use support::TestFleet;

/// The same page of the test's server under another name, which every instance without a policy reaches.
fn elsewhere(fleet: &TestFleet) -> String {
    fleet.url("/title/elsewhere").as_str().replace("127.0.0.1", "localhost")
}

async fn start(api: &Api, isolation: &str) -> String {
    let request = json!({ "isolation": isolation, "securityPolicy": { "allowedDomains": ["127.0.0.1"] }, "browser": "chrome" });
    let (status, instance) = api.post("/instances/start", request).await;
    assert_eq!(status, StatusCode::CREATED, "{instance}");
    assert_eq!(instance["securityPolicy"], json!({ "allowedDomains": ["127.0.0.1"] }));
    instance["id"].as_str().unwrap().to_owned()
}

fn is_refused((status, problem): &(StatusCode, Value)) -> bool {
    status.is_client_error()
        && problem["detail"].as_str().is_some_and(|detail| detail.contains("allowedDomains"))
}

#[tokio::test]
async fn an_instance_reaches_only_the_hosts_that_it_may() {
    let (fleet, _service, api) = started().await;
    for isolation in ["context", "process"] {
        let id = start(&api, isolation).await;
        let opened = api.post(&format!("/instances/{id}/tabs/open"), json!({ "url": fleet.url("/") })).await;
        let tab = opened.1["tabId"].as_str().unwrap().to_owned();
        assert_eq!(api.get(&format!("/tabs/{tab}/title")).await.1["title"], json!("A page"), "{isolation}");
        let asked = json!({ "expression":
            format!("fetch('{}', {{ mode: 'no-cors' }}).then(() => 'got', () => 'refused')", elsewhere(&fleet)) });
        let (_, answer) = api.post(&format!("/tabs/{tab}/evaluate"), asked).await;
        assert_eq!(answer["result"], json!("refused"), "{isolation}");

        let go = format!("/tabs/{tab}/navigate");
        let went = api.post(&go, json!({ "url": elsewhere(&fleet) })).await;
        assert!(is_refused(&went), "{isolation}: {went:?}");
        let fetched = api.get(&format!("/download?tabId={tab}&url={}", elsewhere(&fleet))).await;
        assert!(is_refused(&fetched), "{isolation}: {fetched:?}");

        // Asleep and awake again, it is as narrow as before.
        api.post(&go, json!({ "url": fleet.url("/title/back") })).await;
        let (status, slept) = api.post(&format!("/instances/{id}/hibernate"), json!({})).await;
        assert!(status.is_success(), "{slept}");
        let went = api.post(&go, json!({ "url": elsewhere(&fleet) })).await;
        assert!(is_refused(&went), "{isolation}: {went:?}");
        assert_eq!(api.post(&go, json!({ "url": fleet.url("/title/in") })).await.0, StatusCode::OK);
        api.post(&format!("/instances/{id}/stop"), json!({})).await;
    }
    fleet.finish().await;
}

#[tokio::test]
async fn the_policy_of_one_instance_is_not_that_of_another() {
    let (fleet, _service, api) = started().await;
    let narrow = start(&api, "context").await;
    let (_, wide) = api.post("/instances/start", json!({ "securityPolicy": { "allowedDomains": [] } })).await;
    assert!(wide["securityPolicy"].is_null(), "{wide}");
    let open = async |id: &str| {
        api.post(&format!("/instances/{id}/tabs/open"), json!({ "url": elsewhere(&fleet) })).await
    };
    let refused = open(&narrow).await;
    assert!(is_refused(&refused), "{refused:?}");
    let (_, page) = open(wide["id"].as_str().unwrap()).await;
    assert_eq!(page["title"], json!("elsewhere"), "{page}");
    fleet.finish().await;
}

#[tokio::test]
async fn a_policy_that_cannot_be_kept_is_refused() {
    let (fleet, _service, api) = started().await;
    for policy in [json!({ "allowedDomains": ["not a host"] }), json!({ "allowed": ["shop.example"] })] {
        let (status, problem) = api.post("/instances/start", json!({ "securityPolicy": policy })).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
    }
    let many: Vec<String> = (0..201).map(|number| format!("h{number}.example")).collect();
    let many = json!({ "securityPolicy": { "allowedDomains": many } });
    assert_eq!(api.post("/instances/start", many).await.0, StatusCode::BAD_REQUEST);
    let other = json!({ "browser": "ghost-chrome" });
    assert_eq!(api.post("/instances/start", other).await.0, StatusCode::CONFLICT);
    fleet.finish().await;
}
