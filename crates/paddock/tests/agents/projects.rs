//! From an empty directory to an answer, with the commands of docs/agents.md, in every language.
//!
//! The tools of a language are those of `scripts/setup.sh agents`: the projects lie beside them, where `build` finds them
//! as it finds those of a project, so that no test installs anything. A language whose tools are missing is skipped,
//! unless `PADDOCK_REQUIRE_AGENTS` is set. Python's interpreter takes a minute to build and compile: what was built of the
//! same sources, and what it was compiled to, is kept beside the tools.

use std::{
    env, fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Output,
};

use super::{
    agents,
    documented::{block, shell},
    skip, start,
    support::{TestServer, paddock, text},
};

/// Where `scripts/setup.sh agents` puts the tools.
fn tools() -> PathBuf {
    let home = || PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".cache");
    env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from).join("paddock-agents")
}

fn run_in(dir: &Path, args: &[&str]) -> Output {
    let mut command = paddock();
    // What cargo makes of other people's code is the same for every project.
    command.env("CARGO_TARGET_DIR", tools().join("target"));
    command.args(args).current_dir(dir).output().unwrap()
}

fn success(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A server whose compiled code of components outlives it, and its data: what takes a while is done once.
fn start_keeping_code() -> (TestServer, tempfile::TempDir) {
    let data = tempfile::tempdir().unwrap();
    let code = tools().join("served");
    fs::create_dir_all(&code).unwrap();
    fs::create_dir(data.path().join("agents")).unwrap();
    symlink(code, data.path().join("agents/compiled")).unwrap();
    (TestServer::start_on_with(data.path(), &["--set", "browser.warm=0"]), data)
}

/// `agents new` and `agents build` in an empty directory; none if a tool is missing.
fn built(language: &str, name: &str) -> Option<tempfile::TempDir> {
    fs::create_dir_all(tools()).unwrap();
    let dir = tempfile::Builder::new().prefix("new-").tempdir_in(tools()).unwrap();
    let said = success(&run_in(dir.path(), &["agents", "new", "--lang", language, name]));
    for line in [&format!("cd {name}"), "paddock agents build", &format!("paddock agents deploy {name}.wasm")]
    {
        assert!(said.contains(line), "{said}");
    }
    let again = run_in(dir.path(), &["agents", "new", "--lang", language, name]);
    assert_eq!(again.status.code(), Some(2), "{}", text(&again));
    let project = dir.path().join(name);
    let component = project.join(format!("{name}.wasm"));
    let kept = (language == "py").then(|| kept(&project));
    if kept.as_ref().is_some_and(|kept| fs::copy(kept, &component).is_ok()) {
        return Some(dir);
    }
    let output = run_in(&project, &["agents", "build"]);
    let complaint = String::from_utf8_lossy(&output.stderr);
    if complaint.contains("is missing; ") {
        skip("PADDOCK_REQUIRE_AGENTS", &format!("{complaint}; `scripts/setup.sh agents` installs it"));
        return None;
    }
    let said = success(&output);
    assert!(said.starts_with(&format!("{name}.wasm (")), "{said}");
    if let Some(kept) = kept {
        fs::create_dir_all(kept.parent().unwrap()).unwrap();
        fs::copy(&component, dir.path().join("done")).unwrap();
        fs::rename(dir.path().join("done"), kept).unwrap();
    }
    Some(dir)
}

/// Where the component of a project's sources is kept.
fn kept(project: &Path) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    for file in ["agent.toml", "app.py", "paddock.py", "requirements.txt", "wit/agent.wit"] {
        fs::read(project.join(file)).unwrap().hash(&mut hasher);
    }
    tools().join(format!("built/command-{:016x}.wasm", hasher.finish()))
}

/// Deploys what was built and asks it, and looks at it as whoever deployed it would; the answer as it is printed.
fn deployed_and_asked(server: &TestServer, dir: &Path, name: &str, question: &str) -> String {
    let file = dir.join(name).join(format!("{name}.wasm"));
    assert_eq!(agents(server, &["deploy", file.to_str().unwrap()]), format!("{name}@1\n"));
    // The same again is no new version.
    assert_eq!(agents(server, &["deploy", file.to_str().unwrap()]), format!("{name}@1\n"));
    let answer = agents(server, &["ask", name, question]);
    let conversation = answer.trim().rsplit(' ').next().unwrap().to_owned();
    let trace = agents(server, &["trace", &conversation]);
    assert!(trace.contains("request") && trace.contains("inform"), "{trace}");
    let listed = agents(server, &["list"]);
    assert!(listed.lines().any(|line| line.starts_with(name) && line.contains("wasm")), "{listed}");
    answer
}

#[test]
fn an_agent_in_typescript_comes_from_the_commands_of_the_docs_and_passes_a_request_on() {
    if built("ts", "probe").is_none() {
        return;
    }
    let server = start(&["--set", "llm.sim=true"]);
    let dir = tempfile::Builder::new().prefix("docs-").tempdir_in(tools()).unwrap();
    let begun = block("paddock agents new --lang ts triage");
    assert!(begun.contains("\nnpm install "), "{begun}");
    let asked = block("cat > billing.md");
    // The tools are there, and which conversation it was is known afterwards.
    let lines = begun.lines().chain(asked.lines());
    let commands =
        lines.filter(|line| !line.starts_with("npm install") && !line.contains("trace CONVERSATION"));
    let said = shell(&server, dir.path(), &commands.collect::<Vec<_>>().join("\n"));
    assert!(said.contains("triage@1\nbilling@1\nYou get it back.\n"), "{said}");
    let trace = agents(&server, &["trace", said.trim().rsplit(' ').next().unwrap()]);
    assert!(trace.contains("triage → capability:billing"), "{trace}");
    assert!(agents(&server, &["logs", "triage"]).contains("to billing: I was charged twice"));
}

#[test]
fn an_agent_in_rust_comes_from_an_empty_directory_and_keeps_figures() {
    let Some(dir) = built("rust", "tally") else { return };
    let server = start(&[]);
    let question = r#"{"name": "latency", "value": 12.5}"#;
    let answer = deployed_and_asked(&server, dir.path(), "tally", question);
    assert!(answer.contains(r#""count": 1"#) && answer.contains(r#""mean": 12.5"#), "{answer}");
}

#[test]
fn an_agent_in_c_comes_from_an_empty_directory_and_limits() {
    let Some(dir) = built("c", "limiter") else { return };
    let server = start(&[]);
    let answer = deployed_and_asked(&server, dir.path(), "limiter", "customer-7");
    assert!(answer.contains(r#""left": 9"#), "{answer}");
}

#[test]
fn an_agent_in_python_comes_from_an_empty_directory_and_reads_texts() {
    let Some(dir) = built("py", "extract") else { return };
    let (server, _data) = start_keeping_code();
    let question = r#"{"text": "Pay EUR 120 by 2026-12-24 to billing@example.com"}"#;
    let answer = deployed_and_asked(&server, dir.path(), "extract", question);
    for found in ["EUR 120", "2026-12-24", "billing@example.com"] {
        assert!(answer.contains(found), "{answer}");
    }
}

#[test]
fn what_cannot_be_begun_or_built_says_why_and_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    for (args, exit, words) in [
        (&["agents", "new", "--lang", "cobol", "x"][..], 2, "ts, py, rust, c"),
        (&["agents", "new", "--lang", "ts", "--template", "nothing", "x"], 2, "triage"),
        (&["agents", "new", "--lang", "ts", "No Name"], 2, "No Name"),
        (&["agents", "build"], 2, "paddock agents new"),
    ] {
        let output = run_in(dir.path(), args);
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(exit), "{args:?}: {}", text(&output));
        assert!(complaint.contains(words), "{args:?}: {complaint}");
    }
    assert!(fs::read_dir(dir.path()).unwrap().next().is_none(), "nothing was written");
}
