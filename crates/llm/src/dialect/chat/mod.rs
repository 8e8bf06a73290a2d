//! OpenAI's chat completions.

mod answer;
mod request;
mod stream;

pub(super) use answer::garbage;
pub(crate) use answer::{read_answer, write_answer};
pub(crate) use request::{read_request, write_request};
pub(crate) use stream::{Reader, Writer};

use super::canonical::Stop;

/// OpenAI's word for why an answer ended.
pub(super) const fn finish_reason(stop: &Stop) -> &'static str {
    match stop {
        Stop::End | Stop::Sequence(_) => "stop",
        Stop::Length => "length",
        Stop::Tools => "tool_calls",
        Stop::Refused => "content_filter",
    }
}

pub(super) fn stop_of(reason: &str) -> Stop {
    match reason {
        "length" => Stop::Length,
        "tool_calls" | "function_call" => Stop::Tools,
        "content_filter" => Stop::Refused,
        _ => Stop::End,
    }
}
