//! What the rest of the machine did during a trial.

use std::time::{Duration, Instant};

use crate::resources::{MachineTimes, process};

/// Watches what the rest of the machine does during a trial.
pub(super) struct MachineWatch {
    before: MachineTimes,
    started: Instant,
    own_before_s: f64,
    commands_s: f64,
}

/// CPU time of others, from which a trial counts as disturbed.
const FOREIGN_RATIO: f64 = 0.30;
/// Shorter trials are over before the kernel's clock ticks often enough to tell.
const WATCHED_MIN: Duration = Duration::from_secs(1);

impl MachineWatch {
    pub(super) fn start() -> Self {
        Self {
            before: MachineTimes::read(),
            started: Instant::now(),
            own_before_s: own_cpu_s(),
            commands_s: 0.0,
        }
    }

    /// A run used what it reports.
    pub(super) fn spent(&mut self, figures: &[(String, f64)]) {
        let cpu_s = figures.iter().find(|(name, _)| name == "cpu_s").map_or(0.0, |(_, cpu_s)| *cpu_s);
        self.commands_s += cpu_s;
    }

    pub(super) fn disturbance(&self) -> Option<String> {
        let elapsed = self.started.elapsed();
        let own_s = self.commands_s + own_cpu_s() - self.own_before_s;
        let pressure = MachineTimes::read().pressure_since(&self.before, elapsed.as_secs_f64(), own_s);
        (elapsed >= WATCHED_MIN && pressure.foreign_cpu_ratio > FOREIGN_RATIO).then(|| {
            format!(
                "other processes used {:.0} % of the CPUs during the trial, at most {:.0} % is quiet",
                pressure.foreign_cpu_ratio * 100.0,
                FOREIGN_RATIO * 100.0
            )
        })
    }
}

fn own_cpu_s() -> f64 {
    let own = i32::try_from(std::process::id()).ok().and_then(process::stat);
    own.map_or(0.0, |stat| stat.cpu_s)
}
