//! Signals: the first asks the server to stop, the second makes it.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Exit code of a process that a second signal ended: 128 and the number of SIGINT, as shells have it.
pub const EXIT_INTERRUPTED: i32 = 130;

/// The handlers for signals could not be installed.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for signals")]
pub struct SignalError(#[source] io::Error);

/// Cancels `stop` at the first SIGTERM or SIGINT; a second one ends the process at once.
pub fn stop_on_signals(stop: CancellationToken) -> Result<(), SignalError> {
    on_signals(stop, || std::process::exit(EXIT_INTERRUPTED))
}

fn on_signals(stop: CancellationToken, second: impl FnOnce() + Send + 'static) -> Result<(), SignalError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(SignalError)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(SignalError)?;
    let listening = async move {
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            }
        };
        let name = next().await;
        tracing::info!(signal = name, "stopping; send the signal again to stop at once");
        stop.cancel();
        let name = next().await;
        tracing::warn!(signal = name, "stopped at once");
        second();
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "must go on while shutdown waits for all named tasks, to hear the second signal"
    )]
    tokio::spawn(listening);
    Ok(())
}

#[cfg(test)]
mod tests {
    use rustix::process::{Signal, getpid, kill_process};

    use super::*;

    #[tokio::test]
    async fn the_first_signal_asks_and_the_second_makes() {
        let (stop, ended) = (CancellationToken::new(), CancellationToken::new());
        let end = ended.clone();
        on_signals(stop.clone(), move || end.cancel()).unwrap();
        kill_process(getpid(), Signal::TERM).unwrap();
        stop.cancelled().await;
        assert!(!ended.is_cancelled());
        kill_process(getpid(), Signal::INT).unwrap();
        ended.cancelled().await;
    }
}
