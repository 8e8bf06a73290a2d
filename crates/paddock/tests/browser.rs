//! Browsers from a shell: one command after the other, on the tab that was used last.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what it found by panicking")]

mod support;

use std::{fs, process::Output};

use axum::{
    Router,
    response::{Html, IntoResponse},
    routing::get,
};
use support::{TestServer, TestSite, complaint, run, text};

const SHOP: &str = "<!doctype html><title>Shop</title>
    <input id=q placeholder=Search> <label><input type=checkbox id=gift> Gift</label>
    <select id=size><option>S<option>M</select> <input type=file id=file>
    <button id=go onclick=\"console.log('went'); document.title = 'Went'\">Go</button>
    <button id=ask onclick=\"document.title = String(confirm('Sure?'))\">Ask</button>
    <p id=late hidden>Late</p><a id=next href=/next>Next</a><p style='height: 3000px'>Tall</p><p id=end>End</p>";

fn shop() -> Router {
    let page = || async { ([("set-cookie", "seen=1")], Html(SHOP)).into_response() };
    Router::new()
        .route("/", get(page))
        .route("/next", get(|| async { Html("<!doctype html><title>Next</title>") }))
        .route("/list.csv", get(|| async { ([("content-type", "text/csv")], "a,b\n1,2\n") }))
}

/// A server and a site, and a shell that uses the one to look at the other.
struct Shell {
    server: TestServer,
    site: TestSite,
}

impl Shell {
    async fn open() -> Self {
        let server = TestServer::start(&["--set", "browser.warm=0"]);
        let shell = Self { server, site: TestSite::start(shop()).await };
        shell.say(&["open", &shell.site.base]);
        shell
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut all = vec!["browser", "--server", &self.server.base];
        all.extend(args);
        run(&all)
    }

    /// What a command that has to succeed prints.
    fn say(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", text(&output));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_form_is_filled_in_and_what_came_of_it_is_read() {
    let shell = Shell::open().await;
    shell.say(&["fill", "#q", "green"]);
    shell.say(&["check", "#gift"]);
    shell.say(&["select", "#size", "M"]);
    let filled = "[q.value, gift.checked, document.querySelector('#size').value].join()";
    assert_eq!(shell.say(&["evaluate", filled]), "green,true,M");
    shell.say(&["uncheck", "#gift"]);
    assert_eq!(shell.say(&["evaluate", "gift.checked"]), "false");
    shell.say(&["focus", "#q"]);
    assert_eq!(shell.say(&["evaluate", "document.activeElement.id"]), "q");

    let found = shell.say(&["find", "go button", "--top", "1"]);
    let line = found.lines().last().unwrap();
    assert!(line.starts_with('e') && line.contains("button") && line.ends_with("Go"), "{found}");
    let reference = line.split_whitespace().next().unwrap();
    shell.say(&["hover", reference]);
    shell.say(&["click", reference]);
    assert_eq!(shell.say(&["title"]), "Went");
    assert!(shell.say(&["console"]).contains("log: went"));
    shell.say(&["console", "--clear"]);
    assert_eq!(shell.say(&["console"]), "");
    assert!(shell.say(&["html", "#go"]).starts_with("<button id=\"go\""));
    assert!(shell.say(&["cookies"]).contains("seen"));
    shell.say(&["cookies", "--clear"]);
    assert_eq!(shell.say(&["cookies"]), "there is no cookie");

    let asked = shell.run(&["click", "#ask"]);
    assert_eq!(asked.status.code(), Some(19), "{}", text(&asked));
    assert_eq!(shell.say(&["dialog", "accept"]), "accept: confirm \"Sure?\"");
    assert_eq!(shell.say(&["title"]), "true");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_are_gone_through_scrolled_and_waited_for() {
    let shell = Shell::open().await;
    shell.say(&["click", "#next"]);
    shell.say(&["wait", "--url", "**/next"]);
    assert_eq!(shell.say(&["title"]), "Next");
    let start = format!("{}/", shell.site.base);
    assert_eq!(shell.say(&["back"]), start);
    assert_eq!(shell.say(&["forward"]), format!("{start}next"));
    shell.say(&["back"]);
    assert_eq!(shell.say(&["reload"]), start);
    assert_eq!(shell.say(&["url"]), start);
    assert!(shell.say(&["network", "--type", "document"]).contains("/next"));
    let har = shell.say(&["network", "--har", "-"]);
    assert!(serde_json::from_str::<serde_json::Value>(&har).unwrap()["log"]["entries"].is_array());

    let top = || shell.say(&["evaluate", "scrollY"]).parse::<f64>().unwrap();
    shell.say(&["scroll", "300"]);
    let there = top();
    assert!(there > 0.0);
    shell.say(&["scroll", "-300"]);
    assert!(top() < there);
    shell.say(&["scroll", "#end"]);
    assert!(top() > there);

    shell.say(&["wait", "#late", "--state", "hidden"]);
    shell.say(&["wait", "10"]);
    let never = shell.run(&["wait", "--text", "Nowhere", "--timeout", "100"]);
    assert_eq!(never.status.code(), Some(19), "{}", text(&never));
    assert!(complaint(&never).contains("waiting for text"), "{}", text(&never));
    let both = shell.run(&["wait", "#late", "--text", "Nowhere"]);
    assert_eq!(both.status.code(), Some(2), "{}", text(&both));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_is_kept_to_the_hosts_that_are_named() {
    let shell = Shell::open().await;
    let narrow = shell.say(&["start", "--allow", "shop.example", "--allow", "127.0.0.1"]);
    let elsewhere = shell.site.base.replace("127.0.0.1", "localhost");
    assert!(shell.say(&["open", &shell.site.base, "--instance", &narrow]).ends_with("Shop"));
    let refused = shell.run(&["open", &elsewhere, "--instance", &narrow]);
    assert_eq!(refused.status.code(), Some(12), "{}", text(&refused));
    assert!(complaint(&refused).contains("allowedDomains"), "{}", text(&refused));
    assert!(shell.say(&["open", &elsewhere]).ends_with("Shop"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_come_and_go_and_a_state_is_kept() {
    let shell = Shell::open().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("list.csv");
    let path = file.to_str().unwrap();
    shell.say(&["download", &format!("{}/list.csv", shell.site.base), "-o", path]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "a,b\n1,2\n");
    assert_eq!(shell.say(&["upload", path]), "1 file chosen");
    let chosen = "document.querySelector('#file').files[0].text()";
    assert_eq!(shell.say(&["evaluate", chosen]), "a,b\n1,2");

    assert_eq!(shell.say(&["state", "save", "mine"]), "mine");
    assert!(shell.say(&["state", "list"]).contains("mine"));
    shell.say(&["cookies", "--clear"]);
    assert!(shell.say(&["state", "load", "mine"]).starts_with("mine: 1 cookie,"));
    assert!(shell.say(&["cookies"]).contains("seen"));
    assert_eq!(shell.say(&["state", "delete", "mine"]), "mine is deleted");
    assert_eq!(shell.say(&["state", "list"]), "no state is saved");
}
