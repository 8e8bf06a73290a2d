//! A contract net with fifty bidders over HTTP.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    agents,
    components::{BIDDER, deploy, upload},
    get, post, start,
};

const BIDDERS: usize = 50;
const SILENT: usize = 10;

#[tokio::test(flavor = "multi_thread")]
async fn fifty_bidders_of_whom_ten_are_silent_are_awarded_by_the_deadline_and_every_message_is_on_record() {
    let server = start(&[]);
    let digest = upload(&server, BIDDER).await;
    for number in 0..BIDDERS {
        // Every fifth has nothing to bid; of the others the later are the cheaper.
        let price = (number % 5 != 0).then(|| json!({ "price": 1_000 - number }));
        let more = json!({ "capabilities": ["paint"], "config": price });
        deploy(&server, &format!("painter-{number}"), &digest, more).await;
    }
    let task = json!({ "task": "paint the fence" });
    let call = json!({ "bidders": ["capability:paint?all"], "task": task, "by": "price", "deadline": 2 });
    let net = post(&server, "/agents/contract-net", call).await;
    let counts = ["asked", "silent", "refused"].map(|member| net[member].as_u64());
    assert_eq!(counts, [Some(50), Some(10), Some(0)], "{net}");
    let winner = format!("painter-{}", BIDDERS - 1);
    assert_eq!((&net["winner"], &net["outcome"]), (&json!(winner), &json!("inform")), "{net}");
    assert_eq!(net["result"], json!({ "price": 951 }), "what was accepted was done");
    assert_eq!(net["bids"].as_array().map(Vec::len), Some(BIDDERS - SILENT));

    let id = net["conversation"].as_str().unwrap();
    let timeline = get(&server, &format!("/agents/conversations/{id}?limit=500")).await;
    let entries = timeline["entries"].as_array().unwrap();
    let sent: Vec<&Value> = entries.iter().filter(|it| it["kind"] == "sent").map(|it| &it["entry"]).collect();
    let mut said: BTreeMap<&str, usize> = BTreeMap::new();
    for message in &sent {
        *said.entry(message["performative"].as_str().unwrap()).or_default() += 1;
    }
    let expected =
        [("accept-proposal", 1), ("cfp", 1), ("inform", 1), ("propose", 40), ("reject-proposal", 39)];
    assert_eq!(said, BTreeMap::from(expected), "{timeline}");
    // In the order in which it happened: the call, all bids, and only then the decisions.
    let place = |performative: &str| sent.iter().position(|it| it["performative"] == performative).unwrap();
    let last_bid = sent.iter().rposition(|it| it["performative"] == "propose").unwrap();
    assert!(place("cfp") == 0 && last_bid < place("reject-proposal") && last_bid < place("accept-proposal"));
    assert_eq!(sent[place("accept-proposal")]["receivers"], json!([winner]));

    let traced = agents(&server, &["trace", id]);
    assert_eq!(traced.lines().count(), 1 + entries.len(), "{traced}");
    for (performative, count) in expected {
        let lines = traced.lines().filter(|line| line.contains(&format!("  {performative}  ")));
        assert_eq!(lines.count(), count, "{performative}: {traced}");
    }
    assert!(agents(&server, &["trace"]).contains(id));
    assert!(agents(&server, &["logs", &winner]).contains("951"));
}
