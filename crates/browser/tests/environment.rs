//! What callers see of a page's traffic, console and storage, and what they make it believe.

#![expect(clippy::unwrap_used, reason = "in functions that tests share")]

#[path = "support/api.rs"]
mod api;
mod support;

use std::time::Duration;

use api::{Api, started, started_with};
use axum::{
    Router,
    extract::ws::{Message, WebSocketUpgrade},
    response::{Html, IntoResponse, Redirect},
    routing::get,
};
use futures_util::StreamExt;
use http::{HeaderMap, Method, StatusCode, header};
use paddock_browser::BrowserOptions;
use serde_json::{Value, json};
use support::{TestFleet, eventually, options};

/// A site with pages that the shared one does not have.
async fn site(fleet: &TestFleet) -> String {
    let page = |body: &'static str| {
        get(move || async move { Html(format!("<!doctype html><title>P</title>{body}")) })
    };
    let router = Router::new()
        .route("/blank", page("<p>blank</p>"))
        .route(
            "/console",
            page(
                "<script>console.log('hello', 7); console.warn('careful'); throw new Error('boom')</script>",
            ),
        )
        .route(
            "/console-flood",
            page(
                "<script>const s = 'x'.repeat(1e7);
            for (let i = 0; i < 20; i++) console.log(s + i)</script>",
            ),
        )
        .route("/socket-flood", page("<script>new WebSocket('ws://' + location.host + '/socket')</script>"))
        .route(
            "/socket",
            get(|upgrade: WebSocketUpgrade| async {
                upgrade.on_upgrade(|mut socket| async move {
                    let text = "x".repeat(8 << 20);
                    while socket.send(Message::Text(text.clone().into())).await.is_ok() {}
                })
            }),
        )
        .route(
            "/requests",
            page("<script>fetch('/data?q=1').then(r => r.text()); fetch('/old'); fetch('/missing')</script>"),
        )
        .route("/data", get(|| async { ([(header::SET_COOKIE, "seen=1")], "some data") }))
        .route("/old", get(|| async { Redirect::to("/data") }))
        .route(
            "/headers",
            get(|headers: HeaderMap| async move {
                headers.get("x-test").map_or("none", |value| value.to_str().unwrap()).to_owned()
            }),
        )
        .route(
            "/private",
            get(|headers: HeaderMap| async move {
                match headers.get(header::AUTHORIZATION) {
                    Some(_) => Html("<title>inside</title>").into_response(),
                    None => (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Basic realm=x")])
                        .into_response(),
                }
            }),
        )
        .route(
            "/upload",
            page(
                "<input type=file id=one><div id=host></div><script>
            host.attachShadow({ mode: 'open' }).innerHTML = '<input type=file id=deep>'</script>",
            ),
        )
        .route(
            "/file",
            get(|headers: HeaderMap| async move {
                let cookie = headers.get(header::COOKIE).map_or("", |value| value.to_str().unwrap());
                ([(header::CONTENT_TYPE, "text/plain")], format!("cookie: {cookie}"))
            }),
        )
        .route("/large-file", get(|| async { "x".repeat(3 << 20) }))
        .route("/away", get(|| async { Redirect::to("http://10.0.0.1/secret") }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let stopping = fleet.tasks.stop_token();
    fleet.tasks.spawn("test_site", async move {
        tokio::select! {
            result = axum::serve(listener, router).into_future() => result.unwrap(),
            () = stopping.cancelled() => {}
        }
    });
    base
}

async fn go(api: &Api, url: &str) -> String {
    let (status, page) = api.post("/navigate", json!({ "url": url, "waitFor": "networkidle" })).await;
    assert_eq!(status, StatusCode::OK, "{page}");
    page["tabId"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_console_shows_what_the_page_wrote_and_threw_until_it_is_cleared() {
    let (fleet, _service, api) = started().await;
    let site = site(&fleet).await;
    let tab = go(&api, &format!("{site}/console")).await;
    let (_, console) = api.get("/console").await;
    assert_eq!(console["tabId"], json!(tab));
    let seen: Vec<_> =
        console["console"].as_array().unwrap().iter().map(|m| (&m["level"], &m["message"])).collect();
    assert_eq!(seen, [(&json!("log"), &json!("hello 7")), (&json!("warn"), &json!("careful"))]);
    let (_, errors) = api.get(&format!("/errors?tabId={tab}")).await;
    assert!(errors["errors"][0]["message"].as_str().unwrap().contains("boom"), "{errors}");
    assert_eq!(api.get("/console?limit=1").await.1["console"][0]["level"], json!("warn"));
    assert_eq!(api.post("/console/clear", json!({})).await.1["success"], json!(true));
    assert_eq!(api.get("/console").await.1["console"], json!([]));
    assert_eq!(api.get("/errors").await.1["errors"].as_array().unwrap().len(), 1);
    api.evaluate("console.log('again')").await;
    assert_eq!(api.get("/console").await.1["console"][0]["message"], json!("again"));
    fleet.finish().await;
}

#[tokio::test]
async fn a_page_that_floods_its_console_disturbs_nobody() {
    let (fleet, _service, api) = started().await;
    let site = site(&fleet).await;
    go(&api, &format!("{site}/console-flood")).await;
    let before = fleet.fleet.process_ids();
    go(&api, &format!("{site}/blank")).await;
    assert_eq!(api.evaluate("document.title").await, json!("P"));
    assert_eq!(fleet.fleet.process_ids(), before);
    fleet.finish().await;
}

#[tokio::test]
async fn a_tab_that_floods_the_pipe_is_closed_and_the_others_stay() {
    let (fleet, _service, api) = started().await;
    let site = site(&fleet).await;
    let other = go(&api, &format!("{site}/blank")).await;
    let pids = fleet.fleet.process_ids();
    let (_, flood) =
        api.post("/navigate", json!({ "url": format!("{site}/socket-flood"), "newTab": true })).await;
    let flood = flood["tabId"].as_str().map(str::to_owned);
    let tabs = || fleet.fleet.instances().iter().map(|instance| instance.tabs).sum::<usize>();
    eventually("the flooding tab is closed", || tabs() == 1).await;
    let (_, list) = api.get("/tabs").await;
    assert_eq!(list["tabs"][0]["id"], json!(other), "{flood:?}");
    assert_eq!(fleet.fleet.process_ids(), pids);
    fleet.finish().await;
}

#[tokio::test]
async fn the_network_log_lists_exports_and_forgets_requests() {
    let (fleet, _service, api) = started().await;
    let site = site(&fleet).await;
    let tab = go(&api, &format!("{site}/requests")).await;
    let (_, list) = api.get("/network").await;
    let entries = list["entries"].as_array().unwrap();
    assert_eq!(list["count"], json!(entries.len()));
    let of = |path: &str| entries.iter().find(|e| e["url"].as_str().unwrap().ends_with(path)).unwrap();
    let data = of("/data?q=1");
    assert_eq!(
        (&data["status"], &data["resourceType"], &data["finished"]),
        (&json!(200), &json!("Fetch"), &json!(true))
    );
    assert_eq!(of("/old")["status"], json!(303));
    let (_, missing) = api.get("/network?status=4xx&type=xhr").await;
    assert_eq!(missing["count"], json!(1));
    let (_, broken) = api.get("/network?broken=true").await;
    assert_eq!(
        (&broken["broken"][0]["statusCode"], &broken["broken"][0]["resourceType"]),
        (&json!(404), &json!("fetch"))
    );
    assert_eq!(api.get("/network?filter=*/data*&limit=1").await.1["count"], json!(1));

    let id = data["requestId"].as_str().unwrap();
    let (_, detail) = api.get(&format!("/tabs/{tab}/network/{id}?body=true")).await;
    assert_eq!((&detail["responseBody"], &detail["bodySource"]), (&json!("some data"), &json!("live")));

    let (_, har) = api.get("/network/export?body=true").await;
    assert_eq!(har["log"]["version"], json!("1.2"));
    let exported = har["log"]["entries"].as_array().unwrap();
    assert_eq!(exported.len(), entries.len());
    assert!(exported.iter().any(|entry| entry["response"]["content"]["text"] == json!("some data")));
    let lines = api.get("/network/export?format=ndjson").await.1;
    assert_eq!(lines.as_str().unwrap().lines().count(), entries.len());
    let (status, unknown) = api.get("/network/export?format=xml").await;
    assert_eq!((status, &unknown["code"]), (StatusCode::BAD_REQUEST, &json!("unknown_format")));
    let (_, file) = api.get("/network/export?output=file&path=a.har").await;
    let written: Value =
        serde_json::from_slice(&std::fs::read(file["path"].as_str().unwrap()).unwrap()).unwrap();
    assert_eq!(written["log"]["entries"].as_array().unwrap().len(), entries.len());
    assert_eq!(api.get("/network/export?output=file&path=../a.har").await.0, StatusCode::BAD_REQUEST);

    api.post("/network/clear", json!({ "tabId": tab })).await;
    assert_eq!(api.get("/network").await.1["count"], json!(0));
    fleet.finish().await;
}

#[tokio::test]
async fn requests_are_streamed_as_they_end() {
    let (fleet, _service, api) = started().await;
    let site = site(&fleet).await;
    go(&api, &format!("{site}/blank")).await;
    assert_eq!(api.get("/network/export/stream").await.0, StatusCode::BAD_REQUEST);
    let mut live = api.send(Method::GET, "/network/stream", None).await.bytes_stream();
    let mut export = api.send(Method::GET, "/network/export/stream?path=live.har", None).await.bytes_stream();
    api.evaluate("fetch('/data').then(r => r.text())").await;
    let event = String::from_utf8(live.next().await.unwrap().unwrap().to_vec()).unwrap();
    assert!(event.starts_with("event: network\n") && event.contains("/data"), "{event}");
    let event = String::from_utf8(export.next().await.unwrap().unwrap().to_vec()).unwrap();
    assert!(event.starts_with("event: entry\n"), "{event}");
    drop((live, export));
    let directory = fleet.data.path().join("exports/t-local");
    let files =
        || std::fs::read_dir(&directory).unwrap().flatten().map(|file| file.file_name()).collect::<Vec<_>>();
    eventually("the file is finished", || files().iter().any(|name| name == "live.har")).await;
    fleet.finish().await;
}

#[tokio::test]
async fn rules_stop_answer_and_pass_requests() {
    let (fleet, _service, api) = started().await;
    let site = site(&fleet).await;
    let tab = go(&api, &format!("{site}/blank")).await;
    let route = format!("/tabs/{tab}/network/route");
    let get = "fetch('/data').then(async r => `${r.status} ${await r.text()}`, e => 'failed')";
    let (status, set) = api.post(&route, json!({ "pattern": "*/data", "action": "abort" })).await;
    assert_eq!((status, set["rules"].as_array().unwrap().len()), (StatusCode::OK, 1));
    assert_eq!(api.evaluate(get).await, json!("failed"));
    let mock = json!({ "pattern": "*/data", "action": "fulfill", "status": 201, "body": "{\"mock\":1}" });
    assert_eq!(api.post(&route, mock).await.1["rules"].as_array().unwrap().len(), 1);
    assert_eq!(api.evaluate(get).await, json!("201 {\"mock\":1}"));
    // Another kind of resource is none of its business.
    api.post(&route, json!({ "pattern": "*/data", "action": "continue" })).await;
    assert_eq!(api.evaluate(get).await, json!("200 some data"));
    assert_eq!(
        api.post(&route, json!({ "pattern": "x", "action": "fulfill", "contentType": "text/html" })).await.0,
        StatusCode::BAD_REQUEST
    );
    let (_, removed) = api.delete(&format!("{route}?pattern=*/data"), None).await;
    assert_eq!((&removed["removed"], &removed["rules"]), (&json!(1), &json!([])));
    assert_eq!(api.delete(&route, None).await.0, StatusCode::NOT_FOUND);
    assert_eq!(api.evaluate(get).await, json!("200 some data"));
    fleet.finish().await;
}

#[tokio::test]
async fn a_tab_believes_what_it_is_told() {
    let (fleet, _service, api) = started().await;
    let site = site(&fleet).await;
    go(&api, &format!("{site}/blank")).await;
    let set = async |name: &str, body: Value| {
        let (status, answer) = api.post(&format!("/emulation/{name}"), body).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer["status"].as_str().unwrap().to_owned()
    };
    assert_eq!(set("viewport", json!({ "width": 1024, "height": 768 })).await, "applied");
    assert_eq!(api.evaluate("`${innerWidth}x${innerHeight}`").await, json!("1024x768"));
    set("geolocation", json!({ "latitude": 51.5, "longitude": -0.1 })).await;
    let place = "new Promise(r => navigator.geolocation.getCurrentPosition(p => r(p.coords.latitude), e => r(e.message)))";
    assert_eq!(api.evaluate(place).await, json!(51.5));
    set("media", json!({ "feature": "prefers-color-scheme", "value": "dark" })).await;
    assert_eq!(api.evaluate("matchMedia('(prefers-color-scheme: dark)').matches").await, json!(true));
    set("headers", json!({ "headers": { "X-Test": "yes" } })).await;
    assert_eq!(api.evaluate("fetch('/headers').then(r => r.text())").await, json!("yes"));
    set("headers", json!({ "headers": {} })).await;
    assert_eq!(api.evaluate("fetch('/headers').then(r => r.text())").await, json!("none"));
    assert_eq!(set("offline", json!({ "offline": true })).await, "offline");
    assert_eq!(api.evaluate("fetch('/headers').then(() => 'there', () => 'gone')").await, json!("gone"));
    assert_eq!(set("offline", json!({ "offline": false })).await, "online");
    assert_eq!(set("credentials", json!({ "username": "me", "password": "secret" })).await, "applied");
    assert_eq!(api.evaluate("fetch('/private').then(r => r.status)").await, json!(200));
    assert_eq!(set("credentials", json!({ "username": "" })).await, "cleared");
    assert_eq!(
        api.post("/emulation/viewport", json!({ "width": 0, "height": 1 })).await.0,
        StatusCode::BAD_REQUEST
    );
    fleet.finish().await;
}

#[tokio::test]
async fn cookies_and_storage_are_read_set_saved_and_loaded() {
    let (fleet, _service, api) = started().await;
    let site = site(&fleet).await;
    go(&api, &format!("{site}/blank")).await;
    let cookies =
        json!({ "url": site, "cookies": [{ "name": "a", "value": "1", "httpOnly": true }, { "name": "" }] });
    assert_eq!(api.post("/cookies", cookies).await.1, json!({ "set": 1, "failed": 1, "total": 2 }));
    let (_, list) = api.get("/cookies?name=a").await;
    assert_eq!((&list["cookies"][0]["value"], &list["cookies"][0]["httpOnly"]), (&json!("1"), &json!(true)));
    api.post("/storage", json!({ "key": "k", "value": "v\"'", "type": "local" })).await;
    api.post("/storage", json!({ "key": "s", "value": "t", "type": "session" })).await;
    let (_, stored) = api.get("/storage").await;
    assert_eq!(stored["local"], json!([{ "key": "k", "value": "v\"'" }]));
    let tab = api.get("/tabs").await.1["tabs"][0]["id"].as_str().unwrap().to_owned();
    let other = json!({ "tabId": "tab_00000000", "key": "k", "value": "w", "type": "local" });
    assert_eq!(api.post(&format!("/tabs/{tab}/storage"), other).await.0, StatusCode::BAD_REQUEST);

    let (_, saved) = api.post("/state/save", json!({ "name": "login", "passphrase": "p" })).await;
    assert_eq!((&saved["encrypted"], &saved["cookies"]), (&json!(true), &json!(1)));
    assert_eq!(api.get("/state/list").await.1["states"][0]["name"], json!("login"));
    assert_eq!(api.get("/state/show?name=login").await.1["code"], json!("state_sealed"));
    assert_eq!(
        api.get("/state/show?name=login&passphrase=p").await.1["storage"][&site]["local"]["k"],
        json!("v\"'")
    );

    api.delete("/cookies", None).await;
    api.delete("/storage", Some(json!({ "type": "all" }))).await;
    assert_eq!(api.get("/cookies").await.1["count"], json!(0));
    let (_, loaded) = api.post("/state/load", json!({ "name": "log", "passphrase": "p" })).await;
    assert_eq!(
        (&loaded["cookiesRestored"], &loaded["storageItemsRestored"]),
        (&json!(1), &json!(2)),
        "{loaded}"
    );
    assert_eq!(api.evaluate("localStorage.k + sessionStorage.s").await, json!("v\"'t"));
    assert_eq!(api.get("/cookies").await.1["cookies"][0]["httpOnly"], json!(true));
    assert_eq!(api.delete("/state?name=login", None).await.1["deleted"], json!("login"));
    assert_eq!(api.delete("/state?name=login", None).await.0, StatusCode::NOT_FOUND);
    assert_eq!(api.post("/state/save", json!({ "name": "../x" })).await.0, StatusCode::BAD_REQUEST);
    fleet.finish().await;
}

#[tokio::test]
async fn files_are_fetched_with_the_tabs_cookies_and_nothing_private_is() {
    let download_size_max = paddock_platform::units::ByteSize::mib(2);
    let (fleet, _service, api) = started_with(BrowserOptions { download_size_max, ..options() }).await;
    let site = site(&fleet).await;
    go(&api, &format!("{site}/blank")).await;
    api.post("/cookies", json!({ "url": site, "cookies": [{ "name": "a", "value": "1" }] })).await;
    let text = api
        .send(Method::GET, &format!("/download?raw=true&url={site}/file"), None)
        .await
        .text()
        .await
        .unwrap();
    assert_eq!(text, "cookie: a=1");
    let (_, file) = api.get(&format!("/download?output=file&url={site}/file")).await;
    assert_eq!(std::fs::read_to_string(file["path"].as_str().unwrap()).unwrap(), "cookie: a=1");
    for (url, status, code) in [
        (format!("{site}/large-file"), StatusCode::PAYLOAD_TOO_LARGE, "download_too_large"),
        (format!("{site}/away"), StatusCode::BAD_REQUEST, "download_refused"),
        ("http://169.254.169.254/".to_owned(), StatusCode::BAD_REQUEST, "download_refused"),
        ("file:///etc/passwd".to_owned(), StatusCode::BAD_REQUEST, "download_refused"),
        (format!("{site}/nothing"), StatusCode::BAD_GATEWAY, "download_failed"),
    ] {
        let (answered, problem) = api.get(&format!("/download?url={url}")).await;
        assert_eq!((answered, &problem["code"]), (status, &json!(code)), "{url}: {problem}");
    }
    fleet.finish().await;
}

#[tokio::test]
async fn files_are_put_into_inputs() {
    let (fleet, _service, api) = started().await;
    let site = site(&fleet).await;
    go(&api, &format!("{site}/upload")).await;
    let file = "data:text/plain;base64,SGVsbG8=";
    assert_eq!(
        api.post("/upload", json!({ "files": [file] })).await.1,
        json!({ "status": "ok", "files": 1 })
    );
    assert_eq!(api.evaluate("one.files[0].text()").await, json!("Hello"));
    assert_eq!(api.post("/upload", json!({ "selector": "#deep", "files": [file] })).await.0, StatusCode::OK);
    assert_eq!(api.evaluate("host.shadowRoot.getElementById('deep').files.length").await, json!(1));
    assert_eq!(
        api.post("/upload", json!({ "selector": "#none", "files": [file] })).await.0,
        StatusCode::NOT_FOUND
    );
    assert_eq!(api.post("/upload", json!({ "selector": "#one" })).await.0, StatusCode::BAD_REQUEST);
    let (status, problem) = api.post("/upload", json!({ "files": vec![file; 9] })).await;
    assert!(
        status == StatusCode::BAD_REQUEST && problem["error"].as_str().unwrap().contains("too many files")
    );
    assert_eq!(api.post("/upload", json!({ "paths": ["/etc/passwd"] })).await.0, StatusCode::NOT_IMPLEMENTED);
    fleet.finish().await;
}

#[tokio::test]
async fn a_page_is_printed_and_timed() {
    let (fleet, _service, api) = started().await;
    go(&api, fleet.url("/").as_str()).await;
    let raw = api.send(Method::GET, "/pdf?raw=true&landscape=true&scale=0.5", None).await;
    assert_eq!(&raw.bytes().await.unwrap()[..5], b"%PDF-");
    let (_, saved) = api.post("/pdf", json!({ "output": "file", "generateTaggedPDF": true })).await;
    assert!(
        std::fs::metadata(saved["path"].as_str().unwrap()).unwrap().len() == saved["size"].as_u64().unwrap()
    );
    assert_eq!(api.get("/pdf?scale=9").await.0, StatusCode::BAD_REQUEST);
    assert_eq!(api.get("/pdf?pageRanges=99").await.0, StatusCode::UNPROCESSABLE_ENTITY);
    let (_, timing) = api.get("/timing").await;
    for name in ["ttfbMs", "loadMs", "fcpMs", "lcpMs"] {
        assert!(timing[name].as_f64().unwrap() > 0.0, "{name} of {timing}");
    }
    let tabs = api.get("/tabs").await.1;
    let metrics = format!("/tabs/{}/metrics", tabs["tabs"][0]["id"].as_str().unwrap());
    assert!(api.get(&metrics).await.1["memory"]["nodes"].as_u64().unwrap() > 0);
    assert_eq!(api.post("/cache/clear", json!({})).await.1, json!({ "status": "cleared" }));
    assert_eq!(api.get("/cache/status").await.1, json!({ "canClear": true }));
    fleet.finish().await;
}

#[tokio::test]
async fn a_clipboard_belongs_to_an_instance() {
    let (fleet, _service, api) = started().await;
    assert_eq!(
        api.post("/clipboard/write", json!({ "text": "one\ntwo" })).await.1,
        json!({ "success": true })
    );
    assert_eq!(api.get("/clipboard/paste").await.1, json!({ "text": "one\ntwo" }));
    assert_eq!(
        api.post("/clipboard/copy", json!({ "text": "x".repeat((64 << 10) + 1) })).await.0,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(api.get("/clipboard/read?tabId=tab_00000000").await.0, StatusCode::BAD_REQUEST);
    fleet.finish().await;
}

#[tokio::test]
async fn bodies_are_kept_when_that_is_wanted() {
    let (fleet, _service, api) = started_with(BrowserOptions { network_bodies: true, ..options() }).await;
    let site = site(&fleet).await;
    go(&api, &format!("{site}/requests")).await;
    let (_, list) = api.get("/network?filter=/data?q=1").await;
    let id = list["items"][0]["requestId"].as_str().unwrap();
    let (_, detail) =
        api.get(&format!("/network/{id}?body=true&bodyMode=retained-preferred&timeoutMs=2000")).await;
    assert_eq!(
        (&detail["bodySource"], &detail["responseBody"]),
        (&json!("retained"), &json!("some data")),
        "{detail}"
    );
    tokio::time::timeout(Duration::from_secs(30), fleet.finish()).await.unwrap();
}

#[tokio::test]
async fn text_that_addresses_a_model_is_flagged_wherever_it_is_read() {
    let (fleet, _service, api) = started().await;
    go(&api, fleet.url("/addressed").as_str()).await;
    for path in ["/text", "/text?mode=raw", "/snapshot"] {
        let (_, page) = api.get(path).await;
        assert!(page["idpiWarning"].is_string(), "{path}: {page}");
    }
    go(&api, fleet.url("/").as_str()).await;
    assert!(api.get("/text").await.1["idpiWarning"].is_null());
    fleet.finish().await;
}
