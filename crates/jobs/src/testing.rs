//! What the tests of this crate share.

use jiff::Timestamp;
use paddock_platform::identity::Tenant;

use crate::{Job, JobState, Payload, id::Ids, new_job::Terms};

/// A job that runs for the first time.
pub(crate) fn job() -> Job {
    let tenant = Tenant::local();
    Job {
        id: Ids::new([0; 32], 0, 0).next(&tenant),
        tenant,
        queue: "standard".into(),
        kind: "lab_echo".into(),
        external: false,
        state: JobState::Running,
        priority: 0,
        run_at: Timestamp::UNIX_EPOCH,
        started_at: Some(Timestamp::UNIX_EPOCH),
        finished_at: None,
        expires_at: None,
        attempt: 1,
        spared: 0,
        worker: Some("server-0".to_owned()),
        lease_until: None,
        cancelling: false,
        changes: 2,
        unique_key: None,
        concurrency_key: None,
        parent: None,
        key_id: None,
        input: Payload::from_stored("{}".to_owned()),
        terms: Terms::default(),
        progress: None,
        result: None,
        result_size: None,
        error: None,
        past_attempts: Vec::new(),
    }
}
