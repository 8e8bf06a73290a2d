//! Answers as models read them.

use std::fmt::Write;

use paddock_platform::tool::{Content, Readable};
use serde::Serialize;

use crate::{
    ids::{InstanceId, TabId},
    service::{
        ActionDone, Evaluated, InstanceList, InstanceView, Picture, SnapshotView, Stopped, TabList, TabView,
    },
};

/// Longest value of an expression that a model is shown, in bytes.
const VALUE_SIZE_MAX: usize = 20_000;

fn text(text: impl Into<String>) -> Vec<Content> {
    vec![Content::Text(text.into())]
}

/// A page that a tool went to.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PageView {
    pub(super) tab_id: TabId,
    pub(super) instance_id: InstanceId,
    pub(super) url: String,
    pub(super) title: String,
    /// What can be acted on there, if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) snapshot: Option<String>,
}

impl Readable for PageView {
    fn content(&self) -> Vec<Content> {
        match &self.snapshot {
            // Its first line has title and address.
            Some(snapshot) => text(format!("tab: {}\n{snapshot}", self.tab_id.as_str())),
            None => text(format!("tab: {}\n# {} | {}", self.tab_id.as_str(), self.title, self.url)),
        }
    }
}

impl Readable for SnapshotView {
    fn content(&self) -> Vec<Content> {
        text(self.snapshot.clone())
    }
}

impl Readable for Picture {
    fn content(&self) -> Vec<Content> {
        let mime = if self.format == "png" { "image/png" } else { "image/jpeg" };
        vec![Content::Image { base64: self.base64.clone(), mime }]
    }
}

impl Readable for Evaluated {
    fn content(&self) -> Vec<Content> {
        let mut value = self.result.as_str().map_or_else(|| self.result.to_string(), str::to_owned);
        if value.len() > VALUE_SIZE_MAX {
            let size = value.len();
            value.truncate(value.floor_char_boundary(VALUE_SIZE_MAX));
            let _ =
                write!(value, "\n… cut at {VALUE_SIZE_MAX} of {size} bytes; have the expression return less");
        }
        text(value)
    }
}

impl Readable for TabList {
    fn content(&self) -> Vec<Content> {
        let mut lines = String::new();
        for TabView { id, url, title, status, .. } in &self.tabs {
            let state = if status == "active" { String::new() } else { format!(" [{status}]") };
            let _ = writeln!(lines, "{} {url} \"{title}\"{state}", id.as_str());
        }
        text(if lines.is_empty() { "no tab is open; browser_navigate opens one".to_owned() } else { lines })
    }
}

impl Readable for InstanceList {
    fn content(&self) -> Vec<Content> {
        let mut lines = String::new();
        for instance in &self.instances {
            lines.push_str(&line(instance));
            lines.push('\n');
        }
        text(if lines.is_empty() { "no browser runs; browser_navigate starts one".to_owned() } else { lines })
    }
}

impl Readable for Stopped {
    fn content(&self) -> Vec<Content> {
        text(format!("{} {}", self.id.as_str(), self.status))
    }
}

impl Readable for InstanceView {
    fn content(&self) -> Vec<Content> {
        text(line(self))
    }
}

fn line(instance: &InstanceView) -> String {
    let status = serde_json::to_value(instance.status).unwrap_or_default();
    let status = status.as_str().unwrap_or_default();
    let name = if instance.profile_name.is_empty() {
        String::new()
    } else {
        format!(" \"{}\"", instance.profile_name)
    };
    format!("{} {status}, {} tabs{name}", instance.id.as_str(), instance.tabs)
}

/// A text for the model.
#[derive(Debug, Serialize)]
pub(super) struct TextView(pub(super) String);

impl Readable for TextView {
    fn content(&self) -> Vec<Content> {
        text(self.0.clone())
    }
}

/// What an action changed.
#[derive(Debug, Default, Serialize)]
pub(super) struct ActionView {
    /// What is new, changed or gone; empty if nothing is.
    changes: String,
}

impl ActionView {
    pub(super) fn of(done: ActionDone) -> Self {
        let changes = done.snapshot.and_then(|snapshot| serde_json::from_str(snapshot.get()).ok());
        Self { changes: changes.unwrap_or_default() }
    }
}

impl Readable for ActionView {
    fn content(&self) -> Vec<Content> {
        text(format!("done\n{}", self.changes))
    }
}
