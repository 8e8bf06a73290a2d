//! A tab that gets its page back is as it was: what it pretends, its rules, what was cleared; after hibernation, after the
//! end of its Chrome, and, as far as that is saved, after a restart of the server.

#![expect(clippy::unwrap_used, reason = "in functions that tests share")]

#[path = "support/api.rs"]
mod api;
mod support;

use api::Api;
use axum::{Router, response::Html, routing::get};
use http::{HeaderMap, StatusCode, header};
use paddock_browser::{BrowserService, Instance, InstanceStatus};
use paddock_platform::{identity::Caller, store::testing, task::Tasks};
use serde_json::{Value, json};
use support::{TestFleet, eventually, options};

async fn site(tasks: &Tasks) -> String {
    let router = Router::new()
        .route(
            "/",
            get(|| async { Html("<!doctype html><title>P</title><script>console.log('loaded')</script>") }),
        )
        .route(
            "/headers",
            get(|headers: HeaderMap| async move {
                headers.get("x-test").map_or("none", |value| value.to_str().unwrap()).to_owned()
            }),
        )
        .route("/rule", get(|| async { "the host" }))
        .route(
            "/private",
            get(|headers: HeaderMap| async move {
                if headers.get(header::AUTHORIZATION).is_some() {
                    (StatusCode::OK, HeaderMap::new())
                } else {
                    let demand = [(header::WWW_AUTHENTICATE, "Basic realm=x".parse().unwrap())];
                    (StatusCode::UNAUTHORIZED, demand.into_iter().collect())
                }
            }),
        );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let stopping = tasks.stop_token();
    tasks.spawn("test_site", async move {
        tokio::select! {
            result = axum::serve(listener, router).into_future() => result.unwrap(),
            () = stopping.cancelled() => {}
        }
    });
    base
}

/// Tells the tab that was used last to pretend one of everything.
async fn pretend(api: &Api) {
    for (path, body) in [
        ("/emulation/viewport", json!({ "width": 500, "height": 400 })),
        ("/emulation/geolocation", json!({ "latitude": 48.2, "longitude": 16.4 })),
        ("/emulation/headers", json!({ "headers": { "X-Test": "kept" } })),
        ("/emulation/media", json!({ "feature": "prefers-color-scheme", "value": "dark" })),
        ("/emulation/credentials", json!({ "username": "me", "password": "secret" })),
        (
            "/network/route",
            json!({ "pattern": "/rule", "action": "fulfill", "body": "the rule", "contentType": "text/plain" }),
        ),
    ] {
        let (status, answer) = api.post(path, body).await;
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
    }
}

const SEEN: &str = "(async () => {
  const text = async path => (await fetch(path)).text();
  const place = await new Promise(done =>
    navigator.geolocation.getCurrentPosition(at => done(at.coords.latitude), error => done(error.message)));
  return [innerWidth, place, await text('/headers'), matchMedia('(prefers-color-scheme: dark)').matches,
    await text('/rule'), (await fetch('/private')).status];
})()";

fn pretended(private: u16) -> Value {
    json!([500, 48.2, "kept", true, "the rule", private])
}

#[tokio::test]
async fn what_a_tab_was_told_outlives_its_page_its_chrome_and_the_server() {
    let fixture = testing::Fixture::sqlite();
    let data = tempfile::tempdir().unwrap();
    let site = site(&fixture.tasks).await;
    let fleet = TestFleet::start_in(fixture.open().await, data, options()).await;
    let service = BrowserService::new(fleet.fleet.clone());
    let api = Api::serve(&fleet, &service, Caller::local()).await;
    let (status, page) = api.post("/navigate", json!({ "url": site })).await;
    assert_eq!(status, StatusCode::OK, "{page}");
    let tab = page["tabId"].as_str().unwrap().to_owned();
    pretend(&api).await;
    assert_eq!(api.evaluate(SEEN).await, pretended(200));

    // Hibernation.
    let instance = fleet.fleet.handles().remove(0);
    instance.hibernate("a test").await.unwrap();
    assert_eq!(api.evaluate(SEEN).await, pretended(200));

    // The end of its Chrome.
    let pid = fleet.fleet.process_ids()[0];
    let killed = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(killed, rustix::process::Signal::KILL).unwrap();
    eventually("it is restored", || is_back(&instance, pid)).await;
    assert_eq!(api.evaluate(SEEN).await, pretended(200));
    drop((instance, api, service));

    // A restart: credentials are not saved.
    let data = fleet.restart().await;
    let fleet = TestFleet::start_in(fixture.open().await, data, options()).await;
    let service = BrowserService::new(fleet.fleet.clone());
    let api = Api::serve(&fleet, &service, Caller::local()).await;
    assert_eq!(api.evaluate(SEEN).await, pretended(401));
    let (_, rules) = api.get(&format!("/network/route?tabId={tab}")).await;
    assert_eq!(rules["rules"][0]["pattern"], json!("/rule"), "{rules}");
    drop((api, service));
    fleet.finish().await;
}

fn is_back(instance: &Instance, pid: i32) -> bool {
    let info = instance.info();
    info.status == InstanceStatus::Running && info.pid != Some(pid) && !instance.tabs().is_empty()
}

#[tokio::test]
async fn a_tab_that_was_closed_while_it_slept_does_not_come_back() {
    let fleet = TestFleet::start().await;
    let service = BrowserService::new(fleet.fleet.clone());
    let api = Api::serve(&fleet, &service, Caller::local()).await;
    let (_, page) = api.post("/navigate", json!({ "url": fleet.url("/") })).await;
    let tab = page["tabId"].as_str().unwrap().to_owned();
    let instance = fleet.fleet.handles().remove(0);
    instance.hibernate("a test").await.unwrap();
    assert_eq!(api.post("/close", json!({ "tabId": tab })).await.0, StatusCode::OK);
    assert_eq!(api.get("/tabs?fresh=1").await.1["tabs"], json!([]));
    drop(instance.attach().await.unwrap());
    assert!(instance.tab_entries().is_empty());
    assert_eq!(api.get(&format!("/tabs/{tab}/url")).await.0, StatusCode::NOT_FOUND);
    drop(instance);
    fleet.finish().await;
}

/// Makes a database with one of everything that can be kept.
const FILL: &str = "(async () => {
  const asked = indexedDB.open('things', 3);
  asked.onupgradeneeded = () => {
    const store = asked.result.createObjectStore('by key', { keyPath: 'id', autoIncrement: true });
    store.createIndex('by name', 'name', { unique: true });
    asked.result.createObjectStore('loose');
    asked.result.createObjectStore('empty');
  };
  const database = await new Promise(done => { asked.onsuccess = () => done(asked.result); });
  const writing = database.transaction(['by key', 'loose'], 'readwrite');
  for (let i = 0; i < 250; i++) writing.objectStore('by key').add({ name: 'n' + i, i });
  const all = { text: 'ü', number: -0, not: NaN, big: 12345678901234567890n, no: undefined, nil: null, yes: true,
    date: new Date(86400000), like: /a+/gi, list: [1, , 'x'], map: new Map([['k', new Set([1])]]),
    bytes: new Uint8Array([1, 2, 255]), floats: new Float64Array([0.5]), buffer: new ArrayBuffer(3),
    blob: new Blob(['blob'], { type: 'text/plain' }), file: new File(['file'], 'f.txt', { lastModified: 7 }) };
  Object.defineProperty(all, '__proto__', { value: 'mine', enumerable: true });
  writing.objectStore('loose').put(all, ['a', 1]);
  await new Promise(done => { writing.oncomplete = done; });
  database.close();
  return (await indexedDB.databases()).length;
})()";

/// What is in it, in words.
const READ: &str = "(async () => {
  const asked = indexedDB.open('things');
  const database = await new Promise((done, fail) => {
    asked.onupgradeneeded = () => fail(new Error('there was none'));
    asked.onsuccess = () => done(asked.result);
  });
  const get = request => new Promise(done => { request.onsuccess = () => done(request.result); });
  const store = name => database.transaction(name, 'readwrite').objectStore(name);
  const found = await get(store('by key').index('by name').get('n249'));
  const added = await get(store('by key').add({ name: 'another' }));
  const all = await get(store('loose').get(['a', 1]));
  return [database.version, [...database.objectStoreNames].join(), found.i, added, all.text, Object.is(all.number, -0),
    String(all.not), String(all.big), 'no' in all && all.no === undefined, all.nil, all.yes, all.date.getTime(),
    String(all.like), all.list.length, [...all.map.get('k')][0], [...all.bytes].join(), all.floats[0],
    all.buffer.byteLength, await all.blob.text(), all.blob.type, await all.file.text(), all.file.name,
    all.file.lastModified, Object.getOwnPropertyDescriptor(all, '__proto__').value];
})()";

#[tokio::test]
async fn databases_are_there_before_the_page_wakes() {
    let fixture = testing::Fixture::sqlite();
    let data = tempfile::tempdir().unwrap();
    let site = site(&fixture.tasks).await;
    let other = self::site(&fixture.tasks).await;
    let fleet = TestFleet::start_in(fixture.open().await, data, options()).await;
    let service = BrowserService::new(fleet.fleet.clone());
    let api = Api::serve(&fleet, &service, Caller::local()).await;
    let (_, page) = api.post("/navigate", json!({ "url": site })).await;
    let tab = page["tabId"].as_str().unwrap().to_owned();
    assert_eq!(api.evaluate(FILL).await, json!(1));
    let state = json!({ "name": "with databases" });
    assert_eq!(api.post("/state/save", state.clone()).await.0, StatusCode::OK);
    api.evaluate("new Promise(done => { indexedDB.deleteDatabase('things').onsuccess = () => done(0); })")
        .await;
    let (_, loaded) = api.post("/state/load", state).await;
    assert_eq!(loaded["databasesRestored"], json!(1), "{loaded}");
    // Its page is elsewhere when the instance goes to sleep.
    let away = api.post(&format!("/tabs/{tab}/navigate"), json!({ "url": other })).await;
    assert_eq!(away.0, StatusCode::OK, "{away:?}");
    let instance = fleet.fleet.handles().remove(0);
    instance.hibernate("a test").await.unwrap();
    drop((instance, api, service));
    let data = fleet.restart().await;

    let fleet = TestFleet::start_in(fixture.open().await, data, options()).await;
    let service = BrowserService::new(fleet.fleet.clone());
    let api = Api::serve(&fleet, &service, Caller::local()).await;
    let back = api.post(&format!("/tabs/{tab}/navigate"), json!({ "url": site })).await;
    assert_eq!(back.0, StatusCode::OK, "{back:?}");
    let seen = api.evaluate(READ).await;
    let expected = json!([
        3,
        "by key,empty,loose",
        249,
        251,
        "ü",
        true,
        "NaN",
        "12345678901234567890",
        true,
        null,
        true,
        86_400_000,
        "/a+/gi",
        3,
        1,
        "1,2,255",
        0.5,
        3,
        "blob",
        "text/plain",
        "file",
        "f.txt",
        7,
        "mine"
    ]);
    assert_eq!(seen, expected);
    // No page of ours is left beside the tab.
    assert_eq!(api.get("/tabs?fresh=1").await.1["tabs"].as_array().unwrap().len(), 1);
    drop((api, service));
    fleet.finish().await;
}
