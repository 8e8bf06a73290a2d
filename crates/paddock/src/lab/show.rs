//! Commands that show: `check`, `objectives`, `report`, `env`, `docs`.

use std::path::{Path, PathBuf};

use paddock_lab::{
    archive::{read_run, write},
    benchmarks_page,
    compare::{Policy, compare},
    gate::decide,
    measurements::Measurements,
    record::RunRecord,
    report::Report,
    scenario::Scenario,
    standing::{Standing, deciding_run, standings},
    verdict::Level,
};

use super::{
    Code, Lab, LabError, LabResult,
    args::{CheckArgs, DocsArgs, ListArgs, ReportArgs},
    judge::{print_decision, runs_since},
    terminal::{complain, level, print_comparison, say, table},
};

/// Finds every mistake that can be found without starting anything.
pub(super) fn check(lab: &Lab, args: &CheckArgs) -> LabResult {
    if !args.files.is_empty() {
        let mut code = Code::Pass;
        for file in &args.files {
            match Scenario::read(file) {
                Ok(scenario) => say(format_args!("{}: {} is right", file.display(), scenario.file.name)),
                Err(error) => code = LabError::from(error).report(),
            }
        }
        return Ok(code);
    }
    let scenarios = lab.scenarios()?;
    let mismatches = lab.objectives.mismatches(&scenarios);
    for mismatch in &mismatches {
        complain(format_args!("paddock: {mismatch}"));
    }
    if !mismatches.is_empty() {
        return Ok(Code::Usage);
    }
    say(format_args!(
        "{} promises and {} scenarios are right and fit together",
        lab.objectives.len(),
        scenarios.len()
    ));
    Ok(Code::Pass)
}

/// Every promise with its last verdict.
pub(super) fn objectives(lab: &Lab, args: &ListArgs) -> LabResult {
    let standings = standings(&lab.objectives, &lab.archive)?;
    if args.json {
        let rows: Vec<serde_json::Value> = standings.iter().map(standing_json).collect();
        say(format_args!("{}", serde_json::to_string_pretty(&rows)?));
        return Ok(Code::Pass);
    }
    if standings.is_empty() {
        say(format_args!("nothing is promised: there is no `objectives.toml` here or above"));
        return Ok(Code::Pass);
    }
    let header =
        ["verdict", "objective", "target", "measured", "scenario", "when"].map(str::to_owned).to_vec();
    let mut rows = vec![header];
    rows.extend(standings.iter().map(standing_row));
    table(&rows);
    Ok(Code::Pass)
}

fn standing_row(standing: &Standing) -> Vec<String> {
    let objective = &standing.objective;
    let verdict =
        standing.judgement.as_ref().map_or_else(|| "–".to_owned(), |judgement| level(judgement.level));
    let value = standing.judgement.as_ref().and_then(|judgement| judgement.value);
    let when = standing.run.as_ref().map_or_else(
        || "never measured".to_owned(),
        |run| format!("{}, {} form", run.started_at.strftime("%Y-%m-%d %H:%M"), run.form),
    );
    vec![
        verdict,
        objective.id.clone(),
        objective.threshold.promise(objective.unit),
        value.map_or_else(|| "–".to_owned(), |value| objective.unit.format(value)),
        objective.scenario.clone(),
        when,
    ]
}

fn standing_json(standing: &Standing) -> serde_json::Value {
    let objective = &standing.objective;
    serde_json::json!({
        "id": objective.id,
        "area": objective.area,
        "unit": objective.unit,
        "threshold": objective.threshold,
        "scenario": objective.scenario,
        "source": objective.source,
        "level": standing.judgement.as_ref().map(|judgement| judgement.level),
        "value": standing.judgement.as_ref().and_then(|judgement| judgement.value),
        "run": standing.run.as_ref().map(|run| run.id),
    })
}

/// The report of stored runs.
pub(super) fn report(lab: &Lab, args: &ReportArgs) -> LabResult {
    let mut records: Vec<RunRecord> = Vec::new();
    for name in &args.runs {
        let path = Path::new(name);
        records.push(if path.is_file() { read_run(path)? } else { lab.archive.run_by_id(name)? });
    }
    if args.runs.is_empty() {
        for scenario in lab.archive.scenarios()? {
            records.extend(deciding_run(&lab.archive, &scenario)?);
        }
    }
    if records.is_empty() {
        return Err(LabError::usage("there is no run to report; `paddock lab run` makes some"));
    }
    let mut comparisons = Vec::new();
    let mut decision = None;
    if let Some(name) = &args.baseline {
        let missing =
            || LabError::usage(format!("there is no baseline `{name}`; see `paddock lab baseline list`"));
        let mut baseline = lab.archive.baseline(name)?.ok_or_else(missing)?;
        // Repeats are what a comparison needs: those of the runs that were named, or all since the baseline.
        let current = if args.runs.is_empty() {
            runs_since(lab, &baseline)?
        } else {
            let current = Measurements::of_runs("these runs", &records);
            baseline.measurements.retain_scenarios(&current.scenarios());
            current
        };
        let policy = Policy::of_objectives(&lab.objectives).and_thresholds_of(&records);
        let comparison = compare(&baseline.measurements, &current, &policy, false);
        print_comparison(&comparison);
        let decided = decide(&comparison, false);
        print_decision(&decided);
        decision = Some(decided);
        comparisons.push(comparison);
    }
    let code = decision.as_ref().map_or(Code::Pass, Code::of_decision);
    let report = Report::new(records, &lab.objectives, comparisons).with_decision(decision);
    let files = report.write(&args.out)?;
    say(format_args!("{}: {}", level(report.level()), files.html.display()));
    Ok(Code::of_level(report.level_of_runs()).or(code))
}

/// This machine.
pub(super) async fn env(lab: &Lab, args: &ListArgs) -> LabResult {
    let environment = super::measure::environment(lab).await?;
    if args.json {
        say(format_args!("{}", serde_json::to_string_pretty(&environment)?));
        return Ok(Code::Pass);
    }
    let percent = |ratio: f64| format!("{:.1} %", ratio * 100.0);
    let pressure = &environment.pressure;
    let mut rows = vec![
        ["processor".to_owned(), format!("{} × {}", environment.cpu.logical, environment.cpu.model)],
        [
            "memory".to_owned(),
            format!("{} MiB, {} MiB available", environment.memory_mib, environment.memory_available_mib),
        ],
        ["kernel".to_owned(), environment.kernel.clone()],
        ["system".to_owned(), environment.os.clone()],
    ];
    if let Some(disk) = &environment.disk {
        let (fsync, read, write) = (disk.fsync_p50_us, disk.read_mib_per_s, disk.write_mib_per_s);
        let line = format!(
            "{}: fsync {fsync:.0} µs, write {write:.0} MiB/s, read {read:.0} MiB/s",
            disk.file_system
        );
        rows.push(["disk".to_owned(), line]);
    }
    rows.push([
        "load".to_owned(),
        format!("{:.2} (1 min), {:.2} (5 min)", environment.load_1m, environment.load_5m),
    ]);
    let waits =
        [pressure.cpu_ratio, pressure.memory_ratio, pressure.io_ratio, pressure.steal_ratio].map(percent);
    let [cpu, memory, io, steal] = waits;
    rows.push(["pressure".to_owned(), format!("CPU {cpu}, memory {memory}, I/O {io}, steal {steal}")]);
    let commit = environment.commit.as_deref().unwrap_or("none");
    rows.push([
        "commit".to_owned(),
        format!("{commit}{}", if environment.modified { " with changes" } else { "" }),
    ]);
    let rows: Vec<Vec<String>> = rows.into_iter().map(Vec::from).collect();
    table(&rows);
    Ok(Code::Pass)
}

/// The page of the documentation.
pub(super) fn docs(lab: &Lab, args: &DocsArgs) -> LabResult {
    let beside = lab.places.objectives.as_deref().and_then(Path::parent);
    let default = || beside.map(|dir| dir.join("docs/performance-benchmarks.md"));
    let Some(out): Option<PathBuf> = args.out.clone().or_else(default) else {
        return Err(LabError::usage(
            "there is no `objectives.toml` here or above; name the page with `--out FILE`",
        ));
    };
    let standings = standings(&lab.objectives, &lab.archive)?;
    let page = benchmarks_page::render(&standings, lab.archive.selftest()?.as_ref());
    write(&out, page.as_bytes())?;
    let count = |wanted: fn(Option<Level>) -> bool| {
        standings.iter().filter(|s| wanted(s.judgement.as_ref().map(|judgement| judgement.level))).count()
    };
    let kept = count(|level| level == Some(Level::Pass));
    let unmeasured = count(|level| level.is_none());
    say(format_args!(
        "{}: {kept} of {} promises kept, {unmeasured} not measured",
        out.display(),
        standings.len()
    ));
    Ok(Code::Pass)
}
