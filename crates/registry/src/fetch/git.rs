//! Files in git repositories: the one place that knows gix.
//!
//! A repository on this machine is opened where it is. Of another one, the commit is asked for first; only if it is not the
//! one that was read last, that commit alone is fetched, without history, into a directory that is removed again.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use gix::{
    ObjectId, Repository,
    credentials::{helper::Action, protocol::Outcome},
    progress::Discard,
    remote::{Direction, fetch::Shallow},
    sec::identity::Account,
};
use paddock_platform::{problem::error_chain, task::background, units::ByteSize};

use super::{Fetched, whole};
use crate::{config::GitOptions, error::FetchError, store::Mark};

/// Git's own answer to "without history".
const DEPTH: std::num::NonZeroU32 = std::num::NonZeroU32::MIN;

/// Tells the thread that fetches to give up when nobody waits for it any more.
struct InterruptOnDrop(Arc<AtomicBool>);

impl Drop for InterruptOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What is asked of a repository.
struct Wanted {
    url: String,
    /// `HEAD`, a whole reference, or the id of a commit.
    revision: String,
    path: String,
    account: Option<Account>,
    size_max: ByteSize,
    interrupt: Arc<AtomicBool>,
}

pub(super) async fn fetch(
    options: &GitOptions,
    mark: Mark,
    size_max: ByteSize,
) -> Result<Fetched, FetchError> {
    let password = options.password.as_ref().map(paddock_platform::config::SecretRef::resolve).transpose()?;
    let account = password.map(|password| Account {
        // Forges take any name beside a token.
        username: options.username.clone().unwrap_or_else(|| "git".to_owned()),
        password: password.expose().to_owned(),
        oauth_refresh_token: None,
    });
    let revision = match (&options.branch, &options.tag, &options.commit) {
        (Some(branch), ..) => format!("refs/heads/{branch}"),
        (_, Some(tag), _) => format!("refs/tags/{tag}"),
        (.., Some(commit)) => commit.clone(),
        _ => "HEAD".to_owned(),
    };
    let interrupt = Arc::new(AtomicBool::new(false));
    let _guard = InterruptOnDrop(Arc::clone(&interrupt));
    let wanted = Wanted {
        url: options.url.clone(),
        revision,
        path: options.path.trim_start_matches('/').to_owned(),
        account,
        size_max,
        interrupt,
    };
    background(move || wanted.fetch(mark)).await?
}

impl Wanted {
    fn fetch(&self, mark: Mark) -> Result<Fetched, FetchError> {
        if let Some(path) = local_path(&self.url) {
            let repository = gix::open_opts(path, gix::open::Options::isolated()).map_err(|it| git(&it))?;
            let commit = self.resolve(&repository)?;
            return self.read(&repository, commit, mark);
        }
        let directory =
            tempfile::tempdir().map_err(|source| FetchError::File { path: std::env::temp_dir(), source })?;
        if mark.commit.is_some() && mark.commit == self.remote_commit(&directory.path().join("look"))? {
            return Ok(Fetched::Unchanged(mark));
        }
        let repository = self.clone_into(&directory.path().join("clone"))?;
        let commit = repository.head_id().map_err(|it| git(&it))?.detach();
        self.read(&repository, commit, mark)
    }

    /// The commit in a repository on this machine.
    fn resolve(&self, repository: &Repository) -> Result<ObjectId, FetchError> {
        if let Ok(id) = ObjectId::from_hex(self.revision.as_bytes()) {
            return Ok(id);
        }
        if self.revision == "HEAD" {
            return Ok(repository.head_id().map_err(|it| git(&it))?.detach());
        }
        let mut reference = repository.find_reference(self.revision.as_str()).map_err(|it| git(&it))?;
        Ok(reference.peel_to_commit().map_err(|it| git(&it))?.id)
    }

    /// The commit in another repository, if it is told without fetching anything.
    fn remote_commit(&self, directory: &Path) -> Result<Option<String>, FetchError> {
        if ObjectId::from_hex(self.revision.as_bytes()).is_ok() {
            return Ok(Some(self.revision.clone()));
        }
        let repository = gix::init_bare(directory).map_err(|it| git(&it))?;
        let spec = gix::refspec::parse(self.revision.as_str().into(), gix::refspec::parse::Operation::Fetch);
        let spec = spec.map_err(|it| FetchError::Git(it.to_string()))?.to_owned();
        let remote = repository.remote_at(self.url.as_str()).map_err(|it| git(&it))?;
        let mut connection = remote.connect(Direction::Fetch).map_err(|it| git(&it))?;
        let account = self.account.clone();
        connection.set_credentials(move |action| Ok(answer(action, account.as_ref())));
        let options = gix::remote::ref_map::Options { extra_refspecs: vec![spec], ..Default::default() };
        let (map, _) = connection.ref_map(Discard, options).map_err(|it| git(&it))?;
        let found = map.remote_refs.iter().map(gix::protocol::handshake::Ref::unpack).find_map(
            |(name, object, peeled)| {
                (name == self.revision.as_str()).then(|| peeled.or(object).map(|id| id.to_hex().to_string()))
            },
        );
        Ok(found.flatten())
    }

    fn clone_into(&self, directory: &Path) -> Result<Repository, FetchError> {
        let account = self.account.clone();
        let prepare = gix::clone::PrepareFetch::new(
            self.url.as_str(),
            directory,
            gix::create::Kind::Bare,
            gix::create::Options::default(),
            gix::open::Options::isolated(),
        );
        let mut prepare = prepare
            .and_then(|prepare| {
                prepare
                    .with_shallow(Shallow::DepthAtRemote(DEPTH))
                    .configure_connection(move |connection| {
                        let account = account.clone();
                        connection.set_credentials(move |action| Ok(answer(action, account.as_ref())));
                        Ok(())
                    })
                    .with_revision(Some(self.revision.as_str()))
            })
            .map_err(|it| git(&it))?;
        let (repository, _) = prepare.fetch_only(Discard, &self.interrupt).map_err(|it| git(&it))?;
        Ok(repository)
    }

    fn read(&self, repository: &Repository, commit: ObjectId, mark: Mark) -> Result<Fetched, FetchError> {
        let id = commit.to_string();
        if mark.commit.as_ref() == Some(&id) {
            return Ok(Fetched::Unchanged(mark));
        }
        let tree = repository.find_commit(commit).and_then(|commit| commit.tree()).map_err(|it| git(&it))?;
        let entry = tree.lookup_entry_by_path(&self.path).map_err(|it| git(&it))?;
        let missing = || FetchError::Git(format!("there is no file `{}` in commit {id}", self.path));
        let object = entry.ok_or_else(missing)?.object().map_err(|it| git(&it))?;
        if object.kind != gix::object::Kind::Blob {
            return Err(missing());
        }
        if object.data.len() as u64 > self.size_max.get() {
            return Err(FetchError::TooLarge(self.size_max));
        }
        let document = Bytes::copy_from_slice(&object.data);
        // Another commit with the same file is no change, and is not asked for again.
        Ok(whole(document, Mark { commit: Some(id), ..mark }))
    }
}

fn answer(action: Action, account: Option<&Account>) -> Option<Outcome> {
    match (action, account) {
        (Action::Get(context), Some(account)) => {
            Some(Outcome { identity: account.clone(), next: context.into() })
        }
        _ => None,
    }
}

/// The path of a repository on this machine.
fn local_path(url: &str) -> Option<PathBuf> {
    match url.split_once("://") {
        Some(("file", path)) => Some(PathBuf::from(path)),
        Some(_) => None,
        None => Some(PathBuf::from(url)),
    }
}

fn git(error: &(dyn std::error::Error + 'static)) -> FetchError {
    FetchError::Git(error_chain(error))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// A repository with one file, made with git itself.
    struct Origin(tempfile::TempDir);

    impl Origin {
        fn new(content: &str) -> Self {
            let origin = Self(tempfile::tempdir().unwrap());
            origin.git(&["init", "--quiet", "--initial-branch=main"]);
            origin.commit(content);
            origin
        }

        fn git(&self, args: &[&str]) -> String {
            let mut command = Command::new("git");
            command.current_dir(self.0.path()).args(["-c", "user.name=t", "-c", "user.email=t@t.example"]);
            let output = command.args(args).output().expect("git is installed");
            assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        }

        fn commit(&self, content: &str) -> String {
            std::fs::create_dir_all(self.0.path().join("data")).unwrap();
            std::fs::write(self.0.path().join("data/servers.json"), content).unwrap();
            self.git(&["add", "."]);
            self.git(&["commit", "--quiet", "--allow-empty", "-m", "change"]);
            self.git(&["rev-parse", "HEAD"])
        }

        fn options(&self) -> GitOptions {
            GitOptions {
                url: format!("file://{}", self.0.path().display()),
                path: "data/servers.json".to_owned(),
                ..GitOptions::default()
            }
        }
    }

    async fn read(options: &GitOptions, mark: Mark) -> Result<(Option<Bytes>, Mark), FetchError> {
        Ok(match fetch(options, mark, ByteSize::mib(1)).await? {
            Fetched::Unchanged(mark) => (None, mark),
            Fetched::Documents { mut documents, mark, .. } => (documents.pop(), mark),
        })
    }

    #[tokio::test]
    async fn a_branch_is_followed() {
        let origin = Origin::new("[1]");
        let options = GitOptions { branch: Some("main".to_owned()), ..origin.options() };
        let (first, mark) = read(&options, Mark::default()).await.unwrap();
        assert_eq!(first.unwrap(), "[1]");
        let (again, mark) = read(&options, mark).await.unwrap();
        assert_eq!(again, None);
        let commit = origin.commit("[2]");
        let (changed, mark) = read(&options, mark).await.unwrap();
        assert_eq!((changed.unwrap(), mark.commit.as_ref()), (Bytes::from("[2]"), Some(&commit)));
        let commit = origin.commit("[2]");
        let (same, mark) = read(&options, mark).await.unwrap();
        assert_eq!((same, mark.commit), (None, Some(commit)), "another commit with the same file");
    }

    #[tokio::test]
    async fn a_tag_and_a_commit_stay_where_they_are() {
        let origin = Origin::new("[1]");
        let commit = origin.git(&["rev-parse", "HEAD"]);
        origin.git(&["tag", "-a", "v1", "-m", "first"]);
        origin.commit("[2]");
        for options in [
            GitOptions { tag: Some("v1".to_owned()), ..origin.options() },
            GitOptions { commit: Some(commit), ..origin.options() },
        ] {
            assert_eq!(read(&options, Mark::default()).await.unwrap().0.unwrap(), "[1]");
        }
        assert_eq!(read(&origin.options(), Mark::default()).await.unwrap().0.unwrap(), "[2]");
    }

    #[tokio::test]
    async fn what_is_not_there_is_told() {
        let origin = Origin::new("[1]");
        let no_file = GitOptions { path: "other.json".to_owned(), ..origin.options() };
        let no_branch = GitOptions { branch: Some("gone".to_owned()), ..origin.options() };
        let no_repository = GitOptions { url: "/no/such/repository".to_owned(), ..origin.options() };
        let directory = GitOptions { path: "data".to_owned(), ..origin.options() };
        for options in [no_file, no_branch, no_repository, directory] {
            let error = read(&options, Mark::default()).await.unwrap_err();
            assert!(matches!(error, FetchError::Git(_)), "{error:?}");
        }
    }
}
