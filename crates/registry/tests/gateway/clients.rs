//! Clients at `/mcp/{server}`.

use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use paddock_platform::identity::Caller;
use serde_json::{Value, json};

use crate::{
    harness::{call, start, value},
    support::caller,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_client_has_a_session_with_a_program_of_its_own() {
    let gateway = start("sessions_max = 2").await.ready().await;
    let (first, second) = (gateway.session().await, gateway.session().await);
    let pid = async |session: &str| {
        let (status, _, body) = gateway.post(Some(session), call(7, "pid")).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        assert_eq!(value(&body)["id"], 7);
        value(&body)["result"]["content"][0]["text"].as_str().unwrap().to_owned()
    };
    assert_ne!(pid(&first).await, pid(&second).await);
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {}});
    let message = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params});
    let (status, headers, _) = gateway.post(None, message).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(headers.contains_key("retry-after"));

    // Nobody else may use a session.
    let request = Request::post("/mcp/fix").header("mcp-session-id", &first);
    let stranger = caller("other", &["registry:call"]);
    let request = request.body(Body::from(call(1, "echo").to_string())).unwrap();
    assert_eq!(gateway.ask(stranger, request).await.0, StatusCode::NOT_FOUND);

    let ended = Request::delete("/mcp/fix").header("mcp-session-id", &first).body(Body::empty()).unwrap();
    assert_eq!(gateway.ask(Caller::local(), ended).await.0, StatusCode::NO_CONTENT);
    assert_eq!(gateway.post(Some(&first), call(1, "echo")).await.0, StatusCode::NOT_FOUND);
    assert_eq!(gateway.post(None, call(1, "echo")).await.0, StatusCode::BAD_REQUEST);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_of_a_call_is_streamed_before_its_answer() {
    let gateway = start("").await.ready().await;
    let session = gateway.session().await;
    let mut message = call(3, "steps");
    message["params"]["_meta"] = json!({"progressToken": "mine"});
    let (status, headers, body) = gateway.post(Some(&session), message).await;
    assert_eq!((status, headers["content-type"].to_str().unwrap()), (StatusCode::OK, "text/event-stream"));
    let messages: Vec<Value> =
        body.lines().filter_map(|line| line.strip_prefix("data: ")).map(value).collect();
    assert_eq!(messages.len(), 4, "{body}");
    assert_eq!(messages[0]["params"]["progressToken"], "mine");
    assert_eq!(messages[3]["id"], 3);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_without_sessions_are_answered_when_their_headers_say_what_their_messages_say() {
    let gateway = start("").await.ready().await;
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {}});
    let message = json!({"jsonrpc": "2.0", "id": "a", "method": "tools/call",
        "params": {"name": "echo", "arguments": {"text": "hi"}, "_meta": meta}});
    let ask = async |name: &str, message: &Value| {
        let request = Request::post("/mcp/fix")
            .header("mcp-protocol-version", "2026-07-28")
            .header("mcp-method", message["method"].as_str().unwrap())
            .header("mcp-name", name);
        gateway.ask(Caller::local(), request.body(Body::from(message.to_string())).unwrap()).await
    };
    let (status, headers, body) = ask("echo", &message).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert!(!headers.contains_key("mcp-session-id"));
    assert_eq!(
        (&value(&body)["id"], &value(&body)["result"]["content"][0]["text"]),
        (&json!("a"), &json!("hi"))
    );
    let (status, _, body) = ask("other", &message).await;
    assert_eq!((status, &value(&body)["error"]["code"]), (StatusCode::BAD_REQUEST, &json!(-32020)));
    let unknown = json!({"jsonrpc": "2.0", "id": 1, "method": "no/such", "params": {"_meta": meta}});
    assert_eq!(ask("x", &unknown).await.0, StatusCode::NOT_FOUND);
    let mut incomplete = message;
    incomplete["params"]["_meta"] = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28"});
    let (status, _, body) = ask("echo", &incomplete).await;
    assert_eq!((status, &value(&body)["error"]["code"]), (StatusCode::BAD_REQUEST, &json!(-32602)));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_message_is_refused() {
    let gateway = start("").await;
    for message in [json!([call(1, "echo")]), json!({"id": 1}), json!("x")] {
        let (status, _, body) = gateway.post(None, message).await;
        assert_eq!((status, &value(&body)["error"]["code"]), (StatusCode::BAD_REQUEST, &json!(-32700)));
    }
    let request = Request::post("/mcp/nobody").body(Body::from(call(1, "echo").to_string())).unwrap();
    assert_eq!(gateway.ask(Caller::local(), request).await.0, StatusCode::NOT_FOUND);
    gateway.stop().await;
}
