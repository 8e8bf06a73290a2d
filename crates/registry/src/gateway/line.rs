//! A [`Line`]: messages in both directions between here and one server, whatever carries them.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Messages that wait in either direction. A server that says more than is read has to wait.
pub(super) const QUEUE_MAX: usize = 64;

/// One end of a connection. Dropping both channels, or asking to, ends it.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) outgoing: mpsc::Sender<Bytes>,
    pub(super) incoming: mpsc::Receiver<Bytes>,
    pub(super) end: End,
}

/// How a line ends, for both sides. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct End {
    /// It is no longer needed: what runs may come to its end.
    close: CancellationToken,
    /// It is to end at once.
    kill: CancellationToken,
    ended: CancellationToken,
    reason: Arc<OnceLock<String>>,
    wanted: Arc<AtomicBool>,
}

impl End {
    /// Lets it come to its end.
    pub(super) fn close(&self) {
        if !self.is_over() {
            self.wanted.store(true, Ordering::Relaxed);
        }
        self.close.cancel();
    }

    /// Ends it at once.
    pub(super) fn kill(&self, reason: impl Into<String>) {
        let _ = self.reason.set(reason.into());
        self.close.cancel();
        self.kill.cancel();
    }

    /// It has ended.
    pub(super) fn set_ended(&self, reason: impl Into<String>) {
        let _ = self.reason.set(reason.into());
        self.close.cancel();
        self.ended.cancel();
    }

    pub(super) fn is_over(&self) -> bool {
        self.close.is_cancelled() || self.ended.is_cancelled()
    }

    /// Whether it ended because nobody needed it.
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    pub(super) async fn closed(&self) {
        self.close.cancelled().await;
    }

    pub(super) async fn killed(&self) {
        self.kill.cancelled().await;
    }

    pub(super) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Why it ended.
    pub(super) fn reason(&self) -> String {
        self.reason.get().cloned().unwrap_or_else(|| "the connection was closed".to_owned())
    }
}
