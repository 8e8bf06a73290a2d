//! Webhooks of a running server, verified by the library of Standard Webhooks, and managed from a shell.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what it found by panicking")]

mod support;

use std::process::{Command, Stdio};

use serde_json::{Value, json};
use support::TestServer;

#[tokio::test(flavor = "multi_thread")]
async fn an_analysis_is_followed_to_its_report_and_to_a_webhook_that_the_standard_library_verifies() {
    let server = TestServer::start(&["--set", "jobs.webhooks.allow=[\"127.0.0.0/8\"]"]);
    let directory = support::page("tests/clients");
    assert!(
        directory.join("node_modules/standardwebhooks").exists(),
        "run `scripts/setup.sh test`: the node packages are missing"
    );
    let mut command = Command::new("node");
    command.args(["webhooks.mjs", &server.base]).current_dir(directory).stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    assert!(output.status.success() && output.stdout.ends_with(b"ok\n"), "{}", support::text(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_are_managed_from_a_shell() {
    let server = TestServer::start_plain(&["--set", "jobs.webhooks.allow=[\"127.0.0.0/8\"]"]);
    let run = |args: &[&str]| {
        let mut all = vec!["jobs", "webhooks", "--server", &server.base];
        all.extend(args);
        support::run(&all)
    };
    let refused = run(&["create", "https://169.254.169.254/latest"]);
    assert!(
        !refused.status.success() && support::complaint(&refused).contains("link-local"),
        "{}",
        support::text(&refused)
    );
    let made = run(&["create", "http://127.0.0.1:1/hook", "--events", "job.failed,job.dead"]);
    let secret = String::from_utf8_lossy(&made.stdout).trim().to_owned();
    assert!(secret.starts_with("whsec_"), "{}", support::text(&made));
    let list = run(&["list", "--json"]);
    let list: Value =
        serde_json::from_slice(&list.stdout).unwrap_or_else(|_| panic!("{}", support::text(&list)));
    let webhook = &list["webhooks"][0];
    assert_eq!(webhook["events"], json!(["job.failed", "job.dead"]));
    let id = webhook["id"].as_str().unwrap();
    let ping = run(&["ping", id]);
    assert!(
        !ping.status.success() && support::complaint(&ping).contains("not reached"),
        "{}",
        support::text(&ping)
    );
    let rotated = run(&["rotate", id]);
    assert_ne!(String::from_utf8_lossy(&rotated.stdout).trim(), secret);
    let set = run(&["set", id, "--disable", "--events="]);
    assert!(String::from_utf8_lossy(&set.stdout).contains("disabled"), "{}", support::text(&set));
    let deliveries = run(&["deliveries", id]);
    assert!(
        String::from_utf8_lossy(&deliveries.stdout).contains("webhook.ping"),
        "{}",
        support::text(&deliveries)
    );
    assert!(run(&["redrive", id]).status.success());
    assert!(run(&["delete", id]).status.success());
    let empty = run(&["list"]);
    assert!(String::from_utf8_lossy(&empty.stdout).contains("no webhook"), "{}", support::text(&empty));
}
