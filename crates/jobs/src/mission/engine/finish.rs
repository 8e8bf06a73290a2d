//! The end of a turn, and of a mission.

use std::time::Duration;

use metrics::{counter, histogram};
use paddock_platform::store::StoreError;
use serde_json::{Value, json};

use super::{KIND_FINISH, deadline_of, turn::Turn};
use crate::{
    Effects, Fault, Finish, NewJob,
    mission::{
        machine::Phase,
        metrics::{MISSION_DURATION_SECONDS, MISSIONS_SLOW_TOTAL, MISSIONS_TOTAL},
        store::{MissionRow, sql},
    },
};

/// How the job of a mission that has ended ends.
pub(crate) fn finish_of(mission: &MissionRow) -> Finish {
    match mission.state.phase {
        Phase::Succeeded => {
            let output = mission.output.as_deref().and_then(|output| serde_json::from_str(output).ok());
            Finish::Succeeded(output.unwrap_or(Value::Null))
        }
        Phase::Cancelled => Finish::Cancelled,
        _ => {
            let failed = || Fault::new("failed", "the mission failed");
            Finish::Failed(
                mission.fault.as_ref().map_or_else(failed, super::super::store::StoredFault::to_fault),
            )
        }
    }
}

impl Turn<'_> {
    /// Writes where the mission stands now. If it has ended, so does its job; `runs_its_job` says that the job is the one
    /// that this transaction belongs to: it cannot end yet, and does so right afterwards.
    pub(crate) async fn close(mut self, runs_its_job: bool) -> Result<Effects, StoreError> {
        let phase = self.mission.state.phase;
        if phase != Phase::Queued && self.mission.started_at.is_none() {
            self.mission.started_at = Some(self.now);
        }
        if self.ends {
            self.mission.finished_at = Some(self.now);
            self.mission.expires_at = self.now.checked_add(self.mission.retention).ok();
        }
        // The hook of the job's end reads the mission: it must see it ended.
        sql::save_mission(self.tx, &self.mission).await?;
        if self.ends {
            self.end_job(runs_its_job).await?;
        }
        Ok(self.effects)
    }

    async fn end_job(&mut self, runs_its_job: bool) -> Result<(), StoreError> {
        let mission = &self.mission;
        counter!(MISSIONS_TOTAL, "outcome" => mission.state.phase.name()).increment(1);
        let took = Duration::try_from(self.now.duration_since(mission.created_at));
        histogram!(MISSION_DURATION_SECONDS).record(took.unwrap_or_default());
        self.tell_if_slow();
        if runs_its_job {
            let job = NewJob::kind(KIND_FINISH, json!({"mission": mission.id.to_string()}));
            self.upkeep(job, None).await?;
            return Ok(());
        }
        let (tenant, id, finish) = (mission.tenant.clone(), mission.id, finish_of(mission));
        // A job that was cancelled by itself has ended already.
        let ended = Box::pin(self.jobs.finish_in(self.tx, &tenant, id, finish)).await?;
        self.effects.ended.extend(ended);
        Ok(())
    }

    fn tell_if_slow(&self) {
        let mission = &self.mission;
        let began = mission.started_at.unwrap_or(mission.created_at);
        let ran = Duration::try_from(self.now.duration_since(began)).unwrap_or_default();
        if ran < self.engine.options.current().slow.get() {
            return;
        }
        counter!(MISSIONS_SLOW_TOTAL).increment(1);
        tracing::warn!(
            event.name = "AI/Mission/Completed",
            mission.id = %mission.id,
            mission.definition = mission.definition.as_str(),
            outcome = mission.state.phase.name(),
            duration_ms = u64::try_from(ran.as_millis()).unwrap_or(u64::MAX),
            "slow mission"
        );
    }

    /// Forgets how the mission ended, because it goes on. It has its time once more.
    pub(crate) fn reopen(&mut self) {
        self.mission.deadline_at = deadline_of(&self.plan, &self.engine.options.current(), self.now);
        self.mission.fault = None;
        self.mission.output = None;
        self.mission.finished_at = None;
        self.mission.expires_at = None;
    }
}
