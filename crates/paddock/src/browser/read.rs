//! Looking for something on a page, and at what it loaded, wrote and was given.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::{
    args::{FileArgs, TabArgs},
    asked::{Asked, Query, compact, print_lines, print_table},
};
use crate::{
    cli::say,
    exit::CommandResult,
    table::{Side, Table, printable, text},
};

#[derive(Debug, Subcommand)]
pub(super) enum ReadCommand {
    /// Find elements by what they are called, such as "login button"
    Find(FindArgs),
    /// Print the title of a page
    Title(TabArgs),
    /// Print the address of a page
    Url(TabArgs),
    /// Print the markup of a page, or of an element
    Html(HtmlArgs),
    /// Print what a page wrote to its console
    Console(LogArgs),
    /// Print what a page threw and nothing caught
    Errors(LogArgs),
    /// List what a page loaded
    Network(NetworkArgs),
    /// List the cookies that a page's address gets
    Cookies(CookiesArgs),
}

#[derive(Debug, Args)]
pub(super) struct FindArgs {
    /// A description, or a selector such as `role:button Save`
    query: String,
    /// Most matches [default: 3]
    #[arg(long, value_name = "N")]
    top: Option<u32>,
    #[command(flatten)]
    tab: TabArgs,
}

#[derive(Debug, Args)]
pub(super) struct HtmlArgs {
    /// The element: a reference (e5) or a selector
    element: Option<String>,
    #[command(flatten)]
    tab: TabArgs,
}

#[derive(Debug, Args)]
pub(super) struct LogArgs {
    /// Only the last so many
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
    /// Forget them instead
    #[arg(long, conflicts_with = "limit")]
    clear: bool,
    #[command(flatten)]
    tab: TabArgs,
}

#[derive(Debug, Args)]
pub(super) struct NetworkArgs {
    /// Part of the address; with `*`, a pattern of the whole
    filter: Option<String>,
    /// HTTP method
    #[arg(long)]
    method: Option<String>,
    /// HTTP status: 404, 4xx or 400-499
    #[arg(long)]
    status: Option<String>,
    /// Kinds of resources, such as `xhr,document`
    #[arg(long = "type", value_name = "KINDS")]
    kinds: Option<String>,
    /// Only the last so many
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
    /// Write them to a HAR file; `-` is standard output
    #[arg(long, value_name = "FILE")]
    har: Option<PathBuf>,
    /// Forget them instead
    #[arg(long, conflicts_with_all = ["filter", "method", "status", "kinds", "limit", "har"])]
    clear: bool,
    #[command(flatten)]
    tab: TabArgs,
}

#[derive(Debug, Args)]
pub(super) struct CookiesArgs {
    /// Those that this address gets [default: the page's own]
    url: Option<String>,
    /// Only the one of this name
    #[arg(long)]
    name: Option<String>,
    /// Forget all cookies of the browser instead
    #[arg(long, conflicts_with_all = ["url", "name"])]
    clear: bool,
    #[command(flatten)]
    tab: TabArgs,
}

/// Runs one of them.
pub(super) async fn run(asked: &Asked, command: ReadCommand) -> CommandResult {
    match command {
        ReadCommand::Find(args) => {
            let body = json!({"query": args.query, "topK": args.top, "tabId": args.tab.tab});
            asked.show(asked.post("/find", &compact(body)), print_matches).await
        }
        ReadCommand::Title(args) => fact(asked, "/title", Query::of(&args), "title").await,
        ReadCommand::Url(args) => fact(asked, "/url", Query::of(&args), "url").await,
        ReadCommand::Html(args) => {
            let query = Query::of(&args.tab).with("selector", args.element.as_deref());
            fact(asked, "/html", query, "html").await
        }
        ReadCommand::Console(args) => {
            asked.show(log(asked, "/console", &args), |answer| print_log(answer, "console", args.clear)).await
        }
        ReadCommand::Errors(args) => {
            asked.show(log(asked, "/errors", &args), |answer| print_log(answer, "errors", args.clear)).await
        }
        ReadCommand::Network(args) => network(asked, args).await,
        ReadCommand::Cookies(args) => {
            let query = Query::of(&args.tab);
            if args.clear {
                let cleared = asked.request(Method::DELETE, "/cookies", query);
                return asked.show(cleared, |_| say(format_args!("all cookies are forgotten"))).await;
            }
            let query = query.with("url", args.url.as_deref()).with("name", args.name.as_deref());
            asked.show(asked.get("/cookies", query), print_cookies).await
        }
    }
}

/// Prints one member of an answer, over several lines if it has them.
async fn fact(asked: &Asked, path: &str, query: Query, member: &str) -> CommandResult {
    asked.show(asked.get(path, query), |answer| print_lines(&text(answer, member))).await
}

fn log(asked: &Asked, path: &str, args: &LogArgs) -> RequestBuilder {
    if args.clear {
        return asked.request(Method::POST, &format!("{path}/clear"), Query::of(&args.tab));
    }
    let limit = args.limit.map(|limit| limit.to_string());
    asked.get(path, Query::of(&args.tab).with("limit", limit.as_deref()))
}

async fn network(asked: &Asked, args: NetworkArgs) -> CommandResult {
    let limit = args.limit.map(|limit| limit.to_string());
    let query = Query::of(&args.tab)
        .with("filter", args.filter.as_deref())
        .with("method", args.method.as_deref())
        .with("status", args.status.as_deref())
        .with("type", args.kinds.as_deref())
        .with("limit", limit.as_deref());
    if args.clear {
        let cleared = asked.request(Method::POST, "/network/clear", query);
        return asked.show(cleared, |_| say(format_args!("what was loaded is forgotten"))).await;
    }
    if args.har.is_some() {
        let query = query.with("format", Some("har"));
        let file = FileArgs { tab: args.tab, out: args.har };
        return asked.save(asked.get("/network/export", query), &file, "page.har").await;
    }
    asked.show(asked.get("/network", query), print_requests).await
}

fn print_matches(answer: &Value) {
    let mut table = Table::new(&[
        ("REF", Side::Left),
        ("SCORE", Side::Right),
        ("ROLE", Side::Left),
        ("NAME", Side::Left),
    ]);
    for row in answer["matches"].as_array().into_iter().flatten() {
        let score = format!("{:.2}", row["score"].as_f64().unwrap_or_default());
        table.row(vec![text(row, "ref"), score, text(row, "role"), text(row, "name")]);
    }
    print_table(&table, "nothing on the page is called so");
}

/// One line for each, as a console has them.
fn print_log(answer: &Value, member: &str, cleared: bool) {
    if cleared {
        return say(format_args!("{} is cleared", text(answer, "tabId")));
    }
    for row in answer[member].as_array().into_iter().flatten() {
        let level = row["level"].as_str().unwrap_or("error");
        let place = match text(row, "url") {
            url if url.is_empty() => String::new(),
            url => format!("  ({url}:{})", row["line"]),
        };
        say(format_args!("{}", printable(&format!("{level}: {}{place}", text(row, "message")))));
    }
}

fn print_requests(answer: &Value) {
    let mut table = Table::new(&[
        ("METHOD", Side::Left),
        ("STATUS", Side::Right),
        ("TYPE", Side::Left),
        ("MS", Side::Right),
        ("BYTES", Side::Right),
        ("URL", Side::Left),
    ]);
    for row in answer["entries"].as_array().into_iter().flatten() {
        let ms = row["duration"].as_f64().map_or_else(|| "-".to_owned(), |ms| format!("{ms:.0}"));
        table.row(vec![
            text(row, "method"),
            row["status"].to_string(),
            text(row, "resourceType"),
            ms,
            row["size"].to_string(),
            text(row, "url"),
        ]);
    }
    print_table(&table, "nothing was loaded");
}

fn print_cookies(answer: &Value) {
    let mut table = Table::new(&[
        ("NAME", Side::Left),
        ("DOMAIN", Side::Left),
        ("PATH", Side::Left),
        ("VALUE", Side::Left),
    ]);
    for row in answer["cookies"].as_array().into_iter().flatten() {
        table.row(["name", "domain", "path", "value"].iter().map(|member| text(row, member)).collect());
    }
    print_table(&table, "there is no cookie");
}
