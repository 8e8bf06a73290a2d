//! The model gateway as its clients meet it: the vendors' own SDKs, and the commands of a shell.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what it found by panicking")]

mod support;

use std::{io::Write, process::Command};

use serde_json::Value;
use support::{TestServer, page, run, text};

const PROVIDERS: &str = "llm.providers=[{ name = 'openai', url = 'sim:?seed=5' }, \
     { name = 'anthropic', dialect = 'anthropic', url = 'sim:?seed=5' }, \
     { name = 'gemini', dialect = 'gemini', url = 'sim:?seed=5', models = ['kettle', 'm'] }]";

/// Says that a test does nothing, which is a failure where its client is required.
fn skip(required: &str, reason: &str) {
    assert!(std::env::var_os(required).is_none(), "{required} is set, and {reason}");
    let _ = writeln!(std::io::stdout(), "skipped: {reason}");
}

#[test]
fn the_official_node_sdks_and_two_frameworks_work_with_every_dialect() {
    let dir = page("tests/clients");
    let has_node = Command::new("node").arg("--version").output().is_ok_and(|output| output.status.success());
    if !has_node || !dir.join("node_modules/openai").is_dir() {
        return skip("PADDOCK_REQUIRE_NODE", "`scripts/setup.sh test` installs the SDKs for node");
    }
    let output = Command::new("node")
        .args(["--test", "--test-reporter=spec", "llm.test.mjs"])
        .current_dir(dir)
        .env("PADDOCK_BIN", env!("CARGO_BIN_EXE_paddock"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn the_official_python_sdks_work_with_every_dialect() {
    let dir = page("tests/clients");
    let python = dir.join(".venv/bin/python");
    if !python.is_file() {
        return skip("PADDOCK_REQUIRE_PYTHON", "`scripts/setup.sh test` installs the SDKs for Python");
    }
    let server = TestServer::start_plain(&["--set", PROVIDERS]);
    let output = Command::new(python).arg("llm_sdk.py").arg(&server.base).current_dir(dir).output().unwrap();
    assert!(output.status.success() && output.stdout.ends_with(b"ok\n"), "{}", text(&output));
}

#[test]
fn models_are_asked_and_watched_from_a_shell() {
    let server = TestServer::start_plain(&["--set", PROVIDERS]);
    let llm = |args: &[&str]| {
        let output = run(&[&["llm", "--server", &server.base], args].concat());
        assert!(output.status.success(), "{args:?}: {}", text(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(llm(&["ask", "kettle", "[sim reply=\"Hello there\"]"]), "Hello there\n");
    let top = llm(&["top", "--once"]);
    assert!(top.contains("gemini") && top.contains("closed"), "{top}");
    assert!(llm(&["route", "kettle"]).contains("gemini/kettle"));
    assert!(llm(&["breakers", "open", "--provider", "gemini"]).contains("open by hand"));
    let refused = run(&["llm", "--server", &server.base, "ask", "kettle", "hello"]);
    assert_eq!(refused.status.code(), Some(19), "{}", text(&refused));
    assert!(llm(&["breakers", "close"]).contains("closed"));
    assert!(llm(&["usage"]).contains("kettle"));
    assert!(llm(&["usage", "--by", "provider", "--csv"]).starts_with("group,requests"));
    assert!(llm(&["routes"]).contains("no routes"));
}

#[test]
fn the_simulated_provider_is_an_upstream_of_its_own() {
    let mut sim = support::paddock()
        .args(["llm", "sim", "--listen", "127.0.0.1:0", "seed=7", "tokens=4"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(sim.stdout.as_mut().unwrap()), &mut line)
        .unwrap();
    let url = line.trim().rsplit(' ').next().unwrap().to_owned();
    let providers = format!("llm.providers=[{{ name = 'p', url = '{url}' }}]");
    let server = TestServer::start_plain(&["--set", &providers]);
    let output = run(&["llm", "--server", &server.base, "--json", "ask", "p/m", "hello"]);
    let answer: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output)));
    assert_eq!(
        (&answer["output_tokens"], &answer["model"]),
        (&Value::from(4), &Value::from("m")),
        "{answer}"
    );
    sim.kill().unwrap();
    sim.wait().unwrap();
}

#[tokio::test]
async fn what_the_edge_refuses_is_in_the_vendors_words() {
    let server = TestServer::start_plain(&["--set", "server.keys_required=true", "--set", "llm.sim=true"]);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let post = async |path: &str| {
        let request =
            client.post(format!("{}{path}", server.base)).header("content-type", "application/json");
        let response = request.body("{}").send().await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap())
    };
    let (status, body) = post("/llm/v1/chat/completions").await;
    assert_eq!((status, &body["error"]["code"]), (401, &Value::from("invalid_api_key")), "{body}");
    let (status, body) = post("/llm/v1/messages").await;
    assert_eq!((status, &body["error"]["type"]), (401, &Value::from("authentication_error")), "{body}");
    let (status, body) = post("/llm/route").await;
    assert_eq!((status, &body["title"]), (401, &Value::from("Authentication required")), "{body}");
}

#[test]
fn a_wrong_configuration_is_said_at_start() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data").display().to_string();
    let routes = "llm.routes=[{ model = 'm', targets = [{ provider = 'x' }] }]";
    let output = run(&["serve", "--listen", "127.0.0.1:0", "--data", &data, "--set", routes]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(support::complaint(&output).contains("no provider `x`"), "{}", text(&output));
}
