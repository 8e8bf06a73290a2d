//! What needs no server: checking files, and taking over configurations.

use std::path::{Path, PathBuf};

use paddock_registry::{Verdict, import_toolhive};
use serde::Serialize;
use serde_json::{Value, json};

use super::note;
use crate::{
    cli::say,
    exit::{CommandError, CommandResult, Exit},
};

/// The `[registry]` section alone.
#[derive(Serialize)]
struct Section {
    registry: paddock_registry::RegistryOptions,
}

/// Reads a file as text.
pub(super) fn read(file: &Path) -> Result<String, CommandError> {
    std::fs::read_to_string(file)
        .map_err(|error| CommandError::new(Exit::Usage, format!("cannot read `{}`: {error}", file.display())))
}

/// Checks every file; fails if one of them may not be published.
pub(super) fn validate(files: &[PathBuf], as_json: bool) -> CommandResult {
    let (mut invalid, mut verdicts) = (0, Vec::new());
    for file in files {
        let server: Value = serde_json::from_str(&read(file)?).map_err(|error| {
            CommandError::new(Exit::Usage, format!("`{}` is not JSON: {error}", file.display()))
        })?;
        let verdict = paddock_registry::validate(&server);
        invalid += usize::from(!verdict.valid);
        if as_json {
            verdicts.push(json!({"file": file, "valid": verdict.valid, "issues": verdict.issues}));
        } else {
            print_verdict(file, &verdict);
        }
    }
    if as_json {
        say(format_args!("{:#}", Value::from(verdicts)));
    }
    if invalid == 0 {
        return Ok(());
    }
    Err(CommandError::new(Exit::Refused, format!("{invalid} of {} files may not be published", files.len())))
}

fn print_verdict(file: &Path, verdict: &Verdict) {
    let word = if verdict.valid { "valid" } else { "invalid" };
    say(format_args!("{}: {word}", file.display()));
    for issue in &verdict.issues {
        let path = if issue.path.is_empty() { "server" } else { &issue.path };
        say(format_args!("  {path} {} ({})", issue.message, issue.reference));
    }
}

/// Prints the section that a configuration becomes; what is left behind goes to standard error.
pub(super) fn import_config(file: &Path) -> CommandResult {
    let imported =
        import_toolhive(&read(file)?).map_err(|error| CommandError::from_error(Exit::Usage, &error))?;
    for line in &imported.notes {
        note(line);
    }
    let text = toml::to_string(&Section { registry: imported.options })
        .map_err(|error| CommandError::from_error(Exit::Failure, &error))?;
    say(format_args!("{}", text.trim_end()));
    Ok(())
}
