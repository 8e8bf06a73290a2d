//! The lines of a batch, in OpenAI's format.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

use super::{CallOutput, call::CallApi};

/// Mistakes that are told of a file; more say nothing more.
const ERRORS_MAX: usize = 100;
/// The longest `custom_id`.
const ID_LENGTH_MAX: usize = 512;

/// A request of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// What the caller knows it by.
    pub(super) custom_id: String,
    /// The body of the request, as it came.
    pub(super) body: String,
}

/// A mistake in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LineError {
    pub(super) code: String,
    /// The line, counted from 1.
    pub(super) line: Option<usize>,
    pub(super) message: String,
    pub(super) param: Option<String>,
}

impl LineError {
    pub(super) fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), line: None, message: message.into(), param: None }
    }
}

#[derive(Deserialize)]
struct Envelope<'a> {
    custom_id: String,
    #[serde(default)]
    method: Option<String>,
    url: String,
    #[serde(borrow)]
    body: &'a RawValue,
}

/// The API that an endpoint such as `/v1/chat/completions` names.
pub(super) fn api_of(endpoint: &str) -> Option<CallApi> {
    let path = endpoint.strip_prefix("/v1")?;
    CallApi::ALL.into_iter().find(|known| known.api().path() == path)
}

/// The endpoint that the first line of a file names.
pub(crate) fn endpoint_of(file: &[u8]) -> Option<String> {
    let line = file.split(|byte| *byte == b'\n').find(|line| !line.trim_ascii().is_empty())?;
    serde_json::from_slice::<Envelope<'_>>(line).ok().map(|envelope| envelope.url)
}

/// Reads a file; fails with all that is wrong with it.
pub(super) fn read_lines(file: &[u8], endpoint: &str, lines_max: usize) -> Result<Vec<Line>, Vec<LineError>> {
    let (mut lines, mut errors, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
    for (index, text) in file.split(|byte| *byte == b'\n').enumerate() {
        let text = text.trim_ascii();
        if text.is_empty() {
            continue;
        }
        if lines.len() == lines_max {
            errors.push(LineError::new(
                "too_many_requests",
                format!("a batch has {lines_max} requests at most"),
            ));
            break;
        }
        match read_line(text, endpoint) {
            Ok(line) if seen.insert(line.custom_id.clone()) => lines.push(line),
            Ok(line) => {
                let message = format!("the custom_id `{}` stands for another request", line.custom_id);
                let error = LineError::new("duplicate_custom_id", message);
                errors.push(LineError {
                    line: Some(index + 1),
                    param: Some("custom_id".to_owned()),
                    ..error
                });
            }
            Err(error) => errors.push(LineError { line: Some(index + 1), ..error }),
        }
        if errors.len() == ERRORS_MAX {
            break;
        }
    }
    if lines.is_empty() && errors.is_empty() {
        errors.push(LineError::new("empty_file", "the file has no requests"));
    }
    if errors.is_empty() { Ok(lines) } else { Err(errors) }
}

fn read_line(text: &[u8], endpoint: &str) -> Result<Line, LineError> {
    let wrong = |param: &str, message: &str| {
        let error = LineError::new("invalid_request", message);
        LineError { param: Some(param.to_owned()), ..error }
    };
    let envelope: Envelope<'_> = serde_json::from_slice(text).map_err(|error| {
        let why = if error.is_data() { error.to_string() } else { "the line is not JSON".to_owned() };
        LineError::new("invalid_json_line", why)
    })?;
    if !(1..=ID_LENGTH_MAX).contains(&envelope.custom_id.len()) {
        return Err(wrong("custom_id", "must have 1 to 512 bytes"));
    }
    if envelope.method.is_some_and(|method| method != "POST") {
        return Err(wrong("method", "must be `POST`"));
    }
    if envelope.url != endpoint {
        return Err(LineError {
            code: "mismatched_endpoint".to_owned(),
            ..wrong("url", &format!("must be the batch's, `{endpoint}`"))
        });
    }
    let body = envelope.body.get();
    if !body.starts_with('{') {
        return Err(wrong("body", "must be an object"));
    }
    Ok(Line { custom_id: envelope.custom_id, body: body.to_owned() })
}

#[derive(Serialize)]
struct OutputLine<'a> {
    id: &'a str,
    custom_id: &'a str,
    response: Option<OutputResponse<'a>>,
    error: Option<OutputError<'a>>,
}

#[derive(Serialize)]
struct OutputResponse<'a> {
    status_code: u16,
    request_id: &'a str,
    body: &'a Value,
}

#[derive(Serialize)]
struct OutputError<'a> {
    code: &'a str,
    message: &'a str,
}

/// Writes what came of a line.
pub(super) fn write_output(out: &mut Vec<u8>, id: &str, line: &Line, output: &CallOutput) {
    let response = OutputResponse { status_code: output.status, request_id: id, body: &output.body };
    write(out, &OutputLine { id, custom_id: &line.custom_id, response: Some(response), error: None });
}

/// Writes that nothing came of a line.
pub(super) fn write_error(out: &mut Vec<u8>, id: &str, line: &Line, code: &str, message: &str) {
    let error = OutputError { code, message };
    write(out, &OutputLine { id, custom_id: &line.custom_id, response: None, error: Some(error) });
}

fn write(out: &mut Vec<u8>, line: &OutputLine<'_>) {
    // Texts and numbers cannot fail to be written into memory.
    if serde_json::to_writer(&mut *out, line).is_ok() {
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const CHAT: &str = "/v1/chat/completions";

    fn line(id: &str, url: &str) -> String {
        json!({"custom_id": id, "method": "POST", "url": url, "body": {"model": "m", "messages": []}})
            .to_string()
    }

    fn errors(file: &str) -> Vec<(String, Option<usize>)> {
        read_lines(file.as_bytes(), CHAT, 3)
            .unwrap_err()
            .into_iter()
            .map(|error| (error.code, error.line))
            .collect()
    }

    #[test]
    fn lines_are_read_and_empty_ones_are_none() {
        let file = format!("{}\r\n\n{}", line("a", CHAT), line("b", CHAT));
        let lines = read_lines(file.as_bytes(), CHAT, 3).unwrap();
        assert_eq!(lines.iter().map(|line| line.custom_id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(endpoint_of(file.as_bytes()).as_deref(), Some(CHAT));
        assert_eq!(api_of(CHAT), Some(CallApi::Chat));
        assert_eq!(
            (api_of("/v1/messages"), api_of("/v1/files"), api_of("x")),
            (Some(CallApi::Messages), None, None)
        );
    }

    #[test]
    fn every_mistake_is_told_with_its_line() {
        let file = [
            line("a", CHAT),
            line("a", CHAT),
            line("b", "/v1/embeddings"),
            "{".to_owned(),
            r#"{"custom_id":"c","url":"/v1/chat/completions","body":[]}"#.to_owned(),
        ];
        let found = errors(&file.join("\n"));
        let found: Vec<_> = found.iter().map(|(code, line)| (code.as_str(), *line)).collect();
        assert_eq!(
            found,
            [
                ("duplicate_custom_id", Some(2)),
                ("mismatched_endpoint", Some(3)),
                ("invalid_json_line", Some(4)),
                ("invalid_request", Some(5)),
            ]
        );
        assert_eq!(errors(" \n"), [("empty_file".to_owned(), None)]);
        let many: Vec<String> = (0..5).map(|index| line(&index.to_string(), CHAT)).collect();
        assert_eq!(errors(&many.join("\n")), [("too_many_requests".to_owned(), None)]);
    }

    proptest! {
        #[test]
        fn what_is_written_is_one_line_of_json(id in ".{1,12}", text in "(?s).{0,20}", status in 200_u16..600) {
            let line = Line { custom_id: id.clone(), body: String::new() };
            let output = CallOutput {
                status, body: json!({"text": text}), route: String::new(), simulated: true, retry_after_ms: None,
            };
            let mut out = Vec::new();
            write_output(&mut out, "r", &line, &output);
            write_error(&mut out, "r", &line, "batch_expired", &text);
            let lines: Vec<&[u8]> = out.split(|byte| *byte == b'\n').collect();
            prop_assert_eq!(lines.len(), 3);
            let written: Value = serde_json::from_slice(lines[0]).unwrap();
            prop_assert_eq!(&written["custom_id"], &json!(id));
            prop_assert_eq!(&written["response"]["body"]["text"], &json!(text));
            let failed: Value = serde_json::from_slice(lines[1]).unwrap();
            prop_assert!(failed["response"].is_null());
        }

        #[test]
        fn no_file_makes_it_panic(bytes: Vec<u8>, text in ".{0,60}") {
            let _ = read_lines(&bytes, CHAT, 3);
            let _ = read_lines(text.as_bytes(), CHAT, 3);
            let _ = endpoint_of(&bytes);
        }
    }
}
