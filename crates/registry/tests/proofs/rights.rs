//! What a proof gives the right to, and what not.

use axum::http::{Method, StatusCode};
use paddock_platform::identity::Caller;
use serde_json::{Value, json};

use crate::{
    harness::{published, publisher},
    support::{TestRegistry, server},
};

const ANYBODY: &str = "[publish]\nproofs = [\"none\"]\n";

#[tokio::test]
async fn whoever_proves_nothing_publishes_where_anybody_may() {
    let test = TestRegistry::with(ANYBODY).await;
    let by = publisher(&test, "none", &Value::Null).await;
    let names =
        ["io.modelcontextprotocol.anonymous/tool", "io.modelcontextprotocol/tool", "com.example/tool"];
    assert_eq!(published(&test, &by, &names).await, ["io.modelcontextprotocol.anonymous/tool"]);
    assert_eq!(by.key_id(), Some("none:anybody"));
}

#[tokio::test]
async fn a_proof_publishes_and_does_nothing_else() {
    let test = TestRegistry::with(ANYBODY).await;
    let by = publisher(&test, "none", &Value::Null).await;
    let name = "io.modelcontextprotocol.anonymous/tool";
    assert_eq!(published(&test, &by, &[name]).await, [name]);
    let repaired = server(name, "1.0.0");
    for (method, path, body) in [
        (Method::POST, "/registry/sync", json!(null)),
        (Method::POST, "/registry/search", json!({"query": "tool"})),
        (Method::POST, "/registry/v1/entries", json!({"server": server(name, "2.0.0")})),
        (Method::PUT, "/registry/v1/sources/more", json!({"file": {"data": "[]"}})),
        (
            Method::PUT,
            "/registry/v0.1/servers/io.modelcontextprotocol.anonymous%2Ftool/versions/1.0.0",
            repaired,
        ),
    ] {
        let refused = test.send_as(by.clone(), method, path, &body).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{path}");
    }
    for path in ["/registry/v0.1/servers", "/registry/status", "/registry/audit", "/registry/v1/me"] {
        assert_eq!(test.get_as(by.clone(), path).await.status, StatusCode::FORBIDDEN, "{path}");
    }
    let next = server(name, "3.0.0");
    let nobody = test.send_as(Caller::anonymous(), Method::POST, "/registry/v0.1/publish", &next).await;
    assert_eq!(nobody.status, StatusCode::FORBIDDEN);
}
