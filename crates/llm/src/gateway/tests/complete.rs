//! Completions for areas that stand on this one.

use futures_util::StreamExt;
use paddock_platform::identity::Caller;
use serde_json::{Value, json};

use super::Bench;
use crate::{CompleteInput, CompletionStop, EmbedInput, Piece, PromptMessage, PromptTool};

const EVERY_DIALECT: &str = "
    [[providers]]
    name = 'openai'
    url = 'sim:'
    [[providers]]
    name = 'anthropic'
    dialect = 'anthropic'
    url = 'sim:'
    [[providers]]
    name = 'gemini'
    dialect = 'gemini'
    url = 'sim:'
    [prices]
    m = { input = 1, output = 10 }
";
const MODELS: [&str; 3] = ["openai/m", "anthropic/m", "gemini/m"];

fn ask(model: &str, prompt: &str) -> CompleteInput {
    CompleteInput { model: model.to_owned(), prompt: Some(prompt.to_owned()), ..CompleteInput::default() }
}

fn with_tool(input: CompleteInput) -> CompleteInput {
    let schema = json!({"type": "object", "properties": {"city": {"const": "Paris"}}, "required": ["city"]});
    let tool =
        PromptTool { name: "get_weather".to_owned(), description: "Tells the weather.".to_owned(), schema };
    CompleteInput { tools: vec![tool], ..input }
}

#[tokio::test]
async fn a_prompt_is_completed_and_says_what_it_cost() {
    let bench = Bench::start(EVERY_DIALECT).await;
    for model in MODELS {
        let answer = bench
            .gateway
            .complete(&Caller::local(), ask(model, "[sim reply=\"Hello there\"]"))
            .await
            .unwrap();
        assert_eq!(
            (answer.text.as_str(), answer.stop, answer.output_tokens),
            ("Hello there", CompletionStop::End, 2)
        );
        let cost = (answer.input_tokens + answer.output_tokens * 10) as f64 / 1e6;
        assert!((answer.cost_usd - cost).abs() < 1e-12, "{answer:?}");
        assert!(answer.simulated && answer.route.starts_with(model), "{answer:?}");
    }
}

#[tokio::test]
async fn tools_are_called_by_who_asks_until_the_model_has_what_it_wants() {
    let bench = Bench::start(EVERY_DIALECT).await;
    for model in MODELS {
        let asked = with_tool(ask(model, "Weather? [sim tool=get_weather]"));
        let answer = bench.gateway.complete(&Caller::local(), asked.clone()).await.unwrap();
        assert_eq!(answer.stop, CompletionStop::Tools, "{model}: {answer:?}");
        let call = &answer.tool_calls[0];
        assert_eq!((call.name.as_str(), &call.arguments), ("get_weather", &json!({"city": "Paris"})));
        let user = |text: &str| PromptMessage {
            role: "user".to_owned(),
            content: text.to_owned(),
            ..PromptMessage::default()
        };
        let result = PromptMessage {
            role: "tool".to_owned(),
            content: "14 degrees".to_owned(),
            tool_call_id: Some(call.id.clone()),
            ..PromptMessage::default()
        };
        let messages = vec![user("Weather? [sim tool=get_weather]"), answer.message(), result];
        let next = CompleteInput { messages, ..with_tool(ask(model, "[sim reply=\"It is mild\"]")) };
        let answer = bench.gateway.complete(&Caller::local(), next).await.unwrap();
        assert_eq!((answer.text.as_str(), answer.stop), ("It is mild", CompletionStop::End), "{model}");
    }
}

#[tokio::test]
async fn a_stream_has_the_same_in_pieces() {
    let bench = Bench::start(EVERY_DIALECT).await;
    for model in MODELS {
        for input in
            [ask(model, "[sim reply=\"one two three\"]"), with_tool(ask(model, "[sim tool=get_weather]"))]
        {
            let whole = bench.gateway.complete(&Caller::local(), input.clone()).await.unwrap();
            let stream = bench.gateway.stream(&Caller::local(), input).await.unwrap();
            let pieces: Vec<Piece> = stream.map(Result::unwrap).collect().await;
            let said: String = pieces
                .iter()
                .filter_map(|piece| if let Piece::Text(text) = piece { Some(text.as_str()) } else { None })
                .collect();
            assert_eq!(said, whole.text);
            let Some(Piece::Whole(last)) = pieces.last() else { panic!("{pieces:?}") };
            assert_eq!(**last, whole, "{model}");
        }
    }
}

#[tokio::test]
async fn a_stream_that_breaks_ends_with_why() {
    let bench = Bench::start(EVERY_DIALECT).await;
    let stream =
        bench.gateway.stream(&Caller::local(), ask("openai/m", "[sim break_after=2]")).await.unwrap();
    let pieces: Vec<_> = stream.collect().await;
    let last = pieces.last().unwrap().as_ref().unwrap_err();
    assert_eq!(last.kind.status.as_u16(), 502);
    assert!(pieces[..pieces.len() - 1].iter().all(Result::is_ok));
    assert_eq!(bench.lanes_in_flight(), 0);
}

#[tokio::test]
async fn who_drops_a_stream_ends_the_providers_work() {
    let bench = Bench::start(&EVERY_DIALECT.replacen("sim:", "sim:?tokens=200&tokens_per_s=20", 1)).await;
    let mut stream = bench.gateway.stream(&Caller::local(), ask("openai/m", "hello")).await.unwrap();
    assert!(matches!(stream.next().await, Some(Ok(Piece::Text(_)))));
    assert_eq!(bench.lanes_in_flight(), 1);
    drop(stream);
    assert_eq!(bench.lanes_in_flight(), 0);
    assert_eq!(bench.usage("model").await[0]["failures"], 1);
}

#[tokio::test]
async fn what_may_not_be_asked_is_refused_with_its_status() {
    let bench = Bench::start(&format!("{EVERY_DIALECT}\n[[limits]]\nday = {{ hard = 0.0 }}")).await;
    let broke = bench.gateway.complete(&Caller::local(), ask("openai/m", "hello")).await.unwrap_err();
    assert_eq!(broke.kind.status.as_u16(), 429);
    assert!(broke.retry_after.is_some());
    let bench = Bench::start(EVERY_DIALECT).await;
    let dear = CompleteInput { cost_max_usd: Some(0.000_000_1), ..ask("openai/m", "hello") };
    assert!(bench.gateway.complete(&Caller::local(), dear).await.unwrap_err().detail.contains("costs"));
    let nothing = CompleteInput { model: "openai/m".to_owned(), ..CompleteInput::default() };
    assert!(bench.gateway.complete(&Caller::local(), nothing).await.unwrap_err().detail.contains("prompt"));
    let orphan: Value = json!({"model": "openai/m", "messages": [{"role": "tool", "content": "x"}]});
    let orphan = serde_json::from_value(orphan).unwrap();
    let refused = bench.gateway.stream(&Caller::local(), orphan).await.unwrap_err();
    assert!(refused.detail.contains("tool_call_id"), "{refused}");
}

#[tokio::test]
async fn texts_are_embedded_and_one_that_has_no_embeddings_says_so() {
    let bench = Bench::start(EVERY_DIALECT).await;
    let texts = ["a green kettle", "something else", "kettle a green"].map(str::to_owned);
    let input = |model: &str| EmbedInput { model: model.to_owned(), texts: texts.to_vec(), dimensions: None };
    for model in ["openai/m", "gemini/m"] {
        let vectors = bench.gateway.embed(&Caller::local(), input(model)).await.unwrap();
        assert_eq!(vectors.len(), 3);
        let dot = |left: usize, right: usize| -> f32 {
            vectors[left].iter().zip(&vectors[right]).map(|(left, right)| left * right).sum()
        };
        assert!(dot(0, 2) > 0.99 && dot(0, 1) < 0.9, "{model}");
    }
    let refused = bench.gateway.embed(&Caller::local(), input("anthropic/m")).await.unwrap_err();
    assert_eq!(refused.kind.status.as_u16(), 400);
}
