//! Programs that end, hang, flood and idle.

use std::{path::Path, time::Duration};

use axum::http::StatusCode;
use paddock_platform::{identity::Caller, tool::ToolSource as _};
use paddock_registry::gateway::{MCP_SERVER_FAILED, MCP_SERVER_UNAVAILABLE};
use serde_json::json;

use crate::{
    harness::{fixture, start, start_toml},
    support::PATIENCE,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_killed_is_started_again() {
    let gateway = start("").await.ready().await;
    let pid: i32 = gateway.text("fix__pid").await.parse().unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let again = gateway.until_called("fix__pid").await;
    assert_ne!(again, pid.as_raw_nonzero().to_string());
    let problem = gateway.run("fix__crash", json!({})).await.unwrap_err();
    assert_eq!(problem.kind, MCP_SERVER_FAILED, "{problem}");
    assert_eq!(gateway.until_called("fix__echo").await, "hello");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_hangs_is_given_up_and_a_program_that_hangs_is_killed() {
    let gateway = start("timeout = \"500ms\"").await.ready().await;
    let pid = gateway.text("fix__pid").await;
    let problem = gateway.run("fix__hang", json!({})).await.unwrap_err();
    assert_eq!(problem.kind.status, StatusCode::GATEWAY_TIMEOUT, "{problem}");
    // It answers others: only the call hung.
    assert_eq!(gateway.text("fix__pid").await, pid);
    gateway.run("fix__freeze", json!({})).await.unwrap_err();
    let is_gone = || (!Path::new(&format!("/proc/{pid}")).exists()).then_some(());
    gateway.until("the program is killed", is_gone).await;
    assert_eq!(gateway.until_called("fix__echo").await, "hello");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_says_too_much_is_bounded() {
    let gateway = start("message_size_max = \"1MiB\"").await.ready().await;
    // Nobody waits for notifications, so they are dropped; the answer comes all the same.
    assert_eq!(gateway.text("fix__flood").await, "flooded");
    let problem = gateway.run("fix__huge", json!({})).await.unwrap_err();
    assert!(problem.detail.contains("over 1048576 bytes"), "{problem}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_writes_no_messages_is_ended_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let toml = format!(
        "[[gateway.servers]]\nname = \"fix\"\ncommand = [\"node\", \"{}\", \"junk\"]\nbackoff_max = \"1h\"",
        fixture()
    );
    let gateway = start_toml(&toml, dir).await;
    let error =
        gateway.until("it has failed", || gateway.status()[0]["error"].as_str().map(str::to_owned)).await;
    assert!(error.contains("no messages"), "{error}");
    let refused = async {
        loop {
            let problem = gateway.run("fix__echo", json!({})).await.unwrap_err();
            if problem.kind == MCP_SERVER_UNAVAILABLE && problem.retry_after.is_some() {
                return problem;
            }
        }
    };
    let problem = tokio::time::timeout(PATIENCE, refused).await.unwrap();
    assert!(problem.retry_after.unwrap() >= Duration::from_secs(1));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_is_not_there_is_explained() {
    let toml = "[[gateway.servers]]\nname = \"fix\"\ncommand = [\"/no/such/program\"]";
    let gateway = start_toml(toml, tempfile::tempdir().unwrap()).await;
    let problem = gateway.run("fix__echo", json!({})).await.unwrap_err();
    assert_eq!(problem.kind, MCP_SERVER_UNAVAILABLE);
    assert!(problem.detail.contains("cannot be run"), "{problem}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_program_is_stopped_and_started_when_it_is_needed() {
    let gateway = start("idle_after = \"100ms\"").await.ready().await;
    let is_idle = || (gateway.status()[0]["state"] == "idle").then_some(());
    gateway.until("it is idle", is_idle).await;
    assert_eq!(gateway.text("fix__echo").await, "hello");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_come_and_go_with_the_configuration() {
    let gateway = start("").await.ready().await;
    let pid = gateway.text("fix__pid").await;
    let mut options = (*gateway.registry.options.current()).clone();
    let mut second = options.gateway.servers[0].clone();
    second.name = "second".to_owned();
    options.gateway.servers.push(second);
    gateway.registry.options.replace(options.clone());
    let has_tools = || gateway.gateway.tool(&Caller::local(), "second__echo").map(drop);
    gateway.until("the second is there", has_tools).await;
    assert_eq!(gateway.text("fix__pid").await, pid, "what stays goes on undisturbed");
    options.gateway.servers.remove(0);
    gateway.registry.options.replace(options);
    let is_gone = || (!Path::new(&format!("/proc/{pid}")).exists()).then_some(());
    gateway.until("the first is gone", is_gone).await;
    assert!(gateway.run("fix__echo", json!({})).await.is_err());
    gateway.stop().await;
}
