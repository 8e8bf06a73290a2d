//! Protocols between agents: subscriptions, proposals, auctions.

use paddock_platform::store::testing::{Fixture, on_each_engine};
use serde_json::{Value, json};

use super::support::{Server, eventually, local, name, to};
use crate::{
    AgentDefinition, AgentsOptions, Native,
    message::{Draft, Label, Message, MessageView, Performative},
};

/// One that publishes what it is told to, and one that notes what it hears.
fn add_press(server: &Server) {
    server.add(AgentDefinition::native(name("press")), |message, turn| {
        let number: Value = message.content.read().unwrap();
        turn.send(Draft::new(Performative::Inform, to("topic:news")).json(&number).durable()).map(|_| ())
    });
    server.add_noting("reader");
    let seen = std::sync::Arc::clone(&server.seen);
    let fan =
        AgentDefinition { topics: vec!["news".parse().unwrap()], ..AgentDefinition::native(name("fan")) };
    server.add(fan, move |message, _| {
        seen.note("fan", message.content.read().unwrap_or_default());
        Ok(())
    });
}

fn subscription(performative: Performative, topic: &str) -> Draft {
    Draft::new(performative, name("press"))
        .json(&json!({ "topic": topic }))
        .conversation(Label::of("s1"))
        .reply_with(Label::of("r1"))
        .reply_to(to("reader"))
        .durable()
}

async fn sent_in(server: &Server, conversation: &'static str) -> Vec<(Performative, String)> {
    let timeline = server.agents.timeline(local().tenant(), &Label::of(conversation), 0, 100).await.unwrap();
    let sent = timeline.iter().filter(|entry| entry.kind == "sent");
    sent.map(|entry| serde_json::from_value::<MessageView>(entry.entry.clone()).unwrap())
        .map(|view| (view.performative, view.sender.to_string()))
        .collect()
}

#[tokio::test]
async fn a_subscriber_is_told_what_is_published_until_it_cancels_also_after_a_restart() {
    on_each_engine(async |fixture| {
        let server = Server::open(fixture, AgentsOptions::default()).await;
        add_press(&server);
        server.run().await;
        server.agents.send(&local(), subscription(Performative::Subscribe, "news")).await.unwrap();
        let publish = |number: u64| Draft::new(Performative::Request, name("press")).json(&number).durable();
        server.agents.send(&local(), publish(5)).await.unwrap();
        server.seen.until(|seen| seen.of("reader").contains(&5)).await;
        let sent = sent_in(&server, "s1").await;
        let performatives: Vec<Performative> = sent.iter().map(|(performative, _)| *performative).collect();
        assert_eq!(performatives, [Performative::Subscribe, Performative::Agree, Performative::Inform]);
        assert_eq!(sent[2].1, "press");
        server.stop().await;

        let server = Server::open(fixture, AgentsOptions::default()).await;
        add_press(&server);
        server.run().await;
        server.agents.send(&local(), publish(6)).await.unwrap();
        server.seen.until(|seen| seen.of("reader").contains(&6)).await;
        server.agents.send(&local(), subscription(Performative::Cancel, "news")).await.unwrap();
        server.agents.send(&local(), publish(7)).await.unwrap();
        server.seen.until(|seen| seen.of("fan").contains(&7)).await;
        // What was sent with it is in the mailbox before what is sent now.
        let last = Draft::new(Performative::Inform, name("reader")).json(&8).durable();
        server.agents.send(&local(), last).await.unwrap();
        server.seen.until(|seen| seen.of("reader").contains(&8)).await;
        eventually("it is cancelled", async || {
            sent_in(&server, "s1").await.iter().filter(|(of, _)| *of == Performative::Inform).count() == 3
        })
        .await;
        // 0 are the answers, which are no numbers.
        assert!(!server.seen.of("reader").contains(&7));
        server.stop().await;
    })
    .await;
}

#[tokio::test]
async fn what_the_agent_itself_is_asked_to_tell_reaches_it() {
    let fixture = Fixture::sqlite();
    let server = Server::start(&fixture, AgentsOptions::default()).await;
    server.add(AgentDefinition::native(name("oracle")), |message, turn| {
        turn.send(Draft::reply(message, Performative::Refuse).text(message.performative.name())).map(|_| ())
    });
    for performative in [Performative::Subscribe, Performative::Cancel] {
        let draft = Draft::new(performative, name("oracle")).json(&json!({ "query": "the weather" }));
        let (_, answer) = server.agents.ask(&local(), draft, None).await.unwrap();
        assert_eq!(answer.content.to_text(), performative.name());
    }
    server.stop().await;
}

/// Bidders who pay up to a limit.
fn add_bidders(server: &Server, limits: &[f64]) {
    for (number, limit) in limits.iter().copied().enumerate() {
        let definition = AgentDefinition {
            capabilities: vec!["buy".parse().unwrap()],
            ..AgentDefinition::native(name(&format!("buyer-{number}")))
        };
        let handle = move |message: &Message, turn: &mut crate::Turn| {
            let content: Value = message.content.read().unwrap_or_default();
            let reply = match message.performative {
                Performative::Cfp if content["price"].as_f64().is_some_and(|price| price <= limit) => {
                    Draft::reply(message, Performative::Propose)
                }
                // Nothing at all from who has nothing.
                Performative::Cfp if limit == 0.0 => return Ok(()),
                Performative::Cfp => Draft::reply(message, Performative::Refuse),
                Performative::AcceptProposal => {
                    Draft::reply(message, Performative::Inform).json(&content["price"])
                }
                Performative::Propose if limit > 50.0 => Draft::reply(message, Performative::AcceptProposal),
                Performative::Propose if limit > 0.0 => Draft::reply(message, Performative::RejectProposal),
                _ => return Ok(()),
            };
            turn.send(reply).map(|_| ())
        };
        let tenant = local().tenant().clone();
        server.agents.register(&tenant, definition, move || Native::new(handle)).unwrap();
    }
}

async fn hold(server: &Server, input: Value) -> crate::Auction {
    server.agents.auction(&local(), serde_json::from_value(input).unwrap()).await.unwrap()
}

#[tokio::test]
async fn an_english_auction_sells_to_who_pays_most_and_a_dutch_one_to_who_pays_first() {
    let fixture = Fixture::sqlite();
    let server = Server::start(&fixture, AgentsOptions::default()).await;
    add_bidders(&server, &[35.0, 0.0, 62.0, 15.0]);
    let item = json!({ "name": "a vase" });
    let english = hold(
        &server,
        json!({ "bidders": ["capability:buy?all"], "item": item, "start": 10, "step": 10, "round": 0.3 }),
    )
    .await;
    assert_eq!(english.winner.unwrap().to_string(), "buyer-2");
    assert_eq!((english.asked, english.price, english.result), (4, Some(40.0), json!(40.0)));
    assert_eq!(english.rounds.iter().map(|round| round.silent).collect::<Vec<_>>(), [1, 0, 0, 0]);
    let id: Label = english.conversation.parse().unwrap();
    let timeline = server.agents.timeline(local().tenant(), &id, 0, 500).await.unwrap();
    let decision = timeline.iter().find(|entry| entry.kind == "decision").unwrap();
    assert_eq!(decision.entry, json!({ "sold_to": "buyer-2", "price": 40.0, "rounds": 4 }));
    let count = |of: &str| timeline.iter().filter(|entry| entry.entry["performative"] == of).count();
    assert_eq!((count("cfp"), count("reject-proposal"), count("accept-proposal")), (4, 2, 1));

    let dutch = hold(
        &server,
        json!({ "kind": "dutch", "bidders": ["buyer-0", "buyer-2"], "item": item, "start": 70, "step": 5 }),
    )
    .await;
    assert_eq!((dutch.winner.unwrap().to_string(), dutch.price), ("buyer-2".to_owned(), Some(60.0)));
    assert_eq!(dutch.rounds.len(), 3);
    server.stop().await;
}

#[tokio::test]
async fn a_proposal_is_accepted_rejected_or_left_unanswered() {
    let fixture = Fixture::sqlite();
    let server = Server::start(&fixture, AgentsOptions::default()).await;
    add_bidders(&server, &[35.0, 0.0, 62.0]);
    let input = json!({ "receivers": ["capability:buy?all"], "proposal": "lunch", "deadline": 0.3 });
    let proposal = server.agents.propose(&local(), serde_json::from_value(input).unwrap()).await.unwrap();
    let names =
        |addresses: &[crate::message::Address]| addresses.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        (names(&proposal.accepted), names(&proposal.rejected)),
        (vec!["buyer-2".to_owned()], vec!["buyer-0".to_owned()])
    );
    assert_eq!((proposal.asked, proposal.silent), (3, 1));
    for input in [
        json!({ "receivers": [], "proposal": 1 }),
        json!({ "receivers": ["?"], "proposal": 1 }),
        json!({ "receivers": ["a"], "proposal": 1, "deadline": 0 }),
    ] {
        let refused =
            server.agents.propose(&local(), serde_json::from_value(input).unwrap()).await.unwrap_err();
        assert_eq!(refused.kind.slug, "invalid-request");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_prompt_agent_that_does_not_accept_a_proposal_rejects_it() {
    let fixture = Fixture::sqlite();
    let server = Server::start(&fixture, AgentsOptions::default()).await;
    let definition = crate::from_markdown("---\nname: thinker\nmodel: sim\n---\nThink.\n").unwrap();
    server.agents.deploy(&local(), definition).await.unwrap();
    let draft = Draft::new(Performative::Propose, name("thinker")).text("lunch");
    let (_, answer) = server.agents.ask(&local(), draft, None).await.unwrap();
    // The simulated model says neither yes nor no.
    assert_eq!(answer.performative, Performative::RejectProposal);
    server.stop().await;
}
