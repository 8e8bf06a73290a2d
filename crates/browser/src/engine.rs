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

/// A Chrome that is installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Engine {
    /// Its binary.
    pub path: PathBuf,
    /// What it is.
    pub kind: EngineKind,
    /// Whether it runs in its own sandbox.
    pub sandbox: Sandbox,
    /// Whether its windows are on a display.
    pub headed: bool,
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
    /// Windows were asked for where no display is.
    #[error(
        "there is no display for a headed browser; run the server under `xvfb-run` (`apt-get install xvfb`) or with \
         DISPLAY set, or start the instance headless"
    )]
    NoDisplay,
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
        Ok(Self { path, kind, sandbox, headed: false })
    }

    /// The full browser, for windows on the display of the server's environment.
    pub fn headed(options: &BrowserOptions) -> Result<Self, EngineError> {
        let engine = match &options.engine {
            EngineChoice::HeadlessShell => EngineChoice::Chromium,
            other => other.clone(),
        };
        let engine = Self::find(&BrowserOptions { engine, ..options.clone() })?;
        let display = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
        if display("DISPLAY") || display("WAYLAND_DISPLAY") {
            Ok(Self { headed: true, ..engine })
        } else {
            Err(EngineError::NoDisplay)
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
    pub(crate) fn arguments(&self, profile: &Path) -> Vec<String> {
        const ALWAYS: [&str; 24] = [
            "--remote-debugging-pipe",
            "--in-process-gpu",
            "--disable-gpu",
            "--disable-software-rasterizer",
            "--enable-features=NetworkServiceInProcess2",
            "--disable-features=SpareRendererForSitePerProcess,Translate,AudioServiceOutOfProcess,MediaRouter,OptimizationHints",
            "--disable-breakpad",
            "--mute-audio",
            "--no-first-run",
            "--no-default-browser-check",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-default-apps",
            "--disable-domain-reliability",
            "--disable-sync",
            "--disable-extensions",
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
        ];
        let mut arguments: Vec<String> = ALWAYS.map(str::to_owned).into();
        arguments.push(format!("--user-data-dir={}", profile.display()));
        if self.kind == EngineKind::Chromium {
            arguments.push("--no-startup-window".to_owned());
            arguments.extend((!self.headed).then(|| "--headless=new".to_owned()));
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
            let flag = engine.arguments(Path::new("/tmp/profile")).contains(&"--no-sandbox".to_owned());
            assert_eq!(flag, expected != Sandbox::On);
        }
    }
}
