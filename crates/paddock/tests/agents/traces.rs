//! What a collector gets of a conversation.

use std::{
    fs,
    sync::{Arc, Mutex},
};

use axum::{Router, body::Bytes, routing::post as route};
use rustix::process::Signal;
use serde_json::json;

use super::{agents, get, post, start, support};

/// Asks its colleague, and looks at who there is.
const BOSS: &str = "---
name: boss
model: sim
tools: [agents_list, agent__clerk]
---
[sim tool=agents_list with={} then tool=agent__clerk with={\"input\": \"count\"} then reply=\"{{1.agents.0.name}}\"]
";
const CLERK: &str = "---\nname: clerk\nmodel: sim\n---\nYou count.\n\n[sim reply=\"seven\"]\n";

/// The members of a message of protobuf that are messages, texts or bytes, with their numbers.
fn members(mut bytes: &[u8]) -> Vec<(u64, &[u8])> {
    let mut members = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        let size = match tag & 7 {
            0 => {
                varint(&mut bytes);
                continue;
            }
            1 => 8,
            2 => usize::try_from(varint(&mut bytes)).unwrap(),
            5 => 4,
            other => panic!("{other} is no wire type"),
        };
        let (value, rest) = bytes.split_at(size);
        bytes = rest;
        if tag & 7 == 2 {
            members.push((tag >> 3, value));
        }
    }
    members
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for place in 0..10 {
        let (first, rest) = bytes.split_first().unwrap();
        *bytes = rest;
        value |= u64::from(first & 0x7f) << (place * 7);
        if first & 0x80 == 0 {
            break;
        }
    }
    value
}

/// The trace ids and names of the spans of an export (`ExportTraceServiceRequest`: `resource_spans` > `scope_spans` >
/// `spans`).
fn spans(export: &[u8]) -> Vec<(String, String)> {
    let within = |message: &[u8], number: u64| -> Vec<Vec<u8>> {
        let inner = members(message).into_iter().filter(|(found, _)| *found == number);
        inner.map(|(_, bytes)| bytes.to_vec()).collect()
    };
    let of_resources = within(export, 1).into_iter().flat_map(|resource| within(&resource, 2));
    let spans = of_resources.flat_map(|scope| within(&scope, 2));
    spans
        .map(|span| {
            let trace = u128::from_be_bytes(within(&span, 1).remove(0).try_into().unwrap());
            (format!("{trace:032x}"), String::from_utf8(within(&span, 5).remove(0)).unwrap())
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_in_a_conversation_is_one_trace() {
    let exports = Arc::new(Mutex::new(Vec::<Bytes>::new()));
    let sink = Arc::clone(&exports);
    let collect = async move |body: Bytes| sink.lock().unwrap().push(body);
    let collector = support::TestSite::start(Router::new().route("/v1/traces", route(collect))).await;
    let otlp = format!("telemetry.otlp={}", collector.base);
    let mut server = start(&["--set", "llm.sim=true", "--set", &otlp]);
    let dir = tempfile::tempdir().unwrap();
    for (name, agent) in [("clerk", CLERK), ("boss", BOSS)] {
        let file = dir.path().join(format!("{name}.md"));
        fs::write(&file, agent).unwrap();
        agents(&server, &["deploy", file.to_str().unwrap()]);
    }
    let asked = json!({ "content": "go", "conversation": "review 7" });
    let answer = post(&server, "/agents/boss/ask", asked).await;
    assert_eq!(answer["answer"]["content"], "boss", "{answer}");
    let timeline = get(&server, "/agents/conversations/review%207").await;
    let trace = timeline["trace_id"].as_str().unwrap().to_owned();
    // What is still to be sent is sent before it ends.
    server.signal(Signal::TERM);
    assert_eq!(server.wait(), Some(0));

    let exports = exports.lock().unwrap();
    let spans: Vec<(String, String)> = exports.iter().flat_map(|export| spans(export)).collect();
    let mut of_conversation: Vec<&str> =
        spans.iter().filter(|(of, _)| *of == trace).map(|(_, name)| name.as_str()).collect();
    of_conversation.sort_unstable();
    let expected = [
        "chat sim",
        "chat sim",
        "chat sim",
        "execute_tool agent__clerk",
        "execute_tool agents_list",
        "turn boss",
    ];
    assert_eq!(of_conversation, expected, "{spans:?}");
    // What the colleague did is a conversation of its own.
    let of_clerk: Vec<&str> =
        spans.iter().filter(|(_, name)| name == "turn clerk").map(|(of, _)| of.as_str()).collect();
    assert!(of_clerk.len() == 1 && of_clerk[0] != trace, "{spans:?}");
}
