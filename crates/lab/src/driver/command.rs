//! Runs a command: exit status, CPU time, memory, and the figures that it prints as JSON.
//!
//! CPU time is what the kernel charged to the command and the children it waited for, read between its end and its
//! burial; memory is the largest sum over its process tree, sampled while it runs: closely at first, so that a short
//! command is seen too. Reported figures: `wall_s`, `cpu_s`, `rss_max_mib`, `pss_max_mib` (not if the command ended before
//! the first sample), and whatever `figures` names in the output.

use std::{
    collections::BTreeMap,
    future::Future,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::{Child, Command},
};

use super::{
    BODY_KEPT_BYTES_MAX, BuildContext, BuildError, Call, Driver, Failure, Options, Outcome, Seat, Session,
};
use crate::{
    resources::{
        mark::Mark,
        process,
        tree::{Snapshot, Tree},
    },
    variables::{Bound, Template},
};

/// Time from the first sample of memory to the second; each further gap is twice as long as the one before.
const SAMPLE_FIRST: Duration = Duration::from_millis(2);
/// Longest gap between samples. Proportional memory costs the kernel some work per mapping, so not more often.
const SAMPLE_EVERY: Duration = Duration::from_millis(200);
/// How long output may still come when the command has ended and its process group was killed. A process that left the
/// group may hold the pipes open for ever.
const OUTPUT_GRACE: Duration = Duration::from_millis(500);
/// Characters of the error output that a failure quotes, from its end.
const QUOTE_CHARS_MAX: usize = 400;

/// One command: `command = { run = ["paddock", "analyze", "${page}"] }`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommandOptions {
    /// Program and arguments. No shell is involved.
    pub run: Vec<Template>,
    /// Environment variables beside the inherited ones.
    #[serde(default)]
    pub env: BTreeMap<String, Template>,
    /// Working directory; that of the scenario file if absent.
    #[serde(default)]
    pub dir: Option<Template>,
    /// Figures in the output: the name of the metric, with its unit last, and the JSON pointer (RFC 6901) to a number.
    /// The output must be JSON then, or its last line. A figure that is `null` there is left out: it could not be
    /// measured, for example because a peer is not installed.
    #[serde(default)]
    pub figures: BTreeMap<String, String>,
}

impl Options for CommandOptions {
    fn build(&self, context: &BuildContext) -> Result<Arc<dyn Driver>, BuildError> {
        if self.run.is_empty() {
            return Err(BuildError::field("run", "needs at least a program"));
        }
        for (name, pointer) in &self.figures {
            if !(pointer.is_empty() || pointer.starts_with('/')) {
                let reason = format!("`{name}`: `{pointer}` is not a JSON pointer; it begins with `/`");
                return Err(BuildError::field("figures", reason));
            }
        }
        let variables = &context.variables;
        let bind = |template: &Template| template.bind(variables);
        let dir = match &self.dir {
            Some(dir) => context.dir.join(bind(dir)?.text(variables, 0).as_ref()),
            None => context.dir.clone(),
        };
        Ok(Arc::new(Shell(Arc::new(Prepared {
            run: self.run.iter().map(bind).collect::<Result<_, _>>()?,
            env: self
                .env
                .iter()
                .map(|(name, value)| Ok((name.clone(), bind(value)?)))
                .collect::<Result<_, BuildError>>()?,
            dir,
            figures: self.figures.clone(),
        }))))
    }
}

#[derive(Debug)]
struct Prepared {
    run: Vec<Bound>,
    env: BTreeMap<String, Bound>,
    dir: PathBuf,
    figures: BTreeMap<String, String>,
}

#[derive(Clone, Debug)]
struct Shell(Arc<Prepared>);

impl Driver for Shell {
    fn session(&self, _: Seat) -> Box<dyn Session> {
        Box::new(self.clone())
    }
}

impl Session for Shell {
    fn execute<'a>(&'a mut self, call: Call<'a>) -> BoxFuture<'a, Outcome> {
        Box::pin(async move { self.0.run(call).await.unwrap_or_else(Outcome::failed) })
    }
}

impl Prepared {
    fn command(&self, call: Call<'_>) -> (String, Command) {
        let text = |bound: &Bound| bound.text(call.variables, call.index).into_owned();
        let mut parts = self.run.iter().map(text);
        let program = parts.next().unwrap_or_default();
        let mut command = Command::new(resolve_program(&self.dir, &program));
        command
            .args(parts)
            .envs([Mark::own().variable()])
            .envs(self.env.iter().map(|(name, value)| (name, text(value))))
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own, so that a missed deadline ends its children too.
            .process_group(0);
        (program, command)
    }

    async fn run(&self, call: Call<'_>) -> Result<Outcome, Failure> {
        let started = Instant::now();
        let (program, mut command) = self.command(call);
        let mut child = command
            .spawn()
            .map_err(|error| Failure::new("spawn", format!("cannot start `{program}`: {error}")))?;
        let pipes = (child.stdout.take(), child.stderr.take());
        let mut group = Group::of(child)?;
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let (ended, status) = {
            let mut output = std::pin::pin!(async {
                tokio::join!(read(pipes.0, &mut stdout), read(pipes.1, &mut stderr))
            });
            let mut watching = std::pin::pin!(group.watch());
            let mut is_read = false;
            let ended = loop {
                tokio::select! {
                    ended = &mut watching => break ended?,
                    _ = &mut output, if !is_read => is_read = true,
                }
            };
            let status = group.bury().await?;
            if !is_read {
                // What came until then is kept.
                let _ = tokio::time::timeout(OUTPUT_GRACE, output).await;
            }
            (ended, status)
        };
        let usage = ended.usage;
        let mut outcome = Outcome { status: Some(status), body: Bytes::from(stdout), ..Outcome::default() };
        outcome.figures = vec![
            ("wall_s".to_owned(), ended.at.saturating_duration_since(started).as_secs_f64()),
            ("cpu_s".to_owned(), usage.cpu_s),
        ];
        if usage.rss_max_mib > 0.0 {
            outcome.figures.push(("rss_max_mib".to_owned(), usage.rss_max_mib));
        }
        if usage.pss_max_mib > 0.0 {
            outcome.figures.push(("pss_max_mib".to_owned(), usage.pss_max_mib));
        }
        if status != 0 {
            outcome.refusal = Some(format!("exit-{status}").into());
            let text = String::from_utf8_lossy(&stderr);
            let skipped = text.chars().count().saturating_sub(QUOTE_CHARS_MAX);
            let end: String = text.chars().skip(skipped).collect();
            outcome.detail = Some(format!("`{program}` ended with {status}: {}", end.trim()));
            return Ok(outcome);
        }
        self.extract(&mut outcome)?;
        Ok(outcome)
    }

    /// Adds the figures in the output.
    fn extract(&self, outcome: &mut Outcome) -> Result<(), Failure> {
        if self.figures.is_empty() {
            return Ok(());
        }
        let document = parse_output(&outcome.body).ok_or_else(|| {
            Failure::new(
                "output",
                "neither the output nor its last line is JSON, so there are no figures in it",
            )
        })?;
        for (name, pointer) in &self.figures {
            let found = document.pointer(pointer);
            if found.is_some_and(Value::is_null) {
                continue;
            }
            let value = found.and_then(Value::as_f64).ok_or_else(|| {
                Failure::new(
                    "output",
                    format!("there is no number at `{pointer}` of the output for `{name}`"),
                )
            })?;
            outcome.figures.push((name.clone(), value));
        }
        Ok(())
    }
}

/// A program given by a relative path is meant relative to the working directory, which is not that of the lab.
pub(crate) fn resolve_program(dir: &Path, program: &str) -> PathBuf {
    if !program.contains('/') {
        // To be looked for in `PATH`.
        return PathBuf::from(program);
    }
    let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    dir.join(program)
}

fn parse_output(output: &[u8]) -> Option<Value> {
    serde_json::from_slice(output).ok().or_else(|| {
        let text = std::str::from_utf8(output).ok()?;
        let last = text.lines().rev().find(|line| !line.trim().is_empty())?;
        serde_json::from_str(last).ok()
    })
}

/// Reads to the end; keeps the first [`BODY_KEPT_BYTES_MAX`] bytes.
async fn read(pipe: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(mut pipe) = pipe else { return };
    let mut buffer = vec![0; 16 << 10];
    // An error means that nothing more can be read, as at the end.
    while let Ok(count) = pipe.read(&mut buffer).await {
        let Some(piece) = buffer.get(..count).filter(|piece| !piece.is_empty()) else { break };
        let room = BODY_KEPT_BYTES_MAX.saturating_sub(kept.len());
        kept.extend_from_slice(piece.get(..room.min(piece.len())).unwrap_or_default());
    }
}

/// What a command used.
#[derive(Clone, Copy, Debug, Default)]
struct Usage {
    cpu_s: f64,
    rss_max_mib: f64,
    pss_max_mib: f64,
}

/// When a command ended, and what it had used.
#[derive(Debug)]
struct Ended {
    at: Instant,
    usage: Usage,
}

/// Ends the sampling when it is dropped, with the operation if that is given up.
struct StopSampling(SyncSender<()>);

impl Drop for StopSampling {
    fn drop(&mut self) {
        // Either the thread gets it, or it is gone.
        let _ = self.0.try_send(());
    }
}

/// Samples the memory of a process tree until it is told to stop; CPU time is what was seen of the tree.
fn sample(pid: i32, stopped: &Receiver<()>) -> Usage {
    let mut tree = Tree::new(pid);
    let mut usage = Usage::default();
    let mut gap = SAMPLE_FIRST;
    loop {
        let (mut rss_mib, mut pss_mib) = (0.0, 0.0);
        for stat in tree.members(&Snapshot::take()) {
            if let Some(memory) = process::memory(stat.id.pid) {
                rss_mib += memory.rss_mib;
                pss_mib += memory.pss_mib;
            }
        }
        usage.rss_max_mib = usage.rss_max_mib.max(rss_mib);
        usage.pss_max_mib = usage.pss_max_mib.max(pss_mib);
        usage.cpu_s = tree.cpu_s();
        if !matches!(stopped.recv_timeout(gap), Err(RecvTimeoutError::Timeout)) {
            return usage;
        }
        gap = (gap * 2).min(SAMPLE_EVERY);
    }
}

/// A running command with its process group, which ends with it.
struct Group {
    child: Child,
    pid: Pid,
    is_buried: bool,
}

impl Group {
    fn of(child: Child) -> Result<Self, Failure> {
        let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let pid = pid.ok_or_else(|| Failure::new("spawn", "the command has no process"))?;
        Ok(Self { child, pid, is_buried: false })
    }

    /// Waits until the command has ended, then reads what it used while the kernel still knows. Sampling and waiting are on
    /// threads of their own: looking through all processes takes milliseconds, which belong neither to the event loop
    /// nor to the command.
    fn watch(&self) -> impl Future<Output = Result<Ended, Failure>> + use<> {
        let waited_for = self.pid;
        async move {
            let pid = waited_for.as_raw_nonzero().get();
            let (stop, stopped) = sync_channel(1);
            let sampling = tokio::task::spawn_blocking(move || sample(pid, &stopped));
            let stop = StopSampling(stop);
            // Tells that it has ended and leaves it unburied. Ends with the command, which ends with its group.
            let waiting = tokio::task::spawn_blocking(move || {
                let waited = waitid(WaitId::Pid(waited_for), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
                waited.map(|_| Instant::now())
            });
            let ended = waiting.await.map_err(std::io::Error::from).and_then(|ended| Ok(ended?));
            let at =
                ended.map_err(|error| Failure::new("spawn", format!("cannot watch the command: {error}")))?;
            drop(stop);
            let mut usage = sampling.await.unwrap_or_default();
            // A zombie until it is waited for. The greater of both: children that nobody waited for are in the samples only.
            let charged = process::stat(pid).map_or(0.0, |stat| stat.cpu_s + stat.children_cpu_s);
            usage.cpu_s = usage.cpu_s.max(charged);
            Ok(Ended { at, usage })
        }
    }

    /// Waits for the ended command; its exit code, or 128 and the signal that ended it.
    async fn bury(&mut self) -> Result<i32, Failure> {
        use std::os::unix::process::ExitStatusExt as _;
        // What the command left running in its group has to go, while the group's number is still its own.
        let _ = kill_process_group(self.pid, Signal::KILL);
        let status = self
            .child
            .wait()
            .await
            .map_err(|error| Failure::new("spawn", format!("cannot wait: {error}")))?;
        self.is_buried = true;
        Ok(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default()))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.is_buried {
            // Not waited for yet, so the number still belongs to it.
            let _ = kill_process_group(self.pid, Signal::KILL);
        }
    }
}
