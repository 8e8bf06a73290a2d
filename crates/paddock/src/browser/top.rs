//! `paddock browser top`: what each browser costs, over and over.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::Value;

use crate::{
    cli::say,
    client::Client,
    exit::{CommandError, CommandResult},
    table::{Side, Table, ago, counted, is_coloured, terminal_width, text},
    top::{TopArgs, repeat},
};

/// Processor seconds of each instance at the last look.
type Seen = HashMap<String, f64>;

/// Prints the table until interrupted; once if nobody watches.
pub(super) async fn run(client: &Client, args: &TopArgs, json: bool) -> CommandResult {
    if json {
        say(format_args!("{:#}", look(client).await?));
        return Ok(());
    }
    let mut since: Option<(Instant, Seen)> = None;
    let draw = async || {
        let metrics = look(client).await?;
        let now = Instant::now();
        let lines = lines(&metrics, since.as_ref().map(|(then, seen)| (now - *then, seen)));
        since = Some((now, seen(&metrics)));
        Ok::<_, CommandError>(lines)
    };
    repeat(args.interval, args.once, draw).await
}

async fn look(client: &Client) -> Result<Value, CommandError> {
    client.json(client.request(Method::GET, "/browser/instances/metrics")).await
}

fn seen(metrics: &Value) -> Seen {
    let rows = metrics.as_array().into_iter().flatten();
    rows.filter_map(|row| Some((row["instanceId"].as_str()?.to_owned(), row["cpuSeconds"].as_f64()?)))
        .collect()
}

/// A line of sums, and the table. `since` tells how long ago the last look was and what it saw.
fn lines(metrics: &Value, since: Option<(Duration, &Seen)>) -> Vec<String> {
    let rows: Vec<&Value> = metrics.as_array().into_iter().flatten().collect();
    let mut table = Table::new(&[
        ("INSTANCE", Side::Left),
        ("STATE", Side::Left),
        ("TABS", Side::Right),
        ("PSS MB", Side::Right),
        ("CPU", Side::Right),
        ("LAST USE", Side::Right),
        ("NAME", Side::Left),
    ]);
    let mut total = (0, 0.0);
    for row in &rows {
        let (id, cpu) = (text(row, "instanceId"), row["cpuSeconds"].as_f64().unwrap_or_default());
        let pss = row["pssBytes"].as_f64().unwrap_or_default() / f64::from(1 << 20);
        let tabs = row["tabs"].as_u64().unwrap_or_default();
        total = (total.0 + tabs, total.1 + pss);
        // Over its whole life before there are two looks to compare.
        let usage = match since.and_then(|(past, seen)| Some((past, seen.get(&id)?))) {
            Some((past, before)) => format!("{:.0}%", (cpu - before).max(0.0) / past.as_secs_f64() * 100.0),
            None => format!("{cpu:.1}s"),
        };
        table.row(vec![
            id,
            text(row, "status"),
            tabs.to_string(),
            format!("{pss:.1}"),
            usage,
            ago(row["lastUsed"].as_str()),
            text(row, "profileName"),
        ]);
    }
    let count = rows.len();
    let sums =
        format!("{}, {}, {:.1} MB (PSS)", counted(count as u64, "browser"), counted(total.0, "tab"), total.1);
    let mut lines = vec![sums];
    lines.extend(table.lines(terminal_width(), is_coloured()));
    lines
}
