//! Files that pages write.

#![expect(clippy::unwrap_used, reason = "in functions that tests share")]

#[path = "support/api.rs"]
mod api;
#[path = "support/canaries.rs"]
mod canaries;
mod support;

use api::{Api, started_with};
use http::{Method, StatusCode, header};
use paddock_browser::{BrowserOptions, DownloadState, Instance};
use paddock_platform::units::ByteSize;
use serde_json::json;
use support::{TestFleet, eventually, options};

/// An instance whose tab shows the site with files.
async fn at_site(fleet: &TestFleet, api: &Api) -> (String, Instance) {
    let site = canaries::serve(&fleet.tasks).await;
    let (status, page) = api.post("/navigate", json!({ "url": site })).await;
    assert_eq!(status, StatusCode::OK, "{page}");
    (page["tabId"].as_str().unwrap().to_owned(), fleet.fleet.handles().remove(0))
}

async fn ended(instance: &Instance, count: usize) {
    let all = || {
        let downloads = instance.downloads();
        downloads.len() == count && downloads.iter().all(|it| it.state != DownloadState::InProgress)
    };
    eventually("downloads came to their end", all).await;
}

#[tokio::test]
async fn a_file_that_a_page_downloads_is_listed_fetched_and_forgotten() {
    let (fleet, _service, api) = started_with(options()).await;
    let (tab, instance) = at_site(&fleet, &api).await;
    api.evaluate(&canaries::download("report.txt")).await;
    ended(&instance, 1).await;
    let path = format!("/instances/{}/downloads", instance.id());
    let (status, list) = api.get(&path).await;
    let entry = &list["downloads"][0];
    assert_eq!(
        (status, &entry["state"], &entry["size"]),
        (StatusCode::OK, &json!("completed"), &json!(18)),
        "{list}"
    );
    assert_eq!((&entry["filename"], &entry["tabId"]), (&json!("report.txt"), &json!(tab)), "{list}");
    let file = format!("{path}/{}", entry["id"].as_str().unwrap());
    let response = api.send(Method::GET, &file, None).await;
    let disposition = response.headers()[header::CONTENT_DISPOSITION].to_str().unwrap().to_owned();
    assert!(disposition.starts_with("attachment") && disposition.contains("report.txt"), "{disposition}");
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/octet-stream");
    assert_eq!(response.text().await.unwrap(), "file of report.txt");

    // It is there while the instance sleeps, and another instance knows nothing of it.
    instance.hibernate("a test").await.unwrap();
    assert_eq!(api.send(Method::GET, &file, None).await.status(), StatusCode::OK);
    let other = fleet.instance().await;
    let foreign = file.replace(instance.id().as_str(), other.id().as_str());
    assert_eq!(api.send(Method::GET, &foreign, None).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(api.delete(&file, None).await.0, StatusCode::OK);
    assert_eq!(api.send(Method::GET, &file, None).await.status(), StatusCode::NOT_FOUND);
    drop((instance, other));
    fleet.finish().await;
}

#[tokio::test]
async fn downloads_are_bounded_in_size_and_number() {
    let bounds = BrowserOptions { download_size_max: ByteSize::mib(1), downloads_max: 2, ..options() };
    let (fleet, _service, api) = started_with(bounds).await;
    let (_, instance) = at_site(&fleet, &api).await;
    api.evaluate("file.href = '/large'; file.click()").await;
    ended(&instance, 1).await;
    assert_eq!(instance.downloads()[0].state, DownloadState::TooLarge);
    for (count, name) in [(2, "a"), (2, "b"), (2, "c")] {
        api.evaluate(&canaries::download(name)).await;
        let there = || instance.downloads().iter().any(|it| it.url.ends_with(name));
        eventually("it has begun", there).await;
        ended(&instance, count).await;
    }
    let left: Vec<_> = instance.downloads().into_iter().map(|it| (it.filename, it.state)).collect();
    let expected = ["b.txt", "c.txt"].map(|name| (name.to_owned(), DownloadState::Completed));
    assert_eq!(left, expected);
    drop(instance);
    fleet.finish().await;
}

#[tokio::test]
async fn where_downloads_are_not_allowed_they_are_refused() {
    let (fleet, _service, api) = started_with(BrowserOptions { page_downloads: false, ..options() }).await;
    let (_, instance) = at_site(&fleet, &api).await;
    api.evaluate(&canaries::download("a")).await;
    // What is fetched afterwards has come after the refusal.
    api.evaluate("fetch('/cached').then(answer => answer.text())").await;
    assert!(instance.downloads().is_empty());
    let (_, list) = api.get(&format!("/instances/{}/downloads", instance.id())).await;
    assert_eq!(list["downloads"], json!([]));
    drop(instance);
    fleet.finish().await;
}
