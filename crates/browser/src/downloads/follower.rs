//! Follows the downloads of a context as Chrome tells of them.

use std::{
    collections::VecDeque,
    fs,
    path::{Path, PathBuf},
    sync::Weak,
};

use jiff::Timestamp;
use paddock_cdp::{
    Event, Session, Subscription,
    protocol::browser::{CancelDownload, DownloadProgress, DownloadWillBegin},
};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{DownloadState, PageDownload, ledger::Consequence};
use crate::{
    ids::TabId,
    instance::{Inner, Instance},
    tab::Tab,
};

/// Downloads whose instance is not known yet; the oldest is forgotten for the next.
const UNKNOWN_MAX: usize = 32;
/// Characters of an address or a name that are kept.
const TEXT_LEN_MAX: usize = 2000;
const NAME_LEN_MAX: usize = 200;

/// Follows the downloads of one context.
pub(super) struct Follower {
    pub(super) instance: Weak<Inner>,
    pub(super) context: Option<String>,
    pub(super) session: Session,
    pub(super) directory: PathBuf,
    /// Those that began in a frame that is no tab's.
    pub(super) unknown: VecDeque<DownloadWillBegin>,
}

impl Follower {
    pub(super) async fn run(mut self, mut events: Subscription, gone: CancellationToken) {
        loop {
            let inner = self.instance.upgrade();
            let next = inner.and_then(|inner| inner.downloads.lock().first_deadline());
            let late = async {
                match next {
                    Some(until) => sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            let event = tokio::select! {
                event = events.next() => event,
                () = gone.cancelled() => None,
                () = late => {
                    self.give_up_late().await;
                    continue;
                }
            };
            let Some(event) = event else { break };
            let Some(instance) = self.instance.upgrade().map(Instance) else { return };
            self.take_in(&instance, &event).await;
        }
        self.end().await;
    }

    async fn take_in(&mut self, instance: &Instance, event: &Event) {
        if event.method == "Browser.downloadWillBegin" {
            // What names a file is Chrome's, but it is to be a name of a file.
            let Some(begins) = event.parse::<DownloadWillBegin>().ok().filter(|begins| is_guid(&begins.guid))
            else {
                return;
            };
            if tab_of(instance, &begins).is_some() {
                self.begin(instance, begins).await;
            } else {
                if self.unknown.len() == UNKNOWN_MAX {
                    self.unknown.pop_front();
                }
                self.unknown.push_back(begins);
            }
            return;
        }
        let Ok(progress) = event.parse::<DownloadProgress>() else { return };
        if let Some(index) = self.unknown.iter().position(|begins| begins.guid == progress.guid) {
            let is_here = has_file(self.directory.clone(), progress.guid.clone()).await;
            if !is_here && progress.state == "inProgress" {
                return;
            }
            if let Some(begins) = self.unknown.remove(index).filter(|_| is_here) {
                self.begin(instance, begins).await;
            }
        }
        let bounds = instance.download_bounds();
        let consequence = instance.0.downloads.lock().progress(&progress, bounds);
        self.carry_out(instance, &progress.guid, consequence).await;
    }

    async fn begin(&self, instance: &Instance, begins: DownloadWillBegin) {
        let entry = entry_of(instance, begins);
        let (id, in_use) = (entry.id.clone(), instance.keep_awake());
        let consequence = instance.0.downloads.lock().begin(entry, in_use, instance.download_bounds());
        self.carry_out(instance, &id, consequence).await;
    }

    async fn carry_out(&self, instance: &Instance, id: &str, consequence: Consequence) {
        if consequence.cancel {
            let command = CancelDownload { guid: id, browser_context_id: self.context.as_deref() };
            if let Err(error) = self.session.send(&command).await {
                tracing::debug!(browser.instance = %instance.id(), %error, "a download was not broken off");
            }
        }
        if let Some(entry) = consequence.ended {
            instance.0.shared.feed.download(instance.id(), &entry);
        }
        remove(self.directory.clone(), consequence.remove).await;
    }

    async fn give_up_late(&self) {
        let Some(instance) = self.instance.upgrade().map(Instance) else { return };
        let late = instance.0.downloads.lock().late(Instant::now());
        for id in late {
            let ended = instance.0.downloads.lock().end(&id, DownloadState::Canceled);
            let remove = vec![id.clone()];
            self.carry_out(&instance, &id, Consequence { cancel: true, ended, remove }).await;
        }
    }

    /// What is under way comes to nothing.
    async fn end(self) {
        let Some(instance) = self.instance.upgrade().map(Instance) else { return };
        let ids = instance.0.downloads.lock().under_way();
        for id in &ids {
            let ended = instance.0.downloads.lock().end(id, DownloadState::Canceled);
            if let Some(entry) = ended {
                instance.0.shared.feed.download(instance.id(), &entry);
            }
        }
        remove(self.directory, ids).await;
    }
}

fn tab_of(instance: &Instance, begins: &DownloadWillBegin) -> Option<TabId> {
    let of_frame = |tab: &Tab| tab.0.page.with(|page| page.main_frame == begins.frame_id);
    instance.tabs().iter().find(|tab| of_frame(tab)).map(|tab| tab.id().clone())
}

/// Whether a download's file is in a directory, finished or not.
async fn has_file(directory: PathBuf, id: String) -> bool {
    let look = move || [format!("{id}.crdownload"), id].iter().any(|name| directory.join(name).exists());
    tokio::task::spawn_blocking(look).await.unwrap_or(false)
}

fn entry_of(instance: &Instance, begins: DownloadWillBegin) -> PageDownload {
    PageDownload {
        tab_id: tab_of(instance, &begins),
        id: begins.guid,
        url: begins.url.chars().take(TEXT_LEN_MAX).collect(),
        filename: file_name(&begins.suggested_filename),
        state: DownloadState::InProgress,
        size: 0,
        started_at: Timestamp::now(),
    }
}

/// The last part of a name, without what is special in one.
fn file_name(suggested: &str) -> String {
    let last = suggested.rsplit(['/', '\\']).next().unwrap_or_default();
    let plain = |c: char| if c.is_alphanumeric() || " ._-()".contains(c) { c } else { '_' };
    let name: String = last.chars().map(plain).take(NAME_LEN_MAX).collect();
    let name = name.trim_matches([' ', '.']);
    if name.is_empty() { "download".to_owned() } else { name.to_owned() }
}

fn is_guid(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 64
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

async fn remove(directory: PathBuf, ids: Vec<String>) {
    if ids.is_empty() {
        return;
    }
    let remove = move || {
        let of = |directory: &Path, name: String| fs::remove_file(directory.join(name)).ok();
        for id in ids {
            of(&directory, format!("{id}.crdownload"));
            of(&directory, id);
        }
    };
    tokio::task::spawn_blocking(remove).await.ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_in_its_directory() {
        for (suggested, expected) in [
            ("../../etc/passwd", "passwd"),
            ("a\\b\"c\r\n.txt", "b_c__.txt"),
            ("..", "download"),
            ("", "download"),
            ("Bericht März (2).pdf", "Bericht März (2).pdf"),
        ] {
            assert_eq!(file_name(suggested), expected);
        }
        assert!(is_guid("0f2b-aa") && !is_guid("../x") && !is_guid(""));
    }
}
