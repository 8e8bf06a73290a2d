//! Made-up runs and values with known properties: what the self-test feeds to the detectors, and what examples and tests
//! of reports show. Nothing here was measured.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    record::{
        CheckResult, Cpu, Disk, Environment, Form, Growth, Interval, Latency, Pressure, ResourceSample,
        RunRecord, SCHEMA_VERSION, StepRecord, Validity,
    },
    statistics::Random,
};

/// What a made-up run of a web server looks like.
#[derive(Clone, Debug)]
pub struct ServerRun {
    /// Name of the scenario.
    pub scenario: String,
    /// Length of the run.
    pub seconds: u32,
    /// Operations per second.
    pub rate_per_s: f64,
    /// Median latency.
    pub latency_p50_us: f64,
    /// Seconds in which the server stood still; operations that came due then waited for the end of it.
    pub frozen_s: Option<(f64, f64)>,
    /// Share of operations that fail.
    pub error_ratio: f64,
    /// Growth of the server's memory.
    pub leak_mib_per_s: f64,
    /// Seed of everything random.
    pub seed: u64,
}

impl Default for ServerRun {
    fn default() -> Self {
        Self {
            scenario: "healthz".to_owned(),
            seconds: 60,
            rate_per_s: 2_000.0,
            latency_p50_us: 400.0,
            frozen_s: None,
            error_ratio: 0.0,
            leak_mib_per_s: 0.0,
            seed: 1,
        }
    }
}

/// Values around `median` with a relative spread, always positive: what repeats of a process-level metric look like.
pub fn repeats(median: f64, spread_ratio: f64, count: usize, random: &mut Random) -> Vec<f64> {
    (0..count).map(|_| median * (spread_ratio * random.normal()).exp()).collect()
}

impl ServerRun {
    /// Makes the record up: the same settings always give the same record.
    pub fn record(&self) -> RunRecord {
        let mut random = Random::seeded(self.seed);
        let mut latency = nanosecond_histogram();
        let mut service = nanosecond_histogram();
        let mut lag = nanosecond_histogram();
        let mut intervals = Vec::new();
        let mut errors = 0;
        for second in 0..self.seconds {
            let interval =
                self.interval(f64::from(second), &mut random, [&mut latency, &mut service, &mut lag]);
            errors += interval.errors;
            intervals.push(interval);
        }
        let offered = intervals.iter().map(|interval| interval.offered).sum();
        let step = StepRecord {
            name: "GET /healthz".to_owned(),
            driver: "http".to_owned(),
            offered,
            completed: offered,
            errors: if errors > 0 {
                BTreeMap::from([("http-503".to_owned(), errors)])
            } else {
                BTreeMap::new()
            },
            latency: Latency::from_histogram(&latency),
            service: Latency::from_histogram(&service),
            lag: Latency::from_histogram(&lag),
            extra: BTreeMap::new(),
        };
        let resources = self.resources(&mut random);
        let metrics = self.metrics(&step, &resources, errors);
        RunRecord {
            schema_version: SCHEMA_VERSION,
            id: Uuid::from_u128(0x0199_0000_0000_7000_8000_0000_0000_0000 | u128::from(self.seed)),
            scenario: self.scenario.clone(),
            scenario_hash: None,
            form: Form::Short,
            started_at: Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_secs(1_795_000_000),
            duration_s: f64::from(self.seconds),
            command: ["paddock", "lab", "run", &self.scenario].map(str::to_owned).to_vec(),
            environment: environment(),
            partial: None,
            validity: Validity::Valid,
            thresholds: Vec::new(),
            steps: vec![step],
            intervals,
            resources,
            growth: vec![Growth {
                target: "server".to_owned(),
                resource: "pss_mib".to_owned(),
                slope_per_hour: self.leak_mib_per_s * 3_600.0,
                low_per_hour: self.leak_mib_per_s * 3_600.0 - 4.0,
                high_per_hour: self.leak_mib_per_s * 3_600.0 + 4.0,
                leaking: self.leak_mib_per_s * 3_600.0 > 24.0,
                too_short: false,
            }],
            checks: vec![CheckResult {
                name: "status is 200".to_owned(),
                passed: offered - errors,
                failed: 0,
                example: None,
            }],
            metrics,
            repeats: BTreeMap::new(),
        }
    }

    fn interval(&self, at_s: f64, random: &mut Random, all: [&mut Histogram<u64>; 3]) -> Interval {
        let [latency, service, lag] = all;
        let mut second = nanosecond_histogram();
        let mut second_lag = nanosecond_histogram();
        let offered = self.rate_per_s.round() as u64;
        let mut errors = 0;
        for index in 0..offered {
            let due = at_s + index as f64 / self.rate_per_s;
            // A log-normal body and a tail one time in 200.
            let tail = if random.uniform() < 0.005 { 1.0 + 6.0 * random.exponential() } else { 1.0 };
            let own = self.latency_p50_us * (0.35 * random.normal()).exp() * tail;
            let waited =
                self.frozen_s.map_or(
                    0.0,
                    |(start, end)| {
                        if (start..end).contains(&due) { (end - due) * 1e6 } else { 0.0 }
                    },
                );
            let late = 8.0 * random.exponential();
            count(latency, own + waited + late);
            count(&mut second, own + waited + late);
            count(service, own);
            count(lag, late);
            count(&mut second_lag, late);
            errors += u64::from(random.uniform() < self.error_ratio);
        }
        let figures = Latency::from_histogram(&second);
        Interval {
            at_s,
            length_s: 1.0,
            offered,
            completed: offered,
            errors,
            p50_us: figures.p50_us,
            p90_us: figures.p90_us,
            p99_us: figures.p99_us,
            max_us: figures.max_us,
            lag_p99_us: Latency::from_histogram(&second_lag).p99_us,
            pressure: Pressure { cpu_ratio: 0.02 * random.uniform(), ..Pressure::default() },
            contamination: None,
        }
    }

    fn resources(&self, random: &mut Random) -> Vec<ResourceSample> {
        let sample = |target: &str, at_s: f64, pss_mib: f64, cores: f64, threads: u64| ResourceSample {
            at_s,
            target: target.to_owned(),
            processes: 1,
            threads,
            descriptors: 64 + threads,
            pss_mib,
            uss_mib: pss_mib * 0.94,
            rss_mib: pss_mib * 1.08,
            vsz_mib: 900.0,
            cpu_s: cores * at_s,
            cpu_cores: cores,
            sockets: BTreeMap::from([("established".to_owned(), 50)]),
            disk_read_mib: 0.0,
            disk_write_mib: 0.02 * at_s,
            network_rx_mib: 0.4 * at_s,
            network_tx_mib: 0.5 * at_s,
        };
        (0..=self.seconds)
            .map(f64::from)
            .flat_map(|at_s| {
                let server = 31.0 + 3.0 * (1.0 - (-at_s / 6.0).exp()) + self.leak_mib_per_s * at_s;
                [
                    sample("server", at_s, server + 0.2 * random.normal(), 0.62 + 0.05 * random.normal(), 9),
                    sample("lab", at_s, 18.0 + 0.05 * random.normal(), 0.31 + 0.03 * random.normal(), 5),
                ]
            })
            .collect()
    }

    fn metrics(&self, step: &StepRecord, resources: &[ResourceSample], errors: u64) -> BTreeMap<String, f64> {
        let latency = &step.latency;
        let of_server = || resources.iter().filter(|sample| sample.target == "server");
        let figures = [
            ("latency_p50_ms", latency.p50_us / 1_000.0),
            ("latency_p95_ms", latency.p95_us / 1_000.0),
            ("latency_p99_ms", latency.p99_us / 1_000.0),
            ("latency_max_ms", latency.max_us / 1_000.0),
            ("lag_p99_ms", step.lag.p99_us / 1_000.0),
            ("throughput_per_s", step.completed as f64 / f64::from(self.seconds.max(1))),
            ("error_ratio", errors as f64 / step.completed.max(1) as f64),
            ("pss_max_mib", of_server().map(|sample| sample.pss_mib).fold(0.0, f64::max)),
            ("rss_max_mib", of_server().map(|sample| sample.rss_mib).fold(0.0, f64::max)),
            ("cpu_s", of_server().map(|sample| sample.cpu_s).fold(0.0, f64::max)),
        ];
        figures.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

fn environment() -> Environment {
    Environment {
        cpu: Cpu { model: "Example CPU @ 2.60GHz".to_owned(), logical: 2, mhz: Some(2_600.0) },
        memory_mib: 24_064,
        memory_available_mib: 21_500,
        kernel: "Linux 6.1.0-30-amd64".to_owned(),
        os: "Debian GNU/Linux 12 (bookworm)".to_owned(),
        disk: Some(Disk {
            fsync_p50_us: 840.0,
            write_mib_per_s: 1_210.0,
            read_mib_per_s: 2_400.0,
            file_system: "ext4".to_owned(),
        }),
        load_1m: 0.21,
        load_5m: 0.26,
        pressure: Pressure { cpu_ratio: 0.004, ..Pressure::default() },
        version: "0.1.0".to_owned(),
        commit: Some("9abd9370c6c1f7d1f0a2".to_owned()),
        modified: false,
        config_hash: None,
    }
}

/// Nanoseconds up to an hour at three significant digits.
fn nanosecond_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 3_600_000_000_000, 3).expect("constant bounds are accepted")
}

fn count(histogram: &mut Histogram<u64>, micros: f64) {
    histogram.saturating_record((micros * 1_000.0).max(1.0) as u64);
}
