//! An external worker that asks for jobs.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use paddock_platform::identity::Tenant;
use tokio::sync::oneshot;

use crate::Job;

/// A request that waits for jobs. It is over when nobody waits for the answer any more.
pub(crate) struct Poll {
    pub(crate) worker: String,
    /// Its kinds.
    pub(crate) pools: BTreeSet<Arc<str>>,
    /// Its queues; empty for all.
    pub(crate) queues: BTreeSet<Arc<str>>,
    /// Whose jobs; `None` for everybody's.
    pub(crate) tenant: Option<Tenant>,
    pub(crate) max: usize,
    pub(crate) lease: Duration,
    pub(crate) answer: oneshot::Sender<Vec<Arc<Job>>>,
}

impl Poll {
    /// Whether jobs of this queue and pool are for it.
    pub(crate) fn takes(&self, queue: &str, pool: &str) -> bool {
        self.pools.contains(pool) && (self.queues.is_empty() || self.queues.contains(queue))
    }

    /// Whether this tenant's jobs are for it.
    pub(crate) fn serves(&self, tenant: &Tenant) -> bool {
        self.tenant.as_ref().is_none_or(|own| own == tenant)
    }
}
