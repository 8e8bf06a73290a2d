//! Tools, answers and problems in the words of the protocol.

use std::{fmt::Write, sync::Arc};

use rmcp::model::{self, CallToolResult, ContentBlock, JsonObject, ToolAnnotations};
use serde_json::Value;

use crate::{
    problem::Problem,
    tool::{Content, GuestTool, Tool, ToolOutput},
};

/// Longest member of a problem that is shown to a model.
const MEMBER_SIZE_MAX: usize = 2000;

/// A tool as clients list it.
pub(super) fn described(tool: &Tool) -> model::Tool {
    let annotations = ToolAnnotations::new().read_only(tool.is_read_only());
    let annotations =
        if tool.is_read_only() { annotations } else { annotations.destructive(tool.destructive) };
    let described = model::Tool::new(tool.name, tool.description, object(&tool.input_schema));
    let described = described.with_annotations(annotations);
    match &tool.output_schema {
        Some(schema) => described.with_raw_output_schema(object(schema)),
        None => described,
    }
}

/// A guest's tool as clients list it; none if it is not as the protocol has tools.
pub(super) fn described_guest(tool: &GuestTool) -> Option<model::Tool> {
    serde_json::from_value(tool.definition.clone()).ok()
}

fn object(schema: &Value) -> Arc<JsonObject> {
    Arc::new(schema.as_object().cloned().unwrap_or_default())
}

/// What a tool answered. Data goes along only where an output schema describes it.
pub(super) fn answered(output: ToolOutput, has_schema: bool) -> CallToolResult {
    let content = output.content.into_iter().map(|content| match content {
        Content::Text(text) => ContentBlock::text(text),
        Content::Image { base64, mime } => ContentBlock::image(base64, mime),
        // What is no part of an answer is shown as what it is.
        Content::Mcp(part) => {
            serde_json::from_value(part.clone()).unwrap_or_else(|_| ContentBlock::text(part.to_string()))
        }
    });
    let mut result = CallToolResult::success(content.collect());
    result.structured_content = has_schema.then_some(output.value);
    result
}

/// A problem for the model that caused or met it: what happened and what to do, without the wrapping that programs get.
pub(super) fn failed(problem: &Problem) -> CallToolResult {
    let mut text = format!("{}: {}", problem.kind.title, problem.detail);
    if let Some(wait) = problem.retry_after {
        let _ = write!(text, "\ntry again in {} s", wait.as_secs().max(1));
    }
    for (name, value) in problem.extensions.iter().flat_map(|members| members.iter()) {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        // The field is in the detail already.
        if name != "field" && value.len() <= MEMBER_SIZE_MAX {
            let _ = write!(text, "\n{name}: {value}");
        }
    }
    CallToolResult::error(vec![ContentBlock::text(text)])
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::problem::{NOT_FOUND, OVERLOADED};

    fn text(problem: &Problem) -> String {
        let result = failed(problem);
        assert_eq!(result.is_error, Some(true));
        serde_json::to_value(result).unwrap()["content"][0]["text"].as_str().unwrap().to_owned()
    }

    #[test]
    fn a_problem_tells_the_model_what_to_do() {
        let problem = Problem::not_found("tab", "current").with("hint", "navigate somewhere first");
        assert_eq!(text(&problem), "Not found: no tab `current`\nhint: navigate somewhere first");
        let problem = Problem::new(OVERLOADED, "full").retry_after(Duration::from_millis(300));
        assert_eq!(text(&problem), "Server at capacity: full\ntry again in 1 s");
        let problem = Problem::new(NOT_FOUND, "gone").with("dump", "x".repeat(3000));
        assert_eq!(text(&problem), "Not found: gone");
    }
}
