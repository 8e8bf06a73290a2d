//! Embeddings for the rest of Paddock.

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::BodyExt;
use paddock_platform::{identity::Caller, problem::Problem};
use serde_json::{Value, json};

use super::{Gateway, complete::refused};
use crate::{dialect::Api, error::PROVIDER_FAILED};

impl Gateway {
    /// The embeddings of texts, in their order, as a call over HTTP would give them: with the same routes, limits and records.
    pub async fn embed(
        &self,
        caller: &Caller,
        model: &str,
        texts: &[String],
    ) -> Result<Vec<Vec<f32>>, Problem> {
        let body = json!({"model": model, "input": texts, "encoding_format": "float"});
        let body = Bytes::from(body.to_string());
        let response = self.serve(Api::Embeddings, caller, HeaderMap::new(), body).await;
        let (parts, body) = response.into_parts();
        let bytes =
            body.collect().await.map_err(|error| Problem::internal("reading an answer", &error))?.to_bytes();
        if !parts.status.is_success() {
            return Err(refused(&parts, &bytes));
        }
        let answer: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        vectors_of(&answer, texts.len())
            .ok_or_else(|| Problem::new(PROVIDER_FAILED, "the model did not embed what it was asked to"))
    }
}

/// One vector for each text, wherever in the answer it is.
fn vectors_of(answer: &Value, count: usize) -> Option<Vec<Vec<f32>>> {
    let mut vectors: Vec<Option<Vec<f32>>> = vec![None; count];
    for (place, one) in answer["data"].as_array()?.iter().enumerate() {
        let index = one["index"].as_u64().and_then(|index| usize::try_from(index).ok()).unwrap_or(place);
        let numbers = one["embedding"].as_array()?.iter();
        let vector = numbers.map(|number| number.as_f64().map(|number| number as f32)).collect::<Option<_>>();
        *vectors.get_mut(index)? = vector;
    }
    vectors.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_has_its_vector_or_there_are_none() {
        let one = |index: u64, number: f32| json!({"index": index, "embedding": [number]});
        let answer = json!({"data": [one(1, 0.5), one(0, 2.0)]});
        assert_eq!(vectors_of(&answer, 2), Some(vec![vec![2.0], vec![0.5]]));
        assert_eq!(vectors_of(&answer, 3), None);
        assert_eq!(vectors_of(&answer, 1), None);
        assert_eq!(vectors_of(&json!({"data": [{"index": 0, "embedding": "AAA="}]}), 1), None);
        assert_eq!(vectors_of(&json!({}), 0), None);
    }
}
