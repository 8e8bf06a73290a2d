//! Two versions of one agent at work.

use std::collections::BTreeMap;

use paddock_platform::store::testing::on_each_engine;

use super::support::{Server, eventually, local, name};
use crate::{
    AgentDefinition, AgentError, AgentsOptions, SplitInput,
    message::{Draft, Performative},
};

fn definition(about: &str) -> AgentDefinition {
    let text =
        format!("---\nname: clerk\ndescription: {about}\nmodel: sim\nconfig: {{v: {about}}}\n---\nHelp.\n");
    crate::from_markdown(&text).unwrap()
}

/// Says something in a conversation, and gives the version that answered.
async fn version_in(server: &Server, conversation: &str) -> u32 {
    let draft = Draft::new(Performative::Request, name("clerk")).text("hello");
    let (_, answer) =
        server.agents.ask(&local(), draft.conversation(conversation.parse().unwrap()), None).await.unwrap();
    assert_eq!(answer.performative, Performative::Inform);
    server.agents.cell(local().tenant(), &name("clerk")).unwrap().acting().version
}

async fn versions_in(server: &Server) -> BTreeMap<String, u32> {
    let mut versions = BTreeMap::new();
    for number in 0..12 {
        let conversation = format!("c{number}");
        let version = version_in(server, &conversation).await;
        versions.insert(conversation, version);
    }
    versions
}

#[tokio::test]
async fn a_conversation_stays_with_the_version_that_it_began_with_until_one_is_promoted() {
    on_each_engine(async |fixture| {
        let server = Server::start(fixture, AgentsOptions::default()).await;
        let tenant = local().tenant().clone();
        assert_eq!(server.agents.deploy(&local(), definition("one")).await.unwrap(), 1);
        for number in 0..4 {
            assert_eq!(version_in(&server, &format!("old{number}")).await, 1);
        }
        assert_eq!(server.agents.deploy_beside(&local(), definition("two"), 0.5).await.unwrap(), 2);
        let shared = versions_in(&server).await;
        assert!(shared.values().any(|version| *version == 1) && shared.values().any(|version| *version == 2));
        // Those of before are the old one's, whatever share the new one has.
        server
            .agents
            .split(&local(), &name("clerk"), SplitInput { version: 2, weight: 0.999 })
            .await
            .unwrap();
        for number in 0..4 {
            assert_eq!(version_in(&server, &format!("old{number}")).await, 1);
        }
        assert_eq!(versions_in(&server).await, shared);
        server.stop().await;

        let server = Server::start(fixture, AgentsOptions::default()).await;
        assert_eq!(versions_in(&server).await, shared);
        let shown = server.agents.definition(&tenant, &name("clerk")).await.unwrap();
        assert_eq!((shown.agent.version, shown.split.map(|split| split.version)), (1, Some(2)));
        let handled = || server.agents.get(&tenant, &name("clerk")).unwrap().handled;
        eventually("all are counted", async || handled() == 12).await;
        for number in 0..10 {
            let draft = Draft::new(Performative::Inform, name("clerk")).json(&number).durable();
            server.agents.send(&local(), draft).await.unwrap();
            if number == 5 {
                assert_eq!(server.agents.promote(&local(), &name("clerk")).await.unwrap(), 2);
            }
        }
        eventually("none is lost", async || handled() == 22).await;
        assert!(versions_in(&server).await.values().all(|version| *version == 2));
        let shown = server.agents.definition(&tenant, &name("clerk")).await.unwrap();
        assert_eq!((shown.agent.version, shown.split), (2, None));
        // Nothing is left of what was remembered of conversations.
        server.stop().await;
        let server = Server::open(fixture, AgentsOptions::default()).await;
        let entries = crate::store::state_entries(&server.agents.0.core.store, "local/clerk", "\u{1}version")
            .await
            .unwrap();
        assert!(entries.is_empty(), "{entries:?}");
        server.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_share_is_taken_back_and_what_cannot_be_shared_is_refused() {
    let fixture = paddock_platform::store::testing::Fixture::sqlite();
    let server = Server::start(&fixture, AgentsOptions::default()).await;
    let clerk = name("clerk");
    let refused = server.agents.deploy_beside(&local(), definition("one"), 0.5).await.unwrap_err();
    assert!(matches!(refused, AgentError::NotFound(_)), "{refused}");
    server.agents.deploy(&local(), definition("one")).await.unwrap();
    for weight in [0.0, 1.0, -1.0, f64::NAN] {
        let refused = server.agents.deploy_beside(&local(), definition("two"), weight).await.unwrap_err();
        assert!(matches!(refused, AgentError::Invalid(invalid) if invalid.field == "weight"));
    }
    for (version, field) in [(1, true), (7, false)] {
        let input = SplitInput { version, weight: 0.5 };
        let refused = server.agents.split(&local(), &clerk, input).await.unwrap_err();
        assert_eq!(matches!(refused, AgentError::Invalid(_)), field, "{refused}");
    }
    for refused in [
        server.agents.promote(&local(), &clerk).await.map(|_| ()),
        server.agents.end_split(local().tenant(), &clerk).await,
    ] {
        assert!(matches!(refused, Err(AgentError::NoSplit(_))));
    }
    server.agents.deploy_beside(&local(), definition("two"), 0.999).await.unwrap();
    assert!(versions_in(&server).await.values().any(|version| *version == 2));
    server.agents.end_split(local().tenant(), &clerk).await.unwrap();
    assert!(versions_in(&server).await.values().all(|version| *version == 1));
    server.stop().await;
}
