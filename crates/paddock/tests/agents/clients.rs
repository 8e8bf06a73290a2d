//! Clients that nobody here wrote: the A2A SDK from `PyPI`, and the command line of the MCP Inspector from npm.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};

use super::{
    components::{BIDDER, deploy, upload},
    skip, start,
    support::{TestServer, page, text},
};

const INSPECTOR: &str = "node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js";

async fn start_painter() -> TestServer {
    let server = start(&[]);
    let digest = upload(&server, BIDDER).await;
    let more = json!({ "description": "Paints what it is told", "capabilities": ["paint"] });
    deploy(&server, "painter", &digest, more).await;
    server
}

async fn output_of(mut command: Command) -> Output {
    command.current_dir(page("tests/clients")).stdin(Stdio::null());
    tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_a2a_sdk_reads_the_card_and_talks_to_an_agent() {
    let python = page("tests/clients").join(".venv/bin/python");
    let has_sdk = python.is_file() && {
        let mut import = Command::new(&python);
        import.args(["-c", "import a2a"]);
        output_of(import).await.status.success()
    };
    if !has_sdk {
        return skip("PADDOCK_REQUIRE_PYTHON", "`scripts/setup.sh test` installs the A2A SDK for Python");
    }
    let server = start_painter().await;
    let mut command = Command::new(python);
    command.args(["a2a_sdk.py", &server.base, "painter"]);
    let output = output_of(command).await;
    assert!(output.status.success() && output.stdout.ends_with(b"ok\n"), "{}", text(&output));
}

/// The Node that the packages bring: the Inspector needs a newer one than systems have.
fn node() -> Option<PathBuf> {
    let at =
        |machine: &str| page("tests/clients").join(format!("node_modules/node-linux-{machine}/bin/node"));
    ["x64", "arm64"].into_iter().map(at).find(|node| node.exists())
}

/// What the Inspector prints of a request to the server.
async fn inspect(node: &Path, server: &TestServer, args: &[&str]) -> Value {
    // It keeps what it was given in the home directory.
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(node);
    command.env("HOME", home.path());
    command.args([INSPECTOR, "--cli", &format!("{}/mcp", server.base), "--transport", "http"]).args(args);
    let output = output_of(command).await;
    assert!(output.status.success(), "{}", text(&output));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output)))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mcp_inspector_lists_the_tools_of_agents_and_asks_one() {
    let node = node().filter(|_| page("tests/clients").join(INSPECTOR).is_file());
    let Some(node) = node else {
        return skip("PADDOCK_REQUIRE_NODE", "`scripts/setup.sh test` installs the MCP Inspector");
    };
    let server = start_painter().await;
    let listed = inspect(&node, &server, &["--method", "tools/list"]).await;
    let names: Vec<&str> =
        listed["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    for tool in ["agents_list", "agents_ask", "agents_execute", "agents_contract_net", "agent__painter"] {
        assert!(names.contains(&tool), "{tool} is not among {names:?}");
    }
    let message =
        r#"message={"receivers": ["painter"], "content": {"colour": "green"}, "conversation": "fence"}"#;
    let args = ["--method", "tools/call", "--tool-name", "agents_ask", "--tool-arg", message];
    let asked = inspect(&node, &server, &args).await;
    let answer = &asked["structuredContent"];
    assert_eq!(
        (&answer["answer"]["performative"], &answer["answer"]["content"], &answer["conversation"]),
        (&json!("inform"), &json!({ "colour": "green" }), &json!("fence")),
        "{asked}"
    );
}
