//! What the commands ask the server for, and what they print of its answers.

use std::io::Read;

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::{
    args::{EnqueueArgs, JobsArgs, JobsCommand, ListArgs, RetryArgs, ShowArgs},
    backlog, schedules, watch, webhooks,
};
use crate::{
    cli::say,
    client::Client,
    exit::{CommandError, CommandResult, Exit},
    table::{Side, Table, ago, counted, is_coloured, printable, terminal_width, text},
};

/// Runs one of them.
pub(crate) async fn run(args: JobsArgs) -> CommandResult {
    let asked = Asked { client: args.asked.client()?, json: args.asked.json };
    match args.command {
        JobsCommand::Enqueue(args) => asked.enqueue(args).await,
        JobsCommand::List(args) => asked.list(&args).await,
        JobsCommand::Show(args) => asked.show(&args).await,
        JobsCommand::Watch(args) => match &args.id {
            Some(id) => watch::job(&asked.client, &checked(id)?, asked.json).await,
            None => watch::all(&asked.client).await,
        },
        JobsCommand::Retry(args) => asked.retry(args).await,
        JobsCommand::Cancel(args) => asked.each(&args.ids, "cancel").await,
        JobsCommand::Top(args) => watch::top(&asked.client, &args, asked.json).await,
        JobsCommand::Backlog(args) => backlog::run(&asked, &args).await,
        JobsCommand::Schedules(command) => schedules::run(&asked, command).await,
        JobsCommand::Webhooks(command) => webhooks::run(&asked, command).await,
        JobsCommand::Pause(args) => asked.steer(&args.queue, "pause").await,
        JobsCommand::Resume(args) => asked.steer(&args.queue, "resume").await,
        JobsCommand::Drain(args) => asked.steer(&args.queue, "drain").await,
        JobsCommand::Purge(args) => {
            let path = format!("/jobs/queues/{}/purge", checked(&args.queue)?);
            let answer = asked.post(&path, &json!({"dry_run": args.dry_run})).await?;
            let matched = answer["matched"].as_u64().unwrap_or_default();
            let what = if args.dry_run { "would be cancelled" } else { "cancelled" };
            asked.print(&answer, || say(format_args!("{} {what}", counted(matched, "job"))));
            Ok(())
        }
    }
}

/// An id or a name as it goes into a path: the server knows none with other characters.
pub(crate) fn checked(text: &str) -> Result<String, CommandError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if text.is_empty() || !text.chars().all(fits) {
        return Err(CommandError::new(
            Exit::Usage,
            format!("`{}` is neither an id nor a name", printable(text)),
        ));
    }
    Ok(text.to_owned())
}

/// A server, and how its answers are to be shown.
pub(crate) struct Asked {
    pub(crate) client: Client,
    pub(crate) json: bool,
}

impl Asked {
    pub(crate) async fn get(&self, path: &str, query: &[(&str, String)]) -> Result<Value, CommandError> {
        self.client.json(self.client.request(Method::GET, path).query(query)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Value, CommandError> {
        self.client.json(self.client.request(Method::POST, path).json(body)).await
    }

    pub(crate) fn print(&self, answer: &Value, for_people: impl FnOnce()) {
        if self.json {
            say(format_args!("{answer:#}"));
        } else {
            for_people();
        }
    }

    async fn enqueue(&self, args: EnqueueArgs) -> CommandResult {
        let mut body = Map::new();
        body.insert("input".to_owned(), input(&args.input)?);
        body.insert("priority".to_owned(), args.priority.into());
        let run_at = args.run_at.map(|at| at.to_string());
        for (name, value) in [
            ("tool", args.tool),
            ("kind", args.kind),
            ("queue", args.queue),
            ("run_at", run_at),
            ("timeout", args.timeout),
            ("unique_key", args.unique_key),
            ("concurrency_key", args.concurrency_key),
            ("webhook", args.webhook),
        ] {
            body.extend(value.map(|value| (name.to_owned(), value.into())));
        }
        let job = self.post("/jobs", &Value::Object(body)).await?;
        let id = text(&job, "id");
        if !args.wait {
            self.print(&job, || say(format_args!("{id}")));
            return Ok(());
        }
        watch::job(&self.client, &id, self.json).await
    }

    async fn list(&self, args: &ListArgs) -> CommandResult {
        let mut query = vec![("limit", args.limit.to_string())];
        query.extend(args.state.map(|state| ("state", state.name())));
        query.extend(args.queue.clone().map(|queue| ("queue", queue)));
        query.extend(args.kind.clone().map(|kind| ("kind", kind)));
        let page = self.get("/jobs", &query).await?;
        self.print(&page, || {
            for line in lines(&page) {
                say(format_args!("{line}"));
            }
        });
        Ok(())
    }

    async fn show(&self, args: &ShowArgs) -> CommandResult {
        let id = checked(&args.id)?;
        if args.result {
            let request = self.client.request(Method::GET, &format!("/jobs/{id}/result"));
            let result = self.client.json(request).await?;
            say(format_args!("{result:#}"));
            return Ok(());
        }
        let job = self.get(&format!("/jobs/{id}"), &[]).await?;
        self.print(&job, || describe(&job));
        Ok(())
    }

    async fn retry(&self, args: RetryArgs) -> CommandResult {
        if !args.all {
            return self.each(&args.ids, "retry").await;
        }
        let mut body = json!({"dry_run": args.dry_run});
        for (name, value) in [("queue", args.queue), ("kind", args.kind), ("class", args.class)] {
            if let Some(value) = value {
                body[name] = value.into();
            }
        }
        if !args.state.is_empty() {
            body["states"] = args.state.iter().map(|state| Value::from(state.name())).collect();
        }
        let answer = self.post("/jobs/redrive", &body).await?;
        let matched = answer["matched"].as_u64().unwrap_or_default();
        let redriven = answer["redriven"].as_u64().unwrap_or_default();
        let (count, what) =
            if args.dry_run { (matched, "would be tried again") } else { (redriven, "back in their queues") };
        self.print(&answer, || say(format_args!("{} {what}", counted(count, "job"))));
        Ok(())
    }

    /// Does something to each; the first that does not let itself be ends the command.
    async fn each(&self, ids: &[String], verb: &str) -> CommandResult {
        for id in ids {
            let job = self.post(&format!("/jobs/{}/{verb}", checked(id)?), &json!({})).await?;
            let state =
                if job["cancelling"] == true { "ends shortly".to_owned() } else { text(&job, "state") };
            self.print(&job, || say(format_args!("{id}  {state}")));
        }
        Ok(())
    }

    async fn steer(&self, queue: &str, verb: &str) -> CommandResult {
        let answer = self.post(&format!("/jobs/queues/{}/{verb}", checked(queue)?), &json!({})).await?;
        self.print(&answer, || say(format_args!("{queue}  {}", text(&answer, "mode"))));
        Ok(())
    }
}

/// JSON of the command line, of a file or of standard input.
pub(crate) fn input(given: &str) -> Result<Value, CommandError> {
    let unreadable =
        |error: std::io::Error| CommandError::new(Exit::Usage, format!("cannot read `{given}`: {error}"));
    let text = match given.strip_prefix('@') {
        Some(file) => std::fs::read_to_string(file).map_err(unreadable)?,
        None if given == "-" => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map_err(unreadable)?;
            text
        }
        None => given.to_owned(),
    };
    serde_json::from_str(&text)
        .map_err(|error| CommandError::new(Exit::Usage, format!("the input is not JSON: {error}")))
}

/// What a job is a call of.
pub(super) fn kind(job: &Value) -> String {
    let tool = text(job, "tool");
    if tool.is_empty() { text(job, "kind") } else { tool }
}

/// Jobs as a table.
pub(super) fn lines(page: &Value) -> Vec<String> {
    let mut table = Table::new(&[
        ("ID", Side::Left),
        ("STATE", Side::Left),
        ("QUEUE", Side::Left),
        ("WHAT", Side::Left),
        ("ATTEMPT", Side::Right),
        ("AGE", Side::Right),
        ("NEWS", Side::Left),
    ]);
    for job in page["items"].as_array().into_iter().flatten() {
        table.row(vec![
            text(job, "id"),
            text(job, "state"),
            text(job, "queue"),
            kind(job),
            format!("{}/{}", job["attempt"], job["attempts_max"]),
            ago(job["created_at"].as_str()),
            news(job),
        ]);
    }
    table.lines(terminal_width(), is_coloured())
}

/// The last thing that is known of a job, in a few words.
pub(super) fn news(job: &Value) -> String {
    let progress = &job["progress"];
    match job["state"].as_str() {
        Some("running") if progress.is_object() => {
            let percent = progress["percent"].as_f64().unwrap_or_default();
            format!("{percent:.0}% {}", text(progress, "message"))
        }
        Some("succeeded") | None => String::new(),
        Some(_) if job["error"].is_object() => {
            format!("{}: {}", text(&job["error"], "class"), text(&job["error"], "message"))
        }
        Some(_) => String::new(),
    }
}

/// A job for a person.
fn describe(job: &Value) {
    let line = |name: &str, value: String| {
        if !value.is_empty() {
            say(format_args!("{name:<10}{}", printable(&value)));
        }
    };
    line("id", text(job, "id"));
    line("what", kind(job));
    line("queue", text(job, "queue"));
    line("state", text(job, "state"));
    line("accepted", text(job, "created_at"));
    line("ended", text(job, "finished_at"));
    line("news", news(job));
    line("input", job["input"].to_string());
    if !job["result"].is_null() {
        line("result", job["result"].to_string());
    } else if let Some(size) = job["result_size"].as_u64() {
        line("result", format!("{size} bytes; `paddock jobs show --result` prints them"));
    }
    for attempt in job["attempts"].as_array().into_iter().flatten() {
        let outcome = attempt["outcome"].as_str().unwrap_or("runs");
        let why = text(&attempt["error"], "message");
        let (number, worker) = (&attempt["number"], text(attempt, "worker"));
        line("attempt", format!("{number}  {outcome}  {}  {worker}  {why}", text(attempt, "started_at")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_news_of_a_job_is_its_progress_or_its_error() {
        let running = json!({"state": "running", "progress": {"percent": 40.4, "message": "reading"}});
        assert_eq!(news(&running), "40% reading");
        let dead = json!({"state": "dead", "error": {"class": "timeout", "message": "too slow"}});
        assert_eq!(news(&dead), "timeout: too slow");
        let mended = json!({"state": "succeeded", "error": {"class": "timeout", "message": "too slow"}});
        assert_eq!(news(&mended), "");
    }

    #[test]
    fn what_is_no_id_does_not_reach_the_server() {
        for text in ["", "../keys", "a b", "a?b"] {
            assert!(checked(text).is_err(), "{text}");
        }
        assert!(checked("01938a5e-7d10-7c3a-9f21-6b1d0c5e8a44").is_ok());
    }
}
