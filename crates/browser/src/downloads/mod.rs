//! Files that pages write: into a directory of their instance, bounded, listed, and gone with it.
//!
//! Chrome reports the downloads of all contexts and names none. Whose one is shows in the frame that it began in, if that
//! is a tab's, and otherwise in the directory that its file appears in.

mod follower;
mod ledger;

use std::{
    collections::VecDeque,
    fs, io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use paddock_cdp::protocol::browser::SetDownloadBehavior;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use self::{
    follower::Follower,
    ledger::{Bounds, State},
};
use crate::{error::BrowserError, ids::TabId, instance::Instance, pool::ContextLease};

const EVENTS: &[&str] = &["Browser.downloadWillBegin", "Browser.downloadProgress"];
const EVENTS_MAX: usize = 1024;

/// What became of a download.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum DownloadState {
    /// It is under way.
    InProgress,
    /// The file is there.
    Completed,
    /// It broke off, or its Chrome ended.
    Canceled,
    /// It has more than `[browser] download_size_max` bytes and was broken off.
    TooLarge,
    /// Too many were under way.
    Refused,
}

impl DownloadState {
    const fn as_str(self) -> &'static str {
        match self {
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Canceled => "canceled",
            Self::TooLarge => "too_large",
            Self::Refused => "refused",
        }
    }
}

/// A file that a page wrote, or wanted to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PageDownload {
    /// Its id.
    pub id: String,
    /// The tab that began it, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tab_id: Option<TabId>,
    /// Where it comes from.
    pub url: String,
    /// The name that its host or the page gives it, without characters that are special in names of files.
    pub filename: String,
    /// What became of it.
    pub state: DownloadState,
    /// Bytes so far.
    pub size: u64,
    /// When it began.
    #[schemars(with = "String")]
    #[schema(value_type = String)]
    pub started_at: Timestamp,
}

/// The downloads of an instance.
#[derive(Debug, Default)]
pub(crate) struct Downloads {
    state: Mutex<State>,
}

impl Downloads {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Oldest first.
    pub(crate) fn list(&self) -> Vec<PageDownload> {
        self.lock().entries.iter().cloned().collect()
    }

    pub(crate) fn get(&self, id: &str) -> Option<PageDownload> {
        self.lock().entries.iter().find(|entry| entry.id == id).cloned()
    }

    /// Forgets one that came to its end. Whether there was one.
    fn forget(&self, id: &str) -> bool {
        let mut state = self.lock();
        let ended = |entry: &PageDownload| entry.id == id && entry.state != DownloadState::InProgress;
        let index = state.entries.iter().position(ended);
        index.and_then(|index| state.entries.remove(index)).is_some()
    }
}

impl Instance {
    /// Has downloads of its pages written into its directory, where that is allowed, and follows them.
    pub(crate) async fn expect_downloads(&self, lease: &ContextLease) -> Result<(), BrowserError> {
        if !self.is_saved() || !self.0.shared.options.current().page_downloads {
            return Ok(());
        }
        let directory = self.downloads_directory().map_err(BrowserError::Profiles)?;
        let session = lease.process().connection().browser().clone();
        let events = session.subscribe(EVENTS, EVENTS_MAX);
        let path = directory.to_string_lossy();
        let behavior = SetDownloadBehavior {
            behavior: "allowAndName",
            browser_context_id: lease.name(),
            download_path: Some(&path),
            events_enabled: true,
        };
        session.send(&behavior).await?;
        drop(path);
        let follower = Follower {
            instance: Arc::downgrade(&self.0),
            context: lease.name().map(str::to_owned),
            session,
            directory,
            unknown: VecDeque::new(),
        };
        self.0.shared.tasks.spawn("browser_downloads", follower.run(events, lease.gone()));
        Ok(())
    }

    fn downloads_directory(&self) -> io::Result<PathBuf> {
        let directory = self.scratch()?.join("downloads");
        fs::create_dir_all(&directory)?;
        Ok(directory)
    }

    /// The file of a download that is complete.
    pub(crate) fn downloaded_file(&self, id: &str) -> Option<(PageDownload, PathBuf)> {
        let entry = self.0.downloads.get(id).filter(|entry| entry.state == DownloadState::Completed)?;
        let directory = self.downloads_directory().ok()?;
        let path = directory.join(&entry.id);
        Some((entry, path))
    }

    /// Forgets a download with its file. Whether there was one.
    pub(crate) fn forget_download(&self, id: &str) -> bool {
        let known = self.0.downloads.forget(id);
        if known && let Ok(directory) = self.downloads_directory() {
            fs::remove_file(directory.join(id)).ok();
        }
        known
    }

    fn download_bounds(&self) -> Bounds {
        let options = self.0.shared.options.current();
        Bounds {
            size_max: options.download_size_max.get(),
            total_max: options.downloads_size_max.get(),
            entries_max: options.downloads_max,
        }
    }
}
