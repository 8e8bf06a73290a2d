//! Checks that every server has: disk, memory, configuration.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Component, Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use tokio::sync::oneshot;

use super::Finding;
use crate::units::ByteSize;

/// Directories that are being looked at.
static LOOKED_AT: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Whether the file system of a directory has room: below `floor` it is degraded, below a tenth of that failed.
/// Register it as `health.register("disk", true, move || disk_free(dir.clone(), floor))`.
pub async fn disk_free(dir: PathBuf, floor: ByteSize) -> Finding {
    let shown = dir.display().to_string();
    // A file system that hangs keeps the thread that looks at it: one of its own, so that it is none that serves
    // others, and only one, however often somebody asks.
    let Some(look) = Look::begin(dir) else {
        return Finding::failed(
            format!("the file system of {shown} has not answered yet"),
            "check the disk or the server behind it",
        );
    };
    let (answer, answered) = oneshot::channel();
    let looking = std::thread::Builder::new().name("disk-free".to_owned()).spawn(move || {
        let free = rustix::fs::statvfs(&look.0)
            .map(|stat| stat.f_bavail.saturating_mul(stat.f_frsize))
            .map_err(io::Error::from);
        drop(look);
        let _ = answer.send(free);
    });
    let free = match looking {
        Ok(_) => answered.await.unwrap_or_else(|_| Err(io::Error::other("the check failed"))),
        Err(error) => Err(error),
    };
    match free {
        Ok(free) => {
            let detail = format!("{} free in {shown}", rounded(ByteSize::bytes(free)));
            let advice = format!("free space in {shown}, at least {floor}");
            judge(ByteSize::bytes(free), floor, detail, advice)
        }
        Err(error) => Finding::failed(
            format!("the free space of {shown} cannot be read: {error}"),
            "check that the directory exists and is readable",
        ),
    }
}

/// A directory is being looked at until this is dropped.
struct Look(PathBuf);

impl Look {
    /// `None` if somebody else does already.
    fn begin(dir: PathBuf) -> Option<Self> {
        let new = LOOKED_AT.lock().unwrap_or_else(PoisonError::into_inner).insert(dir.clone());
        new.then_some(Self(dir))
    }
}

impl Drop for Look {
    fn drop(&mut self) {
        LOOKED_AT.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
    }
}

fn judge(left: ByteSize, floor: ByteSize, detail: String, advice: String) -> Finding {
    if left.get() < floor.get() / 10 {
        Finding::failed(detail, advice)
    } else if left < floor {
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
    judge(memory.available, floor, detail, advice)
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

/// What the control groups around this process leave it, by the tightest of them; `None` without a limit.
fn group_available() -> Option<u64> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    groups_of(&own).iter().filter_map(|group| available_in(group)).min()
}

/// The directories of a process's control groups and of all that these are within, from what `/proc/self/cgroup` says:
/// `0::/system.slice/paddock.service` (version 2), `5:memory:/docker/…` (version 1). A container may see the path of its
/// group as the machine does, and yet have that group as the root: directories that do not exist are simply passed over.
fn groups_of(own: &str) -> Vec<PathBuf> {
    let mut groups = Vec::new();
    for line in own.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let root = match controllers {
            "" => "/sys/fs/cgroup",
            controllers if controllers.split(',').any(|controller| controller == "memory") => {
                "/sys/fs/cgroup/memory"
            }
            _ => continue,
        };
        let relative = Path::new(path.trim_start_matches('/'));
        // A group outside of the namespace is shown with `..`: nothing of it is visible here.
        let visible = relative.components().all(|part| matches!(part, Component::Normal(_)));
        let within = if visible { relative } else { Path::new("") };
        groups.extend(within.ancestors().map(|group| Path::new(root).join(group)));
    }
    groups
}

/// What one group leaves: its limit less what is used, where file cache that can be dropped counts as free.
fn available_in(group: &Path) -> Option<u64> {
    let read = |name: &str| fs::read_to_string(group.join(name)).ok();
    let (limit, used) = match read("memory.max") {
        Some(limit) => (limit, read("memory.current")?),
        None => (read("memory.limit_in_bytes")?, read("memory.usage_in_bytes")?),
    };
    group_left(&limit, &used, &read("memory.stat").unwrap_or_default())
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
            assert_eq!(judge(size, floor, String::new(), String::new()).status, status);
            let memory = Memory { available: size, limited_by_group: true };
            assert_eq!(judge_memory(memory, floor).status, status);
        }
    }

    #[test]
    fn a_group_and_all_that_it_is_within_count() {
        let groups =
            |own: &str| groups_of(own).iter().map(|group| group.display().to_string()).collect::<Vec<_>>();
        assert_eq!(
            groups("0::/system.slice/paddock.service\n"),
            ["/sys/fs/cgroup/system.slice/paddock.service", "/sys/fs/cgroup/system.slice", "/sys/fs/cgroup/"]
        );
        assert_eq!(groups("0::/\n"), ["/sys/fs/cgroup/"]);
        assert_eq!(groups("0::/../../other\n"), ["/sys/fs/cgroup/"]);
        assert_eq!(
            groups("7:cpu,cpuacct:/a\n5:memory:/docker/1\n"),
            ["/sys/fs/cgroup/memory/docker/1", "/sys/fs/cgroup/memory/docker", "/sys/fs/cgroup/memory/"]
        );
        assert!(groups("").is_empty());
    }

    #[test]
    fn what_a_group_leaves_is_read_from_its_files() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(available_in(dir.path()), None);
        fs::write(dir.path().join("memory.max"), "1000\n").unwrap();
        fs::write(dir.path().join("memory.current"), "400\n").unwrap();
        assert_eq!(available_in(dir.path()), Some(600));
        fs::write(dir.path().join("memory.max"), "max\n").unwrap();
        assert_eq!(available_in(dir.path()), None);
    }

    #[tokio::test]
    async fn a_file_system_that_hangs_is_looked_at_by_one_only() {
        let dir = tempfile::tempdir().unwrap();
        let hanging = Look::begin(dir.path().to_owned()).unwrap();
        let finding = disk_free(dir.path().to_owned(), ByteSize::bytes(1)).await;
        assert_eq!(finding.status, Status::Failed, "{}", finding.detail);
        drop(hanging);
        assert_eq!(disk_free(dir.path().to_owned(), ByteSize::bytes(1)).await.status, Status::Ok);
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
