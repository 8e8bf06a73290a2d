//! A site on which every instance leaves something of each kind that a browser keeps, and looks for what others left.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "each test that includes this file uses another part of it"
)]

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use axum::{Router, extract::Path, http::header, response::Html, routing::get};
use paddock_platform::task::Tasks;

pub async fn serve(tasks: &Tasks) -> String {
    let served = Arc::new(AtomicU64::new(0));
    let router = Router::new()
        .route(
            "/",
            get(|| async { Html("<!doctype html><title>Canaries</title><a id=file download>file</a>") }),
        )
        .route(
            "/sw.js",
            get(|| async {
                let script = "addEventListener('install', () => skipWaiting())";
                ([(header::CONTENT_TYPE, "text/javascript")], script)
            }),
        )
        // Every answer is another one, and may be kept for an hour.
        .route(
            "/cached",
            get(move || async move {
                let number = served.fetch_add(1, Ordering::SeqCst);
                ([(header::CACHE_CONTROL, "max-age=3600")], number.to_string())
            }),
        )
        .route(
            "/file/{name}",
            get(|Path(name): Path<String>| async move {
                ([(header::CONTENT_DISPOSITION, "attachment")], format!("file of {name}"))
            }),
        )
        .route(
            "/large",
            get(|| async {
                ([(header::CONTENT_DISPOSITION, "attachment; filename=large.bin")], vec![b'x'; 2 << 20])
            }),
        );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let stopping = tasks.stop_token();
    tasks.spawn("test_canaries", async move {
        tokio::select! {
            result = axum::serve(listener, router).into_future() => result.unwrap(),
            () = stopping.cancelled() => {}
        }
    });
    base
}

const OPEN: &str = "const open = () => new Promise((done, fail) => {
    const asked = indexedDB.open('canary');
    asked.onupgradeneeded = () => asked.result.createObjectStore('things');
    asked.onsuccess = () => done(asked.result);
    asked.onerror = () => fail(asked.error);
  });";

/// Leaves one of each kind, and yields what `/cached` says.
pub fn leave(name: &str) -> String {
    format!(
        "(async name => {{
  {OPEN}
  document.cookie = `canary=${{name}}; max-age=3600`;
  localStorage.canary = sessionStorage.canary = name;
  await (await caches.open('canary')).put('/canary', new Response(name));
  const database = await open();
  await new Promise(done => {{
    const writing = database.transaction('things', 'readwrite');
    writing.objectStore('things').put(name, 'canary');
    writing.oncomplete = done;
  }});
  database.close();
  await navigator.serviceWorker.register('/sw.js?' + name);
  await navigator.serviceWorker.ready;
  return await (await fetch('/cached')).text();
}})('{name}')"
    )
}

/// What there is: cookie, local and session storage, cache storage, database, service workers, HTTP cache.
pub fn look() -> String {
    format!(
        "(async () => {{
  {OPEN}
  const database = await open();
  const stored = await new Promise(done => {{
    const asked = database.transaction('things').objectStore('things').getAll();
    asked.onsuccess = () => done(asked.result.join());
  }});
  database.close();
  const cached = await caches.match('/canary');
  const workers = await navigator.serviceWorker.getRegistrations();
  return [document.cookie.replace('canary=', ''), localStorage.canary ?? '', sessionStorage.canary ?? '',
    cached ? await cached.text() : '', stored, workers.map(worker => worker.active.scriptURL.split('?')[1]).join(),
    await (await fetch('/cached')).text()];
}})()"
    )
}

/// Begins the download of a file of this name.
pub fn download(name: &str) -> String {
    format!("file.href = '/file/{name}'; file.click()")
}
