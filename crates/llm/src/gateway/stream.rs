//! A stream as far as it was read: its events pass or are translated, and what matters of them is noted.
//!
//! Up to the first token events are held back: [`RelayState`] is fed and asked whether it has begun. A stream that does
//! not end as its dialect says ends with the dialect's event for a failure.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

use super::call::Call;
use crate::{
    dialect::{
        Dialect,
        canonical::Step,
        failure,
        sse::{Event, SseParser},
        translate::{Format, StreamReader, StreamWriter},
        usage::{self, Usage},
    },
    error::{ErrorKind, LlmError},
};

/// What garbage within a stream is called.
const NO_PART: &str = "the provider sent something that is no part of an answer";

/// What is done with each event.
enum Mode {
    /// It passes; the usage that only the gateway asked for is taken out.
    Pass {
        strip_usage: bool,
        reader: Option<StreamReader>,
    },
    Translate {
        reader: StreamReader,
        writer: Box<StreamWriter>,
        ended: bool,
    },
}

/// A stream as far as it was read.
pub(super) struct RelayState {
    format: Format,
    mode: Mode,
    parser: SseParser,
    pub(super) out: Vec<u8>,
    begun: bool,
    /// Whether the answer is complete by what was read.
    pub(super) complete: bool,
    pub(super) failure: Option<String>,
    usage: Option<Usage>,
    input_estimate: u64,
    /// Events with something of the answer: one token each, about.
    pieces: u64,
    pub(super) first_token: Duration,
}

/// OpenAI's events, as far as they matter when they pass.
#[derive(Deserialize)]
struct PassingChunk<'a> {
    #[serde(default)]
    choices: Vec<IgnoredAny>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct PassingMessage<'a> {
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    message: Option<PassingUsage<'a>>,
    #[serde(borrow, default)]
    response: Option<PassingUsage<'a>>,
}

#[derive(Deserialize)]
struct PassingUsage<'a> {
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
}

impl RelayState {
    pub(super) fn new(call: &Arc<Call>, dialect: Dialect, passes: bool, strip_usage: bool) -> Self {
        let format = call.format;
        let mode = if passes {
            // Only what tells a first token from a beginning needs to be read.
            let reader =
                matches!(format, Format::Chat | Format::Messages).then(|| StreamReader::new(dialect));
            Mode::Pass { strip_usage, reader }
        } else {
            let include_usage = call.facts.include_usage;
            let writer = StreamWriter::new(format, crate::clock::unix_s(), include_usage);
            Mode::Translate { reader: StreamReader::new(dialect), writer: Box::new(writer), ended: false }
        };
        Self {
            format,
            mode,
            parser: SseParser::new(call.plan.options.event_max.as_usize()),
            out: Vec::new(),
            begun: false,
            complete: false,
            failure: None,
            usage: None,
            input_estimate: call.facts.tokens_in,
            pieces: 0,
            first_token: Duration::ZERO,
        }
    }

    /// Whether there is a first token, or the whole is over without one.
    pub(super) const fn has_begun(&self) -> bool {
        self.begun || self.failure.is_some()
    }

    /// Why it failed, if it did before it began.
    pub(super) fn failed_before(&self) -> Option<&str> {
        if self.begun { None } else { self.failure.as_deref() }
    }

    pub(super) const fn began_after(&mut self, took: Duration) {
        self.first_token = took;
    }

    /// What was used, by report or by estimate.
    pub(super) fn usage(&self) -> Usage {
        self.usage.unwrap_or(Usage {
            input: self.input_estimate,
            output: self.pieces,
            cache_read: 0,
            cache_write: 0,
            reasoning: 0,
            estimated: true,
        })
    }

    /// Takes in what was read.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.parser.push(bytes);
        loop {
            match self.parser.next() {
                Ok(Some(event)) if self.failure.is_none() => self.take(&event),
                Ok(Some(_)) => {}
                Ok(None) => return,
                Err(error) => return self.fail(error.to_string()),
            }
        }
    }

    /// The provider has nothing more to say.
    pub(super) fn end_of_stream(&mut self) {
        if self.failure.is_some() {
            return;
        }
        if !self.complete {
            return self.fail("the provider broke off its stream".to_owned());
        }
        self.begun = true;
        self.end_translation();
    }

    fn take(&mut self, event: &Event) {
        match &mut self.mode {
            Mode::Pass { .. } => self.pass(event),
            Mode::Translate { reader, .. } => match reader.read(event) {
                Some(steps) => {
                    for step in steps {
                        self.translate(step);
                    }
                    if event.is_done() || &event.name[..] == b"message_stop" {
                        self.complete = true;
                        self.begun = true;
                        self.end_translation();
                    }
                }
                None => self.fail(NO_PART.to_owned()),
            },
        }
    }

    fn translate(&mut self, step: Step) {
        match &step {
            Step::Failed { message, .. } => {
                return self.fail(format!("the provider failed within its stream: {message}"));
            }
            Step::Usage(usage) => self.usage.get_or_insert_default().merge(*usage),
            // Gemini's streams end without saying so.
            Step::Stop(_) => self.complete = true,
            _ => {}
        }
        if step.is_content() {
            self.begun = true;
            self.pieces += 1;
        }
        if let Mode::Translate { writer, .. } = &mut self.mode {
            writer.write(step, &mut self.out);
        }
    }

    fn end_translation(&mut self) {
        if let Mode::Translate { writer, ended, .. } = &mut self.mode
            && !std::mem::replace(ended, true)
        {
            writer.finish(&mut self.out);
        }
    }

    /// An event in the caller's own format.
    fn pass(&mut self, event: &Event) {
        if event.data.is_empty() {
            self.out.extend_from_slice(&event.raw);
            return;
        }
        // What passes is not read, but it must look like what it should be.
        if !event.is_done() && event.data.trim_ascii_start().first() != Some(&b'{') {
            return self.fail(NO_PART.to_owned());
        }
        let is_kept = match self.format {
            Format::Chat | Format::Completions => self.pass_chunk(event),
            Format::Responses => self.pass_response(event),
            Format::Messages | Format::Gemini => self.pass_message(event),
        };
        if is_kept {
            self.out.extend_from_slice(&event.raw);
        }
    }

    fn pass_chunk(&mut self, event: &Event) -> bool {
        if event.is_done() {
            (self.begun, self.complete) = (true, true);
            return true;
        }
        let data = &event.data[..];
        if data.starts_with(b"{\"error\"") || data.starts_with(b"{ \"error\"") {
            self.fail_in_own_words(event);
            return false;
        }
        if !self.begun && !self.look_for_first_token(event) {
            return false;
        }
        self.pieces += 1;
        // A server that ends without [DONE] has still ended, once it says why.
        if memchr::memmem::find(data, b"\"finish_reason\":\"").is_some() {
            self.complete = true;
        }
        let Some(at) = memchr::memmem::rfind(data, b"\"usage\":") else { return true };
        if data[at + 8..].trim_ascii_start().starts_with(b"null") {
            return true;
        }
        let Ok(chunk) = serde_json::from_slice::<PassingChunk<'_>>(data) else { return true };
        let found = chunk.usage.and_then(|usage| usage::of_openai(usage.get()));
        if let Some(found) = found {
            self.usage.get_or_insert_default().merge(found);
        }
        let strip = matches!(self.mode, Mode::Pass { strip_usage: true, .. });
        !(strip && chunk.choices.is_empty() && found.is_some())
    }

    fn pass_message(&mut self, event: &Event) -> bool {
        match &event.name[..] {
            b"message_stop" => (self.begun, self.complete) = (true, true),
            b"error" => {
                self.fail_in_own_words(event);
                return false;
            }
            b"content_block_delta" => {
                self.begun = true;
                self.pieces += 1;
            }
            b"content_block_start" if !self.begun => return self.look_for_first_token(event),
            b"message_start" | b"message_delta" => {
                let parsed = serde_json::from_slice::<PassingMessage<'_>>(&event.data).ok();
                let usage = parsed.and_then(|parsed| {
                    let at_the_start = parsed.message.and_then(|message| message.usage);
                    parsed.usage.or(at_the_start)
                });
                if let Some(found) = usage.and_then(|usage| usage::of_anthropic(usage.get())) {
                    self.usage.get_or_insert_default().merge(found);
                }
            }
            _ => {}
        }
        true
    }

    fn pass_response(&mut self, event: &Event) -> bool {
        match &event.name[..] {
            b"response.created" | b"response.in_progress" | b"response.queued" => {}
            b"error" | b"response.failed" => {
                self.fail_in_own_words(event);
                return false;
            }
            b"response.completed" | b"response.incomplete" => {
                (self.begun, self.complete) = (true, true);
                let parsed = serde_json::from_slice::<PassingMessage<'_>>(&event.data).ok();
                let usage = parsed.and_then(|parsed| parsed.response?.usage);
                self.usage = usage.and_then(|usage| usage::of_openai(usage.get())).or(self.usage);
            }
            _ => {
                self.begun = true;
                self.pieces += 1;
            }
        }
        true
    }

    /// Notes whether an event has something of the answer; false if it is none of this dialect.
    fn look_for_first_token(&mut self, event: &Event) -> bool {
        let Mode::Pass { reader: Some(reader), .. } = &mut self.mode else {
            self.begun = true;
            return true;
        };
        let Some(steps) = reader.read(event) else {
            self.fail(NO_PART.to_owned());
            return false;
        };
        self.begun = steps.iter().any(Step::is_content);
        true
    }

    /// The provider's own event for a failure: passed on, once the stream has begun.
    fn fail_in_own_words(&mut self, event: &Event) {
        let said = failure::message_of(&event.data).map(|said| format!(": {said}")).unwrap_or_default();
        if self.begun {
            self.out.extend_from_slice(&event.raw);
            self.failure = Some(format!("the provider failed within its stream{said}"));
            return;
        }
        self.fail(format!("the provider failed within its stream{said}"));
    }

    pub(super) fn fail(&mut self, reason: String) {
        if self.failure.is_some() {
            return;
        }
        if self.begun {
            let error = LlmError::new(ErrorKind::ProviderFailed, reason.clone());
            self.out.extend_from_slice(&failure::stream_event(self.format, &error));
        }
        self.failure = Some(reason);
    }
}
