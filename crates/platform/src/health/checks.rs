//! Checks that every server has: disk, memory, configuration.

use std::{fs, io, path::PathBuf};

use super::Finding;
use crate::units::ByteSize;

/// Whether the file system of a directory has room: below `floor` it is degraded, below a tenth of that failed.
/// Register it as `health.register("disk", true, move || disk_free(dir.clone(), floor))`.
pub async fn disk_free(dir: PathBuf, floor: ByteSize) -> Finding {
    // A file system that hangs must not take a thread that serves others with it.
    let shown = dir.display().to_string();
    let free = tokio::task::spawn_blocking(move || {
        let stat = rustix::fs::statvfs(&dir).map_err(io::Error::from)?;
        Ok::<_, io::Error>(stat.f_bavail.saturating_mul(stat.f_frsize))
    });
    match free.await {
        Ok(Ok(free)) => judge_disk(&shown, ByteSize::bytes(free), floor),
        Ok(Err(error)) => Finding::failed(
            format!("the free space of {shown} cannot be read: {error}"),
            "check that the directory exists and is readable",
        ),
        Err(_) => Finding::failed("the check failed", "see the server's log"),
    }
}

fn judge_disk(dir: &str, free: ByteSize, floor: ByteSize) -> Finding {
    let detail = format!("{} free in {dir}", rounded(free));
    let advice = format!("free space in {dir}, at least {floor}");
    if free.get() < floor.get() / 10 {
        Finding::failed(detail, advice)
    } else if free < floor {
        Finding::degraded(detail, advice)
    } else {
        Finding::ok(detail)
    }
}

/// Memory that this process may still take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Bytes left, by the tighter of machine and control group.
    pub available: ByteSize,
    /// Whether the control group is the tighter one.
    pub limited_by_group: bool,
}

impl Memory {
    /// Reads the machine's available memory and the limit of the control group (version 2 or 1) around this process.
    pub fn read() -> io::Result<Self> {
        let machine = parse_mem_available(&fs::read_to_string("/proc/meminfo")?)
            .ok_or_else(|| io::Error::other("/proc/meminfo has no MemAvailable"))?;
        let group = group_available();
        Ok(match group {
            Some(group) if group < machine => {
                Self { available: ByteSize::bytes(group), limited_by_group: true }
            }
            _ => Self { available: ByteSize::bytes(machine), limited_by_group: false },
        })
    }
}

/// Whether there is memory left: below `floor` it is degraded, below a tenth of that failed.
pub async fn memory_available(floor: ByteSize) -> Finding {
    match Memory::read() {
        Ok(memory) => judge_memory(memory, floor),
        Err(error) => Finding::degraded(
            format!("the available memory cannot be read: {error}"),
            "mount /proc in the server's environment",
        ),
    }
}

fn judge_memory(memory: Memory, floor: ByteSize) -> Finding {
    let place = if memory.limited_by_group { "control group" } else { "machine" };
    let detail = format!("{} available in the {place}", rounded(memory.available));
    let advice = format!("close what is not needed or give it more memory; {floor} should be left");
    if memory.available.get() < floor.get() / 10 {
        Finding::failed(detail, advice)
    } else if memory.available < floor {
        Finding::degraded(detail, advice)
    } else {
        Finding::ok(detail)
    }
}

/// Whether the configuration in force is the one in the file: `error` is what the last reload failed with, if it did.
pub fn config_state(error: Option<String>) -> Finding {
    match error {
        None => Finding::ok("the configuration in the file is in force"),
        Some(error) => Finding::degraded(
            format!("the file was changed but is not in force: {error}"),
            "correct the file; it is read again when it changes",
        ),
    }
}

fn parse_mem_available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

/// What the control group leaves: its limit less what is used, where file cache that can be dropped counts as free.
/// `None` without a limit. The files are those that a container sees as its own group.
fn group_available() -> Option<u64> {
    let read = |name: &str| fs::read_to_string(format!("/sys/fs/cgroup/{name}")).ok();
    let (limit, used, stat) = match read("memory.max") {
        Some(limit) => (limit, read("memory.current")?, read("memory.stat")),
        None => (
            read("memory/memory.limit_in_bytes")?,
            read("memory/memory.usage_in_bytes")?,
            read("memory/memory.stat"),
        ),
    };
    group_left(&limit, &used, stat.as_deref().unwrap_or_default())
}

fn group_left(limit: &str, used: &str, stat: &str) -> Option<u64> {
    // "max", or the largest number there is, mean no limit; the latter loses to the machine's memory by itself.
    let limit: u64 = limit.trim().parse().ok()?;
    let used: u64 = used.trim().parse().ok()?;
    let reclaimable = stat
        .lines()
        .find_map(|line| {
            line.strip_prefix("inactive_file ").or_else(|| line.strip_prefix("total_inactive_file "))
        })
        .and_then(|bytes| bytes.trim().parse().ok())
        .unwrap_or(0);
    Some(limit.saturating_sub(used.saturating_sub(reclaimable)))
}

/// To whole mebibytes: nobody reads more.
fn rounded(size: ByteSize) -> String {
    match size.get() {
        bytes if bytes >= 10 << 30 => format!("{}GiB", bytes >> 30),
        bytes => format!("{}MiB", bytes >> 20),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Status, *};

    #[test]
    fn available_memory_is_the_tighter_of_machine_and_group() {
        assert_eq!(parse_mem_available("MemTotal: 8 kB\nMemAvailable:    2048 kB\n"), Some(2 << 20));
        assert_eq!(parse_mem_available("MemTotal: 8 kB\n"), None);
        assert_eq!(group_left("1000\n", "700\n", "file 300\ninactive_file 200\n"), Some(500));
        assert_eq!(group_left("max\n", "700\n", ""), None);
        assert_eq!(group_left("100", "700", ""), Some(0));
        assert!(Memory::read().unwrap().available.get() > 0);
    }

    #[test]
    fn little_room_degrades_and_none_fails() {
        let floor = ByteSize::mib(1000);
        for (mib, status) in [(2000, Status::Ok), (500, Status::Degraded), (50, Status::Failed)] {
            let size = ByteSize::mib(mib);
            assert_eq!(judge_disk("/data", size, floor).status, status);
            let memory = Memory { available: size, limited_by_group: true };
            assert_eq!(judge_memory(memory, floor).status, status);
        }
    }

    #[tokio::test]
    async fn a_directory_that_is_gone_is_told() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(disk_free(dir.path().to_owned(), ByteSize::bytes(1)).await.status, Status::Ok);
        let gone = disk_free(dir.path().join("gone"), ByteSize::bytes(1)).await;
        assert_eq!(gone.status, Status::Failed);
        assert!(gone.detail.contains("gone"));
    }
}
