//! Agents that are files in a directory.

use paddock_platform::identity::Caller;

use super::Agents;
use crate::{definition::AgentDefinition, order, prompt::from_markdown};

impl Agents {
    /// Deploys the Markdown agents of `agents.dir`. One that cannot be deployed is logged, and keeps nobody from starting.
    pub(super) async fn load_directory(&self) {
        let directory = self.0.options.current().dir;
        if directory.as_os_str().is_empty() {
            return;
        }
        let files = tokio::task::spawn_blocking(move || read_directory(&directory)).await.unwrap_or_default();
        let mut agents = Vec::with_capacity(files.len());
        for (path, text) in files {
            match from_markdown(&text) {
                Ok(definition) => agents.push((path, definition)),
                Err(error) => tracing::error!(file = path, %error, "a Markdown agent cannot be read"),
            }
        }
        for (path, definition) in in_order(agents) {
            match self.deploy(&Caller::local(), definition).await {
                Ok(version) => tracing::info!(file = path, version, "deployed a Markdown agent"),
                Err(error) => tracing::error!(file = path, %error, "a Markdown agent cannot be deployed"),
            }
        }
    }
}

/// Those first that others come after, and else by file.
fn in_order(agents: Vec<(String, AgentDefinition)>) -> Vec<(String, AgentDefinition)> {
    let names: Vec<_> = agents.iter().map(|(_, agent)| (agent.name.clone(), agent.after.clone())).collect();
    let mut found: Vec<_> = order::depths(&names).into_iter().zip(agents).collect();
    found.sort_by_key(|(depth, _)| *depth);
    found.into_iter().map(|(_, agent)| agent).collect()
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
