//! A model that works with tools: the simulated provider does what its script says, everything else is real.

use axum::{Router, response::Html, routing::get as route};
use serde_json::{Value, json};

use super::{agents, client, get, start, support};

/// Reads a page with the browser, has it analysed, and says what it found.
const REVIEWER: &str = r#"---
name: reviewer
description: Reviews a page and says what to change
capabilities: [review]
model: sim
tools: [browser_navigate, browser_evaluate, analysis_run]
---
You review pages. Open the page you are given, read its headline, analyse it, and name what to change first.

[sim tool=browser_navigate with={"url": "{{0}}", "snapshot": false}
 then tool=browser_evaluate with={"expression": "document.querySelector('h1').textContent.trim()"}
 then tool=analysis_run with={"url": "{{0}}", "viewports": ["desktop"]}
 then reply="{{1.title}} // {{2.result}} // {{3.scores.overall}} of 100 // {{3.findings.0.title}}"]
"#;

pub(crate) async fn pages() -> support::TestSite {
    let page =
        std::fs::read_to_string(support::page("crates/analysis/tests/pages/pricing-bad.html")).unwrap();
    support::TestSite::start(Router::new().fallback(route(|| async { Html(page) }))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_agent_reads_a_page_analyses_it_and_names_what_to_change() {
    let (server, site) = (start(&["--set", "llm.sim=true"]), pages().await);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("reviewer.md");
    std::fs::write(&file, REVIEWER).unwrap();
    assert!(agents(&server, &["validate", file.to_str().unwrap()]).contains("can be deployed"));
    assert_eq!(agents(&server, &["deploy", file.to_str().unwrap()]), "reviewer@1\n");
    let url = format!("{}/pricing", site.base);
    let answer = agents(&server, &["ask", "reviewer", &url]);

    // What it says is what the browser saw, and what the analysis said, whose report is kept.
    let reports = get(&server, "/analysis").await;
    let report = get(&server, &format!("/analysis/{}", reports["items"][0]["id"].as_str().unwrap())).await;
    let said: Vec<&str> = answer.lines().next().unwrap().split(" // ").collect();
    let [title, headline, score, change] = said[..] else { panic!("{answer}") };
    assert_eq!((title, headline), ("Plans and prices | Taskly", "Plans"), "{answer}");
    assert_eq!(score, format!("{} of 100", report["scores"]["overall"]), "{answer}");
    assert_eq!(change, report["findings"][0]["title"].as_str().unwrap(), "{answer}");

    let conversation = answer.trim().lines().last().unwrap().split_whitespace().last().unwrap().to_owned();
    let timeline = get(&server, &format!("/agents/conversations/{conversation}")).await;
    let entries = timeline["entries"].as_array().unwrap();
    let tools: Vec<&str> = entries
        .iter()
        .filter(|it| it["kind"] == "tool")
        .map(|it| it["entry"]["tool"].as_str().unwrap())
        .collect();
    assert_eq!(tools, ["browser_navigate", "browser_evaluate", "analysis_run"], "{timeline}");
    let failed = entries.iter().filter(|it| !it["entry"]["error"].is_null()).count();
    let asked = entries.iter().filter(|it| it["kind"] == "model").count();
    assert_eq!((failed, asked), (0, 4), "{timeline}");
    let traced = agents(&server, &["trace", &conversation]);
    for what in ["request", "model", "tool", "inform", "analysis_run"] {
        assert!(traced.contains(what), "{what}: {traced}");
    }

    // The same over HTTP, as a job that is waited for.
    let request = client().post(format!("{}/agents/reviewer/execute", server.base));
    let request = request.header("prefer", "wait=60").json(&json!({ "input": url }));
    let done: Value = request.send().await.unwrap().json().await.unwrap();
    assert!(done["output"].as_str().is_some_and(|said| said.starts_with(title)), "{done}");
}
