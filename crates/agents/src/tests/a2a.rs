//! A2A, as its clients meet it.

use http::Method;
use serde_json::{Value, json};

use super::{
    http::Client,
    support::{eventually, local, name},
};
use crate::{
    AgentDefinition, a2a,
    message::{Draft, Performative},
};

const V10: &[(&str, &str)] = &[(a2a::VERSION_HEADER, "1.0")];

async fn start() -> Client {
    let client = Client::start().await;
    for (agent, performative) in
        [("echo", Performative::Inform), ("no", Performative::Refuse), ("broken", Performative::Failure)]
    {
        client.server.add(AgentDefinition::native(name(agent)), move |message, turn| {
            let draft = Draft::reply(message, performative).content(message.content.clone());
            turn.send(draft).map(|_| ())
        });
    }
    client
}

fn text_message(text: &str) -> Value {
    json!({ "messageId": "m", "role": "ROLE_USER", "contextId": "c", "parts": [{ "kind": "text", "text": text }] })
}

/// What JSON-RPC answers.
async fn call(client: &Client, agent: &str, version: &[(&str, &str)], method: &str, params: Value) -> Value {
    let body = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params });
    let (_, answer) = client.text(Method::POST, &format!("/a2a/{agent}"), version, body.to_string()).await;
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["id"], 7);
    answer
}

/// The results of a stream, all of them.
async fn stream(client: &Client, agent: &str, method: &str, params: Value) -> Vec<Value> {
    let body = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params });
    let (_, text) = client.text(Method::POST, &format!("/a2a/{agent}"), &[], body.to_string()).await;
    let events = text.lines().filter_map(|line| line.strip_prefix("data:"));
    events
        .map(|event| serde_json::from_str::<Value>(event).unwrap())
        .map(|event| {
            assert_eq!(event["id"], 7, "{event}");
            event["result"].clone()
        })
        .collect()
}

#[tokio::test]
async fn an_agent_speaks_a2a_of_both_versions() {
    let client = start().await;
    let (_, card) = client.get("/a2a/echo/.well-known/agent-card.json").await;
    assert_eq!(card["supportedInterfaces"][0]["url"], "http://paddock.example/a2a/echo");
    assert_eq!(card["capabilities"]["streaming"], true);
    let (_, card) = client.get("/.well-known/agent-card.json").await;
    assert_eq!(card["skills"].as_array().unwrap().len(), 3);
    let params = json!({ "message": text_message("hello") });
    let answer = call(&client, "echo", V10, "SendMessage", params.clone()).await;
    let said = &answer["result"]["message"];
    assert_eq!(
        (&said["parts"][0]["text"], &said["role"], &said["contextId"]),
        (&json!("hello"), &json!("ROLE_AGENT"), &json!("c"))
    );
    let answer = call(&client, "echo", &[], "message/send", params.clone()).await;
    assert_eq!(
        (&answer["result"]["parts"][0]["text"], &answer["result"]["kind"]),
        (&json!("hello"), &json!("message"))
    );
    for (version, method, code) in
        [("2.0", "SendMessage", -32009), ("1.0", "Fly", -32601), ("1.0", "GetTask", -32602)]
    {
        let refused = call(&client, "echo", &[(a2a::VERSION_HEADER, version)], method, params.clone()).await;
        assert_eq!(refused["error"]["code"], code, "{method}: {refused}");
    }
    client.server.stop().await;
}

#[tokio::test]
async fn a_task_is_followed_to_its_end_in_both_versions() {
    let client = start().await;
    let params = json!({ "message": text_message("hello") });
    let events = stream(&client, "echo", "SendStreamingMessage", params.clone()).await;
    let task = &events[0]["task"];
    assert_eq!((&task["contextId"], &task["history"][0]["role"]), (&json!("c"), &json!("ROLE_USER")));
    let last = &events.last().unwrap()["statusUpdate"];
    assert_eq!((&last["status"]["state"], &last["taskId"]), (&json!("TASK_STATE_COMPLETED"), &task["id"]));
    let artifact = events.iter().find_map(|event| event.get("artifactUpdate")).unwrap();
    assert_eq!(artifact["artifact"]["parts"][0]["text"], "hello");

    let events = stream(&client, "echo", "message/stream", params.clone()).await;
    assert_eq!(events[0]["kind"], "task");
    let last = events.last().unwrap();
    assert_eq!((&last["kind"], &last["final"]), (&json!("status-update"), &json!(true)));
    assert_eq!(last["status"]["state"], "completed");
    assert!(events.iter().any(|event| event["kind"] == "artifact-update"));
    assert!(events.iter().rev().skip(1).all(|event| event["final"] != true));
    // One that has ended is shown once more in 0.3, and is nothing to follow in 1.0.
    let id = json!({ "id": events[0]["id"] });
    let again = stream(&client, "echo", "tasks/resubscribe", id.clone()).await;
    assert_eq!((again.len(), &again[0]["status"]["state"]), (1, &json!("completed")));
    let refused = call(&client, "echo", V10, "SubscribeToTask", id).await;
    assert_eq!(refused["error"]["code"], -32004);
    // What is no request has no task: its answer is the stream.
    let mut told = text_message("hello");
    told["metadata"] = json!({ "performative": "query-ref" });
    let events = stream(&client, "echo", "SendStreamingMessage", json!({ "message": told })).await;
    assert_eq!((events.len(), &events[0]["message"]["parts"][0]["text"]), (1, &json!("hello")));
    client.server.stop().await;
}

#[tokio::test]
async fn what_a_model_says_comes_in_pieces_that_make_the_artifact() {
    let client = start().await;
    let agent =
        crate::from_markdown("---\nname: poet\nmodel: sim\ntools: [lab_echo]\n---\nYou rhyme.").unwrap();
    client.server.agents.deploy(&local(), agent).await.unwrap();
    // Longer than what is told at once.
    let verse = "roses are red and ".repeat(600).trim_end().to_owned();
    for (method, script) in [
        ("SendStreamingMessage", format!("[sim reply=\"{verse}\"]")),
        ("message/stream", format!("[sim tool=lab_echo with={{\"name\": \"x\"}} then reply=\"{verse}\"]")),
    ] {
        let events = stream(&client, "poet", method, json!({ "message": text_message(&script) })).await;
        let updates = events.iter().map(|event| event.get("artifactUpdate").unwrap_or(event));
        let chunks: Vec<&Value> = updates.filter(|event| event.get("artifact").is_some()).collect();
        assert!(chunks.len() > 1, "{events:?}");
        let flags: Vec<(bool, bool)> = chunks
            .iter()
            .map(|chunk| (chunk["append"].as_bool().unwrap(), chunk["lastChunk"].as_bool().unwrap()))
            .collect();
        assert_eq!(flags[0], (false, false));
        assert_eq!(flags.last(), Some(&(true, true)));
        assert!(flags[1..flags.len() - 1].iter().all(|flags| *flags == (true, false)), "{flags:?}");
        let text: String =
            chunks.iter().map(|chunk| chunk["artifact"]["parts"][0]["text"].as_str().unwrap()).collect();
        assert_eq!(text, verse);
        assert!(
            chunks.iter().all(|chunk| chunk["artifact"]["artifactId"] == chunks[0]["artifact"]["artifactId"])
        );
    }
    client.server.stop().await;
}

#[tokio::test]
async fn a_task_is_looked_at_listed_and_ends_as_its_agent_says() {
    let client = start().await;
    for (agent, state) in [("echo", "COMPLETED"), ("no", "REJECTED"), ("broken", "FAILED")] {
        let params =
            json!({ "message": text_message("why"), "configuration": { "returnImmediately": true } });
        let begun = call(&client, agent, V10, "SendMessage", params).await;
        let id = begun["result"]["task"]["id"].clone();
        let look = || call(&client, agent, V10, "GetTask", json!({ "id": id }));
        let state = format!("TASK_STATE_{state}");
        eventually("it ends", async || look().await["result"]["status"]["state"] == state.as_str()).await;
        let task = look().await["result"].clone();
        if agent == "echo" {
            assert_eq!(task["artifacts"][0]["parts"][0]["text"], "why");
        } else {
            let said = task["status"]["message"]["parts"][0]["text"].as_str().unwrap();
            assert!(said.contains("why"), "{said}");
        }
        let listed = call(&client, agent, V10, "ListTasks", json!({ "contextId": "c" })).await;
        let listed = &listed["result"];
        assert_eq!((&listed["totalSize"], &listed["tasks"][0]["id"]), (&json!(1), &id));
        assert_eq!(listed["tasks"][0].get("artifacts"), None);
        for (version, method, agent, id, code) in [
            (V10, "CancelTask", agent, &id, -32002),
            (&[][..], "tasks/cancel", agent, &id, -32002),
            (&[][..], "tasks/get", "helper", &id, -32602),
            (V10, "GetTask", if agent == "echo" { "no" } else { "echo" }, &id, -32001),
            (V10, "GetTask", agent, &json!("t1"), -32001),
        ] {
            let refused = call(&client, agent, version, method, json!({ "id": id })).await;
            assert_eq!(refused["error"]["code"], code, "{method} {agent}: {refused}");
        }
        let mut followup = text_message("more");
        followup["taskId"] = id;
        let refused = call(&client, agent, V10, "SendMessage", json!({ "message": followup })).await;
        assert_eq!(refused["error"]["code"], -32004);
    }
    client.server.stop().await;
}

#[tokio::test]
async fn a_task_that_waits_is_cancelled() {
    let client = start().await;
    client.server.agents.suspend(local().tenant(), &name("echo")).await.unwrap();
    for (version, method, cancel, blocking) in [
        (V10, "SendMessage", "CancelTask", "returnImmediately"),
        (&[][..], "message/send", "tasks/cancel", "blocking"),
    ] {
        let configuration = json!({ blocking: blocking == "returnImmediately" });
        let params = json!({ "message": text_message("hello"), "configuration": configuration });
        let begun = call(&client, "echo", version, method, params).await["result"].clone();
        let task = begun.get("task").unwrap_or(&begun);
        let cancelled = call(&client, "echo", version, cancel, json!({ "id": task["id"] })).await;
        let state = cancelled["result"]["status"]["state"].as_str().unwrap().to_ascii_lowercase();
        assert!(state.ends_with("canceled"), "{cancelled}");
    }
    client.server.stop().await;
}
