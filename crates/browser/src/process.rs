//! One Chrome process: started, watched, killed with all its children, reaped, its profile removed.
//!
//! Each process leads a process group of its own. A task supervises it and is the only one that kills: on request, when
//! the server stops, or after the main process died by itself. If this server dies, the pipe closes and Chrome exits.
//!
//! A Chrome that somebody else started is driven through a WebSocket instead: it is let go where others are killed.

use std::{
    collections::VecDeque,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use metrics::gauge;
use paddock_cdp::{
    CallError, ConnectError, Connection, ConnectionOptions, Pipe,
    protocol::{
        browser::{GetVersion, Version},
        target::SetDiscoverTargets,
    },
};
use paddock_platform::task::Tasks;
use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, set_child_subreaper, waitpgid};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{Child, ChildStderr, Command},
    sync::watch,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    engine::{Engine, EngineKind},
    metrics::BROWSER_PROCESSES,
    profile::{Profile, Profiles},
};

/// How long Chrome may take from its start to its first answer: a cold disk and a busy machine included.
const START_DEADLINE: Duration = Duration::from_secs(30);
/// How long children of a killed process may take to go.
const REAP_DEADLINE: Duration = Duration::from_secs(5);
/// How long a Chrome that closed its pipe may take to be gone.
const EXIT_DEADLINE: Duration = Duration::from_secs(10);
/// Lines of Chrome's standard error kept for messages.
const STDERR_LINES_MAX: usize = 12;
/// Bytes kept of each.
const STDERR_LINE_SIZE_MAX: u64 = 512;

/// What a process is started with.
#[derive(Clone, Debug)]
pub(crate) struct LaunchOptions {
    pub(crate) engine: Engine,
    pub(crate) profiles: Profiles,
    /// How long a command may take before the process is taken for hung.
    pub(crate) unresponsive_after: Duration,
    /// With windows.
    pub(crate) headed: bool,
    /// Directories of extensions to load.
    pub(crate) extensions: Vec<PathBuf>,
    /// Arguments of the fleet, for example those of the egress.
    pub(crate) arguments: Vec<String>,
    /// Variables of its environment, for example its display.
    pub(crate) variables: Vec<(String, String)>,
}

/// A Chrome that did not start.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// Its profile directory could not be made.
    #[error("cannot make a profile directory for Chrome")]
    Profile(#[source] std::io::Error),
    /// The binary could not be run.
    #[error("cannot run {path}")]
    Spawn {
        /// The binary.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// It ended before it answered.
    #[error("Chrome ended as it started ({exit}){}", quoted(stderr))]
    Ended {
        /// Exit code or signal.
        exit: String,
        /// Its last lines on standard error.
        stderr: String,
    },
    /// It did not answer; it was killed.
    #[error("Chrome did not start")]
    Call(#[source] CallError),
    /// It cannot be connected to.
    #[error("cannot connect to Chrome")]
    Connect(#[source] ConnectError),
}

fn quoted(stderr: &str) -> String {
    if stderr.is_empty() { String::new() } else { format!("; it said: {stderr}") }
}

/// A running Chrome. Cheap to clone; it runs until killed, also without handles.
#[derive(Clone, Debug)]
pub(crate) struct Process(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// None for one that somebody else started.
    pid: Option<Pid>,
    connection: Connection,
    version: Version,
    /// It is the full browser.
    has_windows: bool,
    unresponsive_after: Duration,
    kill: CancellationToken,
    exit: watch::Receiver<Option<String>>,
    stderr: Tail,
    /// Told to end, by us: its exit is not news.
    expected: AtomicBool,
}

impl Process {
    /// Starts a Chrome and waits until it answers.
    pub(crate) async fn launch(options: &LaunchOptions, tasks: &Tasks) -> Result<Self, LaunchError> {
        // Orphaned children of Chrome become ours, so that they can be reaped.
        set_child_subreaper(Some(rustix::process::getpid())).ok();
        let profile = options.profiles.create().map_err(LaunchError::Profile)?;
        let mut command = Command::new(&options.engine.path);
        command
            .args(options.engine.arguments(profile.path(), options.headed, &options.extensions))
            .args(&options.arguments)
            .envs(options.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let spawn_error =
            |source| LaunchError::Spawn { path: options.engine.path.display().to_string(), source };
        let (mut child, pipe) = Pipe::spawn(command).map_err(spawn_error)?;
        let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let pid = pid.ok_or_else(|| spawn_error(std::io::Error::other("no process id")))?;
        let stderr = Tail::default();
        if let Some(stream) = child.stderr.take() {
            tasks.spawn("browser_process_stderr", stderr.clone().drain(stream));
        }
        let unresponsive_after = options.unresponsive_after;
        let (connection, driver) = pipe
            .connect(ConnectionOptions { call_deadline: unresponsive_after, ..ConnectionOptions::default() });
        tasks.spawn("browser_process_connection", driver.run());
        let kill = CancellationToken::new();
        let (exit_sender, exit) = watch::channel(None);
        let supervisor = Supervisor { child, pid, profile, kill: kill.clone(), exit: exit_sender };
        tasks.spawn("browser_process", supervisor.run(tasks.stop_token()));

        // From here on, an early return or a dropped future kills the process.
        let guard = kill.clone().drop_guard();
        let started = Instant::now();
        let browser = connection.browser();
        let version = match browser.send_within(&GetVersion {}, START_DEADLINE).await {
            Ok(version) => version,
            Err(CallError::Closed { .. }) => {
                // Mostly it is dead; if it merely closed its end, it will be.
                kill.cancel();
                let mut exit = exit;
                let exit = timeout(EXIT_DEADLINE, exit.wait_for(Option::is_some)).await;
                let exit = exit.ok().and_then(Result::ok).and_then(|exit| exit.clone());
                return Err(LaunchError::Ended { exit: exit.unwrap_or_default(), stderr: stderr.text() });
            }
            Err(error) => return Err(LaunchError::Call(error)),
        };
        browser.send(&SetDiscoverTargets { discover: true }).await.map_err(LaunchError::Call)?;
        guard.disarm();
        let elapsed_ms = started.elapsed().as_millis();
        tracing::info!(browser.pid = pid.as_raw_nonzero(), elapsed_ms, "started {}", version.product);
        let expected = AtomicBool::new(false);
        Ok(Self(Arc::new(Inner {
            pid: Some(pid),
            connection,
            version,
            has_windows: options.engine.kind == EngineKind::Chromium,
            unresponsive_after,
            kill,
            exit,
            stderr,
            expected,
        })))
    }

    /// Connects to a Chrome that runs already, by its `ws://…/devtools/browser/…` address.
    pub(crate) async fn attach(
        url: &str,
        unresponsive_after: Duration,
        tasks: &Tasks,
    ) -> Result<Self, LaunchError> {
        let options = ConnectionOptions { call_deadline: unresponsive_after, ..ConnectionOptions::default() };
        let (connection, driver) =
            Connection::open_websocket(url, options).await.map_err(LaunchError::Connect)?;
        let (kill, stopping) = (CancellationToken::new(), tasks.stop_token());
        let (exit_sender, exit) = watch::channel(None);
        let letting_go = kill.clone();
        tasks.spawn("browser_process_connection", async move {
            let ended = tokio::select! {
                () = driver.run() => "it closed the connection",
                () = letting_go.cancelled() => "it was let go",
                () = stopping.cancelled() => "the server stops",
            };
            exit_sender.send_replace(Some(ended.to_owned()));
        });
        // From here on, an early return or a dropped future lets it go.
        let guard = kill.clone().drop_guard();
        let browser = connection.browser();
        let version = browser.send(&GetVersion {}).await.map_err(LaunchError::Call)?;
        browser.send(&SetDiscoverTargets { discover: true }).await.map_err(LaunchError::Call)?;
        guard.disarm();
        tracing::info!("attached to {}", version.product);
        Ok(Self(Arc::new(Inner {
            pid: None,
            connection,
            version,
            has_windows: true,
            unresponsive_after,
            kill,
            exit,
            stderr: Tail::default(),
            expected: AtomicBool::new(false),
        })))
    }

    /// Its process id; none for a Chrome that somebody else started.
    pub(crate) fn pid(&self) -> Option<i32> {
        self.0.pid.map(|pid| pid.as_raw_nonzero().get())
    }

    /// Whether this is the same process. Process ids come again, handles do not.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.0.connection
    }

    /// Whether its pages are in windows, seen or not.
    pub(crate) fn has_windows(&self) -> bool {
        self.0.has_windows
    }

    /// Product and user agent of this Chrome.
    pub(crate) fn version(&self) -> &Version {
        &self.0.version
    }

    /// The user agent of this Chrome.
    pub(crate) fn user_agent(&self) -> &str {
        &self.0.version.user_agent
    }

    /// How long it may take to answer before it is taken for hung.
    pub(crate) fn unresponsive_after(&self) -> Duration {
        self.0.unresponsive_after
    }

    /// Whether it runs and answers.
    pub(crate) fn is_alive(&self) -> bool {
        !self.0.connection.is_closed() && !self.0.kill.is_cancelled()
    }

    /// Kills it with its children, or lets it go if it is somebody else's; [`Process::ended`] tells when that is done.
    pub(crate) fn kill(&self) {
        self.0.expected.store(true, Ordering::Relaxed);
        self.0.kill.cancel();
    }

    /// Kills it because it misses deadlines: an unexpected end.
    pub(crate) fn kill_unresponsive(&self) {
        tracing::warn!(browser.pid = self.pid(), "Chrome does not answer: it is killed, or let go");
        self.0.kill.cancel();
    }

    /// Resolves when it and its children are gone, with how it ended and its last words.
    pub(crate) async fn ended(&self) -> String {
        let mut exit = self.0.exit.clone();
        let exit = exit.wait_for(Option::is_some).await.ok().and_then(|exit| exit.clone());
        let stderr = self.0.stderr.text();
        format!("{}{}", exit.unwrap_or_default(), quoted(&stderr))
    }

    /// Whether it was this server that ended it.
    pub(crate) fn is_expected_to_end(&self) -> bool {
        self.0.expected.load(Ordering::Relaxed)
    }
}

/// Owns the child.
struct Supervisor {
    child: Child,
    pid: Pid,
    profile: Profile,
    kill: CancellationToken,
    exit: watch::Sender<Option<String>>,
}

impl Supervisor {
    async fn run(mut self, stopping: CancellationToken) {
        let running = gauge!(BROWSER_PROCESSES);
        running.increment(1.0);
        let status = tokio::select! {
            status = self.child.wait() => status,
            () = async { tokio::select! { () = self.kill.cancelled() => {}, () = stopping.cancelled() => {} } } => {
                kill_process_group(self.pid, Signal::KILL).ok();
                self.child.wait().await
            }
        };
        // The leader is reaped; as long as a child is left, its number stays taken and names this group alone.
        kill_process_group(self.pid, Signal::KILL).ok();
        if timeout(REAP_DEADLINE, reap_group(self.pid)).await.is_err() {
            tracing::warn!(browser.pid = self.pid.as_raw_nonzero(), "children of a killed Chrome do not go");
        }
        let Self { profile, exit, .. } = self;
        tokio::task::spawn_blocking(move || drop(profile)).await.ok();
        running.decrement(1.0);
        exit.send_replace(Some(status.map_or_else(|error| error.to_string(), describe_exit)));
    }
}

/// Waits for the children of a dead Chrome, which are ours now: they would stay as zombies.
async fn reap_group(group: Pid) {
    loop {
        match waitpgid(group, WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
            // Some are left and still dying.
            Ok(None) => tokio::time::sleep(Duration::from_millis(5)).await,
            // None that are ours; those that are another's die with their parents.
            Err(_) => return,
        }
    }
}

fn describe_exit(status: ExitStatus) -> String {
    status.to_string()
}

/// The last lines of a process's standard error.
#[derive(Clone, Debug, Default)]
struct Tail(Arc<Mutex<VecDeque<String>>>);

impl Tail {
    async fn drain(self, stream: ChildStderr) {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        loop {
            line.clear();
            // A line over the maximum arrives in pieces, each a line of its own here.
            match (&mut reader).take(STDERR_LINE_SIZE_MAX).read_until(b'\n', &mut line).await {
                Ok(1..) => self.push(String::from_utf8_lossy(&line).trim().to_owned()),
                Ok(0) | Err(_) => return,
            }
        }
    }

    fn push(&self, line: String) {
        if line.is_empty() {
            return;
        }
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == STDERR_LINES_MAX {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    fn text(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(String::as_str).collect::<Vec<_>>().join(" | ")
    }
}
