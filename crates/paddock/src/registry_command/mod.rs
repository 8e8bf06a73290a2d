//! `paddock registry`: the registry of MCP servers of a running server, from a shell.
//!
//! `validate` and `import-config` need no server: they read a file.

mod gateway;
mod local;
mod show;

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    cli::{complain, say},
    client::{AskedArgs, Client},
    exit::{CommandError, CommandResult, Exit},
};

/// How often a sync that is waited for is looked at.
const WAIT_INTERVAL: Duration = Duration::from_millis(50);

/// Flags of `paddock registry`.
#[derive(Debug, Args)]
pub(crate) struct RegistryArgs {
    #[command(subcommand)]
    command: RegistryCommand,
    #[command(flatten)]
    asked: AskedArgs,
}

#[derive(Debug, Subcommand)]
enum RegistryCommand {
    /// Read the sources now, and wait until that is done
    Sync(SyncArgs),
    /// Show how sources and views stand
    Status,
    /// Find servers by what they do, also misspelled
    Search(SearchArgs),
    /// Check `server.json` files
    Validate(ValidateArgs),
    /// Publish a `server.json`
    Publish(PublishArgs),
    /// Show entries that something is wrong with, and what
    Quarantine(QuarantineArgs),
    /// Show what the syncs of a source added, changed and removed
    History(HistoryArgs),
    /// Show how the MCP servers of the gateway do
    Servers,
    /// Find tools of these servers by what they do, also misspelled
    Tools(gateway::ToolsArgs),
    /// Call a tool of one of them
    Call(gateway::CallArgs),
    /// Print the `[registry]` section that a configuration of `ToolHive`'s registry server becomes
    ImportConfig(ImportArgs),
}

#[derive(Debug, Args)]
struct SyncArgs {
    /// One source [default: all of them]
    source: Option<String>,
    /// Do not wait until it is done
    #[arg(long)]
    no_wait: bool,
}

#[derive(Debug, Args)]
struct SearchArgs {
    /// Words of names, descriptions, tags or tools
    #[arg(required = true)]
    words: Vec<String>,
    /// How many servers to show
    #[arg(long, default_value_t = 10)]
    limit: usize,
    /// Servers with this tag only; may be repeated
    #[arg(long = "tag")]
    tags: Vec<String>,
    /// Servers of this kind only: npm, pypi, oci, stdio, streamable-http, …; may be repeated
    #[arg(long = "kind")]
    kinds: Vec<String>,
    /// The view to look in [default: the default one]
    #[arg(long)]
    view: Option<String>,
}

#[derive(Debug, Args)]
struct ValidateArgs {
    /// The files
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
struct PublishArgs {
    /// The `server.json`
    file: PathBuf,
}

#[derive(Debug, Args)]
struct QuarantineArgs {
    /// One source [default: all of them]
    source: Option<String>,
    /// How many entries to show
    #[arg(long, default_value_t = 100)]
    limit: usize,
}

#[derive(Debug, Args)]
struct HistoryArgs {
    /// The source
    source: String,
}

#[derive(Debug, Args)]
struct ImportArgs {
    /// The configuration, in YAML
    file: PathBuf,
}

/// Runs one of them.
pub(crate) async fn run(args: RegistryArgs) -> CommandResult {
    let json = args.asked.json;
    match &args.command {
        RegistryCommand::Validate(validate) => return local::validate(&validate.files, json),
        RegistryCommand::ImportConfig(import) => return local::import_config(&import.file),
        _ => {}
    }
    let client = args.asked.client()?;
    let asked = Asked { client, json };
    match args.command {
        RegistryCommand::Sync(args) => asked.sync(args).await,
        RegistryCommand::Status => asked.show("/registry/status", show::status).await,
        RegistryCommand::Search(args) => asked.search(args).await,
        RegistryCommand::Publish(args) => asked.publish(&args.file).await,
        RegistryCommand::Quarantine(args) => {
            let source =
                args.source.map(|source| format!("&source={}", encoded(&source))).unwrap_or_default();
            asked.show(&format!("/registry/quarantine?limit={}{source}", args.limit), show::quarantine).await
        }
        RegistryCommand::History(args) => {
            asked.show(&format!("/registry/history/{}", encoded(&args.source)), show::history).await
        }
        RegistryCommand::Servers => asked.servers().await,
        RegistryCommand::Tools(args) => asked.tools(args).await,
        RegistryCommand::Call(args) => asked.call(args).await,
        RegistryCommand::Validate(_) | RegistryCommand::ImportConfig(_) => Ok(()),
    }
}

/// A part of a path or query.
fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

struct Asked {
    client: Client,
    json: bool,
}

impl Asked {
    async fn show(&self, path: &str, print: impl Fn(&Value)) -> CommandResult {
        let answer = self.client.json(self.client.request(Method::GET, path)).await?;
        self.print(&answer, print);
        Ok(())
    }

    fn print(&self, answer: &Value, print: impl Fn(&Value)) {
        if self.json {
            say(format_args!("{answer:#}"));
        } else {
            print(answer);
        }
    }

    async fn sync(&self, args: SyncArgs) -> CommandResult {
        let query = args.source.map(|source| format!("?source={}", encoded(&source))).unwrap_or_default();
        let request = self.client.request(Method::POST, &format!("/registry/sync{query}"));
        let accepted = self.client.json(request).await?;
        if args.no_wait {
            self.print(&accepted, show::accepted);
            return Ok(());
        }
        let wanted: Vec<(String, u64)> = accepted["sources"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|it| (show::text(it, "source").to_owned(), it["requested"].as_u64().unwrap_or_default()))
            .collect();
        let status = self.wait_for(&wanted).await?;
        let is_wanted = |source: &&Value| wanted.iter().any(|(name, _)| *name == show::text(source, "name"));
        let synced: Vec<&Value> =
            status["sources"].as_array().into_iter().flatten().filter(is_wanted).collect();
        let failed = synced.iter().filter(|source| source["phase"] == "failed").count();
        self.print(&json!({"sources": synced}), show::sources);
        if failed == 0 {
            return Ok(());
        }
        Err(CommandError::new(
            Exit::Refused,
            format!("{failed} of {} sources could not be read", synced.len()),
        ))
    }

    /// Looks at the status until every sync is done.
    async fn wait_for(&self, wanted: &[(String, u64)]) -> Result<Value, CommandError> {
        loop {
            let status = self.client.json(self.client.request(Method::GET, "/registry/status")).await?;
            let is_done = |(name, requested): &(String, u64)| {
                let sources = status["sources"].as_array();
                let source = sources.and_then(|all| all.iter().find(|it| show::text(it, "name") == name));
                // A source that is gone meanwhile is not waited for.
                source.is_none_or(|source| source["done"].as_u64().unwrap_or_default() >= *requested)
            };
            if wanted.iter().all(is_done) {
                return Ok(status);
            }
            tokio::time::sleep(WAIT_INTERVAL).await;
        }
    }

    async fn search(&self, args: SearchArgs) -> CommandResult {
        let mut body = json!({
            "query": args.words.join(" "), "limit": args.limit, "tags": args.tags, "kinds": args.kinds,
        });
        if let Some(view) = args.view {
            body["view"] = view.into();
        }
        let request = self.client.request(Method::POST, "/registry/search").json(&body);
        let answer = self.client.json(request).await?;
        self.print(&answer, show::hits);
        Ok(())
    }

    async fn publish(&self, file: &std::path::Path) -> CommandResult {
        let text = local::read(file)?;
        let request = self.client.request(Method::POST, "/registry/v0.1/publish");
        let request = request.header("content-type", "application/json").body(text);
        let answer = self.client.json(request).await?;
        self.print(&answer, |answer| {
            let server = &answer["server"];
            say(format_args!(
                "{} {} is published",
                show::text(server, "name"),
                show::text(server, "version")
            ));
        });
        Ok(())
    }
}

/// Tells of something beside the result.
fn note(text: &str) {
    complain(format_args!("{text}"));
}
