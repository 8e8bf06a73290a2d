//! Agents that are files in a directory.

use paddock_platform::identity::Caller;

use super::Agents;
use crate::prompt::from_markdown;

impl Agents {
    /// Deploys the Markdown agents of `agents.dir`. One that cannot be deployed is logged, and keeps nobody from starting.
    pub(super) async fn load_directory(&self) {
        let directory = self.0.options.current().dir;
        if directory.as_os_str().is_empty() {
            return;
        }
        let files = tokio::task::spawn_blocking(move || read_directory(&directory)).await.unwrap_or_default();
        for (path, text) in files {
            let deployed = match from_markdown(&text) {
                Ok(definition) => {
                    self.deploy(&Caller::local(), definition).await.map_err(|error| error.to_string())
                }
                Err(error) => Err(error.to_string()),
            };
            match deployed {
                Ok(version) => tracing::info!(file = path, version, "deployed a Markdown agent"),
                Err(error) => tracing::error!(file = path, error, "a Markdown agent cannot be deployed"),
            }
        }
    }
}

/// The Markdown files of a directory, by name.
fn read_directory(directory: &std::path::Path) -> Vec<(String, String)> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) => {
            tracing::error!(directory = %directory.display(), %error, "the directory of agents cannot be read");
            return Vec::new();
        }
    };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some_and(|end| end == "md")).collect();
    paths.sort();
    let read = |path: std::path::PathBuf| match std::fs::read_to_string(&path) {
        Ok(text) => Some((path.display().to_string(), text)),
        Err(error) => {
            tracing::error!(file = %path.display(), %error, "a Markdown agent cannot be read");
            None
        }
    };
    paths.into_iter().filter_map(read).collect()
}
