//! What a schedule is, as its author writes it and as it is shown.

use jiff::{Timestamp, tz::TimeZone};
use paddock_platform::units::HumanDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{ScheduleError, calendar::Rhythm};
use crate::{NewJob, mission::StartMission};

/// The shortest time between two firings.
const EVERY_MIN: HumanDuration = HumanDuration::from_secs(1);
/// The longest jitter.
const JITTER_MAX: HumanDuration = HumanDuration::from_secs(24 * 3_600);
const PATTERN_MAX: usize = 200;

/// A schedule: when, and what is enqueued then. The body of `PUT /jobs/schedules/{name}`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSchedule {
    /// What it is for, for the people who read it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// A cron pattern: `minute hour day month weekday`, with seconds before them if there are six. Either this or `every`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// The time zone of the pattern, such as `Europe/Berlin`; UTC when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// How often, counted from when the schedule was made: `90s`, `6h`; a second at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub every: Option<HumanDuration>,
    /// Up to how much later it happens, by chance but the same for everybody who asks: many schedules of one minute do not
    /// all begin at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub jitter: Option<HumanDuration>,
    /// What becomes of firings that nobody was there for.
    #[serde(default)]
    pub catch_up: CatchUp,
    /// What happens if the last one has not ended.
    #[serde(default)]
    pub overlap: Overlap,
    /// The job that is enqueued. Either this or `mission`. `run_at` and `unique_key` belong to the schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<NewJob>,
    /// The mission that is started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mission: Option<StartMission>,
    /// Whether it is paused from the beginning.
    #[serde(default)]
    pub paused: bool,
}

/// What becomes of firings that nobody was there for: the server was off, the schedule paused by nobody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CatchUp {
    /// They are left out. One that is not a minute late is not missed.
    #[default]
    Skip,
    /// However many there were, it happens once.
    Once,
    /// All of them happen, the last 100 at most (`catch_up_max`).
    All,
}

/// What happens if the job of the last firing has not ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Overlap {
    /// Both run.
    #[default]
    Allow,
    /// This firing is left out.
    Skip,
    /// The last one is cancelled.
    Cancel,
}

impl NewSchedule {
    /// When it fires; an interval is counted from a moment.
    pub(crate) fn rhythm(&self, from: Timestamp) -> Result<Rhythm, ScheduleError> {
        let invalid = ScheduleError::invalid;
        match (&self.cron, self.every) {
            (Some(pattern), None) => {
                if pattern.len() > PATTERN_MAX {
                    return Err(invalid("cron", "is too long"));
                }
                let zone = match &self.time_zone {
                    None => TimeZone::UTC,
                    Some(name) => TimeZone::get(name).map_err(|_| {
                        invalid("time_zone", "is not one of the IANA time zones, such as `Europe/Berlin`")
                    })?,
                };
                Rhythm::cron(pattern, zone).map_err(|reason| invalid("cron", &reason))
            }
            (None, Some(_)) if self.time_zone.is_some() => {
                Err(invalid("time_zone", "belongs to `cron`; an interval has none"))
            }
            (None, Some(every)) if every < EVERY_MIN => Err(invalid("every", "must be a second at least")),
            (None, Some(every)) => Ok(Rhythm::Every { every: every.get(), from }),
            _ => Err(invalid("cron", "exactly one of `cron` and `every` must be there")),
        }
    }

    /// Checks everything that it says by itself.
    pub(crate) fn check(&self, now: Timestamp) -> Result<Rhythm, ScheduleError> {
        let invalid = ScheduleError::invalid;
        let rhythm = self.rhythm(now)?;
        if self.jitter.is_some_and(|jitter| jitter > JITTER_MAX) {
            return Err(invalid("jitter", "must be 24h at most"));
        }
        if rhythm.next_after(now).is_none() {
            return Err(invalid("cron", "never comes"));
        }
        match (&self.job, &self.mission) {
            (Some(job), None) if job.run_at.is_some() => {
                Err(invalid("job.run_at", "is what the schedule says"))
            }
            (Some(job), None) if job.unique_key.is_some() => {
                Err(invalid("job.unique_key", "is made by the schedule"))
            }
            (None, Some(mission)) if mission.run_at.is_some() => {
                Err(invalid("mission.run_at", "is what the schedule says"))
            }
            (None, Some(mission)) if mission.unique_key.is_some() => {
                Err(invalid("mission.unique_key", "is made by the schedule"))
            }
            (None, Some(mission)) if mission.definition.is_some() => {
                Err(invalid("mission.definition", "store it first, and name it"))
            }
            (Some(_), None) | (None, Some(_)) => Ok(rhythm),
            _ => Err(invalid("job", "exactly one of `job` and `mission` must be there")),
        }
    }
}

/// A schedule as its callers see it.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct ScheduleView {
    /// Its name.
    pub name: String,
    /// What it says.
    pub schedule: NewSchedule,
    /// Whether it is paused.
    pub paused: bool,
    /// Why, if nobody paused it: the key that it acts with holds no longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused_reason: Option<String>,
    /// When it fires next; absent while it is paused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_at: Option<Timestamp>,
    /// When it fired last: the moment that was planned.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_at: Option<Timestamp>,
    /// The job or mission of that firing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_job: Option<String>,
    /// Why the last firing enqueued nothing, if it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// How often it has fired.
    pub fired: u64,
    /// Firings that were left out: missed, or because of `overlap`.
    pub skipped: u64,
    /// When it was made.
    #[schemars(with = "String")]
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it was changed last.
    #[schemars(with = "String")]
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}
