//! Checks what a definition says about tools: that they exist, may be called, and are called as their schemas say, as
//! far as the input is literal.

use jsonschema::error::ValidationErrorKind;
use paddock_platform::{identity::Caller, tool::Toolbox};
use serde_json::Value;

use super::{Action, Plan};
use crate::mission::{Flaw, expression::Template};

/// Checks every call of a tool.
pub(crate) fn check_tools(plan: &Plan, toolbox: &Toolbox, caller: &Caller) -> Vec<Flaw> {
    let mut flaws = Vec::new();
    for (step, source) in plan.steps.iter().zip(&plan.definition.steps) {
        let mut calls = vec![("", &step.action, &source.input)];
        if let (Some(undo), Some(compensation)) = (&step.undo, &source.compensate) {
            calls.push(("compensate.", &undo.action, &compensation.input));
        }
        for (prefix, action, input) in calls {
            let Action::Tool(name) = action else { continue };
            match toolbox.input_schema(caller, name) {
                None => flaws.push(Flaw::of_step(
                    &step.name,
                    format!("{prefix}tool"),
                    no_tool(name, toolbox, caller),
                )),
                Some(schema) => {
                    for (path, reason) in literal_flaws(&schema, input) {
                        flaws.push(Flaw::of_step(&step.name, format!("{prefix}{path}"), reason));
                    }
                }
            }
        }
    }
    flaws
}

fn no_tool(name: &str, toolbox: &Toolbox, caller: &Caller) -> String {
    let shown: String = name.chars().take(64).collect();
    let area = name.split('_').next().unwrap_or_default();
    let near: Vec<&str> = toolbox
        .visible_to(caller)
        .map(|tool| tool.name)
        .filter(|known| known.split('_').next() == Some(area))
        .take(5)
        .collect();
    if near.is_empty() {
        format!("no tool `{shown}` that you may call")
    } else {
        format!("no tool `{shown}` that you may call; there are {}", near.join(", "))
    }
}

/// What the schema refuses whatever the expressions come to.
fn literal_flaws(schema: &Value, input: &Value) -> Vec<(String, String)> {
    // An expression in place of the whole input may come to anything.
    if input.is_string() {
        return Vec::new();
    }
    let Ok(validator) = jsonschema::validator_for(schema) else { return Vec::new() };
    let mut flaws = Vec::new();
    for error in validator.iter_errors(input) {
        let pointer = error.instance_path().to_string();
        let is_about_names = matches!(
            error.kind(),
            ValidationErrorKind::Required { .. }
                | ValidationErrorKind::AdditionalProperties { .. }
                | ValidationErrorKind::UnevaluatedProperties { .. }
                | ValidationErrorKind::PropertyNames { .. }
        );
        let at = input.pointer(&pointer).unwrap_or(input);
        if !is_about_names && has_expression(at) {
            continue;
        }
        let path = pointer.split('/').skip(1).fold("input".to_owned(), |path, part| {
            if !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()) {
                format!("{path}[{part}]")
            } else {
                format!("{path}.{}", part.replace("~1", "/").replace("~0", "~"))
            }
        });
        flaws.push((path, error.masked_with("it").to_string()));
    }
    flaws
}

fn has_expression(value: &Value) -> bool {
    match value {
        Value::String(text) => !matches!(Template::parse_text(text), Ok(Template::Literal(_))),
        Value::Array(items) => items.iter().any(has_expression),
        Value::Object(members) => members.values().any(has_expression),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use paddock_platform::{identity::Scope, problem::Problem, tool::Tool};
    use schemars::JsonSchema;
    use serde::Deserialize;
    use serde_json::json;

    use super::*;
    use crate::mission::{Definition, MissionOptions, Step, plan::compile};

    #[derive(Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its schema is used")]
    struct Input {
        url: String,
        screens: Option<Vec<Screen>>,
        depth: Option<u8>,
    }

    #[derive(Deserialize, JsonSchema)]
    #[serde(rename_all = "lowercase")]
    enum Screen {
        Desktop,
        Mobile,
    }

    fn toolbox() -> Toolbox {
        let tool = Tool::new("page_look", "looks", Scope::write("analysis"), |_, _: Input| async {
            Ok::<_, Problem>(json!({}))
        });
        Toolbox::new([tool]).unwrap()
    }

    fn flaws(tool: &str, input: Value, caller: &Caller) -> Vec<String> {
        let definition = Definition {
            name: "m".to_owned(),
            steps: vec![Step::tool("a", tool, input)],
            ..Definition::default()
        };
        let plan = compile(definition, &MissionOptions::default()).unwrap();
        check_tools(&plan, &toolbox(), caller).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn literal_input_is_checked_against_the_schema_of_the_tool() {
        let caller = Caller::local();
        for (input, field) in [
            (json!({}), "input"),
            (json!({"url": 5}), "input.url"),
            (json!({"url": "x", "extra": "${inputs.x}"}), "input"),
            (json!({"url": "${inputs.url}", "depth": 300}), "input.depth"),
            (json!({"url": "${inputs.url}", "screens": ["tablet"]}), "input.screens[0]"),
        ] {
            let found = flaws("page_look", input.clone(), &caller);
            assert_eq!(found.len(), 1, "{input}: {found:?}");
            assert!(found[0].starts_with(&format!("step `a`: `{field}`")), "{}", found[0]);
        }
    }

    #[test]
    fn what_an_expression_comes_to_is_not_guessed() {
        let caller = Caller::local();
        for input in [
            json!({"url": "${inputs.url}"}),
            json!({"url": "x", "depth": "${inputs.depth}"}),
            json!({"url": "x", "screens": "${inputs.screens}"}),
            json!({"url": "x", "screens": ["${inputs.screen}"]}),
            json!("${inputs}"),
        ] {
            assert_eq!(flaws("page_look", input.clone(), &caller), Vec::<String>::new(), "{input}");
        }
    }

    #[test]
    fn a_tool_that_the_caller_may_not_call_is_not_there() {
        let reader = Caller::with_key(
            "k1",
            paddock_platform::identity::Tenant::local(),
            vec![Scope::read("analysis")],
        );
        assert!(flaws("page_look", json!({"url": "x"}), &reader)[0].contains("no tool `page_look`"));
        assert!(flaws("page_lok", json!({"url": "x"}), &Caller::local())[0].contains("there are page_look"));
    }
}
