//! The client against a real Chromium.

mod support;

use std::time::Duration;

use paddock_cdp::{
    CallError, Connection, ConnectionOptions, SessionState,
    protocol::{
        browser::GetVersion,
        page,
        runtime::{Evaluate, TerminateExecution},
        target::CloseTarget,
    },
};
use serde_json::json;
use support::{Chromium, eventually};
use tokio_util::task::TaskTracker;

const fn expression(expression: &str) -> Evaluate<'_> {
    Evaluate { expression, context_id: None, await_promise: true, return_by_value: true, user_gesture: false }
}

#[tokio::test]
async fn sessions_share_a_connection_and_do_not_mix_replies() {
    let chromium = Chromium::start().await;
    let (first, second) = tokio::join!(chromium.page("about:blank"), chromium.page("about:blank"));
    for _ in 0..20 {
        let (one, two) = (expression("1"), expression("2"));
        let (a, b) = tokio::join!(first.send(&one), second.send(&two));
        assert_eq!(a.unwrap().result.value.unwrap().get(), "1");
        assert_eq!(b.unwrap().result.value.unwrap().get(), "2");
    }
}

#[tokio::test]
async fn an_error_of_chrome_keeps_its_code_and_words() {
    let chromium = Chromium::start().await;
    let browser = chromium.connection.browser();
    let error = browser.call("No.such", &json!({}), Duration::from_secs(10)).await.unwrap_err();
    assert!(matches!(&error, CallError::Protocol { code: -32601, .. }), "{error:?}");
    assert!(error.to_string().contains("No.such"), "{error}");
}

#[tokio::test]
async fn a_call_that_misses_its_deadline_leaves_nothing_behind() {
    let chromium = Chromium::start().await;
    let page = chromium.page("about:blank").await;
    let error = page.send_within(&expression("for (;;) {}"), Duration::from_millis(50)).await.unwrap_err();
    assert!(matches!(error, CallError::Deadline { .. }), "{error:?}");
    assert_eq!(chromium.connection.calls_in_flight(), 0);
    // On a busy machine the loop may not have begun when the first command to end it arrives.
    let answer = loop {
        page.send(&TerminateExecution {}).await.unwrap();
        match page.send_within(&expression("6 * 7"), Duration::from_millis(500)).await {
            Err(CallError::Deadline { .. }) => {}
            result => break result.unwrap(),
        }
    };
    assert_eq!(answer.result.value.unwrap().get(), "42");
}

#[tokio::test]
async fn a_call_whose_future_is_dropped_leaves_nothing_behind() {
    let chromium = Chromium::start().await;
    let page = chromium.page("about:blank").await;
    let never = expression("new Promise(() => {})");
    let mut call = Box::pin(page.send(&never));
    assert!(futures_util::poll!(&mut call).is_pending());
    assert_eq!(chromium.connection.calls_in_flight(), 1);
    drop(call);
    assert_eq!(chromium.connection.calls_in_flight(), 0);
}

#[tokio::test]
async fn a_crashed_target_fails_its_calls_at_once_and_a_navigation_revives_it() {
    let chromium = Chromium::start().await;
    let (crashing, other) = tokio::join!(chromium.page("about:blank"), chromium.page("about:blank"));
    crashing.send(&page::Enable {}).await.unwrap();
    let never = expression("new Promise(() => {})");
    let (hanging, _) = tokio::join!(
        crashing.send_within(&never, Duration::from_mins(1)),
        crashing.send_within(&page::Crash {}, Duration::from_mins(1)),
    );
    assert!(matches!(hanging.unwrap_err(), CallError::Crashed { .. }));
    assert_eq!(crashing.ended().await, SessionState::Crashed);
    assert!(matches!(crashing.send(&expression("1")).await.unwrap_err(), CallError::Crashed { .. }));
    assert_eq!(other.send(&expression("1")).await.unwrap().result.value.unwrap().get(), "1");

    crashing.revive();
    crashing.send(&page::Navigate { url: "about:blank" }).await.unwrap();
    assert_eq!(crashing.send(&expression("1")).await.unwrap().result.value.unwrap().get(), "1");
}

#[tokio::test]
async fn a_closed_target_detaches_its_session() {
    let chromium = Chromium::start().await;
    let page = chromium.page("about:blank").await;
    let mut events = page.subscribe(&["Page.frameNavigated"], 4);
    let close = CloseTarget { target_id: page.target_id() };
    chromium.connection.browser().send(&close).await.unwrap();
    assert_eq!(page.ended().await, SessionState::Detached);
    assert!(matches!(page.send(&expression("1")).await.unwrap_err(), CallError::Detached { .. }));
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn killing_chrome_fails_every_pending_call() {
    let mut chromium = Chromium::start().await;
    let page = chromium.page("about:blank").await;
    let never = expression("new Promise(() => {})");
    let call = page.send_within(&never, Duration::from_mins(1));
    let (result, _) = tokio::join!(call, chromium.child.kill());
    assert!(matches!(result.unwrap_err(), CallError::Closed { .. }));
    chromium.connection.closed().await;
    assert_eq!(page.state(), SessionState::Closed);
    let error = chromium.connection.browser().send(&GetVersion {}).await.unwrap_err();
    assert!(matches!(error, CallError::Closed { .. }), "{error:?}");
}

#[tokio::test]
async fn chrome_exits_when_the_last_handle_is_dropped() {
    let Chromium { mut child, connection, tasks, profile } = Chromium::start().await;
    drop(connection);
    tasks.close();
    tasks.wait().await;
    child.wait().await.unwrap();
    drop(profile);
}

#[tokio::test]
async fn a_reply_over_the_maximum_fails_its_call_and_nothing_else() {
    let options = ConnectionOptions { message_size_max: 64 << 10, ..ConnectionOptions::default() };
    let chromium = Chromium::start_with(options).await;
    let page = chromium.page("about:blank").await;
    let error = page.send(&expression("'x'.repeat(1e6)")).await.unwrap_err();
    assert!(matches!(error, CallError::TooLarge { size, .. } if size > 1_000_000), "{error:?}");
    let error = page.send(&expression(&format!("'{}'", "x".repeat(100_000)))).await.unwrap_err();
    assert!(matches!(error, CallError::TooLarge { .. }), "{error:?}");
    assert_eq!(page.send(&expression("1")).await.unwrap().result.value.unwrap().get(), "1");
}

#[tokio::test]
async fn more_calls_than_the_maximum_are_refused() {
    let options = ConnectionOptions { calls_max: 1, ..ConnectionOptions::default() };
    let chromium = Chromium::start_with(options).await;
    let page = chromium.page("about:blank").await;
    let (never, one) = (expression("new Promise(() => {})"), expression("1"));
    let (_, refused) = tokio::join!(page.send_within(&never, Duration::from_millis(50)), page.send(&one));
    assert!(matches!(refused.unwrap_err(), CallError::TooManyCalls { calls_max: 1, .. }));
}

#[tokio::test]
async fn a_running_chrome_is_reached_by_its_websocket_address() {
    let profile = tempfile::tempdir().unwrap();
    let mut child = support::command(profile.path(), "--remote-debugging-port=0").spawn().unwrap();
    let port_file = profile.path().join("DevToolsActivePort");
    eventually("Chrome writes its port", || {
        std::fs::read_to_string(&port_file).is_ok_and(|text| text.lines().count() == 2)
    })
    .await;
    let text = std::fs::read_to_string(&port_file).unwrap();
    let (port, path) = text.trim().split_once('\n').unwrap();
    let (connection, driver) =
        Connection::open_websocket(&format!("ws://127.0.0.1:{port}{path}"), ConnectionOptions::default())
            .await
            .unwrap();
    let tasks = TaskTracker::new();
    tasks.spawn(driver.run());
    let version = connection.browser().send(&GetVersion {}).await.unwrap();
    assert!(version.product.contains("Chrome/"), "{version:?}");
    child.kill().await.unwrap();
    connection.closed().await;
}

#[tokio::test]
async fn an_address_where_nobody_listens_is_a_clear_error() {
    let error =
        Connection::open_websocket("ws://127.0.0.1:1/devtools/browser/x", ConnectionOptions::default())
            .await
            .unwrap_err();
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
}

#[tokio::test]
async fn a_session_that_nobody_holds_any_more_is_closed_in_chrome_too() {
    let chromium = Chromium::start().await;
    let page = chromium.page("about:blank").await;
    let target = page.target_id().to_owned();
    let browser = chromium.connection.browser();
    let mut detached = browser.subscribe(&["Target.detachedFromTarget"], 16);
    drop(page);
    let event = tokio::time::timeout(Duration::from_secs(10), detached.next()).await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(event.params.as_bytes()).contains(&target));
    // The target stays, and can be attached to again.
    let again = chromium.connection.attach(&target).await.unwrap();
    assert_eq!(again.send(&expression("6 * 7")).await.unwrap().result.value.unwrap().get(), "42");
}
