//! What the documentation has to name.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what it found by panicking")]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// All files below a directory whose names end so.
fn files(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
    found
}

/// Constants that hold a text, by their name.
fn constants(source: &str) -> impl Iterator<Item = (String, String)> {
    source.split("const ").skip(1).filter_map(|rest| {
        let (name, rest) = rest.split_once(": &str =")?;
        let is_name =
            name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
        is_name.then(|| Some((name.to_owned(), rest.split('"').nth(1)?.to_owned())))?
    })
}

/// The constants of metrics that are given their unit and help.
fn described(source: &str) -> impl Iterator<Item = String> {
    source.split("describe_").skip(1).filter_map(|rest| {
        let (kind, rest) = rest.split_once("!(")?;
        let is_metric = ["counter", "gauge", "histogram"].contains(&kind);
        let name = rest.split(',').next()?.trim().rsplit("::").next()?;
        is_metric.then(|| name.to_owned())
    })
}

/// The names of all metrics of all crates.
fn metrics() -> Vec<String> {
    let mut metrics = Vec::new();
    for entry in fs::read_dir(support::page("crates")).unwrap() {
        let sources = files(&entry.unwrap().path().join("src"), ".rs");
        let sources: Vec<String> = sources.iter().map(|source| fs::read_to_string(source).unwrap()).collect();
        let names: BTreeMap<String, String> = sources.iter().flat_map(|source| constants(source)).collect();
        for constant in sources.iter().flat_map(|source| described(source)) {
            let name = names.get(&constant);
            metrics.push(name.unwrap_or_else(|| panic!("`{constant}` is the name of no metric")).clone());
        }
    }
    assert!(metrics.len() > 100, "the sources are read in another way than they are written: {metrics:?}");
    metrics
}

/// The words of a text, as far as they could be names of metrics.
fn words(text: &str) -> BTreeSet<&str> {
    text.split(|character: char| !character.is_ascii_alphanumeric() && character != '_').collect()
}

#[test]
fn every_metric_is_on_a_page() {
    let pages = files(&support::page("docs"), ".md");
    let pages: String = pages.iter().map(|page| fs::read_to_string(page).unwrap()).collect();
    let words = words(&pages);
    let mut missing = metrics();
    missing.retain(|metric| !words.contains(metric.as_str()));
    assert!(missing.is_empty(), "no page below docs names {missing:?}");
}

#[test]
fn the_alerts_are_about_metrics_that_there_are() {
    const AREAS: [&str; 7] =
        ["llm_", "gen_ai_client_", "gen_ai_server_", "jobs_", "agents_", "http_", "config_"];
    let rules = fs::read_to_string(support::page("docs/alerts.yml")).unwrap();
    let metrics: BTreeSet<String> = metrics().into_iter().collect();
    let mut names = words(&rules);
    names.retain(|name| AREAS.iter().any(|area| name.starts_with(area)));
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        let of_histogram = ["_bucket", "_count", "_sum"].iter().find_map(|suffix| name.strip_suffix(suffix));
        let is_there = metrics.contains(name) || of_histogram.is_some_and(|name| metrics.contains(name));
        assert!(is_there, "no metric is called {name}");
    }
}
