//! The official conformance suite, and the MCP servers that nobody here wrote.

use std::{
    collections::BTreeSet,
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use serde_json::Value;

use crate::support::{self, eventually, text};

const EVERYTHING: &str = "node_modules/@modelcontextprotocol/server-everything/dist/index.js";
const CONFORMANCE: &str = "node_modules/@modelcontextprotocol/conformance/dist/index.js";
/// A directory of results ends with when it was made: `-2026-07-28T09-30-00-000Z`.
const WHEN_LENGTH: usize = 25;

fn clients() -> PathBuf {
    let directory = support::page("tests/clients");
    assert!(
        directory.join(EVERYTHING).exists(),
        "run `scripts/setup.sh test`: the node packages are missing"
    );
    directory
}

/// The reference server's program.
pub(crate) fn everything() -> PathBuf {
    clients().join(EVERYTHING)
}

/// The program of the server without sessions.
pub(crate) fn stateless() -> PathBuf {
    support::page("crates/paddock/tests/gateway/stateless.mjs")
}

/// The Node that the packages bring: the suite needs a newer one than systems have.
pub(crate) fn node() -> PathBuf {
    let at = |machine: &str| clients().join(format!("node_modules/node-linux-{machine}/bin/node"));
    ["x64", "arm64"].into_iter().map(at).find(|node| node.exists()).expect("a Node of the packages runs here")
}

/// A server over HTTP. Dropping it kills it.
pub(crate) struct Reference {
    child: Child,
    pub(crate) url: String,
}

impl Reference {
    /// The reference server: `streamableHttp` or `sse`.
    pub(crate) fn everything(speaks: &str) -> Self {
        let path = if speaks == "sse" { "sse" } else { "mcp" };
        Self::start(path, |command, port| {
            command.arg(everything()).arg(speaks).env("PORT", port.to_string());
        })
    }

    /// A server of 2026-07-28 alone, with what the suite asks of servers.
    pub(crate) fn stateless() -> Self {
        Self::start("mcp", |command, port| {
            command.arg(stateless()).arg(port.to_string());
        })
    }

    fn start(path: &str, arguments: impl FnOnce(&mut Command, u16)) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(node());
        arguments(&mut command, port);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let server = Self { child, url: format!("http://127.0.0.1:{port}/{path}") };
        eventually("the server listens", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
        server
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One thing that the suite looked at.
#[derive(Debug)]
pub(crate) struct Check {
    pub(crate) scenario: String,
    pub(crate) id: String,
    status: String,
    /// Why it failed.
    #[expect(dead_code, reason = "shown when an assertion prints the check")]
    error: String,
    /// The suite itself says that the server lacks what it would be tried on.
    pub(crate) is_untestable: bool,
}

impl Check {
    fn read(scenario: &str, check: &Value) -> Self {
        let said = |member: &str| check[member].as_str().unwrap_or_default().to_owned();
        Self {
            scenario: scenario.to_owned(),
            id: said("id"),
            status: said("status"),
            error: said("errorMessage"),
            is_untestable: check["details"]["untestable"] == true,
        }
    }

    pub(crate) fn has_passed(&self) -> bool {
        self.status == "SUCCESS"
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.status == "FAILURE"
    }
}

/// What the suite finds at a server: all that a revision of the protocol requires.
pub(crate) fn checks(url: &str, revision: &str) -> Vec<Check> {
    let results = tempfile::tempdir().unwrap();
    let mut command = Command::new(node());
    command.arg(clients().join(CONFORMANCE)).args(["server", "--url", url, "--requirements", revision]);
    command.arg("--output-dir").arg(results.path());
    let output = command.current_dir(std::env::temp_dir()).stdin(Stdio::null()).output().unwrap();
    let mut checks = Vec::new();
    let mut scenarios = 0;
    for entry in fs::read_dir(results.path()).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let scenario = name
            .strip_prefix("server-")
            .and_then(|name| name.get(..name.len().checked_sub(WHEN_LENGTH)?))
            .unwrap_or_else(|| panic!("results in `{name}`"));
        scenarios += 1;
        let Ok(found) = fs::read(entry.path().join("checks.json")) else {
            let broken =
                serde_json::json!({"id": "scenario", "status": "FAILURE", "errorMessage": "it broke off"});
            checks.push(Check::read(scenario, &broken));
            continue;
        };
        let found: Vec<Value> = serde_json::from_slice(&found).unwrap();
        checks.extend(found.iter().map(|check| Check::read(scenario, check)));
    }
    assert!(scenarios > 20, "{}", text(&output));
    checks
}

/// The checks that passed; one that is made several times counts several times.
pub(crate) fn passed(checks: &[Check]) -> BTreeSet<String> {
    let mut passed = BTreeSet::new();
    for Check { scenario, id, .. } in checks.iter().filter(|check| check.has_passed()) {
        let mut number = 1;
        while !passed.insert(format!("{scenario} {id} {number}")) {
            number += 1;
        }
    }
    passed
}
