use paddock_platform::{
    identity::{Caller, Scope, Tenant},
    store::testing::{Fixture, on_each_engine},
};
use serde_json::{Value, json};

use super::support::{PATIENCE, Server, local, name};
use crate::{
    AgentDefinition, AgentError, AgentsOptions, ExecuteInput, TrialInput, from_markdown,
    message::{Draft, Performative},
};

fn agent(agent: &str, more: &str) -> AgentDefinition {
    from_markdown(&format!("---\nname: {agent}\nmodel: sim\n{more}\n---\nYou are helpful.")).unwrap()
}

fn ask(agent: &str, input: impl Into<Value>) -> ExecuteInput {
    ExecuteInput {
        agent: agent.to_owned(),
        input: input.into(),
        conversation: None,
        timeout: Some(30.0),
        hearer: None,
    }
}

#[tokio::test]
async fn a_prompt_agent_answers_and_calls_its_tools() {
    let fixture = Fixture::sqlite();
    let server = Server::start(&fixture, AgentsOptions::default()).await;
    server.agents.deploy(&local(), agent("helper", "tools: [lab_echo]")).await.unwrap();
    let done = server.agents.execute(&local(), ask("helper", "[sim reply=\"Hello there\"]")).await.unwrap();
    assert_eq!((done.agent.as_str(), done.output), ("helper", json!("Hello there")));
    let done = server.agents.execute(&local(), ask("helper", "Echo! [sim tool=lab_echo]")).await.unwrap();
    let timeline = server.agents.timeline(local().tenant(), &done.conversation, 0, 100).await.unwrap();
    let kinds: Vec<&str> = timeline.iter().map(|entry| entry.kind.as_str()).collect();
    assert_eq!(kinds, ["sent", "model", "tool", "model", "sent"]);
    assert_eq!(timeline[2].entry["tool"], "lab_echo");
    server.stop().await;
}

#[tokio::test]
async fn an_agent_with_embeddings_keeps_the_vectors_of_what_it_remembers() {
    let fixture = Fixture::sqlite();
    let server = Server::start(&fixture, AgentsOptions::default()).await;
    server.agents.deploy(&local(), agent("a", "memory: {facts: true, embeddings: sim}")).await.unwrap();
    let script = r#"[sim tool=remember with={"fact": "the kettle whistles"} then tool=recall with={"question": "kettle"} then reply="{{2.facts.0}}"]"#;
    let done = server.agents.execute(&local(), ask("a", script)).await.unwrap();
    assert_eq!(done.output, json!("the kettle whistles"));
    server.stop().await;

    let server = Server::open(&fixture, AgentsOptions::default()).await;
    let kept = crate::store::state_entries(&server.agents.0.core.store, "local/a", "facts").await.unwrap();
    let facts: Value = serde_json::from_slice(&kept[0].1).unwrap();
    assert_eq!(facts[0]["text"], "the kettle whistles");
    assert!(facts[0]["vector"].is_string(), "{facts}");
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_work_is_refused_at_the_door() {
    let fixture = Fixture::sqlite();
    let server = Server::start(&fixture, AgentsOptions::default()).await;
    for (more, expected) in [
        ("tools: [lab_eco]", "no tool `lab_eco`"),
        ("temperature: 9", "temperature"),
        (
            "memory: {facts: true, embeddings: nothing}",
            "`prompt.memory.embeddings`: there is no model `nothing`",
        ),
        ("memory: {embeddings: sim}", "with `facts` or `history` alone"),
    ] {
        let refused = server.agents.deploy(&local(), agent("a", more)).await.unwrap_err().to_string();
        assert!(refused.contains(expected), "{refused}");
        let checked = server.agents.validate(&local(), &agent("a", more)).await;
        assert!(!checked.valid && checked.errors[0].contains(expected), "{checked:?}");
    }
    let mut unknown = agent("a", "");
    unknown.prompt.as_mut().unwrap().model = "gpt-nothing".to_owned();
    let refused = server.agents.deploy(&local(), unknown).await.unwrap_err().to_string();
    assert!(refused.contains("gpt-nothing"), "{refused}");
    // Nobody deploys what may do more than he may himself.
    let weak = Caller::with_key("k", Tenant::local(), vec![Scope::write("agents"), Scope::write("llm")]);
    let refused = server.agents.deploy(&weak, agent("a", "tools: [lab_echo]")).await.unwrap_err();
    assert!(matches!(refused, AgentError::Refused(_)));
    assert!(server.agents.list(local().tenant(), None, None, 9).is_empty());
    server.stop().await;
}

#[tokio::test]
async fn versions_follow_each_other_and_come_back() {
    on_each_engine(async |fixture| {
        let server = Server::start(fixture, AgentsOptions::default()).await;
        let (agents, tenant) = (&server.agents, local().tenant().clone());
        assert_eq!(agents.deploy(&local(), agent("a", "description: one")).await.unwrap(), 1);
        assert_eq!(agents.deploy(&local(), agent("a", "description: one")).await.unwrap(), 1);
        assert_eq!(agents.deploy(&local(), agent("a", "description: two")).await.unwrap(), 2);
        assert_eq!(agents.roll_back(&local(), &name("a"), 1).await.unwrap(), 3);
        assert!(matches!(
            agents.roll_back(&local(), &name("a"), 9).await.unwrap_err(),
            AgentError::NoVersion { version: 9, .. }
        ));
        let shown = agents.definition(&tenant, &name("a")).await.unwrap();
        assert_eq!((shown.definition.description.as_str(), shown.versions.len()), ("one", 3));
        assert_eq!(agents.copy(&local(), &name("a"), name("b")).await.unwrap(), 1);
        assert!(matches!(agents.copy(&local(), &name("a"), name("b")).await, Err(AgentError::Exists(_))));
        agents.suspend(&tenant, &name("b")).await.unwrap();
        server.stop().await;

        // All of it is there after a restart.
        let server = Server::start(fixture, AgentsOptions::default()).await;
        let listed = server.agents.list(&tenant, None, None, 9);
        let known: Vec<_> =
            listed.iter().map(|agent| (agent.name.as_str(), agent.version, agent.status.name())).collect();
        assert_eq!(known, [("a", 3, "active"), ("b", 1, "suspended")]);
        server.agents.remove(&tenant, &name("b")).await.unwrap();
        assert!(matches!(server.agents.get(&tenant, &name("b")), Err(AgentError::NotFound(_))));
        let done = server.agents.execute(&local(), ask("a", "[sim reply=\"yes\"]")).await.unwrap();
        assert_eq!(done.output, json!("yes"));
        server.stop().await;
    })
    .await;
}

#[tokio::test]
async fn tenants_see_their_own_agents_alone() {
    let fixture = Fixture::sqlite();
    let server = Server::start(&fixture, AgentsOptions::default()).await;
    let other = Caller::with_key("k", "other".parse().unwrap(), vec![Scope::ALL]);
    server.agents.deploy(&local(), agent("a", "capabilities: [x]")).await.unwrap();
    assert!(server.agents.list(other.tenant(), None, None, 9).is_empty());
    for receiver in ["a", "capability:x"] {
        let refused = server.agents.execute(&other, ask(receiver, "hello")).await.unwrap_err();
        assert_eq!(refused.kind.slug, "not-found");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_trial_shows_what_happened() {
    let fixture = Fixture::sqlite();
    let server = Server::start(&fixture, AgentsOptions::default()).await;
    server.agents.deploy(&local(), agent("a", "")).await.unwrap();
    let trial = |expect: &str| TrialInput {
        input: json!("[sim reply=\"four\"]"),
        expect: Some(expect.to_owned()),
        timeout: None,
    };
    let passed = server.agents.test(&local(), &name("a"), trial("four")).await.unwrap();
    assert!(passed.passed && passed.timeline.len() == 3, "{passed:?}");
    let failed = server.agents.test(&local(), &name("a"), trial("five")).await.unwrap();
    assert!(!failed.passed && failed.error.unwrap().contains("five"));
    server.stop().await;
}

#[tokio::test]
async fn an_approval_is_asked_for_and_survives_a_restart() {
    let fixture = Fixture::sqlite();
    let tenant = local().tenant().clone();
    let server = Server::start(&fixture, AgentsOptions::default()).await;
    let definition = agent("a", "tools: [lab_echo]\napprove: [lab_echo]");
    server.agents.deploy(&local(), definition).await.unwrap();
    let request = Draft::new(Performative::Request, name("a"))
        .text("[sim tool=lab_echo]")
        .conversation("c".parse().unwrap());
    server.agents.send(&local(), request).await.unwrap();
    super::support::eventually("it asks", async || {
        server.agents.approvals(&tenant, &name("a")).await.unwrap().len() == 1
    })
    .await;
    server.stop().await;

    let server = Server::start(&fixture, AgentsOptions::default()).await;
    let waiting = server.agents.approvals(&tenant, &name("a")).await.unwrap();
    assert_eq!(waiting[0].tool, "lab_echo");
    assert!(server.agents.decide(&local(), &name("a"), "other", true, "").await.is_err());
    server.agents.decide(&local(), &name("a"), &waiting[0].id, true, "").await.unwrap();
    super::support::eventually("it goes on", async || {
        let timeline = server.agents.timeline(&tenant, &"c".parse().unwrap(), 0, 100).await.unwrap();
        timeline.iter().any(|entry| entry.kind == "tool")
    })
    .await;
    super::support::eventually("nothing waits any more", async || {
        server.agents.approvals(&tenant, &name("a")).await.unwrap().is_empty()
    })
    .await;
    server.stop().await;
}

#[tokio::test]
async fn agents_of_a_directory_are_deployed_at_the_start() {
    let fixture = Fixture::sqlite();
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("a.md"), "---\nname: a\nmodel: sim\n---\nHelp.").unwrap();
    std::fs::write(directory.path().join("b.md"), "no agent").unwrap();
    let options = AgentsOptions { dir: directory.path().to_owned(), ..AgentsOptions::default() };
    let server = Server::start(&fixture, options).await;
    let listed = server.agents.list(local().tenant(), None, None, 9);
    assert_eq!(listed.iter().map(|agent| agent.name.as_str()).collect::<Vec<_>>(), ["a"]);
    let asked = Draft::new(Performative::Request, name("a")).text("[sim reply=\"ok\"]");
    let (_, answer) = server.agents.ask(&local(), asked, Some(PATIENCE)).await.unwrap();
    assert_eq!(answer.content.to_text(), "ok");
    server.stop().await;
}

#[tokio::test]
async fn an_agent_is_a_tool_of_another() {
    let fixture = Fixture::sqlite();
    let server = Server::start(&fixture, AgentsOptions::default()).await;
    server.agents.deploy(&local(), agent("expert", "description: Knows everything")).await.unwrap();
    let toolbox = server.agents.0.core.toolbox.get().unwrap().clone();
    let listed = toolbox.guests_of(&local());
    assert_eq!((listed[0].name.as_str(), listed.len()), ("agent__expert", 1));
    assert!(listed[0].description.contains("Knows everything"));
    let input = json!({ "input": "[sim reply=\"42\"]" });
    let answer = toolbox.call(&local(), "agent__expert", input, PATIENCE).await.unwrap();
    assert_eq!(answer["output"], json!("42"));
    // Another agent may be granted it.
    server.agents.deploy(&local(), agent("boss", "tools: [agent__expert]")).await.unwrap();
    let done = server.agents.execute(&local(), ask("boss", "[sim tool=agent__expert]")).await.unwrap();
    let timeline = server.agents.timeline(local().tenant(), &done.conversation, 0, 100).await.unwrap();
    assert!(timeline.iter().any(|entry| entry.entry["tool"] == "agent__expert"), "{timeline:?}");
    let stranger = Caller::with_key("k", "other".parse().unwrap(), vec![Scope::ALL]);
    assert!(toolbox.guests_of(&stranger).is_empty());
    server.stop().await;
}
