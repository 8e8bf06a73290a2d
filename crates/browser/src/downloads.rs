//! Files that pages write: into a directory of their instance, bounded, listed, and gone with it.
//!
//! Chrome reports the downloads of all contexts and names none. Whose one is shows in the frame that it began in, if that
//! is a tab's, and otherwise in the directory that its file appears in.

use std::{
    collections::VecDeque,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use jiff::Timestamp;
use metrics::counter;
use paddock_cdp::{
    Event, Session, Subscription,
    protocol::browser::{CancelDownload, DownloadProgress, DownloadWillBegin, SetDownloadBehavior},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use crate::{
    error::BrowserError,
    ids::TabId,
    instance::{InUse, Inner, Instance},
    metrics::BROWSER_DOWNLOADS_TOTAL,
    pool::ContextLease,
};

const EVENTS: &[&str] = &["Browser.downloadWillBegin", "Browser.downloadProgress"];
const EVENTS_MAX: usize = 1024;
/// Downloads whose instance is not known yet; the oldest is forgotten for the next.
const UNKNOWN_MAX: usize = 32;
/// Downloads of one instance that are under way at a time; further ones are refused.
const UNDER_WAY_MAX: usize = 8;
/// How long one may be under way. So long it keeps its instance awake.
const DURATION_MAX: Duration = Duration::from_mins(10);
/// Characters of an address or a name that are kept.
const TEXT_LEN_MAX: usize = 2000;
const NAME_LEN_MAX: usize = 200;

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

#[derive(Debug, Default)]
struct State {
    /// Oldest first.
    entries: VecDeque<PageDownload>,
    under_way: Vec<UnderWay>,
}

/// Keeps the instance awake.
#[derive(Debug)]
struct UnderWay {
    id: String,
    until: Instant,
    _in_use: InUse,
}

/// What they may take.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_field_names, reason = "bounds are named for what they bound")]
pub(crate) struct Bounds {
    /// Bytes of one.
    pub(crate) size_max: u64,
    /// Bytes of all that are there.
    pub(crate) total_max: u64,
    /// How many are remembered.
    pub(crate) entries_max: usize,
}

/// What is to be done about an event.
#[derive(Debug, Default, PartialEq, Eq)]
struct Consequence {
    cancel: bool,
    /// It came to its end.
    ended: Option<PageDownload>,
    /// Files that nobody will ask for.
    remove: Vec<String>,
}

impl State {
    fn begin(&mut self, entry: PageDownload, in_use: InUse, bounds: Bounds) -> Consequence {
        let mut consequence = Consequence::default();
        let id = entry.id.clone();
        self.entries.push_back(entry);
        if self.under_way.len() < UNDER_WAY_MAX {
            let until = Instant::now() + DURATION_MAX;
            self.under_way.push(UnderWay { id, until, _in_use: in_use });
        } else {
            consequence.cancel = true;
            consequence.ended = self.end(&id, DownloadState::Refused);
        }
        self.make_room(bounds, &mut consequence.remove);
        consequence
    }

    fn progress(&mut self, progress: &DownloadProgress, bounds: Bounds) -> Consequence {
        let mut consequence = Consequence::default();
        let Some(entry) = self.entries.iter_mut().find(|entry| entry.id == progress.guid) else {
            return consequence;
        };
        entry.size = progress.received_bytes.max(0.0) as u64;
        let too_large = entry.size.max(progress.total_bytes.max(0.0) as u64) > bounds.size_max;
        if entry.state != DownloadState::InProgress {
            // Broken off already; what was written meanwhile goes once Chrome lets go of it.
            consequence.remove.push(progress.guid.clone());
            return consequence;
        }
        let state = match progress.state.as_str() {
            "completed" if too_large => DownloadState::TooLarge,
            "completed" => DownloadState::Completed,
            "canceled" => DownloadState::Canceled,
            _ if too_large => {
                consequence.cancel = true;
                DownloadState::TooLarge
            }
            _ => return consequence,
        };
        consequence.ended = self.end(&progress.guid, state);
        if state != DownloadState::Completed {
            consequence.remove.push(progress.guid.clone());
        }
        self.make_room(bounds, &mut consequence.remove);
        consequence
    }

    fn end(&mut self, id: &str, state: DownloadState) -> Option<PageDownload> {
        self.under_way.retain(|under_way| under_way.id != id);
        let entry = self.entries.iter_mut().find(|entry| entry.id == id)?;
        entry.state = state;
        counter!(BROWSER_DOWNLOADS_TOTAL, "outcome" => state.as_str()).increment(1);
        Some(entry.clone())
    }

    /// The oldest that came to their end make room.
    fn make_room(&mut self, bounds: Bounds, remove: &mut Vec<String>) {
        let is_there = |entry: &PageDownload| entry.state == DownloadState::Completed;
        loop {
            let total: u64 =
                self.entries.iter().filter(|entry| is_there(entry)).map(|entry| entry.size).sum();
            let ended = |entry: &PageDownload| entry.state != DownloadState::InProgress;
            let oldest = if self.entries.len() > bounds.entries_max {
                self.entries.iter().position(ended)
            } else if total > bounds.total_max {
                self.entries.iter().position(is_there)
            } else {
                None
            };
            let Some(entry) = oldest.and_then(|index| self.entries.remove(index)) else { return };
            if is_there(&entry) {
                remove.push(entry.id);
            }
        }
    }

    /// Those that have been under way for too long.
    fn late(&self, now: Instant) -> Vec<String> {
        self.under_way.iter().filter(|it| it.until <= now).map(|it| it.id.clone()).collect()
    }
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

/// Follows the downloads of one context.
struct Follower {
    instance: Weak<Inner>,
    context: Option<String>,
    session: Session,
    directory: PathBuf,
    /// Those that began in a frame that is no tab's.
    unknown: VecDeque<DownloadWillBegin>,
}

impl Follower {
    async fn run(mut self, mut events: Subscription, gone: CancellationToken) {
        loop {
            let next = self.instance.upgrade().and_then(|inner| {
                inner.downloads.lock().under_way.iter().map(|under_way| under_way.until).min()
            });
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
        let ids: Vec<String> = instance.0.downloads.lock().under_way.iter().map(|it| it.id.clone()).collect();
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
    let of_frame = |tab: &crate::tab::Tab| tab.0.page.with(|page| page.main_frame == begins.frame_id);
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
    use proptest::prelude::*;

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

    fn entry(id: usize, state: DownloadState, size: u64) -> PageDownload {
        PageDownload {
            id: id.to_string(),
            tab_id: None,
            url: String::new(),
            filename: String::new(),
            state,
            size,
            started_at: Timestamp::UNIX_EPOCH,
        }
    }

    fn progress(id: usize, received: u64, state: &str) -> DownloadProgress {
        DownloadProgress {
            guid: id.to_string(),
            total_bytes: 0.0,
            received_bytes: received as f64,
            state: state.to_owned(),
        }
    }

    #[test]
    fn one_that_grows_over_its_bound_is_broken_off_and_its_file_goes() {
        let bounds = Bounds { size_max: 10, total_max: 100, entries_max: 10 };
        let mut state = State::default();
        state.entries.push_back(entry(1, DownloadState::InProgress, 0));
        assert_eq!(state.progress(&progress(1, 10, "inProgress"), bounds), Consequence::default());
        let over = state.progress(&progress(1, 11, "inProgress"), bounds);
        assert!(over.cancel && over.remove == ["1"]);
        assert_eq!(over.ended.unwrap().state, DownloadState::TooLarge);
        let later = state.progress(&progress(1, 12, "canceled"), bounds);
        assert_eq!((later.ended, later.remove), (None, vec!["1".to_owned()]));
        assert_eq!(state.entries[0].state, DownloadState::TooLarge);
    }

    proptest! {
        #[test]
        fn what_is_there_stays_within_its_bounds(
            steps in prop::collection::vec((0_usize..12, 0_u64..40, 0_usize..3), 0..60),
        ) {
            let bounds = Bounds { size_max: 25, total_max: 60, entries_max: 6 };
            let mut state = State::default();
            let mut removed = std::collections::BTreeSet::new();
            for (id, size, kind) in steps {
                if !state.entries.iter().any(|entry| entry.id == id.to_string()) {
                    state.entries.push_back(entry(id, DownloadState::InProgress, 0));
                    removed.remove(&id.to_string());
                }
                let word = ["inProgress", "completed", "canceled"][kind];
                removed.extend(state.progress(&progress(id, size, word), bounds).remove);
                let there: Vec<_> =
                    state.entries.iter().filter(|e| e.state == DownloadState::Completed).collect();
                prop_assert!(there.iter().map(|entry| entry.size).sum::<u64>() <= 60);
                prop_assert!(there.iter().all(|entry| entry.size <= 25 && !removed.contains(&entry.id)));
            }
        }
    }
}
