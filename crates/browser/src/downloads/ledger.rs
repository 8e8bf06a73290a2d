//! Which downloads an instance has, and what becomes of them: a state machine fed by events.

use std::{collections::VecDeque, time::Duration};

use metrics::counter;
use paddock_cdp::protocol::browser::DownloadProgress;
use tokio::time::Instant;

use super::{DownloadState, PageDownload};
use crate::{instance::InUse, metrics::BROWSER_DOWNLOADS_TOTAL};

/// Downloads of one instance that are under way at a time; further ones are refused.
const UNDER_WAY_MAX: usize = 8;
/// How long one may be under way. So long it keeps its instance awake.
const DURATION_MAX: Duration = Duration::from_mins(10);

#[derive(Debug, Default)]
pub(super) struct State {
    /// Oldest first.
    pub(super) entries: VecDeque<PageDownload>,
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
pub(super) struct Bounds {
    /// Bytes of one.
    pub(super) size_max: u64,
    /// Bytes of all that are there.
    pub(super) total_max: u64,
    /// How many are remembered.
    pub(super) entries_max: usize,
}

/// What is to be done about an event.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Consequence {
    pub(super) cancel: bool,
    /// It came to its end.
    pub(super) ended: Option<PageDownload>,
    /// Files that nobody will ask for.
    pub(super) remove: Vec<String>,
}

impl State {
    pub(super) fn begin(&mut self, entry: PageDownload, in_use: InUse, bounds: Bounds) -> Consequence {
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

    pub(super) fn progress(&mut self, progress: &DownloadProgress, bounds: Bounds) -> Consequence {
        let mut consequence = Consequence::default();
        let Some(entry) = self.entries.iter_mut().find(|entry| entry.id == progress.guid) else {
            return consequence;
        };
        // It is there as it is: what is told late changes nothing of it.
        if entry.state == DownloadState::Completed {
            return consequence;
        }
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

    pub(super) fn end(&mut self, id: &str, state: DownloadState) -> Option<PageDownload> {
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

    /// When the first of those that are under way will have been so for too long.
    pub(super) fn first_deadline(&self) -> Option<Instant> {
        self.under_way.iter().map(|under_way| under_way.until).min()
    }

    /// Those that are under way.
    pub(super) fn under_way(&self) -> Vec<String> {
        self.under_way.iter().map(|under_way| under_way.id.clone()).collect()
    }

    /// Those that have been under way for too long.
    pub(super) fn late(&self, now: Instant) -> Vec<String> {
        self.under_way.iter().filter(|it| it.until <= now).map(|it| it.id.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;

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
