//! Clients that nobody here wrote: the scripts of `tests/clients`, each against the built binary.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what it found by panicking")]

mod support;

use std::{io::Write, process::Command};

use support::{page, text};

/// Runs a script with node's test runner. Without node or the packages it needs, the test is skipped, unless
/// `PADDOCK_REQUIRE_NODE` is set.
fn run_script(name: &str) {
    let dir = page("tests/clients");
    let has_node = Command::new("node").arg("--version").output().is_ok_and(|output| output.status.success());
    if !has_node || !dir.join("node_modules").is_dir() {
        assert!(std::env::var_os("PADDOCK_REQUIRE_NODE").is_none(), "run scripts/setup.sh test");
        // Beside the test, not in it: the lint cannot see that this is one.
        let _ = writeln!(std::io::stdout(), "skipped: `scripts/setup.sh test` installs what it needs");
        return;
    }
    let output = Command::new("node")
        .args(["--test", "--test-reporter=spec", name])
        .current_dir(dir)
        .env("PADDOCK_BIN", env!("CARGO_BIN_EXE_paddock"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn the_official_mcp_client_browses() {
    run_script("mcp.test.mjs");
}
