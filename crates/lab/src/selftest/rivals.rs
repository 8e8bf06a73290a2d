//! Other load generators, where they are installed: what they report of the same freeze.

use std::{process::Stdio, time::Duration};

use tokio::process::Command;

use super::FreezePlan;

/// Longer than any of them may take beyond the plan.
const GRACE: Duration = Duration::from_secs(20);

/// Another generator, and how it is asked.
#[derive(Debug)]
pub(super) struct Rival {
    /// What it is called in the result.
    pub(super) label: &'static str,
    program: &'static str,
    arguments: fn(&FreezePlan) -> Vec<String>,
    percentile: fn(&str, u8) -> Option<Duration>,
}

const OPEN_LOOP: &str = "oha with latency correction";

static RIVALS: [Rival; 4] = [
    Rival {
        label: "wrk",
        program: "wrk",
        arguments: |plan| {
            let connections = format!("-c{}", plan.connections);
            vec![
                "-t1".to_owned(),
                connections,
                format!("-d{}s", plan.duration.as_secs()),
                "--latency".to_owned(),
            ]
        },
        percentile: wrk_percentile,
    },
    Rival {
        label: "hey",
        program: "hey",
        arguments: |plan| {
            let per_worker = plan.rate_per_s / plan.connections as f64;
            ["-z", &format!("{}s", plan.duration.as_secs()), "-c", &plan.connections.to_string(), "-q"]
                .map(str::to_owned)
                .into_iter()
                .chain([per_worker.to_string()])
                .collect()
        },
        percentile: hey_percentile,
    },
    Rival { label: "oha", program: "oha", arguments: oha_arguments, percentile: oha_percentile },
    Rival {
        label: OPEN_LOOP,
        program: "oha",
        arguments: |plan| {
            let mut arguments = oha_arguments(plan);
            arguments.push("--latency-correction".to_owned());
            arguments
        },
        percentile: oha_percentile,
    },
];

/// Those that are on the search path.
pub(super) fn installed() -> impl Iterator<Item = &'static Rival> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs: Vec<_> = std::env::split_paths(&path).collect();
    RIVALS.iter().filter(move |rival| dirs.iter().any(|dir| dir.join(rival.program).is_file()))
}

/// The one that keeps an open schedule and counts from the due time, if it is on the search path.
pub(super) fn open_loop() -> Option<&'static Rival> {
    installed().find(|rival| rival.label == OPEN_LOOP)
}

impl Rival {
    /// Loads the address and returns the 90th and 99th percentile that it reports, or why there are none.
    pub(super) async fn run(&self, url: &str, plan: FreezePlan) -> Result<[Duration; 2], String> {
        let running = Command::new(self.program)
            .args((self.arguments)(&plan))
            .arg(url)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(plan.duration + GRACE, running).await;
        let output = output.map_err(|_| "did not end".to_owned())?.map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&output.stdout);
        let percentiles = (self.percentile)(&text, 90).zip((self.percentile)(&text, 99));
        let (p90, p99) =
            percentiles.ok_or_else(|| format!("{}; its report was not understood", output.status))?;
        Ok([p90, p99])
    }
}

fn oha_arguments(plan: &FreezePlan) -> Vec<String> {
    let duration = format!("{}s", plan.duration.as_secs());
    let (rate, connections) = (plan.rate_per_s.to_string(), plan.connections.to_string());
    let arguments = ["--no-tui", "--output-format", "json", "-z", &duration, "-q", &rate, "-c", &connections];
    arguments.map(str::to_owned).to_vec()
}

/// `    99%   17.60ms` in the latency distribution.
fn wrk_percentile(text: &str, percent: u8) -> Option<Duration> {
    let name = format!("{percent}%");
    let value = text.lines().find_map(|line| line.trim().strip_prefix(&name))?.trim();
    let split = value.find(|character: char| character.is_ascii_alphabetic())?;
    let (number, unit) = value.split_at(split);
    let seconds = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()
}

/// `  99% in 0.0179 secs`, with two percent signs in some versions.
fn hey_percentile(text: &str, percent: u8) -> Option<Duration> {
    let name = format!("{percent}%");
    let line = text.lines().find(|line| line.trim_start().starts_with(&name))?;
    let seconds = line.split_once(" in ")?.1.split_whitespace().next()?;
    Duration::try_from_secs_f64(seconds.parse().ok()?).ok()
}

/// `latencyPercentiles.p99` of the JSON report, in seconds.
fn oha_percentile(text: &str, percent: u8) -> Option<Duration> {
    let report: serde_json::Value = serde_json::from_str(text).ok()?;
    let seconds = report.pointer(&format!("/latencyPercentiles/p{percent}"))?.as_f64()?;
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reports_of_other_generators_are_understood() {
        let millis = |millis: f64| Some(Duration::from_secs_f64(millis / 1e3));
        let wrk = "  Latency Distribution\n     50%  423.00us\n     90%    1.20ms\n     99%   17.60ms\n";
        assert_eq!((wrk_percentile(wrk, 90), wrk_percentile(wrk, 99)), (millis(1.2), millis(17.6)));
        let hey = "Latency distribution:\n  90% in 0.0002 secs\n  99% in 0.0179 secs\n";
        assert_eq!((hey_percentile(hey, 90), hey_percentile(hey, 99)), (millis(0.2), millis(17.9)));
        assert_eq!(hey_percentile("  99%% in 0.0179 secs\n", 99), millis(17.9));
        let oha = r#"{"latencyPercentiles": {"p90": 0.002, "p99": 0.0084}}"#;
        assert_eq!((oha_percentile(oha, 90), oha_percentile(oha, 99)), (millis(2.0), millis(8.4)));
        for percentile in [wrk_percentile, hey_percentile, oha_percentile] {
            assert_eq!(percentile("no", 99), None);
        }
    }
}
