//! `paddock llm sim`: a provider that is simulated, as a server.

use paddock_llm::sim::{SimOptions, SimServer};
use paddock_platform::{signal::stop_on_signals, task::Tasks};
use tokio_util::sync::CancellationToken;

use super::args::SimArgs;
use crate::{
    cli::say,
    exit::{CommandError, CommandResult, Exit},
};

/// How long connections may take to end.
const STOP_WAIT: std::time::Duration = std::time::Duration::from_secs(5);

/// Serves until a signal.
pub(super) async fn run(args: &SimArgs) -> CommandResult {
    let mut options = SimOptions::default();
    for pair in &args.behaviour {
        let (key, value) = pair
            .split_once('=')
            .ok_or_else(|| CommandError::new(Exit::Usage, format!("`{pair}` is not KEY=VALUE")))?;
        options.set(key, value).map_err(|reason| CommandError::new(Exit::Usage, reason))?;
    }
    let failure = |error: &(dyn std::error::Error + 'static)| CommandError::from_error(Exit::Failure, error);
    let server = SimServer::bind(&args.listen, options).await.map_err(|error| {
        let exit = if error.kind() == std::io::ErrorKind::AddrInUse { Exit::InUse } else { Exit::Failure };
        CommandError::new(exit, format!("cannot listen on {}: {error}", args.listen))
    })?;
    let address = server.address().map_err(|error| failure(&error))?;
    say(format_args!("a simulated model provider listens on http://{address}/v1"));
    let stop = CancellationToken::new();
    stop_on_signals(stop.clone()).map_err(|error| failure(&error))?;
    let tasks = Tasks::default();
    let _ = stop.run_until_cancelled(server.serve(&tasks)).await;
    let _ = tasks.stop(STOP_WAIT).await;
    Ok(())
}
