//! Follows the configuration file.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use metrics::{counter, gauge, histogram};
use notify_debouncer_full::{DebounceEventResult, new_debouncer, notify::RecursiveMode};
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::{mpsc, watch};

use super::{
    ConfigError, Live, Loaded, Loader,
    metrics::{
        CONFIG_FILE_VALID, CONFIG_RELOAD_DURATION_SECONDS, CONFIG_RELOADS_TOTAL, CONFIG_RESTART_PENDING,
    },
};
use crate::task::Tasks;

/// Events within this time are one change.
const DEBOUNCE: Duration = Duration::from_millis(200);
/// How often the file is compared when no event says so: network file systems have none.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// A file that is being written is read again after this, until two readings agree.
const SETTLE_INTERVAL: Duration = Duration::from_millis(50);
/// After so many readings the file is taken as it is.
const SETTLE_READINGS_MAX: usize = 10;

/// How the running configuration stands to the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ReloadState {
    /// How many reloads were applied since the start.
    pub applied: u64,
    /// How many were rejected.
    pub rejected: u64,
    /// Why the file as it is now is not in force; `None` when it is.
    pub error: Option<String>,
    /// Keys whose new values take effect after a restart.
    pub restart_pending: Vec<String>,
    /// When the configuration in force was loaded (RFC 3339).
    #[schemars(with = "Option<String>")]
    pub loaded_at: Option<Timestamp>,
}

/// Observes the reloads, for `/readyz`. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ReloadStatus(watch::Receiver<ReloadState>);

impl ReloadStatus {
    /// How things stand now.
    pub fn current(&self) -> ReloadState {
        self.0.borrow().clone()
    }

    /// Waits until the state is as asked. Returns the last state when the watcher has ended.
    pub async fn wait_until(&mut self, condition: impl FnMut(&ReloadState) -> bool) -> ReloadState {
        let reached = self.0.wait_for(condition).await.map(|state| state.clone());
        reached.unwrap_or_else(|_| self.current())
    }
}

/// The configuration cannot be compared with its reload.
#[derive(Debug, thiserror::Error)]
#[error("cannot represent the configuration as TOML")]
pub struct WatchError(#[from] toml::ser::Error);

/// Reloads the configuration when its file changes.
///
/// It watches the directory, because editors replace files and Kubernetes swaps symlinks in a mounted `ConfigMap`, and compares the content
/// every second, because not every file system tells of changes.
pub struct Watcher<C> {
    loader: Loader,
    live: Live<C>,
    /// The values that the server was started with, to know what waits for a restart.
    started_with: toml::Table,
    restart_keys: &'static [&'static str],
    seen: FileContent,
    state: watch::Sender<ReloadState>,
}

/// What was last found at the path.
#[derive(Clone, PartialEq, Eq)]
enum FileContent {
    Absent,
    Hash(blake3::Hash),
    Unreadable(String),
}

impl<C> Watcher<C>
where
    C: DeserializeOwned + Serialize + JsonSchema + Clone + Send + Sync + 'static,
{
    /// Starts following the loader's file. `restart_keys` are dotted keys, or sections, that are only read at start.
    ///
    /// Returns the configuration in force and the state of the reloads.
    pub fn spawn(
        loader: Loader,
        loaded: Loaded<C>,
        restart_keys: &'static [&'static str],
        tasks: &Tasks,
    ) -> Result<(Live<C>, ReloadStatus), WatchError> {
        let started_with = toml::Table::try_from(&loaded.config)?;
        let live = Live::new(loaded.config);
        let state = ReloadState { loaded_at: Some(Timestamp::now()), ..ReloadState::default() };
        let (state, status) = watch::channel(state);
        gauge!(CONFIG_FILE_VALID).set(1.0);
        gauge!(CONFIG_RESTART_PENDING).set(0.0);
        if let Some(path) = loader.file().map(Path::to_owned) {
            let seen = loaded.file_hash.map_or(FileContent::Absent, FileContent::Hash);
            let watcher = Self { loader, live: live.clone(), started_with, restart_keys, seen, state };
            let stopping = tasks.stop_token();
            tasks.spawn("config-watcher", async move {
                tokio::select! {
                    () = watcher.run(path) => {}
                    () = stopping.cancelled() => {}
                }
            });
        }
        Ok((live, ReloadStatus(status)))
    }

    async fn run(mut self, path: PathBuf) {
        let (changed, mut changes) = mpsc::channel::<()>(1);
        let _debouncer = watch_directory(&path, changed.clone());
        let mut poll = tokio::time::interval(POLL_INTERVAL);
        poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = changes.recv() => {}
                _ = poll.tick() => {}
            }
            self.compare().await;
        }
    }

    async fn read(&self) -> (FileContent, Result<Option<String>, ConfigError>) {
        let loader = self.loader.clone();
        // A network file system that hangs must not hang the runtime, too.
        let read = tokio::task::spawn_blocking(move || loader.read_file()).await.unwrap_or(Ok(None));
        let content = match &read {
            Ok(Some(text)) => FileContent::Hash(blake3::hash(text.as_bytes())),
            Ok(None) => FileContent::Absent,
            Err(error) => FileContent::Unreadable(error.to_string()),
        };
        (content, read)
    }

    async fn compare(&mut self) {
        let (mut content, mut read) = self.read().await;
        if content == self.seen {
            return;
        }
        let detected = Instant::now();
        for _ in 0..SETTLE_READINGS_MAX {
            tokio::time::sleep(SETTLE_INTERVAL).await;
            let (again, read_again) = self.read().await;
            let settled = again == content;
            (content, read) = (again, read_again);
            if settled {
                break;
            }
        }
        if content == self.seen {
            return;
        }
        let was_there = !matches!(self.seen, FileContent::Absent);
        self.seen = content;
        let outcome = match read {
            Ok(None) if was_there => Err(self.gone()),
            Ok(text) => self.loader.load_with::<C>(text.as_deref()).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let outcome = outcome.and_then(|loaded| self.apply(loaded).map_err(|error| error.to_string()));
        let label = if outcome.is_ok() { "applied" } else { "rejected" };
        if let Err(error) = outcome {
            self.reject(error);
        }
        histogram!(CONFIG_RELOAD_DURATION_SECONDS).record(detected.elapsed());
        counter!(CONFIG_RELOADS_TOTAL, "outcome" => label).increment(1);
    }

    fn gone(&self) -> String {
        let path = self.loader.file().unwrap_or(Path::new("")).display();
        format!("the configuration file {path} is gone")
    }

    fn apply(&self, loaded: Loaded<C>) -> Result<(), WatchError> {
        let before = toml::Table::try_from(self.live.current().as_ref())?;
        let after = toml::Table::try_from(&loaded.config)?;
        let changed = changed_keys(&before, &after);
        let restart_pending: Vec<String> = changed_keys(&self.started_with, &after)
            .into_iter()
            .filter(|key| self.restart_keys.iter().any(|needed| is_within(key, needed)))
            .collect();
        self.live.replace(loaded.config);
        tracing::info!(config.changed = changed.join(", "), "configuration reloaded");
        if !restart_pending.is_empty() {
            let keys = restart_pending.join(", ");
            tracing::warn!(config.restart_pending = keys, "changed keys take effect after a restart");
        }
        gauge!(CONFIG_FILE_VALID).set(1.0);
        gauge!(CONFIG_RESTART_PENDING).set(restart_pending.len() as f64);
        self.state.send_modify(|state| {
            state.applied += 1;
            state.error = None;
            state.restart_pending = restart_pending;
            state.loaded_at = Some(Timestamp::now());
        });
        Ok(())
    }

    fn reject(&self, error: String) {
        tracing::error!(error, "configuration not reloaded; the running one is kept");
        gauge!(CONFIG_FILE_VALID).set(0.0);
        self.state.send_modify(|state| {
            state.rejected += 1;
            state.error = Some(error);
        });
    }
}

/// Sends for every change in the directory of `path`; `None` when the system cannot tell.
fn watch_directory(path: &Path, changed: mpsc::Sender<()>) -> Option<impl Sized + use<>> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let notify = move |_: DebounceEventResult| {
        // Full means that a comparison is due already.
        let _ = changed.try_send(());
    };
    let watching = new_debouncer(DEBOUNCE, None, notify).and_then(|mut debouncer| {
        debouncer.watch(directory, RecursiveMode::NonRecursive)?;
        Ok(debouncer)
    });
    watching
        .inspect_err(|error| {
            let directory = directory.display().to_string();
            tracing::warn!(directory, %error, "cannot watch the configuration's directory; comparing every second");
        })
        .ok()
}

/// Whether `key` is `section` or a key below it.
fn is_within(key: &str, section: &str) -> bool {
    key.strip_prefix(section).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// The dotted keys whose values differ; arrays are compared as a whole.
fn changed_keys(before: &toml::Table, after: &toml::Table) -> Vec<String> {
    let mut changed = Vec::new();
    collect_changed(before, after, "", &mut changed);
    changed
}

fn collect_changed(before: &toml::Table, after: &toml::Table, prefix: &str, changed: &mut Vec<String>) {
    let only_before = before.keys().filter(|key| !after.contains_key(*key));
    for key in after.keys().chain(only_before) {
        let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match (before.get(key), after.get(key)) {
            (Some(toml::Value::Table(before)), Some(toml::Value::Table(after))) => {
                collect_changed(before, after, &name, changed);
            }
            (before, after) if before != after => changed.push(name),
            _ => {}
        }
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
