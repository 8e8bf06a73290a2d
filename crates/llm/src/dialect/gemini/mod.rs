//! Google's Gemini.

mod answer;
mod request;
mod stream;

pub(crate) use answer::{read_answer, write_answer};
pub(crate) use request::{read_request, write_request};
pub(crate) use stream::{Reader, Writer};

use super::canonical::Stop;

/// Gemini's word for why an answer ended. It has none for calls.
const fn finish_reason(stop: &Stop) -> &'static str {
    match stop {
        Stop::End | Stop::Sequence(_) | Stop::Tools => "STOP",
        Stop::Length => "MAX_TOKENS",
        Stop::Refused => "SAFETY",
    }
}

fn stop_of(reason: &str, has_calls: bool) -> Stop {
    match reason {
        "MAX_TOKENS" => Stop::Length,
        "SAFETY" | "RECITATION" | "BLOCKLIST" | "PROHIBITED_CONTENT" | "SPII" | "IMAGE_SAFETY" => {
            Stop::Refused
        }
        _ if has_calls => Stop::Tools,
        _ => Stop::End,
    }
}
