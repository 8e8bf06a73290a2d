//! The rules against pages whose flaws are known, in a real Chromium.
//!
//! `tests/pages/labels.json` says for each page which flaws were put in on purpose and what must not be called missing.
//! A flaw counts as found when a finding of its rule names its element, one inside of it, or one around it that is no
//! larger part of the page than a section.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

use std::{collections::BTreeMap, path::Path, time::Duration};

use axum::{Router, extract::Path as UrlPath, response::IntoResponse, routing::get};
use futures_util::{StreamExt, stream};
use http::header::CONTENT_TYPE;
use paddock_analysis::{
    Finding, Screen, Severity,
    facts::{self, Facts},
    page_type::PageType,
    rules,
};
use paddock_browser::{
    BrowserOptions, Emulation, Fleet, InstanceSpec, NavigateOptions, TabSpec, Wait, World,
};
use paddock_platform::{config::Section, identity::Tenant, task::Tasks};
use serde::Deserialize;
use url::Url;

/// Tests run in the directory of their crate.
const PAGES: &str = "tests/pages";
const TEMPLATES: &str = "../../../shared/data/pages";
/// Share of the labelled flaws that must be found.
const RECALL_MIN: f64 = 0.9;
const ASK_DEADLINE: Duration = Duration::from_secs(10);

#[derive(Deserialize)]
struct Labels {
    pages: BTreeMap<String, Page>,
}

#[derive(Deserialize)]
struct Page {
    #[serde(rename = "type")]
    kind: String,
    expect: Vec<Label>,
    must_not_claim_missing: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Label {
    id: String,
    severity: Severity,
    selector: String,
    viewport: Option<Screen>,
}

/// A fleet and a web server with the pages of a directory.
struct Lab {
    fleet: Fleet,
    tasks: Tasks,
    base: Url,
    _data: tempfile::TempDir,
}

/// A page that was looked at on both screens.
struct Looked {
    desktop: Facts,
    mobile: Facts,
    findings: Vec<Finding>,
    /// For each label and finding index of its rule: whether they name the same part of the page.
    related: Vec<Vec<usize>>,
}

impl Lab {
    async fn start(root: &'static str) -> Self {
        let tasks = Tasks::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let stopping = tasks.stop_token();
        let router =
            Router::new().route("/{*path}", get(move |UrlPath(path): UrlPath<String>| serve(root, path)));
        tasks.spawn("test_pages", async move {
            tokio::select! {
                result = axum::serve(listener, router).into_future() => result.unwrap(),
                () = stopping.cancelled() => {}
            }
        });
        let data = tempfile::tempdir().unwrap();
        let options = BrowserOptions {
            warm: 0,
            allow: vec!["127.0.0.0/8".parse().unwrap()],
            ..BrowserOptions::default()
        };
        let fleet = Fleet::start(Section::fixed(options), data.path(), &tasks).await.unwrap();
        Self { fleet, tasks, base, _data: data }
    }

    async fn finish(self) {
        self.fleet.shutdown().await;
        self.tasks.stop(Duration::from_secs(20)).await.unwrap();
    }

    /// Facts of one screen, and the answers to questions about selectors.
    async fn screen(&self, path: &str, screen: Screen) -> Facts {
        let instance = self.fleet.create(InstanceSpec::new(Tenant::local())).await.unwrap();
        let emulation = match screen {
            Screen::Desktop => Emulation::desktop(),
            Screen::Mobile => Emulation::mobile(),
        };
        let tab =
            instance.open(TabSpec { emulation, scripts: vec![facts::vitals_script().into()] }).await.unwrap();
        facts::prepare(&tab).await.unwrap();
        let options =
            NavigateOptions { wait: Wait::settled(), timeout: Duration::from_secs(30), allow_file: false };
        tab.navigate(&self.base.join(path).unwrap(), options).await.unwrap();
        let mut facts = facts::collect(&tab, screen).await.unwrap_or_else(|error| panic!("{path}: {error}"));
        facts::probe(&tab, &mut facts).await.unwrap_or_else(|error| panic!("{path}: {error}"));
        instance.close().await;
        facts
    }

    async fn look(&self, path: &str, labels: &[Label]) -> Looked {
        let (desktop, mobile) =
            tokio::join!(self.screen(path, Screen::Desktop), self.screen(path, Screen::Mobile));
        let findings = rules::evaluate(&desktop, &mobile);
        let related = self.relate(path, labels, &findings).await;
        Looked { desktop, mobile, findings, related }
    }

    /// Which findings name the labelled parts of a page.
    async fn relate(&self, path: &str, labels: &[Label], findings: &[Finding]) -> Vec<Vec<usize>> {
        if labels.is_empty() {
            return Vec::new();
        }
        let instance = self.fleet.create(InstanceSpec::new(Tenant::local())).await.unwrap();
        let tab = instance.open(TabSpec::default()).await.unwrap();
        tab.navigate(&self.base.join(path).unwrap(), NavigateOptions::default()).await.unwrap();
        // Elements that scripts add are waited for.
        let selectors =
            serde_json::to_string(&labels.iter().map(|label| &label.selector).collect::<Vec<_>>()).unwrap();
        let there = format!(
            "new Promise((done) => {{ const there = () => {selectors}.every((s) => document.querySelector(s)) && done(true); \
             new MutationObserver(there).observe(document, {{ childList: true, subtree: true, attributes: true }}); there(); }})"
        );
        tab.evaluate(&there, World::Main, ASK_DEADLINE).await.unwrap();
        let mut related = Vec::new();
        for label in labels {
            let mut names = Vec::new();
            for (index, finding) in findings.iter().enumerate().filter(|(_, f)| f.rule == label.id) {
                let script = format!(
                    "(() => {{ const a = [...document.querySelectorAll({:?})], b = document.querySelector({:?}); \
                     return a.some((el) => el === b || (b && (el.contains(b) || (b.contains(el) && b !== document.body)))); }})()",
                    label.selector, finding.selector
                );
                if tab.evaluate_as(&script, World::Main, ASK_DEADLINE).await.unwrap() {
                    names.push(index);
                }
            }
            related.push(names);
        }
        instance.close().await;
        related
    }
}

async fn serve(root: &'static str, path: String) -> impl IntoResponse {
    let file = Path::new(root).join(path);
    let mime = match file.extension().and_then(|e| e.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css",
        Some("js") => "text/javascript",
        Some("svg") => "image/svg+xml",
        Some("jpg") => "image/jpeg",
        _ => "application/octet-stream",
    };
    match tokio::fs::read(file).await {
        Ok(bytes) => ([(CONTENT_TYPE, mime)], bytes).into_response(),
        Err(_) => http::StatusCode::NOT_FOUND.into_response(),
    }
}

/// Rules that say that something is missing, by what the labels call it.
fn claims(rule: &str) -> &'static [&'static str] {
    match rule {
        "headline.missing_h1" => &["headline", "h1"],
        "price.missing" => &["price", "pricing"],
        "trust.no_social_proof" => &["social_proof", "testimonial"],
        "trust.no_reviews" => &["reviews"],
        "trust.no_guarantee" => &["guarantee", "warranty"],
        "trust.no_privacy_or_contact" => &["privacy", "contact"],
        "shipping.missing" => &["shipping"],
        "returns.missing" => &["returns"],
        "gallery.single_image" => &["image_gallery"],
        _ => &[],
    }
}

fn labels() -> Labels {
    serde_json::from_str(&std::fs::read_to_string(format!("{PAGES}/labels.json")).unwrap()).unwrap()
}

fn kind_of(page_type: PageType) -> String {
    serde_json::to_value(page_type).unwrap().as_str().unwrap().to_owned()
}

#[tokio::test]
async fn known_flaws_are_found_and_good_pages_are_left_alone() {
    let lab = Lab::start(PAGES).await;
    let at = &lab;
    let labels = labels();
    let looked: Vec<(&String, &Page, Looked)> = stream::iter(&labels.pages)
        .map(|(name, page)| async move { (name, page, at.look(&format!("{name}.html"), &page.expect).await) })
        .buffered(2)
        .collect()
        .await;
    let (mut found, mut all, mut missed, mut wrong) = (0, 0, Vec::new(), Vec::new());
    for (name, page, looked) in &looked {
        let kind = kind_of(rules::page_type(&looked.desktop, &looked.mobile));
        if kind != page.kind {
            wrong.push(format!("{name} is taken for {kind}"));
        }
        for (label, related) in page.expect.iter().zip(&looked.related) {
            all += 1;
            let hit = related
                .iter()
                .map(|&i| &looked.findings[i])
                .find(|f| label.viewport.is_none_or(|v| v == f.viewport));
            match hit {
                Some(finding) => {
                    found += 1;
                    if finding.severity != label.severity {
                        wrong.push(format!("{name}: {:?} of {label:?}", finding.severity));
                    }
                }
                None => missed.push(format!("{name}: {} {}", label.id, label.selector)),
            }
        }
        for finding in &looked.findings {
            let claimed = claims(&finding.rule)
                .iter()
                .any(|claim| page.must_not_claim_missing.iter().any(|there| there == claim));
            if claimed || (page.expect.is_empty() && finding.severity != Severity::Low) {
                wrong.push(format!(
                    "{name}: {} {} {}",
                    finding.rule, finding.selector, finding.evidence.statement
                ));
            }
        }
    }
    lab.finish().await;
    assert!(wrong.is_empty(), "false alarms: {wrong:#?}");
    assert!(f64::from(found) >= f64::from(all) * RECALL_MIN, "{found} of {all} found; missed: {missed:#?}");
    println!("{found} of {all} labelled flaws found; missed: {missed:?}");
}

#[tokio::test]
async fn every_selector_leads_to_its_element() {
    let lab = Lab::start(PAGES).await;
    let instance = lab.fleet.create(InstanceSpec::new(Tenant::local())).await.unwrap();
    let tab = instance.open(TabSpec::default()).await.unwrap();
    for name in ["saas-bad.html", "pdp-trap.html", "pricing-bad.html"] {
        tab.navigate(&lab.base.join(name).unwrap(), NavigateOptions::default()).await.unwrap();
        let facts = facts::collect(&tab, Screen::Desktop).await.unwrap();
        assert!(facts.elements.len() > 5);
        for element in &facts.elements {
            let script = format!("document.querySelector({:?})?.localName ?? ''", element.selector);
            let tag: String = tab.evaluate_as(&script, World::Main, ASK_DEADLINE).await.unwrap();
            assert_eq!(tag, element.tag, "{name}: {}", element.selector);
        }
    }
    lab.finish().await;
}

#[tokio::test]
async fn a_page_is_judged_the_same_every_time() {
    let lab = Lab::start(PAGES).await;
    let at = &lab;
    for (page, looks) in [("saas-bad.html", 20), ("slow-bad.html", 4)] {
        let looks: Vec<Vec<(String, Severity)>> = stream::iter(0..looks)
            .map(|_| async move {
                let looked = at.look(page, &[]).await;
                looked
                    .findings
                    .into_iter()
                    .map(|f| {
                        (format!("{} {} {} {}", f.rule, f.viewport, f.selector, f.fingerprint), f.severity)
                    })
                    .collect()
            })
            .buffered(2)
            .collect()
            .await;
        assert!(!looks[0].is_empty());
        for look in &looks {
            assert_eq!(look, &looks[0], "{page}");
        }
    }
    lab.finish().await;
}

#[tokio::test]
async fn reading_the_facts_changes_nothing_that_the_page_could_see() {
    let lab = Lab::start(PAGES).await;
    let instance = lab.fleet.create(InstanceSpec::new(Tenant::local())).await.unwrap();
    let tab = instance
        .open(TabSpec { scripts: vec![facts::vitals_script().into()], ..TabSpec::default() })
        .await
        .unwrap();
    tab.navigate(&lab.base.join("popup-bad.html").unwrap(), NavigateOptions::default()).await.unwrap();
    let look = "window.changes ??= (() => { const list = []; new MutationObserver((r) => list.push(...r)).observe(document, { childList: true, subtree: true, attributes: true, characterData: true }); return list; })(); \
                JSON.stringify([window.changes.length, scrollX, scrollY, document.activeElement.localName, Object.keys(window).filter((k) => k.startsWith('paddock'))])";
    let before: String = tab.evaluate_as(look, World::Main, ASK_DEADLINE).await.unwrap();
    facts::collect(&tab, Screen::Desktop).await.unwrap();
    let after: String = tab.evaluate_as(look, World::Main, ASK_DEADLINE).await.unwrap();
    lab.finish().await;
    assert_eq!(before, after);
    assert!(after.ends_with("[]]"), "{after}");
}

#[tokio::test]
async fn templates_of_others_are_read_without_error_and_judged_with_reason() {
    let root = Path::new(TEMPLATES).join("templates");
    let Ok(dirs) = std::fs::read_dir(&root) else {
        let required = std::env::var("PADDOCK_REQUIRE_DATA").as_deref() == Ok("1");
        assert!(!required, "PADDOCK_REQUIRE_DATA=1 is set, and {} is not here", root.display());
        println!("skipped: {} is not here", root.display());
        return;
    };
    let mut paths: Vec<String> = dirs
        .flatten()
        .filter(|dir| !dir.file_name().to_string_lossy().starts_with('_'))
        .flat_map(|dir| std::fs::read_dir(dir.path()).into_iter().flatten().flatten())
        .filter(|file| file.path().extension().is_some_and(|e| e == "html"))
        .map(|file| format!("templates/{}", file.path().strip_prefix(&root).unwrap().display()))
        .collect();
    paths.sort();
    let lab = Lab::start(TEMPLATES).await;
    let looked: Vec<(String, Looked)> = stream::iter(paths)
        .map(|path| async {
            let looked = lab.look(&path, &[]).await;
            (path, looked)
        })
        .buffered(2)
        .collect()
        .await;
    lab.finish().await;
    for (path, looked) in looked {
        assert!(!looked.desktop.truncated && looked.desktop.nodes > 20, "{path}");
        // Well-made templates have small flaws; a rule that fires without end is broken.
        assert!(looked.findings.len() < 90, "{path}: {}", looked.findings.len());
    }
}
