//! Commands that measure: `run`, `selftest`, and the programs that the self-test aims at.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use paddock_lab::{
    archive::write_json,
    benchmarks_page::SelfTestRecord,
    compare::{Policy, compare},
    fixture, gate,
    measurements::Measurements,
    progress::Progress,
    record::{Environment, Form, RunRecord},
    report::Report,
    resources::describe,
    run::{RunError, RunOptions},
    scenario::Scenario,
    selftest::{self, FreezePlan, SelfTest},
    tier::{Candidate, Plan, QUICK_MAX, Tier},
    verdict::judge,
};
use paddock_platform::problem::error_chain;

use super::{
    Code, Lab, LabError, LabResult,
    args::{FixtureCommand, RegistryEntriesArgs, RunArgs, SelftestArgs},
    terminal::{complain, level, print_comparison, print_verdict, say, table},
};

/// Runs scenarios, keeps and judges them, and writes their report.
pub(super) async fn run(lab: &Lab, args: RunArgs) -> LabResult {
    let scenarios = chosen(lab, &args.names)?;
    if scenarios.is_empty() {
        return Err(LabError::usage("there is no scenario to run"));
    }
    let baseline = match &args.baseline {
        Some(name) => {
            let missing =
                || LabError::usage(format!("there is no baseline `{name}`; see `paddock lab baseline list`"));
            Some(lab.archive.baseline(name)?.ok_or_else(missing)?)
        }
        None => None,
    };
    let (tier, plan) = plan(&args, &scenarios);
    announce(&plan);
    lab.stop_on_signals()?;
    let mut session = Session::new(lab, &args, tier);
    session.scenarios = plan.scenarios.clone();
    for repeat in 0..plan.repeats {
        for name in &plan.scenarios {
            let Some(scenario) = scenarios.iter().find(|scenario| scenario.file.name == *name) else {
                continue;
            };
            session.measure(scenario, plan.form, repeat, plan.repeats).await?;
        }
    }
    if tier == Some(Tier::Full) && !lab.stop.is_cancelled() {
        let args = SelftestArgs { full: true, no_rivals: false, json: false };
        session.code = session.code.or(selftest(lab, &args).await?);
    }
    Ok(session.finish(baseline.map(|baseline| baseline.measurements)))
}

/// The scenarios that were named, or all.
fn chosen(lab: &Lab, names: &[String]) -> Result<Vec<Scenario>, LabError> {
    let (files, names): (Vec<&String>, Vec<&String>) = names
        .iter()
        .partition(|name| Path::new(name).extension().is_some_and(|extension| extension == "toml"));
    let mut chosen = Vec::new();
    for file in &files {
        chosen.push(Scenario::read(Path::new(file))?);
    }
    if !names.is_empty() || files.is_empty() {
        let mut all = lab.scenarios()?;
        for name in &names {
            if !all.iter().any(|scenario| scenario.file.name == **name) {
                let known = all.iter().map(|scenario| scenario.file.name.as_str());
                let nearest = paddock_platform::config::nearest(name, known.clone());
                let known: Vec<&str> = known.collect();
                let hint = nearest.map_or_else(
                    || format!("there are {}", known.join(", ")),
                    |near| format!("did you mean `{near}`?"),
                );
                return Err(LabError::usage(format!("there is no scenario `{name}`; {hint}")));
            }
        }
        all.retain(|scenario| names.is_empty() || names.iter().any(|name| **name == scenario.file.name));
        chosen.append(&mut all);
    }
    Ok(chosen)
}

/// What to run how often. Without any flag, everything is run as `--tier quick`.
fn plan(args: &RunArgs, scenarios: &[Scenario]) -> (Option<Tier>, Plan) {
    let candidates: Vec<Candidate> = scenarios
        .iter()
        .map(|scenario| Candidate {
            name: scenario.file.name.clone(),
            short: scenario.duration(Form::Short),
            full: scenario.duration(Form::Full),
            builds: scenario.builds(),
        })
        .collect();
    let everything = args.names.is_empty() && args.repeat == 1 && Form::from(args.form) == Form::Short;
    let tier = args.tier.map(Tier::from).or(everything.then_some(Tier::Quick));
    let plan = if let Some(tier) = tier {
        tier.plan(&candidates)
    } else {
        let form = Form::from(args.form);
        let tier = if form == Form::Full { Tier::Full } else { Tier::Regression };
        let repeats = usize::from(args.repeat);
        Plan { form, repeats, ..tier.plan(&candidates) }
    };
    (tier, plan)
}

fn announce(plan: &Plan) {
    let names = plan.scenarios.join(", ");
    complain(format_args!("lab: {} form, {} × {names}", plan.form, plan.repeats));
    if !plan.left_out.is_empty() {
        complain(format_args!(
            "lab: left out, as they build or do not fit into the time: {}",
            plan.left_out.join(", ")
        ));
    }
}

/// The runs of one `paddock lab run`.
struct Session<'a> {
    lab: &'a Lab,
    options: RunOptions,
    out: PathBuf,
    /// When nothing further may begin.
    deadline: Option<Instant>,
    /// What was planned: what a baseline has of other scenarios does not count.
    scenarios: Vec<String>,
    records: Vec<RunRecord>,
    code: Code,
}

impl<'a> Session<'a> {
    fn new(lab: &'a Lab, args: &RunArgs, tier: Option<Tier>) -> Self {
        let mut options = RunOptions::new(args.form.into());
        options.variables = args.set.iter().cloned().collect::<BTreeMap<_, _>>();
        if !options.variables.contains_key("paddock")
            && let Ok(own) = std::env::current_exe()
            && std::env::var_os("PADDOCK_BIN").is_none()
        {
            // Unless told otherwise, the binary that measures is the binary that is measured.
            options.variables.insert("paddock".to_owned(), own.to_string_lossy().into_owned());
        }
        options.allow_target = args.allow_target;
        options.seed = args.seed;
        lab.archive.dir().clone_into(&mut options.dir);
        let out = args.out.clone().unwrap_or_else(|| lab.archive.dir().join("report"));
        let deadline = (tier == Some(Tier::Quick)).then(|| Instant::now() + QUICK_MAX);
        Self { lab, options, out, deadline, scenarios: Vec::new(), records: Vec::new(), code: Code::Pass }
    }

    /// One run of one scenario: measured, kept, and its verdict printed. Only what stops every further run is an error.
    async fn measure(
        &mut self,
        scenario: &Scenario,
        form: Form,
        repeat: usize,
        repeats: usize,
    ) -> Result<(), LabError> {
        let name = &scenario.file.name;
        if self.lab.stop.is_cancelled() {
            complain(format_args!("lab: {name} left out: interrupted"));
            self.code = self.code.or(Code::Invalid);
            return Ok(());
        }
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            complain(format_args!(
                "lab: {name} left out: the tier's {} minutes are over",
                QUICK_MAX.as_secs() / 60
            ));
            self.code = self.code.or(Code::Invalid);
            return Ok(());
        }
        let title = if repeats > 1 { format!("{name} {}/{repeats}", repeat + 1) } else { name.clone() };
        let mut options = self.options.clone();
        options.form = form;
        options.variables.retain(|variable, _| scenario.file.variables.contains_key(variable));
        options.command = command(name, form, &self.options.variables, &options.variables);
        if let Err(error) = std::fs::create_dir_all(&options.dir) {
            complain(format_args!("paddock: cannot make `{}`: {error}", options.dir.display()));
            self.code = self.code.or(Code::Error);
            options.dir = std::env::temp_dir();
        }
        let record = match self.execute(scenario, &options, Box::new(Progress::new(title))).await {
            Ok(record) => record,
            Err(
                error @ (RunError::Scenario(_)
                | RunError::ForeignTarget { .. }
                | RunError::UnknownHost { .. }),
            ) => {
                return Err(LabError::usage(error_chain(&error)));
            }
            Err(error) => {
                // The other scenarios may still be measured.
                complain(format_args!("paddock: {name}: {}", error_chain(&error)));
                self.code = self.code.or(Code::Error);
                return Ok(());
            }
        };
        let verdict = judge(&record, &self.lab.objectives);
        print_verdict(name, &verdict);
        self.code = self.code.or(Code::of_level(verdict.level)).or(keep(self.lab, &record));
        self.records.push(record);
        Ok(())
    }

    /// Carries a scenario out; when the tier's time is over meanwhile, it ends early.
    async fn execute(
        &self,
        scenario: &Scenario,
        options: &RunOptions,
        observer: Box<Progress>,
    ) -> Result<RunRecord, RunError> {
        let stop = self.lab.stop.child_token();
        let executed = paddock_lab::run::execute(scenario, options, observer, &self.lab.tasks, &stop);
        let mut executed = Box::pin(executed);
        let Some(deadline) = self.deadline else { return executed.await };
        tokio::select! {
            executed = &mut executed => return executed,
            () = tokio::time::sleep_until(deadline.into()) => {}
        }
        let minutes = QUICK_MAX.as_secs() / 60;
        complain(format_args!(
            "lab: the tier's {minutes} minutes are over, {} ends early",
            scenario.file.name
        ));
        stop.cancel();
        executed.await
    }

    /// The gate, and the report of the last valid run of each scenario.
    fn finish(self, baseline: Option<Measurements>) -> Code {
        let mut code = self.code;
        let mut comparisons = Vec::new();
        let mut decided = None;
        if let Some(mut baseline) = baseline {
            baseline.retain_scenarios(&self.scenarios.iter().map(String::as_str).collect());
            let current = Measurements::of_runs("this run", &self.records);
            let policy = Policy::of_objectives(&self.lab.objectives).and_thresholds_of(&self.records);
            let comparison = compare(&baseline, &current, &policy, false);
            print_comparison(&comparison);
            let decision = gate::decide(&comparison, false);
            super::judge::print_decision(&decision);
            code = code.or(Code::of_decision(&decision));
            comparisons.push(comparison);
            decided = Some(decision);
        }
        let mut shown: BTreeMap<String, RunRecord> = BTreeMap::new();
        for record in self.records {
            let better = record.validity.is_valid() && record.partial.is_none();
            if better || !shown.contains_key(&record.scenario) {
                shown.insert(record.scenario.clone(), record);
            }
        }
        if !shown.is_empty() || !comparisons.is_empty() {
            let report = Report::new(shown.into_values().collect(), &self.lab.objectives, comparisons)
                .with_decision(decided);
            code = code.or(write_report(&report, &self.out));
        }
        code
    }
}

/// Where results go when they cannot go where they belong, because the disk is full for example.
fn elsewhere() -> PathBuf {
    std::env::temp_dir().join(format!("paddock-lab-{}", std::process::id()))
}

/// Keeps a run in the archive, or elsewhere: what was measured is not lost, and what is left to measure is measured.
fn keep(lab: &Lab, record: &RunRecord) -> Code {
    let Err(error) = lab.archive.save(record) else { return Code::Pass };
    complain(format_args!("paddock: {}", LabError::from(error)));
    let path = elsewhere().join(format!("{}-{}.json", record.scenario, record.id));
    match write_json(&path, record) {
        Ok(()) => complain(format_args!("paddock: the run is kept in `{}` instead", path.display())),
        Err(error) => complain(format_args!("paddock: the run is not kept: {}", LabError::from(error))),
    }
    Code::Error
}

/// Writes the report where it belongs, or elsewhere.
fn write_report(report: &Report, out: &Path) -> Code {
    match report.write(out) {
        Ok(files) => {
            say(format_args!("report: {}", files.html.display()));
            return Code::Pass;
        }
        Err(error) => complain(format_args!("paddock: {}", LabError::from(error))),
    }
    match report.write(&elsewhere()) {
        Ok(files) => say(format_args!("report: {}", files.html.display())),
        Err(error) => complain(format_args!("paddock: there is no report: {}", LabError::from(error))),
    }
    Code::Error
}

/// The command line that repeats a run.
fn command(
    name: &str,
    form: Form,
    asked: &BTreeMap<String, String>,
    used: &BTreeMap<String, String>,
) -> Vec<String> {
    let mut command: Vec<String> = ["paddock", "lab", "run", name].map(str::to_owned).to_vec();
    if form == Form::Full {
        command.extend(["--form".to_owned(), "full".to_owned()]);
    }
    for (variable, value) in
        asked.iter().filter(|(variable, _)| used.contains_key(*variable) && *variable != "paddock")
    {
        command.extend(["--set".to_owned(), format!("{variable}={value}")]);
    }
    command
}

/// Checks the lab itself, keeps what came of it, and prints it.
pub(super) async fn selftest(lab: &Lab, args: &SelftestArgs) -> LabResult {
    let own = std::env::current_exe()?.to_string_lossy().into_owned();
    let fixture = |name: &str| [&own, "lab", "fixture", name].map(str::to_owned).to_vec();
    let test = SelfTest {
        server: fixture("serve"),
        burner: fixture("burn"),
        freeze: FreezePlan::default(),
        rivals: !args.no_rivals,
        full: args.full,
    };
    lab.stop_on_signals()?;
    let environment = environment(lab).await?;
    let started = Instant::now();
    let cases = test
        .run(&lab.stop, |case| {
            if !args.json {
                say(format_args!("{}: {}", case.name, level(case.level)));
                table(
                    &case
                        .figures
                        .iter()
                        .map(|(name, value)| vec![format!("  {name}"), value.clone()])
                        .collect::<Vec<_>>(),
                );
                if let Some(note) = &case.note {
                    say(format_args!("  ({note})"));
                }
            }
        })
        .await;
    let form = if args.full { Form::Full } else { Form::Short };
    let command = ["paddock", "lab", "selftest"].into_iter().chain(args.full.then_some("--full"));
    let command = command.map(str::to_owned).collect();
    let mut record = selftest::record(&cases, form, environment.clone(), command, started.elapsed());
    if lab.stop.is_cancelled() {
        record.partial = Some("interrupted".to_owned());
    }
    let verdict = judge(&record, &lab.objectives);
    if args.json {
        say(format_args!("{}", serde_json::to_string_pretty(&cases)?));
    } else {
        print_verdict("promises", &verdict);
    }
    let mut code = Code::of_level(selftest::level(&cases)).or(Code::of_level(verdict.level));
    code = code.or(keep(lab, &record));
    // The page shows the last self-test: one that was interrupted does not take the place of a whole one.
    if record.partial.is_none() {
        lab.archive.save_selftest(&SelfTestRecord { created_at: Timestamp::now(), environment, cases })?;
    }
    Ok(code)
}

/// This machine, and the commit of the working directory.
pub(super) async fn environment(lab: &Lab) -> Result<Environment, LabError> {
    let dir = lab.archive.dir().to_owned();
    std::fs::create_dir_all(&dir)?;
    let described = tokio::task::spawn_blocking(move || {
        let mut environment = describe(&dir);
        (environment.commit, environment.modified) = paddock_lab::resources::commit(Path::new("."));
        environment
    });
    described.await.map_err(|error| LabError::of(&error))
}

/// Programs with known behaviour.
pub(super) async fn fixture(command: FixtureCommand) -> LabResult {
    match command {
        FixtureCommand::Serve { listen } => {
            let address = listen.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)));
            let listener = tokio::net::TcpListener::bind(address).await?;
            say(format_args!("listening on {}", listener.local_addr()?));
            let ended = async {
                if listen.is_some() {
                    std::future::pending::<()>().await;
                }
                // The pipe to whoever started it.
                let copied = || std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
                let _ = tokio::task::spawn_blocking(copied).await;
            };
            fixture::serve(listener, ended).await;
        }
        FixtureCommand::Reload { program } => {
            let reloaded = fixture::reload(&program).await.map_err(|error| LabError::of(&error))?;
            say(format_args!("{}", serde_json::to_string(&reloaded)?));
        }
        FixtureCommand::Fleet { case, server, site, count } => {
            let figures = fixture::fleet(&server, &site, case, usize::from(count)).await;
            say(format_args!("{}", serde_json::to_string(&figures.map_err(|error| LabError::of(&error))?)?));
        }
        FixtureCommand::FleetOverhead { server, site, devtools, count } => {
            let figures = fixture::overhead(&server, &site, &devtools, usize::from(count)).await;
            say(format_args!("{}", serde_json::to_string(&figures.map_err(|error| LabError::of(&error))?)?));
        }
        FixtureCommand::JobsChaos { program, jobs, kills, postgres } => {
            let options = fixture::Chaos { program, jobs, kills, postgres };
            let figures = Box::pin(fixture::chaos(&options)).await.map_err(|error| LabError::of(&error))?;
            say(format_args!("{}", serde_json::to_string(&figures)?));
        }
        FixtureCommand::JobsRecovery { program, running, queued, lease, postgres } => {
            let options = fixture::Recovery { program, running, queued, lease_s: lease, postgres };
            let figures = Box::pin(fixture::recovery(&options)).await;
            say(format_args!("{}", serde_json::to_string(&figures.map_err(|error| LabError::of(&error))?)?));
        }
        FixtureCommand::JobsBacklog { program, jobs, workers } => {
            let options = fixture::Backlog { program, jobs, workers };
            let figures = Box::pin(fixture::backlog(&options)).await;
            say(format_args!("{}", serde_json::to_string(&figures.map_err(|error| LabError::of(&error))?)?));
        }
        FixtureCommand::JobsWorker { server, name } => {
            let base = server.as_str().trim_end_matches('/');
            let worked = fixture::work(base, &name, |line| say(format_args!("{line}"))).await;
            worked.map_err(|error| LabError::of(&error))?;
        }
        FixtureCommand::RegistryEntries(args) => {
            let written = tokio::task::spawn_blocking(move || fixture::write_entries(&args.input())).await;
            written.map_err(|error| LabError::of(&error))?.map_err(|error| LabError::of(&error))?;
        }
        FixtureCommand::Registry { server, entries } => {
            let figures = fixture::registry(&server, &entries.input()).await;
            say(format_args!("{}", serde_json::to_string(&figures.map_err(|error| LabError::of(&error))?)?));
        }
        FixtureCommand::Burn { rounds } => {
            let burned = tokio::task::spawn_blocking(move || fixture::burn(rounds)).await;
            let burned = burned.map_err(|error| LabError::of(&error))?;
            let figures = serde_json::json!({
                "cpu_ms": burned.cpu_ms,
                "wall_ms": burned.wall_ms,
                "outcome": burned.outcome.to_string(),
            });
            say(format_args!("{figures}"));
        }
    }
    Ok(Code::Pass)
}

impl RegistryEntriesArgs {
    fn input(self) -> fixture::RegistryInput {
        // A list that was named by the environment and is not there is no list.
        let from = self.from.filter(|file| !file.as_os_str().is_empty());
        fixture::RegistryInput { file: self.file, count: self.count, from, seed: self.seed }
    }
}

/// Nobody waits longer for a build of a commit.
pub(super) const BUILD_TIMEOUT: Duration = Duration::from_hours(1);
