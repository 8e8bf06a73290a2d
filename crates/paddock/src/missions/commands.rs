//! What the commands ask the server for.

use std::{path::Path, time::Duration};

use reqwest::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::{
    args::{DecideArgs, ListArgs, MissionsArgs, MissionsCommand, RunArgs, ShowArgs},
    show,
};
use crate::{
    cli::{complain, say},
    exit::{CommandError, CommandResult, Exit},
    jobs::{Asked, checked, input},
    table::text,
};

/// Between two looks at a mission.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Runs one of them.
pub(crate) async fn run(args: MissionsArgs) -> CommandResult {
    let asked = Asked { client: args.asked.client()?, json: args.asked.json };
    match args.command {
        MissionsCommand::Validate(args) => {
            let mut wrong = 0;
            for file in &args.files {
                wrong += usize::from(!validate(&asked, file).await?);
            }
            if wrong > 0 {
                return Err(CommandError::new(
                    Exit::Refused,
                    format!("{wrong} of {} files have mistakes", args.files.len()),
                ));
            }
            Ok(())
        }
        MissionsCommand::Save(args) => {
            for file in &args.files {
                let stored = save(&asked, file).await?;
                let note = if stored["created"] == true { "" } else { "  (as before)" };
                asked.print(&stored, || {
                    say(format_args!("{}@{}{note}", text(&stored, "name"), stored["version"]));
                });
            }
            Ok(())
        }
        MissionsCommand::Definitions => {
            let answer = asked.get("/missions/definitions", &[("limit", "500".to_owned())]).await?;
            asked.print(&answer, || print(show::definitions(&answer)));
            Ok(())
        }
        MissionsCommand::Run(args) => start(&asked, args).await,
        MissionsCommand::List(args) => list(&asked, &args).await,
        MissionsCommand::Show(args) => look(&asked, &args).await,
        MissionsCommand::Watch(args) => watch(&asked, &checked(&args.id)?).await,
        MissionsCommand::Approvals => {
            let answer = asked.get("/missions/approvals", &[]).await?;
            asked.print(&answer, || print(show::approvals(&answer)));
            Ok(())
        }
        MissionsCommand::Approve(args) => decide(&asked, &args, "approve").await,
        MissionsCommand::Reject(args) => decide(&asked, &args, "reject").await,
        MissionsCommand::Cancel(args) => steer(&asked, &args.id, "cancel").await,
        MissionsCommand::Retry(args) => steer(&asked, &args.id, "retry").await,
    }
}

fn print(lines: Vec<String>) {
    for line in lines {
        say(format_args!("{line}"));
    }
}

/// A definition's text and media type.
fn definition(file: &Path) -> Result<(String, &'static str), CommandError> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        CommandError::new(Exit::Usage, format!("cannot read `{}`: {error}", file.display()))
    })?;
    let is_json = file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    Ok((text, if is_json { "application/json" } else { "application/yaml" }))
}

async fn save(asked: &Asked, file: &Path) -> Result<Value, CommandError> {
    let (text, media_type) = definition(file)?;
    let request = asked.client.request(Method::POST, "/missions/definitions");
    asked.client.json(request.header("Content-Type", media_type).body(text)).await
}

/// Checks a file; whether it has no mistakes.
async fn validate(asked: &Asked, file: &Path) -> Result<bool, CommandError> {
    let (text_of_file, media_type) = definition(file)?;
    let request = asked.client.request(Method::POST, "/missions/definitions?dry_run=true");
    let request = request.header("Content-Type", media_type).body(text_of_file);
    let answer = asked.client.any(request).await?;
    let status = answer.status();
    if status != StatusCode::UNPROCESSABLE_ENTITY {
        let answer = asked.client.accepted(answer).await?;
        asked.print(&answer, || say(format_args!("{}: no mistakes", file.display())));
        return Ok(true);
    }
    let problem: Value = answer.json().await.unwrap_or_default();
    asked.print(&problem, || {
        for mistake in problem["errors"].as_array().into_iter().flatten() {
            let step = mistake["step"].as_str().map_or(String::new(), |step| format!("step `{step}`: "));
            say(format_args!(
                "{}: {step}`{}`: {}",
                file.display(),
                text(mistake, "field"),
                text(mistake, "reason")
            ));
        }
    });
    Ok(false)
}

async fn start(asked: &Asked, args: RunArgs) -> CommandResult {
    let mut body = Map::new();
    if Path::new(&args.mission).is_file() {
        let stored = save(asked, Path::new(&args.mission)).await?;
        body.insert("name".to_owned(), stored["name"].clone());
        body.insert("version".to_owned(), stored["version"].clone());
    } else {
        let (name, version) = args
            .mission
            .split_once('@')
            .map_or((args.mission.as_str(), None), |(name, version)| (name, Some(version)));
        body.insert("name".to_owned(), checked(name)?.into());
        if let Some(version) = version {
            let number: u32 = version
                .parse()
                .map_err(|_| CommandError::new(Exit::Usage, format!("`{version}` is not a version")))?;
            body.insert("version".to_owned(), number.into());
        }
    }
    let inputs = match &args.inputs {
        Some(inputs) => input(inputs)?,
        None => Value::Object(args.input.iter().map(|pair| named(pair)).collect::<Result<_, _>>()?),
    };
    body.insert("inputs".to_owned(), inputs);
    for (name, value) in [("queue", args.queue), ("unique_key", args.unique_key)] {
        body.extend(value.map(|value| (name.to_owned(), value.into())));
    }
    let mission = asked.post("/missions", &Value::Object(body)).await?;
    let id = text(&mission, "id");
    if args.detach {
        asked.print(&mission, || say(format_args!("{id}")));
        return Ok(());
    }
    watch(asked, &id).await
}

/// `NAME=VALUE`, where the value is JSON if it can be.
fn named(pair: &str) -> Result<(String, Value), CommandError> {
    let (name, value) = pair
        .split_once('=')
        .filter(|(name, _)| !name.is_empty())
        .ok_or_else(|| CommandError::new(Exit::Usage, format!("`{pair}` is not `NAME=VALUE`")))?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
    Ok((name.to_owned(), value))
}

async fn list(asked: &Asked, args: &ListArgs) -> CommandResult {
    let mut query = vec![("limit", args.limit.to_string())];
    query.extend(args.state.clone().map(|state| ("state", state)));
    query.extend(args.name.clone().map(|name| ("name", name)));
    let page = asked.get("/missions", &query).await?;
    asked.print(&page, || print(show::missions(&page)));
    Ok(())
}

async fn look(asked: &Asked, args: &ShowArgs) -> CommandResult {
    let id = checked(&args.id)?;
    if let Some(file) = &args.graph {
        let request = asked.client.request(Method::GET, &format!("/missions/{id}/graph.svg"));
        let answer = asked.client.send(request).await?;
        let broken = |error: reqwest::Error| CommandError::from_error(Exit::NoServer, &error);
        let picture = answer.bytes().await.map_err(broken)?;
        std::fs::write(file, picture).map_err(|error| {
            CommandError::new(Exit::Failure, format!("cannot write `{}`: {error}", file.display()))
        })?;
    }
    let mission = asked.get(&format!("/missions/{id}"), &[]).await?;
    asked.print(&mission, || print(show::mission(&mission)));
    Ok(())
}

/// Follows a mission to its end: what changes goes to standard error, its output to standard output.
async fn watch(asked: &Asked, id: &str) -> CommandResult {
    let mut told = Map::new();
    loop {
        let mission = asked.get(&format!("/missions/{id}"), &[]).await?;
        if !asked.json {
            for line in show::news(&mission, &mut told) {
                complain(format_args!("{line}"));
            }
        }
        match mission["state"].as_str().unwrap_or_default() {
            "succeeded" => {
                if asked.json {
                    say(format_args!("{mission:#}"));
                } else if !mission["output"].is_null() {
                    say(format_args!("{:#}", mission["output"]));
                }
                return Ok(());
            }
            state @ ("failed" | "cancelled") => {
                if asked.json {
                    say(format_args!("{mission:#}"));
                }
                let why = show::why(&mission);
                let message =
                    format!("the mission {id} is {state}{}{why}", if why.is_empty() { "" } else { "; " });
                return Err(CommandError::new(Exit::Refused, message));
            }
            _ => tokio::time::sleep(LOOK_INTERVAL).await,
        }
    }
}

async fn decide(asked: &Asked, args: &DecideArgs, verb: &str) -> CommandResult {
    let id = checked(&args.id)?;
    let step = if let Some(step) = &args.step {
        checked(step)?
    } else {
        let mission = asked.get(&format!("/missions/{id}"), &[]).await?;
        let steps = mission["steps"].as_array().cloned().unwrap_or_default();
        let mut asking =
            steps.iter().filter(|step| step["state"] == "waiting").map(|step| text(step, "name"));
        match (asking.next(), asking.next()) {
            (Some(only), None) => only,
            (None, _) => {
                return Err(CommandError::new(Exit::Refused, "no step of the mission asks anything"));
            }
            _ => return Err(CommandError::new(Exit::Usage, "several steps ask; name one")),
        }
    };
    let body = args.comment.as_ref().map_or_else(|| json!({}), |comment| json!({"comment": comment}));
    let mission = asked.post(&format!("/missions/{id}/steps/{step}/{verb}"), &body).await?;
    asked.print(&mission, || say(format_args!("{id}  {}", text(&mission, "state"))));
    Ok(())
}

async fn steer(asked: &Asked, id: &str, verb: &str) -> CommandResult {
    let mission = asked.post(&format!("/missions/{}/{verb}", checked(id)?), &json!({})).await?;
    asked.print(&mission, || say(format_args!("{id}  {}", text(&mission, "state"))));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_json_where_it_can_be() {
        assert_eq!(named("n=3").unwrap(), ("n".to_owned(), json!(3)));
        assert_eq!(
            named("url=https://a.example/?x=1").unwrap(),
            ("url".to_owned(), json!("https://a.example/?x=1"))
        );
        assert_eq!(named("list=[1,2]").unwrap().1, json!([1, 2]));
        assert!(named("none").is_err() && named("=x").is_err());
    }
}
