//! Programs that set-up and tear-down start: each in a process group of its own, the end of its output kept.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use paddock_platform::units::HumanDuration;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::{Child, Command},
};

use crate::{
    driver::command::resolve_program,
    resources::mark::Mark,
    scenario::{CommandFile, Scenario},
    variables::{MissingVariableError, Template, Variables},
};

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
    /// What should be measured after the load could not be.
    #[error("nothing was measured after the load: {reason}")]
    Measure {
        /// Why not.
        reason: String,
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

pub(super) fn quoted(output: &str) -> String {
    if output.trim().is_empty() { String::new() } else { format!("; it printed: {}", output.trim()) }
}

/// The end of what a process printed.
#[derive(Clone, Debug, Default)]
pub(super) struct Output(Arc<Mutex<VecDeque<u8>>>);

impl Output {
    pub(super) fn text(&self) -> String {
        let bytes: Vec<u8> = self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub(super) async fn read(self, mut pipe: impl AsyncRead + Unpin) {
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

pub(super) fn command(
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
        .process_group(0)
        .envs([Mark::own().variable()]);
    for (name, value) in env {
        command.env(name, text(value)?);
    }
    Ok((program, command))
}

pub(super) fn group_of(child: &Child, program: &str) -> Result<Pid, SetupError> {
    child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)).ok_or_else(|| SetupError::Spawn {
        program: program.to_owned(),
        source: io::Error::other("it has no process"),
    })
}

pub(super) async fn run_command(
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

/// Kills a process group that has not been waited for, when it is dropped.
#[derive(Debug)]
pub(super) struct KillGroup(pub(super) Option<Pid>);

impl KillGroup {
    pub(super) fn disarm(mut self) {
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
