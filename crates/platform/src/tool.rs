//! Tools and the toolbox: a capability written once, callable over REST and MCP, by agents, as jobs and mission steps.
//!
//! A [`Tool`] has a name (`area_verb`), a description for the model or person who picks it, JSON Schemas derived from
//! its Rust types, the [`Scope`] its caller needs, and a handler that calls the area's service. A [`Toolbox`] looks
//! tools up, checks the scope, validates the input with an error that names the field, and measures every call.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use jsonschema::Validator;
use metrics::{counter, histogram};
use schemars::{JsonSchema, generate::SchemaSettings};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    identity::{Caller, Scope},
    problem::{DEADLINE_EXCEEDED, NOT_FOUND, Problem},
    telemetry::{TOOL_CALL_DURATION_SECONDS, TOOL_CALLS_TOTAL},
};

/// How long a tool may take when its caller names no deadline.
pub const DEADLINE_DEFAULT: Duration = Duration::from_mins(2);

/// What a handler knows of its call beside the input.
#[derive(Clone, Debug)]
pub struct ToolContext {
    /// On whose behalf it runs.
    pub caller: Caller,
    /// When the caller stops waiting.
    pub deadline: Instant,
}

type ToolFuture = Pin<Box<dyn Future<Output = Result<Value, Problem>> + Send>>;
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
    /// JSON Schema (2020-12) of the output.
    pub output_schema: Value,
    /// What the caller must hold.
    pub scope: Scope,
    handler: Arc<ToolHandler>,
}

impl std::fmt::Debug for Tool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tool").field("name", &self.name).field("scope", &self.scope).finish_non_exhaustive()
    }
}

impl Tool {
    /// A tool whose schemas come from the handler's types.
    pub fn new<I, O, F, Fut>(name: &'static str, description: &'static str, scope: Scope, handler: F) -> Self
    where
        I: DeserializeOwned + JsonSchema,
        O: Serialize + JsonSchema,
        F: Fn(ToolContext, I) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<O, Problem>> + Send + 'static,
    {
        let handler = move |context, input: Value| -> ToolFuture {
            // The schema was checked before; what is left are rules that only the type knows.
            let input = match serde_path_to_error::deserialize::<_, I>(input) {
                Ok(input) => input,
                Err(error) => {
                    let field = error.path().to_string();
                    let problem = Problem::invalid_field(&field, error.into_inner());
                    return Box::pin(std::future::ready(Err(problem)));
                }
            };
            let result = handler(context, input);
            Box::pin(async move {
                serde_json::to_value(result.await?)
                    .map_err(|error| Problem::internal("serializing a tool's output", &error))
            })
        };
        Self {
            name,
            description,
            input_schema: schema_of::<I>(),
            output_schema: schema_of::<O>(),
            scope,
            handler: Arc::new(handler),
        }
    }
}

fn schema_of<T: JsonSchema>() -> Value {
    // Inlined: many clients of tool schemas do not follow `$ref`.
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

/// Two tools have the same name, or a schema is not one: a defect of the program, found at start.
#[derive(Debug, thiserror::Error)]
pub enum ToolboxError {
    /// The name is taken.
    #[error("two tools are called `{0}`")]
    Duplicate(&'static str),
    /// The generated input schema does not compile.
    #[error("the input schema of tool `{name}` is invalid: {reason}")]
    Schema {
        /// Which tool.
        name: &'static str,
        /// What the validator says.
        reason: String,
    },
}

struct Entry {
    tool: Tool,
    input: Validator,
}

/// All tools of a server. Cheap to clone; fixed once built.
#[derive(Clone)]
pub struct Toolbox(Arc<BTreeMap<&'static str, Entry>>);

impl std::fmt::Debug for Toolbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Toolbox {
    /// Collects the tools of all areas.
    pub fn new(tools: impl IntoIterator<Item = Tool>) -> Result<Self, ToolboxError> {
        let mut entries = BTreeMap::new();
        for tool in tools {
            let input = jsonschema::validator_for(&tool.input_schema)
                .map_err(|error| ToolboxError::Schema { name: tool.name, reason: error.to_string() })?;
            let name = tool.name;
            if entries.insert(name, Entry { tool, input }).is_some() {
                return Err(ToolboxError::Duplicate(name));
            }
        }
        Ok(Self(Arc::new(entries)))
    }

    /// The tools that this caller may use, by name.
    pub fn visible_to<'a>(&'a self, caller: &'a Caller) -> impl Iterator<Item = &'a Tool> {
        self.0.values().map(|entry| &entry.tool).filter(|tool| caller.may(tool.scope))
    }

    /// Calls a tool: looks it up, checks the caller's scope, validates the input, enforces the deadline.
    pub async fn call(
        &self,
        caller: &Caller,
        name: &str,
        input: Value,
        deadline: Duration,
    ) -> Result<Value, Problem> {
        let entry = self.0.get(name).ok_or_else(|| self.unknown(name))?;
        let started = Instant::now();
        let result = call_entry(entry, caller, input, deadline).await;
        let outcome = result.as_ref().map_or_else(|problem| problem.kind.slug, |_| "ok");
        histogram!(TOOL_CALL_DURATION_SECONDS, "tool" => entry.tool.name).record(started.elapsed());
        counter!(TOOL_CALLS_TOTAL, "tool" => entry.tool.name, "outcome" => outcome).increment(1);
        result
    }

    fn unknown(&self, name: &str) -> Problem {
        match crate::config::nearest(name, self.0.keys().copied()) {
            Some(nearest) => Problem::new(NOT_FOUND, format!("no tool `{name}`; did you mean `{nearest}`?")),
            None => Problem::not_found("tool", name),
        }
    }
}

async fn call_entry(
    entry: &Entry,
    caller: &Caller,
    input: Value,
    deadline: Duration,
) -> Result<Value, Problem> {
    caller.require(entry.tool.scope)?;
    if let Some(error) = entry.input.iter_errors(&input).next() {
        let field = error.instance_path().to_string();
        let field = field.trim_start_matches('/').replace('/', ".");
        let field = if field.is_empty() { "input" } else { &field };
        return Err(Problem::invalid_field(field, &error));
    }
    let context = ToolContext { caller: caller.clone(), deadline: Instant::now() + deadline };
    match tokio::time::timeout(deadline, (entry.tool.handler)(context, input)).await {
        Ok(result) => result,
        Err(_) => Err(Problem::new(
            DEADLINE_EXCEEDED,
            format!("tool `{}` did not finish within {}s", entry.tool.name, deadline.as_secs_f64()),
        )),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;
    use crate::{identity::Tenant, problem::FORBIDDEN};

    #[derive(Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Add {
        /// The first number.
        left: u8,
        /// The second number.
        right: u8,
    }

    #[derive(Serialize, JsonSchema)]
    struct Sum {
        sum: u16,
    }

    fn toolbox() -> Toolbox {
        let add = Tool::new("lab_add", "adds two numbers", Scope::read("lab"), |_, input: Add| async move {
            Ok(Sum { sum: u16::from(input.left) + u16::from(input.right) })
        });
        let wait = Tool::new("lab_wait", "never ends", Scope::read("lab"), |_, _: Add| async move {
            std::future::pending::<Result<Sum, Problem>>().await
        });
        Toolbox::new([add, wait]).unwrap()
    }

    async fn call(name: &str, input: Value) -> Result<Value, Problem> {
        toolbox().call(&Caller::local(), name, input, DEADLINE_DEFAULT).await
    }

    #[tokio::test]
    async fn a_tool_is_called_with_typed_input() {
        assert_eq!(call("lab_add", json!({"left": 2, "right": 3})).await.unwrap(), json!({"sum": 5}));
    }

    #[tokio::test]
    async fn bad_input_is_refused_with_the_field_named() {
        for (input, field) in [
            (json!({"left": "two", "right": 3}), "left"),
            (json!({"left": 2, "right": 300}), "right"),
            (json!({"left": 2}), "right"),
            (json!({"left": 2, "right": 3, "more": 4}), "more"),
            (json!([1, 2]), "input"),
        ] {
            let problem = call("lab_add", input.clone()).await.unwrap_err();
            assert!(problem.detail.contains(field), "{input}: {}", problem.detail);
        }
    }

    #[tokio::test]
    async fn an_unknown_tool_is_answered_with_the_nearest() {
        let problem = call("lab_ad", json!({})).await.unwrap_err();
        assert!(problem.detail.contains("did you mean `lab_add`"), "{}", problem.detail);
    }

    #[tokio::test]
    async fn a_caller_without_the_scope_is_refused_and_does_not_see_the_tool() {
        let caller = Caller::with_key("k1", Tenant::local(), vec![Scope::read("jobs")]);
        let input = json!({"left": 2, "right": 3});
        let problem = toolbox().call(&caller, "lab_add", input, DEADLINE_DEFAULT).await.unwrap_err();
        assert_eq!(problem.kind, FORBIDDEN);
        assert_eq!(toolbox().visible_to(&caller).count(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_tool_that_never_ends_meets_its_deadline() {
        let problem = call("lab_wait", json!({"left": 2, "right": 3})).await.unwrap_err();
        assert_eq!(problem.kind, DEADLINE_EXCEEDED);
    }

    #[test]
    fn two_tools_with_one_name_are_refused() {
        let tool = || Tool::new("lab_add", "", Scope::read("lab"), |_, _: Add| async { Ok(Sum { sum: 0 }) });
        assert!(matches!(Toolbox::new([tool(), tool()]), Err(ToolboxError::Duplicate("lab_add"))));
    }
}
