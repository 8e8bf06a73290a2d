//! How many tokens an answer took, in each vendor's words.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Tokens of one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Usage {
    /// All that was sent, cached or not.
    pub(crate) input: u64,
    /// All that was answered, reasoning included.
    pub(crate) output: u64,
    /// The part of `input` that the provider's prompt cache had.
    pub(crate) cache_read: u64,
    /// The part of `input` that was written to it.
    pub(crate) cache_write: u64,
    /// The part of `output` that is reasoning.
    pub(crate) reasoning: u64,
    /// Whether it was estimated, because the provider did not say.
    pub(crate) estimated: bool,
}

/// OpenAI's and Anthropic's words for it: they overlap in names and not in meaning.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Reported {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    prompt_tokens_details: Option<Details>,
    input_tokens_details: Option<Details>,
    completion_tokens_details: Option<Details>,
    output_tokens_details: Option<Details>,
    cache_read_input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    /// DeepSeek's.
    prompt_cache_hit_tokens: Option<u64>,
    total_tokens: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Details {
    cached_tokens: Option<u64>,
    reasoning_tokens: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ReportedByGemini {
    #[serde(rename = "promptTokenCount")]
    prompt: u64,
    #[serde(rename = "candidatesTokenCount")]
    candidates: u64,
    #[serde(rename = "thoughtsTokenCount")]
    thoughts: u64,
    #[serde(rename = "cachedContentTokenCount")]
    cached_content: u64,
    #[serde(rename = "toolUsePromptTokenCount")]
    tool_use_prompt: u64,
}

/// OpenAI's `usage`, of completions and of responses.
pub(crate) fn of_openai(json: &str) -> Option<Usage> {
    let reported: Reported = serde_json::from_str(json).ok()?;
    let output = reported.completion_tokens.or(reported.output_tokens);
    // Embeddings report what was sent and the total.
    let input = reported.prompt_tokens.or(reported.input_tokens).or(reported.total_tokens)?;
    let cached = reported.prompt_tokens_details.or(reported.input_tokens_details).unwrap_or_default();
    let details = reported.completion_tokens_details.or(reported.output_tokens_details).unwrap_or_default();
    let cache_read = cached.cached_tokens.or(reported.prompt_cache_hit_tokens).unwrap_or(0);
    Some(Usage {
        input,
        output: output.unwrap_or(0),
        cache_read: cache_read.min(input),
        cache_write: 0,
        reasoning: details.reasoning_tokens.unwrap_or(0),
        estimated: false,
    })
}

/// Anthropic's `usage`: what it calls input leaves out what the cache had.
pub(crate) fn of_anthropic(json: &str) -> Option<Usage> {
    let reported: Reported = serde_json::from_str(json).ok()?;
    let cache_read = reported.cache_read_input_tokens.unwrap_or(0);
    let cache_write = reported.cache_creation_input_tokens.unwrap_or(0);
    if reported.input_tokens.is_none() && reported.output_tokens.is_none() {
        return None;
    }
    Some(Usage {
        input: reported.input_tokens.unwrap_or(0).saturating_add(cache_read).saturating_add(cache_write),
        output: reported.output_tokens.unwrap_or(0),
        cache_read,
        cache_write,
        reasoning: 0,
        estimated: false,
    })
}

/// Gemini's `usageMetadata`: what it calls candidates leaves out the thoughts.
pub(crate) fn of_gemini(json: &str) -> Option<Usage> {
    let reported: ReportedByGemini = serde_json::from_str(json).ok()?;
    Some(Usage {
        input: reported.prompt.saturating_add(reported.tool_use_prompt),
        output: reported.candidates.saturating_add(reported.thoughts),
        cache_read: reported.cached_content.min(reported.prompt),
        cache_write: 0,
        reasoning: reported.thoughts,
        estimated: false,
    })
}

impl Usage {
    /// Takes over what a later report of the same answer says: each counts from the beginning. Anthropic tells the input
    /// at the start and the output at the end.
    pub(crate) fn merge(&mut self, later: Self) {
        self.input = self.input.max(later.input);
        self.output = self.output.max(later.output);
        self.cache_read = self.cache_read.max(later.cache_read);
        self.cache_write = self.cache_write.max(later.cache_write);
        self.reasoning = self.reasoning.max(later.reasoning);
        self.estimated = later.estimated;
    }

    pub(crate) const fn total(&self) -> u64 {
        self.input.saturating_add(self.output)
    }

    pub(crate) fn to_chat(self) -> Value {
        json!({
            "prompt_tokens": self.input,
            "completion_tokens": self.output,
            "total_tokens": self.total(),
            "prompt_tokens_details": {"cached_tokens": self.cache_read},
            "completion_tokens_details": {"reasoning_tokens": self.reasoning},
        })
    }

    pub(crate) fn to_responses(self) -> Value {
        json!({
            "input_tokens": self.input,
            "input_tokens_details": {"cached_tokens": self.cache_read},
            "output_tokens": self.output,
            "output_tokens_details": {"reasoning_tokens": self.reasoning},
            "total_tokens": self.total(),
        })
    }

    pub(crate) fn to_anthropic(self) -> Value {
        json!({
            "input_tokens": self.input.saturating_sub(self.cache_read).saturating_sub(self.cache_write),
            "cache_creation_input_tokens": self.cache_write,
            "cache_read_input_tokens": self.cache_read,
            "output_tokens": self.output,
        })
    }

    pub(crate) fn to_gemini(self) -> Value {
        json!({
            "promptTokenCount": self.input,
            "candidatesTokenCount": self.output.saturating_sub(self.reasoning),
            "thoughtsTokenCount": self.reasoning,
            "cachedContentTokenCount": self.cache_read,
            "totalTokenCount": self.total(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_vendors_words_mean_the_same_in_the_end() {
        let expected =
            Usage { input: 100, output: 20, cache_read: 60, cache_write: 0, reasoning: 5, estimated: false };
        assert_eq!(of_openai(&expected.to_chat().to_string()), Some(expected));
        assert_eq!(of_openai(&expected.to_responses().to_string()), Some(expected));
        assert_eq!(of_gemini(&expected.to_gemini().to_string()), Some(expected));
        let written = Usage { cache_write: 10, reasoning: 0, ..expected };
        assert_eq!(of_anthropic(&written.to_anthropic().to_string()), Some(written));
    }

    #[test]
    fn what_embeddings_report_is_input() {
        let usage = of_openai(r#"{"prompt_tokens": 8, "total_tokens": 8}"#).unwrap();
        assert_eq!((usage.input, usage.output), (8, 0));
    }

    proptest! {
        #[test]
        fn no_report_makes_a_reader_panic(text in ".{0,60}", number: u64) {
            for json in [text, format!(r#"{{"input_tokens":{number},"cache_read_input_tokens":{number}}}"#)] {
                let _ = (of_openai(&json), of_anthropic(&json), of_gemini(&json));
            }
        }
    }
}
