//! The tools of the area. They do what the routes do, with inputs and answers that suit a model: few members, short
//! descriptions (every client pays for the schemas in each conversation), and text instead of JSON.
//!
//! A tool that changes a page answers with the page, or with what changed, so that no second call is needed to look.

mod act;
mod instances;
mod navigate;
mod observe;
mod traffic;
mod view;

use std::future::Future;

use paddock_platform::{
    identity::Scope,
    problem::Problem,
    tool::{Readable, Tool, ToolContext},
};
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    ids::TabId,
    service::{BrowserService, Target},
};

/// All tools of the area.
pub fn tools(service: &BrowserService) -> Vec<Tool> {
    let mut tools = Vec::new();
    tools.extend(navigate::tools(service));
    tools.extend(observe::tools(service));
    tools.extend(act::tools(service));
    tools.extend(instances::tools(service));
    tools.extend(traffic::tools(service));
    tools
}

/// A tool of the service: with `READ` one that only looks, with `WRITE` one that changes something.
fn tool<I, O, F, Fut>(
    service: &BrowserService,
    scope: Scope,
    name: &'static str,
    description: &'static str,
    run: F,
) -> Tool
where
    I: DeserializeOwned + JsonSchema,
    O: Serialize + Readable + 'static,
    F: Fn(BrowserService, ToolContext, I) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<O, Problem>> + Send + 'static,
{
    let service = service.clone();
    Tool::reading(name, description, scope, move |context, input| run(service.clone(), context, input))
}

/// What a call is about.
fn target(context: ToolContext, tab: Option<TabId>) -> Target {
    Target::new(context.caller, tab).acting_as(&context.agent)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// What the names, descriptions, input schemas and annotations of all tools may take together, as they are listed.
    const SCHEMAS_SIZE_MAX: usize = 12 * 1024;
    const TOOLS_MAX: usize = 26;

    /// The tools of a service that is never called: their schemas need no fleet.
    async fn schemas() -> Vec<Value> {
        let dir = tempfile::tempdir().unwrap();
        let options =
            paddock_platform::config::Live::new(crate::BrowserOptions { warm: 0, ..Default::default() });
        let tasks = paddock_platform::task::Tasks::default();
        let fleet =
            crate::Fleet::start(options.section(|options| options), dir.path(), &tasks).await.unwrap();
        let tools = tools(&BrowserService::new(fleet.clone()));
        fleet.shutdown().await;
        let schema = |tool: &Tool| {
            let annotations = if tool.is_read_only() {
                json!({"readOnlyHint": true})
            } else {
                json!({"readOnlyHint": false, "destructiveHint": tool.destructive})
            };
            json!({"name": tool.name, "description": tool.description, "inputSchema": tool.input_schema,
                "annotations": annotations})
        };
        tools.iter().map(schema).collect()
    }

    #[tokio::test]
    async fn the_tools_cost_a_conversation_little() {
        let schemas = schemas().await;
        let size = Value::from(schemas.clone()).to_string().len();
        assert!(size <= SCHEMAS_SIZE_MAX, "{size} bytes");
        assert!(schemas.len() <= TOOLS_MAX, "{} tools", schemas.len());
    }

    #[tokio::test]
    async fn every_tool_refuses_what_it_does_not_know_and_says_what_it_is_for() {
        for schema in schemas().await {
            let name = schema["name"].as_str().unwrap();
            assert!(name.starts_with("browser_"), "{name}");
            assert_eq!(schema["inputSchema"]["additionalProperties"], false, "{name}");
            assert_eq!(schema["inputSchema"]["type"], "object", "{name}");
            let description = schema["description"].as_str().unwrap();
            assert!((20..=300).contains(&description.len()) && description.ends_with('.'), "{name}");
        }
    }
}
