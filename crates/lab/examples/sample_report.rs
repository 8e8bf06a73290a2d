//! Writes the report of made-up runs, to look at its design: `cargo run -p paddock-lab --example sample_report -- DIR`.

use std::{collections::BTreeMap, path::Path};

use paddock_lab::{
    compare::{Policy, compare},
    measurements::{Kind, Measurements},
    objectives::Objectives,
    record::{RunRecord, Validity},
    report::Report,
    statistics::{Random, median},
    synthetic::{self, ServerRun},
};

const OBJECTIVES: &str = r#"
[[objective]]
id = "healthz-latency"
area = "platform"
metric = "latency_p99_ms"
unit = "ms"
op = "<="
target = 5
acceptable = 50
critical = 500
regress_pct = 10
action = "Profile the layers of the HTTP stack with /debug/pprof/flamegraph while the scenario runs."
scenario = "healthz"
source = "CX-1.3"

[[objective]]
id = "healthz-rate"
area = "platform"
metric = "throughput_per_s"
unit = "/s"
op = ">="
target = 2000
acceptable = 1500
regress_pct = 20
action = "Compare with the bare handler."
scenario = "healthz"
source = "CX-1.1"

[[objective]]
id = "healthz-errors"
area = "platform"
metric = "error_ratio"
unit = "ratio"
op = "<"
target = 0.001
acceptable = 0.01
action = "Read the server's log for the first failing request."
scenario = "healthz"
source = "PT-SM.6"

[[objective]]
id = "analysis-cpu"
area = "analysis"
metric = "cpu_s"
unit = "s"
op = "<="
target = 2.0
acceptable = 3.0
critical = 8.0
regress_pct = 10
action = "Profile the fact pass; a page that settles late costs most."
scenario = "analyze"
source = "CRO-0.2"

[[objective]]
id = "analysis-memory"
area = "analysis"
metric = "chrome_pss_max_mib"
unit = "MiB"
op = "<="
target = 600
acceptable = 800
regress_pct = 10
action = "Look for pages that stay open after their analysis."
scenario = "analyze"
source = "PT-1.2.g"

[[objective]]
id = "idle-memory"
area = "platform"
metric = "rss_max_mib"
unit = "MiB"
op = "<"
target = 40
acceptable = 60
critical = 150
regress_pct = 10
action = "Take a heap profile."
scenario = "idle"
source = "TH-3.1"
"#;

fn command_run(random: &mut Random) -> RunRecord {
    let mut run = ServerRun {
        scenario: "analyze".to_owned(),
        seconds: 24,
        rate_per_s: 1.0,
        seed: 9,
        ..ServerRun::default()
    }
    .record();
    run.steps.clear();
    run.intervals.clear();
    run.growth.clear();
    run.checks.clear();
    run.repeats = BTreeMap::from([
        ("cpu_s".to_owned(), synthetic::repeats(2.31, 0.03, 20, random)),
        ("wall_ms".to_owned(), synthetic::repeats(1_180.0, 0.07, 20, random)),
        ("chrome_pss_max_mib".to_owned(), synthetic::repeats(412.0, 0.015, 20, random)),
    ]);
    run.metrics =
        run.repeats.iter().filter_map(|(name, values)| Some((name.clone(), median(values)?))).collect();
    run
}

fn comparison(random: &mut Random, objectives: &Objectives) -> paddock_lab::compare::Comparison {
    let mut before = Measurements::new("main (41fe2a77c012)");
    let mut now = Measurements::new("this change (9abd9370c6c1)");
    for (metric, median, ratio, spread) in [
        ("analyze/cpu_s", 2.0, 1.155, 0.03),
        ("analyze/wall_ms", 1_180.0, 1.06, 0.09),
        ("analyze/chrome_pss_max_mib", 409.0, 1.004, 0.012),
        ("healthz/throughput_per_s", 52_000.0, 1.149, 0.03),
        ("healthz/latency_p99_ms", 4.1, 1.21, 0.2),
    ] {
        for (a, b) in synthetic::repeats(median, spread, 12, random).into_iter().zip(synthetic::repeats(
            median * ratio,
            spread,
            12,
            random,
        )) {
            before.push(metric, Kind::Sampled, a);
            now.push(metric, Kind::Sampled, b);
        }
    }
    compare(&before, &now, &Policy::of_objectives(objectives), true)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::args().nth(1).ok_or("usage: sample_report DIR")?;
    let objectives = Objectives::parse(Path::new("objectives.toml"), OBJECTIVES)?;
    let mut random = Random::seeded(4);
    let frozen =
        ServerRun { frozen_s: Some((22.0, 24.0)), error_ratio: 0.0022, ..ServerRun::default() }.record();
    let mut idle =
        ServerRun { scenario: "idle".to_owned(), rate_per_s: 20.0, seed: 3, ..ServerRun::default() }.record();
    idle.validity = Validity::Invalid {
        reasons: vec!["the machine was busy: other processes used 38 % of its CPUs".to_owned()],
    };
    for interval in &mut idle.intervals[31..40] {
        interval.contamination = Some("other processes used more than 25 % of the CPUs".to_owned());
    }
    let runs = vec![frozen, command_run(&mut random), idle];
    let comparisons = vec![comparison(&mut random, &objectives)];
    Report::new(runs, &objectives, comparisons).write(Path::new(&dir))?;

    let healthy = ServerRun { seed: 2, ..ServerRun::default() }.record();
    let healthy = Report::new(vec![healthy], &objectives, Vec::new());
    healthy.write(&Path::new(&dir).join("pass"))?;
    Ok(())
}
