//! What `top` has in every group of commands: a table that is drawn over and over.

use std::{io::IsTerminal, time::Duration};

use clap::Args;

use crate::{
    cli::say,
    exit::{CommandError, CommandResult},
    table::draw,
};

/// Shortest and longest time between two looks, in seconds.
const INTERVAL_MIN: f64 = 0.2;
const INTERVAL_MAX: f64 = 3600.0;

/// Flags of a `top`.
#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    /// Print the table once and end
    #[arg(long)]
    pub once: bool,
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = interval)]
    pub interval: Duration,
}

fn interval(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (INTERVAL_MIN..=INTERVAL_MAX).contains(&seconds) => {
            Ok(Duration::from_secs_f64(seconds))
        }
        _ => Err(format!("a number of seconds from {INTERVAL_MIN} to {INTERVAL_MAX}")),
    }
}

/// Draws what a look gives until interrupted; once if that is asked for, or if nobody watches.
pub(crate) async fn repeat(
    interval: Duration,
    once: bool,
    mut look: impl AsyncFnMut() -> Result<Vec<String>, CommandError>,
) -> CommandResult {
    let first = look().await?;
    if once || !std::io::stdout().is_terminal() {
        for line in first {
            say(format_args!("{line}"));
        }
        return Ok(());
    }
    let drawing = async {
        let mut drawn = draw(&first, 0);
        loop {
            tokio::time::sleep(interval).await;
            drawn = draw(&look().await?, drawn);
        }
    };
    tokio::select! {
        outcome = drawing => outcome,
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_a_number_of_seconds_within_reason() {
        assert_eq!(interval("0.5"), Ok(Duration::from_millis(500)));
        for text in ["0", "0.1", "-1", "3601", "NaN", "inf", "soon", ""] {
            assert!(interval(text).is_err(), "{text}");
        }
    }
}
