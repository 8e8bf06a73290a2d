//! Carries out a scenario: set-up, load, tear-down, and the record of it.
//!
//! Whatever happens after set-up began, what it started is stopped again, by process group; whatever was measured until
//! then is in the record. A run that ends early says why in [`RunRecord::partial`]; a run that something disturbed says
//! what in [`RunRecord::validity`].

mod fixture;
mod last;
mod metrics;
mod process;
mod ready;
mod server;
mod site;
mod validity;

use std::{
    collections::BTreeMap,
    io,
    net::IpAddr,
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use paddock_platform::{task::Tasks, units::HumanDuration};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::fixture::Fixtures;
pub use self::process::SetupError;
use crate::{
    document::{self, DocumentError},
    driver::{BuildContext, BuildError, Target, connect},
    engine::{Load, LoadError, Measured, Observer, Step, generate},
    record::{Environment, Form, GENERATOR, Interval, RunRecord, SCHEMA_VERSION, Validity},
    resources::{
        Allowance, Sampler, Samples, Watched, config_hash, describe, growth, listener,
        tree::{Snapshot, Tree},
    },
    scenario::{self, Placed, Scenario},
    threshold::Threshold,
    variables::Variables,
};

/// Usual time between two samples of resources.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);
/// How long names of hosts may take to resolve.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

/// How to carry out a scenario.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// Which load.
    pub form: Form,
    /// Values in the place of the scenario's own, by variable.
    pub variables: BTreeMap<String, String>,
    /// Whether targets beyond this machine may be loaded.
    pub allow_target: bool,
    /// What random numbers follow from, in the place of the scenario's own seed.
    pub seed: Option<u64>,
    /// The command line that repeats the run.
    pub command: Vec<String>,
    /// Directory for what the run writes; its disk is measured.
    pub dir: PathBuf,
}

impl RunOptions {
    /// The scenario as it stands.
    pub fn new(form: Form) -> Self {
        Self {
            form,
            variables: BTreeMap::new(),
            allow_target: false,
            seed: None,
            command: std::env::args().collect(),
            dir: std::env::temp_dir(),
        }
    }
}

/// A run that did not come to measure anything.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The scenario does not fit the variables that were given.
    #[error(transparent)]
    Scenario(#[from] DocumentError),
    /// Something could not be prepared; what was prepared before it is stopped again.
    #[error("set-up failed, nothing was measured")]
    Setup(#[from] SetupError),
    /// A step cannot be carried out with what set-up provided.
    #[error("step `{step}`")]
    Step {
        /// Its name.
        step: String,
        /// Why not.
        source: BuildError,
    },
    /// The load would go to another machine.
    #[error(
        "`{host}` is not this machine ({address}); a load may harm it or be taken for an attack. If you may test it, \
         say so with `--allow-target`"
    )]
    ForeignTarget {
        /// Name or address.
        host: String,
        /// What it resolves to.
        address: IpAddr,
    },
    /// The name of a target does not resolve.
    #[error("`{host}` cannot be found: {reason}")]
    UnknownHost {
        /// Name.
        host: String,
        /// Why not.
        reason: String,
    },
    /// The load cannot be offered.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A thread cannot be started, or has panicked.
    #[error("the lab failed in itself")]
    Thread {
        /// How.
        source: io::Error,
    },
}

/// Carries out a scenario. Cancelling `stop` ends it early and keeps what was measured until then.
pub async fn execute(
    scenario: &Scenario,
    options: &RunOptions,
    observer: Box<dyn Observer>,
    tasks: &Tasks,
    stop: &CancellationToken,
) -> Result<RunRecord, RunError> {
    let invalid =
        |Placed { offset, message }| document::invalid(&scenario.path, &scenario.text, offset, message);
    let mut variables =
        scenario.variables(&options.variables, scenario::Environment::Read).map_err(invalid)?;
    let mut environment = environment(scenario, options).await?;
    environment.config_hash = Some(hash(scenario, &variables, |_| true));
    let scenario_hash = hash(scenario, &variables, |name| name != SUBJECT_VARIABLE);
    let mut load = scenario.load(options.form).map_err(|message| invalid(Placed { offset: 0, message }))?;
    load.seed = options.seed.unwrap_or(load.seed);
    variables.seed(load.seed);

    let mut fixtures = Fixtures::prepare(scenario, &mut variables, options.allow_target, tasks, stop).await?;
    let result = measure(scenario, options, load, variables, &fixtures, observer, tasks, stop).await;
    let died = fixtures.ended_servers();
    let torn_down = fixtures.tear_down(scenario).await;
    let (mut measured, samples) = result?;
    for (name, value) in fixtures.take_figures() {
        measured.figures.entry(name).or_default().push(value);
    }
    let mut record = assemble(scenario, options, environment, measured, &samples, &fixtures);
    record.scenario_hash = Some(scenario_hash);
    let mut partial = died;
    if let Err(error) = torn_down {
        tracing::warn!(error = %error, "tear-down failed");
        if matches!(error, SetupError::Measure { .. }) {
            partial.push(error.to_string());
        }
    }
    if !partial.is_empty() {
        let partial = partial.join(", ");
        record.partial = Some(match record.partial {
            Some(reason) => format!("{partial}; {reason}"),
            None => partial,
        });
    }
    Ok(record)
}

/// Describes the machine, off the event loop: it takes a second.
async fn environment(scenario: &Scenario, options: &RunOptions) -> Result<Environment, RunError> {
    let dir = options.dir.clone();
    let described = tokio::task::spawn_blocking(move || describe(&dir)).await;
    let mut environment = described.map_err(|source| RunError::Thread { source: source.into() })?;
    // The commit that is measured is the one the scenario belongs to, not the one the results are written beside.
    let here = scenario.dir().to_owned();
    let commit = tokio::task::spawn_blocking(move || crate::resources::commit(&here)).await;
    (environment.commit, environment.modified) = commit.unwrap_or_default();
    Ok(environment)
}

/// The variable that names the binary to be measured: what may differ between two sides of a comparison.
const SUBJECT_VARIABLE: &str = "paddock";

/// Hash of the scenario, its variables as they were resolved before set-up, and the values read from its data files.
fn hash(scenario: &Scenario, variables: &Variables, counts: impl Fn(&str) -> bool) -> String {
    let texts = variables.texts(counts);
    config_hash([scenario.text.as_str()].into_iter().chain(texts.iter().map(String::as_str)))
}

#[expect(
    clippy::too_many_arguments,
    reason = "the one place where everything that set-up made comes together"
)]
async fn measure(
    scenario: &Scenario,
    options: &RunOptions,
    mut load: Load,
    variables: Variables,
    fixtures: &Fixtures,
    observer: Box<dyn Observer>,
    tasks: &Tasks,
    stop: &CancellationToken,
) -> Result<(Measured, Samples), RunError> {
    let context = BuildContext {
        variables: Arc::new(variables),
        seats: load.seats(),
        tasks: tasks.clone(),
        connections: connect::Pools::default(),
        dir: scenario.dir().to_owned(),
    };
    load.variables = Arc::clone(&context.variables);
    load.steps = steps(scenario, &context)?;
    let targets: Vec<Target> = load.steps.iter().flat_map(|step| step.driver.targets()).collect();
    if !options.allow_target {
        for target in &targets {
            refuse_foreign(target).await?;
        }
    }
    let every = scenario.file.resources.every.map_or(SAMPLE_EVERY, HumanDuration::get);
    let origin = Arc::new(OnceLock::new());
    let sampler = Sampler::start(watched(fixtures, &targets), every, Arc::clone(&origin))
        .map_err(|source| RunError::Thread { source })?;
    let stop = stop.clone();
    let measured = tokio::task::spawn_blocking(move || {
        let mut observer = Watch { inner: observer, origin };
        generate(load, &mut observer, &stop)
    })
    .await;
    let samples = tokio::task::spawn_blocking(move || sampler.finish()).await.unwrap_or_default();
    let measured = measured.map_err(|source| RunError::Thread { source: source.into() })??;
    Ok((measured, samples))
}

/// Tells the sampler when the run began.
struct Watch {
    inner: Box<dyn Observer>,
    origin: Arc<OnceLock<Instant>>,
}

impl Observer for Watch {
    fn started(&mut self, at: Instant) {
        // Set once: a run begins once.
        let _ = self.origin.set(at);
        self.inner.started(at);
    }

    fn interval(&mut self, interval: &Interval) {
        self.inner.interval(interval);
    }

    fn progress(&mut self, elapsed: Duration, total: Option<Duration>) {
        self.inner.progress(elapsed, total);
    }
}

fn steps(scenario: &Scenario, context: &BuildContext) -> Result<Vec<Step>, RunError> {
    let mut steps = Vec::with_capacity(scenario.file.steps.len());
    for file in scenario.file.steps.iter().map(toml::Spanned::get_ref) {
        let options = file.driver.get_ref();
        let driver =
            options.build(context).map_err(|source| RunError::Step { step: file.name.clone(), source })?;
        steps.push(Step {
            name: file.name.clone(),
            driver_name: options.name(),
            weight: file.weight,
            timeout: file.timeout.get(),
            checks: file.checks.iter().map(scenario::CheckFile::to_check).collect(),
            driver,
        });
    }
    Ok(steps)
}

/// A load on somebody else's machine has to be asked for: every address of the target must be a loopback address.
async fn refuse_foreign(target: &Target) -> Result<(), RunError> {
    let host = target.host.clone();
    match foreign_address(target).await {
        Ok(None) => Ok(()),
        Ok(Some(address)) => Err(RunError::ForeignTarget { host, address }),
        Err(reason) => Err(RunError::UnknownHost { host, reason }),
    }
}

/// The first address of the target that is not a loopback address; an error says why it has none at all.
async fn foreign_address(target: &Target) -> Result<Option<IpAddr>, String> {
    let lookup = tokio::net::lookup_host((target.host.as_str(), target.port));
    let mut addresses = tokio::time::timeout(RESOLVE_TIMEOUT, lookup)
        .await
        .map_err(|_| "the name server does not answer".to_owned())?
        .map_err(|error| error.to_string())?
        .map(|address| address.ip().to_canonical());
    Ok(addresses.find(|address| !address.is_loopback()))
}

/// Whether a process is another or descends from it.
fn descends(root: i32, pid: i32) -> bool {
    Tree::new(root).members(&Snapshot::take()).iter().any(|stat| stat.id.pid == pid)
}

/// The trees to watch: what set-up started, who else listens where the load goes, and the lab itself.
fn watched(fixtures: &Fixtures, targets: &[Target]) -> Vec<Watched> {
    let mut watched = fixtures.watched();
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    let mut ports: Vec<u16> = targets.iter().map(|target| target.port).collect();
    ports.sort_unstable();
    ports.dedup();
    for port in ports {
        let Some(pid) = listener(port) else { continue };
        let known = |tree: &Watched| tree.pid == pid || descends(tree.pid, pid);
        if pid != own && !watched.iter().any(known) {
            watched.push(Watched { name: format!("port-{port}"), pid });
        }
    }
    watched.push(Watched { name: GENERATOR.to_owned(), pid: own });
    watched
}

fn assemble(
    scenario: &Scenario,
    options: &RunOptions,
    environment: Environment,
    measured: Measured,
    samples: &Samples,
    fixtures: &Fixtures,
) -> RunRecord {
    let thresholds: Vec<Threshold> =
        scenario.file.thresholds.iter().map(|threshold| threshold.get_ref().clone()).collect();
    let mut record = RunRecord {
        schema_version: SCHEMA_VERSION,
        id: Uuid::now_v7(),
        scenario: scenario.file.name.clone(),
        scenario_hash: None,
        form: options.form,
        started_at: measured.started_at,
        duration_s: measured.duration_s,
        command: options.command.clone(),
        environment,
        partial: measured.partial.clone(),
        validity: Validity::Valid,
        thresholds,
        steps: measured.steps,
        intervals: measured.intervals,
        resources: samples.resources.clone(),
        growth: Vec::new(),
        checks: measured.checks,
        metrics: BTreeMap::new(),
        repeats: BTreeMap::new(),
    };
    validity::mark_intervals(&mut record.intervals, &samples.pressure);
    record.growth = growths(scenario, samples);
    metrics::fill(&mut record, &measured.figures, fixtures.ready_ms());
    metrics::add_differences(&mut record.metrics, &scenario.file.differences);
    record.metrics.insert("generator_busy_ratio".to_owned(), measured.busy_ratio);
    let load = scenario.load(options.form).ok();
    let generator = validity::Generator {
        pacer: measured.pacer,
        waited: measured.waited,
        busy_ratio: measured.busy_ratio,
    };
    record.validity = Validity::from_reasons(validity::reasons(&record, &generator, load.as_ref()));
    record
}

fn growths(scenario: &Scenario, samples: &Samples) -> Vec<crate::record::Growth> {
    let mut targets: Vec<&str> = samples.resources.iter().map(|sample| sample.target.as_str()).collect();
    targets.sort_unstable();
    targets.dedup();
    let mut growths = Vec::new();
    for target in targets {
        for resource in scenario::GROWING {
            let of = |sample: &crate::record::ResourceSample| match resource {
                "pss_mib" => sample.pss_mib,
                "rss_mib" => sample.rss_mib,
                "threads" => sample.threads as f64,
                _ => sample.descriptors as f64,
            };
            let series: Vec<(f64, f64)> = samples
                .resources
                .iter()
                .filter(|sample| sample.target == target)
                .map(|sample| (sample.at_s, of(sample)))
                .collect();
            let allowed =
                scenario.file.resources.growth_max.iter().find(|allowed| allowed.resource == resource);
            let allowance =
                allowed.map_or(Allowance::Material, |allowed| Allowance::PerHour(allowed.per_hour));
            growths.extend(growth(target, resource, &series, allowance));
        }
    }
    growths
}
