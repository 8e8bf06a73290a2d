//! The toolbox: looks a tool up, checks scope and input, enforces the deadline, measures.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use jsonschema::Validator;
use metrics::{counter, histogram};
use serde_json::Value;

use super::{GuestTool, Tool, ToolContext, ToolOutput, ToolSource, schema::drop_nulls};
use crate::{
    field::refused_by_schema,
    identity::{Caller, Scope},
    problem::{DEADLINE_EXCEEDED, NOT_FOUND, Problem},
    telemetry::{TOOL_CALL_DURATION_SECONDS, TOOL_CALLS_TOTAL},
};

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

/// All tools of a server: those of its areas, which are fixed once it is built, and guests. Cheap to clone.
#[derive(Clone)]
pub struct Toolbox {
    entries: Arc<BTreeMap<&'static str, Entry>>,
    guests: Option<Arc<dyn ToolSource>>,
}

impl std::fmt::Debug for Toolbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.entries.keys()).finish()
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
        Ok(Self { entries: Arc::new(entries), guests: None })
    }

    /// With tools of others beside its own.
    #[must_use]
    pub fn with_guests(self, guests: Arc<dyn ToolSource>) -> Self {
        Self { guests: Some(guests), ..self }
    }

    /// The guests' tools that are listed to this caller.
    pub fn guests_of(&self, caller: &Caller) -> Vec<Arc<GuestTool>> {
        self.guests.as_ref().map(|guests| guests.listed(caller)).unwrap_or_default()
    }

    /// A guest's tool that this caller may use.
    pub fn guest(&self, caller: &Caller, name: &str) -> Option<Arc<GuestTool>> {
        self.guests.as_ref()?.tool(caller, name)
    }

    /// The input schema of a tool that this caller may use.
    pub fn input_schema(&self, caller: &Caller, name: &str) -> Option<Value> {
        match self.tool(name) {
            Some(tool) => caller.may(tool.scope).then(|| tool.input_schema.clone()),
            None => self.guest(caller, name).map(|tool| tool.input_schema.clone()),
        }
    }

    /// The tools that this caller may use, by name.
    pub fn visible_to<'a>(&'a self, caller: &'a Caller) -> impl Iterator<Item = &'a Tool> {
        self.all().filter(|tool| caller.may(tool.scope))
    }

    /// All tools, by name.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Tool> {
        self.entries.values().map(|entry| &entry.tool)
    }

    /// The tool of a name.
    pub(crate) fn tool(&self, name: &str) -> Option<&Tool> {
        self.entries.get(name).map(|entry| &entry.tool)
    }

    /// The scope that a call of a tool needs, if there is such a tool.
    pub fn scope_of(&self, name: &str) -> Option<Scope> {
        let guest = || self.guests.as_ref()?.scope_of(name);
        self.tool(name).map(|tool| tool.scope).or_else(guest)
    }

    /// Whether a call would be let in, for one that is made later: the tool is there, the caller holds its scope, and the
    /// input fits its schema.
    pub fn check(&self, caller: &Caller, name: &str, input: &Value) -> Result<(), Problem> {
        let mut input = input.clone();
        let Some(entry) = self.entries.get(name) else {
            // What the guest itself says of the input counts; this only finds out earlier.
            let guest = self.guest(caller, name).ok_or_else(|| self.unknown(caller, name))?;
            let Ok(validator) = jsonschema::validator_for(&guest.input_schema) else { return Ok(()) };
            let mistake = validator.iter_errors(&input).next();
            return mistake.map_or(Ok(()), |error| Err(refused_by_schema(&error, "input")));
        };
        caller.require(entry.tool.scope)?;
        drop_nulls(&mut input);
        entry.input.iter_errors(&input).next().map_or(Ok(()), |error| Err(refused_by_schema(&error, "input")))
    }

    /// Calls a tool and gives its answer as data.
    pub async fn call(
        &self,
        caller: &Caller,
        name: &str,
        input: Value,
        deadline: Duration,
    ) -> Result<Value, Problem> {
        Ok(self.run(ToolContext::new(caller.clone(), deadline), name, input).await?.value)
    }

    /// Calls a tool: looks it up, checks the caller's scope, validates the input, enforces the deadline. Dropping the
    /// future cancels the call.
    pub async fn run(&self, context: ToolContext, name: &str, input: Value) -> Result<ToolOutput, Problem> {
        let Some(entry) = self.entries.get(name) else {
            return match &self.guests {
                Some(guests) if guests.scope_of(name).is_some() => {
                    run_guest(&**guests, context, name, input).await
                }
                _ => Err(self.unknown(&context.caller, name)),
            };
        };
        let started = Instant::now();
        let result = run_entry(entry, context, input).await;
        let outcome = result.as_ref().map_or_else(|problem| problem.kind.slug, |_| "ok");
        histogram!(TOOL_CALL_DURATION_SECONDS, "tool" => entry.tool.name).record(started.elapsed());
        counter!(TOOL_CALLS_TOTAL, "tool" => entry.tool.name, "outcome" => outcome).increment(1);
        result
    }

    /// Suggests only what the caller may use: the names of the others are not its business.
    fn unknown(&self, caller: &Caller, name: &str) -> Problem {
        match crate::config::nearest(name, self.visible_to(caller).map(|tool| tool.name)) {
            Some(nearest) => Problem::new(NOT_FOUND, format!("no tool `{name}`; did you mean `{nearest}`?")),
            None => Problem::not_found("tool", name),
        }
    }
}

/// A guest's own limits hold as well.
async fn run_guest(
    guests: &dyn ToolSource,
    context: ToolContext,
    name: &str,
    input: Value,
) -> Result<ToolOutput, Problem> {
    let left = context.deadline.saturating_duration_since(Instant::now());
    let called = tokio::time::timeout(left, guests.call(context, name, input)).await;
    called.unwrap_or_else(|_| {
        let detail = format!("tool `{name}` did not finish within {:.0}s", left.as_secs_f64().ceil());
        Err(Problem::new(DEADLINE_EXCEEDED, detail))
    })
}

async fn run_entry(entry: &Entry, context: ToolContext, mut input: Value) -> Result<ToolOutput, Problem> {
    context.caller.require(entry.tool.scope)?;
    drop_nulls(&mut input);
    if let Some(error) = entry.input.iter_errors(&input).next() {
        return Err(refused_by_schema(&error, "input"));
    }
    let left = context.deadline.saturating_duration_since(Instant::now());
    match tokio::time::timeout(left, (entry.tool.handler)(context, input)).await {
        Ok(result) => result,
        Err(_) => Err(Problem::new(
            DEADLINE_EXCEEDED,
            format!("tool `{}` did not finish within {:.0}s", entry.tool.name, left.as_secs_f64().ceil()),
        )),
    }
}

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;
    use serde::{Deserialize, Serialize};
    use serde_json::json;

    use super::*;
    use crate::{
        identity::{Scope, Tenant},
        problem::FORBIDDEN,
        tool::DEADLINE_DEFAULT,
    };

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
    async fn what_is_null_counts_as_left_out() {
        let problem = call("lab_add", json!({"left": 2, "right": 3, "more": null})).await;
        assert_eq!(problem.unwrap(), json!({"sum": 5}));
        let problem = call("lab_add", json!({"left": 2, "right": null})).await.unwrap_err();
        assert!(problem.detail.starts_with("`right`"), "{problem}");
    }

    #[tokio::test]
    async fn bad_input_is_refused_with_the_field_named() {
        for (input, field) in [
            (json!({"left": "two", "right": 3}), "`left`"),
            (json!({"left": 2, "right": 300}), "`right`"),
            (json!({"left": 2}), "`right`"),
            (json!({"left": 2, "right": 3, "more": 4}), "`more`"),
            (json!([1, 2]), "`input`"),
        ] {
            let problem = call("lab_add", input.clone()).await.unwrap_err();
            assert!(problem.detail.starts_with(field), "{input}: {}", problem.detail);
        }
    }

    #[tokio::test]
    async fn an_unknown_tool_is_answered_with_the_nearest_that_the_caller_may_use() {
        let problem = call("lab_ad", json!({})).await.unwrap_err();
        assert!(problem.detail.contains("did you mean `lab_add`"), "{}", problem.detail);
        let stranger = Caller::with_key("k1", Tenant::local(), vec![Scope::read("jobs")]);
        let problem = toolbox().call(&stranger, "lab_ad", json!({}), DEADLINE_DEFAULT).await.unwrap_err();
        assert!(!problem.detail.contains("lab_add"), "{}", problem.detail);
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
