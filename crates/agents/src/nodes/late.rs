//! Acknowledgements that wait.
//!
//! A durable message that is written when the store knows already that this server runs its agent, and the server does not
//! yet, comes into the mailbox when the keeper fetches it, and not at once as others do. Its sender hears that it is kept when
//! it is there: what the same sender sends next would overtake it otherwise.

use std::{
    collections::HashSet,
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use paddock_platform::store::StoreError;
use tokio::sync::oneshot;

use super::Nodes;
use crate::cell::Cell;

/// How long an acknowledgement waits: the message is kept, whether its agent has room for it or not.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// An acknowledgement of messages that are kept; given when this is dropped.
#[derive(Debug)]
pub(super) struct Late {
    done: Option<oneshot::Sender<Result<usize, StoreError>>>,
    count: usize,
    cells: Vec<Arc<Cell>>,
    until: Instant,
}

impl Drop for Late {
    fn drop(&mut self) {
        if let Some(done) = self.done.take() {
            // Who does not wait for it any more does not need it.
            let _ = done.send(Ok(self.count));
        }
    }
}

impl Nodes {
    /// Acknowledges `count` messages once those for these agents are where their agents find them.
    pub(crate) fn acknowledge(
        &self,
        done: oneshot::Sender<Result<usize, StoreError>>,
        count: usize,
        cells: Vec<Arc<Cell>>,
    ) {
        let late = Late { done: Some(done), count, cells, until: Instant::now() + WAIT_MAX };
        // Without a lease nothing is fetched.
        if !late.cells.is_empty() && self.term().is_some() {
            self.late.lock().unwrap_or_else(PoisonError::into_inner).push(late);
            self.changed.notify_one();
        }
    }

    /// Those that wait, to be looked at after what is in the store by now was fetched.
    pub(super) fn take_late(&self) -> Vec<Late> {
        std::mem::take(&mut *self.late.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Acknowledges those of them that wait for none of the agents that have more to fetch, and those that have waited long
    /// enough.
    pub(super) fn acknowledge_but(&self, mut late: Vec<Late>, behind: &HashSet<Arc<str>>) {
        let now = Instant::now();
        late.retain(|late| late.until > now && late.cells.iter().any(|cell| behind.contains(&cell.key)));
        self.late.lock().unwrap_or_else(PoisonError::into_inner).extend(late);
    }

    pub(super) fn has_late(&self) -> bool {
        !self.late.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}
