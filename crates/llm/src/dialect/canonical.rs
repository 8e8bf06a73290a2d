//! The form between dialects: what a request, an answer and a stream consist of, whoever's words they are in.

use serde_json::{Map, Number, Value};

use super::usage::Usage;

/// A request to a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Request {
    /// What the model is told before the conversation.
    pub(crate) system: Vec<Part>,
    pub(crate) messages: Vec<Message>,
    pub(crate) tools: Vec<ToolSpec>,
    pub(crate) tool_choice: Option<ToolChoice>,
    pub(crate) parallel_tools: Option<bool>,
    pub(crate) max_tokens: Option<u64>,
    pub(crate) temperature: Option<Number>,
    pub(crate) top_p: Option<Number>,
    pub(crate) top_k: Option<Number>,
    pub(crate) presence_penalty: Option<Number>,
    pub(crate) frequency_penalty: Option<Number>,
    pub(crate) seed: Option<Number>,
    pub(crate) stop: Vec<String>,
    pub(crate) output: Output,
    pub(crate) reasoning: Option<Reasoning>,
    pub(crate) user: Option<String>,
    pub(crate) stream: bool,
    /// Members that this form does not know. A writer takes those that its own dialect knows.
    pub(crate) extra: Map<String, Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    User,
    Assistant,
}

/// One turn.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Message {
    pub(crate) role: Role,
    pub(crate) parts: Vec<Part>,
}

/// What a turn or an answer consists of.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Part {
    Text {
        text: String,
        /// Anthropic's mark that a prompt may be cached up to here.
        cache: Option<Value>,
    },
    Media(Media),
    ToolCall {
        id: String,
        name: String,
        /// A JSON object as text: models do not always write one.
        arguments: String,
        /// What Gemini wants back with the call.
        signature: Option<String>,
    },
    ToolResult {
        id: String,
        content: Vec<Part>,
        is_error: bool,
    },
    /// What the model thought before it answered.
    Thinking {
        text: String,
        /// The vendor's proof that it is unchanged.
        signature: Option<String>,
    },
    /// The same, encrypted.
    HiddenThinking(String),
    /// What the model says instead of an answer that it will not give.
    Refusal(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MediaKind {
    Image,
    Document,
    Audio,
}

/// A picture, a document or a sound.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Media {
    pub(crate) kind: MediaKind,
    pub(crate) source: MediaSource,
    /// OpenAI's `detail` of a picture.
    pub(crate) detail: Option<String>,
    /// The name of a document.
    pub(crate) name: Option<String>,
    pub(crate) cache: Option<Value>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum MediaSource {
    Url(String),
    Base64 { mime: String, data: String },
}

/// A tool that the model may call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ToolSpec {
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    /// JSON Schema of its input.
    pub(crate) schema: Value,
    pub(crate) strict: Option<bool>,
    pub(crate) cache: Option<Value>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ToolChoice {
    Auto,
    None,
    Required,
    Named(String),
}

/// What form the answer must have.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Output {
    #[default]
    Text,
    Json,
    Schema {
        name: String,
        schema: Value,
        strict: Option<bool>,
    },
}

/// How much the model thinks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reasoning {
    pub(crate) effort: Option<String>,
    pub(crate) budget_tokens: Option<u64>,
}

impl Reasoning {
    /// The budget in tokens, or what the effort amounts to. `None`: the model shall not think.
    pub(crate) fn budget(&self) -> Option<u64> {
        self.budget_tokens.or(match self.effort.as_deref() {
            None | Some("none") => None,
            Some("minimal" | "low") => Some(1024),
            Some("medium") => Some(4096),
            Some(_) => Some(16_384),
        })
    }

    /// The effort, or what the budget amounts to.
    pub(crate) fn effort(&self) -> String {
        self.effort.clone().unwrap_or_else(|| {
            match self.budget_tokens {
                None => "none",
                Some(..=2048) => "low",
                Some(2049..=8192) => "medium",
                Some(_) => "high",
            }
            .to_owned()
        })
    }
}

/// Why an answer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It was finished.
    End,
    /// At a text that the request names.
    Sequence(Option<String>),
    /// At the most tokens it may have.
    Length,
    /// To call tools.
    Tools,
    /// The vendor's filter, or the model, refused.
    Refused,
}

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) id: String,
    pub(crate) model: String,
    pub(crate) parts: Vec<Part>,
    pub(crate) stop: Stop,
    pub(crate) usage: Usage,
}

/// A step of a streamed answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    Start {
        id: String,
        model: String,
    },
    Text(String),
    Thinking(String),
    ThinkingSignature(String),
    Refusal(String),
    ToolCall {
        id: String,
        name: String,
        signature: Option<String>,
    },
    /// More of the arguments of the call with this number, counted from 0.
    ToolArguments {
        call: usize,
        json: String,
    },
    Usage(Usage),
    Stop(Stop),
    /// The provider says that it failed.
    Failed {
        kind: String,
        message: String,
    },
}

impl Step {
    /// Whether the caller's reader would see something of the answer.
    pub(crate) const fn is_content(&self) -> bool {
        !matches!(self, Self::Start { .. } | Self::Usage(_) | Self::Failed { .. })
    }
}

impl Part {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text { text: text.into(), cache: None }
    }
}

/// All text of parts, one after the other.
pub(crate) fn text_of(parts: &[Part]) -> String {
    let texts = parts.iter().filter_map(|part| match part {
        Part::Text { text, .. } => Some(text.as_str()),
        _ => None,
    });
    texts.collect()
}
