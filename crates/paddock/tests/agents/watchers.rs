//! Those who watch agents come and go.

use futures_util::{StreamExt, future::join_all};
use serde_json::Value;
use tokio::time::timeout;

use super::{
    agents, client,
    components::{BIDDER, deploy, upload},
    start,
    support::{PATIENCE, TestServer},
};

/// Watchers of each kind.
const WATCHERS: usize = 100;
const PATH: &str = "/events?topics=agents.states";

type Socket = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

async fn stream(server: &TestServer) -> reqwest::Response {
    let response = client().get(format!("{}{PATH}", server.base)).send().await.unwrap();
    assert_eq!(response.status(), 200);
    response
}

/// The first event of a stream.
async fn event_of(mut stream: reqwest::Response) -> Value {
    let mut text = String::new();
    loop {
        if let Some(data) = text.lines().find_map(|line| line.strip_prefix("data:"))
            && text.ends_with("\n\n")
        {
            return serde_json::from_str(data).unwrap();
        }
        let chunk = timeout(PATIENCE, stream.chunk()).await.expect("the stream goes on").unwrap();
        text.push_str(std::str::from_utf8(&chunk.expect("the stream is open")).unwrap());
    }
}

async fn socket(server: &TestServer) -> Socket {
    let url = format!("ws{}{PATH}", server.base.strip_prefix("http").unwrap());
    tokio_tungstenite::connect_async(url).await.unwrap().0
}

async fn message_of(mut socket: Socket) -> Value {
    loop {
        let message = timeout(PATIENCE, socket.next()).await.expect("the socket goes on").unwrap().unwrap();
        if message.is_text() {
            return serde_json::from_str(message.to_text().unwrap()).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_watchers_each_see_an_agent_change_its_state() {
    let server = start(&[]);
    let digest = upload(&server, BIDDER).await;
    let streams = join_all((0..WATCHERS).map(|_| stream(&server))).await;
    let sockets = join_all((0..WATCHERS).map(|_| socket(&server))).await;
    deploy(&server, "painter", &digest, Value::Null).await;
    let mut seen = join_all(streams.into_iter().map(event_of)).await;
    seen.extend(join_all(sockets.into_iter().map(message_of)).await);
    assert_eq!(seen.len(), 2 * WATCHERS);
    for event in seen {
        assert_eq!(
            (&event["agent"], &event["version"]),
            (&Value::from("painter"), &Value::from(1)),
            "{event}"
        );
    }
    assert!(agents(&server, &["list"]).contains("painter"));
}
