//! Answers to questions that were asked in other words.
//!
//! Two requests answer one another if they differ in what the user says last alone, and that is near by the embeddings of a
//! model that the configuration names. The embedding is a call of the caller's like any other: routed, limited, counted,
//! and cached. Where it fails, the question is answered as if there were no such cache.

mod index;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::response::Response;
use futures_util::{FutureExt, future::BoxFuture};
use http::{HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;

use index::{Bounds, Bucket, Index, Match};

use super::{
    Gateway,
    cache::{IRRELEVANT, Kept, X_CACHE},
    call::Call,
};
use crate::{config::CacheOptions, dialect::Api};

/// Says of an answer from this cache which question it is the answer to.
const X_CACHE_MATCH: HeaderName = HeaderName::from_static("x-paddock-cache-match");
/// Questions of one bucket: each is looked at.
const BUCKET_ENTRIES_MAX: usize = 256;
/// A longer question is not compared: models cut what they embed.
const QUESTION_MAX: usize = 8 << 10;

/// A cache of answers to questions that are alike. It answers what was not asked: only those who choose it are given its
/// answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SemanticOptions {
    /// The model whose embeddings tell how near two questions are, as callers name models. Empty: there is none.
    pub model: String,
    /// How near a question must be, from 0 to 1, the same: the cosine of both embeddings.
    pub threshold: f64,
    /// Whether every call takes part, and not only those with `X-Paddock-Cache: semantic`.
    pub always: bool,
    /// Questions that are kept, of all tenants together; the oldest go first.
    pub entries_max: usize,
}

impl Default for SemanticOptions {
    fn default() -> Self {
        Self { model: String::new(), threshold: 0.95, always: false, entries_max: 10_000 }
    }
}

/// The cache.
#[derive(Debug)]
pub(super) struct Semantic {
    options: SemanticOptions,
    index: Mutex<Index<Arc<Kept>>>,
}

/// A question that may be answered by another's answer, or become one that answers others.
#[derive(Debug)]
pub(super) struct Asked {
    semantic: Arc<Semantic>,
    bucket: Bucket,
    vector: Vec<f32>,
}

impl Semantic {
    /// The cache of a configuration, if it has one.
    pub(super) fn new(options: &CacheOptions) -> Option<Arc<Self>> {
        let semantic = &options.semantic;
        if semantic.model.is_empty() || options.ttl.get().is_zero() {
            return None;
        }
        let bounds = Bounds {
            ttl: options.ttl.get(),
            entries_max: semantic.entries_max,
            bucket_entries_max: BUCKET_ENTRIES_MAX,
            weight_max: options.weight_max.as_usize(),
        };
        Some(Arc::new(Self { options: semantic.clone(), index: Mutex::new(Index::new(bounds)) }))
    }

    /// Whether a call takes part.
    fn is_chosen(&self, call: &Call) -> bool {
        (self.options.always || call.header(X_CACHE) == Some("semantic")) && !call.facts.needs.tools
    }
}

impl Gateway {
    /// What a call asks, as far as it is compared.
    pub(super) async fn asked(&self, semantic: Option<&Arc<Semantic>>, call: &Call) -> Option<Asked> {
        let semantic = semantic.filter(|semantic| semantic.is_chosen(call))?;
        let (bucket, question) = question_of(call)?;
        let vector = self.embed_question(call, &semantic.options.model, &question).await?;
        Some(Asked { semantic: Arc::clone(semantic), bucket, vector })
    }

    /// The embedding of a text, by a call of the same caller.
    fn embed_question(&self, call: &Call, model: &str, text: &str) -> BoxFuture<'static, Option<Vec<f32>>> {
        let (gateway, caller) = (self.clone(), call.caller.clone());
        let (model, texts) = (model.to_owned(), [text.to_owned()]);
        async move {
            match gateway.embed(&caller, &model, &texts).await {
                Ok(vectors) => vectors.into_iter().next(),
                Err(problem) => {
                    let error = problem.detail;
                    tracing::debug!(
                        error,
                        "a question could not be embedded; it is answered without the semantic cache"
                    );
                    None
                }
            }
        }
        .boxed()
    }
}

impl Asked {
    /// The answer to the nearest question, if that is near enough.
    pub(super) fn nearest(&self) -> Option<Near> {
        let index = self.semantic.index.lock().unwrap_or_else(PoisonError::into_inner);
        let threshold = self.semantic.options.threshold;
        let found = index.nearest(&self.bucket, &self.vector, threshold as f32, Instant::now())?;
        Some(Near { found, threshold, model: self.semantic.options.model.clone() })
    }

    /// Keeps its answer for others.
    pub(super) fn keep(self, kept: &Arc<Kept>) {
        let mut index = self.semantic.index.lock().unwrap_or_else(PoisonError::into_inner);
        index.insert(self.bucket, &self.vector, Arc::clone(kept), kept.body.len(), Instant::now());
    }
}

/// Another question's answer.
pub(super) struct Near {
    found: Match<Arc<Kept>>,
    threshold: f64,
    model: String,
}

impl Near {
    pub(super) const fn kept(&self) -> &Arc<Kept> {
        &self.found.answer
    }

    /// Says in the answer whose it is.
    pub(super) fn write_header(&self, response: &mut Response) {
        let Match { similarity, age, id, .. } = &self.found;
        let age = Duration::as_secs(age);
        let text = format!(
            "similarity={similarity:.4}; threshold={}; age={age}; entry={id}; model={}",
            self.threshold, self.model
        );
        if let Ok(value) = HeaderValue::try_from(text) {
            response.headers_mut().insert(X_CACHE_MATCH, value);
        }
    }
}

/// What the user says last, and the bucket of everything else.
fn question_of(call: &Call) -> Option<(Bucket, String)> {
    let mut body: Value = serde_json::from_slice(&call.body).ok()?;
    let question = take_question(call.api, &mut body)?;
    if question.trim().is_empty() || question.len() > QUESTION_MAX {
        return None;
    }
    let members = body.as_object_mut()?;
    for name in IRRELEVANT {
        members.remove(name);
    }
    let mut hasher = blake3::Hasher::new();
    for part in [call.tenant.as_bytes(), call.api.path().as_bytes(), body.to_string().as_bytes()] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.update(&[u8::from(call.facts.include_usage)]);
    Some((*hasher.finalize().as_bytes(), question))
}

/// Takes the last words of the user out of a body; none if they are not words alone.
fn take_question(api: Api, body: &mut Value) -> Option<String> {
    if !body.is_object() {
        return None;
    }
    let last = |turns: &mut Value| {
        let turn = turns.as_array_mut()?.last_mut()?;
        if turn["role"] != "user" {
            return None;
        }
        take_text(&mut turn["content"])
    };
    match api {
        Api::Chat | Api::Messages => last(&mut body["messages"]),
        Api::Completions => take_text(&mut body["prompt"]),
        Api::Responses if body["input"].is_string() => take_text(&mut body["input"]),
        Api::Responses => last(&mut body["input"]),
        Api::Embeddings | Api::CountTokens => None,
    }
}

fn take_text(content: &mut Value) -> Option<String> {
    match content {
        Value::String(text) => Some(std::mem::take(text)),
        Value::Array(parts) => {
            let text = |part: &mut Value| {
                let is_text = matches!(part["type"].as_str(), Some("text" | "input_text"));
                let Value::String(text) = part.get_mut("text").filter(|_| is_text)? else { return None };
                Some(std::mem::take(text))
            };
            parts.iter_mut().map(text).collect::<Option<Vec<String>>>().map(|texts| texts.join("\n"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_words_of_the_user_are_the_question() {
        let take = |api, body: Value| {
            let mut body = body;
            take_question(api, &mut body).map(|question| (question, body))
        };
        let said = |content: Value| json!({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": content}]});
        assert_eq!(take(Api::Chat, said(json!("hello"))), Some(("hello".to_owned(), said(json!("")))));
        let parts = json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]);
        assert_eq!(take(Api::Messages, said(parts)).unwrap().0, "a\nb");
        let picture =
            json!([{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "x"}}]);
        assert_eq!(take(Api::Chat, said(picture)), None);
        assert_eq!(take(Api::Chat, json!({"messages": [{"role": "assistant", "content": "a"}]})), None);
        assert_eq!(take(Api::Responses, json!({"input": "hi"})).unwrap().0, "hi");
        let turns = json!({"input": [{"role": "user", "content": [{"type": "input_text", "text": "hi"}]}]});
        assert_eq!(take(Api::Responses, turns).unwrap().0, "hi");
        assert_eq!(take(Api::Completions, json!({"prompt": "once"})).unwrap().0, "once");
        assert_eq!(take(Api::Embeddings, json!({"input": "a"})), None);
        for odd in [json!({}), json!([]), json!({"messages": {}}), json!({"messages": [7]})] {
            assert_eq!(take(Api::Chat, odd), None);
        }
    }
}
