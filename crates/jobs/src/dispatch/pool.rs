//! Pools: who can run a job.
//!
//! A job stands in the lanes of its pool: this program's, external workers' of its kind, or that of deliveries. Deliveries
//! wait for other people's servers most of the time, so they have places of their own: a receiver that hangs keeps no
//! job from running, and a job that runs for hours keeps nobody from being told of another.

use crate::{Job, JobsOptions, webhook::DELIVER};

/// The pool of deliveries. The kinds of external workers have no `:` in them.
pub(crate) const DELIVERIES: &str = ":deliveries";

/// The pool of a job: empty for this program, [`DELIVERIES`], otherwise the kind of the external workers.
pub(crate) fn pool_of(kind: &str, external: bool) -> &str {
    match kind {
        _ if external => kind,
        DELIVER => DELIVERIES,
        _ => "",
    }
}

/// Whether the jobs of a pool are for external workers.
pub(crate) fn is_external(pool: &str) -> bool {
    !pool.is_empty() && pool != DELIVERIES
}

impl Job {
    /// Who can run it.
    pub(crate) fn pool(&self) -> &str {
        pool_of(&self.kind, self.external)
    }
}

/// How many jobs this server runs at once.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Places {
    pub(super) jobs: usize,
    pub(super) deliveries: usize,
}

impl Places {
    pub(super) fn of(options: &JobsOptions) -> Self {
        Self { jobs: options.concurrency.max(1), deliveries: options.webhooks.concurrency.max(1) }
    }

    pub(super) const fn all(self) -> usize {
        self.jobs + self.deliveries
    }
}
