//! Servers that a scenario starts, waits for, and stops with everything that they started.

use std::time::{Duration, Instant};

use paddock_platform::{task::Tasks, units::HumanDuration};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Child;

use super::{
    process::{KillGroup, Output, SetupError, command, group_of, quoted},
    ready::{READY_POLL, Ready},
};
use crate::{
    resources::{
        process,
        tree::{Snapshot, Tree},
    },
    scenario::{Scenario, ServerFile},
    variables::Variables,
};

const READY_WITHIN: Duration = Duration::from_secs(30);
const READY_REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// A server that was started. Dropping it kills its process group.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) name: String,
    child: Child,
    pub(super) group: Pid,
    kill: KillGroup,
    output: Output,
    stop_within: Duration,
}

impl Server {
    pub(super) fn start(
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

    pub(super) async fn wait_until_ready(
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

    pub(super) fn ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok().flatten()?;
        Some(format!(
            "`{}` ended by itself during the run with {status}{}",
            self.name,
            quoted(&self.output.text())
        ))
    }

    /// Asks the server to stop, and kills it with everything it started if it does not in time.
    pub(super) async fn stop(mut self) {
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
