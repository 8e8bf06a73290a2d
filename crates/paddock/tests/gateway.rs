//! The gateway as its users meet it: MCP servers that nobody here wrote behind a running Paddock, the official
//! conformance suite through it, and the commands that use it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what it found by panicking")]

mod support;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};
use support::{TestServer, eventually, paddock, run, text};

const EVERYTHING: &str = "node_modules/@modelcontextprotocol/server-everything/dist/index.js";
const CONFORMANCE: &str = "node_modules/@modelcontextprotocol/conformance/dist/index.js";
const SECRET: &str = "s3cret-of-the-tests";

fn clients() -> PathBuf {
    let directory = support::page("tests/clients");
    assert!(
        directory.join(EVERYTHING).exists(),
        "run `scripts/setup.sh test`: the node packages are missing"
    );
    directory
}

/// The Node that the packages bring: the suite needs a newer one than systems have.
fn node() -> PathBuf {
    let at = |machine: &str| clients().join(format!("node_modules/node-linux-{machine}/bin/node"));
    ["x64", "arm64"].into_iter().map(at).find(|node| node.exists()).expect("a Node of the packages runs here")
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The reference server over HTTP. Dropping it kills it.
struct Everything {
    child: Child,
    url: String,
}

impl Everything {
    /// `streamableHttp` or `sse`.
    fn start(speaks: &str) -> Self {
        let port = free_port();
        let mut command = Command::new(node());
        command.arg(clients().join(EVERYTHING)).arg(speaks).env("PORT", port.to_string());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        eventually("the reference server listens", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
        Self {
            child,
            url: format!("http://127.0.0.1:{port}/{}", if speaks == "sse" { "sse" } else { "mcp" }),
        }
    }
}

impl Drop for Everything {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The checks of the suite that a server passes, as `scenario: passed`.
fn passed(url: &str) -> BTreeSet<String> {
    let mut command = Command::new(node());
    command.arg(clients().join(CONFORMANCE)).args(["server", "--url", url, "--requirements", "2025-11-25"]);
    let output = command.current_dir(std::env::temp_dir()).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let summary = said.split("=== SUMMARY ===").nth(1).unwrap_or_else(|| panic!("{}", text(&output)));
    let mut passed = BTreeSet::new();
    for line in summary.lines() {
        let Some((scenario, counts)) = line.split_once(": ") else { continue };
        let count = counts.split_once(" passed").and_then(|(count, _)| count.parse::<usize>().ok());
        let scenario = scenario.trim_start_matches(|c: char| !c.is_ascii_alphabetic());
        for number in 1..=count.unwrap_or_default() {
            passed.insert(format!("{scenario} {number}"));
        }
    }
    assert!(passed.len() > 20, "{said}");
    passed
}

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
fn the_conformance_suite_passes_as_much_through_the_gateway_as_without_it() {
    let (everything, legacy) = (Everything::start("streamableHttp"), Everything::start("sse"));
    let program = clients().join(EVERYTHING);
    let server = start(&format!(
        "{{ name = 'remote', url = '{}', sessions_max = 200 }}, \
         {{ name = 'legacy', url = '{}', transport = 'sse', sessions_max = 200 }}, \
         {{ name = 'program', command = ['{}', '{}', 'stdio'], sessions_max = 200 }}",
        everything.url,
        legacy.url,
        node().display(),
        program.display()
    ));
    let without = passed(&everything.url);
    for name in ["remote", "legacy", "program"] {
        let through = passed(&format!("{}/mcp/{name}", server.base));
        // Not scored: streams that are taken up again by event ids, which a program or an older server does not give.
        // And what a stream says, where an answer was there at once and came as JSON, which is as right.
        let is_scored = |check: &&String| {
            !check.starts_with("server-sse-polling") && *check != "server-sse-multiple-streams 2"
        };
        let lost: Vec<&String> = without.difference(&through).filter(is_scored).collect();
        assert!(lost.is_empty(), "/mcp/{name} loses {lost:?}");
    }
}

/// Scenarios that ask for the tools, prompts and resources of the suite's own server, which Paddock has not.
const OF_FIXTURES: &[&str] = &[
    "tools-call-",
    "resources-",
    "prompts-",
    "completion-",
    "elicitation-",
    "logging-",
    "json-schema-",
    "server-sse-",
];

#[test]
fn the_conformance_suite_passes_on_paddocks_own_tools_but_for_its_fixtures() {
    let server = TestServer::start_plain(&["--set", "browser.warm=0"]);
    let passed = passed(&format!("{}/mcp", server.base));
    for scenario in ["server-initialize", "ping", "tools-list", "dns-rebinding-protection"] {
        assert!(OF_FIXTURES.iter().all(|prefix| !scenario.starts_with(prefix)));
        assert!(passed.contains(&format!("{scenario} 2")), "{scenario}: {passed:?}");
    }
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
        clients().join(EVERYTHING).display(),
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
        clients().join(EVERYTHING).display()
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
