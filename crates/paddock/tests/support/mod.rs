//! The built binary as its users meet it: commands that end, and servers that run.

#![allow(dead_code, reason = "each test program uses its part of this")]

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::mpsc::{Receiver, sync_channel},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// Longer than anything takes that works; reached only by what does not.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// The binary, with an environment of its own.
pub(crate) fn paddock() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_paddock"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PADDOCK_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// Runs a command to its end.
pub(crate) fn run(args: &[&str]) -> Output {
    paddock().args(args).output().expect("the binary runs")
}

/// What a command printed, for messages.
pub(crate) fn text(output: &Output) -> String {
    format!(
        "exit {:?}\n--- stdout\n{}\n--- stderr\n{}",
        output.status.code(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// The last line on standard error: what went wrong.
pub(crate) fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned()
}

/// A running server on a free port and a data directory of its own. Dropping it kills it.
pub(crate) struct TestServer {
    child: Child,
    pub(crate) base: String,
    pub(crate) data: PathBuf,
    lines: Receiver<String>,
    _dir: tempfile::TempDir,
}

impl TestServer {
    /// Starts one that lets pages reach loopback.
    pub(crate) fn start(flags: &[&str]) -> Self {
        let mut all = vec!["--set", "browser.allow=[\"127.0.0.0/8\"]"];
        all.extend(flags);
        Self::start_plain(&all)
    }

    /// Starts one with these flags and nothing else.
    pub(crate) fn start_plain(flags: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        Self::launch(dir, data, flags)
    }

    /// Starts one with more in its environment.
    pub(crate) fn start_with_env(env: &[(&str, &str)], flags: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        Self::launch_in(dir, data, env, flags)
    }

    /// Starts one on the data directory of another that has ended.
    pub(crate) fn start_on(data: &Path) -> Self {
        Self::start_on_with(data, &[])
    }

    /// The same with flags.
    pub(crate) fn start_on_with(data: &Path, flags: &[&str]) -> Self {
        Self::launch(tempfile::tempdir().unwrap(), data.to_owned(), flags)
    }

    fn launch(dir: tempfile::TempDir, data: PathBuf, flags: &[&str]) -> Self {
        Self::launch_in(dir, data, &[], flags)
    }

    fn launch_in(dir: tempfile::TempDir, data: PathBuf, env: &[(&str, &str)], flags: &[&str]) -> Self {
        let mut child = paddock()
            .envs(env.iter().copied())
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(&data)
            .args(flags)
            .current_dir(dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let lines = follow(&mut child);
        let mut server = Self { child, base: String::new(), data, lines, _dir: dir };
        let line = server.line_with("listens on");
        line.split("listens on ").nth(1).unwrap().trim().clone_into(&mut server.base);
        server
    }

    /// Waits for a line on either output that contains a text.
    pub(crate) fn line_with(&self, text: &str) -> String {
        let started = Instant::now();
        let mut seen = String::new();
        while started.elapsed() < PATIENCE {
            match self.lines.recv_timeout(Duration::from_millis(200)) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => {
                    seen.push_str(&line);
                    seen.push('\n');
                }
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
            }
        }
        panic!("no line with `{text}` among:\n{seen}");
    }

    /// What was written on either output since it was last looked at.
    pub(crate) fn rest(&self) -> String {
        let lines: Vec<String> = self.lines.try_iter().collect();
        lines.join("\n")
    }

    /// The server's process id.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Waits for the end and gives the exit code, none if a signal ended it.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        eventually("the server has ended", || self.child.try_wait().unwrap()).code()
    }

    /// Process ids of the server's Chromes: their profiles lie in its data directory.
    pub(crate) fn chromes(&self) -> Vec<i32> {
        let marker = self.data.display().to_string();
        let is_chrome = |pid: &i32| {
            fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|cmdline| {
                let cmdline = String::from_utf8_lossy(&cmdline).into_owned();
                cmdline.contains(&marker)
                    && cmdline.contains("chrom")
                    && *pid != self.pid().as_raw_nonzero().get()
            })
        };
        let entries = fs::read_dir("/proc").unwrap().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_chrome).collect()
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads both outputs to the end, so that the server never blocks on a full pipe.
fn follow(child: &mut Child) -> Receiver<String> {
    let (sender, lines) = sync_channel(10_000);
    let outputs: [Option<Box<dyn Read + Send>>; 2] = [
        child.stdout.take().map(|out| Box::new(out) as _),
        child.stderr.take().map(|out| Box::new(out) as _),
    ];
    for output in outputs.into_iter().flatten() {
        let sender = sender.clone();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = sender.try_send(line);
            }
        });
    }
    lines
}

/// Asks often and gives up late.
pub(crate) fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(started.elapsed() < PATIENCE, "gave up waiting until {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A directory of pages, served on loopback for as long as it lives.
pub(crate) struct TestSite {
    pub(crate) base: String,
    _stop: tokio::sync::oneshot::Sender<()>,
}

impl TestSite {
    /// Serves a router.
    pub(crate) async fn start(app: axum::Router) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        #[expect(clippy::disallowed_methods, reason = "lives as long as the test")]
        tokio::spawn(async move {
            let serving = std::future::IntoFuture::into_future(axum::serve(listener, app));
            tokio::select! { _ = serving => {}, _ = stopped => {} }
        });
        Self { base, _stop: stop }
    }
}

/// A page of the repository: tests run in the directory of their crate.
pub(crate) fn page(path: &str) -> PathBuf {
    Path::new("../..").canonicalize().unwrap().join(path)
}

/// The address of a port on loopback that nobody listens on.
pub(crate) fn closed_port() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}/", listener.local_addr().unwrap())
}
