//! Agents as their users meet them: the built binary's commands and its server, projects in every language, clients that
//! nobody here wrote, and a server that is killed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what it found by panicking")]

mod clients;
mod components;
mod contract_net;
mod documented;
mod kills;
mod projects;
mod prompts;
#[path = "../support/mod.rs"]
mod support;
mod terminal;
mod traces;
mod versions;
mod watchers;

use std::io::Write as _;

use reqwest::Method;
use serde_json::Value;
use support::TestServer;

/// A server that starts no browser before somebody needs one.
fn start(flags: &[&str]) -> TestServer {
    TestServer::start(&[&["--set", "browser.warm=0"], flags].concat())
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().timeout(support::PATIENCE).build().unwrap()
}

/// What a server answers, which has to be success.
async fn call(server: &TestServer, method: Method, path: &str, body: Value) -> Value {
    let mut request = client().request(method, format!("{}{path}", server.base));
    if !body.is_null() {
        request = request.json(&body);
    }
    let response = request.send().await.unwrap();
    let status = response.status();
    let answer: Value = response.json().await.unwrap_or_default();
    assert!(status.is_success(), "{path}: {status} {answer}");
    answer
}

async fn get(server: &TestServer, path: &str) -> Value {
    call(server, Method::GET, path, Value::Null).await
}

async fn post(server: &TestServer, path: &str, body: Value) -> Value {
    call(server, Method::POST, path, body).await
}

/// `paddock agents …` against a server; it has to end well. What it printed.
fn agents(server: &TestServer, args: &[&str]) -> String {
    let output = support::paddock().args(["agents", "--server", &server.base]).args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", support::text(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Says that a test does nothing, which is a failure where what it lacks is required.
fn skip(required: &str, reason: &str) {
    assert!(std::env::var_os(required).is_none(), "{required} is set, and {reason}");
    let _ = writeln!(std::io::stdout(), "skipped: {reason}");
}
