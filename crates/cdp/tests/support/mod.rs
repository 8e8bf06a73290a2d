//! A Chromium of our own for tests and benchmarks.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "each test and benchmark that includes this file uses another part of it"
)]

use std::{
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use paddock_cdp::{
    Connection, ConnectionOptions, Pipe, Session,
    protocol::target::{CreateTarget, SetDiscoverTargets},
};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio_util::task::TaskTracker;

const ENGINES: [&str; 2] = ["/usr/lib/chromium/chromium-headless-shell", "/usr/bin/chromium-headless-shell"];

/// A running Chromium; killed and its profile removed when dropped.
pub struct Chromium {
    pub child: Child,
    pub connection: Connection,
    /// Keeps the driver's task.
    pub tasks: TaskTracker,
    pub profile: TempDir,
}

pub fn command(profile: &Path, debugging: &str) -> Command {
    let engine =
        ENGINES.iter().find(|path| Path::new(path).exists()).expect("chromium-headless-shell is installed");
    let mut command = Command::new(engine);
    command
        .args([
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            debugging,
        ])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg("about:blank")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    command
}

impl Chromium {
    pub async fn start() -> Self {
        Self::start_with(ConnectionOptions::default()).await
    }

    pub async fn start_with(options: ConnectionOptions) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let (child, pipe) = Pipe::spawn(command(profile.path(), "--remote-debugging-pipe")).unwrap();
        let (connection, driver) = pipe.connect(options);
        let tasks = TaskTracker::new();
        tasks.spawn(driver.run());
        connection.browser().send(&SetDiscoverTargets { discover: true }).await.unwrap();
        Self { child, connection, tasks, profile }
    }

    /// A session with a new page.
    pub async fn page(&self, url: &str) -> Session {
        let target = self
            .connection
            .browser()
            .send(&CreateTarget { url, ..CreateTarget::default() })
            .await
            .unwrap()
            .target_id;
        self.connection.attach(&target).await.unwrap()
    }
}

/// Waits until a condition holds; a long maximum, so that running into it means a defect.
pub async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(30), "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
