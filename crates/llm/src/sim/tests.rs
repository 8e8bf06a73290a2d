//! What the simulated provider bills.

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Collected, Full};
use serde_json::{Value, json};

use super::{Sim, SimOptions};

/// An answer of the simulated provider; nothing if it breaks.
async fn ask(sim: &Sim, path: &str, body: &Value) -> Option<Bytes> {
    let mut request = Request::new(Full::new(Bytes::from(body.to_string())));
    *request.uri_mut() = format!("http://sim{path}").parse().unwrap();
    let answer = sim.answer(request).await.ok()?;
    answer.into_body().collect().await.ok().map(Collected::to_bytes)
}

fn chat(text: &str, stream: bool) -> Value {
    json!({"model": "m", "stream": stream, "messages": [{"role": "user", "content": text}]})
}

async fn billed(sim: &Sim) -> (u64, u64) {
    let stats: Value = serde_json::from_slice(&ask(sim, "/stats", &json!({})).await.unwrap()).unwrap();
    (stats["input_tokens"].as_u64().unwrap(), stats["output_tokens"].as_u64().unwrap())
}

#[tokio::test]
async fn what_was_said_to_its_end_is_billed_and_what_broke_off_is_not() {
    let sim = Sim::new(SimOptions::default());
    let path = "/v1/chat/completions";
    let answer = ask(&sim, path, &chat("[sim reply=\"one two three\"]", false)).await.unwrap();
    let usage: Value = serde_json::from_slice(&answer).unwrap();
    let of_one = (
        usage["usage"]["prompt_tokens"].as_u64().unwrap(),
        usage["usage"]["completion_tokens"].as_u64().unwrap(),
    );
    assert!(of_one.0 > 0 && of_one.1 > 0, "{usage}");
    assert_eq!(billed(&sim).await, of_one);
    ask(&sim, path, &chat("[sim reply=\"one two three\"]", true)).await.unwrap();
    assert_eq!(billed(&sim).await, (2 * of_one.0, 2 * of_one.1), "a stream costs the same");
    for stream in [false, true] {
        let broken = ask(&sim, path, &chat("[sim reply=\"one two three\" break_after=1]", stream)).await;
        assert_eq!(broken, None, "stream: {stream}");
    }
    assert_eq!(billed(&sim).await, (2 * of_one.0, 2 * of_one.1));
}

#[tokio::test]
async fn who_asks_for_the_bill_meets_no_fault_and_is_not_counted() {
    let sim = Sim::new(SimOptions { error: 1.0, ..SimOptions::default() });
    ask(&sim, "/v1/chat/completions", &chat("hello", false)).await.unwrap();
    assert_eq!(billed(&sim).await, (0, 0));
    let stats: Value = serde_json::from_slice(&ask(&sim, "/stats", &json!({})).await.unwrap()).unwrap();
    assert_eq!(stats["requests"], 1, "{stats}");
}
