//! `paddock jobs watch` and `top`: the same looks, over and over.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;

use super::commands::{kind, lines, news};
use crate::{
    cli::{complain, say},
    client::Client,
    exit::{CommandError, CommandResult, Exit},
    table::{Side, Table, is_coloured, terminal_width, text},
    top::{TopArgs, repeat},
};

/// Between two looks at a job.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
const LIST_INTERVAL: Duration = Duration::from_secs(1);
const LIST_SHOWN: u32 = 20;

async fn get(client: &Client, path: &str) -> Result<Value, CommandError> {
    client.json(client.request(Method::GET, path)).await
}

/// Follows a job to its end: what changes goes to standard error, the result to standard output.
pub(super) async fn job(client: &Client, id: &str, json: bool) -> CommandResult {
    let mut last = String::new();
    loop {
        let job = get(client, &format!("/jobs/{id}")).await?;
        let state = text(&job, "state");
        let line = format!("{id}  {}  {state}  {}", kind(&job), news(&job));
        if line != last && !json {
            complain(format_args!("{}", line.trim_end()));
            last = line;
        }
        match state.as_str() {
            "succeeded" => {
                let result = if json { job } else { get(client, &format!("/jobs/{id}/result")).await? };
                say(format_args!("{result:#}"));
                return Ok(());
            }
            "failed" | "dead" | "cancelled" => {
                if json {
                    say(format_args!("{job:#}"));
                }
                let why = news(&job);
                let message =
                    format!("the job {id} is {state}{}{why}", if why.is_empty() { "" } else { "; " });
                return Err(CommandError::new(Exit::Refused, message));
            }
            _ => tokio::time::sleep(LOOK_INTERVAL).await,
        }
    }
}

/// Draws the newest jobs until interrupted; once if nobody watches.
pub(super) async fn all(client: &Client) -> CommandResult {
    let path = format!("/jobs?limit={LIST_SHOWN}");
    let look = async || Ok::<_, CommandError>(lines(&get(client, &path).await?));
    repeat(LIST_INTERVAL, false, look).await
}

/// Draws the queues until interrupted; once if nobody watches.
pub(super) async fn top(client: &Client, args: &TopArgs, json: bool) -> CommandResult {
    if json {
        say(format_args!("{:#}", get(client, "/jobs/queues").await?));
        return Ok(());
    }
    let look = async || Ok::<_, CommandError>(queues(&get(client, "/jobs/queues").await?));
    repeat(args.interval, args.once, look).await
}

fn queues(answer: &Value) -> Vec<String> {
    let mut table = Table::new(&[
        ("QUEUE", Side::Left),
        ("WEIGHT", Side::Right),
        ("MODE", Side::Left),
        ("QUEUED", Side::Right),
        ("OLDEST", Side::Right),
        ("SCHEDULED", Side::Right),
        ("RUNNING", Side::Right),
        ("WAITING", Side::Right),
        ("DEAD", Side::Right),
    ]);
    for queue in answer["queues"].as_array().into_iter().flatten() {
        let count = |name: &str| queue[name].to_string();
        table.row(vec![
            text(queue, "name"),
            count("weight"),
            text(queue, "mode"),
            count("queued"),
            format!("{:.1}s", queue["oldest_ready_seconds"].as_f64().unwrap_or_default()),
            count("scheduled"),
            count("running"),
            count("waiting"),
            count("dead"),
        ]);
    }
    table.lines(terminal_width(), is_coloured())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_are_shown_with_what_waits_in_them() {
        let answer = serde_json::json!({"queues": [{
            "name": "standard", "weight": 2, "mode": "paused", "queued": 7, "scheduled": 1, "running": 5,
            "waiting": 0, "dead": 2, "oldest_ready_seconds": 12.34,
        }]});
        let lines = queues(&answer);
        assert!(lines[1].starts_with("standard") && lines[1].contains("paused"), "{lines:?}");
        assert!(lines[1].contains("12.3s") && lines[1].ends_with('2'), "{lines:?}");
    }
}
