//! What Chrome processes cost: memory and processor time of each with its children.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::Duration,
};

use paddock_platform::units::ByteSize;

/// What a process group uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Proportional set size: shared pages count by the share. Sums of it are true.
    pub memory: ByteSize,
    /// Processor time since their start.
    pub cpu: Duration,
    /// How many processes it has.
    pub processes: usize,
}

impl Default for Usage {
    fn default() -> Self {
        Self { memory: ByteSize::bytes(0), cpu: Duration::ZERO, processes: 0 }
    }
}

/// Reads what these process groups use. Blocks: the kernel walks page tables for it, a millisecond or so per process.
pub(crate) fn read(groups: &BTreeSet<i32>) -> BTreeMap<i32, Usage> {
    let mut usages: BTreeMap<i32, Usage> = BTreeMap::new();
    let Ok(entries) = fs::read_dir("/proc") else { return usages };
    for entry in entries.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        let Some((group, cpu)) = parse_stat(&stat).filter(|(group, _)| groups.contains(group)) else {
            continue;
        };
        let usage = usages.entry(group).or_default();
        usage.processes += 1;
        usage.cpu += cpu;
        if let Ok(rollup) = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) {
            usage.memory = ByteSize::bytes(usage.memory.get() + parse_pss(&rollup).unwrap_or(0));
        }
    }
    usages
}

/// Process group and processor time. Ticks are hundredths of a second on every Linux that Chrome runs on.
fn parse_stat(stat: &str) -> Option<(i32, Duration)> {
    // pid (name) state ppid pgrp … utime stime, and the name may hold anything.
    let mut rest = stat.rsplit_once(')')?.1.split_whitespace();
    let group = rest.nth(2)?.parse().ok()?;
    let user: u64 = rest.nth(8)?.parse().ok()?;
    let system: u64 = rest.next()?.parse().ok()?;
    Some((group, Duration::from_millis((user + system) * 10)))
}

fn parse_pss(rollup: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_understood() {
        let stat = "12 (a ) b) S 1 7 7 0 -1 4194560 100 0 0 0 25 5 0 0 20 0 1 0 9 9 9";
        assert_eq!(parse_stat(stat), Some((7, Duration::from_millis(300))));
        assert_eq!(
            parse_pss("00-ff ---p 00000000\nRss:   20 kB\nPss:                 12 kB\n"),
            Some(12 << 10)
        );
    }

    #[test]
    fn this_process_uses_something() {
        let group = rustix::process::getpgrp().as_raw_nonzero().get();
        let usage = read(&BTreeSet::from([group]))[&group];
        assert!(usage.memory.get() > 0 && usage.processes > 0);
    }
}
