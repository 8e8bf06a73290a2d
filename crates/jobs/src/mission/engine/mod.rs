//! Carries out what the state machine says, in the transaction in which it was told what happened.
//!
//! ```text
//! the end of a step's job ─┐
//! a person's decision ─────┼─▶ lock the mission ─▶ machine ─▶ commands ─▶ jobs, rows, questions ─▶ save the mission
//! a deadline, a cancel ────┘            ▲                        │
//!                                       └── what fails at once ──┘
//! ```
//! A job ends, the mission advances and the next jobs are accepted in one transaction: either all of it happened, or
//! nothing did, and then the job's end is told again. So a mission needs no recovery: after a crash its jobs go on, and
//! with them the mission.
//!
//! Outputs up to 64 KiB are in the mission's own rows and are read within the transaction. What refers to larger ones is
//! evaluated by a job of its own before, which may take its time.

mod context;
mod evaluate;
mod finish;
mod hook;
mod kinds;
mod link;
mod plans;
mod start;
mod turn;

use std::sync::{Arc, Weak};

use jiff::Timestamp;
use paddock_platform::{
    config::Section,
    identity::{Caller, Scope},
    store::{Store, StoreError, Transaction},
};

pub(crate) use self::{
    context::state_name,
    hook::MissionHook,
    kinds::{KIND_CANCEL, KIND_EVALUATE, KIND_FINISH, KIND_RUN, register},
    link::is_of,
    plans::Plans,
    start::{NewMission, check_inputs, deadline_of, job_of},
    turn::Turn,
};
use super::{MissionOptions, store::sql};
use crate::{Fault, JobError, JobId, Jobs, core::Core};

/// See the [module](self). The jobs know it as a hook, so it knows them only weakly.
pub(crate) struct Engine {
    core: Weak<Core>,
    pub(crate) store: Store,
    pub(crate) plans: Plans,
    pub(crate) options: Section<MissionOptions>,
}

impl Engine {
    pub(crate) fn new(jobs: &Jobs, store: Store, options: Section<MissionOptions>) -> Self {
        Self { core: Arc::downgrade(&jobs.0), store, plans: Plans::default(), options }
    }

    /// The jobs; gone while a server is taken apart.
    pub(crate) fn jobs(&self) -> Result<Jobs, StoreError> {
        self.core.upgrade().map(Jobs).ok_or(StoreError::Closed)
    }

    /// Locks a mission for one turn; `None` if it is not there.
    pub(crate) async fn turn<'t>(
        &'t self,
        tx: &'t mut Transaction,
        id: JobId,
    ) -> Result<Option<Turn<'t>>, StoreError> {
        let Some(mission) = sql::lock_mission(tx, id).await? else { return Ok(None) };
        let plan = self.plans.get_in(tx, &mission.tenant, &mission.definition, mission.version).await?;
        Ok(Some(Turn::new(self, self.jobs()?, tx, mission, plan, Timestamp::now())))
    }
}

/// On whose behalf the jobs of a mission are enqueued. What its caller may do was checked when it was started; a job gets
/// no more than its tool needs.
pub(crate) fn caller_of(mission: &super::store::MissionRow) -> Caller {
    Caller::on_behalf(mission.key_id.clone(), mission.tenant.clone(), vec![Scope::ALL])
}

/// A job that was refused, as the failure of what wanted it.
pub(crate) fn fault_of(error: JobError) -> Fault {
    let problem = paddock_platform::problem::Problem::from(error);
    Fault::new(problem.kind.slug, problem.detail)
}

pub(crate) fn fault(class: &str, message: impl Into<String>) -> Fault {
    Fault::new(class, message)
}
