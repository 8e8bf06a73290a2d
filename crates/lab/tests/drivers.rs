//! Drivers against real peers, well-behaved and otherwise.
#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

use std::{collections::BTreeMap, convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Path, WebSocketUpgrade, ws::Message},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use futures_util::stream;
use paddock_lab::{
    driver::{BuildContext, Driver, DriverOptions, Failure},
    engine::{Check, Load, LoadError, Measured, Pattern, Step, generate},
    record::StepRecord,
    schedule::Schedule,
    variables::{Source, Variables},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    runtime::Runtime,
    sync::oneshot,
};
use tokio_util::sync::CancellationToken;

/// Servers on a runtime of their own, so that the generator's threads do not carry them.
struct Peer {
    address: SocketAddr,
    runtime: Option<Runtime>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn serve(router: Router) -> Peer {
    let runtime = runtime();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    drop(runtime.spawn(async move { axum::serve(listener, router).await }));
    Peer { address, runtime: Some(runtime) }
}

/// A peer that answers every connection with these bytes once something was received, and then closes it.
fn answer(bytes: &'static [u8]) -> Peer {
    let runtime = runtime();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    drop(runtime.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            if stream.read(&mut request).await.is_ok_and(|count| count > 0) {
                let _ = stream.write_all(bytes).await;
            }
        }
    }));
    Peer { address, runtime: Some(runtime) }
}

fn step_of(options: &str, variables: Variables, checks: Vec<Check>) -> Step {
    #[derive(serde::Deserialize)]
    struct One(paddock_lab::scenario::StepFile);
    let One(file) = toml::from_str(&format!("name = \"step\"\n{options}")).unwrap();
    let options: &DriverOptions = file.driver.get_ref();
    let driver: Arc<dyn Driver> = options.build(&BuildContext::new(variables, 16)).unwrap();
    Step {
        name: file.name.clone(),
        driver_name: options.name(),
        weight: 1,
        timeout: file.timeout.get(),
        checks,
        driver,
    }
}

fn load(step: Step, variables: Variables, iterations: u64) -> Load {
    let pattern = Pattern::Closed {
        users: 4,
        think_time: Duration::ZERO,
        duration: None,
        iterations: Some(iterations),
    };
    let mut load = Load::new(pattern, vec![step]);
    load.workers = 2;
    load.variables = Arc::new(variables);
    load
}

/// Twenty operations by four users.
fn run(options: &str, checks: Vec<Check>) -> Measured {
    let step = step_of(options, Variables::new(1), checks);
    generate(load(step, Variables::new(1), 20), &mut (), &CancellationToken::new()).unwrap()
}

fn only(measured: &Measured) -> &StepRecord {
    assert_eq!(measured.partial, None);
    let step = &measured.steps[0];
    assert_eq!((step.offered, step.completed), (20, 20), "{:?}", measured.checks);
    step
}

fn clean(measured: &Measured) -> &StepRecord {
    let step = only(measured);
    assert!(step.errors.is_empty(), "{:?} {:?}", step.errors, measured.checks);
    step
}

fn router() -> Router {
    async fn echo(headers: HeaderMap, body: Bytes) -> Response {
        let tag = headers.get("x-tag").cloned().unwrap_or_else(|| "none".parse().unwrap());
        ([(header::CONTENT_TYPE, tag)], body).into_response()
    }
    Router::new()
        .route("/ping", get(|| async { "pong" }))
        .route("/echo", post(echo))
        .route("/user/{id}", get(|Path(id): Path<u32>| async move { format!("{{\"id\":{id}}}") }))
        .route("/missing", get(|| async { (StatusCode::NOT_FOUND, "not here") }))
        .route("/hang", get(std::future::pending::<&'static str>))
        .route(
            "/chunked",
            get(|| async {
                let pieces = ["a", "bb", "ccc"].map(Ok::<_, Infallible>);
                Body::from_stream(stream::iter(pieces))
            }),
        )
        .route(
            "/events",
            get(|| async {
                let events = stream::unfold(0, |count| async move {
                    if count > 0 {
                        tokio::time::sleep(Duration::from_millis(3)).await;
                    }
                    (count < 5).then(|| (Ok::<_, Infallible>(format!("data: {count}\n\n")), count + 1))
                });
                ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(events))
            }),
        )
        .route(
            "/socket",
            get(|upgrade: WebSocketUpgrade| async {
                upgrade.on_upgrade(|mut socket| async move {
                    while let Some(Ok(message)) = socket.recv().await {
                        if let Message::Text(text) = message {
                            let _ = socket.send(Message::Text("noise".into())).await;
                            let _ = socket.send(Message::Text(format!("re: {text}").into())).await;
                        }
                    }
                })
            }),
        )
}

#[test]
fn http_answers_are_read_to_their_end_and_the_connection_is_kept() {
    let peer = serve(router());
    for path in ["ping", "chunked"] {
        let measured = run(&format!("http = {{ url = \"http://{}/{path}\" }}", peer.address), Vec::new());
        let step = clean(&measured);
        assert_eq!(step.latency.count, 20);
        assert!(step.latency.min_us > 0.0 && step.latency.max_us >= step.service.max_us);
    }
}

#[test]
fn http_2_carries_many_operations_on_few_connections() {
    let peer = serve(router());
    let options =
        format!("http = {{ url = \"http://{}/ping\", version = \"2\", connections = 1 }}", peer.address);
    clean(&run(&options, vec![Check::BodyContains("pong".to_owned())]));
}

#[test]
fn method_headers_body_and_variables_reach_the_server() {
    let peer = serve(router());
    let mut variables = Variables::new(1);
    variables.insert("id", Source::Sequence { from: 100, step: 1 });
    let options = format!(
        "http = {{ url = \"http://{}/echo\", method = \"POST\", headers = {{ x-tag = \"text/x-${{id}}\" }}, body = \"{{\\\"id\\\": ${{id}}}}\" }}",
        peer.address
    );
    let check = |wanted: u32| Check::Json { pointer: "/id".to_owned(), equals: Some(wanted.into()) };
    let step = step_of(&options, variables.clone(), vec![check(107)]);
    let measured = generate(load(step, variables.clone(), 20), &mut (), &CancellationToken::new()).unwrap();
    // Each operation sends its own number, so the check holds for exactly one of them.
    let result = &measured.checks[1];
    assert_eq!((result.passed, result.failed), (1, 19), "{measured:?}");
    let options = format!("http = {{ url = \"http://{}/user/${{id}}\" }}", peer.address);
    let step = step_of(&options, variables.clone(), vec![check(103)]);
    let measured = generate(load(step, variables, 20), &mut (), &CancellationToken::new()).unwrap();
    assert_eq!(measured.checks[1].passed, 1);
}

#[test]
fn an_answer_that_says_no_is_an_error_unless_it_was_expected() {
    let peer = serve(router());
    let options = format!("http = {{ url = \"http://{}/missing\" }}", peer.address);
    let measured = run(&options, Vec::new());
    assert_eq!(only(&measured).errors, BTreeMap::from([("http-404".to_owned(), 20)]));
    clean(&run(&options, vec![Check::Status(vec![404]), Check::BodyContains("not here".to_owned())]));
}

#[test]
fn a_server_that_hangs_is_given_up_at_the_deadline() {
    let peer = serve(router());
    let options = format!("http = {{ url = \"http://{}/hang\" }}\ntimeout = \"100ms\"", peer.address);
    let measured = run(&options, Vec::new());
    let step = only(&measured);
    assert_eq!(step.errors["timeout"], 20);
    assert!(step.latency.min_us >= 100_000.0);
}

#[test]
fn a_connection_that_is_cut_is_an_error_and_the_next_operation_opens_another() {
    for (bytes, kind) in [
        (b"".as_slice(), "closed"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort", "closed"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "protocol"),
    ] {
        let peer = answer(bytes);
        let measured = run(&format!("http = {{ url = \"http://{}/\" }}", peer.address), Vec::new());
        let step = only(&measured);
        let counted: u64 = step.errors.get(kind).copied().unwrap_or_default()
            + step.errors.get("reset").copied().unwrap_or_default();
        assert_eq!(counted, 20, "{bytes:?}: {:?}", step.errors);
    }
    for bytes in [
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".as_slice(),
        b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
        b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n",
    ] {
        let peer = answer(bytes);
        let measured = run(&format!("http = {{ url = \"http://{}/\" }}", peer.address), Vec::new());
        clean(&measured);
    }
    let peer = answer(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let measured = run(&format!("http = {{ url = \"http://{}/\" }}", peer.address), Vec::new());
    assert_eq!(only(&measured).errors.values().sum::<u64>(), 0, "{:?}", measured.checks);
}

#[test]
fn a_target_that_refuses_is_an_error_before_anything_is_measured() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let step = step_of(&format!("http = {{ url = \"http://{address}/\" }}"), Variables::new(1), Vec::new());
    let error = generate(load(step, Variables::new(1), 20), &mut (), &CancellationToken::new()).unwrap_err();
    let LoadError::Unreachable { failure: Failure { kind, .. } } = &error else { panic!("{error}") };
    assert_eq!(kind, "connect-refused");
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}

#[test]
fn a_target_that_dies_during_the_run_ends_it_and_what_was_measured_is_kept() {
    let peer = serve(router());
    let step = step_of(
        &format!("http = {{ url = \"http://{}/ping\" }}", peer.address),
        Variables::new(1),
        Vec::new(),
    );
    let schedule = Schedule::constant(100.0, Duration::from_hours(1)).unwrap();
    let mut load = load(step, Variables::new(1), 1);
    load.pattern = Pattern::Open(schedule);
    load.in_flight_max = 8;
    load.abort_after = Duration::from_secs(1);
    let (ended, alive) = oneshot::channel::<()>();
    let killer = std::thread::spawn(move || {
        let waiting = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        waiting.block_on(async {
            let _ = tokio::time::timeout(Duration::from_millis(1_500), alive).await;
        });
        drop(peer);
    });
    let measured = generate(load, &mut (), &CancellationToken::new()).unwrap();
    drop(ended);
    killer.join().unwrap();
    let partial = measured.partial.unwrap();
    assert!(partial.contains("did not answer"), "{partial}");
    let step = &measured.steps[0];
    assert!(step.errors.keys().any(|kind| kind == "connect-refused"), "{:?}", step.errors);
    assert!(step.completed > step.errors.values().sum::<u64>());
}

#[test]
fn an_event_stream_has_the_time_to_its_first_event_and_the_gaps() {
    let peer = serve(router());
    let measured = run(&format!("sse = {{ url = \"http://{}/events\" }}", peer.address), Vec::new());
    let step = clean(&measured);
    assert_eq!((step.extra["ttft"].count, step.extra["gap"].count), (20, 80));
    assert!(step.extra["gap"].min_us > 0.0 && step.extra["ttft"].p50_us < step.latency.p50_us);
    let two = format!("sse = {{ url = \"http://{}/events\", events_max = 2 }}", peer.address);
    assert_eq!(clean(&run(&two, Vec::new())).extra["gap"].count, 20);
    let until = format!("sse = {{ url = \"http://{}/events\", until = \"3\" }}", peer.address);
    assert_eq!(clean(&run(&until, Vec::new())).extra["gap"].count, 60);
    let never = format!("sse = {{ url = \"http://{}/events\", until = \"[DONE]\" }}", peer.address);
    assert_eq!(only(&run(&never, Vec::new())).errors["closed"], 20);
    let none = format!("sse = {{ url = \"http://{}/ping\" }}", peer.address);
    assert_eq!(only(&run(&none, Vec::new())).errors["no-event"], 20);
}

#[test]
fn a_websocket_answer_is_told_from_other_messages() {
    let peer = serve(router());
    let options = format!(
        "websocket = {{ url = \"ws://{}/socket\", message = \"hello\", answer_contains = \"re: hello\" }}",
        peer.address
    );
    let measured = run(&options, vec![Check::BodyContains("re: hello".to_owned())]);
    let step = clean(&measured);
    assert!(!step.extra.contains_key("connect"));
    let options = options.replacen("message", "reconnect = true, message", 1);
    assert_eq!(clean(&run(&options, Vec::new())).extra["connect"].count, 20);
    let step = step_of(
        &format!("websocket = {{ url = \"ws://{}/ping\", message = \"x\" }}", peer.address),
        Variables::new(1),
        Vec::new(),
    );
    let error = generate(load(step, Variables::new(1), 1), &mut (), &CancellationToken::new()).unwrap_err();
    assert!(matches!(error, LoadError::Unreachable { .. }), "{error}");
}

#[test]
fn a_command_yields_its_status_and_the_figures_in_its_output() {
    let options = "command = { run = [\"sh\", \"-c\", \"echo starting; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo '{\\\"a\\\":{\\\"wall_ms\\\":12.5},\\\"peer\\\":null}'\"], figures = { page_wall_ms = \"/a/wall_ms\", peer_wall_ms = \"/peer\" } }";
    let measured = run(options, vec![Check::Status(vec![0]), Check::BodyContains("starting".to_owned())]);
    clean(&measured);
    assert_eq!(measured.figures["page_wall_ms"], vec![12.5; 20]);
    assert!(!measured.figures.contains_key("peer_wall_ms"), "what is null could not be measured");
    assert!(measured.figures["cpu_s"].iter().sum::<f64>() > 0.0, "{:?}", measured.figures["cpu_s"]);
    assert!(measured.figures["wall_s"].iter().all(|wall_s| *wall_s > 0.0));
}

#[test]
fn interrupting_does_not_wait_for_a_websocket_handshake_that_never_ends() {
    // Accepts, reads the upgrade, and says nothing.
    let runtime = runtime();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let (accepted, is_accepted) = std::sync::mpsc::sync_channel(64);
    drop(runtime.spawn(async move {
        let mut kept = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            kept.push(stream);
            let _ = accepted.try_send(());
        }
    }));
    let _peer = Peer { address, runtime: Some(runtime) };
    let options = format!("websocket = {{ url = \"ws://{address}/\", message = \"ping\" }}");
    let step = step_of(&options, Variables::new(1), Vec::new());
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    let interrupting = std::thread::spawn(move || {
        is_accepted.recv().unwrap();
        stopping.cancel();
    });
    let error = generate(load(step, Variables::new(1), 10), &mut (), &stop).unwrap_err();
    assert!(error.to_string().contains("interrupted"), "{error}");
    interrupting.join().unwrap();
}

#[test]
fn a_command_carries_the_mark_of_the_lab_that_started_it() {
    let options = format!(
        "command = {{ run = [\"sh\", \"-c\", \"env | grep -q '^PADDOCK_LAB_{}=[0-9]'\"] }}",
        std::process::id()
    );
    clean(&run(&options, vec![Check::Status(vec![0])]));
}

#[test]
fn the_memory_of_a_short_command_is_known() {
    let measured = run("command = { run = [\"sleep\", \"0.05\"] }", Vec::new());
    let memory = &measured.figures["rss_max_mib"];
    assert!(!memory.is_empty() && memory.iter().all(|mib| *mib > 0.0), "{memory:?}");
}

#[test]
fn a_command_ends_with_its_process_and_not_with_whoever_holds_its_output() {
    // The child left the group and keeps both pipes open for a minute.
    let measured =
        run("command = { run = [\"sh\", \"-c\", \"echo started; setsid sleep 25 & exit 0\"] }", Vec::new());
    let step = clean(&measured);
    assert!(step.latency.max_us < 20e6, "{}", step.latency.max_us);
    assert!(measured.figures["wall_s"].iter().all(|wall_s| *wall_s < 20.0), "{:?}", measured.figures);
}

#[test]
fn a_command_that_fails_is_counted_by_its_exit_code_with_what_it_said() {
    let measured =
        run("command = { run = [\"sh\", \"-c\", \"echo broken pipe dream >&2; exit 3\"] }", Vec::new());
    assert_eq!(only(&measured).errors["exit-3"], 20);
    let example = measured.checks[0].example.as_deref().unwrap();
    assert!(example.contains("broken pipe dream"), "{example}");
    clean(&run("command = { run = [\"sh\", \"-c\", \"exit 3\"] }", vec![Check::Status(vec![3])]));
    let measured = run("command = { run = [\"/does/not/exist\"] }", Vec::new());
    assert_eq!(only(&measured).errors["spawn"], 20);
}

#[test]
fn a_command_that_misses_its_deadline_is_killed_with_its_children() {
    let dir = tempfile::tempdir().unwrap();
    let pids = dir.path().join("pids");
    let script = format!("sleep 60 & echo $! >> {}; wait", pids.display());
    let options = format!("command = {{ run = [\"sh\", \"-c\", \"{script}\"] }}\ntimeout = \"200ms\"");
    let step = step_of(&options, Variables::new(1), Vec::new());
    let measured = generate(load(step, Variables::new(1), 4), &mut (), &CancellationToken::new()).unwrap();
    assert_eq!(measured.steps[0].errors["timeout"], 4);
    for pid in std::fs::read_to_string(&pids).unwrap().lines() {
        let stat = std::path::PathBuf::from(format!("/proc/{pid}/stat"));
        // Killed at once; gone when whoever inherited it has waited for it.
        let is_running = || std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
        let mut waits = 0;
        while is_running() && waits < 1_000 {
            waits += 1;
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(!is_running(), "{pid} is still there");
    }
}
