//! Repositories that are read over HTTP, from git's own server.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test says what it found by panicking"
)]

mod support;

use std::{
    path::PathBuf,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use support::{TestRegistry, serve, server};
use tokio::io::AsyncWriteExt;

const LIST: &str = "/registry/v0.1/servers";
/// Largest request of a fetch that is taken.
const REQUEST_SIZE_MAX: usize = 1 << 20;

/// `git http-backend` behind HTTP, and what it was asked.
#[derive(Clone)]
struct Backend {
    root: PathBuf,
    wants_account: bool,
    packs: Arc<AtomicUsize>,
    was_shown_account: Arc<AtomicBool>,
}

/// A repository with one file, served over HTTP.
struct Origin {
    dir: tempfile::TempDir,
    base: String,
    backend: Backend,
    _stop: tokio::sync::oneshot::Sender<()>,
}

impl Origin {
    async fn start(wants_account: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let backend = Backend {
            root: dir.path().to_owned(),
            wants_account,
            packs: Arc::default(),
            was_shown_account: Arc::default(),
        };
        let (base, stop) = serve(Router::new().fallback(answer).with_state(backend.clone())).await;
        std::fs::create_dir(dir.path().join("servers")).unwrap();
        let origin = Self { dir, base, backend, _stop: stop };
        origin.git(&["init", "--quiet", "--initial-branch=main"]);
        origin.commit(&[server("a.b/one", "1.0.0")]);
        origin
    }

    fn git(&self, args: &[&str]) -> String {
        let mut command = Command::new("git");
        command.current_dir(self.dir.path().join("servers"));
        command.args(["-c", "user.name=t", "-c", "user.email=t@t.example"]).args(args);
        let output = command.output().expect("git is installed");
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Commits a list of servers, and gives the commit's id.
    fn commit(&self, servers: &[Value]) -> String {
        let text = json!({"servers": servers}).to_string();
        std::fs::write(self.dir.path().join("servers/servers.json"), text).unwrap();
        self.git(&["add", "."]);
        self.git(&["commit", "--quiet", "-m", "change"]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// The configuration of a source that reads it over HTTP, with more of its options.
    fn source(&self, more: &[String]) -> String {
        Self::source_at(&self.base, more)
    }

    /// The same where it lies.
    fn local_source(&self) -> String {
        Self::source_at(&format!("file://{}", self.dir.path().display()), &[])
    }

    fn source_at(base: &str, more: &[String]) -> String {
        let url = format!("url = \"{base}/servers\"");
        let options = [&[url, "path = \"servers.json\"".to_owned()], more].concat().join(", ");
        format!("[[sources]]\nname = \"team\"\ninterval = \"1h\"\ngit = {{ {options} }}\n")
    }

    /// How many packs were asked for.
    fn packs(&self) -> usize {
        self.backend.packs.load(Ordering::Relaxed)
    }
}

/// Answers as a web server with this CGI program does (RFC 3875).
async fn answer(State(backend): State<Backend>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, REQUEST_SIZE_MAX).await.unwrap();
    if parts.headers.contains_key(header::AUTHORIZATION) {
        backend.was_shown_account.store(true, Ordering::Relaxed);
    } else if backend.wants_account {
        return (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Basic realm=\"git\"")])
            .into_response();
    }
    // Listing references names none of them as wanted.
    if body.windows(5).any(|part| part == b"want ") {
        backend.packs.fetch_add(1, Ordering::Relaxed);
    }
    let said = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut command = tokio::process::Command::new("git");
    command
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", &backend.root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_PROTOCOL", said("git-protocol"))
        .env("REQUEST_METHOD", parts.method.as_str())
        .env("PATH_INFO", parts.uri.path())
        .env("QUERY_STRING", parts.uri.query().unwrap_or_default())
        .env("CONTENT_TYPE", said("content-type"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut program = command.spawn().expect("git is installed");
    let mut input = program.stdin.take().unwrap();
    // It need not read what it refuses.
    let _ = input.write_all(&body).await;
    drop(input);
    let output = program.wait_with_output().await.unwrap();
    let end = output.stdout.windows(4).position(|part| part == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let mut response = Response::builder();
    for line in String::from_utf8_lossy(&output.stdout[..end]).lines() {
        let (name, value) = line.split_once(": ").unwrap();
        response = match name {
            "Status" => response.status(value[..3].parse::<u16>().unwrap()),
            _ => response.header(name, value),
        };
    }
    response.body(Body::from(output.stdout[end + 4..].to_vec())).unwrap()
}

#[tokio::test]
async fn a_branch_is_followed_over_http_and_no_pack_is_asked_for_when_nothing_has_changed() {
    let origin = Origin::start(false).await;
    let test = TestRegistry::with(&origin.source(&["branch = \"main\"".to_owned()])).await;
    let status = test.sync("team").await;
    assert_eq!((&status["phase"], &status["entries"]), (&json!("complete"), &json!(1)), "{status}");
    let packs = origin.packs();
    assert!(packs > 0, "the commit was fetched");
    assert_eq!(test.sync("team").await["phase"], "complete");
    assert_eq!(origin.packs(), packs, "an unchanged branch is only looked at");
    origin.commit(&[server("a.b/one", "1.0.0"), server("a.b/two", "1.0.0")]);
    assert_eq!(test.sync("team").await["entries"], 2);
    assert!(origin.packs() > packs);
    assert_eq!(test.names(LIST).await, ["a.b/one@1.0.0", "a.b/two@1.0.0"]);
    test.stop().await;
}

#[tokio::test]
async fn an_annotated_tag_and_a_commit_are_read_over_http_and_stay_where_they_are() {
    let origin = Origin::start(false).await;
    let first = origin.git(&["rev-parse", "HEAD"]);
    origin.git(&["tag", "-a", "v1", "-m", "first"]);
    origin.commit(&[server("a.b/two", "1.0.0")]);
    for revision in ["tag = \"v1\"".to_owned(), format!("commit = \"{first}\"")] {
        let test = TestRegistry::with(&origin.source(std::slice::from_ref(&revision))).await;
        let status = test.sync("team").await;
        assert_eq!(test.names(LIST).await, ["a.b/one@1.0.0"], "{revision}: {status}");
        let packs = origin.packs();
        assert_eq!(test.sync("team").await["phase"], "complete");
        assert_eq!(origin.packs(), packs, "{revision}");
        test.stop().await;
    }
    let test = TestRegistry::with(&origin.source(&[])).await;
    test.sync("team").await;
    assert_eq!(test.names(LIST).await, ["a.b/two@1.0.0"], "without a revision it is the default branch");
    test.stop().await;
}

#[tokio::test]
async fn a_repository_that_breaks_over_http_loses_nothing() {
    let origin = Origin::start(false).await;
    let limited =
        format!("source_size_max = \"16KiB\"\n{}", origin.source(&["branch = \"main\"".to_owned()]));
    let test = TestRegistry::with(&limited).await;
    test.sync("team").await;
    let many: Vec<Value> = (0..200).map(|index| server(&format!("a.b/s{index}"), "1.0.0")).collect();
    origin.commit(&many);
    let status = test.sync("team").await;
    assert!(status["error"].as_str().unwrap().contains("source_size_max"), "{status}");
    origin.git(&["rm", "--quiet", "servers.json"]);
    origin.git(&["commit", "--quiet", "-m", "gone"]);
    let status = test.sync("team").await;
    assert!(status["error"].as_str().unwrap().contains("no file `servers.json`"), "{status}");
    origin.git(&["branch", "--move", "main", "other"]);
    assert_eq!(test.sync("team").await["phase"], "failed");
    std::fs::remove_dir_all(origin.dir.path().join("servers")).unwrap();
    let status = test.sync("team").await;
    assert_eq!((&status["phase"], &status["entries"]), (&json!("failed"), &json!(1)), "{status}");
    assert_eq!(test.names(LIST).await, ["a.b/one@1.0.0"]);
    test.stop().await;
}

#[tokio::test]
async fn a_repository_that_vanishes_loses_nothing_and_is_read_when_it_is_back() {
    let origin = Origin::start(false).await;
    for source in [origin.source(&[]), origin.local_source()] {
        let test = TestRegistry::with(&source).await;
        assert_eq!(test.sync("team").await["entries"], 1);
        let (place, away) = (origin.dir.path().join("servers"), origin.dir.path().join("away"));
        std::fs::rename(&place, &away).unwrap();
        for _ in 0..2 {
            let status = test.sync("team").await;
            assert_eq!((&status["phase"], &status["entries"]), (&json!("failed"), &json!(1)), "{status}");
            assert_eq!(test.names(LIST).await, ["a.b/one@1.0.0"]);
        }
        std::fs::rename(&away, &place).unwrap();
        let status = test.sync("team").await;
        assert_eq!((&status["phase"], &status["failures"]), (&json!("complete"), &json!(0)), "{status}");
        test.stop().await;
    }
}

#[tokio::test]
async fn a_password_is_not_sent_in_clear_text() {
    let origin = Origin::start(true).await;
    let secret = origin.dir.path().join("password");
    std::fs::write(&secret, "correct horse").unwrap();
    let password = format!("password = \"file:{}\"", secret.display());
    let test = TestRegistry::with(&origin.source(&["username = \"robot\"".to_owned(), password])).await;
    let status = test.sync("team").await;
    assert!(status["error"].is_string(), "{status}");
    assert!(!origin.backend.was_shown_account.load(Ordering::Relaxed));
    test.stop().await;
}
