//! Commands that end: what they print, what they refuse, and how they exit.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what it found by panicking")]

mod support;

use std::fs;

use support::{closed_port, complaint, paddock, page, run, text};

#[test]
fn an_html_file_is_analysed_into_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("report");
    let shop = page("examples/shop.html");
    let output = run(&["analyze", shop.to_str().unwrap(), "--out", out.to_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output));
    let report: serde_json::Value =
        serde_json::from_slice(&fs::read(out.join("report.json")).unwrap()).unwrap();
    let schema = fs::read(page("docs/analysis-report.schema.json")).unwrap();
    let validator = jsonschema::validator_for(&serde_json::from_slice(&schema).unwrap()).unwrap();
    let mistakes: Vec<String> = validator.iter_errors(&report).map(|error| error.to_string()).collect();
    assert!(mistakes.is_empty(), "{mistakes:?}");
    let rules: Vec<&str> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|finding| finding["rule"].as_str())
        .collect();
    for rule in [
        "price.missing",
        "cta.vague_label",
        "popup.cookie_no_reject",
        "headline.generic",
        "nav.too_many_links",
    ] {
        assert!(rules.contains(&rule), "{rule} is not among {rules:?}");
    }
    assert!(fs::read_to_string(out.join("report.html")).unwrap().contains("<!DOCTYPE html>"));
    assert!(fs::read_to_string(out.join("report.md")).unwrap().starts_with("# "));
    let crop =
        report["findings"].as_array().unwrap().iter().find_map(|finding| finding["crop"]["file"].as_str());
    assert!(out.join(crop.expect("a finding has a picture")).is_file());
}

#[test]
fn one_form_can_be_printed() {
    let shop = page("examples/shop.html");
    let output = run(&["analyze", shop.to_str().unwrap(), "--viewport", "mobile", "--format", "json"]);
    assert!(output.status.success(), "{}", text(&output));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report["findings"].as_array().unwrap().iter().all(|finding| finding["viewport"] == "mobile"));
}

#[test]
fn wrong_usage_is_one_line_and_exit_code_2() {
    for (args, word) in [
        (&["analyze"][..], "TARGET"),
        (&["analyze", "no-such-file.html"], "no-such-file.html"),
        (&["analyze", "/tmp"], "is a directory"),
        (&["analyze", "ftp://example.com/"], "https://"),
        (&["analyze", "https://"], "not a URL"),
        (&["analyze", "https://example.com", "--viewport", "watch"], "watch"),
        (&["analyze", "https://example.com", "--format", "html,json"], "--out"),
        (&["analyze", "https://example.com", "--allow", "everything"], "everything"),
        (&["analyse", "https://example.com"], "analyze"),
        (&["serve", "--port", "80"], "--port"),
        (&["serve", "--set", "browser.instance_max=5"], "browser.instances_max"),
        (&["serve", "--listen", "7070"], "listen"),
        (&["keys", "create", "ci", "--scope", "browsers:read"], "browser"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let output = paddock().args(args).current_dir(dir.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", text(&output));
        assert_eq!(String::from_utf8_lossy(&output.stderr).lines().count(), 1, "{args:?}: {}", text(&output));
        assert!(complaint(&output).contains(word), "{args:?}: {}", text(&output));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "{args:?} left something behind");
    }
}

#[test]
fn a_missing_engine_is_said_with_the_command_that_installs_it() {
    let shop = page("examples/shop.html");
    let output =
        run(&["analyze", shop.to_str().unwrap(), "--set", "browser.engine=/no/such/chromium-headless-shell"]);
    assert_eq!(output.status.code(), Some(10), "{}", text(&output));
    assert!(complaint(&output).contains("/no/such/chromium-headless-shell"), "{}", text(&output));
}

#[test]
fn a_page_on_this_machine_is_refused_unless_its_network_is_allowed() {
    let closed = closed_port();
    let by_name = closed.replace("127.0.0.1", "localhost");
    for url in [&closed, &by_name, "http://[::1]:8080/", "http://169.254.169.254/latest"] {
        let output = run(&["analyze", url, "--viewport", "desktop"]);
        assert_eq!(output.status.code(), Some(12), "{url}: {}", text(&output));
        assert!(complaint(&output).contains("allow"), "{}", text(&output));
    }
    let output = run(&["analyze", &closed, "--viewport", "desktop", "--allow", "127.0.0.0/8"]);
    assert_eq!(output.status.code(), Some(11), "{}", text(&output));
}

#[test]
fn a_host_that_is_not_there_is_unreachable() {
    let output = run(&["analyze", "http://no-such-host.invalid/", "--viewport", "desktop"]);
    assert_eq!(output.status.code(), Some(11), "{}", text(&output));
    assert!(complaint(&output).contains("no-such-host.invalid"), "{}", text(&output));
}

#[test]
fn a_report_that_cannot_be_written_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let in_the_way = dir.path().join("report");
    fs::write(&in_the_way, "mine").unwrap();
    let shop = page("examples/shop.html");
    let output = run(&[
        "analyze",
        shop.to_str().unwrap(),
        "--viewport",
        "mobile",
        "--out",
        in_the_way.to_str().unwrap(),
    ]);
    assert_eq!(output.status.code(), Some(14), "{}", text(&output));
    assert_eq!(fs::read_to_string(&in_the_way).unwrap(), "mine");
}

#[test]
fn a_full_disk_is_said_and_leaves_nothing_behind() {
    // A disk of 64 KiB, in a mount namespace of its own: needs root.
    let dir = tempfile::tempdir().unwrap();
    let script = format!(
        "mount -t tmpfs -o size=64k tmpfs {0} && {1} analyze {2} --viewport mobile --out {0}/report; code=$?; ls -A {0}; exit $code",
        dir.path().display(),
        env!("CARGO_BIN_EXE_paddock"),
        page("examples/shop.html").display(),
    );
    let probe = std::process::Command::new("unshare").args(["-m", "true"]).status();
    if !probe.is_ok_and(|status| status.success()) {
        println!("skipped: a mount namespace needs root and unshare");
        return;
    }
    let output = std::process::Command::new("unshare").args(["-m", "sh", "-c", &script]).output().unwrap();
    assert_eq!(output.status.code(), Some(14), "{}", text(&output));
    assert!(complaint(&output).contains("space") || complaint(&output).contains("full"), "{}", text(&output));
    let left = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!left.contains("report.html"), "{left}");
}

#[test]
fn the_configuration_is_checked_shown_and_described() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("paddock.toml"), "[browser]\ninstances_max = 7\n").unwrap();
    let here = |args: &[&str]| paddock().args(args).current_dir(dir.path()).output().unwrap();
    assert!(here(&["config", "check"]).status.success());
    let shown = String::from_utf8(here(&["config", "show", "--set", "analysis.cache=5m"]).stdout).unwrap();
    let line = |key: &str| shown.lines().find(|line| line.starts_with(key)).unwrap_or_default().to_owned();
    assert!(line("instances_max").contains("paddock.toml:2"), "{shown}");
    assert!(line("cache = \"5m\"").contains("--set"), "{shown}");
    let schema: serde_json::Value = serde_json::from_slice(&here(&["config", "schema"]).stdout).unwrap();
    assert!(schema["properties"]["browser"].is_object());

    fs::write(dir.path().join("paddock.toml"), "[browser]\n\ninstance_max = 7\n[server]\ntimeout = 30\n")
        .unwrap();
    let output = here(&["config", "check"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    for word in
        ["paddock.toml:3", "browser.instance_max", "instances_max", "paddock.toml:5", "server.timeout"]
    {
        assert!(complaint(&output).contains(word), "no `{word}` in {}", complaint(&output));
    }
}

#[test]
fn keys_are_created_listed_and_revoked() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().to_str().unwrap();
    let output = run(&["keys", "create", "ci", "--scope", "analysis:write,browser:read", "--data", data]);
    assert!(output.status.success(), "{}", text(&output));
    let token = String::from_utf8(output.stdout).unwrap();
    assert!(token.starts_with("pdk_"), "{token}");
    let listed = run(&["keys", "list", "--json", "--data", data]);
    let keys: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(keys[0]["scopes"], serde_json::json!(["analysis:write", "browser:read"]));
    assert!(!String::from_utf8_lossy(&listed.stdout).contains(token.trim()));
    let id = keys[0]["id"].as_str().unwrap();
    assert!(run(&["keys", "revoke", id, "--data", data]).status.success());
    assert_eq!(run(&["keys", "revoke", "nobody", "--data", data]).status.code(), Some(2));
}

#[test]
fn the_doctor_opens_a_page_and_says_whether_the_sandbox_is_on() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(&["doctor", "--json", "--data", dir.path().to_str().unwrap()]);
    let diagnoses: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let diagnosis = |name: &str| {
        diagnoses.as_array().unwrap().iter().find(|it| it["name"] == name).cloned().unwrap_or_default()
    };
    assert_eq!(diagnosis("browser")["verdict"], "ok", "{}", text(&output));
    let expected = if rustix::process::geteuid().is_root() { "warning" } else { "ok" };
    assert_eq!(diagnosis("sandbox")["verdict"], expected, "{}", text(&output));
}
