//! Schedules: jobs and missions that are enqueued when their time comes.
//!
//! A schedule says when ([`calendar`]: cron in a time zone, or every so often) and what. Every server looks at what is due;
//! whoever comes first locks the schedule's row, enqueues the job, and writes when it fires next, all in one transaction.
//! So a firing happens once, however many servers look, and is not lost when one of them dies in the midst of it. The
//! moment of a firing is also in the unique key of its job: even a clock that was set back enqueues nothing twice.
//!
//! What a schedule does it does with the key of whoever made it. Once that key is revoked or has expired the schedule is
//! paused, says why, and stays so until somebody puts it again.
//!
//! A firing is *missed* if it is more than a minute late: the server was off, or its clock jumped. `catch_up` says what
//! becomes of it.

mod calendar;
mod clock;
mod config;
mod error;
mod fire;
mod model;
mod routes;
mod service;
mod store;
mod tools;

pub use calendar::Rhythm;
pub use config::ScheduleOptions;
pub use error::{SCHEDULE_KEY_INVALID, SCHEDULES_FULL, ScheduleError};
pub use model::{CatchUp, NewSchedule, Overlap, ScheduleView};
pub use routes::routes;
pub use service::Schedules;
pub use tools::tools;

/// Firings of schedules, by outcome: `enqueued`, `failed`, `missed`, `overlapped`.
pub const SCHEDULE_FIRINGS_TOTAL: &str = "job_schedule_firings_total";
/// How late firings were.
pub const SCHEDULE_DELAY_SECONDS: &str = "job_schedule_delay_seconds";

fn describe() {
    use metrics::{Unit, describe_counter, describe_histogram};
    describe_counter!(
        SCHEDULE_FIRINGS_TOTAL,
        "Firings of schedules, by outcome: enqueued, failed, missed or overlapped."
    );
    describe_histogram!(
        SCHEDULE_DELAY_SECONDS,
        Unit::Seconds,
        "How late the jobs of schedules were enqueued."
    );
}
