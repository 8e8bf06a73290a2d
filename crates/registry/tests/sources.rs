//! Sources as they change, break and come back.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test says what it found by panicking"
)]

mod support;

use std::time::Duration;

use axum::{
    http::{Method, StatusCode},
    response::IntoResponse,
};
use paddock_platform::store::testing::on_each_engine;
use serde_json::{Value, json};
use support::{ServersFile, TestRegistry, Upstream, eventually, name_of, server};

const LIST: &str = "/registry/v0.1/servers";

#[tokio::test]
async fn a_file_is_served_and_followed() {
    let file = ServersFile::new(&[server("a.b/one", "1.0.0")]);
    let test = TestRegistry::with(&file.source("ours")).await;
    test.sync("ours").await;
    assert_eq!(test.names(LIST).await, ["a.b/one@1.0.0"]);
    file.write(&[server("a.b/one", "1.1.0"), server("a.b/two", "1.0.0")]);
    let status = test.sync("ours").await;
    assert_eq!(status["entries"], 2);
    assert_eq!(test.names(LIST).await, ["a.b/one@1.1.0", "a.b/two@1.0.0"]);
    let history = test.get("/registry/history/ours").await.json();
    assert_eq!(history["syncs"][0]["removed_names"], json!(["a.b/one@1.0.0"]));
    assert_eq!(history["syncs"][0]["added_names"], json!(["a.b/one@1.1.0", "a.b/two@1.0.0"]));
}

#[tokio::test]
async fn a_file_that_changes_is_found_without_being_asked() {
    let file = ServersFile::new(&[server("a.b/one", "1.0.0")]);
    let test = TestRegistry::with(&file.source("ours").replace("1h", "100ms")).await;
    eventually("it is there", async || (test.names(LIST).await.len() == 1).then_some(())).await;
    file.write(&[server("a.b/one", "1.0.0"), server("a.b/two", "1.0.0")]);
    eventually("the change is there", async || (test.names(LIST).await.len() == 2).then_some(())).await;
}

#[tokio::test]
async fn a_file_cut_in_half_loses_nothing() {
    let file = ServersFile::new(&[server("a.b/one", "1.0.0"), server("a.b/two", "1.0.0")]);
    let test = TestRegistry::with(&file.source("ours")).await;
    test.sync("ours").await;
    let whole = std::fs::read_to_string(&file.path).unwrap();
    for text in [&whole[..whole.len() / 2], "", "<html>proxy</html>", "{\"error\": 1}"] {
        file.write_text(text);
        let status = test.sync("ours").await;
        assert_eq!((&status["phase"], &status["entries"]), (&json!("failed"), &json!(2)), "{text}");
        assert!(status["error"].as_str().unwrap().contains("content"), "{status}");
        assert_eq!(test.names(LIST).await.len(), 2);
    }
    file.write_text(&whole);
    assert_eq!(test.sync("ours").await["phase"], "complete");
}

#[tokio::test]
async fn bad_entries_are_kept_out_and_explained() {
    let mut flawed = server("a.b/flawed", "1.0.0");
    flawed["repository"] = json!({});
    let entries =
        [server("a.b/good", "1.0.0"), flawed, json!({"name": "bad"}), server("a.b/good", "1.0.0"), json!(7)];
    let file = ServersFile::new(&entries);
    let test = TestRegistry::with(&file.source("ours")).await;
    let status = test.sync("ours").await;
    assert_eq!(
        (&status["entries"], &status["quarantined"], &status["flawed"]),
        (&json!(2), &json!(3), &json!(1))
    );
    let quarantine = test.get("/registry/quarantine").await.json();
    assert_eq!((&quarantine["kept_out"], &quarantine["marked"]), (&json!(3), &json!(1)));
    let references: Vec<&str> = quarantine["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["issues"][0]["reference"].as_str().unwrap())
        .collect();
    for reference in
        ["not-an-entry", "field-required", "duplicate-version", "#/definitions/Repository/required"]
    {
        assert!(references.contains(&reference), "{reference}: {references:?}");
    }
    let marked = test.get("/registry/v0.1/servers/a.b%2Fflawed/versions/latest").await.json();
    let own = &marked["_meta"]["dev.paddock/registry"];
    assert_eq!((&own["quarantine"][0]["path"], &own["scan"]["issues"]), (&json!("repository"), &json!(2)));
    let good = test.get("/registry/v0.1/servers/a.b%2Fgood/versions/latest").await.json();
    let scan = &good["_meta"]["dev.paddock/registry"]["scan"];
    assert_eq!(scan["issues"], 0);
    assert_eq!(scan["checkedAt"], own["scan"]["checkedAt"], "one sync checked both");
}

#[tokio::test]
async fn a_strict_source_keeps_out_what_breaks_a_rule() {
    let mut flawed = server("a.b/flawed", "1.0.0");
    flawed["repository"] = json!({});
    let file = ServersFile::new(&[server("a.b/good", "1.0.0"), flawed]);
    let test = TestRegistry::with(&format!("{}strict = true\n", file.source("ours"))).await;
    assert_eq!(test.sync("ours").await["quarantined"], 1);
    assert_eq!(test.names(LIST).await, ["a.b/good@1.0.0"]);
}

#[tokio::test]
async fn a_restart_serves_what_was_there_before_any_source_is_read() {
    on_each_engine(async |fixture| {
        let file = ServersFile::new(&[server("a.b/one", "1.0.0"), json!({"name": "bad"})]);
        let options: paddock_registry::RegistryOptions = toml::from_str(&file.source("ours")).unwrap();
        let tasks = paddock_platform::task::Tasks::default();
        let section = paddock_platform::config::Section::fixed(options);
        let before =
            paddock_registry::Registry::start(section.clone(), fixture.open().await, &tasks).await.unwrap();
        before.sync(None).await.unwrap();
        tasks.stop(Duration::from_secs(30)).await.unwrap();
        std::fs::remove_file(&file.path).unwrap();

        let tasks = paddock_platform::task::Tasks::default();
        let after = paddock_registry::Registry::start(section, fixture.open().await, &tasks).await.unwrap();
        assert_eq!((after.status().views[0].entries, after.status().sources[0].quarantined), (1, 1));
        let status = after.sync(None).await.unwrap();
        assert!(status.sources[0].error.as_ref().unwrap().contains("cannot read"), "{status:?}");
        assert_eq!(after.status().views[0].entries, 1, "a source that vanished loses nothing");
        tasks.stop(Duration::from_secs(30)).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_url_is_fetched_again_only_when_it_has_changed() {
    let body = json!({"servers": [server("a.b/one", "1.0.0")]});
    let upstream = Upstream::start(move |_, headers| {
        if headers.get("if-none-match").is_some_and(|tag| tag == "\"v1\"") {
            return StatusCode::NOT_MODIFIED.into_response();
        }
        ([("etag", "\"v1\"")], body.to_string()).into_response()
    })
    .await;
    let source = format!(
        "[[sources]]\nname = \"web\"\ninterval = \"1h\"\nfile = {{ url = \"{}/servers.json\" }}\n",
        upstream.base
    );
    let test = TestRegistry::with(&source).await;
    test.sync("web").await;
    let status = test.sync("web").await;
    assert_eq!((&status["phase"], &status["entries"]), (&json!("complete"), &json!(1)));
    upstream.say(|_, _| StatusCode::INTERNAL_SERVER_ERROR.into_response());
    let status = test.sync("web").await;
    assert!(status["error"].as_str().unwrap().contains("500"), "{status}");
    upstream.say(|_, _| "{\"servers\": []}".into_response());
    let status = test.sync("web").await;
    assert!(status["error"].as_str().unwrap().contains("no entries at all"), "{status}");
    assert_eq!(test.names(LIST).await, ["a.b/one@1.0.0"]);
}

#[tokio::test]
async fn content_without_end_is_refused() {
    let upstream = Upstream::start(|_, _| {
        let chunk = bytes::Bytes::from(vec![b' '; 1 << 16]);
        let endless =
            futures_util::stream::repeat_with(move || Ok::<_, std::convert::Infallible>(chunk.clone()));
        axum::body::Body::from_stream(endless).into_response()
    })
    .await;
    let source = format!(
        "source_size_max = \"1MiB\"\n[[sources]]\nname = \"web\"\ninterval = \"1h\"\nfile = {{ url = \"{}\" }}\n",
        upstream.base
    );
    let test = TestRegistry::with(&source).await;
    let status = test.sync("web").await;
    assert!(status["error"].as_str().unwrap().contains("source_size_max"), "{status}");
}

#[tokio::test]
async fn a_source_that_hangs_delays_no_other() {
    let upstream = Upstream::start(|_, _| {
        let never = futures_util::stream::pending::<Result<bytes::Bytes, std::convert::Infallible>>();
        axum::body::Body::from_stream(never).into_response()
    })
    .await;
    let file = ServersFile::new(&[server("a.b/one", "1.0.0")]);
    let slow = format!(
        "[[sources]]\nname = \"slow\"\ninterval = \"1h\"\nfile = {{ url = \"{}\" }}\n",
        upstream.base
    );
    let test = TestRegistry::with(&format!("{slow}{}", file.source("quick"))).await;
    eventually("the slow one is asked", async || (!upstream.asked().is_empty()).then_some(())).await;
    assert_eq!(test.sync("quick").await["entries"], 1);
    let status = test.get("/registry/status").await.json();
    let slow = status["sources"].as_array().unwrap().iter().find(|it| it["name"] == "slow").unwrap();
    assert_eq!(slow["phase"], "syncing");
}

#[tokio::test]
async fn a_reload_changes_sources_and_views_and_fails_no_request() {
    let (one, two) =
        (ServersFile::new(&[server("a.b/one", "1.0.0")]), ServersFile::new(&[server("a.b/two", "1.0.0")]));
    let test = TestRegistry::with(&one.source("one")).await;
    test.sync("one").await;
    let both = format!(
        "{}{}[[views]]\nname = \"default\"\nsources = [\"one\", \"two\"]\n[[views]]\nname = \"second\"\nsources = [\"two\"]\n",
        one.source("one"),
        two.source("two")
    );
    test.options.replace(toml::from_str(&both).unwrap());
    eventually("the second source is there", async || {
        let answer = test.get(LIST).await;
        assert_eq!(answer.status, StatusCode::OK);
        (answer.json()["metadata"]["count"] == 2).then_some(())
    })
    .await;
    assert_eq!(test.names("/registry/second/v0.1/servers").await, ["a.b/two@1.0.0"]);
    test.options.replace(toml::from_str(&two.source("two")).unwrap());
    eventually("the first source is gone", async || {
        (test.names(LIST).await == ["a.b/two@1.0.0"]).then_some(())
    })
    .await;
    assert_eq!(test.get("/registry/second/v0.1/servers").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_filter_that_changes_is_applied_though_the_file_is_the_same() {
    let file = ServersFile::new(&[server("a.b/one", "1.0.0"), server("c.d/two", "1.0.0")]);
    let test = TestRegistry::with(&file.source("ours")).await;
    test.sync("ours").await;
    let narrowed = format!("{}filter = {{ names = {{ include = [\"a.b/*\"] }} }}\n", file.source("ours"));
    test.options.replace(toml::from_str(&narrowed).unwrap());
    eventually("the filter is in force", async || {
        (test.names(LIST).await == ["a.b/one@1.0.0"]).then_some(())
    })
    .await;
    test.options.replace(toml::from_str(&file.source("ours")).unwrap());
    eventually("all are back", async || (test.names(LIST).await.len() == 2).then_some(())).await;
}

#[tokio::test]
async fn a_registry_that_administrators_make_shows_what_its_filter_passes() {
    let file = ServersFile::new(&[server("a.b/one", "1.0.0"), server("c.d/two", "1.0.0")]);
    let test = TestRegistry::with(&file.source("ours")).await;
    test.sync("ours").await;
    let path = "/registry/v1/registries/narrow";
    for (include, shown) in [("a.b/*", "a.b/one@1.0.0"), ("c.d/*", "c.d/two@1.0.0")] {
        let view = json!({"sources": ["ours"], "filter": {"names": {"include": [include]}}});
        let made = test.send(Method::PUT, path, &view).await;
        assert!(made.status.is_success(), "{}", made.json());
        assert_eq!(made.json()["filter"]["names"]["include"], json!([include]));
        assert_eq!(test.names("/registry/narrow/v0.1/servers").await, [shown]);
    }
    let malformed = json!({"sources": ["ours"], "filter": {"names": {"include": ["["]}}});
    assert!(test.send(Method::PUT, path, &malformed).await.status.is_client_error());
    assert_eq!(test.names("/registry/narrow/v0.1/servers").await, ["c.d/two@1.0.0"]);
}

#[tokio::test]
async fn cursors_survive_a_sync_between_two_pages() {
    let servers: Vec<Value> = (0..50).map(|index| server(&format!("a.b/s{index:02}"), "1.0.0")).collect();
    let file = ServersFile::new(&servers);
    let test = TestRegistry::with(&file.source("ours")).await;
    test.sync("ours").await;
    let (mut seen, mut path) = (Vec::new(), format!("{LIST}?limit=7"));
    for round in 0.. {
        let page = test.get(&path).await.json();
        seen.extend(page["servers"].as_array().unwrap().iter().map(name_of));
        let Some(cursor) = page["metadata"]["nextCursor"].as_str() else { break };
        path = format!("{LIST}?limit=7&cursor={cursor}");
        let mut next = servers.clone();
        next.push(server(&format!("a.b/s{:02}-new", (round * 11) % 50), "1.0.0"));
        file.write(&next);
        test.sync("ours").await;
    }
    for server in &servers {
        let name = format!("{}@1.0.0", server["name"].as_str().unwrap());
        assert_eq!(seen.iter().filter(|it| **it == name).count(), 1, "{name}");
    }
}

#[tokio::test]
async fn a_configuration_that_contradicts_itself_is_refused() {
    for (text, word) in [
        (
            "[[sources]]\nname = \"a\"\nmanaged = {}\n[[sources]]\nname = \"a\"\nfile = { data = \"[]\" }\n",
            "two sources",
        ),
        ("[[sources]]\nname = \"a\"\n", "exactly one"),
        ("[[sources]]\nname = \"A b\"\nmanaged = {}\n", "not the name"),
        ("[[sources]]\nname = \"a\"\nfile = { path = \"/x\", data = \"[]\" }\n", "exactly one"),
        ("[[views]]\nname = \"v\"\nsources = [\"no\"]\n", "which there is not"),
        ("[[views]]\nname = \"status\"\nsources = []\n", "not the name"),
        (
            "[[sources]]\nname = \"a\"\nmanaged = {}\nfilter = { names = { include = [\"[\"] } }\n",
            "not a pattern",
        ),
        ("[[sources]]\nname = \"a\"\napi = { url = \"ftp://x\" }\n", "http"),
    ] {
        let error = toml::from_str::<paddock_registry::RegistryOptions>(text).unwrap_err().to_string();
        assert!(error.contains(word), "{text}: {error}");
    }
}
