//! From the caller's format to the provider's and back.

use bytes::Bytes;
use serde_json::Value;

use super::{
    Api, Dialect, anthropic,
    canonical::{Answer, Request, Step},
    chat, completions, gemini, responses,
    sse::Event,
};
use crate::error::{ErrorKind, LlmError};

/// A format of requests, answers and streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Format {
    Chat,
    Completions,
    Responses,
    Messages,
    Gemini,
}

impl Format {
    /// What a caller of an API reads and writes.
    pub(crate) const fn of_api(api: Api) -> Self {
        match api {
            Api::Chat | Api::Embeddings => Self::Chat,
            Api::Completions => Self::Completions,
            Api::Responses => Self::Responses,
            Api::Messages | Api::CountTokens => Self::Messages,
        }
    }

    /// What is spoken with a provider when a request is translated.
    pub(crate) const fn of_dialect(dialect: Dialect) -> Self {
        match dialect {
            Dialect::OpenAi => Self::Chat,
            Dialect::Anthropic => Self::Messages,
            Dialect::Gemini => Self::Gemini,
        }
    }
}

/// JSON, or the refusal of it.
pub(crate) fn parse(body: &[u8]) -> Result<Value, LlmError> {
    serde_json::from_slice(body)
        .map_err(|_| LlmError::new(ErrorKind::InvalidRequest, "the body is not JSON in UTF-8"))
}

/// Reads a caller's request.
pub(crate) fn read_request(format: Format, body: &[u8]) -> Result<Request, LlmError> {
    let value = parse(body)?;
    match format {
        Format::Chat => chat::read_request(value),
        Format::Completions => completions::read_request(value),
        Format::Responses => responses::read_request(value),
        Format::Messages => anthropic::read_request(value),
        Format::Gemini => gemini::read_request(value, false),
    }
}

/// Writes a request for a provider.
pub(crate) fn write_request(dialect: Dialect, request: &Request, model: &str) -> Result<Value, LlmError> {
    match dialect {
        Dialect::OpenAi => chat::write_request(request, model),
        Dialect::Anthropic => anthropic::write_request(request, model),
        Dialect::Gemini => gemini::write_request(request),
    }
}

/// Reads a provider's answer.
pub(crate) fn read_answer(dialect: Dialect, body: &[u8]) -> Result<Answer, LlmError> {
    let value = serde_json::from_slice(body)
        .map_err(|_| LlmError::new(ErrorKind::ProviderFailed, "the provider's answer is not JSON"))?;
    match dialect {
        Dialect::OpenAi => chat::read_answer(value),
        Dialect::Anthropic => anthropic::read_answer(value),
        Dialect::Gemini => gemini::read_answer(value),
    }
}

/// Writes an answer for a caller; `created` in seconds since 1970.
pub(crate) fn write_answer(format: Format, answer: &Answer, created: i64) -> Bytes {
    let value = match format {
        Format::Chat => chat::write_answer(answer, created),
        Format::Completions => completions::write_answer(answer, created),
        Format::Responses => responses::write_answer(answer, created),
        Format::Messages => anthropic::write_answer(answer),
        Format::Gemini => gemini::write_answer(answer),
    };
    Bytes::from(value.to_string())
}

/// Reads a provider's stream.
#[derive(Debug)]
pub(crate) enum StreamReader {
    Chat(chat::Reader),
    Messages(anthropic::Reader),
    Gemini(gemini::Reader),
}

impl StreamReader {
    pub(crate) fn new(dialect: Dialect) -> Self {
        match dialect {
            Dialect::OpenAi => Self::Chat(chat::Reader::default()),
            Dialect::Anthropic => Self::Messages(anthropic::Reader::default()),
            Dialect::Gemini => Self::Gemini(gemini::Reader::default()),
        }
    }

    /// What an event says. `None`: it is none of this dialect.
    pub(crate) fn read(&mut self, event: &Event) -> Option<Vec<Step>> {
        if event.data.is_empty() || event.is_done() {
            return Some(Vec::new());
        }
        match self {
            Self::Chat(reader) => reader.read(&event.data),
            Self::Messages(reader) => reader.read(&event.data),
            Self::Gemini(reader) => reader.read(&event.data),
        }
    }
}

/// Writes a caller's stream.
#[derive(Debug)]
pub(crate) enum StreamWriter {
    Chat(chat::Writer),
    Completions(completions::Writer),
    Responses(Box<responses::Writer>),
    Messages(anthropic::Writer),
    Gemini(gemini::Writer),
}

impl StreamWriter {
    /// A writer for an answer that begins at `created`, in seconds since 1970.
    pub(crate) fn new(format: Format, created: i64, include_usage: bool) -> Self {
        match format {
            Format::Chat => Self::Chat(chat::Writer::new(created, include_usage)),
            Format::Completions => Self::Completions(completions::Writer::new(created, include_usage)),
            Format::Responses => Self::Responses(Box::new(responses::Writer::new(created))),
            Format::Messages => Self::Messages(anthropic::Writer::default()),
            Format::Gemini => Self::Gemini(gemini::Writer::default()),
        }
    }

    pub(crate) fn write(&mut self, step: Step, out: &mut Vec<u8>) {
        match self {
            Self::Chat(writer) => writer.write(step, out),
            Self::Completions(writer) => writer.write(step, out),
            Self::Responses(writer) => writer.write(step, out),
            Self::Messages(writer) => writer.write(step, out),
            Self::Gemini(writer) => writer.write(step, out),
        }
    }

    /// Ends the stream as one that was finished.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        match self {
            Self::Chat(writer) => writer.finish(out),
            Self::Completions(writer) => writer.finish(out),
            Self::Responses(writer) => writer.finish(out),
            Self::Messages(writer) => writer.finish(out),
            Self::Gemini(writer) => writer.finish(out),
        }
    }
}
