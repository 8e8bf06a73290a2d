//! Interrupts statements that exceed their deadline.

use std::{
    sync::PoisonError,
    time::{Duration, Instant},
};

use rusqlite::InterruptHandle;

use super::{DeadlineSlot, SqliteConnection};

/// How often the deadlines are compared with the clock.
const INTERVAL: Duration = Duration::from_millis(100);

/// Sees what each connection's statement may still take.
#[derive(Default)]
pub(super) struct Watchdog(Vec<(std::sync::Weak<std::sync::Mutex<Option<Instant>>>, InterruptHandle)>);

impl Watchdog {
    pub(super) fn watch(&mut self, connection: &SqliteConnection) {
        let slot: DeadlineSlot = connection.deadline_slot();
        self.0.push((std::sync::Arc::downgrade(&slot), connection.interrupt_handle()));
    }

    /// Runs until the connections are gone, in a thread as they are: a statement that runs when the server stops must
    /// still end.
    pub(super) fn run(self) {
        while self.check() {
            std::thread::sleep(INTERVAL);
        }
    }

    /// Whether there is still something to watch.
    fn check(&self) -> bool {
        let now = Instant::now();
        let mut any = false;
        for (slot, handle) in &self.0 {
            let Some(slot) = slot.upgrade() else { continue };
            any = true;
            // The slot stays locked meanwhile: the interrupt must not hit the statement that comes next.
            let mut deadline = slot.lock().unwrap_or_else(PoisonError::into_inner);
            if deadline.is_some_and(|deadline| deadline <= now) {
                handle.interrupt();
                *deadline = None;
            }
        }
        any
    }
}
