//! The examples of `sdk/agents`, built with the tools of their languages and run.
//!
//! A language whose tools are missing is skipped, unless `PADDOCK_REQUIRE_AGENTS` is set; `scripts/setup.sh agents`
//! installs them. What was built and compiled is kept in the cache directory, for the same sources.

use std::{
    env, fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use paddock_platform::{task::Tasks, units::ByteSize};
use serde_json::{Value, json};

use super::support::{TestAgent, name, options};
use crate::{
    handler::{Failure, FailureKind},
    message::{Content, Performative},
    turn::Turn,
    wasm::{
        Limits, Wasm, WasmOptions,
        project::{self, Language},
    },
};

/// Where `scripts/setup.sh agents` puts the tools, and these tests what they built.
fn cache() -> PathBuf {
    let home = || PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".cache");
    env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from).join("paddock-agents")
}

fn skip(language: Language, missing: &str) {
    assert!(env::var_os("PADDOCK_REQUIRE_AGENTS").is_none(), "{missing}");
    let line = format!("skipped: {language}: {missing}; `scripts/setup.sh agents` installs it");
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn built(language: Language, example: &str) -> Option<Vec<u8>> {
    let cache = cache();
    let files = project::template(language, &name("guest"), Some(example)).unwrap();
    let mut hasher = blake3::Hasher::new();
    for (path, text) in &files {
        hasher.update(path.as_bytes()).update(b"\0").update(text.as_bytes()).update(b"\0");
    }
    let kept = cache.join(format!("built/{language}-{example}-{}.wasm", &hasher.finalize().to_hex()[..16]));
    if let Ok(component) = fs::read(&kept) {
        return Some(component);
    }
    fs::create_dir_all(cache.join("built")).unwrap();
    if let Some(missing) = project::missing(language, &cache) {
        skip(language, &missing);
        return None;
    }
    // Beside the tools, so that they are found as in any project; of the compiler's work, too, there is one copy.
    let dir = tempfile::Builder::new().prefix("project-").tempdir_in(&cache).unwrap();
    project::scaffold(language, &name("guest"), Some(example), &dir.path().join("guest")).unwrap();
    let target = cache.join("target");
    let built = project::build_in(&dir.path().join("guest"), Some(&target), &mut |_| {}).unwrap();
    fs::copy(&built.path, dir.path().join("done")).unwrap();
    fs::rename(dir.path().join("done"), &kept).unwrap();
    Some(fs::read(&kept).unwrap())
}

struct Guest(TestAgent);

async fn started(language: Language, example: &str, config: Value) -> Option<Guest> {
    started_with(language, example, config, Turn::detached(name("guest"))).await
}

async fn started_with(language: Language, example: &str, config: Value, mut turn: Turn) -> Option<Guest> {
    let component = tokio::task::spawn_blocking({
        let example = example.to_owned();
        move || built(language, &example)
    });
    let component = component.await.unwrap()?;
    let options =
        WasmOptions { memory: ByteSize::mib(128), compile_max: "30m".parse().unwrap(), ..options() };
    let wasm = Wasm::start(options, cache().join("code"), &Tasks::default()).unwrap();
    let module = wasm.prepare(component.into()).await.unwrap();
    assert_eq!(module.description().name.as_deref(), Some("guest"));
    assert_eq!(module.description().capabilities.len(), 1);
    turn.set("config", serde_json::to_vec(&config).unwrap().into()).unwrap();
    let mut agent = TestAgent::new(module.handler(&Limits::default()), turn);
    agent.start(true).await.unwrap();
    Some(Guest(agent))
}

impl Guest {
    async fn tell(&mut self, performative: Performative, value: &Value) -> Result<(), Failure> {
        self.0.handle(performative, Content::json(value)).await
    }

    /// What it answers with, and how.
    async fn ask(&mut self, performative: Performative, value: Value) -> (Performative, Value) {
        self.tell(performative, &value).await.unwrap();
        let last = self.0.turn.sent().last().unwrap();
        (last.performative, last.content.read().unwrap())
    }

    async fn invalid(&mut self, performative: Performative, value: Value) -> String {
        let failure = self.tell(performative, &value).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Invalid, "{failure}");
        failure.detail
    }
}

#[tokio::test]
async fn a_tally_in_rust_counts() {
    let Some(mut tally) = started(Language::Rust, "tally", json!({})).await else { return };
    tally.tell(Performative::Inform, &json!({"name": "latency", "value": 10.0})).await.unwrap();
    tally.tell(Performative::Inform, &json!({"name": "latency", "value": 20.0})).await.unwrap();
    let (performative, figures) = tally.ask(Performative::QueryRef, json!({"name": "latency"})).await;
    assert_eq!(performative, Performative::Inform);
    assert_eq!(figures, json!({"count": 2, "mean": 15.0, "least": 10.0, "greatest": 20.0}));
    assert!(tally.invalid(Performative::Inform, json!({"name": "latency"})).await.contains("value"));
    assert!(tally.invalid(Performative::Cfp, json!({})).await.contains("means nothing"));
}

#[tokio::test]
async fn a_bidder_in_rust_bids_while_it_has_capacity() {
    let config = json!({"capacity": 10, "price": 2.0});
    let Some(mut bidder) = started(Language::Rust, "bidder", config).await else { return };
    let (performative, bid) = bidder.ask(Performative::Cfp, json!({"task": "paint", "size": 8})).await;
    assert_eq!((performative, &bid["price"]), (Performative::Propose, &json!(16.0)));
    let (performative, refusal) = bidder.ask(Performative::Cfp, json!({"task": "paint", "size": 3})).await;
    assert_eq!((performative, refusal), (Performative::Refuse, json!({"free": 2})));
    assert!(bidder.invalid(Performative::AcceptProposal, json!({})).await.contains("nothing was proposed"));
}

#[tokio::test]
async fn a_triage_in_typescript_forwards_by_words() {
    let Some(mut triage) = started(Language::Ts, "triage", json!({})).await else { return };
    triage.tell(Performative::Request, &json!({"text": "I was charged twice, ¡ay! 😀"})).await.unwrap();
    let sent = triage.0.turn.sent().last().unwrap();
    assert_eq!(sent.receivers()[0].to_string(), "capability:billing");
    assert_eq!(sent.reply_to.as_ref().unwrap().to_string(), "caller:test");
    assert_eq!(sent.content.read::<Value>().unwrap()["text"], "I was charged twice, ¡ay! 😀");
    let (performative, _) = triage.ask(Performative::Request, json!({"text": "hello"})).await;
    assert_eq!(performative, Performative::Refuse);
    let (_, counts) = triage.ask(Performative::QueryRef, json!({})).await;
    assert_eq!(counts, json!({"billing": 1, "nobody": 1}));
    assert!(triage.invalid(Performative::Request, json!({})).await.contains("`text`"));
}

#[tokio::test]
async fn a_digest_in_typescript_passes_on_what_it_collected() {
    let config = json!({"to": "reviewer", "at_most": 3});
    let Some(mut digest) = started(Language::Ts, "digest", config).await else { return };
    for number in 0..2 {
        digest.tell(Performative::Inform, &json!({"number": number})).await.unwrap();
    }
    assert!(digest.0.turn.sent().is_empty());
    let (_, all) = digest.ask(Performative::Inform, json!({"number": 2})).await;
    assert_eq!((&all["count"], &all["items"][2]["what"]["number"]), (&json!(3), &json!(2)));
    assert_eq!(digest.0.turn.sent()[0].receivers()[0].to_string(), "reviewer");
}

#[tokio::test]
async fn a_script_in_typescript_is_run_by_the_shared_interpreter() {
    let script = "const {n} = paddock.read(message); paddock.reply('inform', {square: n * n});";
    let Some(mut agent) = started(Language::Ts, "script", json!({"script": script})).await else { return };
    let (_, answer) = agent.ask(Performative::Request, json!({"n": 12})).await;
    assert_eq!(answer, json!({"square": 144}));
}

#[tokio::test]
async fn an_extractor_in_python_finds_what_is_said() {
    let Some(mut extract) = started(Language::Py, "extract", json!({})).await else { return };
    let text = "Pay €1,250.00 by 2026-12-24 to billing@example.com, see https://example.com/a.";
    let (_, found) = extract.ask(Performative::Request, json!({"text": text})).await;
    assert_eq!(found["amounts"], json!(["€1,250.00"]));
    assert_eq!(found["dates"], json!(["2026-12-24"]));
    assert_eq!(found["emails"], json!(["billing@example.com"]));
    let (_, totals) = extract.ask(Performative::QueryRef, json!({})).await;
    assert_eq!(totals["links"], 1);
    assert!(extract.invalid(Performative::Request, json!({"text": 7})).await.contains("`text`"));
}

#[tokio::test]
async fn a_reviewer_in_python_calls_a_tool_and_tells_what_is_new() {
    let turn = Turn::detached(name("guest")).with_tools(|tool, input| {
        assert_eq!((tool, &input["url"]), ("analysis_run", &json!("https://shop.example")));
        let report = json!({"scores": {"total": 71}, "findings": [{"rule": "cta.vague_label", "title": "Vague label"}]});
        Box::pin(std::future::ready(Ok(report)))
    });
    let Some(mut reviewer) = started_with(Language::Py, "reviewer", json!({}), turn).await else { return };
    let url = json!({"url": "https://shop.example"});
    let (_, first) = reviewer.ask(Performative::Request, url.clone()).await;
    assert_eq!((&first["new"], &first["scores"]["total"]), (&json!(["Vague label"]), &json!(71)));
    let (_, second) = reviewer.ask(Performative::Request, url).await;
    assert_eq!(second["new"], json!([]));
}

#[tokio::test]
async fn a_tool_that_is_not_granted_is_told_of_by_a_reviewer_in_python() {
    let Some(mut reviewer) = started(Language::Py, "reviewer", json!({})).await else { return };
    let failure =
        reviewer.tell(Performative::Request, &json!({"url": "https://shop.example"})).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Retryable);
    assert!(failure.detail.contains("not-found"), "{failure}");
}

#[tokio::test]
async fn a_script_in_python_is_run_by_the_shared_interpreter() {
    let script =
        "def on_message(message):\n  paddock.reply(Performative.INFORM, sorted(paddock.read(message)))";
    let Some(mut agent) = started(Language::Py, "script", json!({"script": script})).await else { return };
    let (_, answer) = agent.ask(Performative::Request, json!([3, 1, 2])).await;
    assert_eq!(answer, json!([1, 2, 3]));
}

#[tokio::test]
async fn a_limiter_in_c_lets_a_burst_through_and_no_more() {
    let config = json!({"per_minute": 1, "burst": 2});
    let Some(mut limiter) = started(Language::C, "limiter", config).await else { return };
    let mut answers = Vec::new();
    for key in ["a", "a", "a", "b"] {
        limiter.0.tell(key).await.unwrap();
        answers.push(limiter.0.turn.sent().last().unwrap().performative);
    }
    assert_eq!(
        answers,
        [Performative::Inform, Performative::Inform, Performative::Refuse, Performative::Inform]
    );
    assert!(limiter.invalid(Performative::Inform, json!({})).await.contains("send a request"));
}

#[tokio::test]
async fn a_filter_in_c_passes_on_what_is_new() {
    let Some(mut dedupe) = started(Language::C, "dedupe", json!({})).await else { return };
    for number in [1, 2, 1, 1] {
        dedupe.tell(Performative::Inform, &json!({"number": number})).await.unwrap();
    }
    assert_eq!(dedupe.0.turn.sent().len(), 2);
    assert_eq!(dedupe.0.turn.sent()[0].receivers()[0].to_string(), "topic:unique");
    let (_, told) = dedupe.ask(Performative::QueryRef, json!({})).await;
    assert_eq!(told, json!({"passed": 2, "repeated": 2}));
}

#[test]
fn tools_that_are_missing_come_with_the_command_that_installs_them() {
    let nowhere = tempfile::tempdir().unwrap();
    for language in Language::ALL {
        if let Some(missing) = project::missing(language, Path::new(nowhere.path())) {
            assert!(missing.contains("install") || missing.contains("rustup"), "{missing}");
        }
    }
}
