//! The display that windows are on: that of the server's environment, or an X server of our own that runs while a
//! browser with windows does.
//!
//! Xvfb chooses a free number itself and says so when it is ready. A cookie keeps other users of the machine away from
//! it. It ends by itself some seconds after its last browser, also when this server was killed, and with the server.

use std::{
    env, fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use paddock_platform::task::Tasks;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    engine::EngineError,
    profile::{Profile, Profiles},
};

/// How long Xvfb may take to be ready, and to go when it is told to.
const START_DEADLINE: Duration = Duration::from_secs(15);
const STOP_DEADLINE: Duration = Duration::from_secs(3);
/// How long Xvfb waits for a browser after the last one has gone.
const IDLE_SECS: &str = "10";
const SCREEN: &str = "1920x1080x24";
/// The protocol of the cookie, and its length in bytes.
const COOKIE_KIND: &[u8] = b"MIT-MAGIC-COOKIE-1";
const COOKIE_SIZE: u16 = 16;

/// Variables of a browser's environment.
type Variables = Vec<(String, String)>;

/// Where windows go. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Displays(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    profiles: Profiles,
    tasks: Tasks,
    own: tokio::sync::Mutex<Option<Running>>,
}

/// An Xvfb that was started.
#[derive(Debug)]
struct Running {
    number: u32,
    authority: PathBuf,
    ended: CancellationToken,
}

impl Displays {
    pub(crate) fn new(profiles: Profiles, tasks: Tasks) -> Self {
        Self(Arc::new(Inner { profiles, tasks, own: tokio::sync::Mutex::default() }))
    }

    /// What a browser with windows needs in its environment, beside what it inherits.
    pub(crate) async fn variables(&self) -> Result<Variables, EngineError> {
        let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
        if is_set("DISPLAY") || is_set("WAYLAND_DISPLAY") {
            return Ok(Vec::new());
        }
        self.own_display().await
    }

    async fn own_display(&self) -> Result<Variables, EngineError> {
        let mut own = self.0.own.lock().await;
        own.take_if(|running| running.ended.is_cancelled());
        if own.is_none() {
            *own = Some(self.start().await?);
        }
        let variables = |running: &Running| {
            let authority = running.authority.to_string_lossy().into_owned();
            vec![("DISPLAY".to_owned(), format!(":{}", running.number)), ("XAUTHORITY".to_owned(), authority)]
        };
        Ok(own.as_ref().map(variables).unwrap_or_default())
    }

    async fn start(&self) -> Result<Running, EngineError> {
        let failed = |error: std::io::Error| EngineError::Display(error.to_string());
        let binary = find_xvfb().ok_or(EngineError::NoDisplay)?;
        let directory = self.0.profiles.create().map_err(failed)?;
        let authority = directory.path().join("authority");
        write_authority(&authority).map_err(failed)?;
        let mut child = Command::new(binary)
            .args(["-displayfd", "1", "-screen", "0", SCREEN, "-nolisten", "tcp"])
            .args(["-terminate", IDLE_SECS, "-auth"])
            .arg(&authority)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            // An error here is seen as a missing number.
            timeout(START_DEADLINE, BufReader::new(stdout).read_line(&mut line)).await.ok();
        }
        let number = line.trim().parse::<u32>().map_err(|_| {
            let ended = child.try_wait().ok().flatten().map(|status| status.to_string());
            EngineError::Display(ended.unwrap_or_else(|| "it named no display".to_owned()))
        })?;
        tracing::info!(number, "started Xvfb for browsers with windows");
        let ended = CancellationToken::new();
        let watch = watch(child, directory, self.0.tasks.stop_token(), ended.clone());
        self.0.tasks.spawn("browser_display", watch);
        Ok(Running { number, authority, ended })
    }
}

/// Waits for the end of an Xvfb, and brings it about when the server stops.
async fn watch(mut child: Child, directory: Profile, stopping: CancellationToken, ended: CancellationToken) {
    let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    tokio::select! {
        _ = child.wait() => {}
        () = stopping.cancelled() => {
            // Told, it removes its socket and its lock; killed, it would leave them.
            if let Some(pid) = pid {
                kill_process(pid, Signal::TERM).ok();
            }
            if timeout(STOP_DEADLINE, child.wait()).await.is_err() {
                if let Some(pid) = pid {
                    kill_process_group(pid, Signal::KILL).ok();
                }
                child.wait().await.ok();
            }
        }
    }
    ended.cancel();
    tokio::task::spawn_blocking(move || drop(directory)).await.ok();
}

fn find_xvfb() -> Option<PathBuf> {
    let search = env::var_os("PATH").unwrap_or_default();
    let directories = env::split_paths(&search).chain([PathBuf::from("/usr/bin")]);
    directories.map(|directory| directory.join("Xvfb")).find(|path| path.is_file())
}

/// Writes a cookie that holds for every display, in the format of xauth(1).
fn write_authority(path: &Path) -> std::io::Result<()> {
    const ANY_HOST: u16 = 0xffff;
    let cookie = uuid::Uuid::new_v4();
    let mut entry = Vec::new();
    entry.extend(ANY_HOST.to_be_bytes());
    // No address, and no number: it matches all.
    entry.extend([0; 4]);
    entry.extend(u16::try_from(COOKIE_KIND.len()).unwrap_or_default().to_be_bytes());
    entry.extend(COOKIE_KIND);
    entry.extend(COOKIE_SIZE.to_be_bytes());
    entry.extend(cookie.as_bytes());
    fs::File::options().write(true).create_new(true).mode(0o600).open(path)?.write_all(&entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_own_display_is_started_once_and_ends_with_the_server() {
        let data = tempfile::tempdir().unwrap();
        let tasks = Tasks::default();
        let displays = Displays::new(Profiles::open(data.path()).unwrap(), tasks.clone());
        let (first, second) = tokio::join!(displays.own_display(), displays.own_display());
        let variables = first.unwrap();
        assert_eq!(variables, second.unwrap());
        let number = variables[0].1.trim_start_matches(':').to_owned();
        let socket = PathBuf::from(format!("/tmp/.X11-unix/X{number}"));
        assert!(socket.exists());
        tasks.stop(Duration::from_secs(20)).await.unwrap();
        assert!(!socket.exists());
    }

    #[test]
    fn the_cookie_is_private_and_of_the_format_that_x_reads() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("authority");
        write_authority(&path).unwrap();
        let bytes = fs::read(&path).unwrap();
        assert_eq!(&bytes[..8], [0xff, 0xff, 0, 0, 0, 0, 0, 18]);
        assert_eq!((&bytes[8..26], bytes.len()), (COOKIE_KIND, 44));
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }
}
