//! How far a call is, for whoever waits for it.

use tokio::sync::watch;

/// A point that a call has reached.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// How much is done; grows from report to report.
    pub done: f64,
    /// How much there is to do, if that is known.
    pub total: Option<f64>,
    /// What is being done, for the person who watches.
    pub message: String,
}

/// Where a tool tells how far it is. Only the last report counts: who listens too slowly misses those in between.
#[derive(Clone, Debug, Default)]
pub struct Progress(Option<watch::Sender<Step>>);

impl Progress {
    /// A progress and its listener.
    pub fn watched() -> (Self, watch::Receiver<Step>) {
        let (sender, receiver) = watch::channel(Step::default());
        (Self(Some(sender)), receiver)
    }

    /// Tells how far the call is.
    pub fn report(&self, done: f64, total: Option<f64>, message: impl Into<String>) {
        if let Some(sender) = &self.0 {
            sender.send_replace(Step { done, total, message: message.into() });
        }
    }
}
