//! Embeddings, for those who ask from within.

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use http::HeaderMap;
use http_body_util::BodyExt;
use paddock_platform::{identity::Caller, problem::Problem};
use serde::Deserialize;
use serde_json::json;

use super::{Gateway, complete::refused};
use crate::{dialect::Api, error::PROVIDER_FAILED};

/// Texts whose embeddings are wanted.
#[derive(Clone, Debug)]
pub struct EmbedInput {
    /// The model, as callers name models.
    pub model: String,
    /// The texts.
    pub texts: Vec<String>,
    /// How many numbers each embedding is to have, of models that can choose; otherwise the model's own number.
    pub dimensions: Option<u32>,
}

#[derive(Deserialize)]
struct Answer {
    data: Vec<Embedding>,
}

#[derive(Deserialize)]
struct Embedding {
    #[serde(default)]
    index: usize,
    embedding: Vec<f32>,
}

impl Gateway {
    /// The embeddings of texts, in their order, by a call of the caller's like any other: routed, limited, counted, cached.
    pub fn embed(
        &self,
        caller: &Caller,
        input: EmbedInput,
    ) -> BoxFuture<'static, Result<Vec<Vec<f32>>, Problem>> {
        let (gateway, caller) = (self.clone(), caller.clone());
        async move {
            let count = input.texts.len();
            let mut body = json!({"model": input.model, "input": input.texts, "encoding_format": "float"});
            if let Some(dimensions) = input.dimensions {
                body["dimensions"] = dimensions.into();
            }
            let body = Bytes::from(body.to_string());
            let response = gateway.serve(Api::Embeddings, &caller, HeaderMap::new(), body).await;
            let (parts, body) = response.into_parts();
            let body = body.collect().await;
            let body = body.map_err(|error| Problem::internal("reading an answer", &error))?.to_bytes();
            if !parts.status.is_success() {
                return Err(refused(&parts, &body));
            }
            read(&body, count)
                .ok_or_else(|| Problem::new(PROVIDER_FAILED, "the model gave no embedding for each text"))
        }
        .boxed()
    }
}

/// The vectors of an answer, in the order of their texts.
fn read(body: &[u8], count: usize) -> Option<Vec<Vec<f32>>> {
    let Answer { mut data } = serde_json::from_slice(body).ok()?;
    data.sort_by_key(|embedding| embedding.index);
    (data.len() == count).then(|| data.into_iter().map(|embedding| embedding.embedding).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_come_in_the_order_of_their_texts_or_not_at_all() {
        let body = br#"{"data": [{"index": 1, "embedding": [2]}, {"index": 0, "embedding": [1, 0.5]}]}"#;
        assert_eq!(read(body, 2), Some(vec![vec![1.0, 0.5], vec![2.0]]));
        assert_eq!(read(body, 3), None);
        for other in ["", "{}", r#"{"data": [{"embedding": "AAAA"}]}"#] {
            assert_eq!(read(other.as_bytes(), 1), None, "{other}");
        }
    }
}
