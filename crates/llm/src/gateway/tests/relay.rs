//! What holds for every stream that is relayed, however it is cut and wherever it breaks.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use paddock_platform::identity::Caller;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{super::stream::RelayState, events, options};
use crate::{
    dialect::{
        Api, Dialect,
        canonical::{Step, Stop},
        translate::{Format, StreamWriter},
        usage::Usage,
    },
    gateway::Call,
    routing::{Lanes, Plan},
    upstream::http_client,
};

/// A caller's API, the provider's dialect, and whether events pass.
type Way = (Api, Dialect, bool);

const WAYS: [Way; 12] = [
    (Api::Chat, Dialect::OpenAi, true),
    (Api::Messages, Dialect::Anthropic, true),
    (Api::Chat, Dialect::Anthropic, false),
    (Api::Chat, Dialect::Gemini, false),
    (Api::Messages, Dialect::OpenAi, false),
    (Api::Messages, Dialect::Gemini, false),
    (Api::Responses, Dialect::OpenAi, false),
    (Api::Responses, Dialect::Anthropic, false),
    (Api::Responses, Dialect::Gemini, false),
    (Api::Completions, Dialect::OpenAi, false),
    (Api::Completions, Dialect::Anthropic, false),
    (Api::Completions, Dialect::Gemini, false),
];

fn call(api: Api) -> Arc<Call> {
    let http = http_client(std::time::Duration::from_secs(1));
    let plan = Plan::new(options(""), &http, &Arc::<Lanes>::default(), None).unwrap();
    let body = json!({
        "model": "m", "messages": [], "input": "a", "prompt": "a", "stream": true,
        "stream_options": {"include_usage": true},
    });
    let body = Bytes::from(body.to_string());
    Arc::new(Call::read(api, Arc::new(plan), &Caller::local(), HeaderMap::new(), body).unwrap())
}

/// What a provider sends that says these pieces.
fn sent(dialect: Dialect, pieces: &[String], usage: Usage) -> Vec<u8> {
    let (mut writer, mut out) = (StreamWriter::new(Format::of_dialect(dialect), 1, true), Vec::new());
    writer.write(Step::Start { id: "i".to_owned(), model: "m".to_owned() }, &mut out);
    writer.write(Step::Usage(Usage { output: 0, ..usage }), &mut out);
    for piece in pieces {
        writer.write(Step::Text(piece.clone()), &mut out);
    }
    writer.write(Step::Stop(Stop::End), &mut out);
    writer.write(Step::Usage(usage), &mut out);
    writer.finish(&mut out);
    out
}

/// A stream as it was relayed.
struct Relayed {
    out: Vec<u8>,
    usage: Usage,
    failure: Option<String>,
    had_begun: bool,
}

fn relay((api, dialect, passes): Way, bytes: &[u8], cuts: &[usize]) -> Relayed {
    let mut state = RelayState::new(&call(api), dialect, passes, false);
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    for pair in cuts.windows(2) {
        state.feed(&bytes[pair[0]..pair[1]]);
    }
    let had_begun = state.has_begun() && state.failed_before().is_none();
    state.end_of_stream();
    let usage = state.usage();
    Relayed { out: std::mem::take(&mut state.out), usage, failure: state.failure.take(), had_begun }
}

/// The text that a caller reads out of a stream.
fn said(api: Api, out: &[u8]) -> String {
    let text = String::from_utf8(out.to_vec()).unwrap();
    let parts = events(&text).into_iter().filter_map(|(name, data)| {
        let event: Value = serde_json::from_str(&data).ok()?;
        let part = match api {
            Api::Chat => &event["choices"][0]["delta"]["content"],
            Api::Completions => &event["choices"][0]["text"],
            Api::Responses if name == "response.output_text.delta" => &event["delta"],
            Api::Messages => &event["delta"]["text"],
            _ => return None,
        };
        part.as_str().map(str::to_owned)
    });
    parts.collect()
}

/// Events that tell of a failure, in any dialect.
fn failures(out: &[u8]) -> usize {
    let text = String::from_utf8_lossy(out).into_owned();
    let is_failure = |(name, data): &(String, String)| {
        let event: Value = serde_json::from_str(data).unwrap_or_default();
        name == "error" || name == "response.failed" || event["type"] == "error" || event["error"].is_object()
    };
    events(&text).iter().filter(|event| is_failure(event)).count()
}

fn pieces() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec("[a-zé😀\"\\\\\n ]{1,8}", 1..8)
}

fn way() -> impl Strategy<Value = Way> {
    prop::sample::select(WAYS.to_vec())
}

proptest! {
    #[test]
    fn what_a_provider_says_is_what_its_caller_reads(
        way in way(), pieces in pieces(), input in 1_u64..1000, output in 1_u64..1000,
        cuts in prop::collection::vec(0_usize..4000, 0..8),
    ) {
        let usage = Usage { input, output, ..Usage::default() };
        let bytes = sent(way.1, &pieces, usage);
        let relayed = relay(way, &bytes, &cuts);
        prop_assert_eq!(&relayed.failure, &None);
        prop_assert_eq!(said(way.0, &relayed.out), pieces.concat(), "{:?}", way);
        prop_assert_eq!((relayed.usage.input, relayed.usage.output), (input, output), "{:?}", way);
        prop_assert_eq!(failures(&relayed.out), 0);
        if way.2 {
            prop_assert_eq!(relayed.out, bytes, "what passes stays as it was");
        }
    }

    #[test]
    fn how_a_stream_is_cut_does_not_matter(
        way in way(), pieces in pieces(), cuts in prop::collection::vec(0_usize..4000, 0..12), end in 0_usize..4000,
    ) {
        let bytes = sent(way.1, &pieces, Usage { input: 3, output: 5, ..Usage::default() });
        let bytes = &bytes[..end.min(bytes.len())];
        let (whole, cut) = (relay(way, bytes, &[]), relay(way, bytes, &cuts));
        // The moment of an answer is in the events of some dialects.
        let text = |out: &[u8]| said(way.0, out);
        prop_assert_eq!(text(&cut.out), text(&whole.out));
        prop_assert_eq!(cut.out.len(), whole.out.len());
        prop_assert_eq!((cut.failure, cut.usage), (whole.failure, whole.usage));
    }

    #[test]
    fn a_stream_that_breaks_ends_with_one_failure_or_was_never_begun(
        way in way(), pieces in pieces(), end in 0_usize..4000, cuts in prop::collection::vec(0_usize..4000, 0..4),
    ) {
        let bytes = sent(way.1, &pieces, Usage { input: 3, output: 5, ..Usage::default() });
        let relayed = relay(way, &bytes[..end.min(bytes.len())], &cuts);
        let read = said(way.0, &relayed.out);
        prop_assert!(pieces.concat().starts_with(&read), "nothing is made up");
        match &relayed.failure {
            None => prop_assert_eq!((read, failures(&relayed.out)), (pieces.concat(), 0)),
            Some(_) if relayed.had_begun => prop_assert_eq!(failures(&relayed.out), 1, "never silently"),
            Some(_) => {
                prop_assert_eq!(read, "", "it can be tried elsewhere");
                prop_assert_eq!(failures(&relayed.out), 0);
            }
        }
    }

    #[test]
    fn garbage_within_a_stream_fails_it_and_nothing_follows(
        way in way(), pieces in pieces(), garbage in prop::sample::select(vec!["data: <html>\n\n", "data: {\n\n", "data: 7\n\n", "data: [1]\n\n"]),
        at in 0_usize..40,
    ) {
        let bytes = sent(way.1, &pieces, Usage::default());
        let text = String::from_utf8(bytes).unwrap();
        let mut parts: Vec<&str> = text.split_inclusive("\n\n").collect();
        parts.insert(at.min(parts.len().saturating_sub(1)), garbage);
        let relayed = relay(way, parts.concat().as_bytes(), &[]);
        // What passes is not read to its end: an object that is none passes where nothing of it matters.
        if !(way.2 && garbage == "data: {\n\n") {
            prop_assert!(relayed.failure.is_some(), "{:?} {:?}", way, garbage);
        }
        prop_assert!(failures(&relayed.out) <= 1);
    }

    #[test]
    fn no_stream_makes_a_relay_panic(way in way(), bytes in prop::collection::vec(prop::sample::select(vec![
        &b"data: {}"[..], b"data: [DONE]", b"event: message_stop", b"event: error", b"\n", b"\n\n", b"\r", b":x",
        b"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}", b"data: {\"usage\":{\"prompt_tokens\":1}}", b"\xff",
        b"data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"a\"}}",
        b"data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]},\"finishReason\":\"STOP\"}]}",
    ]), 0..24)) {
        let relayed = relay(way, &bytes.concat(), &[]);
        prop_assert!(failures(&relayed.out) <= 1 || way.2, "told once");
    }
}
