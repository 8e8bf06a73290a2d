//! `paddock jobs schedules`: what is enqueued when.

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::{Asked, checked, input};
use crate::{
    cli::say,
    exit::{CommandError, CommandResult, Exit},
    table::{Side, Table, ago, is_coloured, terminal_width, text},
};

#[derive(Debug, Subcommand)]
pub(super) enum SchedulesCommand {
    /// List the schedules
    List,
    /// Show a schedule and when it fires next
    Show(NameArgs),
    /// Make a schedule, or change one
    Put(Box<PutArgs>),
    /// Say when a pattern would fire, without making a schedule
    Preview(WhenArgs),
    /// Fire no more until it is resumed
    Pause(NameArgs),
    /// Fire again
    Resume(NameArgs),
    /// Fire once, now
    Fire(NameArgs),
    /// Forget a schedule
    Remove(NameArgs),
}

#[derive(Debug, Args)]
pub(super) struct NameArgs {
    /// The schedule
    name: String,
}

#[derive(Debug, Args)]
pub(super) struct WhenArgs {
    /// A cron pattern: minute hour day month weekday
    #[arg(long, required_unless_present = "every", conflicts_with = "every")]
    cron: Option<String>,
    /// The time zone of the pattern, for example Europe/Berlin [default: UTC]
    #[arg(long, value_name = "ZONE", requires = "cron")]
    time_zone: Option<String>,
    /// How often instead of a pattern, for example 6h
    #[arg(long, value_name = "DURATION")]
    every: Option<String>,
}

impl WhenArgs {
    fn members(self) -> Map<String, Value> {
        let members = [("cron", self.cron), ("time_zone", self.time_zone), ("every", self.every)];
        members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into()))).collect()
    }
}

#[derive(Debug, Args)]
pub(super) struct PutArgs {
    /// Its name
    name: String,
    #[command(flatten)]
    when: WhenArgs,
    /// The tool to call
    #[arg(long, required_unless_present_any = ["kind", "mission"])]
    tool: Option<String>,
    /// Work of this kind for external workers, instead of a tool
    #[arg(long, conflicts_with = "tool")]
    kind: Option<String>,
    /// The stored mission to start, instead of a tool
    #[arg(long, conflicts_with_all = ["tool", "kind"])]
    mission: Option<String>,
    /// What it is called or started with: JSON, `@FILE`, or `-` for standard input
    #[arg(long, default_value = "{}", value_name = "JSON")]
    input: String,
    /// The queue of what is enqueued [default: standard]
    #[arg(long)]
    queue: Option<String>,
    /// Up to how much later, by chance
    #[arg(long, value_name = "DURATION")]
    jitter: Option<String>,
    /// What becomes of missed firings
    #[arg(long, value_parser = ["skip", "once", "all"], default_value = "skip")]
    catch_up: String,
    /// What happens if the last one has not ended
    #[arg(long, value_parser = ["allow", "skip", "cancel"], default_value = "allow")]
    overlap: String,
    /// Do not fire until it is resumed
    #[arg(long)]
    paused: bool,
}

pub(super) async fn run(asked: &Asked, command: SchedulesCommand) -> CommandResult {
    match command {
        SchedulesCommand::List => {
            let answer = asked.get("/jobs/schedules", &[]).await?;
            asked.print(&answer, || {
                for line in lines(&answer) {
                    say(format_args!("{line}"));
                }
            });
        }
        SchedulesCommand::Show(args) => {
            let answer = asked.get(&path(&args.name, "")?, &[]).await?;
            asked.print(&answer, || describe(&answer));
        }
        SchedulesCommand::Put(args) => {
            let (path, body) = (path(&args.name, "")?, body(*args)?);
            let answer = asked.client.json(asked.client.request(Method::PUT, &path).json(&body)).await?;
            asked.print(&answer, || told(&answer));
        }
        SchedulesCommand::Preview(args) => {
            let answer = asked.post("/jobs/schedules/preview", &Value::Object(args.members())).await?;
            asked.print(&answer, || firings(&answer));
        }
        SchedulesCommand::Pause(args) => steer(asked, &args.name, "pause").await?,
        SchedulesCommand::Resume(args) => steer(asked, &args.name, "resume").await?,
        SchedulesCommand::Fire(args) => {
            let answer = asked.post(&path(&args.name, "/fire")?, &json!({})).await?;
            asked.print(&answer, || say(format_args!("{}", text(&answer, "last_job"))));
        }
        SchedulesCommand::Remove(args) => {
            asked.client.send(asked.client.request(Method::DELETE, &path(&args.name, "")?)).await?;
            asked.print(&json!({"removed": args.name}), || say(format_args!("{} is gone", args.name)));
        }
    }
    Ok(())
}

fn path(name: &str, end: &str) -> Result<String, CommandError> {
    if name == "preview" {
        return Err(CommandError::new(Exit::Usage, "no schedule can be called `preview`"));
    }
    Ok(format!("/jobs/schedules/{}{end}", checked(name)?))
}

async fn steer(asked: &Asked, name: &str, verb: &str) -> CommandResult {
    let answer = asked.post(&path(name, &format!("/{verb}"))?, &json!({})).await?;
    asked.print(&answer, || told(&answer));
    Ok(())
}

fn body(args: PutArgs) -> Result<Value, CommandError> {
    let input = input(&args.input)?;
    let mut body = Value::Object(args.when.members());
    for (name, value) in
        [("catch_up", Some(args.catch_up)), ("overlap", Some(args.overlap)), ("jitter", args.jitter)]
    {
        if let Some(value) = value {
            body[name] = value.into();
        }
    }
    body["paused"] = args.paused.into();
    let (member, mut target) = match args.mission {
        Some(mission) => ("mission", json!({"name": mission, "inputs": input})),
        None => ("job", json!({"input": input})),
    };
    for (name, value) in [("tool", args.tool), ("kind", args.kind), ("queue", args.queue)] {
        if let Some(value) = value {
            target[name] = value.into();
        }
    }
    body[member] = target;
    Ok(body)
}

/// What a schedule enqueues.
fn what(schedule: &Value) -> String {
    let schedule = &schedule["schedule"];
    let mission = text(&schedule["mission"], "name");
    if !mission.is_empty() {
        return format!("mission {mission}");
    }
    let tool = text(&schedule["job"], "tool");
    if tool.is_empty() { text(&schedule["job"], "kind") } else { tool }
}

/// When a schedule fires.
fn when(schedule: &Value) -> String {
    let schedule = &schedule["schedule"];
    match (schedule["cron"].as_str(), schedule["every"].as_str()) {
        (Some(cron), _) => format!("{cron} {}", schedule["time_zone"].as_str().unwrap_or("UTC")),
        (None, every) => format!("every {}", every.unwrap_or_default()),
    }
}

fn next(schedule: &Value) -> String {
    if schedule["paused"] == true { "paused".to_owned() } else { text(schedule, "next_at") }
}

/// Why it does not fire, or why it enqueued nothing the last time.
fn news(schedule: &Value) -> String {
    let reason = text(schedule, "paused_reason");
    if reason.is_empty() { text(schedule, "last_error") } else { reason }
}

fn lines(answer: &Value) -> Vec<String> {
    let mut table = Table::new(&[
        ("NAME", Side::Left),
        ("WHEN", Side::Left),
        ("WHAT", Side::Left),
        ("NEXT", Side::Left),
        ("LAST", Side::Right),
        ("FIRED", Side::Right),
        ("SKIPPED", Side::Right),
        ("NEWS", Side::Left),
    ]);
    for schedule in answer["schedules"].as_array().into_iter().flatten() {
        table.row(vec![
            text(schedule, "name"),
            when(schedule),
            what(schedule),
            next(schedule),
            ago(schedule["last_at"].as_str()),
            schedule["fired"].to_string(),
            schedule["skipped"].to_string(),
            news(schedule),
        ]);
    }
    table.lines(terminal_width(), is_coloured())
}

fn told(schedule: &Value) {
    say(format_args!("{}  {}", text(schedule, "name"), next(schedule)));
}

fn firings(answer: &Value) {
    for at in answer["firings"].as_array().into_iter().flatten() {
        say(format_args!("{}", at.as_str().unwrap_or_default()));
    }
}

fn describe(answer: &Value) {
    let schedule = &answer["schedule"];
    let rows = [
        ("name", text(schedule, "name")),
        ("what", what(schedule)),
        ("when", when(schedule)),
        ("last", format!("{} {}", text(schedule, "last_at"), text(schedule, "last_job"))),
        ("fired", schedule["fired"].to_string()),
        ("skipped", schedule["skipped"].to_string()),
        ("news", news(schedule)),
    ];
    for (name, value) in rows {
        if !value.trim().is_empty() {
            say(format_args!("{name:<10}{}", crate::table::printable(&value)));
        }
    }
    if schedule["paused"] == true {
        say(format_args!("paused    it would fire:"));
    } else {
        say(format_args!("next"));
    }
    firings(answer);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_says_when_and_what() {
        let cron = json!({"schedule": {"cron": "0 3 * * *", "time_zone": "Europe/Berlin", "mission": {"name": "nightly"}}});
        assert_eq!(
            (when(&cron), what(&cron)),
            ("0 3 * * * Europe/Berlin".to_owned(), "mission nightly".to_owned())
        );
        let every = json!({"paused": true, "schedule": {"every": "6h", "job": {"tool": "analysis_run"}}});
        assert_eq!(
            (when(&every), what(&every), next(&every)),
            ("every 6h".to_owned(), "analysis_run".to_owned(), "paused".to_owned())
        );
        let stopped = json!({"paused": true, "paused_reason": "the key was revoked", "last_error": "older"});
        assert_eq!(news(&stopped), "the key was revoked");
    }
}
