//! Commits that are to be measured against each other.

use std::path::{Path, PathBuf};

/// Checks a commit out into a directory beside the repository's own and returns the directory; what was built there
/// before is kept, so that a second trial of the same commit is quick.
pub async fn check_out(repository: &Path, commit: &str, below: &Path) -> Result<PathBuf, CheckOutError> {
    let git = async |arguments: &[&str], dir: &Path| -> Result<String, CheckOutError> {
        let output = tokio::process::Command::new("git")
            .args(arguments)
            .current_dir(dir)
            .stdin(std::process::Stdio::null())
            .output()
            .await
            .map_err(|source| CheckOutError::Start { source })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        let detail = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(CheckOutError::Git { commit: commit.to_owned(), detail })
    };
    let wanted = format!("{commit}^{{commit}}");
    let id = git(&["rev-parse", "--verify", "--end-of-options", &wanted], repository).await?;
    std::fs::create_dir_all(below).map_err(|source| CheckOutError::Start { source })?;
    let below = below.canonicalize().map_err(|source| CheckOutError::Start { source })?;
    let dir = below.join(&id);
    if !dir.is_dir() {
        let path = dir.to_string_lossy().into_owned();
        git(&["worktree", "add", "--detach", &path, &id], repository).await?;
    }
    Ok(dir)
}

/// A commit that cannot be checked out.
#[derive(Debug, thiserror::Error)]
pub enum CheckOutError {
    /// Git cannot be started, or its directory not be made.
    #[error("cannot run git")]
    Start {
        /// Why not.
        source: std::io::Error,
    },
    /// Git refused.
    #[error("cannot check out `{commit}`: {detail}")]
    Git {
        /// The commit as it was named.
        commit: String,
        /// What git said.
        detail: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_unknown_commit_is_refused_with_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let error = check_out(dir.path(), "no-such-commit", &dir.path().join("out")).await.unwrap_err();
        assert!(error.to_string().contains("no-such-commit"), "{error}");
    }
}
