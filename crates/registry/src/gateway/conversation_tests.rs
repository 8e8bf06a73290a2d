//! Whose answers go where.

use serde_json::{Value, json};

use super::*;

struct Peer {
    sent: mpsc::Receiver<Bytes>,
    say: mpsc::Sender<Bytes>,
    conversation: Conversation,
}

fn peer(side: Side) -> Peer {
    let (outgoing, sent) = mpsc::channel(8);
    let (say, incoming) = mpsc::channel(8);
    let line = Line { outgoing, incoming, end: End::default() };
    Peer { sent, say, conversation: Conversation::begin(line, side, &Tasks::default()) }
}

impl Peer {
    async fn ask(&self, text: &str) -> Exchange {
        self.conversation.ask(&Envelope::read(text.as_bytes()).unwrap()).await.unwrap()
    }

    async fn seen(&mut self) -> Value {
        serde_json::from_slice(&self.sent.recv().await.unwrap()).unwrap()
    }

    async fn say(&self, message: Value) {
        self.say.send(message.to_string().into()).await.unwrap();
    }
}

fn value(bytes: &Bytes) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

#[tokio::test]
async fn two_callers_with_one_id_get_their_own_answers() {
    let mut peer = peer(Side::Stateless);
    let text = r#"{"jsonrpc":"2.0","id":"a","method":"m","params":{"_meta":{"progressToken":"t"}}}"#;
    let (mut first, second) = (peer.ask(text).await, peer.ask(text).await);
    let (one, two) = (peer.seen().await, peer.seen().await);
    assert_ne!(one["id"], two["id"]);
    assert_ne!(one["params"]["_meta"]["progressToken"], two["params"]["_meta"]["progressToken"]);
    let token = &one["params"]["_meta"]["progressToken"];
    peer.say(json!({"method": "notifications/progress", "params": {"progressToken": token, "progress": 1}}))
        .await;
    peer.say(json!({"id": two["id"], "result": 2})).await;
    peer.say(json!({"id": one["id"], "error": {"code": 1, "message": "no"}})).await;
    assert_eq!(value(&first.notices.recv().await.unwrap())["params"]["progressToken"], "t");
    assert_eq!(value(&(&mut first.answer).await.unwrap())["error"]["message"], "no");
    let mut second = second;
    assert_eq!(
        value(&(&mut second.answer).await.unwrap()),
        json!({"jsonrpc": "2.0", "id": "a", "result": 2})
    );
}

#[tokio::test]
async fn the_server_is_told_when_nobody_waits_any_more() {
    let mut peer = peer(Side::Client);
    let exchange = peer.ask(r#"{"id":7,"method":"slow"}"#).await;
    let id = peer.seen().await["id"].clone();
    drop(exchange);
    let told = peer.seen().await;
    assert_eq!((&told["method"], &told["params"]["requestId"]), (&json!("notifications/cancelled"), &id));
}

#[tokio::test]
async fn what_the_server_asks_goes_with_the_open_request_or_waits_for_a_listener() {
    let mut peer = peer(Side::Client);
    let mut exchange = peer.ask(r#"{"id":7,"method":"tools/call"}"#).await;
    peer.seen().await;
    let question = json!({"jsonrpc": "2.0", "id": "s1", "method": "sampling/createMessage"});
    peer.say(question.clone()).await;
    assert_eq!(value(&exchange.notices.recv().await.unwrap()), question);
    let answer = Envelope::read(br#"{"jsonrpc":"2.0","id":"s1","result":{}}"#).unwrap();
    peer.conversation.tell(&answer).await.unwrap();
    assert_eq!(peer.seen().await["id"], "s1");
    drop(exchange);
    peer.seen().await;
    peer.say(question.clone()).await;
    let mut listened = peer.conversation.listen();
    assert_eq!(value(&listened.recv().await.unwrap()), question);
}

#[tokio::test]
async fn a_server_that_asks_where_nobody_is_gets_an_answer_all_the_same() {
    let mut peer = peer(Side::Own);
    peer.say(json!({"id": 1, "method": "ping"})).await;
    assert_eq!(peer.seen().await["result"], json!({}));
    peer.say(json!({"id": 2, "method": "roots/list"})).await;
    assert_eq!(peer.seen().await["error"]["code"], METHOD_NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_answers_nothing_is_cut_off_and_one_that_speaks_is_not() {
    let mut peer = peer(Side::Own);
    let exchange = peer.ask(r#"{"id":7,"method":"tools/call"}"#).await;
    let (conversation, sent) = exchange.sent();
    conversation.probe(sent).await;
    assert!(conversation.is_over());
    peer.seen().await;
}

#[tokio::test]
async fn whoever_waits_learns_that_the_line_has_ended() {
    let Peer { sent: _sent, say, conversation } = peer(Side::Own);
    let text = Envelope::read(br#"{"id":7,"method":"m"}"#).unwrap();
    let mut exchange = conversation.ask(&text).await.unwrap();
    conversation.end.set_ended("it ended (signal: 9)");
    drop(say);
    assert!((&mut exchange.answer).await.is_err());
    assert_eq!(exchange.ended().0, "it ended (signal: 9)");
}
