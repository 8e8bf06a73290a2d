//! Translations against golden files: what comes in is what vendors document, what goes out was read by a person.
//!
//! After a change on purpose: `INSTA_UPDATE=always` once, and read the difference.

use proptest::prelude::*;
use serde_json::Value;

use super::{
    Dialect,
    canonical::{Answer, Message, Output, Part, Reasoning, Request, Role, Step, Stop, ToolChoice, ToolSpec},
    sse::SseParser,
    translate::{Format, StreamReader, StreamWriter, read_answer, read_request, write_answer, write_request},
    usage::Usage,
};

const DIALECTS: [Dialect; 3] = [Dialect::OpenAi, Dialect::Anthropic, Dialect::Gemini];
const FORMATS: [(&str, Format); 5] = [
    ("chat", Format::Chat),
    ("completions", Format::Completions),
    ("responses", Format::Responses),
    ("messages", Format::Messages),
    ("gemini", Format::Gemini),
];
const CREATED: i64 = 1_790_000_000;

#[test]
fn requests_are_translated_as_the_golden_files_say() {
    for (name, format, body) in [
        ("chat", Format::Chat, include_str!("golden/chat_request.json")),
        ("messages", Format::Messages, include_str!("golden/messages_request.json")),
        ("responses", Format::Responses, include_str!("golden/responses_request.json")),
        ("gemini", Format::Gemini, include_str!("golden/gemini_request.json")),
    ] {
        let request = read_request(format, body.as_bytes()).unwrap();
        for dialect in DIALECTS {
            let written = write_request(dialect, &request, "target-model").unwrap();
            insta::assert_json_snapshot!(format!("request_{name}_to_{}", dialect.name()), written);
        }
    }
}

#[test]
fn answers_are_translated_as_the_golden_files_say() {
    for (dialect, body) in [
        (Dialect::OpenAi, include_str!("golden/chat_answer.json")),
        (Dialect::Anthropic, include_str!("golden/messages_answer.json")),
        (Dialect::Gemini, include_str!("golden/gemini_answer.json")),
    ] {
        let answer = read_answer(dialect, body.as_bytes()).unwrap();
        for (name, format) in FORMATS {
            let written: Value = serde_json::from_slice(&write_answer(format, &answer, CREATED)).unwrap();
            insta::assert_json_snapshot!(format!("answer_{}_to_{name}", dialect.name()), written);
        }
    }
}

fn translate_stream(dialect: Dialect, format: Format, stream: &[u8], cut: usize) -> String {
    let (mut parser, mut reader) = (SseParser::new(1 << 20), StreamReader::new(dialect));
    let mut writer = StreamWriter::new(format, CREATED, true);
    let mut out = Vec::new();
    for piece in stream.chunks(cut.max(1)) {
        parser.push(piece);
        while let Some(event) = parser.next().unwrap() {
            for step in reader.read(&event).unwrap() {
                writer.write(step, &mut out);
            }
        }
    }
    writer.finish(&mut out);
    String::from_utf8(out).unwrap()
}

fn streams() -> [(Dialect, &'static str); 3] {
    [
        (Dialect::OpenAi, include_str!("golden/chat_stream.sse")),
        (Dialect::Anthropic, include_str!("golden/messages_stream.sse")),
        (Dialect::Gemini, include_str!("golden/gemini_stream.sse")),
    ]
}

#[test]
fn streams_are_translated_as_the_golden_files_say() {
    for (dialect, stream) in streams() {
        for (name, format) in FORMATS {
            let written = translate_stream(dialect, format, stream.as_bytes(), usize::MAX);
            insta::assert_snapshot!(format!("stream_{}_to_{name}", dialect.name()), written);
        }
    }
}

#[test]
fn where_a_stream_is_cut_does_not_matter() {
    for (dialect, stream) in streams() {
        let whole = translate_stream(dialect, Format::Messages, stream.as_bytes(), usize::MAX);
        for cut in [1, 2, 3, 7, 100] {
            assert_eq!(translate_stream(dialect, Format::Messages, stream.as_bytes(), cut), whole, "{cut}");
        }
    }
}

#[test]
fn what_a_provider_has_no_word_for_is_refused_and_not_dropped() {
    for (format, body, dialect, field) in [
        (Format::Chat, r#"{"messages":[],"n":2}"#, Dialect::Anthropic, "n"),
        (Format::Chat, r#"{"messages":[],"functions":[]}"#, Dialect::Anthropic, "functions"),
        (
            Format::Chat,
            r#"{"messages":[{"role":"user","content":[{"type":"input_audio","input_audio":{"data":"AA==","format":"wav"}}]}]}"#,
            Dialect::Anthropic,
            "messages",
        ),
        (
            Format::Responses,
            r#"{"input":"a","previous_response_id":"resp_1"}"#,
            Dialect::Gemini,
            "previous_response_id",
        ),
        (Format::Responses, r#"{"input":"a","tools":[{"type":"web_search"}]}"#, Dialect::Gemini, "tools"),
        (
            Format::Messages,
            r#"{"messages":[],"tools":[{"type":"bash_20250124","name":"bash"}]}"#,
            Dialect::OpenAi,
            "tools",
        ),
        (Format::Completions, r#"{"prompt":["a","b"]}"#, Dialect::OpenAi, "prompt"),
    ] {
        let written =
            read_request(format, body.as_bytes()).and_then(|request| write_request(dialect, &request, "m"));
        let error = written.unwrap_err();
        assert!(error.param.as_deref().unwrap_or_default().starts_with(field), "{body}: {error:?}");
    }
}

#[test]
fn a_schema_that_is_none_is_refused() {
    for tools in [
        r#"[{"type":"function","function":{"name":"f","parameters":"string"}}]"#,
        r#"[{"type":"function","function":{"name":"f","parameters":{"type":"array"}}}]"#,
        r#"[{"type":"function","function":{"name":"f","parameters":{"properties":[]}}}]"#,
        r#"[{"type":"function","function":{}}]"#,
    ] {
        let body = format!(r#"{{"messages":[],"tools":{tools}}}"#);
        assert!(read_request(Format::Chat, body.as_bytes()).is_err(), "{tools}");
    }
}

/// Texts, calls and results in turns, as a conversation has them.
fn conversation() -> impl Strategy<Value = Request> {
    let text = "[a-zé\"\\\\ ]{1,12}";
    let turn = (text, prop::option::of("[a-z]{1,6}"), any::<bool>());
    (prop::collection::vec(turn, 1..5), any::<bool>(), prop::option::of(1_u64..5000)).prop_map(
        |(turns, with_system, max_tokens)| {
            let mut messages = Vec::new();
            for (index, (text, call, is_error)) in turns.into_iter().enumerate() {
                messages.push(Message { role: Role::User, parts: vec![Part::text(text.clone())] });
                let mut parts = vec![Part::text(format!("answer {text}"))];
                if let Some(name) = call {
                    let (id, arguments) = (format!("call_{index}"), r#"{"a":1}"#.to_owned());
                    parts.push(Part::ToolCall { id: id.clone(), name, arguments, signature: None });
                    messages.push(Message { role: Role::Assistant, parts });
                    let content = vec![Part::text(if is_error { "no" } else { "yes" })];
                    messages.push(Message {
                        role: Role::User,
                        parts: vec![Part::ToolResult { id, content, is_error: false }],
                    });
                    let parts = vec![Part::text("I see")];
                    messages.push(Message { role: Role::Assistant, parts });
                } else {
                    messages.push(Message { role: Role::Assistant, parts });
                }
            }
            let schema = serde_json::json!({"type": "object", "properties": {}});
            let tool =
                ToolSpec { name: "f".to_owned(), description: None, schema, strict: None, cache: None };
            Request {
                system: if with_system { vec![Part::text("be kind")] } else { Vec::new() },
                messages,
                tools: vec![tool],
                tool_choice: Some(ToolChoice::Auto),
                max_tokens: max_tokens.or(Some(10)),
                output: Output::Text,
                reasoning: None::<Reasoning>,
                ..Request::default()
            }
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(request in conversation()) {
        for (dialect, format) in
            [(Dialect::OpenAi, Format::Chat), (Dialect::Anthropic, Format::Messages), (Dialect::Gemini, Format::Gemini)]
        {
            let written = write_request(dialect, &request, "m").unwrap().to_string();
            let read = read_request(format, written.as_bytes()).unwrap();
            prop_assert_eq!(&read.messages, &request.messages, "{:?}", dialect);
            prop_assert_eq!(&read.system, &request.system);
            prop_assert_eq!(&read.tools, &request.tools);
            prop_assert_eq!(read.max_tokens, request.max_tokens);
        }
    }

    #[test]
    fn an_answer_survives_every_dialect(text in "[a-zé\"\\\\ ]{1,20}", input in 0_u64..10_000, output in 0_u64..10_000) {
        let usage = Usage { input, output, ..Usage::default() };
        let parts = vec![Part::text(text), Part::ToolCall {
            id: "c".to_owned(), name: "f".to_owned(), arguments: r#"{"a":1}"#.to_owned(), signature: None,
        }];
        let answer = Answer { id: "i".to_owned(), model: "m".to_owned(), parts, stop: Stop::Tools, usage };
        for (dialect, format) in
            [(Dialect::OpenAi, Format::Chat), (Dialect::Anthropic, Format::Messages), (Dialect::Gemini, Format::Gemini)]
        {
            let written = write_answer(format, &answer, CREATED);
            prop_assert_eq!(read_answer(dialect, &written).unwrap(), answer.clone());
        }
    }

    #[test]
    fn a_stream_says_what_its_steps_say(pieces in prop::collection::vec("[a-zé \"]{1,8}", 1..10)) {
        for (dialect, format) in
            [(Dialect::OpenAi, Format::Chat), (Dialect::Anthropic, Format::Messages), (Dialect::Gemini, Format::Gemini)]
        {
            let (mut writer, mut out) = (StreamWriter::new(format, CREATED, true), Vec::new());
            writer.write(Step::Start { id: "i".to_owned(), model: "m".to_owned() }, &mut out);
            for piece in &pieces {
                writer.write(Step::Text(piece.clone()), &mut out);
            }
            writer.write(Step::Stop(Stop::Length), &mut out);
            writer.finish(&mut out);
            let (mut parser, mut reader) = (SseParser::new(1 << 20), StreamReader::new(dialect));
            parser.push(&out);
            let (mut said, mut stop) = (String::new(), None);
            while let Some(event) = parser.next().unwrap() {
                for step in reader.read(&event).unwrap() {
                    match step {
                        Step::Text(text) => said.push_str(&text),
                        Step::Stop(reason) => stop = Some(reason),
                        _ => {}
                    }
                }
            }
            prop_assert_eq!(said, pieces.concat());
            prop_assert_eq!(stop, Some(Stop::Length));
        }
    }

    #[test]
    fn no_body_makes_a_translator_panic(text in ".{0,80}", which in 0_usize..7) {
        let fragment = serde_json::Value::String(text.clone());
        let shaped = [
            format!(r#"{{"messages":{fragment}}}"#),
            format!(r#"{{"messages":[{{"role":"user","content":{fragment}}}]}}"#),
            format!(r#"{{"messages":[{{"role":"assistant","content":[{{"type":{fragment}}}]}}]}}"#),
            format!(r#"{{"contents":[{{"parts":[{fragment}]}}]}}"#),
            format!(r#"{{"input":[{fragment}]}}"#),
            format!(r#"{{"choices":[{{"message":{fragment}}}]}}"#),
            text,
        ];
        let body = shaped[which].as_bytes();
        for (_, format) in FORMATS {
            let _ = read_request(format, body);
        }
        for dialect in DIALECTS {
            let _ = read_answer(dialect, body);
            let mut parser = SseParser::new(1 << 20);
            parser.push(b"data: ");
            parser.push(body);
            parser.push(b"\n\n");
            if let Ok(Some(event)) = parser.next() {
                let _ = StreamReader::new(dialect).read(&event);
            }
        }
    }
}
