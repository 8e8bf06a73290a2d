//! Runs with a model that says what the test wants.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use futures_util::future::{BoxFuture, ready};
use paddock_platform::problem::{OVERLOADED, Problem};
use serde_json::{Value, json};

use super::{handler::PromptHandler, markdown::from_markdown, model::Model};
use crate::{
    handler::{Failure, Handled, Handler},
    live::{self, Teller},
    message::{Address, Draft, Label, Message, Performative},
    turn::{Turn, detached::Told},
};

/// A model that gives these answers one after the other, and notes what it was asked.
#[derive(Default)]
struct Script {
    answers: Mutex<VecDeque<Value>>,
    asked: Arc<Mutex<Vec<Value>>>,
    /// Texts that it was to embed, call by call.
    embedded: Arc<Mutex<Vec<Vec<String>>>>,
    /// Whether it embeds.
    embeds: bool,
}

impl Model for Script {
    fn ask(&self, request: Value, teller: Option<Arc<Teller>>) -> BoxFuture<'static, Result<Value, Problem>> {
        self.asked.lock().unwrap().push(request);
        let next = self.answers.lock().unwrap().pop_front();
        if let (Some(teller), Some(next)) = (teller, &next) {
            teller.text(next["choices"][0]["message"]["content"].as_str().unwrap_or_default());
            teller.end_text();
        }
        Box::pin(ready(next.ok_or_else(|| Problem::new(OVERLOADED, "nothing more to say"))))
    }

    /// Drinks lie in one direction, and everything else in another.
    fn embed(&self, model: &str, texts: Vec<String>) -> BoxFuture<'static, Result<Vec<Vec<f32>>, Problem>> {
        assert_eq!(model, "near");
        let is_drink = |text: &String| ["tea", "thirsty"].iter().any(|word| text.contains(word));
        let vectors = texts.iter().map(|text| if is_drink(text) { vec![1.0, 0.1] } else { vec![0.1, 1.0] });
        let vectors: Vec<Vec<f32>> = vectors.collect();
        self.embedded.lock().unwrap().push(texts);
        let failed = || Problem::new(OVERLOADED, "no embeddings today");
        Box::pin(ready(self.embeds.then_some(vectors).ok_or_else(failed)))
    }
}

/// A model that gives these answers one after the other, and what it was asked.
fn model(answers: Vec<Value>) -> (Arc<dyn Model>, Arc<Mutex<Vec<Value>>>) {
    let script = Script { answers: Mutex::new(answers.into()), ..Script::default() };
    let asked = Arc::clone(&script.asked);
    (Arc::new(script), asked)
}

fn says(text: &str) -> Value {
    json!({ "model": "m", "choices": [{ "message": { "content": text } }], "usage": { "total_tokens": 10 } })
}

fn calls(tool: &str, input: &Value) -> Value {
    let call = json!({ "id": "c1", "type": "function", "function": { "name": tool, "arguments": input.to_string() } });
    json!({ "model": "m", "choices": [{ "message": { "content": null, "tool_calls": [call] } }], "usage": { "total_tokens": 10 } })
}

fn handler(front: &str, model: Arc<dyn Model>) -> PromptHandler {
    let text = format!("---\nname: a\nmodel: m\ntools: [lab_echo]\n{front}\n---\nBe brief.");
    let agent = from_markdown(&text).unwrap();
    agent.check(100).unwrap();
    PromptHandler::new(Arc::new(agent.prompt.unwrap()), model)
}

fn turn() -> Turn {
    Turn::detached("a".parse().unwrap()).with_tools(|name, input| {
        let answer = json!({ "called": name, "with": input });
        Box::pin(std::future::ready(Ok(answer)))
    })
}

fn ask(text: &str) -> Arc<Message> {
    let to: Address = "a".parse().unwrap();
    let draft = Draft::new(Performative::Request, to)
        .text(text)
        .conversation(Label::of("c"))
        .reply_with(Label::of("r"));
    draft.from("caller:me".parse().unwrap())
}

async fn handle(handler: &mut PromptHandler, turn: &mut Turn, message: Arc<Message>) -> Result<(), Failure> {
    let result = match handler.handle(message, turn) {
        Handled::Done(result) => result,
        Handled::Later(future) => future.await,
    };
    turn.state.commit();
    result
}

fn answer(turn: &mut Turn) -> (Performative, String) {
    let sent = turn.sends.pop().unwrap();
    assert_eq!(sent.in_reply_to.as_ref().unwrap().as_str(), "r");
    (sent.performative, sent.content.to_text().into_owned())
}

#[tokio::test]
async fn a_run_calls_tools_until_it_answers() {
    let (model, asked) = model(vec![calls("lab_echo", &json!({ "x": 1 })), says("done")]);
    let (mut handler, mut turn) = (handler("", model), turn());
    handle(&mut handler, &mut turn, ask("do it")).await.unwrap();
    assert_eq!(answer(&mut turn), (Performative::Inform, "done".to_owned()));
    let asked = asked.lock().unwrap();
    assert_eq!(asked[0]["messages"][0]["content"], "Be brief.");
    assert_eq!(asked[0]["messages"][1], json!({ "role": "user", "content": "do it" }));
    let told = asked[1]["messages"][3]["content"].as_str().unwrap();
    assert!(told.contains("lab_echo") && told.contains("\"x\":1"), "{told}");
}

#[tokio::test]
async fn the_next_question_finds_the_conversation() {
    let (model, asked) = model(vec![says("one"), says("two")]);
    let (mut handler, mut turn) = (handler("", model), turn());
    handle(&mut handler, &mut turn, ask("first")).await.unwrap();
    handle(&mut handler, &mut turn, ask("second")).await.unwrap();
    let messages = asked.lock().unwrap()[1]["messages"].clone();
    let said: Vec<&str> = messages
        .as_array()
        .unwrap()
        .iter()
        .skip(1)
        .map(|message| message["content"].as_str().unwrap())
        .collect();
    assert_eq!(said, ["first", "one", "second"]);
}

#[tokio::test]
async fn what_leaves_the_window_is_summarised() {
    let (model, asked) =
        model(vec![says("one"), says("two"), says("the summary"), says("and again"), says("three")]);
    let (mut handler, mut turn) = (handler("memory: {window: 2, summary: true}", model), turn());
    handle(&mut handler, &mut turn, ask("first")).await.unwrap();
    handle(&mut handler, &mut turn, ask("second")).await.unwrap();
    handle(&mut handler, &mut turn, ask("third")).await.unwrap();
    let asked = asked.lock().unwrap();
    let summarised = asked[2]["messages"][1]["content"].as_str().unwrap();
    assert!(summarised.contains("user: first"), "{summarised}");
    assert!(asked[4]["messages"][1]["content"].as_str().unwrap().contains("and again"));
}

#[tokio::test]
async fn one_that_goes_round_in_circles_is_stopped() {
    let same = calls("lab_echo", &json!({}));
    let (model, _) = model(vec![same.clone(), same.clone(), same]);
    let (mut handler, mut turn) = (handler("limits: {repeats_max: 2}", model), turn());
    handle(&mut handler, &mut turn, ask("x")).await.unwrap();
    let (performative, text) = answer(&mut turn);
    assert_eq!(performative, Performative::Failure);
    assert!(text.contains("circles"), "{text}");
}

#[tokio::test]
async fn steps_and_tokens_are_bounded() {
    for (front, expected) in
        [("limits: {steps_max: 2}", "steps_max"), ("limits: {tokens_max: 15}", "tokens_max")]
    {
        let answers = (0..9).map(|number| calls("lab_echo", &json!({ "n": number }))).collect();
        let (model, asked) = model(answers);
        let (mut handler, mut turn) = (handler(front, model), turn());
        handle(&mut handler, &mut turn, ask("x")).await.unwrap();
        let (performative, text) = answer(&mut turn);
        assert!(performative == Performative::Failure && text.contains(expected), "{text}");
        assert_eq!(asked.lock().unwrap().len(), 2);
    }
}

#[tokio::test]
async fn an_answer_that_does_not_fit_is_asked_for_again() {
    let (model, asked) = model(vec![says("no"), says("{\"n\": \"x\"}"), says("{\"n\": 7}")]);
    let front = "output: {type: object, required: [n], properties: {n: {type: integer}}}";
    let (mut handler, mut turn) = (handler(front, model), turn());
    handle(&mut handler, &mut turn, ask("x")).await.unwrap();
    assert_eq!(answer(&mut turn), (Performative::Inform, "{\"n\":7}".to_owned()));
    let asked = asked.lock().unwrap();
    assert_eq!(asked[0]["response_format"]["type"], "json_schema");
    let complaint = asked[2]["messages"].as_array().unwrap().last().unwrap()["content"].as_str().unwrap();
    assert!(complaint.contains("/n"), "{complaint}");
}

#[tokio::test]
async fn a_model_that_cannot_be_had_is_a_failure() {
    let (model, _) = model(Vec::new());
    let (mut handler, mut turn) = (handler("", model), turn());
    handle(&mut handler, &mut turn, ask("x")).await.unwrap();
    let (performative, text) = answer(&mut turn);
    assert!(performative == Performative::Failure && text.contains("nothing more to say"), "{text}");
}

fn decision(id: &str, approve: bool) -> Arc<Message> {
    let to: Address = "a".parse().unwrap();
    let draft = Draft::new(Performative::Confirm, to).protocol(Label::of("approval"));
    draft
        .json(&json!({ "id": id, "approve": approve, "reason": "too dear" }))
        .from("caller:boss".parse().unwrap())
}

#[tokio::test]
async fn a_marked_tool_waits_for_somebody() {
    for (approve, expected) in [(true, "\"called\":\"lab_echo\""), (false, "not approved: too dear")] {
        let (model, asked) = model(vec![calls("lab_echo", &json!({})), says("done")]);
        let (mut handler, mut turn) = (handler("approve: [lab_echo]", model), turn());
        handle(&mut handler, &mut turn, ask("x")).await.unwrap();
        let (performative, text) = answer(&mut turn);
        assert_eq!(performative, Performative::Agree);
        let told: Value = serde_json::from_str(&text).unwrap();
        let id = told["approval"]["id"].as_str().unwrap();
        assert_eq!(asked.lock().unwrap().len(), 1);
        handle(&mut handler, &mut turn, decision(id, approve)).await.unwrap();
        assert_eq!(answer(&mut turn), (Performative::Inform, "done".to_owned()));
        let asked = asked.lock().unwrap()[1]["messages"].clone();
        let result = asked.as_array().unwrap().last().unwrap()["content"].as_str().unwrap();
        assert!(result.contains(expected), "{result}");
        // It was decided, and waits no longer.
        assert!(handle(&mut handler, &mut turn, decision(id, true)).await.is_err());
    }
}

#[tokio::test]
async fn facts_are_noted_and_found_in_another_conversation() {
    let (model, asked) = model(vec![
        calls("remember", &json!({ "fact": "Anna prefers tea" })),
        says("noted"),
        calls("recall", &json!({ "question": "Anna" })),
        says("tea"),
    ]);
    let (mut handler, mut turn) = (handler("memory: {facts: true}", model), turn());
    handle(&mut handler, &mut turn, ask("note it")).await.unwrap();
    handle(&mut handler, &mut turn, ask("what does she drink?")).await.unwrap();
    let asked = asked.lock().unwrap();
    let found = asked[3]["messages"].as_array().unwrap().last().unwrap()["content"].as_str().unwrap();
    assert!(found.contains("Anna prefers tea"), "{found}");
    assert_eq!(asked[0]["tools"][0]["function"]["name"], "remember");
}

/// What was found by `recall`, call by call.
fn found(asked: &[Value]) -> Vec<Value> {
    let last = |asked: &Value| asked["messages"].as_array().unwrap().last().unwrap().clone();
    let told = asked.iter().map(last).filter(|message| message["role"] == "tool");
    told.map(|message| serde_json::from_str(message["content"].as_str().unwrap()).unwrap()).collect()
}

#[tokio::test]
async fn what_is_near_in_meaning_is_found_without_a_common_word_and_embedded_once() {
    for embeds in [true, false] {
        let look = |question: &str| calls("recall", &json!({ "question": question }));
        let answers =
            vec![look("is she thirsty"), look("thirsty again"), look("where does Anna live"), says("done")];
        let script = Script { answers: Mutex::new(answers.into()), embeds, ..Script::default() };
        let (asked, embedded) = (Arc::clone(&script.asked), Arc::clone(&script.embedded));
        let mut handler = handler("memory: {facts: true, embeddings: near}", Arc::new(script));
        let mut turn = turn();
        for fact in ["Anna prefers tea", "Anna lives in Bern"] {
            super::memory::remember(&mut turn, fact).unwrap();
        }
        handle(&mut handler, &mut turn, ask("x")).await.unwrap();
        let found = found(&asked.lock().unwrap());
        let drink = if embeds { json!(["Anna prefers tea"]) } else { json!([]) };
        assert_eq!((&found[0]["facts"], &found[1]["facts"]), (&drink, &drink));
        // Words count where there are some, with embeddings and without.
        assert_eq!(found[2]["facts"][0], "Anna lives in Bern");
        let sizes: Vec<usize> = embedded.lock().unwrap().iter().map(Vec::len).collect();
        assert_eq!(sizes, if embeds { [3, 1, 1] } else { [3, 3, 3] });
    }
}

#[tokio::test]
async fn what_fell_out_of_the_window_can_be_looked_up() {
    let (model, asked) = model(vec![
        says("Noted."),
        says("Fine."),
        calls("recall", &json!({ "question": "number of the order" })),
        says("4711"),
    ]);
    let (mut handler, mut turn) = (handler("memory: {window: 2, history: 10}", model), turn());
    handle(&mut handler, &mut turn, ask("My order is number 4711")).await.unwrap();
    handle(&mut handler, &mut turn, ask("And the sun shines")).await.unwrap();
    handle(&mut handler, &mut turn, ask("What was my order?")).await.unwrap();
    let asked = asked.lock().unwrap();
    let seen = asked[2]["messages"].to_string();
    assert!(!seen.contains("4711"), "{seen}");
    let found = found(&asked);
    assert_eq!(found[0], json!({ "messages": [{ "role": "user", "content": "My order is number 4711" }] }));
    let tools = asked[0]["tools"].as_array().unwrap();
    assert_eq!((tools.len(), &tools[0]["function"]["name"]), (1, &json!("recall")));
}

#[tokio::test]
async fn who_wants_to_hear_it_is_told_what_happens_on_the_way() {
    let (model, _) = model(vec![calls("lab_echo", &json!({ "x": 1 })), says("done")]);
    let mut handler = handler("approve: [lab_echo]", model);
    let told = Told::default();
    let tools = |_: &str, input: Value| -> BoxFuture<'static, Result<Value, Problem>> {
        Box::pin(ready(Ok(json!({ "with": input }))))
    };
    let mut turn = Turn::detached("a".parse().unwrap()).with_tools_and_told(tools, Arc::clone(&told));
    let hearer = Address::Caller(live::hearing(Label::of("me")));
    let to: Address = "a".parse().unwrap();
    let asked = Draft::new(Performative::Request, to).text("x").reply_with(Label::of("r")).from(hearer);
    handle(&mut handler, &mut turn, asked).await.unwrap();
    let id = told.lock().unwrap()[0]["approval"]["id"].as_str().unwrap().to_owned();
    handle(&mut handler, &mut turn, decision(&id, true)).await.unwrap();
    let told = told.lock().unwrap().clone();
    let events: Vec<&str> = told.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["approval", "tool", "tool_result", "text"]);
    assert_eq!(told[1]["input"], json!({ "x": 1 }));
    assert!(told[2]["duration_ms"].is_u64() && told[2].get("error").is_none());
    assert_eq!((&told[3]["text"], &told[3]["step"]), (&json!("done"), &json!(2)));
    // Nobody else is told anything.
    let told = Told::default();
    let (model, _) = self::model(vec![says("done")]);
    let mut turn = Turn::detached("a".parse().unwrap()).with_tools_and_told(tools, Arc::clone(&told));
    let mut handler = self::handler("", model);
    handle(&mut handler, &mut turn, ask("x")).await.unwrap();
    assert!(told.lock().unwrap().is_empty());
}
