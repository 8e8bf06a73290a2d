//! A server that is a program: run in a process group of its own, within limits, and gone with all its children.
//!
//! It gets messages on its standard input and answers on its standard output, one a line; what it says on standard error
//! goes to the log. A task supervises it and is the only one that kills. If this server dies, its input ends, which is
//! how programs of the protocol are told to end.

use std::{path::PathBuf, process::Stdio, sync::Arc, time::Duration};

use bytes::Bytes;
use metrics::gauge;
use paddock_platform::task::Tasks;
use rustix::process::{
    Pid, Resource, Rlimit, Signal, WaitOptions, getpid, kill_process_group, prlimit, set_child_subreaper,
    waitpgid,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
    sync::{OwnedSemaphorePermit, mpsc},
    time::timeout,
};

use super::{
    line::{End, Line, QUEUE_MAX},
    secrets::Mask,
};
use crate::metrics::REGISTRY_GATEWAY_PROCESSES;

/// How long a program may take to end after its input did, and again after it was asked to.
const GRACE: Duration = Duration::from_secs(2);
/// How long children of a killed program may take to go.
const REAP_DEADLINE: Duration = Duration::from_secs(5);
/// Bytes of a line on standard error that are logged.
const STDERR_LINE_SIZE_MAX: u64 = 1024;
/// Lines on standard error that are logged of one program; more are read and dropped.
const STDERR_LINES_MAX: usize = 1000;
/// Lines on standard output that are no messages before the program is ended for it.
const JUNK_LINES_MAX: usize = 1000;
/// What of the environment a program is given.
const INHERITED: &[&str] = &[
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TMPDIR",
    "TZ",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "npm_config_registry",
    "NPM_CONFIG_REGISTRY",
    "UV_INDEX_URL",
    "UV_DEFAULT_INDEX",
    "NODE_EXTRA_CA_CERTS",
    "SSL_CERT_FILE",
];

/// What is run.
#[derive(Clone, Debug)]
pub(super) struct Program {
    /// The server's name.
    pub(super) server: Arc<str>,
    pub(super) command: Vec<String>,
    pub(super) directory: Option<PathBuf>,
    pub(super) env: Vec<(String, String)>,
    pub(super) memory_max: u64,
    pub(super) message_size_max: usize,
    pub(super) mask: Arc<Mask>,
}

impl Program {
    /// Starts it. `place` is given back when it is gone.
    pub(super) fn start(&self, place: OwnedSemaphorePermit, tasks: &Tasks) -> std::io::Result<Line> {
        // Orphaned children of programs become ours, so that they can be reaped.
        set_child_subreaper(Some(getpid())).ok();
        let [program, arguments @ ..] = self.command.as_slice() else {
            return Err(std::io::Error::other("there is no command"));
        };
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .envs(INHERITED.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        let mut child = command.spawn()?;
        let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let pid = pid.ok_or_else(|| std::io::Error::other("no process id"))?;
        self.limit(pid);
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(std::io::Error::other("no standard streams"));
        };
        let end = End::default();
        let (outgoing, to_write) = mpsc::channel(QUEUE_MAX);
        let (read, incoming) = mpsc::channel(QUEUE_MAX);
        tasks.spawn("registry_gateway_stdin", write(stdin, to_write, end.clone()));
        tasks.spawn("registry_gateway_stdout", self.clone().read(stdout, read, end.clone()));
        tasks.spawn("registry_gateway_stderr", self.clone().log(stderr, pid));
        let supervisor =
            Supervisor { child, pid, server: Arc::clone(&self.server), end: end.clone(), _place: place };
        let stopping = tasks.stop_token();
        tasks.spawn("registry_gateway_process", async move {
            let stopped = supervisor.end.clone();
            tokio::select! {
                biased;
                () = async { stopping.cancelled().await; stopped.close(); std::future::pending().await } => {}
                () = supervisor.run() => {}
            }
        });
        tracing::info!(
            mcp.server = &*self.server,
            process.pid = pid.as_raw_nonzero(),
            "started an MCP server"
        );
        Ok(Line { outgoing, incoming, end })
    }

    /// Holds for the program and for all that it starts.
    fn limit(&self, pid: Pid) {
        let limits = [(Resource::Data, self.memory_max), (Resource::Core, 0)];
        for (resource, limit) in limits {
            let limit = Rlimit { current: Some(limit), maximum: Some(limit) };
            if let Err(error) = prlimit(Some(pid), resource, limit) {
                tracing::warn!(%error, mcp.server = &*self.server, "a limit of an MCP server could not be set");
            }
        }
    }

    async fn read(self, stdout: ChildStdout, read: mpsc::Sender<Bytes>, end: End) {
        let mut reader = BufReader::new(stdout);
        let size_max = self.message_size_max as u64;
        let (mut line, mut junk) = (Vec::new(), 0);
        loop {
            line.clear();
            let size = (&mut reader).take(size_max).read_until(b'\n', &mut line).await;
            match size {
                Ok(0) | Err(_) => return,
                Ok(size) if size as u64 == size_max && !line.ends_with(b"\n") => {
                    return end.kill(format!("it wrote a message of over {size_max} bytes"));
                }
                Ok(_) => {}
            }
            let text = line.trim_ascii();
            if text.first() != Some(&b'{') {
                junk += usize::from(!text.is_empty());
                if junk > JUNK_LINES_MAX {
                    return end.kill("it writes what are no messages to its standard output");
                }
                continue;
            }
            let message = self.mask.clean(Bytes::copy_from_slice(text));
            // Whoever does not read makes the program wait.
            if read.send(message).await.is_err() {
                return;
            }
        }
    }

    async fn log(self, stderr: ChildStderr, pid: Pid) {
        let mut reader = BufReader::new(stderr);
        let (mut line, mut lines) = (Vec::new(), 0);
        loop {
            line.clear();
            // A line over the maximum arrives in pieces, each a line of its own here.
            match (&mut reader).take(STDERR_LINE_SIZE_MAX).read_until(b'\n', &mut line).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => return,
            }
            lines += 1;
            if lines <= STDERR_LINES_MAX {
                let text = self.mask.clean_text(String::from_utf8_lossy(&line).trim());
                let pid = pid.as_raw_nonzero();
                tracing::debug!(mcp.server = &*self.server, process.pid = pid, text, "an MCP server said");
            }
        }
    }
}

async fn write(mut stdin: ChildStdin, mut to_write: mpsc::Receiver<Bytes>, end: End) {
    loop {
        let message = tokio::select! {
            message = to_write.recv() => message,
            () = end.closed() => None,
        };
        // Dropping it ends the program's input.
        let Some(message) = message else { return end.close() };
        let written = async {
            stdin.write_all(&message).await?;
            stdin.write_all(b"\n").await?;
            stdin.flush().await
        };
        let written = tokio::select! {
            written = written => written,
            () = end.killed() => return,
        };
        if written.is_err() {
            return;
        }
    }
}

/// Owns the program.
struct Supervisor {
    child: Child,
    pid: Pid,
    server: Arc<str>,
    end: End,
    _place: OwnedSemaphorePermit,
}

impl Supervisor {
    async fn run(mut self) {
        let running = gauge!(REGISTRY_GATEWAY_PROCESSES, "server" => Arc::clone(&self.server));
        running.increment(1.0);
        let end = self.end.clone();
        let status = tokio::select! {
            status = self.child.wait() => status,
            () = end.closed() => self.end_gently().await,
        };
        // The leader is reaped; as long as a child is left, its number stays taken and names this group alone.
        kill_process_group(self.pid, Signal::KILL).ok();
        if timeout(REAP_DEADLINE, reap_group(self.pid)).await.is_err() {
            tracing::warn!(mcp.server = &*self.server, "children of an MCP server do not go");
        }
        running.decrement(1.0);
        let how = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        tracing::info!(mcp.server = &*self.server, exit = how, "an MCP server has ended");
        end.set_ended(format!("it ended ({how})"));
    }

    /// Its input has ended, or does now.
    async fn end_gently(&mut self) -> std::io::Result<std::process::ExitStatus> {
        let (end, pid) = (self.end.clone(), self.pid);
        let asked = async {
            for signal in [Signal::TERM, Signal::KILL] {
                tokio::time::sleep(GRACE).await;
                kill_process_group(pid, signal).ok();
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            status = self.child.wait() => return status,
            () = end.killed() => {}
            () = asked => {}
        }
        kill_process_group(pid, Signal::KILL).ok();
        self.child.wait().await
    }
}

/// Waits for the children of a dead program, which are ours now: they would stay as zombies.
async fn reap_group(group: Pid) {
    loop {
        match waitpgid(group, WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
            // Some are left and still dying.
            Ok(None) => tokio::time::sleep(Duration::from_millis(5)).await,
            // None that are ours.
            Err(_) => return,
        }
    }
}
