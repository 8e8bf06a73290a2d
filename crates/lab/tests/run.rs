//! Whole runs: set-up, load, tear-down and the record, against real processes.
#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]
#![expect(clippy::print_stdout, reason = "a test that is skipped says so")]

use std::{path::Path, time::Duration};

use paddock_lab::{
    engine::Observer,
    record::{Form, Interval, RunRecord, Validity},
    run::{RunError, RunOptions, execute},
    scenario::Scenario,
};
use paddock_platform::task::Tasks;
use tokio_util::sync::CancellationToken;

/// A web server of a few lines that every machine with the lab's tests has: Python is needed by nothing else here.
const SERVER: &str = r#"
import http.server, os, socketserver, sys
open(sys.argv[2], "w").write(str(os.getpid()))
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path == "/die":
            os._exit(7)
        body = b"pong"
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 64
print("listening")
Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"#;

fn scenario(dir: &Path, schedule: &str, path: &str, extra: &str) -> Scenario {
    std::fs::write(dir.join("server.py"), SERVER).unwrap();
    let text = format!(
        r#"
name = "ping"
description = "A server of a few lines."
{extra}
[[setup]]
free_port = {{ variable = "port" }}
[[setup]]
temp_dir = {{ variable = "temp" }}
[[setup]]
server = {{ name = "web", run = ["python3", "server.py", "${{port}}", "pid"], ready = "http://127.0.0.1:${{port}}/" }}
[[steps]]
name = "ping"
http = {{ url = "http://127.0.0.1:${{port}}{path}" }}
timeout = "2s"
checks = [{{ body_contains = "pong" }}]
[short]
schedule = {schedule}
in_flight_max = 4
abort_after = "1s"
[full]
schedule = {schedule}
[[thresholds]]
metric = "latency_p99_ms"
op = "<="
target = 1000
action = "look"
"#
    );
    Scenario::parse(&dir.join("ping.toml"), text).unwrap()
}

fn has_python() -> bool {
    let found = std::process::Command::new("python3").arg("--version").output().is_ok();
    if !found {
        println!("skipped: there is no python3");
    }
    found
}

async fn run(
    scenario: &Scenario,
    observer: Box<dyn Observer>,
    stop: &CancellationToken,
) -> Result<RunRecord, RunError> {
    let tasks = Tasks::default();
    let record = execute(scenario, &RunOptions::new(Form::Short), observer, &tasks, stop).await;
    tasks.stop(Duration::from_secs(30)).await.unwrap();
    record
}

fn assert_gone(dir: &Path) {
    let pid = std::fs::read_to_string(dir.join("pid")).unwrap();
    assert!(!Path::new("/proc").join(pid.trim()).exists(), "the server {pid} is still there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_starts_its_server_measures_it_and_stops_it() {
    if !has_python() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let scenario = scenario(dir.path(), "{ constant = { rate_per_s = 50, duration = \"2s\" } }", "/", "");
    let record = run(&scenario, Box::new(()), &CancellationToken::new()).await.unwrap();
    assert_gone(dir.path());
    assert_eq!(record.partial, None);
    let step = &record.steps[0];
    assert_eq!((step.offered, step.completed, step.errors.len()), (100, 100, 0), "{:?}", record.checks);
    assert_eq!(record.totals(), (100, 100, 0));
    for metric in [
        "latency_p99_ms",
        "service_p50_ms",
        "lag_p99_ms",
        "throughput_per_s",
        "ready_ms",
        "web_ready_ms",
        "rss_max_mib",
        "web_pss_max_mib",
        "lab_cpu_s",
        "cpu_us_per_op",
    ] {
        assert!(
            record.metrics.get(metric).is_some_and(|value| *value > 0.0),
            "{metric}: {:?}",
            record.metrics
        );
    }
    assert!(record.metrics["error_ratio"].abs() < f64::EPSILON);
    assert!(record.intervals.len() >= 2 && record.resources.iter().any(|sample| sample.target == "web"));
    assert!(record.environment.config_hash.is_some() && record.environment.disk.is_some());
    // Whether this machine is quiet just now is not for this test to say, but what it says has its number.
    if let Validity::Invalid { reasons } = &record.validity {
        assert!(
            reasons.iter().all(|reason| reason.contains(|letter: char| letter.is_ascii_digit())),
            "{reasons:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_makes_the_run_partial() {
    if !has_python() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let scenario = scenario(dir.path(), "{ constant = { rate_per_s = 20, duration = \"1h\" } }", "/die", "");
    let record = run(&scenario, Box::new(()), &CancellationToken::new()).await.unwrap();
    let partial = record.partial.unwrap();
    assert!(partial.contains("`web` ended by itself") && partial.contains("did not answer"), "{partial}");
    assert!(partial.contains("listening"), "{partial}");
    assert!(record.metrics["error_ratio"] > 0.9, "{:?}", record.metrics);
}

struct StopAtOnce(CancellationToken);

impl Observer for StopAtOnce {
    fn interval(&mut self, _: &Interval) {
        self.0.cancel();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_run_keeps_its_figures_and_stops_its_server() {
    if !has_python() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let scenario = scenario(dir.path(), "{ poisson = { rate_per_s = 50, duration = \"1h\" } }", "/", "");
    let stop = CancellationToken::new();
    let record = run(&scenario, Box::new(StopAtOnce(stop.clone())), &stop).await.unwrap();
    assert_gone(dir.path());
    assert!(record.partial.unwrap().starts_with("interrupted"));
    assert!(record.steps[0].completed > 0 && record.metrics["latency_p50_ms"] > 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_start_is_an_error_with_what_it_said() {
    let dir = tempfile::tempdir().unwrap();
    let text = |run: &str| {
        format!(
            "name = \"x\"\ndescription = \"x\"\n[[setup]]\nserver = {{ name = \"web\", run = {run}, ready = \
             \"http://127.0.0.1:1/\", ready_within = \"300ms\" }}\n[[steps]]\nname = \"x\"\nhttp = {{ url = \
             \"http://127.0.0.1:1/\" }}\n[short]\nschedule = {{ closed = {{ users = 1, iterations = 1 }} }}\n\
             [full]\nschedule = {{ closed = {{ users = 1, iterations = 1 }} }}\n"
        )
    };
    for (server, expected) in [
        (
            "[\"sh\", \"-c\", \"echo the port is taken; exit 3\"]",
            "before it was ready; it printed: the port is taken",
        ),
        ("[\"sh\", \"-c\", \"echo thinking; sleep 60\"]", "was not ready within"),
        ("[\"./missing\"]", "cannot start `./missing`"),
    ] {
        let scenario = Scenario::parse(&dir.path().join("x.toml"), text(server)).unwrap();
        let error = run(&scenario, Box::new(()), &CancellationToken::new()).await.unwrap_err();
        let line = paddock_platform::problem::error_chain(&error);
        assert!(line.contains(expected), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_beyond_this_machine_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let text = "name = \"x\"\ndescription = \"x\"\n[[steps]]\nname = \"x\"\nhttp = { url = \"http://192.0.2.7/\" }\n\
                [short]\nschedule = { closed = { users = 1, iterations = 1 } }\n\
                [full]\nschedule = { closed = { users = 1, iterations = 1 } }\n";
    let scenario = Scenario::parse(&dir.path().join("x.toml"), text.to_owned()).unwrap();
    let error = run(&scenario, Box::new(()), &CancellationToken::new()).await.unwrap_err();
    assert!(matches!(error, RunError::ForeignTarget { .. }), "{error}");
    assert!(error.to_string().contains("--allow-target"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_variable_that_the_scenario_does_not_have_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let scenario = scenario(
        dir.path(),
        "{ closed = { users = 1, iterations = 1 } }",
        "/",
        "[variables]\nhost = \"localhost\"",
    );
    let mut options = RunOptions::new(Form::Short);
    options.variables.insert("hots".to_owned(), "x".to_owned());
    let error = execute(&scenario, &options, Box::new(()), &Tasks::default(), &CancellationToken::new())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("no variable `hots`; did you mean `host`?"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_is_served_and_a_command_reads_from_it() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("pages")).unwrap();
    std::fs::write(dir.path().join("pages/index.html"), "<h1>A page</h1>").unwrap();
    let text = "name = \"x\"\ndescription = \"x\"\n[[setup]]\nsite = { variable = \"site\", dir = \"pages\" }\n\
                [[steps]]\nname = \"page\"\nhttp = { url = \"${site}/\" }\nchecks = [{ body_contains = \"A page\" }]\n\
                [[steps]]\nname = \"escape\"\nhttp = { url = \"${site}/%2e%2e/x.toml\" }\nchecks = [{ status = [404] }]\n\
                [short]\nschedule = { closed = { users = 2, iterations = 40 } }\n\
                [full]\nschedule = { closed = { users = 1, iterations = 1 } }\n";
    let scenario = Scenario::parse(&dir.path().join("x.toml"), text.to_owned()).unwrap();
    let record = run(&scenario, Box::new(()), &CancellationToken::new()).await.unwrap();
    assert_eq!(record.totals(), (40, 40, 0), "{:?}", record.checks);
    assert!(
        record.metrics.contains_key("page_latency_p99_ms") && record.metrics.contains_key("escape_completed")
    );
}
