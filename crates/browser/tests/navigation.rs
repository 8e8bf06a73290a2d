//! Navigation to good and bad pages in a real Chromium.

mod support;

use std::time::Duration;

use paddock_browser::{BrowserOptions, NavigateError, NavigateOptions, Stage, TabSpec, Wait, World};
use paddock_platform::units::ByteSize;
use support::{TestFleet, eventually, options, quick};

const TIMEOUT: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_page_is_reached_and_settles() {
    let fleet = TestFleet::start().await;
    let tab = fleet.tab().await;
    let navigation = fleet.visit(&tab, "/redirect/3").await.unwrap();
    assert_eq!(navigation.url, fleet.url("/"));
    assert_eq!(navigation.title, "A page");
    assert_eq!((navigation.status, navigation.mime.as_str()), (Some(200), "text/html"));
    assert_eq!((navigation.redirects, navigation.stage, navigation.settled), (3, Stage::Loaded, true));
    assert!(navigation.bytes > 0 && navigation.requests > 0, "{navigation:?}");
    fleet.finish().await;
}

#[tokio::test]
async fn settling_waits_for_network_and_dom() {
    let fleet = TestFleet::start().await;
    let tab = fleet.tab().await;
    let wait = Wait { quiet: Duration::from_millis(150), ..Wait::settled() };
    let options = NavigateOptions { wait, ..quick() };
    let navigation = tab.navigate(&fleet.url("/late"), options).await.unwrap();
    assert!(navigation.settled);
    assert!(navigation.duration_ms >= 350, "{navigation:?}");
    let text: String = tab.evaluate_as("p.textContent", World::Main, TIMEOUT).await.unwrap();
    assert_eq!(text, "late");
    fleet.finish().await;
}

#[tokio::test]
async fn a_page_that_never_settles_is_given_up_and_said_so() {
    let fleet = TestFleet::start().await;
    let tab = fleet.tab().await;
    let wait = Wait { settle_max: Duration::from_millis(300), ..quick().wait };
    let navigation =
        tab.navigate(&fleet.url("/never-settles"), NavigateOptions { wait, ..quick() }).await.unwrap();
    assert_eq!((navigation.stage, navigation.settled), (Stage::Loaded, false));
    fleet.finish().await;
}

#[tokio::test]
async fn a_page_whose_load_event_never_fires_is_there_but_not_settled() {
    let fleet = TestFleet::start().await;
    let tab = fleet.tab().await;
    let wait = Wait { load_max: Duration::from_millis(300), ..quick().wait };
    let options = NavigateOptions { wait, ..quick() };
    let navigation = tab.navigate(&fleet.url("/never-loads"), options).await.unwrap();
    assert_eq!((navigation.stage, navigation.settled), (Stage::Parsed, false));
    let here: bool =
        tab.evaluate_as("!!document.querySelector('#here')", World::Main, TIMEOUT).await.unwrap();
    assert!(here);
    let navigation = tab.navigate(&fleet.url("/never-ends"), options).await.unwrap();
    assert_eq!((navigation.stage, navigation.settled), (Stage::Committed, false));
    fleet.finish().await;
}

#[tokio::test]
async fn a_page_that_never_answers_times_out() {
    let fleet = TestFleet::start().await;
    let tab = fleet.tab().await;
    let options = NavigateOptions { timeout: Duration::from_millis(300), ..quick() };
    let error = tab.navigate(&fleet.url("/never-answers"), options).await.unwrap_err();
    assert!(matches!(error, NavigateError::Timeout { .. }), "{error:?}");
    fleet.visit(&tab, "/").await.unwrap();
    fleet.finish().await;
}

#[tokio::test]
async fn an_error_status_is_a_page_with_that_status() {
    let fleet = TestFleet::start().await;
    let tab = fleet.tab().await;
    for code in [404, 500] {
        let navigation = fleet.visit(&tab, &format!("/status/{code}")).await.unwrap();
        assert_eq!((navigation.status, navigation.stage), (Some(code), Stage::Loaded));
        let navigation = fleet.visit(&tab, &format!("/bare-status/{code}")).await.unwrap();
        assert_eq!(navigation.status, Some(code));
    }
    fleet.finish().await;
}

#[tokio::test]
async fn redirects_in_circles_are_named() {
    let fleet = TestFleet::start().await;
    let tab = fleet.tab().await;
    for path in ["/redirect-loop", "/script-redirect-loop"] {
        let error = fleet.visit(&tab, path).await.unwrap_err();
        assert!(matches!(error, NavigateError::RedirectLoop { .. }), "{path}: {error:?}");
    }
    fleet.finish().await;
}

#[tokio::test]
async fn a_redirect_by_script_is_followed() {
    let fleet = TestFleet::start().await;
    let tab = fleet.tab().await;
    let navigation = fleet.visit(&tab, "/script-redirect").await.unwrap();
    assert_eq!((navigation.title.as_str(), navigation.redirects), ("there", 1), "{navigation:?}");
    fleet.finish().await;
}

#[tokio::test]
async fn what_is_no_page_is_refused() {
    let fleet = TestFleet::start().await;
    let tab = fleet.tab().await;
    for path in ["/download", "/zip"] {
        let error = fleet.visit(&tab, path).await.unwrap_err();
        assert!(matches!(error, NavigateError::Download { .. }), "{path}: {error:?}");
    }
    for (path, expected) in [("/bare-status/204", ""), ("/video", "video/mp4")] {
        let error = fleet.visit(&tab, path).await.unwrap_err();
        assert!(
            matches!(&error, NavigateError::NotAPage { mime, .. } if mime == expected),
            "{path}: {error:?}"
        );
    }
    fleet.visit(&tab, "/").await.unwrap();
    fleet.finish().await;
}

#[tokio::test]
async fn addresses_that_are_no_pages_are_refused() {
    let fleet = TestFleet::start().await;
    let tab = fleet.tab().await;
    for url in
        ["file:///etc/passwd", "chrome://version", "javascript:alert(1)", "data:text/html,x", "ftp://x/"]
    {
        let error = tab.navigate(&url.parse().unwrap(), quick()).await.unwrap_err();
        assert!(matches!(error, NavigateError::InvalidUrl { .. }), "{url}: {error:?}");
    }
    fleet.finish().await;
}

#[tokio::test]
async fn a_file_is_opened_only_when_allowed() {
    let fleet = TestFleet::start().await;
    let tab = fleet.tab().await;
    let file = fleet.data.path().join("page.html");
    std::fs::write(&file, "<!doctype html><title>On disk</title>").unwrap();
    let url = url::Url::from_file_path(&file).unwrap();
    let allowed = NavigateOptions { allow_file: true, ..quick() };
    let navigation = tab.navigate(&url, allowed).await.unwrap();
    assert_eq!((navigation.title.as_str(), navigation.status), ("On disk", None));
    let missing = url::Url::from_file_path(fleet.data.path().join("missing.html")).unwrap();
    let error = tab.navigate(&missing, allowed).await.unwrap_err();
    assert!(matches!(error, NavigateError::InvalidUrl { .. }), "{error:?}");
    fleet.finish().await;
}

#[tokio::test]
async fn a_private_network_is_refused_also_behind_a_redirect() {
    let fleet = TestFleet::start().await;
    let tab = fleet.tab().await;
    for url in ["http://10.0.0.1/".parse().unwrap(), fleet.url("/private-redirect")] {
        let error = tab.navigate(&url, quick()).await.unwrap_err();
        let NavigateError::AddressRefused { address, .. } = &error else { panic!("{url}: {error:?}") };
        assert_eq!(address.to_string(), "10.0.0.1");
        assert!(error.to_string().contains("[browser] allow"), "{error}");
    }
    fleet.finish().await;
}

#[tokio::test]
async fn hosts_that_do_not_answer_are_told_apart() {
    let fleet = TestFleet::start().await;
    let tab = fleet.tab().await;
    let error = tab.navigate(&"http://no-such-host.invalid/".parse().unwrap(), quick()).await.unwrap_err();
    assert!(matches!(error, NavigateError::HostNotFound { .. }), "{error:?}");

    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let error = tab.navigate(&format!("http://{address}/").parse().unwrap(), quick()).await.unwrap_err();
    assert!(matches!(error, NavigateError::Unreachable { .. }), "{error:?}");

    // The plain server answers the handshake with something that is not TLS.
    let url = format!("https://{}/", fleet.pages.address).parse().unwrap();
    let error = tab.navigate(&url, quick()).await.unwrap_err();
    assert!(matches!(error, NavigateError::Tls { .. }), "{error:?}");
    fleet.finish().await;
}

#[tokio::test]
async fn a_server_that_hangs_up_gave_no_usable_answer() {
    let fleet = TestFleet::start().await;
    let tab = fleet.tab().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let hang_up = fleet.tasks.spawn("test_hang_up", async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.readable().await.ok();
        }
    });
    let error = tab.navigate(&format!("http://{address}/").parse().unwrap(), quick()).await.unwrap_err();
    assert!(
        matches!(&error, NavigateError::BadAnswer { .. } | NavigateError::Unreachable { .. }),
        "{error:?}"
    );
    hang_up.abort();
    fleet.finish().await;
}

#[tokio::test]
async fn a_page_that_is_too_large_is_stopped() {
    let fleet = TestFleet::start_with(BrowserOptions { page_size_max: ByteSize::mib(8), ..options() }).await;
    let tab = fleet.tab().await;
    for path in ["/huge", "/promises-much", "/huge-parts"] {
        let error = fleet.visit(&tab, path).await.unwrap_err();
        assert!(matches!(error, NavigateError::PageTooLarge { .. }), "{path}: {error:?}");
        assert!(error.to_string().contains("8MiB"), "{error}");
    }
    fleet.visit(&tab, "/").await.unwrap();
    fleet.finish().await;
}

#[tokio::test]
async fn dialogs_are_dismissed_and_counted() {
    let fleet = TestFleet::start().await;
    let tab = fleet.tab().await;
    let navigation = fleet.visit(&tab, "/alert").await.unwrap();
    assert_eq!((navigation.dialogs, navigation.settled), (3, true));
    fleet.visit(&tab, "/stay").await.unwrap();
    fleet.visit(&tab, "/").await.unwrap();
    fleet.finish().await;
}

#[tokio::test]
async fn endless_dialogs_close_the_tab_and_nothing_else() {
    let fleet = TestFleet::start().await;
    let instance = fleet.instance().await;
    let (bad, good) = tokio::join!(instance.open(TabSpec::default()), instance.open(TabSpec::default()));
    let (bad, good) = (bad.unwrap(), good.unwrap());
    let error = fleet.visit(&bad, "/alert-loop").await.unwrap_err();
    assert!(matches!(error, NavigateError::Dialogs { .. }), "{error:?}");
    eventually("the tab is gone", || instance.tabs().len() == 1).await;
    fleet.visit(&good, "/").await.unwrap();
    fleet.finish().await;
}

#[tokio::test]
async fn an_endless_script_leaves_the_server_in_control() {
    let fleet = TestFleet::start().await;
    let tab = fleet.tab().await;
    let wait = Wait { load_max: Duration::from_millis(300), ..quick().wait };
    let navigation = tab.navigate(&fleet.url("/js-loop"), NavigateOptions { wait, ..quick() }).await.unwrap();
    assert!(!navigation.settled);
    let error = tab.evaluate("1", World::Main, Duration::from_millis(200)).await.unwrap_err();
    assert!(matches!(error, paddock_browser::EvaluateError::Timeout(_)), "{error:?}");
    // The script was ended, so the page answers again.
    let one: i32 = tab.evaluate_as("1", World::Main, TIMEOUT).await.unwrap();
    assert_eq!(one, 1);
    fleet.visit(&tab, "/").await.unwrap();
    fleet.finish().await;
}

#[tokio::test]
async fn windows_that_a_page_opens_become_tabs_within_the_bound() {
    let fleet = TestFleet::start_with(BrowserOptions { tabs_per_instance_max: 4, ..options() }).await;
    let instance = fleet.instance().await;
    let tab = instance.open(TabSpec::default()).await.unwrap();
    fleet.visit(&tab, "/popups").await.unwrap();
    eventually("the pop-ups are tabs", || instance.tabs().len() == 4).await;
    let error = instance.open(TabSpec::default()).await.unwrap_err();
    assert!(error.to_string().contains('4'), "{error}");
    fleet.finish().await;
}

#[tokio::test]
async fn more_navigations_than_the_queue_holds_are_refused() {
    let fleet = TestFleet::start_with(BrowserOptions {
        navigation_concurrency_max: std::num::NonZeroUsize::new(1),
        navigation_queue_max: 0,
        ..options()
    })
    .await;
    let instance = fleet.instance().await;
    let (first, second) = tokio::join!(instance.open(TabSpec::default()), instance.open(TabSpec::default()));
    let (first, second) = (first.unwrap(), second.unwrap());
    let hanging = NavigateOptions { timeout: Duration::from_millis(500), ..quick() };
    let never = fleet.url("/never-answers");
    let (late, busy) = tokio::join!(first.navigate(&never, hanging), fleet.visit(&second, "/"));
    assert!(matches!(late.unwrap_err(), NavigateError::Timeout { .. }));
    assert!(matches!(busy.unwrap_err(), NavigateError::Busy { .. }));
    fleet.finish().await;
}
