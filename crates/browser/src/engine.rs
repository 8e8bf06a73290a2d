//! Finding the Chrome to run, and the arguments to run it with.

use std::{
    env,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{process::Command, time::timeout};

use crate::config::{BrowserOptions, EngineChoice};

/// How long `--version` may take: it waits for the disk when nothing is cached.
const VERSION_DEADLINE: Duration = Duration::from_secs(20);
/// Below this, Chrome's shared memory does not fit into /dev/shm and goes to temporary files instead.
const SHARED_MEMORY_SIZE_MIN: u64 = 512 << 20;

/// Bare binaries first: the wrapper scripts that share their names cost 200 ms and add flags of their own.
const HEADLESS_SHELLS: [&str; 6] = [
    "/usr/lib/chromium/chromium-headless-shell",
    "/usr/lib/chromium/headless_shell",
    "chromium-headless-shell",
    "chrome-headless-shell",
    "headless-shell",
    "headless_shell",
];
const CHROMIUMS: [&str; 5] =
    ["/usr/lib/chromium/chromium", "chromium", "chromium-browser", "google-chrome", "chrome"];

/// Parts of Chrome that are left out: processes and traffic that nobody here asks for.
const DISABLED_FEATURES: &str =
    "SpareRendererForSitePerProcess,Translate,AudioServiceOutOfProcess,MediaRouter,OptimizationHints";
/// Where windows are on the display.
const WINDOW: &[&str] = &["--window-position=0,0", "--window-size=1440,900"];

/// A Chrome that is installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Engine {
    /// Its binary.
    pub path: PathBuf,
    /// What it is.
    pub kind: EngineKind,
    /// Whether it runs in its own sandbox.
    pub sandbox: Sandbox,
}

/// The two builds of Chrome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineKind {
    /// Without windows and extensions.
    HeadlessShell,
    /// The full browser.
    Chromium,
}

/// Whether Chrome confines its renderers, and if not, why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sandbox {
    /// It does.
    On,
    /// It cannot, because this process runs as root.
    OffForRoot,
    /// It does not, because `[browser] sandbox = false`.
    OffByConfig,
}

/// No usable Chrome.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EngineError {
    /// None of the known places has it.
    #[error("no {wanted} is installed; `{install}` installs it, or `[browser] engine` names another")]
    NotInstalled {
        /// Which engine.
        wanted: &'static str,
        /// The command that installs it on Debian.
        install: &'static str,
    },
    /// Windows were asked for where no display is and none can be made.
    #[error(
        "there is no display for a headed browser; `apt-get install xvfb` lets the server make one, DISPLAY names \
         another, or start the instance headless"
    )]
    NoDisplay,
    /// The display for windows does not come up.
    #[error("Xvfb made no display: {0}")]
    Display(String),
    /// A path is that of another build than is needed.
    #[error(
        "`{}` of `[browser] engine` has neither windows nor extensions; they need the full browser", path.display()
    )]
    NotFull {
        /// The path.
        path: PathBuf,
    },
    /// The configured path is not an executable file.
    #[error("`{}` of `[browser] engine` is not an executable file", path.display())]
    NotExecutable {
        /// The path.
        path: PathBuf,
    },
    /// It does not say its version.
    #[error("`{} --version` failed: {reason}", path.display())]
    Version {
        /// The binary.
        path: PathBuf,
        /// What happened.
        reason: String,
    },
}

impl Engine {
    /// The engine that the options name.
    pub fn find(options: &BrowserOptions) -> Result<Self, EngineError> {
        let (path, kind) = locate(&options.engine)?;
        let sandbox = match (options.sandbox, rustix::process::geteuid().is_root()) {
            (false, _) => Sandbox::OffByConfig,
            (true, true) => Sandbox::OffForRoot,
            (true, false) => Sandbox::On,
        };
        Ok(Self { path, kind, sandbox })
    }

    /// The full browser, which windows and extensions need, also where the options name the headless shell.
    pub fn full(options: &BrowserOptions) -> Result<Self, EngineError> {
        let engine = match &options.engine {
            EngineChoice::HeadlessShell => EngineChoice::Chromium,
            other => other.clone(),
        };
        let engine = Self::find(&BrowserOptions { engine, ..options.clone() })?;
        if engine.kind == EngineKind::Chromium {
            Ok(engine)
        } else {
            Err(EngineError::NotFull { path: engine.path })
        }
    }

    /// Asks the binary for its version, for example `Chromium 156.0.8078.79`.
    pub async fn version(&self) -> Result<String, EngineError> {
        let error = |reason: String| EngineError::Version { path: self.path.clone(), reason };
        let mut command = Command::new(&self.path);
        command.arg("--version").stdin(Stdio::null()).kill_on_drop(true);
        let output = timeout(VERSION_DEADLINE, command.output())
            .await
            .map_err(|_| error(format!("no answer within {}s", VERSION_DEADLINE.as_secs())))?
            .map_err(|source| error(source.to_string()))?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if output.status.success() && !text.is_empty() {
            Ok(text)
        } else {
            Err(error(output.status.to_string()))
        }
    }

    /// The arguments of a process with its profile in a directory of its own.
    ///
    /// GPU, network and audio run inside the browser process: half the processes and a sixth less start-up time, for
    /// the price that a crash of one of them takes the process. The zygote stays: contexts need 10 MB each with it and
    /// 17 without, and the sandbox needs it.
    pub(crate) fn arguments(&self, profile: &Path, headed: bool, extensions: &[PathBuf]) -> Vec<String> {
        const ALWAYS: [&str; 23] = [
            "--remote-debugging-pipe",
            "--in-process-gpu",
            "--disable-gpu",
            "--disable-software-rasterizer",
            "--enable-features=NetworkServiceInProcess2",
            "--disable-breakpad",
            "--mute-audio",
            "--no-first-run",
            "--no-default-browser-check",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-default-apps",
            "--disable-domain-reliability",
            "--disable-sync",
            "--metrics-recording-only",
            "--password-store=basic",
            "--hide-scrollbars",
            // Tabs that nobody looks at run as if somebody did: there is no foreground here.
            "--disable-background-timer-throttling",
            "--disable-backgrounding-occluded-windows",
            "--disable-renderer-backgrounding",
            // One colour space on every machine: screenshots compare.
            "--force-color-profile=srgb",
            "--disable-quic",
            // The full browser asks a person about windows that nobody clicked for; the headless shell opens them.
            "--disable-popup-blocking",
        ];
        let mut arguments: Vec<String> = ALWAYS.map(str::to_owned).into();
        arguments.push(format!("--user-data-dir={}", profile.display()));
        if self.kind == EngineKind::Chromium {
            let look: &[&str] = if headed { WINDOW } else { &["--headless=new"] };
            arguments.push("--no-startup-window".to_owned());
            arguments.extend(look.iter().map(|argument| (*argument).to_owned()));
        }
        if extensions.is_empty() {
            arguments.push(format!("--disable-features={DISABLED_FEATURES}"));
            arguments.push("--disable-extensions".to_owned());
        } else {
            // Branded builds do not load extensions from the command line unless they are told to.
            arguments.push(format!(
                "--disable-features={DISABLED_FEATURES},DisableLoadExtensionCommandLineSwitch"
            ));
            let paths: Vec<_> = extensions.iter().map(|path| path.to_string_lossy()).collect();
            arguments.push(format!("--load-extension={}", paths.join(",")));
            arguments.push(format!("--disable-extensions-except={}", paths.join(",")));
        }
        if self.sandbox != Sandbox::On {
            arguments.push("--no-sandbox".to_owned());
        }
        if shared_memory_size().is_some_and(|size| size < SHARED_MEMORY_SIZE_MIN) {
            arguments.push("--disable-dev-shm-usage".to_owned());
        }
        arguments
    }
}

fn locate(choice: &EngineChoice) -> Result<(PathBuf, EngineKind), EngineError> {
    let (candidates, kind, error): (&[&str], _, _) = match choice {
        EngineChoice::HeadlessShell => (
            &HEADLESS_SHELLS,
            EngineKind::HeadlessShell,
            EngineError::NotInstalled {
                wanted: "chromium-headless-shell",
                install: "apt-get install chromium-headless-shell",
            },
        ),
        EngineChoice::Chromium => (
            &CHROMIUMS,
            EngineKind::Chromium,
            EngineError::NotInstalled { wanted: "chromium", install: "apt-get install chromium" },
        ),
        EngineChoice::Path(path) => {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let shell = name.contains("headless-shell") || name.contains("headless_shell");
            let kind = if shell { EngineKind::HeadlessShell } else { EngineKind::Chromium };
            return if is_executable(path) {
                Ok((path.clone(), kind))
            } else {
                Err(EngineError::NotExecutable { path: path.clone() })
            };
        }
    };
    let search = env::var_os("PATH").unwrap_or_default();
    let found = candidates.iter().find_map(|candidate| {
        // A name with a slash stands for itself, wherever it is joined to.
        env::split_paths(&search)
            .chain([PathBuf::from("/usr/bin")])
            .map(|directory| directory.join(candidate))
            .find(|path| is_executable(path))
    });
    found.map(|path| (path, kind)).ok_or(error)
}

fn is_executable(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

/// Bytes of /dev/shm; containers often have 64 MB.
fn shared_memory_size() -> Option<u64> {
    let stat = rustix::fs::statvfs("/dev/shm").ok()?;
    Some(stat.f_blocks * stat.f_frsize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_installed_headless_shell_is_found_and_says_its_version() {
        let engine = Engine::find(&BrowserOptions::default()).unwrap();
        assert_eq!(engine.kind, EngineKind::HeadlessShell);
        let version = engine.version().await.unwrap();
        assert!(version.contains(|c: char| c.is_ascii_digit()), "{version}");
    }

    #[test]
    fn a_path_that_is_no_executable_is_named() {
        let engine = EngineChoice::Path("/no/such/headless_shell".into());
        let error = Engine::find(&BrowserOptions { engine, ..BrowserOptions::default() }).unwrap_err();
        assert!(error.to_string().contains("/no/such/headless_shell"), "{error}");
    }

    #[test]
    fn the_sandbox_is_off_exactly_when_asked_or_as_root() {
        let root = rustix::process::geteuid().is_root();
        for (sandbox, expected) in
            [(false, Sandbox::OffByConfig), (true, if root { Sandbox::OffForRoot } else { Sandbox::On })]
        {
            let engine = Engine::find(&BrowserOptions { sandbox, ..BrowserOptions::default() }).unwrap();
            assert_eq!(engine.sandbox, expected);
            let arguments = engine.arguments(Path::new("/tmp/profile"), false, &[]);
            let flag = arguments.contains(&"--no-sandbox".to_owned());
            assert_eq!(flag, expected != Sandbox::On);
        }
    }
}
