//! Instances, tabs and processes of a real Chromium: isolation, bounds, crashes and what is left afterwards.

#![expect(clippy::unwrap_used, reason = "in functions that tests share")]

mod support;

use std::{num::NonZeroUsize, time::Duration};

use paddock_browser::{
    Area, BrowserError, BrowserOptions, Emulation, EngineChoice, Format, InstanceGuard, InstanceSpec,
    InstanceStatus, Isolation, NavigateError, Screenshot, TabSpec, World,
};
use paddock_cdp::protocol::page;
use paddock_platform::identity::Tenant;
use support::{TestFleet, eventually, group_members, options};
use tokio::io::AsyncBufReadExt;

const TIMEOUT: Duration = Duration::from_secs(10);

fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[tokio::test]
async fn instances_do_not_share_cookies_and_tabs_of_one_do() {
    let fleet = TestFleet::start().await;
    let (one, other) = (fleet.instance().await, fleet.instance().await);
    let sent = async |instance: &paddock_browser::Instance| -> String {
        let tab = instance.open(TabSpec::default()).await.unwrap();
        fleet.visit(&tab, "/cookie").await.unwrap();
        tab.evaluate_as("sent.textContent", World::Main, TIMEOUT).await.unwrap()
    };
    assert_eq!(sent(&one).await, "none");
    assert_eq!(sent(&one).await, "seen=1");
    assert_eq!(sent(&other).await, "none");
    assert_eq!(fleet.fleet.process_ids().len(), 1);
    fleet.finish().await;
}

#[tokio::test]
async fn processes_are_shared_up_to_the_bound_and_alone_on_request() {
    let contexts_per_process_max = NonZeroUsize::new(2).unwrap();
    let fleet = TestFleet::start_with(BrowserOptions { contexts_per_process_max, ..options() }).await;
    let (a, b, c) = tokio::join!(fleet.instance(), fleet.instance(), fleet.instance());
    assert_eq!(fleet.fleet.process_ids().len(), 2);
    let spec = InstanceSpec { isolation: Isolation::Process, ..InstanceSpec::new(Tenant::local()) };
    let alone = fleet.fleet.create(spec).await.unwrap();
    assert_eq!(fleet.fleet.process_ids().len(), 3);
    alone.close().await;
    eventually("its process is gone", || fleet.fleet.process_ids().len() == 2).await;
    for instance in [a, b, c] {
        instance.open(TabSpec::default()).await.unwrap();
    }
    fleet.finish().await;
}

#[tokio::test]
async fn a_missing_engine_is_an_error_of_the_call_and_not_of_the_server() {
    let engine = EngineChoice::Path("/no/such/chrome".into());
    let fleet = TestFleet::start_with(BrowserOptions { engine, ..options() }).await;
    let error = fleet.fleet.create(InstanceSpec::new(Tenant::local())).await.unwrap_err();
    assert!(error.to_string().contains("/no/such/chrome"), "{error}");
    assert!(fleet.fleet.instances().is_empty());
    fleet.finish().await;
}

#[tokio::test]
async fn an_engine_that_is_no_chrome_fails_with_its_last_words() {
    let data = tempfile::tempdir().unwrap();
    let fake = data.path().join("headless_shell");
    std::fs::write(&fake, "#!/bin/sh\necho 'no display here' >&2\nexit 3\n").unwrap();
    std::fs::set_permissions(&fake, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let fleet = TestFleet::start_with(BrowserOptions { engine: EngineChoice::Path(fake), ..options() }).await;
    let error = fleet.fleet.create(InstanceSpec::new(Tenant::local())).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("no display here") && text.contains("exit status: 3"), "{text}");
    fleet.finish().await;
}

#[tokio::test]
async fn an_instance_is_kept_ready_and_replaced_when_taken() {
    let fleet = TestFleet::start_with(BrowserOptions { warm: 1, ..options() }).await;
    eventually("one is ready", || fleet.fleet.ready() == 1).await;
    let tab = fleet.tab().await;
    eventually("another is ready", || fleet.fleet.ready() == 1).await;
    fleet.visit(&tab, "/").await.unwrap();
    assert_eq!(fleet.fleet.process_ids().len(), 1);
    fleet.finish().await;
}

#[tokio::test]
async fn a_process_without_instances_is_retired() {
    let idle_after = Duration::from_millis(1).into();
    let fleet = TestFleet::start_with(BrowserOptions { idle_after, ..options() }).await;
    let instance = fleet.instance().await;
    let pid = fleet.fleet.process_ids()[0];
    instance.close().await;
    eventually("the process is gone", || fleet.fleet.process_ids().is_empty()).await;
    assert_eq!(group_members(pid), Vec::<String>::new());
    fleet.finish().await;
}

#[tokio::test]
async fn a_crashed_renderer_takes_one_tab_and_a_navigation_revives_it() {
    let fleet = TestFleet::start().await;
    let instance = fleet.instance().await;
    let spec = TabSpec { scripts: vec!["globalThis.here = 'still'".into()], ..TabSpec::default() };
    let bad = instance.open(spec).await.unwrap();
    let good = fleet.tab().await;
    fleet.visit(&bad, "/").await.unwrap();
    fleet.visit(&good, "/").await.unwrap();
    bad.session().send(&page::Crash {}).await.ok();
    let error = bad.evaluate("1", World::Main, TIMEOUT).await.unwrap_err();
    let problem = paddock_platform::problem::Problem::from(error);
    assert_eq!(problem.kind, paddock_browser::BROWSER_CRASHED);
    assert_eq!(good.evaluate_as::<i32>("1", World::Main, TIMEOUT).await.unwrap(), 1);

    fleet.visit(&bad, "/title/revived").await.unwrap();
    assert_eq!(bad.evaluate_as::<String>("here", World::Isolated, TIMEOUT).await.unwrap(), "still");
    fleet.finish().await;
}

#[tokio::test]
async fn a_renderer_that_crashes_during_a_navigation_is_a_clear_error() {
    let fleet = TestFleet::start().await;
    let tab = fleet.tab().await;
    let url = fleet.url("/never-ends");
    let mut committed = tab.session().subscribe(&["Page.frameNavigated"], 16);
    let crash = async {
        committed.next().await;
        tab.session().send(&page::Crash {}).await.ok();
    };
    let (result, ()) = tokio::join!(tab.navigate(&url, support::quick()), crash);
    assert!(matches!(result.unwrap_err(), NavigateError::TabCrashed { .. }));
    fleet.visit(&tab, "/").await.unwrap();
    fleet.finish().await;
}

#[tokio::test]
async fn a_killed_chrome_is_a_clear_error_and_is_replaced() {
    let fleet = TestFleet::start_with(BrowserOptions { warm: 1, ..options() }).await;
    eventually("one is ready", || fleet.fleet.ready() == 1).await;
    let (used, blank) = (fleet.instance().await, fleet.instance().await);
    let tab = used.open(TabSpec::default()).await.unwrap();
    let pid = fleet.fleet.process_ids()[0];
    let url = fleet.url("/never-answers");
    let mut asked = tab.session().subscribe(&["Network.requestWillBeSent"], 16);
    let (result, ()) = tokio::join!(tab.navigate(&url, support::quick()), async {
        asked.next().await;
        kill(pid);
    });
    let error = result.unwrap_err();
    assert!(matches!(error, NavigateError::BrowserCrashed { .. }) && error.is_transient(), "{error:?}");
    assert!(paddock_platform::problem::Problem::from(error).retry_after.is_some());
    eventually("both are restored", || {
        [&used, &blank].iter().all(|instance| instance.status() == InstanceStatus::Running)
            && !fleet.fleet.process_ids().contains(&pid)
    })
    .await;
    eventually("it is gone with its children", || group_members(pid).is_empty()).await;
    for instance in [used, blank] {
        let tab = instance.open(TabSpec::default()).await.unwrap();
        fleet.visit(&tab, "/").await.unwrap();
    }
    eventually("another is ready", || fleet.fleet.ready() == 1).await;
    fleet.visit(&fleet.tab().await, "/").await.unwrap();
    fleet.finish().await;
}

#[tokio::test]
async fn a_creation_that_is_abandoned_leaves_nothing() {
    let fleet = TestFleet::start().await;
    fleet.instance().await;
    let mut kept = 1;
    for millis in [0, 1, 3, 10, 30] {
        let create = fleet.fleet.create(InstanceSpec::new(Tenant::local()));
        kept += usize::from(tokio::time::timeout(Duration::from_millis(millis), create).await.is_ok());
    }
    eventually("those that nobody waited for are gone", || fleet.fleet.instances().len() == kept).await;
    let started = std::time::Instant::now();
    while fleet.fleet.contexts().await != kept {
        assert!(started.elapsed() < Duration::from_secs(30), "contexts are left");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    fleet.finish().await;
}

/// Not a test by itself: the process that the test below kills.
#[tokio::test]
async fn a_server_to_be_killed() {
    if std::env::var_os(HOLD).is_none() {
        return;
    }
    let fleet = TestFleet::start().await;
    fleet.tab().await;
    println!("{HOLD}{}", fleet.fleet.process_ids()[0]);
    std::future::pending::<()>().await;
}

const HOLD: &str = "PADDOCK_TEST_HOLD_CHROME=";

#[tokio::test]
async fn chrome_exits_when_its_server_is_killed() {
    let temporary = tempfile::tempdir().unwrap();
    let mut server = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_server_to_be_killed", "--nocapture"])
        .env(HOLD, "1")
        // It cannot tidy up after itself.
        .env("TMPDIR", temporary.path())
        .env_remove("RUST_TEST_THREADS")
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = tokio::io::BufReader::new(server.stdout.take().unwrap()).lines();
    let pid: i32 = loop {
        let line = lines.next_line().await.unwrap().expect("the server says its Chrome's process id");
        if let Some((_, pid)) = line.split_once(HOLD) {
            break pid.parse().unwrap();
        }
    };
    assert!(!group_members(pid).is_empty());
    server.kill().await.unwrap();
    // What is left may wait, dead, for an init that reaps it.
    eventually("no process of it runs", || group_members(pid).iter().all(|stat| stat.contains(") Z "))).await;
}

#[tokio::test]
async fn a_chrome_that_hangs_is_killed_and_replaced() {
    let unresponsive_after = Duration::from_millis(500).into();
    let fleet = TestFleet::start_with(BrowserOptions { unresponsive_after, ..options() }).await;
    fleet.tab().await;
    let pid = fleet.fleet.process_ids()[0];
    let raw = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(raw, rustix::process::Signal::STOP).unwrap();
    let error = fleet.fleet.create(InstanceSpec::new(Tenant::local())).await.unwrap_err();
    assert!(matches!(error, BrowserError::Call(_)), "{error:?}");
    eventually("the hung one is gone", || group_members(pid).is_empty()).await;
    let tab = fleet.tab().await;
    fleet.visit(&tab, "/").await.unwrap();
    fleet.finish().await;
}

#[tokio::test]
async fn a_guarded_instance_is_stopped_when_its_work_is_abandoned() {
    let fleet = TestFleet::start().await;
    let guard = InstanceGuard::new(fleet.instance().await);
    let tab = guard.open(TabSpec::default()).await.unwrap();
    let never = fleet.url("/never-answers");
    let work = async move {
        let _guard = guard;
        tab.navigate(&never, support::quick()).await
    };
    assert!(tokio::time::timeout(Duration::from_millis(100), work).await.is_err());
    eventually("it is stopped", || fleet.fleet.instances().is_empty()).await;
    fleet.finish().await;
}

#[tokio::test]
async fn an_instance_is_stopped_also_if_nobody_waits_for_it() {
    let fleet = TestFleet::start().await;
    let instance = fleet.instance().await;
    instance.open(TabSpec::default()).await.unwrap();
    let mut stop = Box::pin(fleet.fleet.stop(instance.id()));
    assert!(futures_util::poll!(&mut stop).is_pending());
    drop(stop);
    eventually("it is gone", || fleet.fleet.instances().is_empty()).await;
    assert!(matches!(instance.enter().await, Err(BrowserError::InstanceStopped(_))));
    drop(instance);
    fleet.finish().await;
}

#[tokio::test]
async fn permissions_are_denied_without_a_prompt() {
    let fleet = TestFleet::start().await;
    let tab = fleet.tab().await;
    fleet.visit(&tab, "/permission").await.unwrap();
    let asked = "Notification.requestPermission()";
    assert_eq!(tab.evaluate_as::<String>(asked, World::Main, TIMEOUT).await.unwrap(), "denied");
    let asked =
        "new Promise(done => navigator.geolocation.getCurrentPosition(done, error => done(error.code)))";
    assert_eq!(tab.evaluate_as::<i32>(asked, World::Main, TIMEOUT).await.unwrap(), 1);
    fleet.finish().await;
}

#[tokio::test]
async fn scripts_run_before_the_page_in_a_world_of_their_own() {
    let fleet = TestFleet::start().await;
    let scripts = vec!["globalThis.mark = document.readyState".into()];
    let tab = fleet.instance().await.open(TabSpec { scripts, ..TabSpec::default() }).await.unwrap();
    for path in ["/", "/title/next"] {
        fleet.visit(&tab, path).await.unwrap();
        let mark: String = tab.evaluate_as("mark", World::Isolated, TIMEOUT).await.unwrap();
        assert_eq!(mark, "loading");
        let seen: String = tab.evaluate_as("typeof mark", World::Main, TIMEOUT).await.unwrap();
        assert_eq!(seen, "undefined");
    }
    fleet.finish().await;
}

#[tokio::test]
async fn evaluation_returns_values_and_tells_what_went_wrong() {
    let fleet = TestFleet::start().await;
    let tab = fleet.tab().await;
    let evaluate = async |expression: &str| tab.evaluate(expression, World::Main, TIMEOUT).await;
    let value = evaluate("Promise.resolve({ a: [1, 'ü'] })").await.unwrap();
    let value: serde_json::Value = serde_json::from_str(value.get()).unwrap();
    assert_eq!(value, serde_json::json!({ "a": [1, "ü"] }));
    assert_eq!(evaluate("undefined").await.unwrap().get(), "null");
    assert_eq!(evaluate("NaN").await.unwrap().get(), "\"NaN\"");
    for (expression, expected) in [
        ("(() => { throw new Error('broken') })()", "broken"),
        ("Promise.reject('rejected')", "rejected"),
        ("not a script", "SyntaxError"),
        ("window", "cannot be returned"),
    ] {
        let error = evaluate(expression).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{expression}: {error}");
    }
    fleet.finish().await;
}

#[tokio::test]
async fn a_tab_shows_the_device_it_was_opened_with() {
    let fleet = TestFleet::start().await;
    let instance = fleet.instance().await;
    let device = "[innerWidth, innerHeight, devicePixelRatio, navigator.maxTouchPoints > 0]";
    for (emulation, expected, agent) in [
        (Emulation::desktop(), "[1440,900,1,false]", "X11"),
        (Emulation::mobile(), "[390,844,2,true]", "Android"),
    ] {
        let tab = instance.open(TabSpec { emulation, ..TabSpec::default() }).await.unwrap();
        tab.navigate(&fleet.url("/user-agent"), support::quick()).await.unwrap();
        let seen = tab.evaluate(&format!("(document.head.innerHTML += '<meta name=viewport content=\"width=device-width\">', {device})"), World::Main, TIMEOUT).await.unwrap();
        assert_eq!(seen.get(), expected);
        let sent: String = tab.evaluate_as("agent.textContent", World::Main, TIMEOUT).await.unwrap();
        assert!(sent.contains(agent) && !sent.contains("Headless"), "{sent}");
    }
    fleet.finish().await;
}

#[tokio::test]
async fn two_tabs_take_pictures_at_the_same_time() {
    let fleet = TestFleet::start().await;
    let instance = fleet.instance().await;
    let (first, second) = tokio::join!(
        instance.open(TabSpec { emulation: Emulation::desktop(), ..TabSpec::default() }),
        instance.open(TabSpec { emulation: Emulation::mobile(), ..TabSpec::default() }),
    );
    let (first, second) = (first.unwrap(), second.unwrap());
    let (a, b) = tokio::join!(fleet.visit(&first, "/"), fleet.visit(&second, "/"));
    assert!(a.is_ok() && b.is_ok());
    let element = Screenshot { area: Area::Element { selector: "h1".to_owned() }, ..Screenshot::default() };
    let page = Screenshot { area: Area::FullPage { height_max: 2000 }, ..Screenshot::default() };
    let jpeg = Screenshot { format: Format::Jpeg { quality: 70 }, ..Screenshot::default() };
    let (wide, narrow, heading, tall, jpeg) = tokio::join!(
        first.screenshot(Screenshot::default()),
        second.screenshot(Screenshot::default()),
        first.screenshot(element),
        first.screenshot(page),
        second.screenshot(jpeg),
    );
    assert_eq!(png_size(&wide.unwrap()), (1440, 900));
    assert_eq!(png_size(&narrow.unwrap()), (780, 1688));
    assert!(png_size(&heading.unwrap()).1 < 100);
    assert_eq!(png_size(&tall.unwrap()), (1440, 2000));
    assert_eq!(&jpeg.unwrap()[..3], [0xff, 0xd8, 0xff]);
    let none = Screenshot { area: Area::Element { selector: "#none".to_owned() }, ..Screenshot::default() };
    let error = first.screenshot(none).await.unwrap_err();
    assert!(matches!(error, BrowserError::NoElement(_)), "{error:?}");
    let bad = Screenshot { area: Area::Element { selector: "[[".to_owned() }, ..Screenshot::default() };
    let error = first.screenshot(bad).await.unwrap_err();
    assert!(matches!(error, BrowserError::InvalidSelector(_)), "{error:?}");
    fleet.finish().await;
}

/// Width and height in the header of a PNG.
fn png_size(image: &[u8]) -> (u32, u32) {
    assert_eq!(&image[1..4], b"PNG");
    let number = |at: usize| u32::from_be_bytes(image[at..at + 4].try_into().unwrap());
    (number(16), number(20))
}
