//! What a tool answers with.

use serde_json::Value;

/// One part of an answer as a model takes it in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Text.
    Text(String),
    /// A picture.
    Image {
        /// Its bytes in base64.
        base64: String,
        /// Its media type, for example `image/png`.
        mime: &'static str,
    },
    /// A part as another MCP server gave it: a sound, a resource, a link to one.
    Mcp(Value),
}

/// An answer that says how a model reads it.
pub trait Readable {
    /// Its parts, in order.
    fn content(&self) -> Vec<Content>;
}

/// A tool's answer in both forms.
#[derive(Clone, Debug)]
pub struct ToolOutput {
    /// As data.
    pub value: Value,
    /// As a model reads it.
    pub content: Vec<Content>,
}
