//! `paddock config`: what is in force and why, whether a file is right, and what may be written.

mod example;

use clap::Subcommand;
use paddock_platform::config;

use crate::{
    cli::{ConfigArgs, say},
    config::{Config, load},
    exit::{CommandError, CommandResult, Exit},
};

/// The subcommands.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print the configuration in force as TOML, each value with where it came from
    Show(ConfigArgs),
    /// Check the configuration; every mistake is named with file, line and the nearest valid key
    Check(ConfigArgs),
    /// Print the JSON Schema of the configuration
    Schema,
    /// Print an example file: every key with its default and what it does
    Example,
}

/// Runs one of them.
pub(crate) fn run(command: ConfigCommand) -> CommandResult {
    let internal = |error: &(dyn std::error::Error + 'static)| CommandError::from_error(Exit::Failure, error);
    match command {
        ConfigCommand::Show(args) => {
            let shown = load(&args)?.to_annotated_toml().map_err(|error| internal(&error))?;
            say(format_args!("{}", shown.trim_end()));
        }
        ConfigCommand::Check(args) => {
            let loaded = load(&args)?;
            match &loaded.file {
                Some(file) => say(format_args!("{} is valid", file.display())),
                None => say(format_args!("there is no configuration file; the defaults are in force")),
            }
        }
        ConfigCommand::Schema => {
            let schema = serde_json::to_string_pretty(&config::schema::<Config>());
            say(format_args!("{}", schema.map_err(|error| internal(&error))?));
        }
        ConfigCommand::Example => {
            let example = example::toml().map_err(|error| internal(&error))?;
            say(format_args!("{}", example.trim_end()));
        }
    }
    Ok(())
}
