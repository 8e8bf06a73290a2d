//! The servers' tools in the toolbox, and who may call them.

use std::time::{Duration, Instant};

use axum::http::StatusCode;
use paddock_platform::{
    identity::Caller,
    problem::{OVERLOADED, RATE_LIMITED},
    tool::{ToolContext, ToolSource as _},
};
use paddock_registry::gateway::TOOL_FAILED;
use serde_json::json;

use crate::{
    harness::{SECRET, call, start, start_with, value},
    support::{PATIENCE, caller},
};

#[tokio::test(flavor = "multi_thread")]
async fn tools_of_a_program_are_called_through_the_toolbox() {
    let gateway = start("").await.ready().await;
    assert_eq!(gateway.text("fix__echo").await, "hello");
    let problem = gateway.run("fix__fail", json!({})).await.unwrap_err();
    assert_eq!((problem.kind, problem.detail.as_str()), (TOOL_FAILED, "it is out of paper"));
    let problem = gateway.run("fix__nothing", json!({})).await.unwrap_err();
    assert_eq!(problem.kind, TOOL_FAILED, "{problem}");
    let mut context = ToolContext::new(Caller::local(), PATIENCE);
    let (progress, mut steps) = paddock_platform::tool::Progress::watched();
    context.progress = progress;
    gateway.toolbox.run(context, "fix__steps", json!({})).await.unwrap();
    assert_eq!(steps.borrow_and_update().message, "step 3");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_reach_the_program_and_nobody_else() {
    let gateway = start("").await.ready().await;
    let environment = gateway.text("fix__env").await;
    assert!(environment.contains(r#""API_KEY":"[secret]""#), "{environment}");
    let session = gateway.session().await;
    let (_, _, body) = gateway.post(Some(&session), call(1, "env")).await;
    assert!(body.contains("[secret]") && !body.contains(SECRET), "{body}");
    assert!(!environment.contains("CARGO_MANIFEST_DIR"), "the server's own environment is not the program's");
    assert!(!gateway.status().to_string().contains(SECRET));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_that_a_caller_may_not_call_are_not_there() {
    let rules = "rules = [{ tenants = [\"acme\"], allow = [\"fix__e*\"] }]";
    let gateway = start_with(rules, "tools = { deny = [\"env\", \"crash\"] }").await.ready().await;
    let session = gateway.session().await;
    let (_, _, body) =
        gateway.post(Some(&session), json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})).await;
    assert!(body.contains("\"echo\"") && !body.contains("\"env\""), "{body}");
    let (_, _, body) = gateway.post(Some(&session), call(2, "env")).await;
    assert_eq!(value(&body)["error"]["code"], -32602);
    assert!(gateway.run("fix__crash", json!({})).await.is_err());

    let acme = || caller("acme", &["registry:call"]);
    let listed: Vec<String> = gateway.gateway.listed(&acme()).iter().map(|tool| tool.name.clone()).collect();
    assert_eq!(listed, ["fix__echo"]);
    assert!(gateway.run_as(acme(), "fix__echo", json!({"text": "x"})).await.is_ok());
    let problem = gateway.run_as(acme(), "fix__pid", json!({})).await.unwrap_err();
    assert_eq!(problem.kind.status, StatusCode::NOT_FOUND);
    let reader = caller("acme", &["registry:read"]);
    assert!(gateway.gateway.listed(&reader).is_empty());
    let problem = gateway.run_as(reader, "fix__echo", json!({})).await.unwrap_err();
    assert_eq!(problem.kind.status, StatusCode::FORBIDDEN);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_beyond_the_bounds_are_refused_at_once() {
    let bounds = "concurrency_max = 2\nconcurrency_per_key_max = 1";
    let gateway = start(bounds).await.ready().await;
    let key = |name: &str| caller(name, &["registry:call"]);
    let (acme, other) = (key("acme"), key("other"));
    let hanging = |caller: Caller| Box::pin(gateway.run_as(caller, "fix__hang", json!({})));
    let (mut first, mut second) = (hanging(acme.clone()), hanging(other));
    let both = async {
        loop {
            tokio::select! {
                _ = &mut first => panic!("it hangs"),
                _ = &mut second => panic!("it hangs"),
                () = tokio::time::sleep(Duration::from_millis(10)) => {}
            }
            if gateway.status()[0]["calls"] == 2 {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, both).await.unwrap();
    let problem = gateway.run("fix__echo", json!({})).await.unwrap_err();
    assert_eq!((problem.kind, problem.retry_after.is_some()), (OVERLOADED, true));
    drop(second);
    let problem = gateway.run_as(acme.clone(), "fix__echo", json!({})).await.unwrap_err();
    assert_eq!((problem.kind, problem.retry_after.is_some()), (RATE_LIMITED, true));
    drop(first);
    assert!(gateway.run_as(acme, "fix__echo", json!({"text": "x"})).await.is_ok());
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_with_many_tools_searches_for_those_that_it_needs() {
    let gateway = start_with("tools_listed_max = 3", "").await.ready().await;
    let listed: Vec<String> =
        gateway.gateway.listed(&Caller::local()).iter().map(|tool| tool.name.clone()).collect();
    assert_eq!(listed, ["tools_search", "tools_call"]);
    let found = gateway.run("tools_search", json!({"query": "ecko", "limit": 2})).await.unwrap().value;
    assert_eq!(found["tools"][0]["name"], "fix__echo", "{found}");
    assert_eq!(found["tools"][0]["input_schema"]["type"], "object");
    let called = gateway
        .run("tools_call", json!({"name": "fix__echo", "arguments": {"text": "found"}}))
        .await
        .unwrap();
    assert_eq!(called.value["content"][0]["text"], "found");
    assert_eq!(gateway.run("tools_search", json!({"words": 1})).await.unwrap_err().kind.status, 400);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_written_into_the_log() {
    let gateway = start("").await.ready().await;
    gateway.run("fix__echo", json!({"text": "x"})).await.unwrap();
    gateway.run("fix__fail", json!({})).await.unwrap_err();
    let started = Instant::now();
    loop {
        let log = gateway.registry.get("/registry/audit").await.json();
        let calls: Vec<(&str, &str)> = log["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|record| record["event"] == "tool.call")
            .map(|record| (record["target"].as_str().unwrap(), record["detail"]["outcome"].as_str().unwrap()))
            .collect();
        if calls == [("fix__fail", "tool_error"), ("fix__echo", "ok")] {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "{log}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    gateway.stop().await;
}
