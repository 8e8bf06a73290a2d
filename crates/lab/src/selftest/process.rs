//! A server as a process of its own that can be stopped and continued.

use std::{
    net::SocketAddr,
    process::Stdio,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

/// How long the server may take until it prints its address.
const READY_TIMEOUT: Duration = Duration::from_secs(10);

/// A running server. Killed when dropped, also while it is stopped.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    pid: Pid,
    pub(super) address: SocketAddr,
}

/// A server that did not come up, or cannot be stopped and continued.
#[derive(Debug, thiserror::Error)]
pub(super) enum ServerError {
    #[error("cannot start `{program}`: {source}")]
    Start { program: String, source: std::io::Error },
    #[error("the server printed no address within {} s", READY_TIMEOUT.as_secs())]
    NotReady,
    #[error("cannot signal the server: {0}")]
    Signal(rustix::io::Errno),
}

impl Server {
    pub(super) async fn start(command: &[String]) -> Result<Self, ServerError> {
        let program = command.first().cloned().unwrap_or_default();
        let start = |source| ServerError::Start { program: program.clone(), source };
        let mut child = Command::new(&program)
            .args(command.iter().skip(1))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(start)?;
        let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed())).ok_or(ServerError::NotReady)?;
        let stdout = child.stdout.take().ok_or(ServerError::NotReady)?;
        let address = tokio::time::timeout(READY_TIMEOUT, read_address(stdout)).await;
        let address = address.ok().flatten().ok_or(ServerError::NotReady)?;
        Ok(Self { child, pid, address })
    }

    /// Stops the process for a while and returns how long it really was.
    pub(super) async fn freeze(&self, duration: Duration) -> Result<Duration, ServerError> {
        kill_process(self.pid, Signal::STOP).map_err(ServerError::Signal)?;
        let stopped = Instant::now();
        tokio::time::sleep(duration).await;
        kill_process(self.pid, Signal::CONT).map_err(ServerError::Signal)?;
        Ok(stopped.elapsed())
    }

    pub(super) async fn end(mut self) {
        // It may be gone already; either way it is waited for.
        let _ = self.child.kill().await;
    }
}

/// The first word of a line that is an address.
async fn read_address(stdout: impl tokio::io::AsyncRead + Unpin) -> Option<SocketAddr> {
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if let Some(address) = line.split_whitespace().find_map(|word| word.parse().ok()) {
            return Some(address);
        }
    }
    None
}
