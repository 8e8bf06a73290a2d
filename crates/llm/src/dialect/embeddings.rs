//! Embeddings: OpenAI's in, OpenAI's and Gemini's out.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{
    chat::garbage,
    json::{object, take, take_count, take_text, take_texts},
    usage::Usage,
};
use crate::error::LlmError;

/// A request for embeddings.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Request {
    pub(crate) texts: Vec<String>,
    pub(crate) dimensions: Option<u64>,
    /// Whether the vectors are wanted in base64, as OpenAI's SDKs do.
    pub(crate) base64: bool,
}

/// Reads OpenAI's request.
pub(crate) fn read_request(body: Value) -> Result<Request, LlmError> {
    let mut members = object(body, "body")?;
    Ok(Request {
        texts: take_texts(&mut members, "input")
            .map_err(|_| LlmError::untranslatable("input", "must be a text or an array of texts here"))?,
        dimensions: take_count(&mut members, "dimensions")?,
        base64: take_text(&mut members, "encoding_format")?.as_deref() == Some("base64"),
    })
}

/// Writes Gemini's request.
pub(crate) fn write_gemini(request: &Request, model: &str) -> Value {
    let requests: Vec<Value> = request
        .texts
        .iter()
        .map(|text| {
            let mut one = json!({"model": format!("models/{model}"), "content": {"parts": [{"text": text}]}});
            if let Some(dimensions) = request.dimensions {
                one["outputDimensionality"] = json!(dimensions);
            }
            one
        })
        .collect();
    json!({"requests": requests})
}

/// Reads Gemini's request.
pub(crate) fn read_gemini(body: Value) -> Result<Request, LlmError> {
    let mut members = object(body, "body")?;
    let requests = take(&mut members, "requests").unwrap_or_default();
    let requests = requests.as_array().cloned().unwrap_or_default();
    let text = |one: &Value| one["content"]["parts"][0]["text"].as_str().unwrap_or_default().to_owned();
    Ok(Request {
        texts: requests.iter().map(text).collect(),
        dimensions: requests.first().and_then(|one| one["outputDimensionality"].as_u64()),
        base64: false,
    })
}

/// Reads Gemini's vectors.
pub(crate) fn read_gemini_answer(body: &Value) -> Result<Vec<Vec<f32>>, LlmError> {
    let vector = |one: &Value| {
        let values = one["values"].as_array()?;
        values.iter().map(|number| number.as_f64().map(|number| number as f32)).collect::<Option<Vec<f32>>>()
    };
    let all = body["embeddings"].as_array().ok_or_else(garbage)?;
    all.iter().map(vector).collect::<Option<Vec<_>>>().ok_or_else(garbage)
}

/// Writes Gemini's answer.
pub(crate) fn write_gemini_answer(vectors: &[Vec<f32>]) -> Value {
    let embeddings: Vec<Value> = vectors.iter().map(|values| json!({"values": values})).collect();
    json!({"embeddings": embeddings})
}

/// Writes OpenAI's answer.
pub(crate) fn write_answer(vectors: &[Vec<f32>], base64: bool, model: &str, usage: Usage) -> Value {
    let data: Vec<Value> = vectors
        .iter()
        .enumerate()
        .map(|(index, vector)| {
            let embedding = if base64 {
                let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
                json!(STANDARD.encode(bytes))
            } else {
                json!(vector)
            };
            json!({"object": "embedding", "index": index, "embedding": embedding})
        })
        .collect();
    json!({
        "object": "list", "data": data, "model": model,
        "usage": {"prompt_tokens": usage.input, "total_tokens": usage.input},
    })
}
