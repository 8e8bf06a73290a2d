//! Requests and answers in tokens.

use super::generate;
use crate::dialect::canonical::{Part, Request, Step};

/// How many tokens a request is taken to have.
pub(super) fn tokens_of(request: &Request) -> u64 {
    let all = request.system.iter().chain(request.messages.iter().flat_map(|turn| &turn.parts));
    all.map(part_tokens).sum::<u64>().max(1)
}

fn part_tokens(part: &Part) -> u64 {
    match part {
        Part::Text { text, .. } | Part::Thinking { text, .. } | Part::Refusal(text) => generate::count(text),
        Part::ToolCall { arguments, .. } => generate::count(arguments),
        Part::ToolResult { content, .. } => content.iter().map(part_tokens).sum(),
        Part::Media(_) => 100,
        Part::HiddenThinking(_) => 0,
    }
}

/// One token for each piece that is streamed.
pub(super) fn output_tokens(parts: &[Part]) -> u64 {
    let content = steps_of(parts)
        .into_iter()
        .filter(|step| matches!(step, Step::Text(_) | Step::Thinking(_) | Step::ToolArguments { .. }));
    content.count() as u64
}

/// An answer in pieces of a token.
pub(super) fn steps_of(parts: &[Part]) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut calls = 0;
    for part in parts {
        match part {
            Part::Text { text, .. } => steps.extend(generate::split(text).into_iter().map(Step::Text)),
            Part::Thinking { text, signature } => {
                steps.extend(generate::split(text).into_iter().map(Step::Thinking));
                steps.extend(signature.clone().map(Step::ThinkingSignature));
            }
            Part::ToolCall { id, name, arguments, .. } => {
                steps.push(Step::ToolCall { id: id.clone(), name: name.clone(), signature: None });
                let middle =
                    (arguments.len() / 2..=arguments.len()).find(|at| arguments.is_char_boundary(*at));
                let (first, second) = arguments.split_at(middle.unwrap_or(arguments.len()));
                for json in [first, second].into_iter().filter(|json| !json.is_empty()) {
                    steps.push(Step::ToolArguments { call: calls, json: json.to_owned() });
                }
                calls += 1;
            }
            _ => {}
        }
    }
    steps
}
