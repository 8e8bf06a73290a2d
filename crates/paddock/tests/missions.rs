//! Missions and schedules as their users meet them: from a shell, over HTTP, and after the server was killed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what it found by panicking")]

mod support;

use std::fs;

use reqwest::StatusCode;
use serde_json::{Value, json};
use support::{PATIENCE, TestServer, paddock, text};

const ASK: &str = "
name: ask
inputs: { type: object, required: [text] }
steps:
  - { name: look, tool: jobs_queues }
  - name: sure
    needs: [look]
    approval: { message: \"${inputs.text}?\" }
  - name: again
    if: length(steps.look.output.queues) > 0
    needs: [sure]
    tool: jobs_queues
output: { by: \"${steps.sure.output.by}\", queues: \"${length(steps.again.output.queues)}\" }
";

fn client() -> reqwest::Client {
    reqwest::Client::builder().timeout(PATIENCE).build().unwrap()
}

fn server() -> TestServer {
    TestServer::start(&["--set", "browser.warm=0"])
}

/// Runs a command that succeeds; what it prints.
fn run(server: &TestServer, args: &[&str]) -> String {
    let mut command = paddock();
    command.args(args).args(["--server", &server.base]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", text(&output));
    String::from_utf8(output.stdout).unwrap()
}

async fn mission(server: &TestServer, id: &str) -> Value {
    client().get(format!("{}/missions/{id}", server.base)).send().await.unwrap().json().await.unwrap()
}

async fn until_asked(server: &TestServer, id: &str) {
    while mission(server, id).await["steps"][1]["state"] != "waiting" {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_mission_is_checked_run_decided_and_drawn_from_a_shell() {
    let server = server();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ask.yaml");
    fs::write(&file, ASK).unwrap();
    let file = file.to_str().unwrap();
    assert!(run(&server, &["missions", "validate", file]).contains("no mistakes"));
    assert_eq!(run(&server, &["missions", "save", file]).trim(), "ask@1");
    assert!(run(&server, &["missions", "definitions"]).contains("ask"));
    let id = run(&server, &["missions", "run", file, "--input", "text=Go on", "--detach"]).trim().to_owned();
    until_asked(&server, &id).await;
    assert!(run(&server, &["missions", "approvals"]).contains("Go on?"));
    assert!(run(&server, &["missions", "list"]).contains("waits for a person"));
    run(&server, &["missions", "approve", &id, "--comment", "fine"]);
    let output: Value = serde_json::from_str(&run(&server, &["missions", "watch", &id])).unwrap();
    assert_eq!(output["by"], "local");
    assert!(output["queues"].as_u64().unwrap() > 0);
    let picture = directory.path().join("ask.svg");
    assert!(
        run(&server, &["missions", "show", &id, "--graph", picture.to_str().unwrap()]).contains("succeeded")
    );
    assert!(fs::read_to_string(picture).unwrap().starts_with("<svg"));
}

#[tokio::test]
async fn every_mistake_of_a_definition_is_told() {
    let server = server();
    let wrong = "name: wrong\nsteps:\n  - { name: a, tool: jobs_quues }\n  - { name: b, tool: jobs_get, input: { ident: x } }\n";
    let request = client().post(format!("{}/missions/definitions", server.base));
    let response = request.header("content-type", "application/yaml").body(wrong).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let problem: Value = response.json().await.unwrap();
    assert_eq!(problem["type"], "urn:paddock:problem:mission-invalid");
    let errors = problem["errors"].as_array().unwrap();
    assert!(errors.iter().any(|error| error["step"] == "a" && error["field"] == "tool"), "{problem}");
    assert!(errors.iter().any(|error| error["step"] == "b"), "{problem}");

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("wrong.yaml");
    fs::write(&file, wrong).unwrap();
    let mut command = paddock();
    command.args(["missions", "validate", file.to_str().unwrap(), "--server", &server.base]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(19), "{}", text(&output));
    assert!(String::from_utf8(output.stdout).unwrap().contains("step `a`: `tool`"));
}

#[tokio::test]
async fn a_step_asks_an_agent_and_the_next_one_has_its_answer() {
    const REVIEWER: &str =
        "---\nname: reviewer\nmodel: sim\n---\nYou review pages.\n\n[sim reply=\"{{0}} needs a price\"]\n";
    const SUMMARY: &str = "---\nname: editor\nmodel: sim\ncapabilities: [summarise]\n---\nYou sum up.\n\n[sim reply=\"Of {{0}}\"]\n";
    let server = TestServer::start(&["--set", "browser.warm=0", "--set", "llm.sim=true"]);
    let directory = tempfile::tempdir().unwrap();
    for (name, definition) in [("reviewer", REVIEWER), ("editor", SUMMARY)] {
        let file = directory.path().join(format!("{name}.md"));
        fs::write(&file, definition).unwrap();
        assert_eq!(run(&server, &["agents", "deploy", file.to_str().unwrap()]).trim(), format!("{name}@1"));
    }
    let file = support::page("examples/missions/review-pages.yaml");
    let urls = "urls=[\"https://a.example/\", \"https://b.example/\"]";
    let output = run(&server, &["missions", "run", file.to_str().unwrap(), "--input", urls]);
    let output: Value = serde_json::from_str(&output).unwrap_or_else(|_| panic!("{output}"));
    assert_eq!(output["pages"], 2);
    let first = output["first"].as_str().unwrap();
    for said in ["Of ", "https://a.example/ needs a price", "https://b.example/ needs a price"] {
        assert!(first.contains(said), "{first}");
    }
    let missions: Value =
        client().get(format!("{}/missions", server.base)).send().await.unwrap().json().await.unwrap();
    let id = missions["items"][0]["id"].as_str().unwrap();
    let review = format!("{}/missions/{id}/steps/review", server.base);
    let runs: Value = client().get(review).send().await.unwrap().json().await.unwrap();
    // What each agent did is in its conversation.
    let conversation = runs["runs"][0]["output"]["conversation"].as_str().unwrap_or_else(|| panic!("{runs}"));
    let trace = run(&server, &["agents", "trace", conversation]);
    assert!(trace.contains("reviewer") && trace.contains("inform"), "{trace}");
}

#[tokio::test]
async fn a_mission_is_watched_as_it_changes_and_told_of_if_it_was_slow() {
    let server = TestServer::start(&["--set", "browser.warm=0", "--set", "jobs.missions.slow=0s"]);
    let start = json!({"definition": {"name": "two", "steps": [
        {"name": "one", "tool": "jobs_queues"}, {"name": "two", "tool": "jobs_queues", "needs": ["one"]},
    ]}});
    let started = client().post(format!("{}/missions", server.base)).json(&start).send().await.unwrap();
    assert_eq!(started.status(), StatusCode::ACCEPTED);
    let location = started.headers()["location"].to_str().unwrap().to_owned();
    let events = client().get(format!("{}{location}/events", server.base)).send().await.unwrap();
    // The stream ends with the mission.
    let told = events.text().await.unwrap();
    let last = told.lines().rfind(|line| line.starts_with("data:")).unwrap();
    let last: Value = serde_json::from_str(last.trim_start_matches("data:").trim()).unwrap();
    assert_eq!(last["state"], "succeeded");
    let slow = server.line_with("slow mission");
    assert!(slow.contains("AI/Mission/Completed") && slow.contains("succeeded"), "{slow}");
    let picture = client().get(format!("{}{location}/graph.svg", server.base)).send().await.unwrap();
    assert_eq!(picture.headers()["content-type"], "image/svg+xml");
    assert!(picture.headers()["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
}

#[tokio::test]
async fn schedules_are_made_and_fired_from_a_shell() {
    let server = server();
    let schedules = |args: &[&str]| run(&server, &[&["jobs", "schedules"], args].concat());
    assert_eq!(
        schedules(&["preview", "--cron", "0 3 * * *", "--time-zone", "Europe/Berlin"]).lines().count(),
        5
    );
    schedules(&["put", "nightly", "--cron", "0 3 * * *", "--tool", "jobs_queues"]);
    assert!(schedules(&["list"]).contains("nightly"));
    let job = schedules(&["fire", "nightly"]).trim().to_owned();
    assert!(run(&server, &["jobs", "watch", &job]).contains("queues"));
    assert!(schedules(&["pause", "nightly"]).contains("paused"));
    schedules(&["remove", "nightly"]);
    assert!(!schedules(&["list"]).contains("nightly"));
}
