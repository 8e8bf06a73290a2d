//! Instances get through the end of their Chrome and of the server, and stay within their bounds.

#![expect(clippy::unwrap_used, reason = "in functions that tests share")]

mod support;

use std::time::{Duration, Instant};

use paddock_browser::{
    BrowserError, BrowserOptions, FleetChange, Instance, InstanceSpec, InstanceStatus, Tab, TabId, TabSpec,
    World,
};
use paddock_platform::{identity::Tenant, problem::Problem, store::testing, units::ByteSize};
use support::{Pages, TestFleet, eventually, group_members, options, quick};

const TIMEOUT: Duration = Duration::from_secs(10);

/// Stores something of each kind in the page and scrolls it.
const STORE: &str = "localStorage.k = 'local'; sessionStorage.k = 'session'; \
                     document.cookie = 'c=cookie; max-age=3600'; scrollTo(0, 1234); 0";

async fn tab_that_stores(pages: &Pages, instance: &Instance) -> Tab {
    let tab = instance.open(TabSpec::default()).await.unwrap();
    tab.navigate(&pages.url("/stored"), quick()).await.unwrap();
    tab.evaluate(STORE, World::Main, TIMEOUT).await.unwrap();
    tab
}

/// What the page's own script saw as it ran, and where the page is scrolled to.
async fn seen(instance: &Instance, id: &TabId) -> (String, f64) {
    let (_in_use, tab) = instance.enter_tab(id).await.unwrap();
    assert_eq!(tab.id(), id);
    let seen = tab.evaluate_as("[seen.textContent, scrollY]", World::Main, TIMEOUT).await;
    seen.unwrap()
}

fn restored() -> (String, f64) {
    ("local,session,c=cookie".to_owned(), 1234.0)
}

fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[tokio::test]
async fn an_instance_wakes_as_it_went_to_sleep() {
    let fleet = TestFleet::start().await;
    // Keeps the process.
    let _other = fleet.instance().await;
    let instance = fleet.instance().await;
    let id = tab_that_stores(&fleet.pages, &instance).await.id().clone();
    let mut events = fleet.fleet.events();
    instance.hibernate("a test").await.unwrap();
    assert_eq!((instance.status(), fleet.fleet.contexts().await), (InstanceStatus::Hibernated, 1));
    let event = events.recv().await.unwrap();
    let expected = FleetChange::Instance { status: InstanceStatus::Hibernated, cause: "a test".to_owned() };
    assert_eq!((&event.instance_id, event.change), (instance.id(), expected));
    let entries = instance.tab_entries();
    assert!(entries.len() == 1 && entries[0].url.ends_with("/stored") && entries[0].title == "A page");

    assert_eq!(seen(&instance, &id).await, restored());
    assert_eq!(instance.status(), InstanceStatus::Running);

    // A second time, from what was learned since; and what the page removed stays removed.
    let (in_use, tab) = instance.enter_tab(&id).await.unwrap();
    tab.evaluate("localStorage.clear(); 0", World::Main, TIMEOUT).await.unwrap();
    tab.navigate(&fleet.url("/stored"), quick()).await.unwrap();
    drop(in_use);
    assert_eq!(seen(&instance, &id).await.0, ",session,c=cookie");
    instance.hibernate("again").await.unwrap();
    assert_eq!(seen(&instance, &id).await.0, ",session,c=cookie");
    fleet.finish().await;
}

#[tokio::test]
async fn storage_of_places_where_no_tab_is_any_more_is_kept_too() {
    let fleet = TestFleet::start().await;
    let elsewhere = Pages::serve(&fleet.tasks).await;
    let instance = fleet.instance().await;
    let tab = tab_that_stores(&fleet.pages, &instance).await;
    tab.navigate(&elsewhere.url("/"), quick()).await.unwrap();
    let id = tab.id().clone();
    instance.hibernate("a test").await.unwrap();
    let (_in_use, tab) = instance.enter_tab(&id).await.unwrap();
    tab.navigate(&fleet.url("/stored"), quick()).await.unwrap();
    let seen: String = tab.evaluate_as("seen.textContent", World::Main, TIMEOUT).await.unwrap();
    assert_eq!(seen, "local,session,c=cookie");
    fleet.finish().await;
}

#[tokio::test]
async fn an_idle_instance_hibernates_and_one_in_use_does_not() {
    let hibernate_after = Duration::from_millis(1).into();
    let fleet = TestFleet::start_with(BrowserOptions { hibernate_after, ..options() }).await;
    let (idle, used) = (fleet.instance().await, fleet.instance().await);
    let in_use = used.attach().await.unwrap();
    eventually("the idle one hibernates", || idle.status() == InstanceStatus::Hibernated).await;
    let error = used.hibernate("a test").await.unwrap_err();
    assert!(matches!(error, BrowserError::InstanceInUse(_)), "{error:?}");
    assert_eq!(used.status(), InstanceStatus::Running);
    drop(in_use);
    eventually("the other one does too", || used.status() == InstanceStatus::Hibernated).await;
    fleet.finish().await;
}

#[tokio::test]
async fn many_who_wake_an_instance_at_once_wake_it_once() {
    let fleet = TestFleet::start().await;
    let instance = fleet.instance().await;
    let id = tab_that_stores(&fleet.pages, &instance).await.id().clone();
    instance.hibernate("a test").await.unwrap();
    let all = futures_util::future::join_all((0..8).map(|_| seen(&instance, &id))).await;
    assert!(all.iter().all(|seen| *seen == restored()), "{all:?}");
    assert_eq!((fleet.fleet.contexts().await, instance.tabs().len()), (1, 1));
    fleet.finish().await;
}

#[tokio::test]
async fn instances_survive_a_restart_of_the_server_with_their_ids() {
    testing::on_each_engine(async |fixture| {
        let data = tempfile::tempdir().unwrap();
        let fleet = TestFleet::start_in(fixture.open().await, data, options()).await;
        let pages = Pages::serve(&fixture.tasks).await;
        let spec = InstanceSpec { name: "mine".to_owned(), ..InstanceSpec::new(Tenant::local()) };
        let instance = fleet.fleet.create(spec).await.unwrap();
        let tab = tab_that_stores(&pages, &instance).await.id().clone();
        let id = instance.id().clone();
        let temporary = fleet.fleet.create(InstanceSpec::ephemeral(Tenant::local())).await.unwrap();
        drop((instance, temporary));
        let data = fleet.restart().await;

        let fleet = TestFleet::start_in(fixture.open().await, data, options()).await;
        let handles = fleet.fleet.handles();
        assert_eq!(handles.len(), 1);
        let info = handles[0].info();
        assert_eq!((&info.id, &*info.spec.name, info.status), (&id, "mine", InstanceStatus::Hibernated));
        assert_eq!(fleet.fleet.instance_of(&tab).unwrap().id(), &id);
        assert_eq!(seen(&handles[0], &tab).await, restored());
        drop(handles);
        fleet.fleet.stop(&id).await.unwrap();
        let data = fleet.restart().await;

        let fleet = TestFleet::start_in(fixture.open().await, data, options()).await;
        assert!(fleet.fleet.instances().is_empty());
        fleet.finish().await;
    })
    .await;
}

#[tokio::test]
async fn instances_of_a_killed_chrome_are_restored_at_once() {
    let checkpoint_after = Duration::from_millis(1).into();
    let fleet = TestFleet::start_with(BrowserOptions { checkpoint_after, ..options() }).await;
    let instances = [fleet.instance().await, fleet.instance().await, fleet.instance().await];
    let mut tabs = Vec::new();
    for instance in &instances {
        tabs.push(tab_that_stores(&fleet.pages, instance).await.id().clone());
    }
    // Cookies are read, not told: until they are saved they can be lost.
    for instance in &instances {
        instance.checkpoint_fully().await.unwrap();
    }
    let pid = fleet.fleet.process_ids()[0];
    let started = Instant::now();
    kill(pid);
    let back =
        |instance: &Instance| instance.status() == InstanceStatus::Running && !instance.tabs().is_empty();
    eventually("the process is replaced", || !fleet.fleet.process_ids().contains(&pid)).await;
    eventually("all are restored", || instances.iter().all(back)).await;
    assert!(started.elapsed() < Duration::from_secs(20));
    for (instance, tab) in instances.iter().zip(&tabs) {
        assert_eq!(seen(instance, tab).await.0, restored().0);
        assert!(instance.log().iter().any(|line| line.contains("signal: 9")), "{:?}", instance.log());
    }
    eventually("nothing is left of it", || group_members(pid).is_empty()).await;
    fleet.finish().await;
}

#[tokio::test]
async fn a_chrome_that_hangs_is_found_without_being_asked() {
    let (unresponsive_after, heartbeat_interval) =
        (Duration::from_millis(500).into(), Duration::from_millis(50).into());
    let fleet =
        TestFleet::start_with(BrowserOptions { unresponsive_after, heartbeat_interval, ..options() }).await;
    let instance = fleet.instance().await;
    let pid = fleet.fleet.process_ids()[0];
    let raw = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(raw, rustix::process::Signal::STOP).unwrap();
    eventually("it is killed", || group_members(pid).is_empty()).await;
    eventually("its instance is restored", || instance.status() == InstanceStatus::Running).await;
    fleet.finish().await;
}

#[tokio::test]
async fn what_is_awake_is_bounded_and_the_longest_idle_makes_room() {
    let fleet = TestFleet::start_with(BrowserOptions { instances_running_max: 2, ..options() }).await;
    let (first, second) = (fleet.instance().await, fleet.instance().await);
    let third = fleet.instance().await;
    assert_eq!(first.status(), InstanceStatus::Hibernated);
    let _uses = [second.attach().await.unwrap(), third.attach().await.unwrap()];
    let error = first.enter().await.unwrap_err();
    assert!(matches!(error, BrowserError::RunningExhausted { max: 2 }), "{error:?}");
    assert_eq!(first.status(), InstanceStatus::Hibernated);
    let problem = Problem::from(error);
    assert!(problem.retry_after.is_some() && problem.kind.status == 503, "{problem:?}");
    fleet.finish().await;
}

#[tokio::test]
async fn an_instance_that_cannot_wake_for_lack_of_memory_stays_asleep() {
    let data = tempfile::tempdir().unwrap();
    let fixture = testing::Fixture::sqlite();
    let fleet = TestFleet::start_in(fixture.open().await, data, options()).await;
    let instance = fleet.instance().await;
    let id = instance.id().clone();
    drop(instance);
    let data = fleet.restart().await;
    let memory_floor = ByteSize::bytes(u64::MAX);
    let fleet =
        TestFleet::start_in(fixture.open().await, data, BrowserOptions { memory_floor, ..options() }).await;
    let instance = fleet.fleet.instance(&id).unwrap();
    let error = instance.enter().await.unwrap_err();
    assert!(matches!(error, BrowserError::MemoryLow { .. }), "{error:?}");
    assert_eq!(instance.status(), InstanceStatus::Hibernated);
    fleet.finish().await;
}

#[tokio::test]
async fn an_instance_whose_chrome_ends_again_and_again_waits_until_it_is_wanted() {
    let fleet = TestFleet::start().await;
    let instance = fleet.instance().await;
    let id = tab_that_stores(&fleet.pages, &instance).await.id().clone();
    for _ in 0..2 {
        let pid = instance.info().pid.unwrap();
        kill(pid);
        eventually("it is restored", || {
            let info = instance.info();
            info.pid.is_some_and(|now| now != pid) && instance.tab(&id).is_some()
        })
        .await;
    }
    kill(instance.info().pid.unwrap());
    eventually("it is left asleep", || instance.status() == InstanceStatus::Hibernated).await;
    assert!(
        instance.log().iter().any(|line| line.contains("waits for its next use")),
        "{:?}",
        instance.log()
    );
    let (_in_use, tab) = instance.enter_tab(&id).await.unwrap();
    assert_eq!(tab.info().await.unwrap().title, "A page");
    fleet.finish().await;
}
