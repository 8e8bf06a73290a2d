//! `paddock jobs webhooks`: who is told how jobs end.

use clap::{Args, Subcommand, ValueEnum};
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::commands::{Asked, checked};
use crate::{
    cli::{complain, say},
    exit::{CommandError, CommandResult, Exit},
    table::{Side, Table, ago, is_coloured, terminal_width, text},
};

const ROOT: &str = "/jobs/webhooks";

/// The subcommands.
#[derive(Debug, Subcommand)]
pub(super) enum WebhooksCommand {
    /// List the webhooks and how they do
    List,
    /// Make a webhook; its secret is printed once, on standard output
    Create(CreateArgs),
    /// Change a webhook
    Set(SetArgs),
    /// Delete a webhook; what was on its way to it is dropped
    Delete(IdArgs),
    /// Replace a webhook's secret; the new one is printed once, on standard output
    Rotate(RotateArgs),
    /// Send a webhook a ping and say what came of it
    Ping(IdArgs),
    /// List what was sent to a webhook, the newest first
    Deliveries(DeliveriesArgs),
    /// Send again what was given up
    Redrive(RedriveArgs),
}

#[derive(Debug, Args)]
pub(super) struct IdArgs {
    /// The webhook
    webhook: String,
}

#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// Where events are posted
    url: String,
    /// The events that it is told of: job.failed, job.*, * [default: those of jobs that name it]
    #[arg(long, value_delimiter = ',')]
    events: Vec<String>,
    /// What it is for, for the people who manage it
    #[arg(long, default_value = "")]
    description: String,
}

#[derive(Debug, Args)]
pub(super) struct SetArgs {
    /// The webhook
    webhook: String,
    /// Where events are posted
    #[arg(long)]
    url: Option<String>,
    /// The events that it is told of; `--events=` for none but those of jobs that name it
    #[arg(long, value_delimiter = ',')]
    events: Option<Vec<String>>,
    /// What it is for
    #[arg(long)]
    description: Option<String>,
    /// Tell it again; also ends a pause
    #[arg(long, conflicts_with = "disable")]
    enable: bool,
    /// Tell it no more
    #[arg(long)]
    disable: bool,
}

#[derive(Debug, Args)]
pub(super) struct RotateArgs {
    /// The webhook
    webhook: String,
    /// How long deliveries carry signatures of both secrets, such as 24h
    #[arg(long, value_name = "DURATION")]
    overlap: Option<String>,
}

/// A delivery's state as the flag has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum StateArg {
    Pending,
    Delivered,
    Dead,
    Dropped,
}

#[derive(Debug, Args)]
pub(super) struct DeliveriesArgs {
    /// The webhook
    webhook: String,
    /// In this state
    #[arg(long)]
    state: Option<StateArg>,
    /// How many, 1 to 500
    #[arg(long, default_value_t = 50)]
    limit: u32,
}

#[derive(Debug, Args)]
pub(super) struct RedriveArgs {
    /// The webhook
    webhook: String,
    /// The deliveries [default: all dead ones]
    deliveries: Vec<String>,
}

/// Runs one of them.
pub(super) async fn run(asked: &Asked, command: WebhooksCommand) -> CommandResult {
    match command {
        WebhooksCommand::List => {
            let answer = asked.get(ROOT, &[]).await?;
            asked.print(&answer, || print_list(&answer));
        }
        WebhooksCommand::Create(args) => create(asked, args).await?,
        WebhooksCommand::Set(args) => set(asked, args).await?,
        WebhooksCommand::Delete(args) => {
            let path = path(&args.webhook, "")?;
            asked.client.send(asked.client.request(Method::DELETE, &path)).await?;
            asked.print(&json!({ "id": args.webhook }), || say(format_args!("{} is deleted", args.webhook)));
        }
        WebhooksCommand::Rotate(args) => {
            let body = args.overlap.map_or_else(|| json!({}), |overlap| json!({ "overlap": overlap }));
            let answer = asked.post(&path(&args.webhook, "/rotate")?, &body).await?;
            asked.print(&answer, || {
                complain(format_args!(
                    "the secret of {} is replaced; the new one is shown this once",
                    args.webhook
                ));
                say(format_args!("{}", text(&answer, "secret")));
            });
        }
        WebhooksCommand::Ping(args) => ping(asked, &args.webhook).await?,
        WebhooksCommand::Deliveries(args) => {
            let mut query = vec![("limit", args.limit.to_string())];
            let state = args.state.and_then(|state| state.to_possible_value());
            query.extend(state.map(|state| ("state", state.get_name().to_owned())));
            let answer = asked.get(&path(&args.webhook, "/deliveries")?, &query).await?;
            asked.print(&answer, || print_deliveries(&answer));
        }
        WebhooksCommand::Redrive(args) => {
            let ids = (!args.deliveries.is_empty()).then_some(args.deliveries);
            let body = ids.map_or_else(|| json!({}), |ids| json!({ "ids": ids }));
            let answer = asked.post(&path(&args.webhook, "/redrive")?, &body).await?;
            let redriven = answer["redriven"].as_u64().unwrap_or_default();
            let what = if redriven == 1 { "delivery is" } else { "deliveries are" };
            asked.print(&answer, || say(format_args!("{redriven} {what} sent again")));
        }
    }
    Ok(())
}

fn path(webhook: &str, rest: &str) -> Result<String, CommandError> {
    Ok(format!("{ROOT}/{}{rest}", checked(webhook)?))
}

async fn create(asked: &Asked, args: CreateArgs) -> CommandResult {
    let body = json!({ "url": args.url, "events": args.events, "description": args.description });
    let answer = asked.post(ROOT, &body).await?;
    asked.print(&answer, || {
        let id = text(&answer["webhook"], "id");
        complain(format_args!("webhook {id} is there; its secret is shown this once"));
        say(format_args!("{}", text(&answer, "secret")));
    });
    Ok(())
}

async fn set(asked: &Asked, args: SetArgs) -> CommandResult {
    let mut body = Map::new();
    body.extend(args.url.map(|url| ("url".to_owned(), url.into())));
    body.extend(args.description.map(|text| ("description".to_owned(), text.into())));
    if let Some(events) = args.events {
        let events: Vec<Value> =
            events.into_iter().filter(|event| !event.is_empty()).map(Value::from).collect();
        body.insert("events".to_owned(), events.into());
    }
    if args.enable || args.disable {
        body.insert("enabled".to_owned(), args.enable.into());
    }
    if body.is_empty() {
        return Err(CommandError::new(
            Exit::Usage,
            "nothing is to change; see `paddock jobs webhooks set --help`",
        ));
    }
    let request = asked.client.request(Method::PATCH, &path(&args.webhook, "")?).json(&Value::Object(body));
    let answer = asked.client.json(request).await?;
    asked.print(&answer, || say(format_args!("{}  {}", args.webhook, text(&answer, "state"))));
    Ok(())
}

async fn ping(asked: &Asked, webhook: &str) -> CommandResult {
    let delivery = asked.post(&path(webhook, "/ping")?, &json!({})).await?;
    let (good, attempt) = (delivery["state"] == "delivered", &delivery["attempts"][0]);
    asked.print(&delivery, || {
        if good {
            say(format_args!("the receiver answered {} after {} ms", attempt["status"], attempt["took_ms"]));
        }
    });
    if good {
        return Ok(());
    }
    Err(CommandError::new(Exit::Refused, text(attempt, "error")))
}

fn print_list(answer: &Value) {
    let mut table = Table::new(&[
        ("ID", Side::Left),
        ("STATE", Side::Left),
        ("EVENTS", Side::Left),
        ("FAILURES", Side::Right),
        ("URL", Side::Left),
        ("NEWS", Side::Left),
    ]);
    for webhook in answer["webhooks"].as_array().into_iter().flatten() {
        let events: Vec<&str> =
            webhook["events"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let state = match webhook["reason"].as_str() {
            Some(reason) => format!("{} ({reason})", text(webhook, "state")),
            None => text(webhook, "state"),
        };
        table.row(vec![
            text(webhook, "id"),
            state,
            if events.is_empty() { "named".to_owned() } else { events.join(",") },
            webhook["failures"].to_string(),
            text(webhook, "url"),
            text(webhook, "last_error"),
        ]);
    }
    if table.is_empty() {
        say(format_args!("there is no webhook; `paddock jobs webhooks create URL` makes one"));
        return;
    }
    for line in table.lines(terminal_width(), is_coloured()) {
        say(format_args!("{line}"));
    }
}

fn print_deliveries(page: &Value) {
    let mut table = Table::new(&[
        ("ID", Side::Left),
        ("EVENT", Side::Left),
        ("STATE", Side::Left),
        ("TRIES", Side::Right),
        ("AGE", Side::Right),
        ("LAST", Side::Left),
    ]);
    for delivery in page["items"].as_array().into_iter().flatten() {
        let attempts = delivery["attempts"].as_array().map(Vec::as_slice).unwrap_or_default();
        let last = attempts.last().map(|attempt| match attempt["error"].as_str() {
            Some(error) => error.to_owned(),
            None => format!("{} after {} ms", attempt["status"], attempt["took_ms"]),
        });
        table.row(vec![
            text(delivery, "id"),
            text(delivery, "event"),
            text(delivery, "state"),
            attempts.len().to_string(),
            ago(delivery["created_at"].as_str()),
            last.unwrap_or_default(),
        ]);
    }
    if table.is_empty() {
        say(format_args!("nothing such was sent to it"));
        return;
    }
    for line in table.lines(terminal_width(), is_coloured()) {
        say(format_args!("{line}"));
    }
}
