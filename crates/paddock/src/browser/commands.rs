//! What the commands ask the server for, and what they print of its answers.

use std::path::Path;

use serde_json::{Value, json};

use super::{
    act,
    args::{BatchArgs, BrowserArgs, BrowserCommand, SnapshotArgs, StartArgs},
    asked::{Asked, Query, compact, print_lines, print_table},
    keep, read, top,
};
use crate::{
    cli::{complain, say},
    exit::{CommandError, CommandResult, Exit},
    table::{Side, Table, ago, printable, text},
};

/// Runs one of them.
pub(crate) async fn run(args: BrowserArgs) -> CommandResult {
    let asked = Asked { client: args.asked.client()?, json: args.asked.json };
    match args.command {
        BrowserCommand::Start(args) => asked.start(args).await,
        BrowserCommand::List => asked.list().await,
        BrowserCommand::Open(args) => {
            let body = json!({"url": args.url, "tabId": args.tab, "instanceId": args.instance});
            asked.show(asked.post("/navigate", &compact(body)), print_page).await
        }
        BrowserCommand::Snapshot(args) => asked.snapshot(args).await,
        BrowserCommand::Click(args) => asked.act("click", Some(args), json!({})).await,
        BrowserCommand::Type(args) => asked.act("type", Some(args.element), json!({"text": args.text})).await,
        BrowserCommand::Fill(args) => asked.act("fill", Some(args.element), json!({"text": args.text})).await,
        BrowserCommand::Press(args) => {
            asked.act("press", None, json!({"key": args.key, "tabId": args.tab.tab})).await
        }
        BrowserCommand::Act(command) => act::run(&asked, command).await,
        BrowserCommand::Read(command) => read::run(&asked, command).await,
        BrowserCommand::Keep(command) => keep::run(&asked, command).await,
        BrowserCommand::Text(args) => {
            let request = asked.get("/text", Query::of(&args));
            asked.show(request, |answer| print_lines(&text(answer, "text"))).await
        }
        BrowserCommand::Screenshot(args) => {
            let format = if is_jpeg(args.file.out.as_deref()) { "jpeg" } else { "png" };
            let query = Query::of(&args.file.tab)
                .with("raw", Some("true"))
                .with("format", Some(format))
                .with("beyondViewport", args.full.then_some("true"))
                .with("selector", args.selector.as_deref());
            asked.save(asked.get("/screenshot", query), &args.file, "page.png").await
        }
        BrowserCommand::Pdf(args) => {
            let query = Query::of(&args.tab).with("raw", Some("true"));
            asked.save(asked.get("/pdf", query), &args, "page.pdf").await
        }
        BrowserCommand::Evaluate(args) => {
            let body = json!({"expression": args.expression, "tabId": args.tab.tab});
            asked.show(asked.post("/evaluate", &compact(body)), print_result).await
        }
        BrowserCommand::Tabs => asked.show(asked.get("/tabs", Query::default()), print_tabs).await,
        BrowserCommand::Close(args) => {
            let body = compact(json!({"tabId": args.tab}));
            asked
                .show(asked.post("/close", &body), |answer| {
                    say(format_args!("{} is closed", text(answer, "tabId")));
                })
                .await
        }
        BrowserCommand::Stop(args) => asked.stop(args.instances, args.all).await,
        BrowserCommand::Hibernate(args) => asked.on_instance(&args.instance, "hibernate").await,
        BrowserCommand::Wake(args) => asked.on_instance(&args.instance, "wake").await,
        BrowserCommand::Profiles => {
            asked.show(asked.get("/profiles", Query::default()), print_profiles).await
        }
        BrowserCommand::Batch(args) => asked.batch(args).await,
        BrowserCommand::Top(args) => top::run(&asked.client, &args, asked.json).await,
    }
}

impl Asked {
    async fn start(&self, args: StartArgs) -> CommandResult {
        let policy = (!args.allow.is_empty()).then(|| json!({"allowedDomains": args.allow}));
        let body = json!({
            "name": args.name,
            "profileId": args.profile,
            "mode": args.headed.then_some("headed"),
            "isolation": args.process.then_some("process"),
            "securityPolicy": policy,
        });
        self.show(self.post("/instances/start", &compact(body)), |answer| {
            say(format_args!("{}", text(answer, "id")));
        })
        .await
    }

    async fn list(&self) -> CommandResult {
        self.show(self.get("/instances", Query::default()), |answer| {
            let mut table = Table::new(&[
                ("INSTANCE", Side::Left),
                ("STATE", Side::Left),
                ("TABS", Side::Right),
                ("AGE", Side::Right),
                ("ISOLATION", Side::Left),
                ("NAME", Side::Left),
            ]);
            for row in answer.as_array().into_iter().flatten() {
                let started = ago(row["startTime"].as_str());
                table.row(vec![
                    text(row, "id"),
                    text(row, "status"),
                    row["tabs"].to_string(),
                    started,
                    text(row, "isolation"),
                    text(row, "profileName"),
                ]);
            }
            print_table(&table, "no browser runs; `paddock browser open URL` starts one");
        })
        .await
    }

    async fn snapshot(&self, args: SnapshotArgs) -> CommandResult {
        let max_tokens = args.max_tokens.map(|max| max.to_string());
        let query = Query::of(&args.tab)
            .with("format", Some(if self.json { "json" } else { "compact" }))
            .with("interactive", args.interactive.then_some("true"))
            .with("diff", args.diff.then_some("true"))
            .with("selector", args.selector.as_deref())
            .with("maxTokens", max_tokens.as_deref());
        let snapshot = self.client.send(self.get("/snapshot", query)).await?.text().await;
        let snapshot = snapshot.map_err(|error| CommandError::from_error(Exit::NoServer, &error))?;
        say(format_args!("{}", snapshot.trim_end()));
        Ok(())
    }

    async fn stop(&self, mut instances: Vec<String>, all: bool) -> CommandResult {
        if all {
            let listed = self.client.json(self.get("/instances", Query::default())).await?;
            instances = listed.as_array().into_iter().flatten().map(|row| text(row, "id")).collect();
            if instances.is_empty() && !self.json {
                say(format_args!("no browser runs"));
            }
        }
        let mut failures = Vec::new();
        for instance in &instances {
            failures.extend(self.on_instance(instance, "stop").await.err());
        }
        match failures.pop() {
            None => Ok(()),
            Some(error) if failures.is_empty() => Err(error),
            Some(last) => {
                for error in failures {
                    complain(format_args!("paddock: {error}"));
                }
                Err(last)
            }
        }
    }

    async fn on_instance(&self, instance: &str, verb: &str) -> CommandResult {
        // An id is part of a path: nothing else may be.
        if instance.is_empty() || !instance.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            let message =
                format!("`{instance}` is not the id of a browser; `paddock browser list` shows them");
            return Err(CommandError::new(Exit::Usage, message));
        }
        self.show(self.post(&format!("/instances/{instance}/{verb}"), &json!({})), |answer| {
            let status = answer["status"].as_str().unwrap_or("done");
            say(format_args!("{instance}: {status}"));
        })
        .await
    }

    async fn batch(&self, args: BatchArgs) -> CommandResult {
        let mut urls = Vec::new();
        for url in args.urls {
            if url == "-" {
                let text = std::io::read_to_string(std::io::stdin());
                let text = text.map_err(|error| CommandError::from_error(Exit::Usage, &error))?;
                urls.extend(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned));
            } else {
                urls.push(url);
            }
        }
        let path = match &args.instance {
            Some(instance) => format!("/instances/{instance}/batch-navigate"),
            None => "/batch-navigate".to_owned(),
        };
        let body = compact(json!({"urls": urls, "concurrency": args.concurrency}));
        let answer = self.client.json(self.post(&path, &body)).await?;
        let results: Vec<&Value> = answer["results"].as_array().into_iter().flatten().collect();
        let failed = results.iter().filter(|result| !result["error"].is_null()).count();
        if self.json {
            say(format_args!("{answer:#}"));
        } else {
            let mut table = Table::new(&[("TAB", Side::Left), ("URL", Side::Left), ("TITLE", Side::Left)]);
            for result in &results {
                let error = result["error"].as_str().or_else(|| result["error"]["detail"].as_str());
                let title = error.map_or_else(|| text(result, "title"), |error| format!("failed: {error}"));
                table.row(vec![text(result, "tabId"), text(result, "url"), title]);
            }
            print_table(&table, "no page was asked for");
        }
        if failed == 0 {
            return Ok(());
        }
        Err(CommandError::new(
            Exit::Refused,
            format!("{failed} of {} pages could not be opened", results.len()),
        ))
    }
}

fn is_jpeg(path: Option<&Path>) -> bool {
    let extension = path.and_then(Path::extension);
    extension.is_some_and(|it| it.eq_ignore_ascii_case("jpg") || it.eq_ignore_ascii_case("jpeg"))
}

fn print_page(answer: &Value) {
    say(format_args!(
        "{}  {}  {}",
        text(answer, "tabId"),
        printable(&text(answer, "url")),
        printable(&text(answer, "title"))
    ));
}

/// A string as it is, so that scripts need not unquote it.
fn print_result(answer: &Value) {
    match &answer["result"] {
        Value::String(text) => say(format_args!("{text}")),
        value => say(format_args!("{value:#}")),
    }
}

fn print_tabs(answer: &Value) {
    let mut table = Table::new(&[
        ("TAB", Side::Left),
        ("INSTANCE", Side::Left),
        ("STATE", Side::Left),
        ("URL", Side::Left),
        ("TITLE", Side::Left),
    ]);
    for row in answer["tabs"].as_array().into_iter().flatten() {
        let members = ["id", "instanceId", "status", "url", "title"];
        table.row(members.iter().map(|member| text(row, member)).collect());
    }
    print_table(&table, "no tab is open; `paddock browser open URL` opens one");
}

fn print_profiles(answer: &Value) {
    let mut table = Table::new(&[("PROFILE", Side::Left), ("NAME", Side::Left), ("DESCRIPTION", Side::Left)]);
    for row in answer.as_array().into_iter().flatten() {
        table.row(["id", "name", "description"].iter().map(|member| text(row, member)).collect());
    }
    print_table(&table, "there is no profile");
}
