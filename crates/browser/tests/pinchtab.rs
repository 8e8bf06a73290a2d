//! No path of Pinchtab's interface is forgotten: `docs/pinchtab.md` lists them all.

mod support;

use std::collections::BTreeSet;

use paddock_browser::{BrowserService, Sessions, router};
use paddock_platform::{config::Section, keys::Keys, store::testing::Fixture};
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
