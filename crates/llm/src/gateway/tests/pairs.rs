//! Every format of callers with every dialect of providers.

use serde_json::{Value, json};

use super::{Bench, events};

/// The same simulated model behind every dialect, and behind an OpenAI that has no responses.
const PROVIDERS: &str = "
    [[providers]]
    name = 'o'
    dialect = 'openai'
    url = 'sim:?seed=3'
    [[providers]]
    name = 'old'
    dialect = 'openai'
    url = 'sim:?seed=3'
    responses = false
    [[providers]]
    name = 'a'
    dialect = 'anthropic'
    url = 'sim:?seed=3'
    [[providers]]
    name = 'g'
    dialect = 'gemini'
    url = 'sim:?seed=3'
";
const MODELS: [&str; 4] = ["o/m", "old/m", "a/m", "g/m"];

fn request(path: &str, model: &str, prompt: &str, stream: bool) -> Value {
    let mut body = match path {
        "/v1/chat/completions" => json!({"messages": [{"role": "user", "content": prompt}]}),
        "/v1/messages" => json!({"max_tokens": 100, "messages": [{"role": "user", "content": prompt}]}),
        "/v1/responses" => json!({"input": prompt}),
        _ => json!({"prompt": prompt}),
    };
    body["model"] = json!(model);
    if stream {
        body["stream"] = json!(true);
    }
    body
}

/// The text of a whole answer.
fn text_of(path: &str, answer: &Value) -> String {
    let text = match path {
        "/v1/chat/completions" => &answer["choices"][0]["message"]["content"],
        "/v1/messages" => &answer["content"][0]["text"],
        "/v1/responses" => &answer["output"][0]["content"][0]["text"],
        _ => &answer["choices"][0]["text"],
    };
    text.as_str().unwrap_or_else(|| panic!("{path}: {answer}")).to_owned()
}

/// The text of a stream, which must end as its format says.
fn text_of_stream(path: &str, stream: &str) -> String {
    let events = events(stream);
    let last = events.last().unwrap_or_else(|| panic!("{path}: empty"));
    match path {
        "/v1/messages" => assert_eq!(last.0, "message_stop", "{stream}"),
        "/v1/responses" => assert_eq!(last.0, "response.completed", "{stream}"),
        _ => assert_eq!(last.1, "[DONE]", "{stream}"),
    }
    let data = events.iter().filter_map(|(_, data)| serde_json::from_str::<Value>(data).ok());
    let pieces = data.filter_map(|event| {
        let piece = match path {
            "/v1/chat/completions" => &event["choices"][0]["delta"]["content"],
            "/v1/messages" => &event["delta"]["text"],
            "/v1/responses" if event["type"] == "response.output_text.delta" => &event["delta"],
            "/v1/responses" => &Value::Null,
            _ => &event["choices"][0]["text"],
        };
        piece.as_str().map(str::to_owned)
    });
    pieces.collect()
}

const PATHS: [&str; 4] = ["/v1/chat/completions", "/v1/messages", "/v1/responses", "/v1/completions"];

#[tokio::test]
async fn every_caller_gets_the_same_answer_from_every_provider_whole_and_streamed() {
    let bench = Bench::start(PROVIDERS).await;
    let prompt = r#"[sim reply="A caf\u00e9 of kettles"]"#.replace("\\u00e9", "\u{e9}");
    for path in PATHS {
        for model in MODELS {
            let whole = bench.post(path, request(path, model, &prompt, false)).await;
            assert_eq!(whole.status, 200, "{path} {model}: {whole:?}");
            assert_eq!(text_of(path, &whole.json()), "A caf\u{e9} of kettles", "{path} {model}");
            assert!(whole.header("x-paddock-route").starts_with(model), "{whole:?}");
            assert_eq!(whole.header("x-paddock-simulated"), "true");
            let stream = bench.post(path, request(path, model, &prompt, true)).await;
            assert_eq!(stream.header("content-type"), "text/event-stream", "{stream:?}");
            assert_eq!(text_of_stream(path, &stream.text()), "A caf\u{e9} of kettles", "{path} {model}");
        }
    }
}

#[tokio::test]
async fn tools_are_called_across_every_pair() {
    let bench = Bench::start(PROVIDERS).await;
    let schema = json!({"type": "object", "properties": {"city": {"const": "Paris"}}, "required": ["city"]});
    let prompt = "[sim tool=get_weather]";
    for model in MODELS {
        let mut chat = request("/v1/chat/completions", model, prompt, false);
        chat["tools"] =
            json!([{"type": "function", "function": {"name": "get_weather", "parameters": schema}}]);
        let answer = bench.post("/v1/chat/completions", chat).await.json();
        let choice = &answer["choices"][0];
        assert_eq!(choice["finish_reason"], "tool_calls", "{model}: {answer}");
        assert_eq!(
            choice["message"]["tool_calls"][0]["function"]["arguments"], r#"{"city":"Paris"}"#,
            "{model}"
        );
        let mut message = request("/v1/messages", model, prompt, false);
        message["tools"] = json!([{"name": "get_weather", "input_schema": schema}]);
        let answer = bench.post("/v1/messages", message).await.json();
        assert_eq!(answer["stop_reason"], "tool_use", "{model}: {answer}");
        assert_eq!(answer["content"][0]["input"], json!({"city": "Paris"}), "{model}");
        let mut response = request("/v1/responses", model, prompt, false);
        response["tools"] = json!([{"type": "function", "name": "get_weather", "parameters": schema}]);
        let answer = bench.post("/v1/responses", response).await.json();
        assert_eq!(answer["output"][0]["type"], "function_call", "{model}: {answer}");
        assert_eq!(answer["output"][0]["arguments"], r#"{"city":"Paris"}"#, "{model}");
    }
}

#[tokio::test]
async fn structured_output_follows_its_schema_across_every_pair() {
    let bench = Bench::start(PROVIDERS).await;
    let schema = json!({"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]});
    let format = json!({"type": "json_schema", "name": "thing", "schema": schema});
    let of_anthropic = json!({"type": "json_schema", "schema": schema});
    // Each in its vendor's words; Anthropic has had two for it.
    let asked = [
        ("/v1/chat/completions", "response_format", json!({"type": "json_schema", "json_schema": format})),
        ("/v1/responses", "text", json!({"format": format})),
        ("/v1/messages", "output_config", json!({"format": of_anthropic})),
        ("/v1/messages", "output_format", of_anthropic),
    ];
    for (path, member, value) in &asked {
        for model in MODELS {
            let body = |stream| {
                let mut body = request(path, model, "a thing", stream);
                body[*member] = value.clone();
                body
            };
            let whole = bench.post(path, body(false)).await;
            assert_eq!(whole.status, 200, "{path} {member} {model}: {whole:?}");
            assert_eq!(text_of(path, &whole.json()), r#"{"ok":true}"#, "{path} {member} {model}");
            let stream = bench.post(path, body(true)).await;
            assert_eq!(text_of_stream(path, &stream.text()), r#"{"ok":true}"#, "{path} {member} {model}");
        }
    }
}

#[tokio::test]
async fn embeddings_come_from_openai_and_gemini_in_both_encodings() {
    let bench = Bench::start(PROVIDERS).await;
    let mut vectors = Vec::new();
    for model in ["o/m", "g/m"] {
        let body = json!({"model": model, "input": ["a kettle", "a pot"], "dimensions": 8});
        let answer = bench.post("/v1/embeddings", body.clone()).await.json();
        assert_eq!(answer["data"].as_array().map(Vec::len), Some(2), "{answer}");
        vectors.push(answer["data"][1]["embedding"].clone());
        let mut encoded = body;
        encoded["encoding_format"] = json!("base64");
        let answer = bench.post("/v1/embeddings", encoded).await.json();
        assert!(answer["data"][0]["embedding"].is_string(), "{answer}");
    }
    let close = |left: &Value, right: &Value| {
        let pairs = left.as_array().unwrap().iter().zip(right.as_array().unwrap());
        pairs
            .map(|(left, right)| (left.as_f64().unwrap() - right.as_f64().unwrap()).abs())
            .fold(0.0, f64::max)
    };
    assert!(close(&vectors[0], &vectors[1]) < 1e-6, "the same text is the same vector");
    let refused = bench.post("/v1/embeddings", json!({"model": "a/m", "input": "a"})).await;
    assert_eq!(
        (refused.status.as_u16(), refused.json()["error"]["code"].as_str()),
        (400, Some("unsupported_value"))
    );
}

#[tokio::test]
async fn tokens_are_counted_by_the_provider_or_estimated_and_said_so() {
    let bench = Bench::start(PROVIDERS).await;
    let body = |model: &str| json!({"model": model, "messages": [{"role": "user", "content": "four words of text"}]});
    let counted = bench.post("/v1/messages/count_tokens", body("a/m")).await;
    assert!(
        counted.json()["input_tokens"].as_u64().unwrap() > 0
            && counted.header("x-paddock-estimated").is_empty()
    );
    let estimated = bench.post("/v1/messages/count_tokens", body("o/m")).await;
    assert!(estimated.json()["input_tokens"].as_u64().unwrap() > 0);
    assert_eq!(estimated.header("x-paddock-estimated"), "true");
}

#[tokio::test]
async fn models_are_listed_in_both_vendors_forms() {
    let bench = Bench::start(&format!(
        "{PROVIDERS}\nmodels = ['gem']\n[[routes]]\nmodel = 'fast'\ntargets = [{{ provider = 'o', model = 'm' }}]"
    ))
    .await;
    let models = bench.get("/v1/models").await;
    let names: Vec<&str> =
        models["data"].as_array().unwrap().iter().filter_map(|model| model["id"].as_str()).collect();
    assert_eq!(names, ["fast", "gem"]);
    assert_eq!(bench.get("/v1/models/fast").await["object"], "model");
    let missing = bench.get("/v1/models/fats").await;
    assert!(missing["error"]["message"].as_str().unwrap().contains("did you mean `fast`"), "{missing}");
}
