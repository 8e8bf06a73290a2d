//! Durable messages, and the places in mailboxes that are kept for them.

use std::sync::{Arc, atomic::Ordering};

use crate::{
    cell::Cell,
    mailbox::{Delivery, Refusal},
    message::Message,
};

/// A place in a mailbox that is kept for a message on its way to disk; given back if it does not get there.
#[derive(Debug)]
pub(crate) struct Place {
    cell: Arc<Cell>,
    epoch: i64,
    is_open: bool,
}

impl Place {
    pub(crate) fn reserve(cell: &Arc<Cell>) -> Result<Self, Refusal> {
        let epoch = cell.mailbox.reserve()?;
        Ok(Self { cell: Arc::clone(cell), epoch, is_open: true })
    }

    /// As [`Place::reserve`], for a message that is in the store already.
    pub(crate) fn reserve_stored(cell: &Arc<Cell>) -> Result<Self, Refusal> {
        let epoch = cell.mailbox.reserve_stored()?;
        Ok(Self { cell: Arc::clone(cell), epoch, is_open: true })
    }

    /// The epoch of the mailbox that it is in.
    pub(crate) const fn epoch(&self) -> i64 {
        self.epoch
    }

    /// Gives whether somebody has to run the agent.
    pub(crate) fn fill(mut self, delivery: Delivery) -> bool {
        self.is_open = false;
        self.cell.mailbox.fill(delivery, self.epoch)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.is_open {
            self.cell.mailbox.release(self.epoch);
        }
    }
}

/// Counts a message on its way to the store for an agent of another server, whose backlog does not show it yet.
#[derive(Debug)]
struct Underway(Arc<Cell>);

impl Underway {
    fn new(cell: &Arc<Cell>) -> Self {
        cell.underway.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(cell))
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.0.underway.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A durable message and where it goes.
#[derive(Debug)]
pub(crate) struct Post {
    pub(super) cell: Arc<Cell>,
    /// `None` if another server runs the agent.
    pub(super) place: Option<Place>,
    _underway: Option<Underway>,
    pub(super) message: Arc<Message>,
}

impl Post {
    /// Into a mailbox of this server.
    pub(crate) fn here(place: Place, message: &Arc<Message>) -> Self {
        let (cell, message) = (Arc::clone(&place.cell), Arc::clone(message));
        Self { cell, place: Some(place), _underway: None, message }
    }

    /// For an agent that another server runs, or nobody yet.
    pub(crate) fn away(cell: Arc<Cell>, message: &Arc<Message>) -> Self {
        let underway = Some(Underway::new(&cell));
        Self { cell, place: None, _underway: underway, message: Arc::clone(message) }
    }
}
