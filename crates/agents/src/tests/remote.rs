//! Agents elsewhere, over real connections.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Uri, header};
use paddock_platform::{store::testing::Fixture, task::Tasks, units::HumanDuration};
use serde_json::{Value, json};

use super::{
    http::Client,
    support::{PATIENCE, Server, local, name},
};
use crate::{
    AgentDefinition, AgentsOptions, DeadReason, RemoteDefinition,
    message::{Draft, Performative},
};

/// An agent elsewhere that answers as it is told.
#[derive(Clone, Default)]
struct Remote {
    got: Arc<Mutex<Vec<(HeaderMap, Value)>>>,
    answers: Arc<Mutex<VecDeque<(StatusCode, String)>>>,
    card: Option<Value>,
}

/// Serves on a port of this machine, and gives the address.
async fn serve(app: Router, tasks: &Tasks) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let stopping = tasks.stop_token();
    tasks.spawn("remote", async move {
        let serving = std::future::IntoFuture::into_future(axum::serve(listener, app));
        tokio::select! { _ = serving => {}, () = stopping.cancelled() => {} }
    });
    base
}

async fn answer(
    State(remote): State<Remote>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if method == Method::GET {
        let is_card = uri.path() == "/.well-known/agent-card.json";
        let card = remote.card.filter(|_| is_card);
        return card.map_or(StatusCode::NOT_FOUND.into_response(), |card| card.to_string().into_response());
    }
    remote.got.lock().unwrap().push((headers, serde_json::from_slice(&body).unwrap()));
    let (status, answer) = remote.answers.lock().unwrap().pop_front().unwrap();
    // Where it leads to is never asked.
    (status, [(header::LOCATION, "/elsewhere")], answer).into_response()
}

impl Remote {
    fn answering(answers: impl IntoIterator<Item = (u16, Value)>) -> Self {
        let answer =
            |(status, answer): (u16, Value)| (StatusCode::from_u16(status).unwrap(), answer.to_string());
        let answers: VecDeque<_> = answers.into_iter().map(answer).collect();
        Self { answers: Arc::new(Mutex::new(answers)), ..Self::default() }
    }

    fn methods(&self) -> Vec<String> {
        let got = self.got.lock().unwrap();
        got.iter().map(|(_, body)| body["method"].as_str().unwrap().to_owned()).collect()
    }
}

/// A server that may reach this machine.
async fn server(fixture: &Fixture) -> Server {
    let allow = vec!["127.0.0.1".parse().unwrap()];
    Server::start(fixture, AgentsOptions { allow, ..AgentsOptions::default() }).await
}

async fn deploy(server: &Server, url: &str, token: Option<&str>) {
    let token = token.map(|token| token.parse().unwrap());
    let remote = RemoteDefinition { url: url.parse().unwrap(), timeout: HumanDuration::from_secs(60), token };
    let definition = AgentDefinition { remote: Some(remote), ..AgentDefinition::native(name("far")) };
    server.agents.deploy(&local(), definition).await.unwrap();
}

async fn ask(server: &Server, text: &str) -> (Performative, String) {
    let draft = Draft::new(Performative::Request, name("far")).text(text);
    let (_, answer) = server.agents.ask(&local(), draft, Some(PATIENCE)).await.unwrap();
    (answer.performative, answer.content.to_text().into_owned())
}

/// Asks a remote that answers so, and gives what came of it.
async fn asked(remote: &Remote) -> (Performative, String) {
    let fixture = Fixture::sqlite();
    let server = server(&fixture).await;
    let app = Router::new().fallback(answer).with_state(remote.clone());
    let base = serve(app, &server.tasks).await;
    deploy(&server, &format!("{base}/a2a"), None).await;
    let told = ask(&server, "hello").await;
    server.stop().await;
    told
}

fn message(text: &str) -> Value {
    json!({ "result": { "message": { "role": "ROLE_AGENT", "parts": [{ "text": text }] } } })
}

fn task(state: &str) -> Value {
    let status = json!({ "state": state, "message": { "parts": [{ "text": "because" }] } });
    json!({ "id": "t1", "status": status, "artifacts": [{ "parts": [{ "text": "done" }] }] })
}

#[tokio::test]
async fn a_remote_agent_is_asked_with_its_token_and_its_answer_is_the_answer() {
    let fixture = Fixture::sqlite();
    let server = server(&fixture).await;
    let remote = Remote::answering([(200, message("hello yourself"))]);
    let base = serve(Router::new().fallback(answer).with_state(remote.clone()), &server.tasks).await;
    let secret = fixture.data_dir().join("token");
    std::fs::write(&secret, "s3cret\n").unwrap();
    deploy(&server, &base, Some(&format!("file:{}", secret.display()))).await;
    assert_eq!(ask(&server, "hello").await, (Performative::Inform, "hello yourself".to_owned()));
    let got = remote.got.lock().unwrap().clone();
    let (headers, body) = &got[0];
    assert_eq!(headers[header::AUTHORIZATION], "Bearer s3cret");
    assert_eq!(headers["a2a-version"], "1.0");
    let sent = &body["params"]["message"];
    assert_eq!((&body["method"], &sent["parts"][0]["text"]), (&json!("SendMessage"), &json!("hello")));
    assert!(sent["contextId"].is_string(), "{body}");
    server.stop().await;
}

#[tokio::test]
async fn a_task_is_looked_at_until_it_is_over() {
    for (state, expected) in [
        ("TASK_STATE_COMPLETED", (Performative::Inform, "done")),
        ("TASK_STATE_FAILED", (Performative::Failure, "because")),
        ("TASK_STATE_REJECTED", (Performative::Refuse, "because")),
    ] {
        let begun = json!({ "result": { "task": task("TASK_STATE_SUBMITTED") } });
        let remote = Remote::answering([(200, begun), (200, json!({ "result": task(state) }))]);
        let (performative, text) = asked(&remote).await;
        assert_eq!((performative, text.as_str()), expected);
        assert_eq!(remote.methods(), ["SendMessage", "GetTask"]);
        assert_eq!(remote.got.lock().unwrap()[1].1["params"], json!({ "id": "t1" }));
    }
}

#[tokio::test]
async fn one_that_fails_for_a_moment_is_asked_again_and_one_that_is_wrong_is_not() {
    let remote = Remote::answering([(500, json!("oops")), (503, json!({})), (200, message("at last"))]);
    assert_eq!(asked(&remote).await, (Performative::Inform, "at last".to_owned()));
    assert_eq!(remote.methods().len(), 3);
    let broken = Remote::answering([(500, json!(1)), (500, json!(2)), (500, json!(3))]);
    let (performative, text) = asked(&broken).await;
    assert!(performative == Performative::Failure && text.contains("500"), "{text}");

    let refused = json!({ "error": { "code": -32000, "message": "not today" } });
    let large = message(&"x".repeat(8 << 20));
    for (status, answer, expected) in [
        (200, refused, "not today"),
        (200, large, "more than 8388608 bytes"),
        (200, json!({ "result": { "id": 7 } }), "neither a message nor a task"),
        (200, json!("hello"), "nothing that is A2A"),
        (302, json!({}), "302"),
        (404, json!({}), "404"),
    ] {
        let remote = Remote::answering([(status, answer)]);
        let (performative, text) = asked(&remote).await;
        assert!(performative == Performative::NotUnderstood && text.contains(expected), "{text}");
        assert_eq!(remote.methods().len(), 1, "{expected}");
    }
}

#[tokio::test]
async fn one_that_cannot_be_reached_becomes_a_dead_letter() {
    let fixture = Fixture::sqlite();
    let server = server(&fixture).await;
    // Nobody listens there any more.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    deploy(&server, &url, None).await;
    let (performative, text) = ask(&server, "hello").await;
    assert!(performative == Performative::Failure && text.contains("cannot be reached"), "{text}");
    let letters = server.agents.dead_letters(local().tenant(), 9).await.unwrap();
    assert_eq!(letters.iter().map(|letter| letter.reason).collect::<Vec<_>>(), [DeadReason::Poison]);
    server.stop().await;
}

#[tokio::test]
async fn an_agent_of_version_0_3_is_spoken_to_in_its_own_words() {
    let unknown = || (200, json!({ "error": { "code": -32601, "message": "no such method" } }));
    let old = json!({ "protocolVersion": "0.3.0", "url": "https://far.example/", "name": "far" });
    let new = json!({ "supportedInterfaces": [{ "protocolVersion": "1.0" }], "name": "far" });
    let mut begun = task("working");
    begun["kind"] = json!("task");
    let said = json!({ "kind": "message", "role": "agent", "parts": [{ "kind": "text", "text": "again" }] });
    for card in [Some(old), None] {
        let answers = [
            unknown(),
            (200, json!({ "result": begun })),
            (200, json!({ "result": task("completed") })),
            (200, json!({ "result": said })),
        ];
        let remote = Remote { card, ..Remote::answering(answers) };
        let fixture = Fixture::sqlite();
        let server = server(&fixture).await;
        let app = Router::new().fallback(answer).with_state(remote.clone());
        let base = serve(app, &server.tasks).await;
        deploy(&server, &format!("{base}/agents/far"), None).await;
        assert_eq!(ask(&server, "hello").await, (Performative::Inform, "done".to_owned()));
        // Known from now on.
        assert_eq!(ask(&server, "hello").await, (Performative::Inform, "again".to_owned()));
        assert_eq!(remote.methods(), ["SendMessage", "message/send", "tasks/get", "message/send"]);
        let got = remote.got.lock().unwrap().clone();
        let (headers, body) = &got[1];
        assert_eq!(headers.get("a2a-version"), None);
        let sent = &body["params"]["message"];
        assert_eq!((&sent["role"], &sent["kind"]), (&json!("user"), &json!("message")));
        assert_eq!(sent["parts"][0], json!({ "kind": "text", "text": "hello" }));
        server.stop().await;
    }
    // One that says that it speaks 1.0 is believed.
    let remote = Remote { card: Some(new), ..Remote::answering([unknown()]) };
    let (performative, text) = asked(&remote).await;
    assert!(performative == Performative::NotUnderstood && text.contains("no such method"), "{text}");
}

#[tokio::test]
async fn an_agent_of_one_server_is_a_remote_agent_of_another() {
    let far = Client::start().await;
    for (agent, performative) in [("echo", Performative::Inform), ("no", Performative::Refuse)] {
        far.server.add(AgentDefinition::native(name(agent)), move |message, turn| {
            turn.send(Draft::reply(message, performative).content(message.content.clone())).map(|_| ())
        });
    }
    let base = serve(far.app.clone(), &far.server.tasks).await;
    let fixture = Fixture::sqlite();
    let server = server(&fixture).await;
    deploy(&server, &format!("{base}/a2a/echo"), None).await;
    assert_eq!(ask(&server, "hello").await, (Performative::Inform, "hello".to_owned()));
    deploy(&server, &format!("{base}/a2a/nobody"), None).await;
    let (performative, text) = ask(&server, "hello").await;
    assert!(performative == Performative::NotUnderstood && text.contains("nobody"), "{text}");
    server.stop().await;
    far.server.stop().await;
}
