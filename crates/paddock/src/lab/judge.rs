//! Commands that compare: `compare`, `gate`, `ab`, `baseline`.

use std::path::{Path, PathBuf};

use paddock_lab::{
    ab::{self, Side, Trial},
    archive::Baseline,
    compare::{Comparison, Policy, compare as compare_sides},
    gate::{self as gating, Decision},
    measurements::Measurements,
    record::Environment,
    report::Report,
    subject::{resolve, runs_after},
};

use super::{
    Code, Lab, LabError, LabResult,
    args::{AbArgs, BaselineCommand, CompareArgs, GateArgs, Strictness},
    measure::BUILD_TIMEOUT,
    terminal::{complain, print_comparison, say, table},
};

/// What is promised, by the objectives and by the thresholds of the scenarios' last runs, as far as it is asked for.
fn policy(lab: &Lab, strictness: &Strictness) -> Result<Policy, LabError> {
    let mut policy = Policy::of_objectives(&lab.objectives);
    for scenario in lab.archive.scenarios()? {
        policy = policy.and_thresholds_of(&lab.archive.last_run(&scenario)?);
    }
    Ok(policy.only(strictness.metrics.clone()).threshold_pct(strictness.threshold))
}

/// Prints and, if asked for, writes a comparison.
fn show(
    lab: &Lab,
    comparison: &Comparison,
    decision: Option<&Decision>,
    strictness: &Strictness,
    environment: Option<Environment>,
) -> Result<(), LabError> {
    print_comparison(comparison);
    if let Some(decision) = decision {
        print_decision(decision);
    }
    if let Some(out) = &strictness.out {
        let mut report = Report::new(Vec::new(), &lab.objectives, vec![comparison.clone()])
            .with_decision(decision.cloned());
        report.environment = environment;
        say(format_args!("report: {}", report.write(out)?.html.display()));
    }
    Ok(())
}

/// Two sets of results. Exit code 4 if a promised metric is certainly worse.
pub(super) fn compare(lab: &Lab, args: &CompareArgs) -> LabResult {
    let baseline = resolve(&args.baseline, &lab.archive)?;
    let current = resolve(&args.current, &lab.archive)?;
    let comparison = compare_sides(&baseline, &current, &policy(lab, &args.strictness)?, false);
    show(lab, &comparison, None, &args.strictness, None)?;
    let is_worse = comparison.regressions().next().is_some();
    Ok(if is_worse { Code::Regression } else { Code::Pass })
}

/// Results against a baseline, with a decision.
pub(super) fn gate(lab: &Lab, args: &GateArgs) -> LabResult {
    let missing = || {
        LabError::usage(format!("there is no baseline `{}`; see `paddock lab baseline list`", args.baseline))
    };
    let mut baseline = lab.archive.baseline(&args.baseline)?.ok_or_else(missing)?;
    let current = match &args.current {
        Some(name) => {
            let current = resolve(name, &lab.archive)?;
            baseline.measurements.retain_scenarios(&current.scenarios());
            current
        }
        None => runs_since(lab, &baseline)?,
    };
    let decision = if current.is_empty() && current.invalid.is_empty() {
        let since = baseline.created_at.strftime("%Y-%m-%d %H:%M UTC");
        let reason = format!(
            "none of the baseline's scenarios has run since it was saved ({since}); run `paddock lab run --tier regression`"
        );
        let decision = Decision::Undecided { reasons: vec![reason] };
        print_decision(&decision);
        decision
    } else {
        let asked = policy(lab, &args.strictness)?;
        let comparison = compare_sides(&baseline.measurements, &current, &asked, false);
        let decision = gating::decide(&comparison, args.any_machine);
        show(lab, &comparison, Some(&decision), &args.strictness, None)?;
        decision
    };
    Ok(Code::of_decision(&decision))
}

/// The runs of every scenario that the baseline knows, since it was saved: older ones may be those it was made of.
pub(super) fn runs_since(lab: &Lab, baseline: &Baseline) -> Result<Measurements, LabError> {
    let mut current = Measurements::new("the runs since then");
    let known = lab.archive.scenarios()?;
    for name in baseline.measurements.scenarios() {
        if known.iter().any(|known| known == name) {
            current.extend(runs_after(name, baseline.created_at, &lab.archive)?);
        }
    }
    Ok(current)
}

pub(super) fn print_decision(decision: &Decision) {
    match decision {
        Decision::Open => say(format_args!("gate: open, nothing promised became certainly worse")),
        Decision::Regressed { metrics } => {
            say(format_args!("gate: closed, certainly worse: {}", metrics.join(", ")));
        }
        Decision::Undecided { reasons } => say(format_args!("gate: undecided: {}", reasons.join("; "))),
    }
}

/// Two commands in turns.
pub(super) async fn ab(lab: &Lab, args: AbArgs) -> LabResult {
    lab.stop_on_signals()?;
    let mut trial = Trial {
        a: Side::new(&args.a, &args.command)?,
        b: Side::new(&args.b, &args.command)?,
        pairs: args.pairs,
        warm_ups: args.warm_ups,
        timeout: args.timeout.get(),
        dir: PathBuf::from("."),
        figures: args.figures.iter().cloned().collect(),
    };
    if args.commits {
        for side in [&mut trial.a, &mut trial.b] {
            let commit = side.label.clone();
            let dir = prepare_commit(lab, &commit, args.build.as_deref()).await?;
            *side = Side::new(&dir.to_string_lossy(), &args.command)?;
            side.label = commit;
        }
    }
    let environment = super::measure::environment(lab).await?;
    let mut last = 0;
    let result = trial
        .run(&lab.stop, &mut |done, pairs| {
            // A line every tenth: enough to see that it goes on, in a terminal and in a log.
            if done * 10 / pairs.max(1) > last {
                last = done * 10 / pairs.max(1);
                complain(format_args!("ab: {done} of {pairs} pairs"));
            }
        })
        .await?;
    let mut strictness = args.strictness;
    if strictness.metrics.is_empty() {
        // A figure that was asked for is what the trial is about; otherwise it is the time.
        strictness.metrics = args.figures.iter().map(|(name, _)| name.clone()).collect();
        if strictness.metrics.is_empty() {
            strictness.metrics.push("wall_s".to_owned());
        }
    }
    let asked = policy(lab, &strictness)?;
    let mut comparison = compare_sides(&result.a, &result.b, &asked, true);
    let mut decision = gating::decide(&comparison, true);
    if let (Some(disturbance), false) = (&result.disturbance, args.any_load) {
        let reason = format!("{disturbance}; try again, or say `--any-load`");
        decision = Decision::Undecided { reasons: vec![reason] };
    }
    // The other metrics are shown too, and decide nothing.
    let all =
        compare_sides(&result.a, &result.b, &Policy::default().threshold_pct(strictness.threshold), true);
    let is_new = |metric: &str| comparison.changes.iter().all(|change| change.metric != metric);
    let others: Vec<_> = all.changes.into_iter().filter(|change| is_new(&change.metric)).collect();
    comparison.changes.extend(others);
    comparison.notes.extend(result.partial.iter().cloned());
    comparison.notes.extend(result.disturbance.iter().cloned());
    comparison.notes.extend(busy_note(&environment));
    show(lab, &comparison, Some(&decision), &strictness, Some(environment))?;
    let code = Code::of_decision(&decision);
    Ok(if result.partial.is_some() { Code::Invalid } else { code })
}

/// Turns meet a busy machine alike, but the interval gets wider.
fn busy_note(environment: &Environment) -> Option<String> {
    const BUSY_RATIO: f64 = 0.2;
    let ratio = environment.pressure.cpu_ratio;
    (ratio > BUSY_RATIO).then(|| {
        format!(
            "the machine was busy before the trial: tasks waited for a CPU {:.0} % of the time",
            ratio * 100.0
        )
    })
}

/// A directory with the commit, built if asked for.
async fn prepare_commit(lab: &Lab, commit: &str, build: Option<&str>) -> Result<PathBuf, LabError> {
    let dir = ab::check_out(Path::new("."), commit, &lab.archive.dir().join("commits")).await?;
    let Some(build) = build else { return Ok(dir) };
    complain(format_args!("ab: building {commit} in {}", dir.display()));
    let command = Side::new(build, &[])?.command;
    let program = command.first().cloned().unwrap_or_default();
    let building = tokio::process::Command::new(&program)
        .args(command.iter().skip(1))
        .current_dir(&dir)
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .status();
    let status = tokio::select! {
        status = tokio::time::timeout(BUILD_TIMEOUT, building) => status,
        () = lab.stop.cancelled() => return Err(LabError { code: Code::Error, message: "interrupted during a build".to_owned() }),
    };
    let failed = |reason: String| LabError {
        code: Code::Error,
        message: format!("`{build}` in {} {reason}", dir.display()),
    };
    let status =
        status.map_err(|_| failed(format!("took longer than {} min", BUILD_TIMEOUT.as_secs() / 60)))?;
    let status = status.map_err(|error| failed(format!("cannot be started: {error}")))?;
    if status.success() { Ok(dir) } else { Err(failed(format!("failed: {status}"))) }
}

/// Named measurements.
pub(super) fn baseline(lab: &Lab, command: &BaselineCommand) -> LabResult {
    match command {
        BaselineCommand::Save { name, subjects } => {
            let subjects = if subjects.is_empty() { lab.archive.scenarios()? } else { subjects.clone() };
            if subjects.is_empty() {
                return Err(LabError::usage(
                    "there is no run to keep; `paddock lab run --tier regression` makes some",
                ));
            }
            let mut measurements = resolve(&subjects.join(","), &lab.archive)?;
            name.clone_into(&mut measurements.label);
            for left_out in &measurements.invalid {
                complain(format_args!("left out as invalid: {left_out}"));
            }
            let repeats =
                measurements.values.values().map(|values| values.values.len()).max().unwrap_or_default();
            let path = lab.archive.save_baseline(name, measurements)?;
            say(format_args!("baseline `{name}` with up to {repeats} repeats: {}", path.display()));
        }
        BaselineCommand::List => {
            let header = ["name", "saved", "commit", "metrics", "repeats"].map(str::to_owned).to_vec();
            let mut rows = vec![header];
            for baseline in lab.archive.baselines()? {
                let measurements = &baseline.measurements;
                let repeats = measurements.values.values().map(|values| values.values.len()).max();
                rows.push(vec![
                    baseline.name.clone(),
                    baseline.created_at.strftime("%Y-%m-%d %H:%M").to_string(),
                    measurements.commit().unwrap_or("–").chars().take(12).collect(),
                    measurements.values.len().to_string(),
                    repeats.unwrap_or_default().to_string(),
                ]);
            }
            table(&rows);
        }
        BaselineCommand::Remove { name } => {
            if !lab.archive.remove_baseline(name)? {
                return Err(LabError::usage(format!("there is no baseline `{name}`")));
            }
            say(format_args!("baseline `{name}` removed"));
        }
    }
    Ok(Code::Pass)
}
