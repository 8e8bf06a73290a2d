//! The model gateway as its clients meet it: the vendors' own SDKs, and the commands of a shell.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what it found by panicking")]

mod support;

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Instant,
};

use rustix::process::Signal;
use serde_json::{Value, json};
use support::{PATIENCE, TestServer, TestSite, page, run, text};

const PROVIDERS: &str = "llm.providers=[{ name = 'openai', url = 'sim:?seed=5' }, \
     { name = 'anthropic', dialect = 'anthropic', url = 'sim:?seed=5' }, \
     { name = 'gemini', dialect = 'gemini', url = 'sim:?seed=5', models = ['kettle', 'm'] }, \
     { name = 'hesitant-one', url = 'sim:?seed=189&limit=0.5&retry_after=300ms' }, \
     { name = 'hesitant-two', url = 'sim:?seed=189&limit=0.5&retry_after=300ms' }, \
     { name = 'failing', url = 'sim:?error=1' }]";

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
    // The gateway waits for no place, so that its callers have to.
    let server = TestServer::start_plain(&["--set", PROVIDERS, "--set", "llm.wait_max=0s"]);
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

/// The simulated provider as a server. Dropping it kills it.
struct Sim {
    child: Child,
    url: String,
}

impl Sim {
    fn start(options: &[&str]) -> Self {
        let mut child = support::paddock()
            .args(["llm", "sim", "--listen", "127.0.0.1:0"])
            .args(options)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        Self { child, url: line.trim().rsplit(' ').next().unwrap().to_owned() }
    }

    /// How many answers it has begun, and how many it gave again.
    async fn answers(&self) -> (u64, u64) {
        let stats: Value =
            client().get(format!("{}/stats", self.url)).send().await.unwrap().json().await.unwrap();
        (stats["answers"].as_u64().unwrap(), stats["replayed"].as_u64().unwrap())
    }

    fn as_provider(&self) -> String {
        format!("llm.providers=[{{ name = 'p', url = '{}' }}]", self.url)
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap()
}

#[test]
fn the_simulated_provider_is_an_upstream_of_its_own() {
    let sim = Sim::start(&["seed=7", "tokens=4"]);
    let server = TestServer::start_plain(&["--set", &sim.as_provider()]);
    let output = run(&["llm", "--server", &server.base, "--json", "ask", "p/m", "hello"]);
    let answer: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output)));
    assert_eq!(
        (&answer["output_tokens"], &answer["model"]),
        (&Value::from(4), &Value::from("m")),
        "{answer}"
    );
}

#[tokio::test]
async fn a_call_that_is_a_job_survives_a_kill_and_is_billed_once() {
    let sim = Sim::start(&["latency=1h"]);
    let flags = ["--set", &sim.as_provider(), "--set", "browser.warm=0"];
    let mut server = TestServer::start_plain(&flags);
    let body =
        json!({"model": "p/m", "messages": [{"role": "user", "content": "[sim reply=\"Still here\"]"}]});
    let call =
        client().post(format!("{}/llm/v1/chat/completions", server.base)).header("prefer", "respond-async");
    let accepted = call.json(&body).send().await.unwrap();
    assert_eq!(accepted.status(), 202);
    let place = accepted.headers()["location"].to_str().unwrap().to_owned();
    let started = Instant::now();
    while sim.answers().await.0 == 0 {
        assert!(started.elapsed() < PATIENCE, "the call never came to the provider");
    }
    // The provider works on it, and nobody will hear how that went.
    server.signal(Signal::KILL);
    server.wait();
    let data = server.data.clone();
    let again = TestServer::start_on_with(&data, &flags);
    let answered =
        client().get(format!("{}{place}", again.base)).header("prefer", "wait=80").send().await.unwrap();
    assert_eq!(answered.status(), 200);
    let answer: Value = answered.json().await.unwrap();
    assert_eq!(answer["choices"][0]["message"]["content"], "Still here", "{answer}");
    assert_eq!(sim.answers().await, (1, 1), "it was billed once");
    let usage = client().get(format!("{}/llm/usage?group=tenant", again.base)).send().await.unwrap();
    let usage: Value = usage.json().await.unwrap();
    assert_eq!(usage["rows"][0]["requests"], 1, "{usage}");
    assert_eq!(usage["rows"][0]["output_tokens"], answer["usage"]["completion_tokens"]);
}

#[tokio::test]
async fn a_batch_survives_a_kill_and_asks_no_line_twice() {
    let sim = Sim::start(&["latency=100ms"]);
    let flags =
        ["--set", &sim.as_provider(), "--set", "browser.warm=0", "--set", "llm.batch.concurrency_max=2"];
    let mut server = TestServer::start_plain(&flags);
    let lines = (0..40).map(|number| {
        let body = json!({"model": "p/m", "messages": [{"role": "user", "content": format!("number {number}")}]});
        json!({"custom_id": number.to_string(), "method": "POST", "url": "/v1/chat/completions", "body": body}).to_string()
    });
    let lines: Vec<String> = lines.collect();
    let created =
        client().post(format!("{}/llm/batches", server.base)).header("content-type", "application/jsonl");
    let batch: Value = created.body(lines.join("\n")).send().await.unwrap().json().await.unwrap();
    let started = Instant::now();
    while sim.answers().await.0 < 4 {
        assert!(started.elapsed() < PATIENCE, "{batch}");
    }
    server.signal(Signal::KILL);
    server.wait();
    let data = server.data.clone();
    let again = TestServer::start_on_with(&data, &flags);
    let place = format!("{}/llm/v1/batches/{}", again.base, batch["id"].as_str().unwrap());
    let ended = loop {
        let batch: Value = client().get(&place).send().await.unwrap().json().await.unwrap();
        if batch["status"] == "completed" {
            break batch;
        }
        assert!(started.elapsed() < PATIENCE, "{batch}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    };
    assert_eq!(ended["request_counts"], json!({"total": 40, "completed": 40, "failed": 0}));
    let file = format!("{}/llm/v1/files/{}/content", again.base, ended["output_file_id"].as_str().unwrap());
    let content = client().get(file).send().await.unwrap().text().await.unwrap();
    assert_eq!(content.lines().count(), 40);
    assert_eq!(sim.answers().await.0, 40, "each line was billed once");
}

/// The value of a metric with these labels, whatever others it has.
async fn metric(server: &TestServer, name: &str, labels: &[&str]) -> Option<f64> {
    let metrics =
        client().get(format!("{}/metrics", server.base)).send().await.unwrap().text().await.unwrap();
    let line = metrics.lines().find(|line| {
        let rest = line.strip_prefix(name).filter(|rest| rest.starts_with(['{', ' ']));
        rest.is_some_and(|rest| labels.iter().all(|label| rest.contains(*label)))
    })?;
    line.rsplit_once(' ')?.1.parse().ok()
}

/// Waits until a metric has a value: they are rendered once a second.
async fn metric_becomes(server: &TestServer, name: &str, labels: &[&str], value: f64) {
    let started = Instant::now();
    loop {
        let now = metric(server, name, labels).await;
        if now.is_some_and(|now| (now - value).abs() < f64::EPSILON) {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "{name} {labels:?} is {now:?} and not {value}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

/// A member of a message of a collector's protocol (OTLP), in Protocol Buffers' encoding.
fn member(tag: u8, bytes: &[u8]) -> Vec<u8> {
    [&[tag, u8::try_from(bytes.len()).unwrap()][..], bytes].concat()
}

/// An attribute that is a text, as it is in a span on its way to a collector.
fn text_attribute(key: &str, value: &str) -> Vec<u8> {
    [member(0x0a, key.as_bytes()), member(0x12, &member(0x0a, value.as_bytes()))].concat()
}

/// An attribute that is a number below 128.
fn number_attribute(key: &str, value: u8) -> Vec<u8> {
    [member(0x0a, key.as_bytes()), member(0x12, &[0x18, value])].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_seen_in_the_words_of_open_telemetry() {
    let received = Arc::new(Mutex::new(Vec::<u8>::new()));
    let sink = Arc::clone(&received);
    let collect = async move |body: axum::body::Bytes| sink.lock().unwrap().extend_from_slice(&body);
    let routes = axum::Router::new().route("/v1/traces", axum::routing::post(collect));
    let collector = TestSite::start(routes).await;
    let otlp = format!("telemetry.otlp={}", collector.base);
    let mut server = TestServer::start_plain(&["--set", PROVIDERS, "--set", &otlp]);
    let ask = async |body: Value| {
        let call = client()
            .post(format!("{}/llm/v1/chat/completions", server.base))
            .header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        call.json(&body).send().await.unwrap().status().as_u16()
    };
    let messages = json!([{"role": "user", "content": "[sim reply=\"Hello there\"]"}]);
    assert_eq!(ask(json!({"model": "gemini/kettle", "max_tokens": 77, "messages": messages})).await, 200);
    assert_eq!(ask(json!({"model": "failing/pot", "messages": messages})).await, 502);

    let of_call = ["gen_ai_provider_name=\"gemini\"", "gen_ai_request_model=\"kettle\""];
    for name in
        ["gen_ai_client_operation_duration_seconds_count", "gen_ai_server_time_to_first_token_seconds_count"]
    {
        metric_becomes(&server, name, &of_call, 1.0).await;
    }
    let tokens_out = [of_call[0], of_call[1], "gen_ai_token_type=\"output\""];
    metric_becomes(&server, "gen_ai_client_token_usage_sum", &tokens_out, 2.0).await;

    server.signal(Signal::TERM);
    server.wait();
    let received = received.lock().unwrap().clone();
    let count = |bytes: &[u8]| received.windows(bytes.len()).filter(|part| *part == bytes).count();
    for (key, value) in [
        ("gen_ai.operation.name", "chat"),
        ("gen_ai.request.model", "gemini/kettle"),
        ("gen_ai.response.model", "kettle"),
        ("gen_ai.provider.name", "gemini"),
        ("paddock.llm.credential", "none"),
        ("error.type", "provider_failed"),
    ] {
        assert!(count(&text_attribute(key, value)) > 0, "{key}: {value}");
    }
    for (key, value) in [("gen_ai.request.max_tokens", 77), ("gen_ai.usage.output_tokens", 2)] {
        assert!(count(&number_attribute(key, value)) > 0, "{key}: {value}");
    }
    assert!(count(b"chat gemini/kettle") > 0, "the name of its span");
    let trace = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128.to_be_bytes();
    assert!(count(&trace) >= 4, "two requests and two calls, in the trace of who asked");
}

#[tokio::test]
async fn probes_say_which_providers_are_there() {
    let sim = Sim::start(&[]);
    let gone = support::closed_port();
    let providers = format!(
        "llm.providers=[{{ name = 'here', url = '{}', probe = '/models' }}, \
         {{ name = 'gone', url = '{gone}v1', probe = '/models' }}, {{ name = 'unasked', url = '{gone}v1' }}]",
        sim.url
    );
    let server = TestServer::start_plain(&["--set", &providers, "--set", "llm.resilience.probe_interval=1s"]);
    metric_becomes(&server, "llm_provider_up", &["provider=\"here\""], 1.0).await;
    metric_becomes(&server, "llm_provider_up", &["provider=\"gone\""], 0.0).await;
    assert_eq!(metric(&server, "llm_provider_up", &["provider=\"unasked\""]).await, None);
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
