//! A page that several look at: one writes, others wait for what it becomes.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::Page;

/// A page that its tab's task writes and that navigations wait on.
#[derive(Debug)]
pub(crate) struct SharedPage {
    page: Mutex<Page>,
    changed: watch::Sender<()>,
}

impl SharedPage {
    pub(crate) fn new(page: Page) -> Self {
        Self { page: Mutex::new(page), changed: watch::Sender::new(()) }
    }

    /// Looks at the page, or changes it, at once.
    pub(crate) fn with<T>(&self, with: impl FnOnce(&mut Page) -> T) -> T {
        with(&mut self.lock())
    }

    /// Changes the page and wakes those who wait.
    pub(crate) fn update(&self, update: impl FnOnce(&mut Page)) {
        update(&mut self.lock());
        self.changed.send_replace(());
    }

    /// Waits until the page yields something.
    pub(crate) async fn until<T>(&self, mut condition: impl FnMut(&Page) -> Option<T>) -> T {
        let mut changed = self.changed.subscribe();
        loop {
            changed.borrow_and_update();
            if let Some(value) = condition(&self.lock()) {
                return value;
            }
            // The sender is ours: it cannot be gone.
            changed.changed().await.ok();
        }
    }

    /// Waits until the next change.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Page> {
        self.page.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
