//! The machine as a whole: who had the processors, and what waited.

use std::fs;

use super::process::TICKS_PER_SECOND;
use crate::record::Pressure;

/// Counters that only grow; two of them tell what happened between.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct MachineTimes {
    /// CPU time of all cores that something used.
    pub(crate) busy_s: f64,
    /// CPU time that the hypervisor gave to others.
    pub(crate) steal_s: f64,
    /// All CPU time, idle included.
    pub(crate) total_s: f64,
    cpu_wait_s: f64,
    memory_wait_s: f64,
    io_wait_s: f64,
    pub(crate) network_rx_bytes: f64,
    pub(crate) network_tx_bytes: f64,
}

impl MachineTimes {
    /// The counters now; what the kernel does not say is 0.
    pub(crate) fn read() -> Self {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let (busy_s, steal_s, total_s) = parse_cpu(stat.lines().next().unwrap_or_default());
        let (network_rx_bytes, network_tx_bytes) =
            parse_network(&fs::read_to_string("/proc/net/dev").unwrap_or_default());
        Self {
            busy_s,
            steal_s,
            total_s,
            cpu_wait_s: waited_s("cpu"),
            memory_wait_s: waited_s("memory"),
            io_wait_s: waited_s("io"),
            network_rx_bytes,
            network_tx_bytes,
        }
    }

    /// What happened since `earlier`, `own_s` of the CPU time being the generator's and its targets'.
    pub(crate) fn pressure_since(&self, earlier: &Self, elapsed_s: f64, own_s: f64) -> Pressure {
        let share = |now: f64, before: f64, of: f64| {
            if of > 0.0 { ((now - before) / of).clamp(0.0, 1.0) } else { 0.0 }
        };
        let total_s = self.total_s - earlier.total_s;
        Pressure {
            cpu_ratio: share(self.cpu_wait_s, earlier.cpu_wait_s, elapsed_s),
            memory_ratio: share(self.memory_wait_s, earlier.memory_wait_s, elapsed_s),
            io_ratio: share(self.io_wait_s, earlier.io_wait_s, elapsed_s),
            steal_ratio: share(self.steal_s, earlier.steal_s, total_s),
            foreign_cpu_ratio: share(self.busy_s - own_s, earlier.busy_s, total_s),
        }
    }
}

/// Busy, stolen and total seconds of the line `cpu  user nice system idle iowait irq softirq steal …`.
fn parse_cpu(line: &str) -> (f64, f64, f64) {
    let ticks: Vec<f64> =
        line.split_ascii_whitespace().skip(1).take(8).filter_map(|field| field.parse().ok()).collect();
    let [user, nice, system, idle, io_wait, irq, soft_irq, steal] = ticks.as_slice() else {
        return (0.0, 0.0, 0.0);
    };
    let busy = user + nice + system + irq + soft_irq;
    let total = busy + idle + io_wait + steal;
    (busy / TICKS_PER_SECOND, steal / TICKS_PER_SECOND, total / TICKS_PER_SECOND)
}

/// Seconds in which some task waited for the resource, since the machine started.
fn waited_s(resource: &str) -> f64 {
    let text = fs::read_to_string(format!("/proc/pressure/{resource}")).unwrap_or_default();
    let total =
        text.lines().find(|line| line.starts_with("some")).and_then(|line| line.split("total=").nth(1));
    total.and_then(|micros| micros.trim().parse::<f64>().ok()).unwrap_or_default() / 1e6
}

/// Bytes received and sent over all interfaces.
fn parse_network(text: &str) -> (f64, f64) {
    text.lines().skip(2).fold((0.0, 0.0), |(received, sent), line| {
        let fields: Vec<f64> = line
            .split_once(':')
            .map(|(_, counters)| {
                counters.split_ascii_whitespace().filter_map(|field| field.parse().ok()).collect()
            })
            .unwrap_or_default();
        (
            received + fields.first().copied().unwrap_or_default(),
            sent + fields.get(8).copied().unwrap_or_default(),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_busy_stolen_or_idle() {
        let (busy, steal, total) = parse_cpu("cpu  1000 100 500 8000 200 50 50 100 0 0");
        assert!((busy - 17.0).abs() < 1e-9 && (steal - 1.0).abs() < 1e-9 && (total - 100.0).abs() < 1e-9);
        assert_eq!(parse_cpu("garbage"), (0.0, 0.0, 0.0));
    }

    #[test]
    fn what_others_used_is_what_neither_generator_nor_target_did() {
        let before = MachineTimes::default();
        let after = MachineTimes { busy_s: 1.5, steal_s: 0.1, total_s: 2.0, cpu_wait_s: 0.25, ..before };
        let pressure = after.pressure_since(&before, 1.0, 1.2);
        assert!((pressure.foreign_cpu_ratio - 0.15).abs() < 1e-9);
        assert!((pressure.steal_ratio - 0.05).abs() < 1e-9 && (pressure.cpu_ratio - 0.25).abs() < 1e-9);
        assert!(after.pressure_since(&before, 1.0, 9.0).foreign_cpu_ratio.abs() < 1e-9);
    }

    #[test]
    fn interfaces_are_added_up() {
        let text = "Inter-|   Receive\n face |bytes\n    lo: 100 1 0 0 0 0 0 0 200 1 0 0 0 0 0 0\n  eth0: 5 1 0 0 0 0 0 0 7 1\n";
        assert_eq!(parse_network(text), (105.0, 207.0));
    }

    #[test]
    fn this_machine_has_counters() {
        let now = MachineTimes::read();
        assert!(now.total_s > 0.0 && now.busy_s > 0.0, "{now:?}");
    }
}
