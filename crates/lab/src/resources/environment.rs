//! What a run was measured on: the machine, its state, and the version that was measured.

use std::{
    fs,
    io::{self, Read as _, Seek as _, Write as _},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use super::{machine::MachineTimes, process};
use crate::record::{Cpu, Disk, Environment, Pressure};

/// How long the machine is watched before a run.
const WATCH: Duration = Duration::from_millis(500);
/// Writes of which each is synced.
const SYNCED_WRITES: usize = 24;
const SYNCED_WRITE_BYTES: usize = 4 << 10;
/// Bytes that are written and read in sequence.
const SEQUENTIAL_BYTES: usize = 32 << 20;
const CHUNK_BYTES: usize = 1 << 20;
const BYTES_PER_MIB: f64 = 1_048_576.0;
const KIB_PER_MIB: u64 = 1_024;

/// Describes the machine, and measures the disk that `dir` is on (about a second). What cannot be found out is empty.
pub fn describe(dir: &Path) -> Environment {
    let meminfo = read("/proc/meminfo");
    let memory = |key: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or_default()
            / KIB_PER_MIB
    };
    let load: Vec<f64> = read("/proc/loadavg")
        .split_ascii_whitespace()
        .take(2)
        .filter_map(|field| field.parse().ok())
        .collect();
    // Watched before the disk is measured, which is work of our own.
    let pressure = pressure();
    let memory_mib = memory("MemTotal");
    Environment {
        cpu: cpu(),
        memory_mib: memory_limit_mib().map_or(memory_mib, |limit_mib| limit_mib.min(memory_mib)),
        memory_available_mib: memory("MemAvailable"),
        kernel: format!(
            "{} {}",
            read("/proc/sys/kernel/ostype").trim(),
            read("/proc/sys/kernel/osrelease").trim()
        ),
        os: os_name(),
        disk: disk(dir).ok(),
        load_1m: load.first().copied().unwrap_or_default(),
        load_5m: load.get(1).copied().unwrap_or_default(),
        pressure,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        commit: None,
        modified: false,
        config_hash: None,
    }
}

/// The commit that is checked out in the repository around a directory, and whether there are changes on top of it.
pub fn commit(dir: &Path) -> (Option<String>, bool) {
    (git(dir, &["rev-parse", "HEAD"]), git(dir, &["status", "--porcelain"]).is_some())
}

/// BLAKE3 of the texts that determine what is measured, in hexadecimal.
pub fn config_hash<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hasher = blake3::Hasher::new();
    for text in texts {
        // The length keeps ("ab", "c") apart from ("a", "bc").
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn cpu() -> Cpu {
    let text = read("/proc/cpuinfo");
    let pairs: Vec<(&str, &str)> = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(key, value)| (key.trim(), value.trim()))
        .collect();
    let values =
        |key: &'static str| pairs.iter().filter(move |(name, _)| *name == key).map(|(_, value)| *value);
    let mhz = values("cpu MHz").filter_map(|mhz| mhz.parse::<f64>().ok()).fold(0.0, f64::max);
    Cpu {
        model: values("model name").next().unwrap_or_default().to_owned(),
        logical: std::thread::available_parallelism()
            .map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX)),
        mhz: (mhz > 0.0).then_some(mhz),
    }
}

/// What the container may use, if it may use less than the machine has.
fn memory_limit_mib() -> Option<u64> {
    ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .iter()
        .find_map(|path| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok())
        .map(|bytes| bytes >> 20)
}

fn os_name() -> String {
    let text = read("/etc/os-release");
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map(|name| name.trim_matches('"').to_owned()).unwrap_or_default()
}

/// What the machine does while the lab does nothing.
fn pressure() -> Pressure {
    let own = || {
        let stat = i32::try_from(std::process::id()).ok().and_then(process::stat);
        stat.map_or(0.0, |stat| stat.cpu_s)
    };
    let (before, own_before, at) = (MachineTimes::read(), own(), Instant::now());
    std::thread::sleep(WATCH);
    MachineTimes::read().pressure_since(&before, at.elapsed().as_secs_f64(), own() - own_before)
}

/// Measures the disk under a directory with a file that has no name.
fn disk(dir: &Path) -> io::Result<Disk> {
    let mut file = tempfile::tempfile_in(dir)?;
    let small = vec![0x5A; SYNCED_WRITE_BYTES];
    let mut synced_us = Vec::with_capacity(SYNCED_WRITES);
    for _ in 0..SYNCED_WRITES {
        let at = Instant::now();
        file.write_all(&small)?;
        file.sync_data()?;
        synced_us.push(at.elapsed().as_secs_f64() * 1e6);
    }
    synced_us.sort_by(f64::total_cmp);
    // Not all the same, so that a file system that compresses has something to do.
    let chunk: Vec<u8> =
        (0..CHUNK_BYTES).map(|index| (index.wrapping_mul(2_654_435_761) >> 7) as u8).collect();
    file.rewind()?;
    let at = Instant::now();
    for _ in 0..SEQUENTIAL_BYTES / CHUNK_BYTES {
        file.write_all(&chunk)?;
    }
    file.sync_data()?;
    let write_s = at.elapsed().as_secs_f64();
    file.rewind()?;
    let mut buffer = vec![0; CHUNK_BYTES];
    let at = Instant::now();
    while file.read(&mut buffer)? > 0 {}
    let read_s = at.elapsed().as_secs_f64();
    let mib_per_s = |seconds: f64| SEQUENTIAL_BYTES as f64 / BYTES_PER_MIB / seconds.max(1e-9);
    Ok(Disk {
        fsync_p50_us: synced_us.get(SYNCED_WRITES / 2).copied().unwrap_or_default(),
        write_mib_per_s: mib_per_s(write_s),
        read_mib_per_s: mib_per_s(read_s),
        file_system: file_system(dir),
    })
}

/// Type of the file system that a directory is on: that of the longest mount point above it.
fn file_system(dir: &Path) -> String {
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    read("/proc/self/mounts")
        .lines()
        .filter_map(|line| {
            let mut fields = line.split_ascii_whitespace().skip(1);
            let (mount, kind) = (fields.next()?, fields.next()?);
            dir.starts_with(mount).then(|| (mount.len(), kind.to_owned()))
        })
        .max_by_key(|(length, _)| *length)
        .map(|(_, kind)| kind)
        .unwrap_or_default()
}

/// Output of git in the directory; `None` if there is none, no repository, or no git.
fn git(dir: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(dir).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_described() {
        let dir = tempfile::tempdir().unwrap();
        let environment = describe(dir.path());
        assert!(environment.cpu.logical >= 1 && environment.memory_mib > 0);
        assert!(environment.kernel.starts_with("Linux "), "{}", environment.kernel);
        let disk = environment.disk.unwrap();
        assert!(disk.fsync_p50_us > 0.0 && disk.write_mib_per_s > 0.0 && disk.read_mib_per_s > 0.0);
        assert!(!disk.file_system.is_empty());
        assert_eq!(commit(dir.path()), (None, false));
    }

    #[test]
    fn a_directory_that_cannot_be_written_leaves_the_disk_out() {
        assert!(disk(Path::new("/proc")).is_err());
    }

    #[test]
    fn the_hash_depends_on_every_text_and_where_it_ends() {
        assert_ne!(config_hash(["ab", "c"]), config_hash(["a", "bc"]));
        assert_eq!(config_hash(["ab", "c"]), config_hash(["ab", "c"]));
    }
}
