//! Batches over simulated providers.

use std::time::Duration;

use axum::{Extension, body::Body};
use http::{Request, StatusCode};
use paddock_platform::{
    durable::DurableState,
    identity::{Caller, Scope},
    store::testing::{Fixture, on_each_engine},
};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::{SIM, Server, answers, sim};
use crate::{
    gateway::tests::{chat, post, read},
    routes::router,
};

fn line(id: &str, prompt: &str) -> String {
    json!({"custom_id": id, "method": "POST", "url": "/v1/chat/completions", "body": chat("m", prompt)})
        .to_string()
}

#[tokio::test]
async fn a_batch_is_carried_out_and_leaves_its_answers_and_its_errors() {
    on_each_engine(async |fixture| {
        let server = Server::start(fixture, SIM).await;
        let lines = [
            line("a", "[sim reply=\"One\"]"),
            line("b", "[sim status=422]"),
            line("c", "[sim reply=\"Three\"]"),
        ];
        let batch = server.batch_of(&lines.join("\n")).await;
        assert_eq!((&batch["status"], &batch["object"]), (&json!("validating"), &json!("batch")));
        server.run(0).await.unwrap();
        let place = format!("/v1/batches/{}", batch["id"].as_str().unwrap());
        let batch = server.get(&place).await.json();
        assert_eq!(batch["status"], "completed", "{batch}");
        assert_eq!(batch["request_counts"], json!({"total": 3, "completed": 2, "failed": 1}));
        assert!(batch["completed_at"].is_i64() && batch["failed_at"].is_null());
        let output = server.lines(&batch["output_file_id"]).await;
        let said: Vec<_> = output
            .iter()
            .map(|line| {
                (
                    line["custom_id"].clone(),
                    line["response"]["body"]["choices"][0]["message"]["content"].clone(),
                )
            })
            .collect();
        assert_eq!(said, [(json!("a"), json!("One")), (json!("c"), json!("Three"))]);
        let errors = server.lines(&batch["error_file_id"]).await;
        assert_eq!(
            (&errors[0]["custom_id"], &errors[0]["response"]["status_code"]),
            (&json!("b"), &json!(422))
        );
        let listed = server.get("/v1/batches?limit=1").await.json();
        assert_eq!((&listed["data"][0]["id"], &listed["has_more"]), (&batch["id"], &json!(false)));
        let files = server.get("/v1/files?purpose=batch_output").await.json();
        assert_eq!(files["data"].as_array().unwrap().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_batch_goes_on_where_it_was() {
    let fixture = Fixture::sqlite();
    let url = sim(&fixture, 1, Duration::from_millis(50)).await;
    let slow =
        format!("[[providers]]\nname = 'p'\nurl = '{url}'\nmodels = ['m']\n[batch]\nconcurrency_max = 1");
    let server = Server::start(&fixture, &slow).await;
    let lines: Vec<String> =
        (0..6).map(|number| line(&number.to_string(), &format!("say {number}"))).collect();
    let batch = server.batch_of(&lines.join("\n")).await;
    // What a death leaves: some lines are answered.
    let some = async {
        while answers(&url).await.0 < 3 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        ended = server.run(0) => panic!("{ended:?}"),
        () = some => {}
    }
    server.run(0).await.unwrap();
    let batch = server.get(&format!("/v1/batches/{}", batch["id"].as_str().unwrap())).await.json();
    assert_eq!(batch["request_counts"]["completed"], 6, "{batch}");
    assert_eq!(server.lines(&batch["output_file_id"]).await.len(), 6);
    assert_eq!(answers(&url).await.0, 6, "what was answered is not billed again");
    assert_eq!(server.answered().await, 6);
}

#[tokio::test]
async fn a_batch_that_is_cancelled_keeps_what_was_answered() {
    let fixture = Fixture::sqlite();
    let server = Server::start(&fixture, SIM).await;
    let batch = server.batch_of(&line("a", "hello")).await;
    let place = format!("/v1/batches/{}", batch["id"].as_str().unwrap());
    let cancelling = server.send(post(&format!("{place}/cancel"), &json!({}))).await.json();
    assert_eq!(cancelling["status"], "cancelling");
    server.run(0).await.unwrap();
    let batch = server.get(&place).await.json();
    assert_eq!((&batch["status"], &batch["output_file_id"]), (&json!("cancelled"), &Value::Null));
    assert_eq!(server.lines(&batch["error_file_id"]).await[0]["error"]["code"], "batch_cancelled");
    let again = server.send(post(&format!("{place}/cancel"), &json!({}))).await;
    assert_eq!(again.json()["status"], "cancelled");
    assert_eq!(server.requests(), 0);
}

#[tokio::test]
async fn a_file_that_is_no_batch_fails_it_with_its_lines() {
    let fixture = Fixture::sqlite();
    let server = Server::start(&fixture, SIM).await;
    let batch = server.batch_of(&format!("{}\n{}\nnonsense", line("a", "x"), line("a", "y"))).await;
    server.run(0).await.unwrap();
    let batch = server.get(&format!("/v1/batches/{}", batch["id"].as_str().unwrap())).await.json();
    assert_eq!(batch["status"], "failed");
    let errors = batch["errors"]["data"].as_array().unwrap();
    assert_eq!(errors.iter().map(|error| error["line"].clone()).collect::<Vec<_>>(), [json!(2), json!(3)]);
}

#[tokio::test]
async fn a_batch_whose_job_ended_otherwise_has_ended() {
    let fixture = Fixture::sqlite();
    let server = Server::start(&fixture, SIM).await;
    let batch = server.batch_of(&line("a", "hello")).await;
    server.calls.ended.lock().unwrap().insert("job-0".to_owned(), DurableState::Cancelled);
    let batch = server.get(&format!("/v1/batches/{}", batch["id"].as_str().unwrap())).await.json();
    assert_eq!(batch["status"], "cancelled");
}

#[tokio::test]
async fn files_and_batches_are_of_their_tenant_alone() {
    let fixture = Fixture::sqlite();
    let server = Server::start(&fixture, SIM).await;
    let batch = server.batch_of(&line("a", "hello")).await;
    let other = Caller::with_key("k", "other".parse().unwrap(), vec![Scope::write("llm")]);
    let (app, _) = router(server.gateway.clone(), Some(server.durable.clone())).split_for_parts();
    let app = app.layer(Extension(other));
    let (batch_id, file) = (batch["id"].as_str().unwrap(), batch["input_file_id"].as_str().unwrap());
    for path in [
        format!("/v1/batches/{batch_id}"),
        format!("/v1/files/{file}"),
        format!("/v1/files/{file}/content"),
        "/v1/files/..%2F..%2Fx/content".to_owned(),
    ] {
        let request = Request::get(&path).body(Body::empty()).unwrap();
        assert_eq!(app.clone().oneshot(request).await.unwrap().status(), StatusCode::NOT_FOUND, "{path}");
    }
    let listed = Request::get("/v1/files").body(Body::empty()).unwrap();
    let listed = read(app.oneshot(listed).await.unwrap()).await.json();
    assert_eq!(listed["data"], json!([]));
    let deleted =
        server.send(Request::delete(format!("/v1/files/{file}")).body(Body::empty()).unwrap()).await;
    assert_eq!(deleted.json()["deleted"], true);
    assert_eq!(server.get(&format!("/v1/files/{file}")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_batch_that_cannot_be_is_refused_with_the_field() {
    let fixture = Fixture::sqlite();
    let server = Server::start(&fixture, SIM).await;
    let file = server.batch_of(&line("a", "hello")).await["input_file_id"].clone();
    let input = |change: Value| {
        let mut input =
            json!({"input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h"});
        input.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        input
    };
    for (change, part) in [
        (json!({"endpoint": "/v1/images"}), "endpoint"),
        (json!({"completion_window": "soon"}), "completion_window"),
        (json!({"completion_window": "900d"}), "completion_window"),
        (json!({"input_file_id": "file-none"}), "file-none"),
        (json!({"metadata": {"k": "x".repeat(513)}}), "metadata"),
    ] {
        let refused = server.send(post("/v1/batches", &input(change.clone()))).await;
        assert!(refused.status.is_client_error(), "{change}: {refused:?}");
        assert!(refused.text().contains(part), "{change}: {refused:?}");
    }
}
