//! The gateway's servers and their tools, from a shell.

use std::io::Read as _;

use clap::Args;
use reqwest::Method;
use serde_json::Value;

use super::{Asked, encoded, show};
use crate::{
    cli::say,
    exit::{CommandError, CommandResult, Exit},
    table::{Side, Table, printable},
};

/// Seconds that a call may take.
const CALL_WAIT_S: u32 = 600;

#[derive(Debug, Args)]
pub(super) struct ToolsArgs {
    /// Words for what they do [default: all tools, by name]
    words: Vec<String>,
    /// Tools of this server only
    #[arg(long, value_name = "SERVER")]
    of: Option<String>,
    /// How many to show
    #[arg(long, default_value_t = 50)]
    limit: usize,
}

#[derive(Debug, Args)]
pub(super) struct CallArgs {
    /// The tool, as `paddock registry tools` names it: `server__tool`
    tool: String,
    /// Its input as JSON; `-` reads it from standard input
    #[arg(default_value = "{}")]
    input: String,
}

impl Asked {
    pub(super) async fn servers(&self) -> CommandResult {
        self.show("/registry/gateway/servers", servers).await
    }

    pub(super) async fn tools(&self, args: ToolsArgs) -> CommandResult {
        let of = args.of.map(|server| format!("&server={}", encoded(&server))).unwrap_or_default();
        let query = encoded(&args.words.join(" "));
        let path = format!("/registry/gateway/tools?query={query}&limit={}{of}", args.limit);
        self.show(&path, tools).await
    }

    pub(super) async fn call(&self, args: CallArgs) -> CommandResult {
        let mut text = args.input;
        if text == "-" {
            text.clear();
            let read = std::io::stdin().read_to_string(&mut text);
            read.map_err(|error| CommandError::from_error(Exit::Failure, &error))?;
        }
        let input: Value = serde_json::from_str(&text)
            .map_err(|error| CommandError::new(Exit::Usage, format!("the input is not JSON: {error}")))?;
        let request = self.client.request(Method::POST, &format!("/tools/{}", encoded(&args.tool)));
        let request = request.header("prefer", format!("wait={CALL_WAIT_S}")).json(&input);
        let answer = self.client.json(request).await?;
        self.print(&answer, said);
        Ok(())
    }
}

fn servers(answer: &Value) {
    let mut table = Table::new(&[
        ("SERVER", Side::Left),
        ("KIND", Side::Left),
        ("STATE", Side::Left),
        ("TOOLS", Side::Right),
        ("SESSIONS", Side::Right),
        ("CALLS", Side::Right),
        ("STARTS", Side::Right),
    ]);
    let servers = show::items(answer, "servers");
    for server in servers {
        table.row(vec![
            show::text(server, "name").to_owned(),
            show::text(server, "kind").to_owned(),
            show::text(server, "state").to_owned(),
            show::number(server, "tools"),
            show::number(server, "sessions"),
            show::number(server, "calls"),
            show::number(server, "starts"),
        ]);
    }
    if table.is_empty() {
        say(format_args!("no MCP server is configured; `[[registry.gateway.servers]]` adds one"));
        return;
    }
    show::print(&table);
    for server in servers.iter().filter(|server| server["error"].is_string()) {
        let (name, error) = (show::text(server, "name"), printable(show::text(server, "error")));
        say(format_args!("{name} failed: {error}"));
    }
}

fn tools(answer: &Value) {
    let mut table = Table::new(&[("TOOL", Side::Left), ("WHAT IT DOES", Side::Left)]);
    for tool in show::items(answer, "tools") {
        let description = show::text(tool, "description").lines().next().unwrap_or_default();
        table.row(vec![show::text(tool, "name").to_owned(), description.to_owned()]);
    }
    if table.is_empty() {
        say(format_args!("nothing is found"));
        return;
    }
    show::print(&table);
    let (shown, total) =
        (show::items(answer, "tools").len() as u64, answer["total"].as_u64().unwrap_or_default());
    if total > shown {
        say(format_args!("{} more", total - shown));
    }
}

/// What a tool answered: its text where it is only that.
fn said(answer: &Value) {
    let parts = show::items(answer, "content");
    let texts: Option<Vec<&str>> = parts.iter().map(|part| part["text"].as_str()).collect();
    match texts {
        Some(texts) if !texts.is_empty() => say(format_args!("{}", texts.join("\n"))),
        _ => say(format_args!("{answer:#}")),
    }
}
