//! Anthropic's messages.

mod answer;
mod request;
mod stream;

pub(crate) use answer::{read_answer, write_answer};
pub(crate) use request::{read_request, write_request};
pub(crate) use stream::{Reader, Writer};

use super::canonical::Stop;

/// Anthropic's word for why an answer ended.
fn stop_reason(stop: &Stop) -> &'static str {
    match stop {
        Stop::End => "end_turn",
        Stop::Sequence(_) => "stop_sequence",
        Stop::Length => "max_tokens",
        Stop::Tools => "tool_use",
        Stop::Refused => "refusal",
    }
}

fn stop_of(reason: &str, sequence: Option<&str>) -> Stop {
    match reason {
        "max_tokens" | "model_context_window_exceeded" => Stop::Length,
        "tool_use" => Stop::Tools,
        "stop_sequence" => Stop::Sequence(sequence.map(str::to_owned)),
        "refusal" => Stop::Refused,
        _ => Stop::End,
    }
}
