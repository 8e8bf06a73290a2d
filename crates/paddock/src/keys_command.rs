//! `paddock keys`: the API keys of the server on a data directory, running or not.

use std::time::Duration;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use paddock_platform::{
    http::{KeyLimits, RateLimit},
    identity::{Scope, Tenant},
    keys::{Key, KeyState, Keys, KeysError, NewKey},
    store::Store,
    task::Tasks,
    units::HumanDuration,
};

use crate::{
    cli::{ConfigArgs, DataArgs, complain, say},
    config::load,
    exit::{CommandError, CommandResult, Exit},
};

const CLOSE_DEADLINE: Duration = Duration::from_secs(5);

/// The subcommands.
#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Create a key; its token is printed once, on standard output
    Create(CreateArgs),
    /// List the keys
    List(ListArgs),
    /// End a key; it is refused from then on
    Revoke(RevokeArgs),
}

/// Which server's keys.
#[derive(Debug, Args)]
pub(crate) struct StoreArgs {
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Flags of `paddock keys create`.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// What the key is for, for the people who manage it
    name: String,
    /// What it may do: area:verb, such as browser:write; `*:admin` is everything
    #[arg(long = "scope", value_name = "SCOPE", value_delimiter = ',', required = true)]
    scopes: Vec<Scope>,
    /// Whose things it sees
    #[arg(long, default_value = "local")]
    tenant: Tenant,
    /// How long it holds, such as 90d [default: until it is revoked]
    #[arg(long, value_name = "DURATION")]
    expires: Option<HumanDuration>,
    /// How often it may be used, such as 100/s or `600/min burst 50` [default: the server's limit]
    #[arg(long)]
    rate: Option<RateLimit>,
    /// Requests of it that may run at a time
    #[arg(long, value_name = "N")]
    concurrency_max: Option<u32>,
    #[command(flatten)]
    store: StoreArgs,
}

/// Flags of `paddock keys list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Print the keys as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreArgs,
}

/// Flags of `paddock keys revoke`.
#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    /// The key's id, as `paddock keys list` shows it
    id: String,
    #[command(flatten)]
    store: StoreArgs,
}

/// Runs one of them.
pub(crate) async fn run(command: KeysCommand) -> CommandResult {
    let store_args = match &command {
        KeysCommand::Create(args) => &args.store,
        KeysCommand::List(args) => &args.store,
        KeysCommand::Revoke(args) => &args.store,
    };
    let config = load(&store_args.config)?.config;
    let data = &store_args.data.data;
    std::fs::create_dir_all(data).map_err(|error| {
        CommandError::new(Exit::Failure, format!("cannot make `{}`: {error}", data.display()))
    })?;
    let failure = |error: &(dyn std::error::Error + 'static)| CommandError::from_error(Exit::Failure, error);
    let tasks = Tasks::default();
    let store = Store::open(&config.store, data, &tasks).await.map_err(|error| failure(&error))?;
    let keys = Keys::open(store.clone(), &tasks).await.map_err(|error| failure(&error))?;
    let outcome = match command {
        KeysCommand::Create(args) => create(&keys, args).await,
        KeysCommand::List(args) => list(&keys, args.json).await,
        KeysCommand::Revoke(args) => revoke(&keys, &args.id).await,
    };
    store.close().await;
    let _ = tasks.stop(CLOSE_DEADLINE).await;
    outcome
}

async fn create(keys: &Keys, args: CreateArgs) -> CommandResult {
    let new = NewKey {
        name: args.name,
        tenant: args.tenant,
        scopes: args.scopes,
        limits: KeyLimits { rate: args.rate, concurrency_max: args.concurrency_max },
        expires_at: args.expires.map(|span| Timestamp::now() + span.get()),
    };
    let created = keys.create(new).await.map_err(|error| from_keys(&error))?;
    complain(format_args!("key {} created; its token is shown this once", created.key.id));
    say(format_args!("{}", created.token.expose()));
    Ok(())
}

async fn list(keys: &Keys, json: bool) -> CommandResult {
    let keys = keys.list().await.map_err(|error| CommandError::from_error(Exit::Failure, &error))?;
    if json {
        let json = serde_json::to_string_pretty(&keys)
            .map_err(|error| CommandError::from_error(Exit::Failure, &error))?;
        say(format_args!("{json}"));
        return Ok(());
    }
    if keys.is_empty() {
        say(format_args!("there is no key; `paddock keys create NAME --scope browser:write` makes one"));
        return Ok(());
    }
    say(format_args!(
        "{:<14} {:<8} {:<10} {:<20} {:<18} name",
        "id", "state", "tenant", "last used", "scopes"
    ));
    for key in &keys {
        say(format_args!("{}", row(key)));
    }
    Ok(())
}

fn row(key: &Key) -> String {
    let state = match key.state(Timestamp::now()) {
        KeyState::Active => "active",
        KeyState::Expired => "expired",
        KeyState::Revoked => "revoked",
    };
    let used =
        key.last_used_at.map_or_else(|| "never".to_owned(), |at| at.strftime("%Y-%m-%d %H:%M").to_string());
    let scopes: Vec<String> = key.scopes.iter().map(ToString::to_string).collect();
    let scopes = scopes.join(",");
    format!("{:<14} {state:<8} {:<10} {used:<20} {scopes:<18} {}", key.id, key.tenant.as_str(), key.name)
}

async fn revoke(keys: &Keys, id: &str) -> CommandResult {
    let key = keys.revoke(id).await.map_err(|error| from_keys(&error))?;
    say(format_args!("key {} ({}) is revoked; running servers refuse it within seconds", key.id, key.name));
    Ok(())
}

fn from_keys(error: &KeysError) -> CommandError {
    let exit = match error {
        KeysError::Name | KeysError::NoScope | KeysError::Expiry | KeysError::Unknown(_) => Exit::Usage,
        KeysError::TooMany | KeysError::Random | KeysError::Store(_) => Exit::Failure,
    };
    CommandError::from_error(exit, error)
}
