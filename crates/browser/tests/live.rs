//! What is long-lived or spans instances: batches, lists, events, screencasts and recordings.

#![expect(clippy::unwrap_used, reason = "in functions that tests share")]

mod support;

use std::time::Duration;

use axum::Extension;
use futures_util::{SinkExt, StreamExt};
use http::StatusCode;
use paddock_browser::{BrowserOptions, BrowserService, Instance, TabSpec, router};
use paddock_platform::identity::{Caller, Scope};
use serde_json::{Value, json};
use support::{TestFleet, options};
use tokio_tungstenite::tungstenite::Message;

struct Api {
    base: String,
    client: reqwest::Client,
}

impl Api {
    async fn serve(fleet: &TestFleet, service: &BrowserService, caller: Caller) -> Self {
        let (routes, _) = router(service.clone()).split_for_parts();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let stopping = fleet.tasks.stop_token();
        fleet.tasks.spawn("test_api", async move {
            tokio::select! {
                result = axum::serve(listener, routes.layer(Extension(caller))).into_future() => result.unwrap(),
                () = stopping.cancelled() => {}
            }
        });
        Self { base, client: reqwest::Client::builder().no_proxy().build().unwrap() }
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        let response = self.client.get(format!("{}{path}", self.base)).send().await.unwrap();
        (response.status(), response.json().await.unwrap())
    }

    async fn post(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        let response = self.client.post(format!("{}{path}", self.base)).json(body).send().await.unwrap();
        (response.status(), response.json().await.unwrap())
    }

    /// Asks for the recording's status until a condition holds; a long maximum, so that running into it means a defect.
    async fn recording_until(&self, what: &str, holds: impl Fn(&Value) -> bool) {
        let asked = std::time::Instant::now();
        loop {
            let (_, status) = self.get("/record/status").await;
            if holds(&status) {
                return;
            }
            assert!(asked.elapsed() < Duration::from_secs(30), "never happened: {what}: {status}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn started(options: BrowserOptions) -> (TestFleet, BrowserService, Api) {
    let fleet = TestFleet::start_with(options).await;
    let service = BrowserService::new(fleet.fleet.clone());
    let api = Api::serve(&fleet, &service, Caller::local()).await;
    (fleet, service, api)
}

#[tokio::test]
async fn a_batch_keeps_the_good_ones_and_says_what_is_wrong_with_the_others() {
    let (fleet, _service, api) = started(options()).await;
    let instance = fleet.instance().await;
    let path = format!("/instances/{}/batch-navigate", instance.id());
    let good = fleet.url("/title/one");
    // Nobody listens there any more.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let urls = json!([good, format!("http://{closed}/"), { "url": fleet.url("/title/two"), "waitFor": "dom" }, "file:///etc/passwd", "nonsense"]);
    let (status, outcome) = api.post(&path, &json!({ "urls": urls, "concurrency": 2 })).await;
    assert_eq!(status, StatusCode::MULTI_STATUS, "{outcome}");
    assert_eq!((&outcome["succeeded"], &outcome["failed"]), (&json!(2), &json!(3)), "{outcome}");
    let results = outcome["results"].as_array().unwrap();
    let titles: Vec<_> = results.iter().map(|result| result["title"].as_str()).collect();
    assert_eq!(titles, [Some("one"), None, Some("two"), None, None]);
    assert!(
        results[1]["error"]["type"].as_str().is_some_and(|kind| kind.contains("host-unreachable")),
        "{outcome}"
    );
    // What did not come leaves no tab behind.
    support::eventually("the tabs of failed pages are closed", || instance.tabs().len() == 2).await;
    let (status, outcome) = api.post("/batch-navigate", &json!([good])).await;
    assert_eq!((status, &outcome["results"][0]["instanceId"]), (StatusCode::OK, &json!(instance.id())));
    assert_eq!(api.post("/batch-navigate", &json!([])).await.0, StatusCode::BAD_REQUEST);
    fleet.finish().await;
}

#[tokio::test]
async fn a_batch_fills_instances_and_streams_its_results() {
    let (fleet, _service, api) = started(BrowserOptions { tabs_per_instance_max: 2, ..options() }).await;
    let urls: Vec<_> = (0..5).map(|number| fleet.url(&format!("/title/{number}"))).collect();
    let request =
        api.client.post(format!("{}/batch-navigate?stream=true", api.base)).json(&json!({ "urls": urls }));
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    let text = response.text().await.unwrap();
    let mut indexes: Vec<_> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .inspect(|result| assert_eq!(result["ok"], json!(true), "{result}"))
        .filter_map(|result| result["index"].as_u64())
        .collect();
    indexes.sort_unstable();
    assert_eq!(indexes, [0, 1, 2, 3, 4]);
    assert_eq!(fleet.fleet.handles().len(), 3);
    fleet.finish().await;
}

#[tokio::test]
async fn lists_are_remembered_until_something_changes() {
    let (fleet, service, api) = started(options()).await;
    let first = fleet.instance().await;
    let tab = first.open(TabSpec::default()).await.unwrap();
    fleet.visit(&tab, "/title/before").await.unwrap();
    let titles = async || {
        let (_, list) = api.get("/tabs").await;
        list["tabs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|tab| tab["title"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(titles().await, ["before"]);
    // Behind the list's back: no event tells of a title that a script sets.
    tab.evaluate("document.title = 'changed'", paddock_browser::World::Main, Duration::from_secs(5))
        .await
        .unwrap();
    assert_eq!(titles().await, ["before"]);
    assert_eq!(api.get("/instances/tabs?fresh=1").await.1[0]["title"], json!("changed"));
    fleet.visit(&tab, "/title/after").await.unwrap();
    assert_eq!(titles().await, ["after"]);
    let second = first.open(TabSpec::default()).await.unwrap();
    assert_eq!(titles().await.len(), 2);
    api.post("/close", &json!({ "tabId": second.id() })).await;
    assert_eq!(titles().await.len(), 1);
    assert_eq!(api.get("/instances").await.1.as_array().unwrap().len(), 1);
    fleet.instance().await;
    assert_eq!(api.get("/instances").await.1.as_array().unwrap().len(), 2);
    let stranger = Caller::with_key("k2", "other".parse().unwrap(), vec![Scope::admin("browser")]);
    let stranger = Api::serve(&fleet, &service, stranger).await;
    assert_eq!(stranger.get("/tabs").await.1, json!({ "tabs": [] }));
    assert_eq!(stranger.get("/instances").await.1, json!([]));
    fleet.finish().await;
}

/// Reads a stream of events up to one of a type.
struct Events {
    body: futures_util::stream::BoxStream<'static, String>,
    text: String,
}

impl Events {
    async fn open(api: &Api, query: &str, last_id: Option<&str>) -> Self {
        let mut request = api.client.get(format!("{}/events{query}", api.base));
        if let Some(id) = last_id {
            request = request.header("last-event-id", id);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let body =
            response.bytes_stream().map(|part| String::from_utf8(part.unwrap().to_vec()).unwrap()).boxed();
        Self { body, text: String::new() }
    }

    /// The next event: its id and what it says.
    async fn next(&mut self) -> (String, Value) {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    event.lines().find_map(|line| line.strip_prefix(name)).map(|it| it.trim().to_owned())
                };
                let found = field("data:")
                    .map(|data| (field("id:").unwrap_or_default(), serde_json::from_str(&data).unwrap()));
                let rest = rest.len();
                self.text.drain(..self.text.len() - rest);
                if let Some(found) = found {
                    return found;
                }
                continue;
            }
            let more = tokio::time::timeout(Duration::from_secs(30), self.body.next()).await;
            self.text += &more.expect("an event comes").expect("the stream goes on");
        }
    }

    async fn until(&mut self, kind: &str) -> (String, Value) {
        loop {
            let (id, event) = self.next().await;
            if event["type"] == kind {
                return (id, event);
            }
        }
    }
}

#[tokio::test]
async fn what_pages_do_is_streamed_and_a_lost_connection_misses_nothing() {
    let (fleet, service, api) = started(options()).await;
    let instance: Instance = fleet.instance().await;
    let mut events = Events::open(&api, "", None).await;
    let mut dialogs = Events::open(&api, "?types=dialog,tabCrashed", None).await;
    let stranger = Caller::with_key("k2", "other".parse().unwrap(), vec![Scope::admin("browser")]);
    let stranger = Api::serve(&fleet, &service, stranger).await;
    let mut strange = Events::open(&stranger, "", None).await;

    let tab = instance.open(TabSpec::default()).await.unwrap();
    let (_, opened) = events.until("tabOpened").await;
    assert_eq!((&opened["tabId"], &opened["instanceId"]), (&json!(tab.id()), &json!(instance.id())));
    fleet.visit(&tab, "/alert").await.unwrap();
    let (seen, navigated) = events.until("tabNavigated").await;
    assert_eq!(navigated["url"], json!(fleet.url("/alert")));
    drop(events);
    assert_eq!(dialogs.next().await.1["dialog"], json!("alert"));

    let mut resumed = Events::open(&api, "", Some(&seen)).await;
    assert_eq!(resumed.next().await.1["type"], json!("dialog"));
    tab.close().await;
    resumed.until("tabClosed").await;
    let mut lost = Events::open(&api, "", Some("another-1")).await;
    assert_eq!(lost.next().await.1["type"], json!("lagged"));

    // A stranger's first event is of its own instance.
    let own = stranger.post("/instances/start", &json!({})).await.1;
    assert_eq!(strange.next().await.1["instanceId"], own["id"]);
    drop((resumed, lost, dialogs, strange));
    fleet.finish().await;
}

#[tokio::test]
async fn a_viewer_sees_a_page_and_works_in_it() {
    let (fleet, _service, api) = started(options()).await;
    let tab = fleet.tab().await;
    fleet.visit(&tab, "/title/seen").await.unwrap();
    let page = "document.body.innerHTML = '<button style=\"position:fixed;inset:0 50% 50% 0\">A</button><input style=\"position:fixed;inset:50% 0 0 50%\">';
        document.querySelector('button').onclick = () => { document.title = 'clicked' }";
    let evaluate = async |script: &str| {
        let value = tab.evaluate(script, paddock_browser::World::Main, Duration::from_secs(5)).await.unwrap();
        value.get().to_owned()
    };
    evaluate(page).await;
    let url = format!("{}/screencast?tabId={}&fps=30&maxWidth=400", api.base.replace("http", "ws"), tab.id());
    let (mut viewer, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    let picture = loop {
        if let Message::Binary(picture) = viewer.next().await.unwrap().unwrap() {
            break picture;
        }
    };
    assert_eq!(&picture[..3], [0xff, 0xd8, 0xff]);
    let mouse = |event: &str, x: f64, y: f64| {
        let input = json!({ "type": "mouse", "event": event, "x": x, "y": y, "frameW": 1.0, "frameH": 1.0,
            "button": "left", "clickCount": 1 });
        Message::Text(input.to_string().into())
    };
    for (x, y) in [(0.25, 0.25), (0.75, 0.75)] {
        viewer.send(mouse("down", x, y)).await.unwrap();
        viewer.send(mouse("up", x, y)).await.unwrap();
    }
    for event in ["down", "up"] {
        let key = json!({ "type": "key", "event": event, "key": "h", "code": "KeyH", "keyCode": 72 });
        viewer.send(Message::Text(key.to_string().into())).await.unwrap();
    }
    viewer.send(Message::Text(json!({ "type": "text", "text": "ello" }).to_string().into())).await.unwrap();
    // Input is taken in order: when the text is there, all of it was.
    let typed = "new Promise(done => { const input = document.querySelector('input');
        const look = () => input.value === 'hello' ? done(document.title) : requestAnimationFrame(look); look() })";
    assert_eq!(evaluate(typed).await, "\"clicked\"");
    drop(viewer);
    assert_eq!(api.get("/screencast/tabs").await.1[0]["id"], json!(tab.id()));
    fleet.finish().await;
}

#[tokio::test]
async fn a_recording_becomes_a_film() {
    let (fleet, _service, api) = started(options()).await;
    let tab = fleet.tab().await;
    fleet.visit(&tab, "/never-settles").await.unwrap();
    assert_eq!(api.get("/record/status").await.1["state"], json!("idle"));
    assert_eq!(api.post("/record/stop", &json!({})).await.0, StatusCode::BAD_REQUEST);
    let (status, problem) = api.post("/record/start", &json!({ "format": "avi" })).await;
    assert!(status.is_client_error() && problem["detail"].as_str().unwrap().contains("gif"), "{problem}");
    let (status, started) =
        api.post("/record/start", &json!({ "fps": 90, "scale": 0.3, "tabId": tab.id() })).await;
    assert_eq!((status, &started["status"]), (StatusCode::OK, &json!("recording")), "{started}");
    assert_eq!((&started["fps"], &started["quality"]), (&json!(30), &json!(80)), "{started}");
    assert_eq!(api.post("/record/start", &json!({})).await.0, StatusCode::BAD_REQUEST);
    api.recording_until("three frames", |status| status["frames"].as_u64().unwrap() >= 3).await;
    let (_, stopped) = api.post("/record/stop", &json!({})).await;
    assert_eq!(stopped["status"], json!("encoding"));
    api.recording_until("the film", |status| status["active"] == json!(false)).await;
    let (_, finished) = api.get("/record/status").await;
    assert_eq!((&finished["state"], &finished["outputPath"]), (&json!("finished"), &stopped["path"]));
    let film =
        api.client.get(format!("{}/record/file", api.base)).send().await.unwrap().bytes().await.unwrap();
    assert_eq!(&film[..6], b"GIF89a");
    assert_eq!(std::fs::read(stopped["path"].as_str().unwrap()).unwrap(), film);

    // What is discarded leaves no file.
    let files = std::path::Path::new(stopped["path"].as_str().unwrap()).parent().unwrap();
    api.post("/record/start", &json!({ "scale": 0 })).await;
    assert_eq!(api.post("/record/stop", &json!({ "discard": true })).await.1["status"], json!("discarded"));
    assert_eq!(std::fs::read_dir(files).unwrap().count(), 1);
    fleet.finish().await;
}

#[tokio::test]
async fn a_recording_at_its_bound_says_so_and_waits_to_be_stopped() {
    let (fleet, _service, api) = started(BrowserOptions { record_frames_max: 2, ..options() }).await;
    let tab = fleet.tab().await;
    fleet.visit(&tab, "/never-settles").await.unwrap();
    api.post("/record/start", &json!({ "fps": 30, "scale": 0.2, "tabId": tab.id() })).await;
    api.recording_until("the bound", |status| status["state"] == json!("limit_reached")).await;
    let (_, full) = api.get("/record/status").await;
    assert_eq!((&full["stopReason"], &full["frames"]), (&json!("max_frames"), &json!(2)), "{full}");
    assert_eq!(api.post("/record/stop", &json!({})).await.1["status"], json!("encoding"));
    api.recording_until("the film", |status| status["state"] == json!("finished")).await;
    fleet.finish().await;
}
