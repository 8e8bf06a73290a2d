//! What callers and providers speak.
//!
//! A request comes in through an [`Api`] and goes out in a [`Dialect`]. Where both are the same vendor's, bytes pass:
//! [`scan`] finds what routing needs and splices the model's name. Otherwise it is read into the small [`canonical`]
//! form and written again; each format's module has the readers and writers of its requests, answers and streams.

pub(crate) mod anthropic;
pub(crate) mod canonical;
pub(crate) mod chat;
pub(crate) mod completions;
pub(crate) mod embeddings;
pub(crate) mod failure;
pub(crate) mod gemini;
#[cfg(test)]
mod golden_tests;
mod json;
pub(crate) mod responses;
pub(crate) mod scan;
pub(crate) mod sse;
pub(crate) mod translate;
pub(crate) mod usage;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a provider speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// OpenAI's API, and everything that is compatible with it.
    #[default]
    OpenAi,
    /// Anthropic's Messages API.
    Anthropic,
    /// Google's Gemini API.
    Gemini,
}

impl Dialect {
    /// As in the configuration, and in `gen_ai.provider.name`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
        }
    }

    /// Where the vendor's own API begins.
    pub(crate) const fn home(self) -> &'static str {
        match self {
            Self::OpenAi => "https://api.openai.com/v1",
            Self::Anthropic => "https://api.anthropic.com/v1",
            Self::Gemini => "https://generativelanguage.googleapis.com/v1beta",
        }
    }
}

/// What a caller asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Api {
    /// OpenAI's chat completions.
    Chat,
    /// OpenAI's completions of old.
    Completions,
    /// OpenAI's responses.
    Responses,
    /// OpenAI's embeddings.
    Embeddings,
    /// Anthropic's messages.
    Messages,
    /// Anthropic's count of a message's tokens.
    CountTokens,
}

impl Api {
    /// Whose API it is: what failures look like.
    pub(crate) const fn dialect(self) -> Dialect {
        match self {
            Self::Chat | Self::Completions | Self::Responses | Self::Embeddings => Dialect::OpenAi,
            Self::Messages | Self::CountTokens => Dialect::Anthropic,
        }
    }

    /// `gen_ai.operation.name`.
    pub(crate) const fn operation(self) -> &'static str {
        match self {
            Self::Chat | Self::Messages | Self::Responses => "chat",
            Self::Completions => "text_completion",
            Self::Embeddings => "embeddings",
            Self::CountTokens => "count_tokens",
        }
    }

    /// The path below the base URL of a provider that speaks the same.
    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::Chat => "/chat/completions",
            Self::Completions => "/completions",
            Self::Responses => "/responses",
            Self::Embeddings => "/embeddings",
            Self::Messages => "/messages",
            Self::CountTokens => "/messages/count_tokens",
        }
    }
}
