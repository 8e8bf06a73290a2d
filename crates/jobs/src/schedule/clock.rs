//! Looks at what is due.

use std::time::Duration;

use jiff::Timestamp;
use paddock_platform::task::Tasks;

use super::{ScheduleError, Schedules, fire, store};

/// The longest sleep between two looks: what other servers changed is seen by then, and jumps of the clock are harmless.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// The shortest: a schedule that cannot be fired must not be tried without pause.
const LOOK_INTERVAL_MIN: Duration = Duration::from_millis(20);

pub(super) fn spawn(schedules: &Schedules, tasks: &Tasks) {
    let schedules = schedules.clone();
    let stopping = tasks.stop_token();
    tasks.spawn("schedules-clock", async move {
        loop {
            let wait = match look(&schedules, Timestamp::now()).await {
                Ok(wait) => wait,
                Err(error) => {
                    tracing::warn!(%error, "schedules could not be looked at; they will be");
                    LOOK_INTERVAL
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = schedules.0.changed.notified() => {}
                () = stopping.cancelled() => return,
            }
        }
    });
}

/// Fires what is due; how long until the next look.
pub(super) async fn look(schedules: &Schedules, now: Timestamp) -> Result<Duration, ScheduleError> {
    for row in store::due(&schedules.0.store, now).await? {
        if let Err(error) = fire::fire(schedules, &row, now).await {
            tracing::warn!(schedule.name = row.name, %error, "a schedule could not fire; it will be tried again");
        }
    }
    let next = store::next(&schedules.0.store).await?;
    let until = next.map_or(LOOK_INTERVAL, |next| {
        Duration::try_from(next.duration_since(Timestamp::now())).unwrap_or_default()
    });
    Ok(until.clamp(LOOK_INTERVAL_MIN, LOOK_INTERVAL))
}
