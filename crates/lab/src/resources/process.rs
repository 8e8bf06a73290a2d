//! What the kernel says of one process, from `/proc`.

use std::{fs, path::PathBuf};

/// Clock ticks per second in `/proc/*/stat`: 100 on every Linux that has it (`USER_HZ`).
pub(crate) const TICKS_PER_SECOND: f64 = 100.0;
const KIB_PER_MIB: f64 = 1024.0;

/// The identity of a process: its number is used again, the number with its start time is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ProcessId {
    pub(crate) pid: i32,
    pub(crate) started_ticks: u64,
}

/// The line of `/proc/<pid>/stat`, as far as it is used here.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Stat {
    pub(crate) id: ProcessId,
    pub(crate) parent: i32,
    pub(crate) group: i32,
    /// User and system time of the process itself.
    pub(crate) cpu_s: f64,
    /// User and system time of children that have ended and were waited for.
    pub(crate) children_cpu_s: f64,
    pub(crate) threads: u64,
    pub(crate) is_zombie: bool,
}

/// Memory of a process, from `smaps_rollup` and `status`.
#[expect(clippy::struct_field_names, reason = "the unit is in the name, here as everywhere")]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Memory {
    pub(crate) pss_mib: f64,
    pub(crate) uss_mib: f64,
    pub(crate) rss_mib: f64,
    pub(crate) vsz_mib: f64,
}

fn path(pid: i32, file: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{file}"))
}

/// The process's line; `None` if it is gone.
pub(crate) fn stat(pid: i32) -> Option<Stat> {
    parse_stat(pid, &fs::read_to_string(path(pid, "stat")).ok()?)
}

fn parse_stat(pid: i32, line: &str) -> Option<Stat> {
    // The name may contain anything, parentheses included: what follows the last one has a fixed shape.
    let (_, fields) = line.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    let ticks = |index: usize| Some(number(index)? as f64 / TICKS_PER_SECOND);
    Some(Stat {
        id: ProcessId { pid, started_ticks: number(19)? },
        parent: fields.get(1)?.parse().ok()?,
        group: fields.get(2)?.parse().ok()?,
        cpu_s: ticks(11)? + ticks(12)?,
        children_cpu_s: ticks(13)? + ticks(14)?,
        threads: number(17)?,
        is_zombie: *fields.first()? == "Z",
    })
}

/// Numbers of every process that can be seen.
pub(crate) fn all() -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// The value in KiB of a line such as `Pss:    1234 kB`.
fn kib(text: &str, key: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    line.trim().trim_end_matches(" kB").trim().parse().ok()
}

/// Memory of the process. Where `smaps_rollup` may not be read, PSS and USS are 0.
pub(crate) fn memory(pid: i32) -> Option<Memory> {
    let status = fs::read_to_string(path(pid, "status")).ok()?;
    let rollup = fs::read_to_string(path(pid, "smaps_rollup")).unwrap_or_default();
    let of = |text: &str, key: &str| kib(text, key).unwrap_or_default() / KIB_PER_MIB;
    Some(Memory {
        pss_mib: of(&rollup, "Pss"),
        uss_mib: of(&rollup, "Private_Clean") + of(&rollup, "Private_Dirty"),
        rss_mib: of(&status, "VmRSS"),
        vsz_mib: of(&status, "VmSize"),
    })
}

/// Bytes that the process read from and wrote to disk.
pub(crate) fn disk_bytes(pid: i32) -> Option<(u64, u64)> {
    let text = fs::read_to_string(path(pid, "io")).ok()?;
    let of = |key: &str| {
        text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": ")?.trim().parse().ok())
    };
    Some((of("read_bytes")?, of("write_bytes")?))
}

/// The environment that the process was started with, each variable ended by a zero byte; `None` if it may not be read.
pub(crate) fn environment(pid: i32) -> Option<Vec<u8>> {
    fs::read(path(pid, "environ")).ok()
}

/// How many descriptors are open, and the inodes of those that are sockets.
pub(crate) fn descriptors(pid: i32) -> (u64, Vec<u64>) {
    let Ok(entries) = fs::read_dir(path(pid, "fd")) else { return (0, Vec::new()) };
    let (mut count, mut sockets) = (0, Vec::new());
    for entry in entries.flatten() {
        count += 1;
        if let Ok(target) = fs::read_link(entry.path())
            && let Some(inode) = target.to_str().and_then(|target| target.strip_prefix("socket:["))
            && let Ok(inode) = inode.trim_end_matches(']').parse()
        {
            sockets.push(inode);
        }
    }
    (count, sockets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_blanks_does_not_shift_the_fields() {
        let line =
            "4242 (a) b (c) S 17 4242 4242 0 -1 4194560 100 0 0 0 250 50 10 5 20 0 8 0 987654 1000 200 0";
        let stat = parse_stat(4242, line).unwrap();
        assert_eq!(stat.parent, 17);
        assert_eq!(stat.id, ProcessId { pid: 4242, started_ticks: 987_654 });
        assert!((stat.cpu_s - 3.0).abs() < 1e-9 && (stat.children_cpu_s - 0.15).abs() < 1e-9);
        assert_eq!((stat.threads, stat.is_zombie), (8, false));
    }

    #[test]
    fn this_process_has_memory_descriptors_and_a_line() {
        let pid = i32::try_from(std::process::id()).unwrap();
        assert_eq!(stat(pid).unwrap().id.pid, pid);
        assert!(memory(pid).unwrap().rss_mib > 1.0);
        assert!(descriptors(pid).0 >= 3);
        assert!(all().contains(&pid));
        assert!(stat(i32::MAX).is_none());
    }
}
