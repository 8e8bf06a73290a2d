//! Instances do not see each other, whatever they keep and whatever else goes on; and what ends one Chrome ends nothing
//! in another.

#![expect(clippy::unwrap_used, reason = "in functions that tests share")]

#[path = "support/api.rs"]
mod api;
#[path = "support/canaries.rs"]
mod canaries;
mod support;

use std::{
    collections::BTreeSet,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use api::Api;
use futures_util::future::{join_all, try_join_all};
use http::{Method, StatusCode};
use paddock_browser::{
    BrowserOptions, BrowserService, DownloadState, Instance, InstanceStatus, Tab, TabSpec, World,
};
use paddock_platform::identity::Caller;
use serde_json::{Value, json};
use support::{TestFleet, eventually, options, quick};

const TIMEOUT: Duration = Duration::from_secs(60);
const COUNT: usize = 30;

async fn at(instance: &Instance, url: &str) -> Tab {
    let tab = instance.open(TabSpec::default()).await.unwrap();
    tab.navigate(&url.parse().unwrap(), quick()).await.unwrap();
    tab
}

/// Instances in few processes, while others load pages without end.
async fn under_load(fleet: &TestFleet, work: impl Future<Output = ()>) {
    let stop = Arc::new(AtomicBool::new(false));
    let load = join_all((0..2).map(|number| {
        let stop = Arc::clone(&stop);
        async move {
            let tab = fleet.tab().await;
            let mut pages = 0;
            while !stop.load(Ordering::SeqCst) {
                fleet.visit(&tab, &format!("/title/{number}")).await.unwrap();
                pages += 1;
            }
            pages
        }
    }));
    let work = async {
        work.await;
        stop.store(true, Ordering::SeqCst);
    };
    let (pages, ()) = tokio::join!(load, work);
    assert!(pages.iter().all(|pages| *pages > 0), "there was no load: {pages:?}");
}

#[tokio::test]
async fn thirty_instances_under_load_find_their_own_canaries_and_no_others() {
    let contexts_per_process_max = NonZeroUsize::new(16).unwrap();
    let fleet = TestFleet::start_with(BrowserOptions { contexts_per_process_max, ..options() }).await;
    let site = canaries::serve(&fleet.tasks).await;
    let check = async {
        let instances = join_all((0..COUNT).map(|_| fleet.instance())).await;
        assert!(fleet.fleet.process_ids().len() <= 3);
        let tabs = join_all(instances.iter().map(|instance| at(instance, &site))).await;
        let names: Vec<String> = (0..COUNT).map(|number| format!("bird-{number}")).collect();
        let leave = tabs.iter().zip(&names).map(|(tab, name)| async move {
            let left = tab.evaluate_as::<String>(&canaries::leave(name), World::Main, TIMEOUT).await.unwrap();
            tab.evaluate(&canaries::download(name), World::Main, TIMEOUT).await.unwrap();
            left
        });
        let cached = join_all(leave).await;
        assert_eq!(
            cached.iter().collect::<BTreeSet<_>>().len(),
            COUNT,
            "an HTTP cache is shared: {cached:?}"
        );

        // Another tab of the instance sees all but the session's storage.
        let tabs = join_all(instances.iter().map(|instance| at(instance, &site))).await;
        for ((tab, name), cached) in tabs.iter().zip(&names).zip(&cached) {
            let seen: Vec<String> = tab.evaluate_as(&canaries::look(), World::Main, TIMEOUT).await.unwrap();
            assert_eq!(seen, [name, name, "", name, name, name, cached.as_str()]);
        }
        for (instance, name) in instances.iter().zip(&names) {
            let done = || {
                let downloads = instance.downloads();
                downloads.len() == 1 && downloads[0].state == DownloadState::Completed
            };
            eventually("its file is there", done).await;
            assert!(instance.downloads()[0].url.ends_with(name.as_str()), "{:?}", instance.downloads());
        }

        let stranger = fleet.instance().await;
        let tab = at(&stranger, &site).await;
        let seen: Vec<String> = tab.evaluate_as(&canaries::look(), World::Main, TIMEOUT).await.unwrap();
        assert_eq!(seen[..6], [""; 6]);
        assert!(!cached.contains(&seen[6]) && stranger.downloads().is_empty());
    };
    under_load(&fleet, check).await;
    fleet.finish().await;
}

/// What a client saw that asked an instance again and again.
#[derive(Debug, Default)]
struct Seen {
    good: usize,
    failed: Vec<(StatusCode, Value)>,
}

async fn ask_until(api: &Api, tab: &str, stop: &AtomicBool, asked: &AtomicUsize) -> Seen {
    let mut seen = Seen::default();
    let path = format!("/tabs/{tab}/evaluate");
    while !stop.load(Ordering::SeqCst) {
        let body = json!({ "expression": "new Promise(done => setTimeout(done, 20, 'here'))" });
        let response = api.send(Method::POST, &path, Some(body)).await;
        let (status, answer) = (response.status(), response.json::<Value>().await.unwrap());
        if status == StatusCode::OK {
            assert_eq!(answer["result"], json!("here"));
            seen.good += 1;
        } else {
            seen.failed.push((status, answer));
        }
        asked.fetch_add(1, Ordering::SeqCst);
    }
    seen
}

#[tokio::test]
async fn a_chrome_killed_under_load_fails_what_was_in_flight_on_it_and_nothing_else() {
    let contexts_per_process_max = NonZeroUsize::new(4).unwrap();
    let fleet = TestFleet::start_with(BrowserOptions { contexts_per_process_max, ..options() }).await;
    let service = BrowserService::new(fleet.fleet.clone());
    let api = Api::serve(&fleet, &service, Caller::local()).await;
    let instances = join_all((0..8).map(|_| fleet.instance())).await;
    let tabs = {
        let url = fleet.url("/").to_string();
        join_all(instances.iter().map(|instance| at(instance, &url))).await
    };
    let ids: Vec<String> = tabs.iter().map(|tab| tab.id().to_string()).collect();
    let pid = instances[0].info().pid.unwrap();
    let lost: Vec<bool> = instances.iter().map(|instance| instance.info().pid == Some(pid)).collect();
    assert!(lost.iter().any(|lost| !lost), "two processes");
    drop(tabs);

    let (stop, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let clients = join_all(ids.iter().map(|tab| ask_until(&api, tab, &stop, &asked)));
    let disturb = async {
        eventually("all work", || asked.load(Ordering::SeqCst) > 40).await;
        let killed = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(killed, rustix::process::Signal::KILL).unwrap();
        eventually("the process is replaced", || !fleet.fleet.process_ids().contains(&pid)).await;
        eventually("all are restored", || {
            instances.iter().all(|instance| instance.status() == InstanceStatus::Running)
        })
        .await;
        let before = asked.load(Ordering::SeqCst);
        eventually("all work again", || asked.load(Ordering::SeqCst) > before + 80).await;
        stop.store(true, Ordering::SeqCst);
    };
    let (seen, ()) = tokio::join!(clients, disturb);
    for (seen, lost) in seen.iter().zip(&lost) {
        assert!(seen.good > 0, "{seen:?}");
        // A client has one request in flight; the next may meet the instance before its Chrome's end is known.
        assert!(seen.failed.len() <= if *lost { 2 } else { 0 }, "{seen:?}");
        for (status, problem) in &seen.failed {
            assert_eq!(
                (status, &problem["retryable"]),
                (&StatusCode::BAD_GATEWAY, &json!(true)),
                "{problem}"
            );
        }
    }
    assert!(seen.iter().any(|seen| !seen.failed.is_empty()), "nothing was in flight");
    fleet.finish().await;
}

#[tokio::test]
async fn instances_that_sleep_and_wake_at_random_keep_what_is_theirs() {
    let bounds = BrowserOptions { instances_running_max: 3, ..options() };
    let fleet = TestFleet::start_with(bounds).await;
    let site = canaries::serve(&fleet.tasks).await;
    let mut left = Vec::new();
    for number in 0..6 {
        let instance = fleet.instance().await;
        let tab = at(&instance, &site).await;
        let note = format!("localStorage.canary = 'bird-{number}'; 0");
        tab.evaluate(&note, World::Main, TIMEOUT).await.unwrap();
        left.push((instance, tab.id().clone(), format!("bird-{number}")));
    }
    // More want to be awake than may be: each waits for its turn, asking again as it is told to.
    let turns = left.iter().map(|(instance, tab, name)| async move {
        for _ in 0..4 {
            let (_in_use, tab) = loop {
                match instance.enter_tab(tab).await {
                    Ok(entered) => break entered,
                    Err(error) => {
                        let problem = paddock_platform::problem::Problem::from(error);
                        assert!(problem.retry_after.is_some(), "{problem:?}");
                        tokio::task::yield_now().await;
                    }
                }
            };
            let seen: String = tab.evaluate_as("localStorage.canary", World::Main, TIMEOUT).await.unwrap();
            if seen != *name {
                return Err(format!("{name} found {seen}"));
            }
        }
        Ok(())
    });
    try_join_all(turns).await.unwrap();
    drop(left);
    fleet.finish().await;
}
