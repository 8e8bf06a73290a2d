//! Files out of pages and into them, and what browsers remember.

use std::{
    fs,
    path::{Path, PathBuf},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    args::{FileArgs, TabArgs},
    asked::{Asked, Query, compact, print_table},
};
use crate::{
    cli::say,
    exit::{CommandError, CommandResult, Exit},
    table::{Side, Table, ago, counted, printable, text},
};

#[derive(Debug, Subcommand)]
pub(super) enum KeepCommand {
    /// Fetch a file with the cookies of a page
    Download(DownloadArgs),
    /// Put files into the file input of a page
    Upload(UploadArgs),
    /// Save what a browser remembers, cookies and storage, and load it again
    #[command(subcommand)]
    State(StateCommand),
}

#[derive(Debug, Args)]
pub(super) struct DownloadArgs {
    /// Where the file is: http or https
    url: String,
    #[command(flatten)]
    file: FileArgs,
}

#[derive(Debug, Args)]
pub(super) struct UploadArgs {
    /// The files
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The input: a reference (e5) or CSS [default: the first of the page]
    #[arg(long)]
    selector: Option<String>,
    #[command(flatten)]
    tab: TabArgs,
}

#[derive(Debug, Subcommand)]
pub(super) enum StateCommand {
    /// Save what the browser of a tab remembers, and print the state's name
    Save(SaveArgs),
    /// Have the browser of a tab remember a saved state
    Load(LoadArgs),
    /// List the saved states, the newest first
    List,
    /// Delete a saved state
    Delete {
        /// Its name
        name: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct SaveArgs {
    /// Its name [default: the present time]
    name: Option<String>,
    #[command(flatten)]
    secret: SecretArgs,
}

#[derive(Debug, Args)]
pub(super) struct LoadArgs {
    /// Its name, or the beginning of one
    name: String,
    #[command(flatten)]
    secret: SecretArgs,
}

#[derive(Debug, Args)]
pub(super) struct SecretArgs {
    /// What the state is encrypted with
    #[arg(long, env = "PADDOCK_PASSPHRASE", hide_env_values = true)]
    passphrase: Option<String>,
    #[command(flatten)]
    tab: TabArgs,
}

/// Runs one of them.
pub(super) async fn run(asked: &Asked, command: KeepCommand) -> CommandResult {
    match command {
        KeepCommand::Download(args) => {
            let query = Query::of(&args.file.tab).with("raw", Some("true")).with("url", Some(&args.url));
            asked.save(asked.get("/download", query), &args.file, name_of(&args.url)).await
        }
        KeepCommand::Upload(args) => {
            let files = args.files.iter().map(|file| data_address(file)).collect::<Result<Vec<_>, _>>()?;
            let body = json!({"files": files, "selector": args.selector, "tabId": args.tab.tab});
            asked
                .show(asked.post("/upload", &compact(body)), |answer| {
                    say(format_args!(
                        "{} chosen",
                        counted(answer["files"].as_u64().unwrap_or_default(), "file")
                    ));
                })
                .await
        }
        KeepCommand::State(command) => state(asked, command).await,
    }
}

async fn state(asked: &Asked, command: StateCommand) -> CommandResult {
    match command {
        StateCommand::Save(SaveArgs { name, secret }) => {
            let body = json!({"name": name, "passphrase": secret.passphrase, "tabId": secret.tab.tab});
            let saved = asked.post("/state/save", &compact(body));
            asked.show(saved, |answer| say(format_args!("{}", printable(&text(answer, "name"))))).await
        }
        StateCommand::Load(LoadArgs { name, secret }) => {
            let body = json!({"name": name, "passphrase": secret.passphrase, "tabId": secret.tab.tab});
            asked.show(asked.post("/state/load", &compact(body)), print_loaded).await
        }
        StateCommand::List => asked.show(asked.get("/state/list", Query::default()), print_states).await,
        StateCommand::Delete { name } => {
            let query = Query::default().with("name", Some(&name));
            let deleted = asked.request(Method::DELETE, "/state", query);
            asked
                .show(deleted, |answer| {
                    say(format_args!("{} is deleted", printable(&text(answer, "deleted"))));
                })
                .await
        }
    }
}

/// The last part of an address as the name of a file here: never a path.
fn name_of(url: &str) -> &str {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let path = path.split_once("://").map_or(path, |(_, rest)| rest);
    let name = path.rsplit_once('/').map_or("", |(_, name)| name);
    if name.is_empty() || name.starts_with('.') || name.contains('\\') { "download" } else { name }
}

/// A file as the server takes it; the ending says what it is.
fn data_address(file: &Path) -> Result<String, CommandError> {
    let bytes = fs::read(file).map_err(|error| {
        CommandError::new(Exit::Usage, format!("cannot read `{}`: {error}", file.display()))
    })?;
    let ending = file.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
    let kind = match ending.as_deref() {
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("gif") => "image/gif",
        Some("webp") => "image/webp",
        Some("pdf") => "application/pdf",
        Some("json") => "application/json",
        Some("zip") => "application/zip",
        Some("csv") => "text/csv",
        Some("html" | "htm") => "text/html",
        Some("txt") => "text/plain",
        _ => "application/octet-stream",
    };
    Ok(format!("data:{kind};base64,{}", BASE64_STANDARD.encode(bytes)))
}

fn print_loaded(answer: &Value) {
    let restored = |member: &str, what: &str| counted(answer[member].as_u64().unwrap_or_default(), what);
    say(format_args!(
        "{}: {}, {} of storage, {}",
        printable(&text(answer, "name")),
        restored("cookiesRestored", "cookie"),
        restored("storageItemsRestored", "item"),
        restored("databasesRestored", "database"),
    ));
}

fn print_states(answer: &Value) {
    let mut table = Table::new(&[
        ("NAME", Side::Left),
        ("AGE", Side::Right),
        ("BYTES", Side::Right),
        ("ENCRYPTED", Side::Left),
    ]);
    for row in answer["states"].as_array().into_iter().flatten() {
        let encrypted = if row["encrypted"] == true { "yes" } else { "no" };
        let (age, size) = (ago(row["savedAt"].as_str()), row["size"].to_string());
        table.row(vec![text(row, "name"), age, size, encrypted.to_owned()]);
    }
    print_table(&table, "no state is saved");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_download_is_called_as_its_address_ends_and_lands_here() {
        for (url, name) in [
            ("https://shop.example/a/list.csv?page=2#x", "list.csv"),
            ("https://shop.example/a/", "download"),
            ("https://shop.example", "download"),
            ("https://shop.example/..", "download"),
            ("https://shop.example/.bashrc", "download"),
            ("https://shop.example/a\\..\\b", "download"),
        ] {
            assert_eq!(name_of(url), name, "{url}");
        }
    }

    #[test]
    fn a_file_is_sent_with_what_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("list.CSV");
        fs::write(&file, "a,b").unwrap();
        assert_eq!(data_address(&file).unwrap(), "data:text/csv;base64,YSxi");
        let missing = data_address(&dir.path().join("no such")).unwrap_err();
        assert_eq!(missing.exit, Exit::Usage);
    }
}
