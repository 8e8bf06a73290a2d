//! What Pinchtab's clients rely on: every path that `docs/pinchtab.md` lists, and ways of asking that are theirs.

#[path = "support/api.rs"]
mod api;
mod support;

use std::collections::BTreeSet;

use api::started;
use http::StatusCode;
use paddock_browser::{BrowserService, Sessions, router};
use paddock_platform::{config::Section, keys::Keys, store::testing::Fixture};
use serde_json::json;
use support::{TestFleet, options};

/// A path without the names of its parameters.
fn shape(path: &str) -> String {
    let segments = path.split('/').map(|segment| if segment.starts_with('{') { "{}" } else { segment });
    segments.collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn every_path_that_is_said_to_be_there_is_described() {
    let fleet = TestFleet::start().await;
    let fixture = Fixture::sqlite();
    let store = fixture.open().await;
    let keys = Keys::open(store.clone(), &fixture.tasks).await.unwrap();
    let sessions = Sessions::open(store, keys, Section::fixed(options())).await.unwrap();
    let service = BrowserService::new(fleet.fleet.clone()).with_sessions(sessions);
    let document = serde_json::to_value(router(service).into_openapi()).unwrap();
    let described: BTreeSet<(String, String)> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| {
            item.as_object().unwrap().keys().map(|method| (method.to_uppercase(), shape(path)))
        })
        .collect();

    let table = include_str!("../../../docs/pinchtab.md");
    let rows: Vec<Vec<&str>> = table
        .lines()
        .filter(|line| line.contains("| `/"))
        .map(|line| line.split('|').map(|cell| cell.trim().trim_matches('`')).collect())
        .collect();
    assert!(rows.len() > 230, "the table lists every path: {}", rows.len());
    let missing: Vec<_> =
        rows.iter().filter(|row| !described.contains(&(row[1].to_owned(), shape(row[2])))).collect();
    assert!(missing.is_empty(), "in docs/pinchtab.md and not in the description: {missing:#?}");
    for row in &rows {
        assert!(["same", "differs", "501"].contains(&row[3]), "{row:?}");
        assert!(!matches!(row[3], "differs" | "501") || !row[4].is_empty(), "says how or why: {row:?}");
    }
    fleet.finish().await;
    fixture.tasks.stop(std::time::Duration::from_secs(30)).await.unwrap();
}

#[tokio::test]
async fn a_state_is_saved_and_loaded_before_there_is_a_tab() {
    let (fleet, _service, api) = started().await;
    let (status, saved) = api.post("/state/save", json!({ "name": "empty" })).await;
    assert_eq!((status, &saved["name"]), (StatusCode::OK, &json!("empty")), "{saved}");
    let (status, loaded) = api.post("/state/load", json!({ "name": "empty" })).await;
    assert_eq!((status, &loaded["cookiesRestored"]), (StatusCode::OK, &json!(0)), "{loaded}");
    assert_eq!(api.get("/tabs").await.1["tabs"].as_array().unwrap().len(), 1);
    fleet.finish().await;
}

#[tokio::test]
async fn a_point_of_a_picture_is_where_the_picture_shows_it() {
    let (fleet, _service, api) = started().await;
    api.post("/navigate", json!({ "url": fleet.url("/title/picture") })).await;
    api.evaluate("window.at = []; onclick = e => at.push([e.clientX, e.clientY]); 0").await;
    for scale in [1.0, 1.5, 3.0] {
        let size = api.evaluate("[innerWidth, innerHeight]").await;
        let (width, height) = (size[0].as_f64().unwrap() * scale, size[1].as_f64().unwrap() * scale);
        let click = json!({ "kind": "click", "x": 200.0 * scale, "y": 100.0 * scale, "hasXY": true,
            "frameW": width, "frameH": height });
        let (status, done) = api.post("/action", click).await;
        assert_eq!(status, StatusCode::OK, "{done}");
    }
    assert_eq!(api.evaluate("at").await, json!([[200, 100], [200, 100], [200, 100]]));
    let (status, refused) =
        api.post("/action", json!({ "kind": "click", "x": 1, "y": 1, "frameW": 0, "frameH": 0 })).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{refused}");
    fleet.finish().await;
}
