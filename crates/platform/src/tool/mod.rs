//! Tools and the toolbox: a capability written once, callable over REST and MCP, by agents, as jobs and mission steps.
//!
//! A [`Tool`] has a name (`area_verb`), a description for the model or person who picks it, JSON Schemas derived from
//! its Rust types, the [`Scope`] its caller needs, and a handler that calls the area's service. A [`Toolbox`] looks
//! tools up, checks the scope, validates the input with an error that names the field, and measures every call.
//!
//! An answer has two forms: data, which programs get over REST, and [`Content`], which a model reads. A tool whose
//! answer is data ([`Tool::new`]) is read as JSON; one whose answer is to be read ([`Tool::reading`]) says how.

mod guest;
mod output;
mod progress;
mod schema;
mod toolbox;

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

pub use self::{
    guest::{GuestTool, ToolSource},
    output::{Content, Readable, ToolOutput},
    progress::{Progress, Step},
    toolbox::{Toolbox, ToolboxError},
};
use crate::{
    field::refused_by_type,
    identity::{Caller, Scope, Verb},
    problem::Problem,
};

/// How long a tool may take when its caller names no deadline.
pub const DEADLINE_DEFAULT: Duration = Duration::from_mins(2);

/// What a handler knows of its call beside the input.
#[derive(Clone, Debug)]
pub struct ToolContext {
    /// On whose behalf it runs.
    pub caller: Caller,
    /// The name that the calling agent gives itself, or that its session has; empty for none. Agents of one caller
    /// keep things apart by it, such as the tab that they work in.
    pub agent: String,
    /// When the caller stops waiting.
    pub deadline: Instant,
    /// Where the tool tells how far it is.
    pub progress: Progress,
}

impl ToolContext {
    /// A call by nobody in particular of a caller, that may take this long.
    pub fn new(caller: Caller, deadline: Duration) -> Self {
        Self {
            caller,
            agent: String::new(),
            deadline: Instant::now() + deadline,
            progress: Progress::default(),
        }
    }
}

type ToolFuture = Pin<Box<dyn Future<Output = Result<ToolOutput, Problem>> + Send>>;
type ToolHandler = dyn Fn(ToolContext, Value) -> ToolFuture + Send + Sync;

/// A named capability with schemas, a required scope and a handler.
#[derive(Clone)]
pub struct Tool {
    /// `area_verb`, for example `browser_navigate`.
    pub name: &'static str,
    /// One or two sentences that tell a model when to use it.
    pub description: &'static str,
    /// JSON Schema (2020-12) of the input; always an object.
    pub input_schema: Value,
    /// JSON Schema (2020-12) of the output, where the answer is data.
    pub output_schema: Option<Value>,
    /// What the caller must hold.
    pub scope: Scope,
    /// Whether it may destroy what cannot be had again.
    pub destructive: bool,
    handler: Arc<ToolHandler>,
}

impl std::fmt::Debug for Tool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tool").field("name", &self.name).field("scope", &self.scope).finish_non_exhaustive()
    }
}

impl Tool {
    /// A tool whose answer is data. The schemas come from the handler's types.
    pub fn new<I, O, F, Fut>(name: &'static str, description: &'static str, scope: Scope, handler: F) -> Self
    where
        I: DeserializeOwned + JsonSchema,
        O: Serialize + JsonSchema + 'static,
        F: Fn(ToolContext, I) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<O, Problem>> + Send + 'static,
    {
        let tool = Self::built::<I, O, F, Fut>(name, description, scope, handler, |_, value| {
            vec![Content::Text(value.to_string())]
        });
        Self { output_schema: Some(schema::output_schema::<O>()), ..tool }
    }

    /// A tool whose answer a model reads as the answer's type says. It has no output schema: its clients would show
    /// the model JSON instead.
    pub fn reading<I, O, F, Fut>(
        name: &'static str,
        description: &'static str,
        scope: Scope,
        handler: F,
    ) -> Self
    where
        I: DeserializeOwned + JsonSchema,
        O: Serialize + Readable + 'static,
        F: Fn(ToolContext, I) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<O, Problem>> + Send + 'static,
    {
        Self::built::<I, O, F, Fut>(name, description, scope, handler, |output: &O, _| output.content())
    }

    fn built<I, O, F, Fut>(
        name: &'static str,
        description: &'static str,
        scope: Scope,
        handler: F,
        content: fn(&O, &Value) -> Vec<Content>,
    ) -> Self
    where
        I: DeserializeOwned + JsonSchema,
        O: Serialize + 'static,
        F: Fn(ToolContext, I) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<O, Problem>> + Send + 'static,
    {
        let handler = move |context, input: Value| -> ToolFuture {
            // The schema was checked before; what is left are rules that only the type knows.
            let input = match serde_path_to_error::deserialize::<_, I>(input) {
                Ok(input) => input,
                Err(error) => {
                    let path = error.path().to_string();
                    let problem = refused_by_type(&path, &error.into_inner().to_string(), "input");
                    return Box::pin(std::future::ready(Err(problem)));
                }
            };
            let result = handler(context, input);
            Box::pin(async move {
                let output = result.await?;
                let value = serde_json::to_value(&output)
                    .map_err(|error| Problem::internal("serializing a tool's output", &error))?;
                let content = content(&output, &value);
                Ok(ToolOutput { value, content })
            })
        };
        Self {
            name,
            description,
            input_schema: schema::input_schema::<I>(),
            output_schema: None,
            scope,
            destructive: false,
            handler: Arc::new(handler),
        }
    }

    /// Declares that it may destroy what cannot be had again: clients ask their user first.
    #[must_use]
    pub fn destructive(self) -> Self {
        Self { destructive: true, ..self }
    }

    /// Whether it changes nothing.
    pub fn is_read_only(&self) -> bool {
        self.scope.verb == Verb::Read
    }
}
