//! `paddock doctor`: what is installed, missing or misconfigured, with the fix.

use std::{fs, net::TcpListener, path::Path, time::Duration};

use clap::Args;
use paddock_browser::{Engine, Fleet, InstanceSpec, Sandbox};
use paddock_platform::{
    config::Section,
    health::{self, Finding, Status},
    identity::Tenant,
    problem::error_chain,
    store::Store,
    task::Tasks,
    units::ByteSize,
};
use serde::Serialize;

use crate::{
    cli::{ConfigArgs, DataArgs, say},
    config::{Config, load},
    exit::{CommandError, CommandResult, Exit},
};

const DISK_AVAILABLE_MIN: ByteSize = ByteSize::mib(1024);
const MEMORY_AVAILABLE_MIN: ByteSize = ByteSize::mib(1024);
const FILES_OPEN_MIN: u64 = 4_096;
const SHARED_MEMORY_MIN: u64 = 256 << 20;
const LAUNCH_DEADLINE: Duration = Duration::from_secs(30);
const FONTS: [&str; 2] = ["/usr/share/fonts", "/usr/local/share/fonts"];

/// Flags of `paddock doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    Warning,
    Failed,
}

#[derive(Debug, Serialize)]
struct Diagnosis {
    name: &'static str,
    verdict: Verdict,
    finding: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

impl Diagnosis {
    fn ok(name: &'static str, finding: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Ok, finding: finding.into(), fix: None }
    }

    fn warning(name: &'static str, finding: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Warning, finding: finding.into(), fix: Some(fix.into()) }
    }

    fn failed(name: &'static str, finding: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Failed, finding: finding.into(), fix: Some(fix.into()) }
    }
}

/// Runs the command. It fails when something that the server needs is missing.
pub(crate) async fn run(args: DoctorArgs) -> CommandResult {
    let diagnoses = diagnose(&args).await;
    if args.json {
        let json = serde_json::to_string_pretty(&diagnoses)
            .map_err(|error| CommandError::from_error(Exit::Failure, &error))?;
        say(format_args!("{json}"));
    } else {
        for diagnosis in &diagnoses {
            print(diagnosis);
        }
    }
    let failed: Vec<&str> =
        diagnoses.iter().filter(|it| it.verdict == Verdict::Failed).map(|it| it.name).collect();
    if failed.is_empty() {
        return Ok(());
    }
    let exit = if failed == ["browser"] { Exit::NoEngine } else { Exit::Failure };
    Err(CommandError::new(exit, format!("not ready: {}", failed.join(", "))))
}

fn print(diagnosis: &Diagnosis) {
    let mark = match diagnosis.verdict {
        Verdict::Ok => "ok",
        Verdict::Warning => "warning",
        Verdict::Failed => "FAILED",
    };
    say(format_args!("{mark:>8}  {:<14} {}", diagnosis.name, diagnosis.finding));
    if let Some(fix) = &diagnosis.fix {
        say(format_args!("{:>8}  {:<14} fix: {fix}", "", ""));
    }
}

async fn diagnose(args: &DoctorArgs) -> Vec<Diagnosis> {
    let config = match load(&args.config) {
        Ok(loaded) => loaded,
        Err(error) => {
            return vec![Diagnosis::failed(
                "configuration",
                error.to_string(),
                "`paddock config check` names each mistake",
            )];
        }
    };
    let file = config.file.as_ref().map_or("defaults".to_owned(), |file| file.display().to_string());
    let config = config.config;
    let mut diagnoses = vec![Diagnosis::ok("configuration", file)];
    diagnoses.extend(engine(&config).await);
    diagnoses.push(fonts());
    diagnoses.push(listen(&config));
    diagnoses.push(data_dir(&args.data.data).await);
    diagnoses.push(store(&config, &args.data.data).await);
    diagnoses.push(from_finding("memory", health::memory_available(MEMORY_AVAILABLE_MIN).await));
    diagnoses.push(shared_memory());
    diagnoses.push(files_open());
    diagnoses
}

/// The engine's binary, its sandbox, and whether it really opens a page.
async fn engine(config: &Config) -> Vec<Diagnosis> {
    let engine = match Engine::find(&config.browser) {
        Ok(engine) => engine,
        Err(error) => {
            return vec![Diagnosis::failed("browser", error.to_string(), "make run installs it on Debian")];
        }
    };
    let browser = match tokio::time::timeout(LAUNCH_DEADLINE, open_page(config)).await {
        Ok(Ok(took)) => {
            let version = engine.version().await.unwrap_or_default();
            let finding =
                format!("{version} at {} opens a page in {} ms", engine.path.display(), took.as_millis());
            Diagnosis::ok("browser", finding)
        }
        Ok(Err(reason)) => Diagnosis::failed(
            "browser",
            format!("{} does not start: {reason}", engine.path.display()),
            "reinstall it: apt-get install --reinstall chromium-headless-shell",
        ),
        Err(_) => Diagnosis::failed(
            "browser",
            format!("{} did not open a page within {}s", engine.path.display(), LAUNCH_DEADLINE.as_secs()),
            "look for a machine that is out of memory or processor time",
        ),
    };
    let sandbox = match engine.sandbox {
        Sandbox::On => Diagnosis::ok("sandbox", "Chrome confines its renderers"),
        Sandbox::OffForRoot => Diagnosis::warning(
            "sandbox",
            "off, because this runs as root: a page that breaks out of its renderer owns the machine",
            "run Paddock as an ordinary user",
        ),
        Sandbox::OffByConfig => Diagnosis::warning(
            "sandbox",
            "off, because of `[browser] sandbox = false`",
            "remove that key unless your kernel forbids user namespaces",
        ),
    };
    vec![browser, sandbox]
}

async fn open_page(config: &Config) -> Result<Duration, String> {
    let scratch = tempfile::tempdir().map_err(|error| error.to_string())?;
    let tasks = Tasks::default();
    let mut options = config.browser.clone();
    options.warm = 0;
    let started = std::time::Instant::now();
    let fleet = Fleet::start(Section::fixed(options), scratch.path(), &tasks)
        .await
        .map_err(|error| error_chain(&error))?;
    let opened = async {
        let instance = fleet.create(InstanceSpec::ephemeral(Tenant::local())).await?;
        instance.open(paddock_browser::TabSpec::default()).await
    };
    let outcome = opened.await.map(|_| started.elapsed()).map_err(|error| error_chain(&error));
    fleet.shutdown().await;
    let _ = tasks.stop(Duration::from_secs(5)).await;
    outcome
}

fn fonts() -> Diagnosis {
    let has_fonts =
        FONTS.iter().any(|dir| fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()));
    if has_fonts {
        return Diagnosis::ok("fonts", "installed");
    }
    Diagnosis::warning(
        "fonts",
        "none are installed: pages show boxes for letters",
        "apt-get install fonts-dejavu-core fonts-liberation",
    )
}

fn listen(config: &Config) -> Diagnosis {
    let listen = config.server.listen.to_string();
    match TcpListener::bind(&listen) {
        Ok(_) => Diagnosis::ok("address", format!("{listen} is free")),
        Err(error) => Diagnosis::warning(
            "address",
            format!("{listen} cannot be bound: {error}"),
            "stop what listens there, or choose another: --listen 127.0.0.1:7071",
        ),
    }
}

async fn data_dir(path: &Path) -> Diagnosis {
    // The directory may be made later; then its nearest parent is where it will be.
    let parent = path.ancestors().find(|parent| parent.is_dir()).unwrap_or_else(|| Path::new("."));
    let probe = tempfile::Builder::new().prefix(".paddock-doctor").tempfile_in(parent);
    if let Err(error) = probe {
        let fix = "make it writable for this user, or choose another with --data";
        return Diagnosis::failed("data", format!("{} cannot be written: {error}", parent.display()), fix);
    }
    from_finding("data", health::disk_free(parent.to_owned(), DISK_AVAILABLE_MIN).await)
}

/// What the running server would say of the same resource.
fn from_finding(name: &'static str, finding: Finding) -> Diagnosis {
    let verdict = match finding.status {
        Status::Ok => Verdict::Ok,
        Status::Degraded => Verdict::Warning,
        Status::Failed => Verdict::Failed,
    };
    Diagnosis { name, verdict, finding: finding.detail, fix: finding.advice }
}

async fn store(config: &Config, data: &Path) -> Diagnosis {
    let url = config.store.url.to_string();
    if !url.starts_with("postgres") {
        return Diagnosis::ok("store", format!("{url}, in the data directory"));
    }
    let tasks = Tasks::default();
    let opened = Store::open(&config.store, data, &tasks).await;
    let outcome = match &opened {
        Ok(store) => store.ping(Duration::from_secs(5)).await,
        Err(_) => Ok(()),
    };
    let failure = opened.as_ref().err().map(|e| error_chain(e)).or(outcome.err().map(|e| error_chain(&e)));
    if let Ok(store) = opened {
        store.close().await;
    }
    let _ = tasks.stop(Duration::from_secs(5)).await;
    match failure {
        None => Diagnosis::ok("store", "PostgreSQL answers"),
        Some(failure) => {
            Diagnosis::failed("store", failure, "check `[store] url` and that PostgreSQL accepts this user")
        }
    }
}

fn shared_memory() -> Diagnosis {
    match rustix::fs::statvfs("/dev/shm") {
        Ok(stat) if stat.f_blocks * stat.f_frsize < SHARED_MEMORY_MIN => Diagnosis::warning(
            "shared memory",
            format!(
                "/dev/shm has {} MiB; Chrome uses files instead, which is slower",
                (stat.f_blocks * stat.f_frsize) >> 20
            ),
            "in a container: --shm-size=1g",
        ),
        Ok(_) => Diagnosis::ok("shared memory", "/dev/shm is large enough"),
        Err(_) => Diagnosis::warning(
            "shared memory",
            "there is no /dev/shm; Chrome uses files instead",
            "mount a tmpfs there",
        ),
    }
}

fn files_open() -> Diagnosis {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    match limit {
        Some(limit) if limit < FILES_OPEN_MIN => Diagnosis::warning(
            "open files",
            format!("at most {limit} per process"),
            format!("ulimit -n {FILES_OPEN_MIN}, or LimitNOFILE in the service"),
        ),
        Some(limit) => Diagnosis::ok("open files", format!("up to {limit} per process")),
        None => Diagnosis::ok("open files", "unlimited"),
    }
}
