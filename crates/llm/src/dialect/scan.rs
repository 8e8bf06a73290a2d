//! What routing needs of a request body, found in one pass and without a tree of it.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Api;
use crate::error::{ErrorKind, LlmError};

/// A picture counts as so many tokens: what the vendors charge for a usual one.
const IMAGE_TOKENS: u64 = 800;
/// What says that a picture comes, by its address.
const PICTURE_SIGNS: [&[u8]; 3] = [b"\"image_url\":", b"\"input_image\"", b"\"type\":\"image\""];
/// A text without a space in so many bytes is data.
const ENCODED_MIN: usize = 256;
/// Bytes of text in a token, on average.
const BYTES_PER_TOKEN: u64 = 4;

/// Members at the top of a request that matter here. Whatever else there is passes unseen; the whole body is checked to
/// be JSON on the way, and a member that comes twice is refused: two readers might take different ones.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    model: Option<&'a RawValue>,
    #[serde(borrow, default)]
    stream: Option<&'a RawValue>,
    #[serde(borrow, default)]
    stream_options: Option<&'a RawValue>,
    #[serde(borrow, default)]
    max_tokens: Option<&'a RawValue>,
    #[serde(borrow, default)]
    max_completion_tokens: Option<&'a RawValue>,
    #[serde(borrow, default)]
    max_output_tokens: Option<&'a RawValue>,
    #[serde(borrow, default)]
    messages: Option<&'a RawValue>,
    #[serde(borrow, default)]
    input: Option<&'a RawValue>,
    #[serde(borrow, default)]
    prompt: Option<&'a RawValue>,
    #[serde(borrow, default)]
    system: Option<&'a RawValue>,
    #[serde(borrow, default)]
    instructions: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tools: Option<&'a RawValue>,
    #[serde(borrow, default)]
    response_format: Option<&'a RawValue>,
    #[serde(borrow, default)]
    text: Option<&'a RawValue>,
    #[serde(borrow, default)]
    user: Option<&'a RawValue>,
    #[serde(borrow, default)]
    prompt_cache_key: Option<&'a RawValue>,
    #[serde(borrow, default)]
    metadata: Option<&'a RawValue>,
    #[serde(borrow, default)]
    previous_response_id: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

#[derive(Deserialize)]
struct Metadata<'a> {
    #[serde(borrow, default)]
    user_id: Option<&'a RawValue>,
}

/// What a model must be able to do for a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    pub(crate) tools: bool,
    pub(crate) vision: bool,
    pub(crate) json: bool,
}

/// What was found.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// The model as the caller names it.
    pub(crate) model: String,
    /// Where its value stands in the body, quotes included.
    model_span: Range<usize>,
    pub(crate) stream: bool,
    /// Where `stream_options` stands, if it is there.
    stream_options: Option<Range<usize>>,
    /// Whether the caller wants the usage at the end of a stream of chat completions.
    pub(crate) include_usage: bool,
    pub(crate) needs: Needs,
    /// Estimate of what is sent.
    pub(crate) tokens_in: u64,
    /// The most that may be answered, if the caller says so.
    pub(crate) tokens_out_max: Option<u64>,
    /// What stays the same through a conversation: for routes that stick to one provider.
    pub(crate) conversation: u64,
    /// Whether it continues a response that the provider keeps.
    pub(crate) continues: bool,
}

/// Reads the facts of a request.
pub(crate) fn scan(api: Api, body: &[u8]) -> Result<Facts, LlmError> {
    if body.trim_ascii_start().first() == Some(&b'[') {
        return Err(LlmError::new(
            ErrorKind::InvalidRequest,
            "the body is not a request: it must be an object",
        ));
    }
    let envelope: Envelope<'_> = serde_json::from_slice(body).map_err(|error| refused(body, &error))?;
    let raw_model = envelope.model.ok_or_else(|| missing("model"))?;
    let model: String = serde_json::from_str(raw_model.get())
        .map_err(|_| LlmError::invalid("model", "must be a text, the name of a model"))?;
    if model.is_empty() || model.len() > 256 || model.chars().any(char::is_control) {
        return Err(LlmError::invalid(
            "model",
            "must have 1 to 256 characters, none of them control characters",
        ));
    }
    let content = match api {
        Api::Chat | Api::Messages | Api::CountTokens => {
            envelope.messages.ok_or_else(|| missing("messages"))?
        }
        Api::Completions => envelope.prompt.ok_or_else(|| missing("prompt"))?,
        Api::Embeddings => envelope.input.ok_or_else(|| missing("input"))?,
        Api::Responses => match (envelope.input, envelope.prompt) {
            (Some(input), _) | (None, Some(input)) => input,
            (None, None) => return Err(missing("input")),
        },
    };
    let stream = boolean(envelope.stream, "stream")?;
    let options = envelope.stream_options.filter(|raw| raw.get() != "null");
    let include_usage = match options {
        Some(raw) => {
            serde_json::from_str::<StreamOptions>(raw.get())
                .map_err(|_| LlmError::invalid("stream_options", "must be an object"))?
                .include_usage
        }
        None => false,
    };
    let (text_bytes, images) = weigh(content.get().as_bytes());
    let extras = [envelope.system, envelope.instructions, envelope.tools];
    let extra_bytes: u64 = extras.iter().flatten().map(|raw| raw.get().len() as u64).sum();
    let limit = envelope.max_completion_tokens.or(envelope.max_tokens).or(envelope.max_output_tokens);
    Ok(Facts {
        model,
        model_span: span_of(body, raw_model),
        stream,
        stream_options: options.map(|raw| span_of(body, raw)),
        include_usage,
        needs: Needs {
            tools: envelope.tools.is_some_and(|raw| !matches!(raw.get(), "null" | "[]")),
            vision: images > 0,
            json: wants_json(envelope.response_format) || wants_json(envelope.text),
        },
        tokens_in: (text_bytes + extra_bytes).div_ceil(BYTES_PER_TOKEN) + images * IMAGE_TOKENS,
        tokens_out_max: number(limit)?,
        conversation: conversation(&envelope, content),
        continues: envelope.previous_response_id.is_some_and(|raw| raw.get() != "null"),
    })
}

fn missing(field: &'static str) -> LlmError {
    LlmError::invalid(field, "is missing")
}

/// Says what is wrong with a body, without repeating it.
fn refused(body: &[u8], error: &serde_json::Error) -> LlmError {
    let detail = if std::str::from_utf8(body).is_err() {
        "the body is not UTF-8".to_owned()
    } else if error.is_data() {
        let text = error.to_string();
        let reason = text.split(" at line").next().unwrap_or_default();
        format!("the body is not a request: {reason}")
    } else {
        format!("the body is not JSON: line {} column {}", error.line(), error.column())
    };
    LlmError::new(ErrorKind::InvalidRequest, detail)
}

/// Where a value stands in the body that it borrows from.
fn span_of(body: &[u8], raw: &RawValue) -> Range<usize> {
    let start = (raw.get().as_ptr() as usize).saturating_sub(body.as_ptr() as usize);
    start..start + raw.get().len()
}

fn boolean(raw: Option<&RawValue>, field: &'static str) -> Result<bool, LlmError> {
    match raw.map(RawValue::get) {
        None | Some("null" | "false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(LlmError::invalid(field, "must be true or false")),
    }
}

fn number(raw: Option<&RawValue>) -> Result<Option<u64>, LlmError> {
    match raw.map(RawValue::get) {
        None | Some("null") => Ok(None),
        Some(text) => text
            .parse()
            .map(Some)
            .map_err(|_| LlmError::invalid("max_tokens", "must be a whole number, zero or more")),
    }
}

fn wants_json(raw: Option<&RawValue>) -> bool {
    raw.is_some_and(|raw| memchr::memmem::find(raw.get().as_bytes(), b"json_").is_some())
}

/// Bytes of text in a value, and pictures; what is encoded in base64 is a picture and not text.
fn weigh(value: &[u8]) -> (u64, u64) {
    let (mut encoded, mut pictures, mut at) = (0, 0_u64, 0);
    while let Some(open) = memchr::memchr(b'"', &value[at..]) {
        let start = at + open + 1;
        let end = end_of_text(value, start);
        if is_encoded(&value[start..end]) {
            encoded += (end - start) as u64;
            pictures += 1;
        }
        at = (end + 1).min(value.len());
    }
    let named = PICTURE_SIGNS.iter().map(|sign| memchr::memmem::find_iter(value, sign).count() as u64);
    (value.len() as u64 - encoded, pictures.max(named.sum()))
}

/// Where a text of JSON ends that begins after its quote.
fn end_of_text(value: &[u8], start: usize) -> usize {
    let mut at = start;
    while let Some(found) = memchr::memchr2(b'"', b'\\', &value[at..]) {
        if value[at + found] == b'"' {
            return at + found;
        }
        at = (at + found + 2).min(value.len());
    }
    value.len()
}

/// Whether a text is data in base64: long, and of nothing else where it begins.
fn is_encoded(text: &[u8]) -> bool {
    let data = match memchr::memmem::find(&text[..text.len().min(100)], b";base64,") {
        Some(comma) => &text[comma + 8..],
        None => text,
    };
    let of_base64 =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'-' | b'_');
    data.len() >= ENCODED_MIN && data[..ENCODED_MIN].iter().all(of_base64)
}

/// What the caller calls the conversation, or else how it began.
fn conversation(envelope: &Envelope<'_>, content: &RawValue) -> u64 {
    let named = envelope.prompt_cache_key.or(envelope.user).or_else(|| {
        let metadata = serde_json::from_str::<Metadata<'_>>(envelope.metadata?.get()).ok()?;
        metadata.user_id
    });
    let begun = named.map_or_else(|| content.get(), RawValue::get).as_bytes();
    let hash = blake3::hash(&begun[..begun.len().min(512)]);
    u64::from_le_bytes(hash.as_bytes()[..8].try_into().unwrap_or_default())
}

impl Facts {
    /// The body with another model, and with `stream_options.include_usage` where `with_usage` asks for it: bytes are
    /// replaced, nothing is parsed or written again.
    pub(crate) fn splice(&self, body: &Bytes, model: &str, with_usage: bool) -> Bytes {
        let quoted = serde_json::to_string(model).unwrap_or_default();
        let mut edits: Vec<(Range<usize>, String)> = Vec::with_capacity(2);
        if body.get(self.model_span.clone()) != Some(quoted.as_bytes()) {
            edits.push((self.model_span.clone(), quoted));
        }
        if with_usage && !self.include_usage {
            if let Some(span) = &self.stream_options {
                edits.push((span.clone(), r#"{"include_usage":true}"#.to_owned()));
            } else {
                let after_model = self.model_span.end..self.model_span.end;
                edits.push((after_model, r#","stream_options":{"include_usage":true}"#.to_owned()));
            }
        }
        if edits.is_empty() {
            return body.clone();
        }
        edits.sort_by_key(|(span, _)| (span.start, span.end));
        let grown: usize = edits.iter().map(|(_, text)| text.len()).sum();
        let mut spliced = BytesMut::with_capacity(body.len() + grown);
        let mut copied = 0;
        for (span, text) in edits {
            spliced.extend_from_slice(&body[copied..span.start]);
            spliced.extend_from_slice(text.as_bytes());
            copied = span.end;
        }
        spliced.extend_from_slice(&body[copied..]);
        spliced.freeze()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn facts(body: &Value) -> Facts {
        scan(Api::Chat, body.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn a_request_is_understood_without_a_tree_of_it() {
        let found = facts(&json!({
            "model": "fast", "stream": true, "max_completion_tokens": 20,
            "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://a"}}]}],
            "tools": [{}], "response_format": {"type": "json_schema"},
        }));
        assert_eq!((found.model.as_str(), found.stream, found.tokens_out_max), ("fast", true, Some(20)));
        assert_eq!(found.needs, Needs { tools: true, vision: true, json: true });
    }

    #[test]
    fn a_picture_weighs_as_a_picture_and_not_as_text() {
        let picture = format!("data:image/png;base64,{}", "A".repeat(400_000));
        let content = json!([{"type": "image_url", "image_url": {"url": picture}}]);
        let found = facts(&json!({"model": "m", "messages": [{"role": "user", "content": content}]}));
        assert!((800..1000).contains(&found.tokens_in), "{}", found.tokens_in);
        let source = json!({"type": "base64", "media_type": "image/png", "data": "A".repeat(400_000)});
        let content = json!([{"type": "image", "source": source}]);
        let body = json!({"model": "m", "messages": [{"role": "user", "content": content}]});
        let found = scan(Api::Messages, body.to_string().as_bytes()).unwrap();
        assert!((800..1000).contains(&found.tokens_in), "{}", found.tokens_in);
    }

    #[test]
    fn what_is_no_request_is_refused_with_its_field_and_without_its_content() {
        for (body, expected) in [
            ("{", "not JSON"),
            ("[]", "not a request"),
            (r#"{"model": 7, "messages": []}"#, "`model`"),
            (r#"{"messages": []}"#, "`model`"),
            (r#"{"model": "a\u0000", "messages": []}"#, "control characters"),
            (r#"{"model": "a"}"#, "`messages`"),
            (r#"{"model": "a", "model": "b", "messages": []}"#, "duplicate"),
            (r#"{"model": "a", "messages": [], "stream": "yes"}"#, "`stream`"),
            (r#"{"model": "a", "messages": [], "max_tokens": -1}"#, "`max_tokens`"),
        ] {
            let error = scan(Api::Chat, body.as_bytes()).unwrap_err();
            assert!(error.message.contains(expected), "{body}: {}", error.message);
        }
        let error = scan(Api::Chat, b"{\"model\": \"\xff\"}").unwrap_err();
        assert!(error.message.contains("UTF-8"), "{}", error.message);
    }

    proptest! {
        #[test]
        fn a_splice_changes_the_model_and_nothing_else(
            model in "[a-z\"\\\\é]{1,12}", other in "[a-z\"/é]{1,12}", before in any::<bool>(), with_usage in any::<bool>(),
        ) {
            let model = serde_json::to_string(&model).unwrap();
            let body = if before {
                format!(r#"{{"model" : {model},"messages":[{{"content":"a \"model\":"}}],"stream":true}}"#)
            } else {
                format!(r#"{{"messages":[],"stream":true, "stream_options":{{}}, "x":{{"model":1}},"model":{model}}}"#)
            };
            let found = scan(Api::Chat, body.as_bytes()).unwrap();
            let spliced = found.splice(&Bytes::from(body.clone()), &other, with_usage);
            let mut expected: Value = serde_json::from_str(&body).unwrap();
            expected["model"] = json!(other);
            if with_usage {
                expected["stream_options"] = json!({"include_usage": true});
            }
            prop_assert_eq!(serde_json::from_slice::<Value>(&spliced).unwrap(), expected);
        }

        #[test]
        fn no_body_makes_the_scan_panic(body: Vec<u8>, text in ".{0,64}") {
            for api in [Api::Chat, Api::Messages, Api::Responses, Api::Embeddings, Api::Completions] {
                let _ = scan(api, &body);
                let _ = scan(api, text.as_bytes());
            }
        }
    }
}
