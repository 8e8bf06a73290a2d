//! What cases come to, and what they read it from.

use std::{collections::BTreeMap, fs, time::Duration};

/// By name; nothing where it could not be measured.
pub(crate) type Figures = BTreeMap<String, Option<f64>>;

pub(crate) fn figures<const N: usize>(measured: [(&str, f64); N]) -> Figures {
    measured.into_iter().map(|(name, value)| (name.to_owned(), Some(value))).collect()
}

/// The figures of a case that cannot be run here.
pub(crate) fn unmeasured<const N: usize>(names: [&str; N]) -> Figures {
    names.into_iter().map(|name| (name.to_owned(), None)).collect()
}

fn is_short() -> bool {
    std::env::var_os("PADDOCK_BENCH_SHORT").is_some()
}

/// How many there are of something, or how many in the short form.
pub(crate) fn at_most(full: usize, short: usize) -> usize {
    if is_short() { full.min(short) } else { full }
}

/// How long something is done, or a fifth of it in the short form.
pub(crate) fn lasting(full: Duration) -> Duration {
    if is_short() { full / 5 } else { full }
}

/// How long messages go round before, and while it is measured how many there are.
pub(crate) const WARM_UP: Duration = Duration::from_secs(1);
pub(crate) const MEASURED: Duration = Duration::from_secs(5);

/// Durations in milliseconds, the shortest first.
pub(crate) struct Durations(Vec<f64>);

impl Durations {
    pub(crate) fn of(mut millis: Vec<f64>) -> Self {
        assert!(!millis.is_empty(), "nothing was measured");
        millis.sort_by(f64::total_cmp);
        Self(millis)
    }

    /// The one that this share is not longer than.
    pub(crate) fn at(&self, share: f64) -> f64 {
        self.0[((self.0.len() - 1) as f64 * share).ceil() as usize]
    }
}

pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Processor time of this process, as the kernel counts it in hundredths of a second.
pub(crate) fn cpu() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields = stat.rsplit(')').next().unwrap().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

/// Processor time since then, in microseconds for each of so many.
pub(crate) fn cpu_us_each(since: Duration, count: f64) -> f64 {
    cpu().saturating_sub(since).as_secs_f64() * 1e6 / count
}

/// This process's share of the machine's memory, in bytes.
pub(crate) fn memory() -> f64 {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let kib = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap();
    kib.trim().trim_end_matches("kB").trim().parse::<f64>().unwrap() * 1024.0
}

/// Mappings of this process.
pub(crate) fn mappings() -> f64 {
    fs::read_to_string("/proc/self/maps").unwrap().lines().count() as f64
}
