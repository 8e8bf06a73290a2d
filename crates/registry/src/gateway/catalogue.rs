//! All tools of all servers at one moment, and which of them fit some words.

use std::{
    cmp::Ordering,
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use paddock_platform::tool::GuestTool;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{policy::Allowed, server::Servers};
use crate::search::{Field, Index, split};

/// Words of a query that count.
const WORDS_MAX: usize = 16;
/// Parameters whose names and descriptions are found.
const PARAMETERS_MAX: usize = 24;

/// A tool and where it is from.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    pub(super) server: Arc<str>,
    /// Its name there.
    pub(super) own_name: String,
    pub(super) tool: Arc<GuestTool>,
}

/// All tools. Immutable.
#[derive(Debug, Default)]
pub(super) struct Catalogue {
    /// By name.
    tools: Vec<Listed>,
    by_name: HashMap<String, usize>,
    index: OnceLock<Index>,
}

/// A tool that was found.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct ToolHit {
    /// Its name: `server__tool`.
    pub name: String,
    /// The server that has it.
    pub server: String,
    /// What it does.
    pub description: String,
    /// JSON Schema of its input.
    #[schema(value_type = Object)]
    pub input_schema: Value,
    /// How well it fits; more is better, and comparable within one answer.
    pub score: f32,
}

impl Catalogue {
    pub(super) fn of(servers: &Servers) -> Self {
        let mut tools: Vec<Listed> = Vec::new();
        for server in servers.values() {
            let of_server = server.tools.load();
            tools.extend(of_server.iter().map(|known| Listed {
                server: Arc::clone(&server.name),
                own_name: known.name.clone(),
                tool: Arc::clone(&known.guest),
            }));
        }
        Self::of_tools(tools)
    }

    fn of_tools(mut tools: Vec<Listed>) -> Self {
        tools.sort_by(|a, b| a.tool.name.cmp(&b.tool.name));
        let by_name = tools.iter().enumerate().map(|(at, listed)| (listed.tool.name.clone(), at)).collect();
        Self { tools, by_name, index: OnceLock::new() }
    }

    pub(super) fn find(&self, name: &str) -> Option<&Listed> {
        self.by_name.get(name).map(|at| &self.tools[*at])
    }

    /// The tools that a caller may call.
    pub(super) fn allowed<'c>(&'c self, allowed: &'c Allowed<'_>) -> impl Iterator<Item = &'c Listed> {
        self.tools.iter().filter(|listed| allowed.allows(&listed.tool.name))
    }

    /// The tools that fit the words best, and how many do; all of them, by name, if there are no words.
    pub(super) fn search(
        &self,
        query: &str,
        server: Option<&str>,
        limit: usize,
        allowed: &Allowed<'_>,
    ) -> (Vec<ToolHit>, usize) {
        let query = spelled_out(query);
        let words: Vec<&str> = split(&query).take(WORDS_MAX).collect();
        let scores = if words.is_empty() { vec![1.0; self.tools.len()] } else { self.index().scores(&words) };
        let is_wanted = |listed: &Listed| {
            server.is_none_or(|server| *listed.server == *server) && allowed.allows(&listed.tool.name)
        };
        let mut found: Vec<(&Listed, f32)> = self
            .tools
            .iter()
            .zip(scores)
            .filter(|(listed, score)| *score > 0.0 && is_wanted(listed))
            .collect();
        found.sort_by(|a, b| b.1.partial_cmp(&a.1).unwrap_or(Ordering::Equal));
        let total = found.len();
        let hits = found.into_iter().take(limit).map(|(Listed { server, tool, .. }, score)| ToolHit {
            name: tool.name.clone(),
            server: server.to_string(),
            description: tool.description.clone(),
            input_schema: tool.input_schema.clone(),
            score,
        });
        (hits.collect(), total)
    }

    fn index(&self) -> &Index {
        self.index.get_or_init(|| {
            let documents: Vec<[(Field, String); 4]> = self
                .tools
                .iter()
                .map(|Listed { server, own_name, tool }| {
                    [
                        (Field::Name, spelled_out(own_name)),
                        (Field::Tag, server.to_lowercase()),
                        (Field::Description, tool.description.to_lowercase()),
                        (Field::Tool, parameters(&tool.input_schema)),
                    ]
                })
                .collect();
            Index::of_documents(
                documents.iter().map(|fields| fields.iter().map(|(field, text)| (*field, text.as_str()))),
            )
        })
    }
}

/// Names and descriptions of parameters.
fn parameters(schema: &Value) -> String {
    let mut text = String::new();
    for (name, parameter) in schema["properties"].as_object().into_iter().flatten().take(PARAMETERS_MAX) {
        let description = parameter["description"].as_str().unwrap_or_default().to_lowercase();
        text.extend([spelled_out(name).as_str(), " ", description.as_str(), "\n"]);
    }
    text
}

/// A name in lower case, the words of `camelCase` apart.
fn spelled_out(name: &str) -> String {
    let mut text = String::new();
    let mut was_lower = false;
    for character in name.chars() {
        if character.is_uppercase() && was_lower {
            text.push(' ');
        }
        was_lower = character.is_lowercase() || character.is_ascii_digit();
        text.extend(character.to_lowercase());
    }
    text
}

#[cfg(test)]
mod tests {
    use paddock_platform::identity::{Caller, Scope};
    use serde_json::json;

    use super::*;
    use crate::gateway::{config::GatewayRuleOptions, policy::Rules};

    fn tool(server: &str, name: &str, description: &str) -> Listed {
        let input_schema = json!({"type": "object", "properties": {"path": {"description": "Where it is"}}});
        let tool = GuestTool {
            name: format!("{server}__{name}"),
            description: description.to_owned(),
            input_schema,
            output_schema: None,
            scope: Scope::call("registry"),
            definition: Value::Null,
        };
        Listed { server: server.into(), own_name: name.to_owned(), tool: Arc::new(tool) }
    }

    fn names(found: &(Vec<ToolHit>, usize)) -> Vec<&str> {
        found.0.iter().map(|hit| hit.name.as_str()).collect()
    }

    #[test]
    fn of_5000_tools_the_ones_that_fit_are_found_also_misspelled() {
        let mut tools: Vec<Listed> = (0..5000)
            .map(|number| tool("filler", &format!("tool_{number}"), "Does something else"))
            .collect();
        tools.push(tool("git", "createPullRequest", "Opens a pull request"));
        tools.push(tool("mail", "send", "Sends a message to somebody"));
        let catalogue = Catalogue::of_tools(tools);
        let rules = Rules::default();
        let everything = rules.of(&Caller::local());
        let search = |query: &str| catalogue.search(query, None, 10, &everything);
        assert_eq!(names(&search("open a pull reqest"))[0], "git__createPullRequest");
        assert_eq!(names(&search("send message"))[0], "mail__send");
        assert_eq!(search("tool").0.len(), 10);
        assert_eq!(search("").1, 5002);
        assert!(names(&search("xylophone")).is_empty());
        assert_eq!(names(&catalogue.search("", Some("mail"), 10, &everything)), ["mail__send"]);
    }

    #[test]
    fn what_a_caller_may_not_call_is_not_found() {
        let catalogue = Catalogue::of_tools(vec![tool("a", "drop", "Drops"), tool("a", "read", "Reads")]);
        let rule = GatewayRuleOptions {
            tenants: vec!["local".to_owned()],
            deny: vec!["*drop".to_owned()],
            ..Default::default()
        };
        let rules = Rules::compile(&[rule]);
        let allowed = rules.of(&Caller::local());
        assert_eq!(names(&catalogue.search("", None, 10, &allowed)), ["a__read"]);
        assert_eq!(catalogue.allowed(&allowed).count(), 1);
    }
}
