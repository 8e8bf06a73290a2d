//! `paddock agents new` and `paddock agents build`: projects of agents in WebAssembly. Neither needs a server.

use std::path::{Path, PathBuf};

use clap::Args;
use paddock_agents::{
    message::AgentName,
    wasm::project::{self, BuildError, Language},
};

use crate::{
    cli::{complain, say},
    exit::{CommandError, CommandResult, Exit},
};

#[derive(Debug, Args)]
pub(super) struct NewArgs {
    /// The agent's name: a-z, 0-9 and `-`
    name: AgentName,
    /// The language: ts, py, rust or c
    #[arg(long, value_name = "LANG")]
    lang: Language,
    /// What it begins as; an unknown name lists those that there are [default: the first]
    #[arg(long, value_name = "TEMPLATE")]
    template: Option<String>,
    /// Where the project goes [default: a directory of the agent's name]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct BuildArgs {
    /// The project
    #[arg(default_value = ".", value_name = "DIR")]
    dir: PathBuf,
}

/// Writes a project.
pub(super) fn new(args: &NewArgs) -> CommandResult {
    let dir = args.dir.clone().unwrap_or_else(|| PathBuf::from(args.name.as_str()));
    let written = project::scaffold(args.lang, &args.name, args.template.as_deref(), &dir)
        .map_err(|error| CommandError::from_error(Exit::Usage, &error))?;
    for path in &written {
        say(format_args!("{}", path.display()));
    }
    say(format_args!("\nnext     cd {}", dir.display()));
    if let Some(install) = install(args.lang) {
        say(format_args!("         {install}"));
    }
    say(format_args!("         paddock agents build\n         paddock agents deploy {}.wasm", args.name));
    Ok(())
}

/// What puts the tools of a language into a project.
const fn install(language: Language) -> Option<&'static str> {
    match language {
        Language::Ts => Some("npm install"),
        Language::Py => Some("python3 -m venv .venv && .venv/bin/pip install -r requirements.txt"),
        Language::Rust | Language::C => None,
    }
}

/// Builds a project.
pub(super) async fn build(args: BuildArgs) -> CommandResult {
    let built = tokio::task::spawn_blocking(move || {
        project::build(&args.dir, &mut |command| complain(format_args!("$ {command}")))
    });
    let built = built.await.map_err(|error| CommandError::from_error(Exit::Failure, &error))?;
    let built = built.map_err(|error| {
        let exit = match &error {
            BuildError::NoProject(_) | BuildError::Manifest { .. } => Exit::Usage,
            _ => Exit::Failure,
        };
        CommandError::from_error(exit, &error)
    })?;
    say(format_args!("{} ({} KiB)", plain(&built.path).display(), built.size.get().div_ceil(1024)));
    Ok(())
}

fn plain(path: &Path) -> &Path {
    path.strip_prefix(".").unwrap_or(path)
}
