//! What the commands ask the server for.

use std::{path::Path, time::Duration};

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    args::{
        AgentsArgs, AgentsCommand, ApproveArgs, AskArgs, DeployArgs, LogsArgs, SendArgs, SplitArgs, TraceArgs,
    },
    project, show,
};
use crate::{
    cli::say,
    exit::{CommandError, CommandResult, Exit},
    jobs::{Asked, checked, input},
    table::{printable, text},
    top::repeat,
};

/// Between two looks at a log.
const LOG_INTERVAL: Duration = Duration::from_millis(500);
/// The most entries of a timeline that are asked for at once.
const ENTRIES: u32 = 500;

/// Runs one of them.
pub(crate) async fn run(args: AgentsArgs) -> CommandResult {
    // These need no server, and no configuration that names one.
    match args.command {
        AgentsCommand::New(args) => return project::new(&args),
        AgentsCommand::Build(args) => return project::build(args).await,
        _ => {}
    }
    let asked = Asked { client: args.asked.client()?, json: args.asked.json };
    match args.command {
        AgentsCommand::List(args) => {
            let mut query = vec![("limit", args.limit.to_string())];
            query.extend(args.capability.map(|capability| ("capability", capability)));
            let page = asked.get("/agents", &query).await?;
            asked.print(&page, || print(show::agents(&page)));
            Ok(())
        }
        AgentsCommand::Show(args) => {
            let shown = asked.get(&format!("/agents/{}", checked(&args.name)?), &[]).await?;
            asked.print(&shown, || print(show::agent(&shown)));
            Ok(())
        }
        AgentsCommand::Deploy(args) => deploy(&asked, &args).await,
        AgentsCommand::Validate(args) => {
            let mut wrong = 0;
            for file in &args.files {
                wrong += usize::from(!validate(&asked, file).await?);
            }
            if wrong > 0 {
                let message = format!("{wrong} of {} files cannot be deployed", args.files.len());
                return Err(CommandError::new(Exit::Refused, message));
            }
            Ok(())
        }
        AgentsCommand::Send(args) => send(&asked, args).await,
        AgentsCommand::Ask(args) => ask(&asked, args).await,
        AgentsCommand::Trace(args) => trace(&asked, args).await,
        AgentsCommand::Top(args) => {
            let look = async || {
                let page = asked.get("/agents", &[("limit", "500".to_owned())]).await?;
                Ok::<_, CommandError>(show::agents(&page))
            };
            repeat(args.interval, args.once, look).await
        }
        AgentsCommand::Logs(args) => logs(&asked, &args).await,
        AgentsCommand::Approve(args) => approve(&asked, args).await,
        AgentsCommand::Suspend(args) => steer(&asked, &args.name, "suspend").await,
        AgentsCommand::Resume(args) => steer(&asked, &args.name, "resume").await,
        AgentsCommand::Rollback(args) => {
            let path = format!("/agents/{}/rollback", checked(&args.name)?);
            let answer = asked.post(&path, &json!({ "version": args.version })).await?;
            asked.print(&answer, || say(format_args!("{}@{}", text(&answer, "name"), answer["version"])));
            Ok(())
        }
        AgentsCommand::Split(args) => split(&asked, &args).await,
        AgentsCommand::Promote(args) => {
            let path = format!("/agents/{}/promote", checked(&args.name)?);
            let answer = asked.post(&path, &json!({})).await?;
            asked.print(&answer, || say(format_args!("{}@{}", text(&answer, "name"), answer["version"])));
            Ok(())
        }
        AgentsCommand::Rm(args) => {
            for name in &args.names {
                let request = asked.client.request(Method::DELETE, &format!("/agents/{}", checked(name)?));
                asked.client.send(request).await?;
            }
            Ok(())
        }
        AgentsCommand::Dead(args) => {
            let letters = asked.get("/agents/dead-letters", &[("limit", args.limit.to_string())]).await?;
            asked.print(&letters, || print(show::dead_letters(&letters)));
            Ok(())
        }
        AgentsCommand::Nodes => {
            let nodes = asked.get("/agents/nodes", &[]).await?;
            asked.print(&nodes, || print(show::nodes(&nodes)));
            Ok(())
        }
        AgentsCommand::New(_) | AgentsCommand::Build(_) => Ok(()),
    }
}

fn print(lines: Vec<String>) {
    for line in lines {
        say(format_args!("{line}"));
    }
}

fn read(file: &Path) -> Result<Vec<u8>, CommandError> {
    std::fs::read(file)
        .map_err(|error| CommandError::new(Exit::Usage, format!("cannot read `{}`: {error}", file.display())))
}

fn media_type(file: &Path) -> Result<&'static str, CommandError> {
    match file.extension().and_then(|end| end.to_str()).unwrap_or_default().to_ascii_lowercase().as_str() {
        "md" => Ok("text/markdown"),
        "json" => Ok("application/json"),
        "wasm" => Ok("application/wasm"),
        _ => Err(CommandError::new(
            Exit::Usage,
            format!("`{}` is no `.md`, `.wasm` or `.json` file", file.display()),
        )),
    }
}

async fn deploy(asked: &Asked, args: &DeployArgs) -> CommandResult {
    for file in &args.files {
        let (media_type, bytes) = (media_type(file)?, read(file)?);
        let answer = if media_type == "application/wasm" {
            deploy_component(asked, args, file, bytes).await?
        } else {
            let request = asked.client.request(Method::POST, &deploy_path(args));
            asked.client.json(request.header("Content-Type", media_type).body(bytes)).await?
        };
        asked.print(&answer, || say(format_args!("{}@{}", text(&answer, "name"), answer["version"])));
    }
    Ok(())
}

fn deploy_path(args: &DeployArgs) -> String {
    args.weight.map_or_else(|| "/agents".to_owned(), |weight| format!("/agents?weight={weight}"))
}

async fn split(asked: &Asked, args: &SplitArgs) -> CommandResult {
    let path = format!("/agents/{}/split", checked(&args.name)?);
    if args.weight <= 0.0 {
        let request = asked.client.request(Method::DELETE, &path);
        asked.client.send(request).await?;
        return Ok(());
    }
    let input = json!({ "version": args.version, "weight": args.weight });
    let answer = asked.client.json(asked.client.request(Method::PUT, &path).json(&input)).await?;
    asked.print(&answer, || {
        say(format_args!("{}@{}  {}", args.name, answer["version"], answer["weight"]));
    });
    Ok(())
}

async fn deploy_component(
    asked: &Asked,
    args: &DeployArgs,
    file: &Path,
    bytes: Vec<u8>,
) -> Result<Value, CommandError> {
    let request = asked.client.request(Method::PUT, "/agents/modules");
    let module = asked.client.json(request.header("Content-Type", "application/wasm").body(bytes)).await?;
    let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let name = args.name.as_deref().or(module["name"].as_str()).unwrap_or(stem);
    let tools = if args.tools.is_empty() { module["tools"].clone() } else { json!(args.tools) };
    let config = args.settings.as_deref().map(input).transpose()?.unwrap_or_default();
    let definition = json!({
        "name": name,
        "description": module["description"],
        "capabilities": module["capabilities"],
        "tools": tools,
        "config": config,
        "wasm": { "module": module["digest"] },
    });
    asked.post(&deploy_path(args), &definition).await
}

/// Checks a file; whether it can be deployed.
async fn validate(asked: &Asked, file: &Path) -> Result<bool, CommandError> {
    let media_type = media_type(file)?;
    if media_type == "application/wasm" {
        let message = "a component is checked when it is deployed; `validate` takes `.md` and `.json` files";
        return Err(CommandError::new(Exit::Usage, message));
    }
    let request = asked.client.request(Method::POST, "/agents/validate");
    let answer = asked.client.json(request.header("Content-Type", media_type).body(read(file)?)).await?;
    let valid = answer["valid"] == true;
    asked.print(&answer, || {
        if valid {
            say(format_args!("{}: can be deployed", file.display()));
        }
        for error in answer["errors"].as_array().into_iter().flatten() {
            say(format_args!("{}: {}", file.display(), error.as_str().unwrap_or_default()));
        }
    });
    Ok(valid)
}

/// What was written for a content, in place, in a file, or on standard input: JSON where it is that, otherwise text.
fn content(given: &str) -> Result<Value, CommandError> {
    let text = match given.strip_prefix('@') {
        Some(file) => String::from_utf8_lossy(&read(Path::new(file))?).into_owned(),
        None if given == "-" => std::io::read_to_string(std::io::stdin()).map_err(|error| {
            CommandError::new(Exit::Usage, format!("cannot read standard input: {error}"))
        })?,
        None => given.to_owned(),
    };
    let is_structured = text.trim_start().starts_with(['{', '[', '"']);
    let value = is_structured.then(|| serde_json::from_str(&text).ok()).flatten();
    Ok(value.unwrap_or(Value::String(text)))
}

async fn send(asked: &Asked, args: SendArgs) -> CommandResult {
    let mut message = json!({
        "performative": args.performative,
        "receivers": [args.to],
        "content": content(&args.content)?,
    });
    if let Some(conversation) = args.conversation {
        message["conversation"] = conversation.into();
    }
    if args.durable {
        message["delivery"] = "durable".into();
    }
    let sent = asked.post("/agents/messages", &message).await?;
    asked.print(&sent, || say(format_args!("{}  delivered to {}", text(&sent, "id"), sent["delivered"])));
    Ok(())
}

async fn ask(asked: &Asked, args: AskArgs) -> CommandResult {
    let mut message = json!({ "performative": args.performative, "content": content(&args.content)? });
    if let Some(conversation) = args.conversation {
        message["conversation"] = conversation.into();
    }
    let request = asked.client.request(Method::POST, &format!("/agents/{}/ask", checked(&args.name)?));
    let request = request.header("Prefer", format!("wait={}", args.wait.max(1))).json(&message);
    let answer = asked.client.json(request).await?;
    asked.print(&answer, || print(show::answer(&answer)));
    match answer["answer"]["performative"].as_str() {
        Some(performative @ ("failure" | "refuse" | "not-understood")) => {
            Err(CommandError::new(Exit::Refused, format!("`{}` answered {performative}", args.name)))
        }
        _ => Ok(()),
    }
}

async fn trace(asked: &Asked, args: TraceArgs) -> CommandResult {
    let Some(conversation) = args.conversation else {
        let answer = asked.get("/agents/conversations", &[]).await?;
        asked.print(&answer, || print(show::conversations(&answer)));
        return Ok(());
    };
    let path = format!("/agents/conversations/{}", checked(&conversation)?);
    let mut after = 0;
    loop {
        let query = [("limit", ENTRIES.to_string()), ("after", after.to_string())];
        let timeline = asked.get(&path, &query).await?;
        asked.print(&timeline, || print(show::timeline(&timeline)));
        let entries = timeline["entries"].as_array().map_or(&[][..], Vec::as_slice);
        match entries.last().and_then(|last| last["number"].as_i64()) {
            Some(last) if entries.len() >= ENTRIES as usize => after = last,
            _ => return Ok(()),
        }
    }
}

async fn logs(asked: &Asked, args: &LogsArgs) -> CommandResult {
    let path = format!("/agents/{}/log", checked(&args.name)?);
    let mut last: Vec<Value> = Vec::new();
    loop {
        let log = asked.get(&path, &[]).await?;
        let lines = log["lines"].as_array().cloned().unwrap_or_default();
        // What was there at the last look and is still there was printed; the log forgets at its beginning alone.
        let known =
            last.last().and_then(|last| lines.iter().rposition(|line| line == last)).map_or(0, |at| at + 1);
        for line in &lines[known..] {
            if asked.json {
                say(format_args!("{line}"));
            } else {
                let (at, level) = (text(line, "at"), text(line, "level"));
                say(format_args!("{at}  {level:<5}  {}", printable(&text(line, "text"))));
            }
        }
        if !lines.is_empty() {
            last = lines;
        }
        if !args.follow {
            return Ok(());
        }
        tokio::time::sleep(LOG_INTERVAL).await;
    }
}

async fn approve(asked: &Asked, args: ApproveArgs) -> CommandResult {
    let path = format!("/agents/{}/approvals", checked(&args.name)?);
    let Some(id) = args.id else {
        let answer = asked.get(&path, &[]).await?;
        asked.print(&answer, || print(show::approvals(&answer)));
        return Ok(());
    };
    let decision = json!({ "approve": !args.reject, "reason": args.reason });
    let request = asked.client.request(Method::POST, &format!("{path}/{}", checked(&id)?)).json(&decision);
    asked.client.send(request).await?;
    if !asked.json {
        say(format_args!("{}", if args.reject { "rejected" } else { "approved" }));
    }
    Ok(())
}

async fn steer(asked: &Asked, name: &str, what: &str) -> CommandResult {
    let answer = asked.post(&format!("/agents/{}/{what}", checked(name)?), &json!({})).await?;
    asked.print(&answer, || say(format_args!("{}  {}", text(&answer, "name"), text(&answer, "status"))));
    Ok(())
}
