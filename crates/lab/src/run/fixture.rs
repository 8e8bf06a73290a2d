//! Set-up and tear-down: what is started for a run, and is stopped again whatever happens.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Method, Request, Uri};
use http_body_util::Full;
use paddock_platform::{task::Tasks, units::HumanDuration};
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::{Child, Command},
};
use tokio_util::sync::CancellationToken;

use super::site::Site;
use crate::{
    driver::{Failure, Seat, Target, command::resolve_program, connect},
    resources::{
        Watched, process,
        tree::{Snapshot, Tree},
    },
    scenario::{CommandFile, Scenario, ServerFile, SetupFile, TeardownFile},
    variables::{MissingVariableError, Template, Variables},
};

/// How often a server that starts is asked whether it is ready.
const READY_POLL: Duration = Duration::from_millis(5);
const READY_WITHIN: Duration = Duration::from_secs(30);
const READY_REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
const STOP_WITHIN: Duration = Duration::from_secs(10);
const COMMAND_WITHIN: Duration = Duration::from_mins(1);
/// How long the output of a command that has ended is waited for.
const OUTPUT_GRACE: Duration = Duration::from_millis(500);
/// Bytes of output that are kept of each process, from its end, to explain a failure.
const OUTPUT_KEPT_BYTES: usize = 4 << 10;

/// Something that a scenario needs could not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A text names a variable that does not exist.
    #[error(transparent)]
    Variable(#[from] MissingVariableError),
    /// A program cannot be started.
    #[error("cannot start `{program}`")]
    Spawn {
        /// Which.
        program: String,
        /// Why not.
        source: io::Error,
    },
    /// A server ended before it was ready.
    #[error("`{name}` ended with {status} before it was ready{}", quoted(output))]
    Ended {
        /// Its name.
        name: String,
        /// Its exit status.
        status: String,
        /// The end of what it printed.
        output: String,
    },
    /// A server did not answer in time.
    #[error("`{name}` was not ready within {within:?}: {last}{}", quoted(output))]
    NotReady {
        /// Its name.
        name: String,
        /// How long it was waited for.
        within: Duration,
        /// What the last attempt met.
        last: String,
        /// The end of what it printed.
        output: String,
    },
    /// A command failed or took too long.
    #[error("`{program}` {reason}{}", quoted(output))]
    Command {
        /// Which.
        program: String,
        /// What happened.
        reason: String,
        /// The end of what it printed.
        output: String,
    },
    /// A directory, port or address cannot be had.
    #[error("cannot prepare {what}")]
    Resource {
        /// What.
        what: String,
        /// Why not.
        source: io::Error,
    },
    /// An address is not one.
    #[error("`ready` of `{name}` is `{url}`, which is not an address of the form `http://host:port/path`")]
    Address {
        /// The server.
        name: String,
        /// The text.
        url: String,
    },
    /// A server's readiness would be asked of another machine.
    #[error(
        "`ready` of `{name}` asks `{host}`, which is not this machine; if you may load it, say so with `--allow-target`"
    )]
    Foreign {
        /// The server.
        name: String,
        /// The host.
        host: String,
    },
    /// Somebody asked to stop.
    #[error("interrupted during set-up")]
    Interrupted,
}

fn quoted(output: &str) -> String {
    if output.trim().is_empty() { String::new() } else { format!("; it printed: {}", output.trim()) }
}

/// Everything that set-up made. Dropping it kills what still runs.
#[derive(Debug, Default)]
pub(super) struct Fixtures {
    servers: Vec<Server>,
    sites: Vec<Site>,
    dirs: Vec<TempDir>,
    /// Whether other machines may be talked to.
    allow_target: bool,
    ready_ms: BTreeMap<String, f64>,
    variables: Variables,
}

impl Fixtures {
    /// Prepares every part in order. After a failure, what was started before is killed.
    pub(super) async fn prepare(
        scenario: &Scenario,
        variables: &mut Variables,
        allow_target: bool,
        tasks: &Tasks,
        stop: &CancellationToken,
    ) -> Result<Self, SetupError> {
        let mut fixtures = Self { allow_target, ..Self::default() };
        for part in &scenario.file.setup {
            let prepared = fixtures.prepare_part(scenario, part.get_ref(), variables, tasks);
            tokio::select! {
                prepared = prepared => prepared?,
                () = stop.cancelled() => return Err(SetupError::Interrupted),
            }
        }
        fixtures.variables = variables.clone();
        Ok(fixtures)
    }

    async fn prepare_part(
        &mut self,
        scenario: &Scenario,
        part: &SetupFile,
        variables: &mut Variables,
        tasks: &Tasks,
    ) -> Result<(), SetupError> {
        let resource = |what: &str| {
            let what = what.to_owned();
            move |source| SetupError::Resource { what, source }
        };
        match part {
            SetupFile::Server(file) => {
                let ready = Ready::of(file, variables)?;
                if !self.allow_target {
                    ready.refuse_foreign(&file.name).await?;
                }
                let started = Instant::now();
                let mut server = Server::start(scenario, file, variables, tasks)?;
                server.wait_until_ready(&ready, file, tasks).await?;
                let ready_ms = started.elapsed().as_secs_f64() * 1e3;
                self.ready_ms.insert(file.name.replace('-', "_"), ready_ms);
                self.servers.push(server);
            }
            SetupFile::Site(file) => {
                let site =
                    Site::start(scenario.dir().join(&file.dir), tasks).await.map_err(resource("a site"))?;
                variables.fix(&file.variable, format!("http://{}", site.address));
                self.sites.push(site);
            }
            SetupFile::Command(file) => run_command(scenario, file, variables).await?,
            SetupFile::TempDir(file) => {
                let dir = TempDir::with_prefix("paddock-lab-").map_err(resource("a temporary directory"))?;
                variables.fix(&file.variable, dir.path().to_string_lossy());
                self.dirs.push(dir);
            }
            SetupFile::FreePort(file) => {
                // Another process may take it in the moment before the server does; that is reported as not ready.
                let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
                variables.fix(&file.variable, free.map_err(resource("a free port"))?.port().to_string());
            }
        }
        Ok(())
    }

    /// The trees of the servers.
    pub(super) fn watched(&self) -> Vec<Watched> {
        self.servers
            .iter()
            .map(|server| Watched { name: server.name.clone(), pid: server.group.as_raw_nonzero().get() })
            .collect()
    }

    /// Milliseconds from the start of each server until it answered, by its name.
    pub(super) fn ready_ms(&self) -> &BTreeMap<String, f64> {
        &self.ready_ms
    }

    /// Servers that have ended although nobody asked them to, each as a sentence fragment.
    pub(super) fn ended_servers(&mut self) -> Vec<String> {
        self.servers.iter_mut().filter_map(Server::ended).collect()
    }

    /// Runs the commands of tear-down, then stops everything in reverse order. Everything is stopped even if one fails.
    pub(super) async fn tear_down(&mut self, scenario: &Scenario) -> Result<(), SetupError> {
        let mut result = Ok(());
        for part in &scenario.file.teardown {
            let TeardownFile::Command(file) = part.get_ref();
            result = result.and(run_command(scenario, file, &self.variables).await);
        }
        while let Some(server) = self.servers.pop() {
            server.stop().await;
        }
        self.sites.clear();
        self.dirs.clear();
        result
    }
}

/// The end of what a process printed.
#[derive(Clone, Debug, Default)]
struct Output(Arc<Mutex<VecDeque<u8>>>);

impl Output {
    fn text(&self) -> String {
        let bytes: Vec<u8> = self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    async fn read(self, mut pipe: impl AsyncRead + Unpin) {
        let mut buffer = vec![0; 8 << 10];
        // An error means that nothing more can be read, as at the end.
        while let Ok(count) = pipe.read(&mut buffer).await {
            let Some(piece) = buffer.get(..count).filter(|piece| !piece.is_empty()) else { return };
            let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            kept.extend(piece);
            let excess = kept.len().saturating_sub(OUTPUT_KEPT_BYTES);
            kept.drain(..excess);
        }
    }
}

fn command(
    scenario: &Scenario,
    run: &[Template],
    env: &BTreeMap<String, Template>,
    dir: Option<&Template>,
    variables: &Variables,
) -> Result<(String, Command), SetupError> {
    let text = |template: &Template| template.render(variables, 0);
    let mut parts = run.iter().map(text);
    let program = parts.next().transpose()?.unwrap_or_default();
    let dir = match dir.map(text).transpose()? {
        Some(dir) => scenario.dir().join(dir),
        None => scenario.dir().to_owned(),
    };
    let mut command = Command::new(resolve_program(&dir, &program));
    command
        .args(parts.collect::<Result<Vec<_>, _>>()?)
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A group of its own: it is stopped with everything that it starts, and Ctrl-C on the terminal does not reach it
        // before the lab has asked it to stop.
        .process_group(0);
    for (name, value) in env {
        command.env(name, text(value)?);
    }
    Ok((program, command))
}

fn group_of(child: &Child, program: &str) -> Result<Pid, SetupError> {
    child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)).ok_or_else(|| SetupError::Spawn {
        program: program.to_owned(),
        source: io::Error::other("it has no process"),
    })
}

async fn run_command(
    scenario: &Scenario,
    file: &CommandFile,
    variables: &Variables,
) -> Result<(), SetupError> {
    let (program, mut command) = command(scenario, &file.run, &file.env, file.dir.as_ref(), variables)?;
    let within = file.within.map_or(COMMAND_WITHIN, HumanDuration::get);
    let mut child =
        command.spawn().map_err(|source| SetupError::Spawn { program: program.clone(), source })?;
    let group = group_of(&child, &program)?;
    let output = Output::default();
    let reads = (child.stdout.take(), child.stderr.take());
    let read_out = async {
        if let Some(pipe) = reads.0 {
            output.clone().read(pipe).await;
        }
    };
    let read_err = async {
        if let Some(pipe) = reads.1 {
            output.clone().read(pipe).await;
        }
    };
    let mut reading = std::pin::pin!(async { tokio::join!(read_out, read_err) });
    let guard = KillGroup(Some(group));
    let ended = tokio::time::timeout(within, async {
        let mut is_read = false;
        let ended = loop {
            tokio::select! {
                ended = child.wait() => break ended,
                _ = &mut reading, if !is_read => is_read = true,
            }
        };
        if !is_read {
            // What the command left running, a daemon for example, may hold its output open for ever.
            let _ = tokio::time::timeout(OUTPUT_GRACE, reading).await;
        }
        ended
    })
    .await;
    let reason = match ended {
        Ok(Ok(status)) if status.success() => None,
        Ok(Ok(status)) => Some(format!("ended with {status}")),
        Ok(Err(error)) => Some(format!("cannot be waited for: {error}")),
        Err(_) => Some(format!("did not end within {within:?}")),
    };
    if child.id().is_none() {
        // Waited for: the number of the group may belong to another now.
        guard.disarm();
    }
    match reason {
        None => Ok(()),
        Some(reason) => Err(SetupError::Command { program, reason, output: output.text() }),
    }
}

/// Kills a process group that has not been waited for.
#[derive(Debug)]
struct KillGroup(Option<Pid>);

impl KillGroup {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for KillGroup {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It may have ended by itself.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// A server that was started. Dropping it kills its process group.
#[derive(Debug)]
struct Server {
    name: String,
    child: Child,
    group: Pid,
    kill: KillGroup,
    output: Output,
    stop_within: Duration,
}

impl Server {
    fn start(
        scenario: &Scenario,
        file: &ServerFile,
        variables: &Variables,
        tasks: &Tasks,
    ) -> Result<Self, SetupError> {
        let (program, mut command) = command(scenario, &file.run, &file.env, file.dir.as_ref(), variables)?;
        let mut child =
            command.spawn().map_err(|source| SetupError::Spawn { program: program.clone(), source })?;
        let group = group_of(&child, &program)?;
        let output = Output::default();
        if let Some(pipe) = child.stdout.take() {
            tasks.spawn("lab_server_output", output.clone().read(pipe));
        }
        if let Some(pipe) = child.stderr.take() {
            tasks.spawn("lab_server_output", output.clone().read(pipe));
        }
        let stop_within = file.stop_within.map_or(STOP_WITHIN, HumanDuration::get);
        Ok(Self { name: file.name.clone(), child, group, kill: KillGroup(Some(group)), output, stop_within })
    }

    async fn wait_until_ready(
        &mut self,
        ready: &Ready,
        file: &ServerFile,
        tasks: &Tasks,
    ) -> Result<(), SetupError> {
        let within = file.ready_within.map_or(READY_WITHIN, HumanDuration::get);
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait().ok().flatten() {
                // Its output may still be on the way; what came so far has to do.
                tokio::time::sleep(READY_POLL).await;
                return Err(SetupError::Ended {
                    name: self.name.clone(),
                    status: status.to_string(),
                    output: self.output.text(),
                });
            }
            let asked = tokio::time::timeout(READY_REQUEST_TIMEOUT, ready.ask(tasks)).await;
            let last = match asked {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(failure)) => failure.detail,
                Err(_) => "it accepted and did not answer".to_owned(),
            };
            if Instant::now() >= deadline {
                let output = self.output.text();
                return Err(SetupError::NotReady { name: self.name.clone(), within, last, output });
            }
            tokio::time::sleep(READY_POLL).await;
        }
    }

    fn ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok().flatten()?;
        Some(format!("`{}` ended by itself with {status}{}", self.name, quoted(&self.output.text())))
    }

    /// Asks the server to stop, and kills it with everything it started if it does not in time.
    async fn stop(mut self) {
        let root = self.group.as_raw_nonzero().get();
        let mut tree = Tree::new(root);
        let members = tree.members(&Snapshot::take());
        let is_running = matches!(self.child.try_wait(), Ok(None));
        if is_running {
            // The server alone: it knows best how to stop what it started.
            let _ = rustix::process::kill_process(self.group, Signal::TERM);
            if tokio::time::timeout(self.stop_within, self.wait_unburied()).await.is_err() {
                tracing::warn!(server = %self.name, "did not stop in time and is killed");
            }
            // Unless it was waited for, the number of the group is still its own.
            let _ = kill_process_group(self.group, Signal::KILL);
            let _ = self.child.wait().await;
        }
        self.kill.disarm();
        // Children that left the group, such as browsers: recognised by number and start time.
        for stat in members {
            let is_same = process::stat(stat.id.pid).is_some_and(|now| now.id == stat.id && !now.is_zombie);
            if stat.id.pid != root
                && is_same
                && let Some(pid) = Pid::from_raw(stat.id.pid)
            {
                tracing::warn!(server = %self.name, pid = stat.id.pid, "left a process behind, which is killed");
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
        }
    }

    /// Waits until the server is a zombie, without burying it.
    async fn wait_unburied(&self) {
        let pid = self.group.as_raw_nonzero().get();
        while process::stat(pid).is_some_and(|stat| !stat.is_zombie) {
            tokio::time::sleep(READY_POLL).await;
        }
    }
}

/// Where a server is asked whether it is ready.
#[derive(Debug)]
struct Ready {
    target: Target,
    authority: String,
    path: String,
}

impl Ready {
    fn of(file: &ServerFile, variables: &Variables) -> Result<Self, SetupError> {
        let url = file.ready.render(variables, 0)?;
        let address = || SetupError::Address { name: file.name.clone(), url: url.clone() };
        let uri: Uri = url.parse().map_err(|_| address())?;
        let (Some(host), Some("http")) = (uri.host(), uri.scheme_str()) else { return Err(address()) };
        let port = uri.port_u16().unwrap_or(80);
        Ok(Self {
            target: Target { host: host.trim_matches(['[', ']']).to_owned(), port },
            authority: format!("{host}:{port}"),
            path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        })
    }

    /// As for the load itself: another machine has to be asked for.
    async fn refuse_foreign(&self, name: &str) -> Result<(), SetupError> {
        match super::foreign_address(&self.target).await {
            // A name that does not resolve is met again by every attempt, and reported as not ready.
            Ok(None) | Err(_) => Ok(()),
            Ok(Some(_)) => Err(SetupError::Foreign { name: name.to_owned(), host: self.target.host.clone() }),
        }
    }

    /// Asks once. Every attempt opens a connection of its own.
    async fn ask(&self, tasks: &Tasks) -> Result<(), Failure> {
        let Self { authority, path, .. } = self;
        let pool = connect::Pools::default().pool(authority, connect::Version::One, 1, tasks);
        let mut exchange = pool.send(Seat { number: 0 }, &Probe { authority, path }).await?;
        let status = exchange.status;
        let body = exchange.read(true).await?;
        if status < 400 {
            return Ok(());
        }
        let body = String::from_utf8_lossy(&body);
        let start: String = body.chars().take(200).collect();
        Err(Failure::new("http", format!("it answered {status}: {start}")))
    }
}

/// The question whether a server is ready.
struct Probe<'a> {
    authority: &'a str,
    path: &'a str,
}

impl connect::Ask for Probe<'_> {
    fn method(&self) -> &Method {
        &Method::GET
    }

    fn bytes(&self) -> Result<Bytes, Failure> {
        let Self { authority, path } = self;
        Ok(Bytes::from(format!("GET {path} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n\r\n")))
    }

    fn request(&self) -> Result<Request<Full<Bytes>>, Failure> {
        Request::get(format!("http://{}{}", self.authority, self.path))
            .body(Full::default())
            .map_err(|error| Failure::new("request", error.to_string()))
    }
}
