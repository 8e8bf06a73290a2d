//! Fetches what waits in the store for the agents of this server, and is not in their mailboxes.

use std::{collections::HashSet, slice, sync::Arc};

use paddock_platform::store::StoreError;

use super::Keeper;
use crate::{
    cell::Cell,
    commit::Place,
    envelope,
    mailbox::Delivery,
    store::{
        InboxRow,
        nodes::{self, Arrivals},
    },
};

/// Messages that are fetched for one agent at once.
const PICK_MAX: usize = 500;

impl Keeper {
    /// Fetches durable messages that other servers wrote, or that did not fit when their agents were taken, as far as there
    /// is room for them. Gives the agents for whom there is more.
    pub(super) async fn fetch(&mut self) -> Result<HashSet<Arc<str>>, StoreError> {
        let mut behind = HashSet::new();
        let Some(term) = self.nodes.term() else { return Ok(behind) };
        let arrivals = nodes::arrivals(&self.core.store, &term.node).await?;
        if !self.behind.is_empty() {
            let there: HashSet<(&str, i64)> =
                arrivals.iter().map(|arrivals| (arrivals.agent.as_str(), arrivals.epoch)).collect();
            self.behind.retain(|cell| {
                // What nobody finds any more holds nobody up.
                if !there.contains(&(&*cell.key, cell.mailbox.epoch())) {
                    cell.mailbox.caught_up(i64::MAX);
                }
                cell.mailbox.has_surplus()
            });
        }
        for Arrivals { agent, epoch, count, last } in arrivals {
            let Some(cell) = self.cell(&agent) else { continue };
            if self.fetch_for(&cell, &term.node, epoch, count).await? == 0 {
                continue;
            }
            // Others would take each place that becomes free before it is looked at again.
            if !cell.mailbox.has_surplus() {
                self.behind.push(Arc::clone(&cell));
            }
            cell.mailbox.fall_behind(epoch, last);
            behind.insert(Arc::clone(&cell.key));
        }
        Ok(behind)
    }

    /// Gives how much is left.
    async fn fetch_for(
        &self,
        cell: &Arc<Cell>,
        node: &str,
        epoch: i64,
        waiting: usize,
    ) -> Result<usize, StoreError> {
        let mut left = waiting;
        while left > 0 {
            let max = left.min(PICK_MAX).min(cell.mailbox.free());
            let places: Vec<Place> = (0..max).map_while(|_| Place::reserve_stored(cell).ok()).collect();
            let is_epoch = places.iter().all(|place| place.epoch() == epoch);
            if places.is_empty() || !is_epoch {
                break;
            }
            let picked = nodes::pick(&self.core.store, node, &cell.key, epoch, places.len()).await;
            let rows = match picked {
                Ok(rows) => rows,
                // Whether they were taken is not known: the agent is placed anew, which reads all that waits for it.
                Err(error) => {
                    if self.vacate(cell) {
                        self.nodes.parted(&self.core, slice::from_ref(cell));
                    }
                    return Err(error);
                }
            };
            left = if rows.len() < places.len() { 0 } else { left - rows.len() };
            self.fill(cell, places, rows);
        }
        Ok(left)
    }

    fn fill(&self, cell: &Arc<Cell>, places: Vec<Place>, rows: Vec<InboxRow>) {
        let last = rows.last().map(|row| row.place);
        for (place, row) in places.into_iter().zip(rows) {
            let (number, attempts) = (row.place, row.attempts);
            let Some(message) = envelope::read(&row.envelope, row.content) else {
                tracing::error!(agent = &*cell.key, place = number, "a message in the store cannot be read");
                continue;
            };
            let delivery = Delivery { row: Some(number), attempts, ..Delivery::new(Arc::new(message)) };
            if place.fill(delivery) {
                self.core.run(cell);
            }
        }
        // They come in the order of their places: what did not fit is here once one after it is.
        if let Some(last) = last {
            cell.mailbox.caught_up(last);
        }
    }
}
