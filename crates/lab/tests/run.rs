//! Whole runs: set-up, load, tear-down and the record, against real processes.
#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

use std::{path::Path, time::Duration};

use paddock_lab::{
    engine::Observer,
    record::{Form, Interval, RunRecord, Validity},
    run::{RunError, RunOptions, execute},
    scenario::Scenario,
};
use paddock_platform::task::Tasks;
use tokio_util::sync::CancellationToken;

const SERVER_VARIABLE: &str = "PADDOCK_LAB_TEST_SERVER_PORT";

/// Not a test: the server of the scenarios, when another test starts this binary with the variable set. It says `pong`, or
/// dies when it is asked to.
#[tokio::test]
async fn the_server_of_the_scenarios() {
    let Ok(port) = std::env::var(SERVER_VARIABLE) else { return };
    std::fs::write("pid", std::process::id().to_string()).unwrap();
    let router = axum::Router::new()
        .route("/", axum::routing::get(|| std::future::ready("pong")))
        .route("/die", axum::routing::get(async || -> &'static str { std::process::exit(7) }));
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await.unwrap();
    println!("listening");
    axum::serve(listener, router).await.unwrap();
}

fn scenario(dir: &Path, schedule: &str, path: &str, extra: &str) -> Scenario {
    let exe = std::env::current_exe().unwrap();
    let exe = exe.display();
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
server = {{ name = "web", run = ["{exe}", "--exact", "the_server_of_the_scenarios", "--nocapture"], env = {{ {SERVER_VARIABLE} = "${{port}}" }}, ready = "http://127.0.0.1:${{port}}/" }}
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
    let dir = tempfile::tempdir().unwrap();
    let scenario = scenario(dir.path(), "{ constant = { rate_per_s = 20, duration = \"1h\" } }", "/die", "");
    let record = run(&scenario, Box::new(()), &CancellationToken::new()).await.unwrap();
    let partial = record.partial.as_deref().unwrap();
    assert!(partial.contains("`web` ended by itself") && partial.contains("did not answer"), "{partial}");
    assert!(partial.contains("listening"), "{partial}");
    assert!(record.metrics["error_ratio"] > 0.9, "{:?}", record.metrics);
}

/// A tear-down that measures with a script.
fn measure(script: &str) -> String {
    format!(
        "[[teardown]]\nmeasure = {{ run = [\"sh\", \"-c\", {script:?}], figures = {{ left_count = \"/left\" }} }}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_load_left_behind_is_measured_before_the_server_stops() {
    let dir = tempfile::tempdir().unwrap();
    let script = measure("kill -0 \"$(cat pid)\" && echo '{\"left\": 3}'");
    let scenario = scenario(dir.path(), "{ closed = { users = 1, iterations = 2 } }", "/", &script);
    let record = run(&scenario, Box::new(()), &CancellationToken::new()).await.unwrap();
    assert_gone(dir.path());
    assert_eq!(record.partial, None);
    assert!((record.metrics["left_count"] - 3.0).abs() < f64::EPSILON);
    assert!(!record.metrics.contains_key("wall_s"), "what the command itself took is not the run's");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_last_measurement_fails_is_partial() {
    let dir = tempfile::tempdir().unwrap();
    let script = measure("echo nobody knows >&2; exit 3");
    let scenario = scenario(dir.path(), "{ closed = { users = 1, iterations = 2 } }", "/", &script);
    let record = run(&scenario, Box::new(()), &CancellationToken::new()).await.unwrap();
    assert_gone(dir.path());
    let partial = record.partial.as_deref().unwrap();
    assert!(partial.contains("after the load") && partial.contains("nobody knows"), "{partial}");
    assert_eq!(record.totals(), (2, 2, 0));
}

struct StopAtOnce(CancellationToken);

impl Observer for StopAtOnce {
    fn interval(&mut self, _: &Interval) {
        self.0.cancel();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_run_keeps_its_figures_and_stops_its_server() {
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
async fn asking_another_machine_whether_it_is_ready_is_refused_before_anything_starts() {
    let dir = tempfile::tempdir().unwrap();
    let text = "name = \"x\"\ndescription = \"x\"\n[[setup]]\nserver = { name = \"web\", run = [\"sh\", \"-c\", \"echo > started\"], \
                ready = \"http://192.0.2.7/\" }\n[[steps]]\nname = \"x\"\nhttp = { url = \"http://127.0.0.1:1/\" }\n\
                [short]\nschedule = { closed = { users = 1, iterations = 1 } }\n\
                [full]\nschedule = { closed = { users = 1, iterations = 1 } }\n";
    let scenario = Scenario::parse(&dir.path().join("x.toml"), text.to_owned()).unwrap();
    let error = run(&scenario, Box::new(()), &CancellationToken::new()).await.unwrap_err();
    let line = paddock_platform::problem::error_chain(&error);
    assert!(line.contains("192.0.2.7") && line.contains("--allow-target"), "{line}");
    assert!(!dir.path().join("started").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_up_command_may_leave_a_daemon_that_holds_its_output() {
    let dir = tempfile::tempdir().unwrap();
    let text = "name = \"x\"\ndescription = \"x\"\n[[setup]]\ncommand = { run = [\"sh\", \"-c\", \"setsid sleep 25 & exit 0\"], \
                within = \"15s\" }\n[[steps]]\nname = \"x\"\ncommand = { run = [\"true\"] }\n\
                [short]\nschedule = { closed = { users = 1, iterations = 1 } }\n\
                [full]\nschedule = { closed = { users = 1, iterations = 1 } }\n";
    let scenario = Scenario::parse(&dir.path().join("x.toml"), text.to_owned()).unwrap();
    let record = run(&scenario, Box::new(()), &CancellationToken::new()).await.unwrap();
    assert_eq!(record.totals(), (1, 1, 0), "{:?}", record.checks);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hashes_of_a_run_cover_its_variables_and_data() {
    let dir = tempfile::tempdir().unwrap();
    let text = "name = \"x\"\ndescription = \"x\"\n[variables]\npaddock = \"one\"\nid = { file = \"ids.csv\", column = \"id\" }\n\
                [[steps]]\nname = \"x\"\ncommand = { run = [\"echo\", \"${id}\", \"${paddock}\"] }\n\
                [short]\nschedule = { closed = { users = 1, iterations = 1 } }\n\
                [full]\nschedule = { closed = { users = 1, iterations = 1 } }\n";
    let hashes = async |ids: &str, paddock: &str| {
        std::fs::write(dir.path().join("ids.csv"), ids).unwrap();
        let scenario = Scenario::parse(&dir.path().join("x.toml"), text.to_owned()).unwrap();
        let mut options = RunOptions::new(Form::Short);
        options.variables.insert("paddock".to_owned(), paddock.to_owned());
        let (tasks, stop) = (Tasks::default(), CancellationToken::new());
        let record = execute(&scenario, &options, Box::new(()), &tasks, &stop).await.unwrap();
        (record.scenario_hash.unwrap(), record.environment.config_hash.unwrap())
    };
    let first = hashes("id\n1\n", "one").await;
    assert_eq!(hashes("id\n1\n", "one").await, first);
    let other_binary = hashes("id\n1\n", "two").await;
    assert!(other_binary.0 == first.0 && other_binary.1 != first.1, "the binary is what is compared");
    let other_data = hashes("id\n2\n", "one").await;
    assert!(other_data.0 != first.0 && other_data.1 != first.1);
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
                [full]\nschedule = { closed = { users = 1, iterations = 2 } }\n";
    let scenario = Scenario::parse(&dir.path().join("x.toml"), text.to_owned()).unwrap();
    let record = run(&scenario, Box::new(()), &CancellationToken::new()).await.unwrap();
    assert_eq!(record.totals(), (40, 40, 0), "{:?}", record.checks);
    assert!(
        record.metrics.contains_key("page_latency_p99_ms") && record.metrics.contains_key("escape_completed")
    );
}
