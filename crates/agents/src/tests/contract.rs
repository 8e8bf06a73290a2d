use paddock_platform::store::testing::Fixture;
use serde_json::json;

use super::support::{Server, eventually, local, name};
use crate::{
    AgentDefinition, AgentsOptions, ContractNetInput,
    message::{Draft, Label, Performative},
};

fn add_bidders(server: &Server, count: usize, silent: usize) {
    for number in 0..count {
        let definition = AgentDefinition {
            capabilities: vec!["dig".parse().unwrap()],
            ..AgentDefinition::native(name(&format!("digger-{number}")))
        };
        server.add(definition, move |message, turn| {
            let reply = match message.performative {
                Performative::Cfp if number < silent => return Ok(()),
                Performative::Cfp if number % 7 == 0 => Draft::reply(message, Performative::Refuse),
                Performative::Cfp => {
                    Draft::reply(message, Performative::Propose).json(&json!({ "price": 1_000 - number }))
                }
                Performative::AcceptProposal => {
                    Draft::reply(message, Performative::Inform).json(&json!({ "dug_by": number }))
                }
                _ => return Ok(()),
            };
            turn.send(reply).map(|_| ())
        });
    }
}

fn call(bidders: &str, deadline: f64) -> ContractNetInput {
    let input = json!({ "bidders": [bidders], "task": { "depth": 3 }, "deadline": deadline });
    serde_json::from_value(input).unwrap()
}

#[tokio::test]
async fn fifty_bid_ten_are_silent_and_the_best_gets_it_by_the_deadline() {
    let fixture = Fixture::sqlite();
    let server = Server::start(&fixture, AgentsOptions::default()).await;
    add_bidders(&server, 50, 10);
    let net = server.agents.contract_net(&local(), call("capability:dig?all", 0.5)).await.unwrap();
    assert_eq!((net.asked, net.silent, net.refused, net.bids.len()), (50, 10, 6, 34));
    assert_eq!(net.winner.unwrap().to_string(), "digger-48");
    assert_eq!((net.outcome, net.result), (Some(Performative::Inform), json!({ "dug_by": 48 })));
    // The call once, forty answers, one acceptance, the rejections, and the result.
    let conversation: Label = net.conversation.parse().unwrap();
    let timeline = server.agents.timeline(local().tenant(), &conversation, 0, 500).await.unwrap();
    let sent = timeline.iter().filter(|entry| entry.kind == "sent").count();
    assert_eq!(sent, 1 + 40 + 34 + 1);
    let listed = server.agents.conversations(local().tenant(), 10).await.unwrap();
    assert_eq!(listed[0].id, net.conversation);
    server.stop().await;
}

#[tokio::test]
async fn nobody_waits_for_the_deadline_when_all_have_answered() {
    let fixture = Fixture::sqlite();
    let server = Server::start(&fixture, AgentsOptions::default()).await;
    add_bidders(&server, 5, 0);
    let net = server.agents.contract_net(&local(), call("capability:dig?all", 3_000.0)).await.unwrap();
    assert_eq!((net.asked, net.silent, net.bids.len()), (5, 0, 4));
    server.stop().await;
}

#[tokio::test]
async fn a_call_that_nobody_can_hear_is_refused() {
    let fixture = Fixture::sqlite();
    let server = Server::start(&fixture, AgentsOptions::default()).await;
    let refused = server.agents.contract_net(&local(), call("capability:fly?all", 1.0)).await.unwrap_err();
    assert_eq!(refused.kind.slug, "not-found");
    for input in [call("", 1.0), call("capability:fly?best", 1.0), call("capability:fly", -1.0)] {
        let refused = server.agents.contract_net(&local(), input).await.unwrap_err();
        assert_eq!(refused.kind.slug, "invalid-request");
    }
    eventually("nobody waits any more", async || server.agents.0.askers.available_permits() == 10_000).await;
    server.stop().await;
}
