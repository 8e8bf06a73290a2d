//! A context and its place in a process.

use std::sync::Arc;

use paddock_cdp::{
    CallError,
    protocol::{
        browser::{GrantPermissions, SetDownloadBehavior},
        target::DisposeBrowserContext,
    },
};
use paddock_platform::task::Tasks;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Place, hung};
use crate::{egress::Door, error::BrowserError, process::Process};

/// What goes when a context is given back.
#[derive(Debug)]
pub(super) enum Hold {
    /// The context, in a process that may have others.
    Context(Place),
    /// The process, which has no other.
    Process(Place),
    /// The connection to a process that somebody else started.
    Connection(Process),
}

/// A context and its place in a process; dropping it disposes the context with all its pages.
#[derive(Debug)]
pub(crate) struct ContextLease {
    process: Process,
    context_id: Arc<str>,
    tasks: Tasks,
    is_default: bool,
    is_foreign: bool,
    /// Ends what follows the context.
    gone: (CancellationToken, DropGuard),
    /// Taken when the context is disposed.
    hold: Option<Hold>,
    /// Its own way out, if it has one.
    _door: Option<Door>,
}

impl ContextLease {
    pub(super) fn new(
        process: Process,
        context_id: Arc<str>,
        is_default: bool,
        hold: Hold,
        door: Option<Door>,
        tasks: Tasks,
    ) -> Self {
        let is_foreign = matches!(hold, Hold::Connection(_));
        let gone = CancellationToken::new();
        let gone = (gone.clone(), gone.drop_guard());
        Self { process, context_id, tasks, is_default, is_foreign, gone, hold: Some(hold), _door: door }
    }

    /// The default context of a Chrome that somebody else started; giving it back closes the connection and no more.
    pub(crate) fn foreign(process: Process, context_id: Arc<str>, tasks: Tasks) -> Self {
        Self::new(process.clone(), context_id, true, Hold::Connection(process), None, tasks)
    }

    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    pub(crate) fn context_id(&self) -> &Arc<str> {
        &self.context_id
    }

    /// The context as commands name it: the default one has no name there.
    pub(crate) fn name(&self) -> Option<&str> {
        (!self.is_default).then_some(&*self.context_id)
    }

    /// Whether somebody else started the process, and owns its pages and settings.
    pub(crate) fn is_foreign(&self) -> bool {
        self.is_foreign
    }

    /// Cancelled when the context is given back.
    pub(crate) fn gone(&self) -> CancellationToken {
        self.gone.0.clone()
    }

    /// For work that outlives the holder.
    pub(crate) fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// Grants these permissions to its pages and refuses all others without a prompt.
    pub(crate) async fn grant(&self, permissions: &[&str]) -> Result<(), BrowserError> {
        let command = GrantPermissions { permissions, browser_context_id: self.name() };
        let granted = self.process.connection().browser().send(&command).await;
        granted.map(drop).map_err(|error| hung(&self.process, error))
    }

    /// Has downloads that pages begin refused.
    pub(super) async fn refuse_downloads(&self) -> Result<(), BrowserError> {
        let command = SetDownloadBehavior {
            behavior: "deny",
            browser_context_id: self.name(),
            download_path: None,
            // For all contexts: the last word on events is the session's.
            events_enabled: true,
        };
        let refused = self.process.connection().browser().send(&command).await;
        refused.map(drop).map_err(|error| hung(&self.process, error))
    }

    /// Disposes the context and waits until that is done.
    pub(crate) async fn release(mut self) {
        if let Some(hold) = self.hold.take() {
            dispose(hold, Arc::clone(&self.context_id)).await;
        }
    }
}

impl Drop for ContextLease {
    fn drop(&mut self) {
        match self.hold.take() {
            Some(hold @ Hold::Context(_)) => {
                let context_id = Arc::clone(&self.context_id);
                self.tasks.spawn("browser_dispose", dispose(hold, context_id));
            }
            Some(Hold::Connection(process)) => process.kill(),
            // Its place in the pool knows what to do.
            Some(Hold::Process(_)) | None => {}
        }
    }
}

/// Gives the place back only when the context is gone.
async fn dispose(hold: Hold, context_id: Arc<str>) {
    match hold {
        Hold::Context(place) if place.process.is_alive() => {
            let command = DisposeBrowserContext { browser_context_id: &context_id };
            let disposed = place.process.connection().browser().send(&command).await;
            if let Err(error @ CallError::Deadline { .. }) = disposed {
                hung(&place.process, error);
            }
        }
        Hold::Context(_) => {}
        Hold::Process(place) => {
            let process = place.process.clone();
            drop(place);
            process.ended().await;
        }
        Hold::Connection(process) => {
            process.kill();
            process.ended().await;
        }
    }
}
