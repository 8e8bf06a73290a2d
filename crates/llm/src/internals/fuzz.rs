//! What must hold for every input whatsoever. Each function panics where it does not.

use serde_json::Value;

use crate::dialect::{
    Dialect,
    sse::{Event, SseParser},
    translate::{Format, StreamReader, StreamWriter, read_answer, read_request, write_answer, write_request},
};

const DIALECTS: [Dialect; 3] = [Dialect::OpenAi, Dialect::Anthropic, Dialect::Gemini];
const FORMATS: [Format; 5] =
    [Format::Chat, Format::Completions, Format::Responses, Format::Messages, Format::Gemini];
const CREATED: i64 = 1_790_000_000;
/// Longer than any input.
const UNBOUNDED: usize = usize::MAX;

/// Events do not depend on how their bytes were cut; the first byte of the input says how they are. A parser with a small
/// bound holds no more than that, whatever comes.
pub fn split_events(input: &[u8]) {
    let Some((cut, bytes)) = input.split_first() else { return };
    let whole = events(bytes, bytes.len().max(1));
    assert_eq!(events(bytes, usize::from(*cut) + 1), whole, "how the bytes are cut matters");
    assert_eq!(events(bytes, 1), whole, "how the bytes are cut matters");
    let mut bounded = SseParser::new(64);
    for piece in bytes.chunks(usize::from(*cut) + 1) {
        bounded.push(piece);
        loop {
            match bounded.next() {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
}

fn events(bytes: &[u8], cut: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut parser = SseParser::new(UNBOUNDED);
    let mut found = Vec::new();
    for piece in bytes.chunks(cut) {
        parser.push(piece);
        while let Ok(Some(Event { name, data, .. })) = parser.next() {
            found.push((name.to_vec(), data.to_vec()));
        }
    }
    found
}

/// A body that is read in one dialect is written in every other, or refused, as JSON; and what was written is read.
#[expect(clippy::expect_used, reason = "that is what it is for")]
pub fn translate_bodies(body: &[u8]) {
    for format in FORMATS {
        let Ok(request) = read_request(format, body) else { continue };
        for dialect in DIALECTS {
            let Ok(written) = write_request(dialect, &request, "m") else { continue };
            assert!(written.is_object(), "a request is an object");
            let _ = read_request(Format::of_dialect(dialect), written.to_string().as_bytes());
        }
    }
    for dialect in DIALECTS {
        let Ok(answer) = read_answer(dialect, body) else { continue };
        for format in FORMATS {
            let written = write_answer(format, &answer, CREATED);
            let value: Value = serde_json::from_slice(&written).expect("an answer is JSON");
            assert!(value.is_object(), "an answer is an object");
        }
    }
}

/// A stream in one dialect becomes one of whole events in every other, each with JSON in it; the first byte of the input
/// says how it is cut.
pub fn relay_stream(input: &[u8]) {
    let Some((cut, bytes)) = input.split_first() else { return };
    for dialect in DIALECTS {
        for format in FORMATS {
            let out = translated(dialect, format, bytes, usize::from(*cut) + 1);
            let mut parser = SseParser::new(UNBOUNDED);
            parser.push(&out);
            while let Ok(Some(event)) = parser.next() {
                let is_json = serde_json::from_slice::<Value>(&event.data).is_ok();
                assert!(event.is_done() || is_json, "an event holds JSON: {event:?}");
            }
            assert!(out.ends_with(b"\n\n"), "a stream ends with a whole event");
        }
    }
}

fn translated(dialect: Dialect, format: Format, bytes: &[u8], cut: usize) -> Vec<u8> {
    let (mut parser, mut reader) = (SseParser::new(UNBOUNDED), StreamReader::new(dialect));
    let mut writer = StreamWriter::new(format, CREATED, true);
    let mut out = Vec::new();
    'stream: for piece in bytes.chunks(cut) {
        parser.push(piece);
        while let Ok(Some(event)) = parser.next() {
            let Some(steps) = reader.read(&event) else { break 'stream };
            for step in steps {
                writer.write(step, &mut out);
            }
        }
    }
    writer.finish(&mut out);
    out
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::internals::mutate::Mutator;

    const BODIES: [&[u8]; 7] = [
        include_bytes!("../dialect/golden/chat_request.json"),
        include_bytes!("../dialect/golden/messages_request.json"),
        include_bytes!("../dialect/golden/responses_request.json"),
        include_bytes!("../dialect/golden/gemini_request.json"),
        include_bytes!("../dialect/golden/chat_answer.json"),
        include_bytes!("../dialect/golden/messages_answer.json"),
        include_bytes!("../dialect/golden/gemini_answer.json"),
    ];
    const STREAMS: [&[u8]; 3] = [
        include_bytes!("../dialect/golden/chat_stream.sse"),
        include_bytes!("../dialect/golden/messages_stream.sse"),
        include_bytes!("../dialect/golden/gemini_stream.sse"),
    ];

    /// How long the long form of these tests takes.
    fn budget() -> Duration {
        let seconds = std::env::var("PADDOCK_FUZZ_S").ok().and_then(|text| text.parse().ok());
        Duration::from_secs(seconds.unwrap_or(60))
    }

    /// Runs a target on inputs made of seeds: so often, or for so long. A finding is told with its input.
    fn run(seeds: &[&[u8]], target: fn(&[u8]), rounds: Option<u32>) {
        let seed = if rounds.is_some() { 7 } else { fastrand::u64(..) };
        let (mut mutator, started) = (Mutator::new(seed, seeds), Instant::now());
        let mut round = 0;
        while rounds.map_or_else(|| started.elapsed() < budget(), |rounds| round < rounds) {
            let input = mutator.next();
            let holds = std::panic::catch_unwind(|| target(&input)).is_ok();
            assert!(holds, "seed {seed}, round {round}: a finding: {:?}", String::from_utf8_lossy(&input));
            round += 1;
        }
        assert!(round > 0, "nothing was tried");
    }

    #[test]
    fn events_hold_for_what_is_nearly_a_stream() {
        run(&STREAMS, split_events, Some(2000));
    }

    #[test]
    fn translations_hold_for_what_is_nearly_a_body() {
        run(&BODIES, translate_bodies, Some(1500));
    }

    #[test]
    fn streams_hold_for_what_is_nearly_one() {
        run(&STREAMS, relay_stream, Some(300));
    }

    #[test]
    #[ignore = "takes as long as PADDOCK_FUZZ_S says"]
    fn events_hold_for_long() {
        run(&STREAMS, split_events, None);
    }

    #[test]
    #[ignore = "takes as long as PADDOCK_FUZZ_S says"]
    fn translations_hold_for_long() {
        run(&BODIES, translate_bodies, None);
    }

    #[test]
    #[ignore = "takes as long as PADDOCK_FUZZ_S says"]
    fn streams_hold_for_long() {
        run(&STREAMS, relay_stream, None);
    }
}
