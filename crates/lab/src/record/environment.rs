//! What a run was measured on.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The machine, its state just before the run, and what was measured on it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Environment {
    /// Processor.
    pub cpu: Cpu,
    /// Memory of the machine, or of the container if that is less.
    pub memory_mib: u64,
    /// Memory free for use before the run.
    #[serde(default)]
    pub memory_available_mib: u64,
    /// Kernel name and release, for example `Linux 6.1.0-30-amd64`.
    pub kernel: String,
    /// Distribution, for example `Debian GNU/Linux 12 (bookworm)`.
    #[serde(default)]
    pub os: String,
    /// Speed of the disk that data goes to; absent if it was not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<Disk>,
    /// Load average over one minute before the run.
    pub load_1m: f64,
    /// Load average over five minutes before the run.
    #[serde(default)]
    pub load_5m: f64,
    /// What the machine was busy with before the run.
    pub pressure: Pressure,
    /// Version of Paddock that measured.
    #[serde(default)]
    pub version: String,
    /// Commit that was measured, if the working directory is a repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Whether there were changes on top of `commit`.
    #[serde(default)]
    pub modified: bool,
    /// BLAKE3 of what was measured: the scenario, its variables with the measured binary, and its data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_hash: Option<String>,
}

/// The processor.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cpu {
    /// Model name as the kernel gives it.
    pub model: String,
    /// Logical processors that may be used.
    pub logical: u32,
    /// Highest clock seen, in MHz; absent if the kernel does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mhz: Option<f64>,
}

/// Speed of a disk.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Disk {
    /// Median time of writing 4 KiB and syncing it, in microseconds.
    pub fsync_p50_us: f64,
    /// Sequential writing, synced at the end, in MiB per second.
    pub write_mib_per_s: f64,
    /// Sequential reading of the same file; from the page cache where it cannot be dropped.
    pub read_mib_per_s: f64,
    /// Type of the file system, for example `ext4`.
    #[serde(default)]
    pub file_system: String,
}

/// How much work waited for the machine, each as a share of time between 0 and 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Pressure {
    /// Some task waited for a CPU (`/proc/pressure/cpu`, `some`).
    pub cpu_ratio: f64,
    /// Some task waited for memory.
    pub memory_ratio: f64,
    /// Some task waited for input or output.
    pub io_ratio: f64,
    /// CPU time that the hypervisor gave to others.
    pub steal_ratio: f64,
    /// CPU time used by processes that are neither the target nor the generator, of all cores.
    #[serde(default)]
    pub foreign_cpu_ratio: f64,
}
