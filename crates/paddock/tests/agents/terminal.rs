//! Every command of `paddock agents` that asks a server, as somebody at a terminal uses them.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    process::Stdio,
    sync::mpsc::sync_channel,
    thread,
};

use super::{
    agents,
    components::{BIDDER, component},
    start,
    support::{PATIENCE, complaint, eventually, paddock, text},
};

/// Wants to look at a page, which somebody has to approve.
const CAREFUL: &str = "---
name: careful
description: Looks at pages when it may
model: sim
tools: [agents_list]
approve: [agents_list]
---
[sim tool=agents_list with={} then reply=\"There are {{1.agents.1.name}} and {{1.agents.0.name}}.\"]
";

#[test]
fn agents_are_deployed_watched_asked_and_steered_from_a_shell() {
    let server = start(&["--set", "llm.sim=true"]);
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let careful = file("careful.md", CAREFUL.as_bytes());
    let painter = file("painter.wasm", &component(BIDDER));
    assert_eq!(agents(&server, &["deploy", &careful, &painter]), "careful@1\npainter@1\n");
    assert_eq!(agents(&server, &["deploy", "--settings", r#"{"price": 7}"#, &painter]), "painter@2\n");
    assert_eq!(agents(&server, &["rollback", "painter", "1"]), "painter@3\n");

    let listed = agents(&server, &["list"]);
    assert!(listed.starts_with("NAME") && listed.lines().count() == 3, "{listed}");
    assert_eq!(agents(&server, &["top", "--once"]).lines().count(), 3);
    let shown = agents(&server, &["show", "painter"]);
    assert!(shown.starts_with("painter@3  wasm  active") && shown.contains("versions 3 "), "{shown}");

    let answer = agents(&server, &["ask", "painter", r#"{"colour": "green"}"#, "--conversation", "fence"]);
    assert!(answer.contains(r#""colour": "green""#) && answer.ends_with("conversation fence\n"), "{answer}");
    let sent = agents(&server, &["send", "painter", "hello", "--conversation", "fence", "--durable"]);
    assert!(sent.contains("delivered to 1"), "{sent}");
    assert!(agents(&server, &["trace"]).contains("fence"));
    let trace = agents(&server, &["trace", "fence"]);
    assert!(trace.contains(r#"{"colour":"green"}"#) && trace.contains("hello"), "{trace}");

    assert!(agents(&server, &["suspend", "painter"]).contains("suspended"));
    agents(&server, &["send", "painter", "later"]);
    let waits = agents(&server, &["list"]);
    assert!(waits.lines().any(|line| line.starts_with("painter") && line.contains("suspended")), "{waits}");
    assert!(agents(&server, &["resume", "painter"]).contains("active"));
    agents(&server, &["rm", "painter"]);
    let gone = paddock().args(["agents", "show", "painter", "--server", &server.base]).output().unwrap();
    assert!(!gone.status.success() && complaint(&gone).contains("painter"), "{}", text(&gone));
}

#[test]
fn a_call_waits_for_approval_and_what_was_for_nothing_is_on_record() {
    let server = start(&["--set", "llm.sim=true"]);
    let dir = tempfile::tempdir().unwrap();
    let careful = dir.path().join("careful.md");
    fs::write(&careful, CAREFUL).unwrap();
    let other = dir.path().join("other.md");
    fs::write(&other, CAREFUL.replace("name: careful", "name: other")).unwrap();
    agents(&server, &["deploy", careful.to_str().unwrap(), other.to_str().unwrap()]);
    agents(&server, &["send", "careful", "go", "--conversation", "walk"]);
    let waiting = eventually("a call waits for approval", || {
        let waiting = agents(&server, &["approve", "careful"]);
        waiting.contains("agents_list").then_some(waiting)
    });
    let id = waiting.lines().nth(1).unwrap().split_whitespace().next().unwrap();
    agents(&server, &["approve", "careful", id]);
    let trace = eventually("the run has gone on", || {
        let trace = agents(&server, &["trace", "walk"]);
        trace.contains("inform").then_some(trace)
    });
    assert!(trace.contains("There are other and careful."), "{trace}");

    // Whoever asked with `send` waits for no answer.
    let dead = agents(&server, &["dead"]);
    assert!(dead.starts_with("AT") && dead.contains("nobody-waits"), "{dead}");
    let nobody =
        paddock().args(["agents", "send", "nobody", "hello", "--server", &server.base]).output().unwrap();
    assert!(!nobody.status.success() && complaint(&nobody).contains("nobody"), "{}", text(&nobody));

    let broken = dir.path().join("broken.md");
    fs::write(&broken, CAREFUL.replace("agents_list", "agents_lost")).unwrap();
    let output = paddock()
        .args(["agents", "validate", "--server", &server.base])
        .args([&careful, &broken])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!output.status.success(), "{}", text(&output));
    assert!(
        said.contains("careful.md: can be deployed") && said.contains("`agents_lost`"),
        "{}",
        text(&output)
    );
}

#[test]
fn a_version_gets_a_share_and_everything_from_a_shell() {
    let server = start(&["--set", "llm.sim=true"]);
    let dir = tempfile::tempdir().unwrap();
    let version = |about: &str| {
        let path = dir.path().join(format!("{about}.md"));
        let text =
            format!("---\nname: clerk\ndescription: {about}\nmodel: sim\n---\n[sim reply=\"{about}\"]\n");
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (first, second) = (version("first"), version("second"));
    let failing = |args: &[&str]| {
        let output = paddock().args(["agents", "--server", &server.base]).args(args).output().unwrap();
        assert!(!output.status.success(), "{args:?}: {}", text(&output));
        complaint(&output)
    };
    // A share of nothing.
    assert!(failing(&["deploy", "--weight", "0.5", &first]).contains("clerk"));
    assert_eq!(agents(&server, &["deploy", &first]), "clerk@1\n");
    assert!(failing(&["promote", "clerk"]).contains("clerk"));
    assert!(failing(&["deploy", "--weight", "1.5", &second]).contains("weight"));
    assert_eq!(agents(&server, &["deploy", "--weight", "0.5", &second]), "clerk@2\n");
    assert!(agents(&server, &["show", "clerk"]).starts_with("clerk@1 "));
    let answers = |conversations: std::ops::Range<u32>| -> BTreeSet<String> {
        let ask = |number: u32| {
            let conversation = format!("c{number}");
            let answer = agents(&server, &["ask", "clerk", "who?", "--conversation", &conversation]);
            answer.lines().next().unwrap().to_owned()
        };
        conversations.map(ask).collect()
    };
    assert_eq!(agents(&server, &["split", "clerk", "2", "0.999999"]), "clerk@2  0.999999\n");
    assert!(answers(0..4).contains("second"));
    // Nothing is left of a share that was taken back.
    assert_eq!(agents(&server, &["split", "clerk", "2", "0"]), "");
    assert_eq!(answers(4..6), BTreeSet::from(["first".to_owned()]));
    assert_eq!(agents(&server, &["split", "clerk", "2", "0.5"]), "clerk@2  0.5\n");
    assert_eq!(agents(&server, &["promote", "clerk"]), "clerk@2\n");
    assert_eq!(answers(6..10), BTreeSet::from(["second".to_owned()]));
    assert!(agents(&server, &["show", "clerk"]).starts_with("clerk@2 "));
}

#[test]
fn a_log_is_followed_line_by_line() {
    let server = start(&["--set", "llm.sim=true"]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("clumsy.md");
    fs::write(&file, "---\nname: clumsy\nmodel: sim\n---\n[sim status=400]\n").unwrap();
    agents(&server, &["deploy", file.to_str().unwrap()]);
    let fail = || {
        let asked = ["agents", "--server", &server.base, "ask", "clumsy", "go"];
        let output = paddock().args(asked).output().unwrap();
        assert!(!output.status.success(), "{}", text(&output));
    };
    fail();
    assert_eq!(agents(&server, &["logs", "clumsy"]).lines().count(), 1);
    let mut following = paddock()
        .args(["agents", "--server", &server.base, "logs", "-f", "clumsy"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(following.stdout.take().unwrap());
    let (sender, lines) = sync_channel(100);
    let reader = thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            let _ = sender.try_send(line);
        }
    });
    let mut seen = vec![lines.recv_timeout(PATIENCE).unwrap()];
    for _ in 0..2 {
        fail();
        seen.push(lines.recv_timeout(PATIENCE).unwrap());
    }
    following.kill().unwrap();
    following.wait().unwrap();
    reader.join().unwrap();
    assert!(seen.iter().all(|line| line.contains("  warn   ") && line.contains("cannot be had")), "{seen:?}");
    // Each line once, with what was there before.
    let logged: Vec<String> = agents(&server, &["logs", "clumsy"]).lines().map(str::to_owned).collect();
    assert_eq!(seen, logged);
}
