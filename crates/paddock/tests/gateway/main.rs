//! The gateway as its users meet it: MCP servers that nobody here wrote behind a running Paddock, the official
//! conformance suite through it, and the commands that use it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what it found by panicking")]

mod conformance;
mod entries;
mod suite;
#[path = "../support/mod.rs"]
mod support;

use std::{path::Path, process::Command};

use serde_json::{Value, json};
use suite::{everything, node};
use support::{TestServer, eventually, paddock, run, text};

const SECRET: &str = "s3cret-of-the-tests";

fn start(servers: &str) -> TestServer {
    let servers = format!("registry.gateway.servers=[{servers}]");
    TestServer::start_plain(&["--set", &servers, "--set", "browser.warm=0", "--set", "telemetry.log=debug"])
}

fn get(url: &str) -> Value {
    let output = Command::new("curl").args(["-s", url]).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

fn wait_for_tools(server: &TestServer, count: usize) {
    eventually("the tools are known", || {
        let servers = get(&format!("{}/registry/gateway/servers", server.base));
        let servers = servers["servers"].as_array()?.clone();
        (servers.iter().filter(|it| it["tools"].as_u64() > Some(0)).count() == count).then_some(())
    });
}

#[test]
fn tools_of_other_servers_are_called_from_a_shell_over_mcp_and_as_jobs() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    std::fs::write(&secret, SECRET).unwrap();
    let server = start(&format!(
        "{{ name = 'every', command = ['{0}', '{1}', 'stdio'], secrets = {{ API_KEY = 'file:{2}' }} }}, \
         {{ name = 'leaky', command = ['{0}', '{3}'], secrets = {{ API_KEY = 'file:{2}' }} }}",
        node().display(),
        everything().display(),
        secret.display(),
        support::page("crates/registry/tests/gateway/server.mjs").display()
    ));
    wait_for_tools(&server, 2);
    let command = |args: &[&str]| {
        let output = paddock().args(args).args(["--server", &server.base]).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", text(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(command(&["registry", "servers"]).contains("ready"));
    assert!(command(&["registry", "tools", "ecko"]).contains("every__echo"));
    let said = command(&["registry", "call", "every__echo", r#"{"message": "hello"}"#]);
    assert!(said.contains("hello"), "{said}");
    let environment = command(&["registry", "call", "every__get-env"]);
    assert!(environment.contains("[secret]") && !environment.contains(SECRET), "{environment}");
    command(&["registry", "call", "leaky__env"]);
    let mut log = String::new();
    eventually("a program has said its key", || {
        log.push_str(&server.rest());
        log.contains("the key is [secret]").then_some(())
    });
    let missing = run(&["registry", "call", "every__nothing", "--server", &server.base]);
    assert!(!missing.status.success(), "{}", text(&missing));

    let job = json!({"tool": "every__echo", "input": {"message": "as a job"}}).to_string();
    let output = Command::new("curl")
        .args(["-s", "-H", "content-type: application/json", "-H", "prefer: wait=30", "-d", &job])
        .arg(format!("{}/jobs", server.base))
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("as a job"), "{}", text(&output));

    let listed = get(&format!("{}/tools", server.base));
    let names: Vec<&str> =
        listed["tools"].as_array().unwrap().iter().filter_map(|tool| tool["name"].as_str()).collect();
    assert!(names.contains(&"every__echo"), "{names:?}");
    log.push_str(&logged(server));
    assert!(!log.contains(SECRET));
}

/// What a server has written to its log until it ended.
fn logged(mut server: TestServer) -> String {
    server.signal(rustix::process::Signal::TERM);
    server.wait();
    server.rest()
}

#[test]
fn no_program_outlives_the_server() {
    let server = start(&format!(
        "{{ name = 'every', command = ['{}', '{}', 'stdio'] }}",
        node().display(),
        everything().display()
    ));
    wait_for_tools(&server, 1);
    let children =
        std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", server.pid().as_raw_nonzero()))
            .unwrap();
    let programs: Vec<String> = children
        .split_whitespace()
        .filter(|pid| {
            std::fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| String::from_utf8_lossy(&line).contains("server-everything"))
        })
        .map(str::to_owned)
        .collect();
    server.signal(rustix::process::Signal::KILL);
    for pid in programs {
        eventually("the program has ended", || {
            let line = std::fs::read(Path::new("/proc").join(&pid).join("cmdline")).unwrap_or_default();
            line.is_empty().then_some(())
        });
    }
}
