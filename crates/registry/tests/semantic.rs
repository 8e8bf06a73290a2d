//! Finding servers by what they mean, with a model that knows a few concepts and fails when it is told to.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test says what it found by panicking"
)]

mod support;

use std::sync::{Arc, Mutex};

use axum::http::{Method, StatusCode};
use futures_util::future::BoxFuture;
use paddock_registry::{Embed, EmbedError, EmbedRequest, RegistryOptions};
use serde_json::{Value, json};
use support::{ServersFile, TestRegistry, eventually, server};

/// Words that mean the same.
const CONCEPTS: [&[&str]; 3] = [
    &["weather", "forecast", "umbrella", "rain"],
    &["database", "sql", "rows"],
    &["mail", "letter", "inbox"],
];
const MODEL: &str = "[embeddings]\nmodel = \"concepts\"\nbatch_max = 2\n";

/// How the model behaves.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Works,
    Fails,
    Hangs,
    /// Gives vectors of another length to each text.
    Babbles,
}

/// A model, and what it was asked.
struct Concepts {
    mood: Mutex<Mood>,
    asked: Mutex<Vec<Vec<String>>>,
}

impl Concepts {
    fn new() -> Arc<Self> {
        Arc::new(Self { mood: Mutex::new(Mood::Works), asked: Mutex::default() })
    }

    fn be(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// What it was asked since the last time.
    fn asked(&self) -> Vec<Vec<String>> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    /// One number for each concept, and a little of its own for each text.
    fn vector(text: &str) -> Vec<f32> {
        let has = |words: &[&str]| if words.iter().any(|word| text.contains(word)) { 1.0 } else { 0.0 };
        let mut vector: Vec<f32> = CONCEPTS.iter().map(|words| has(words)).collect();
        vector.push(0.1);
        vector
    }
}

impl Embed for Concepts {
    fn embed(&self, request: EmbedRequest) -> BoxFuture<'_, Result<Vec<Vec<f32>>, EmbedError>> {
        assert_eq!(request.model, "concepts");
        let mood = *self.mood.lock().unwrap();
        let mut vectors: Vec<Vec<f32>> = request.texts.iter().map(|text| Self::vector(text)).collect();
        self.asked.lock().unwrap().push(request.texts);
        Box::pin(async move {
            match mood {
                Mood::Works => {}
                Mood::Fails => return Err(EmbedError("the model is out of order".to_owned())),
                Mood::Hangs => std::future::pending::<()>().await,
                Mood::Babbles => {
                    vectors.iter_mut().enumerate().for_each(|(place, it)| it.truncate(place + 1));
                }
            }
            Ok(vectors)
        })
    }
}

fn described(name: &str, description: &str) -> Value {
    let mut server = server(name, "1.0.0");
    server["description"] = description.into();
    server
}

fn servers() -> Vec<Value> {
    vec![
        described("io.example/meteo", "Forecast for tomorrow"),
        described("io.example/pg", "Reads rows by SQL"),
        described("io.example/post", "Sorts your inbox"),
        described("io.example/other", "Does something else"),
        described("io.example/umbrella", "Sells parasols"),
    ]
}

fn options(file: &ServersFile, more: &str) -> RegistryOptions {
    toml::from_str(&format!("{}{more}", file.source("files"))).unwrap()
}

async fn search(test: &TestRegistry, body: Value) -> Value {
    let answer = test.send(Method::POST, "/registry/search", &body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
    answer.json()
}

fn names(found: &Value) -> Vec<&str> {
    let hits = found["hits"].as_array().unwrap();
    hits.iter().map(|hit| hit["name"].as_str().unwrap().trim_start_matches("io.example/")).collect()
}

/// Waits until so many servers are embedded and none is missing.
async fn embedded(test: &TestRegistry, count: usize) {
    eventually("the servers are embedded", async || {
        let status = test.get("/registry/status").await.json()["semantic"].clone();
        (status["embedded"] == count && status["missing"] == 0).then_some(())
    })
    .await;
}

/// A registry whose servers are embedded.
async fn start(file: &ServersFile, model: &Arc<Concepts>) -> TestRegistry {
    let test = TestRegistry::start(options(file, MODEL)).await;
    test.sync("files").await;
    test.registry.embed_with(Arc::clone(model) as Arc<dyn Embed>);
    embedded(&test, 5).await;
    test
}

#[tokio::test]
async fn what_means_the_same_is_found_without_its_words() {
    let (file, model) = (ServersFile::new(&servers()), Concepts::new());
    let test = start(&file, &model).await;
    let found = search(&test, json!({"query": "letter"})).await;
    assert_eq!((names(&found), &found["semantic"]), (vec!["post"], &json!("used")));
    let found = search(&test, json!({"query": "umbrella"})).await;
    assert_eq!(names(&found), ["umbrella", "meteo"], "who says it and means it comes first");
    let found = search(&test, json!({"query": "umbrella", "words_only": true})).await;
    assert_eq!((names(&found), &found["semantic"]), (vec!["umbrella"], &json!("off")));
    let found = search(&test, json!({"query": "letter", "sources": ["no such source"]})).await;
    assert_eq!(found["total"], 0, "what a search is narrowed by holds for both");
    let found = search(&test, json!({"query": ""})).await;
    assert_eq!((&found["total"], &found["semantic"]), (&json!(5), &json!("off")));
}

#[tokio::test]
async fn servers_are_embedded_in_batches_once_and_again_when_they_say_something_else() {
    let (mut all, model) = (servers(), Concepts::new());
    let file = ServersFile::new(&all);
    let test = start(&file, &model).await;
    let batches: Vec<usize> = model.asked().iter().map(Vec::len).collect();
    assert_eq!(batches, [2, 2, 1]);
    all[3] = described("io.example/other", "Writes letters");
    file.write(&all);
    test.sync("files").await;
    eventually("the change is embedded", async || {
        names(&search(&test, json!({"query": "mail"})).await).contains(&"other").then_some(())
    })
    .await;
    let texts: Vec<String> = model.asked().concat().into_iter().filter(|text| text != "mail").collect();
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert!(texts[0].contains("writes letters"));

    let test = TestRegistry::start_on(test.stop().await, options(&file, MODEL)).await;
    test.registry.embed_with(Arc::clone(&model) as Arc<dyn Embed>);
    embedded(&test, 5).await;
    assert_eq!(model.asked().len(), 0, "the store has them");
    let found = search(&test, json!({"query": "inbox"})).await;
    assert_eq!(found["semantic"], "used");
}

#[tokio::test]
async fn a_model_that_fails_or_hangs_leaves_the_words() {
    for mood in [Mood::Fails, Mood::Hangs] {
        let (file, model) = (ServersFile::new(&servers()), Concepts::new());
        let test = start(&file, &model).await;
        model.be(mood);
        let found = search(&test, json!({"query": "umbrella"})).await;
        assert_eq!((names(&found), &found["semantic"]), (vec!["umbrella"], &json!("unavailable")));
        model.asked();
        search(&test, json!({"query": "umbrella"})).await;
        assert_eq!(model.asked().len(), 0, "it is left alone for a while");
    }
}

#[tokio::test]
async fn a_model_that_embeds_nothing_says_why_in_the_status() {
    for (mood, reason) in [(Mood::Fails, "out of order"), (Mood::Babbles, "different lengths")] {
        let (file, model) = (ServersFile::new(&servers()), Concepts::new());
        model.be(mood);
        let test = TestRegistry::start(options(&file, MODEL)).await;
        test.sync("files").await;
        test.registry.embed_with(Arc::clone(&model) as Arc<dyn Embed>);
        let status = eventually("the failure is told", async || {
            let status = test.get("/registry/status").await.json()["semantic"].clone();
            status["error"].is_string().then_some(status)
        })
        .await;
        assert!(status["error"].as_str().unwrap().contains(reason), "{status}");
        assert_eq!((&status["embedded"], &status["missing"]), (&json!(0), &json!(5)));
        let found = search(&test, json!({"query": "umbrella"})).await;
        assert_eq!((names(&found), &found["semantic"]), (vec!["umbrella"], &json!("unavailable")));
    }
}

#[tokio::test]
async fn without_a_model_servers_are_found_by_words_alone() {
    let (file, model) = (ServersFile::new(&servers()), Concepts::new());
    let test = TestRegistry::start(options(&file, "")).await;
    test.sync("files").await;
    test.registry.embed_with(Arc::clone(&model) as Arc<dyn Embed>);
    let found = search(&test, json!({"query": "umbrella"})).await;
    assert_eq!((names(&found), &found["semantic"]), (vec!["umbrella"], &json!("off")));
    assert_eq!(test.get("/registry/status").await.json()["semantic"], Value::Null);
    // The options are followed: with a model, servers are found by it without a restart.
    test.options.replace(options(&file, MODEL));
    embedded(&test, 5).await;
    assert_eq!(names(&search(&test, json!({"query": "letter"})).await), ["post"]);
    assert!(model.asked().len() >= 3);
}

#[tokio::test]
async fn only_so_many_servers_are_embedded_as_may_be() {
    let (file, model) = (ServersFile::new(&servers()), Concepts::new());
    let test = TestRegistry::start(options(&file, &format!("{MODEL}servers_max = 2\n"))).await;
    test.sync("files").await;
    test.registry.embed_with(Arc::clone(&model) as Arc<dyn Embed>);
    embedded(&test, 2).await;
    assert_eq!(model.asked().concat().len(), 2);
    let found = search(&test, json!({"query": "umbrella"})).await;
    assert!(names(&found).contains(&"umbrella"), "the others are found by their words");
}
