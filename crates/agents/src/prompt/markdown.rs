//! Agents as Markdown files: front matter says what the agent is, the text what it is told.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{MemoryDefinition, PromptDefinition, RunLimits};
use crate::{
    definition::{AgentDefinition, MailboxDefinition},
    message::{AgentName, Capability, Topic},
    schedule::ScheduleDefinition,
    supervise::Supervision,
};

/// The largest file.
const FILE_MAX: usize = 512 << 10;

/// A file that is no agent.
#[derive(Debug, thiserror::Error)]
pub enum MarkdownError {
    /// It is too large.
    #[error("a Markdown agent has {FILE_MAX} bytes at most")]
    TooLarge,
    /// It does not begin with front matter.
    #[error("a Markdown agent begins with its front matter, between two lines of `---`")]
    NoFrontMatter,
    /// The front matter is not as it must be.
    #[error("the front matter: {0}")]
    FrontMatter(String),
    /// There is no text after the front matter.
    #[error("there are no instructions after the front matter")]
    NoInstructions,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FrontMatter {
    name: AgentName,
    #[serde(default)]
    description: String,
    model: String,
    #[serde(default)]
    capabilities: Vec<Capability>,
    #[serde(default)]
    topics: Vec<Topic>,
    #[serde(default)]
    tools: Vec<String>,
    #[serde(default)]
    approve: Vec<String>,
    #[serde(default)]
    temperature: Option<f64>,
    #[serde(default)]
    output: Option<Value>,
    #[serde(default)]
    limits: RunLimits,
    #[serde(default)]
    memory: MemoryDefinition,
    #[serde(default)]
    mailbox: MailboxDefinition,
    #[serde(default)]
    supervision: Supervision,
    #[serde(default)]
    placement: BTreeMap<String, String>,
    #[serde(default)]
    after: Vec<AgentName>,
    #[serde(default)]
    schedule: Option<ScheduleDefinition>,
    #[serde(default)]
    config: Value,
}

/// Reads an agent from a Markdown file.
pub fn from_markdown(text: &str) -> Result<AgentDefinition, MarkdownError> {
    if text.len() > FILE_MAX {
        return Err(MarkdownError::TooLarge);
    }
    let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n");
    let rest = text.strip_prefix("---\n").ok_or(MarkdownError::NoFrontMatter)?;
    // An empty front matter ends at once.
    let (front, body) = match rest.strip_prefix("---\n") {
        Some(body) => ("", body),
        None => rest.split_once("\n---\n").ok_or(MarkdownError::NoFrontMatter)?,
    };
    let front = front_matter(front)?;
    let system = body.trim();
    if system.is_empty() {
        return Err(MarkdownError::NoInstructions);
    }
    Ok(AgentDefinition {
        name: front.name,
        description: front.description,
        capabilities: front.capabilities,
        topics: front.topics,
        tools: front.tools,
        mailbox: front.mailbox,
        supervision: front.supervision,
        placement: front.placement,
        after: front.after,
        schedule: front.schedule,
        config: front.config,
        prompt: Some(PromptDefinition {
            model: front.model,
            system: system.to_owned(),
            temperature: front.temperature,
            output: front.output,
            approve: front.approve,
            limits: front.limits,
            memory: front.memory,
        }),
        wasm: None,
        remote: None,
    })
}

/// By way of JSON, so that the field is named which is wrong.
fn front_matter(text: &str) -> Result<FrontMatter, MarkdownError> {
    let options = serde_saphyr::options! { with_snippet: false, strict_booleans: true };
    let value: Value = serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| MarkdownError::FrontMatter(error.to_string()))?;
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let message = error.into_inner().to_string();
        let field = if path == "." { String::new() } else { format!("`{path}`: ") };
        MarkdownError::FrontMatter(format!("{field}{message}"))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AGENT: &str = "---\nname: reviewer\ndescription: Reviews pages\nmodel: fast\n\
        capabilities: [review]\ntools: [browser_navigate, analysis_run]\napprove: [analysis_run]\n\
        limits:\n  steps_max: 5\n  time_max: 1m\nmemory:\n  facts: true\n---\n\n# You review\n\nBe brief.\n---\nAlways.\n";

    #[test]
    fn an_agent_is_read_from_front_matter_and_text() {
        let agent = from_markdown(AGENT).unwrap();
        let prompt = agent.prompt.as_ref().unwrap();
        assert_eq!(agent.name.as_str(), "reviewer");
        assert_eq!(agent.tools, ["browser_navigate", "analysis_run"]);
        assert_eq!((prompt.limits.steps_max, prompt.memory.facts), (5, true));
        // Only the first line of dashes ends the front matter.
        assert_eq!(prompt.system, "# You review\n\nBe brief.\n---\nAlways.");
        assert_eq!(from_markdown(&AGENT.replace('\n', "\r\n")).unwrap(), agent);
        agent.check(1_000).unwrap();
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, expected) in [
            ("# Hello", "front matter"),
            ("---\nname: a\n", "front matter"),
            ("---\nname: A\nmodel: m\n---\nx", "name of an agent"),
            ("---\nname: a\n---\nx", "model"),
            ("---\nname: a\nmodel: m\n---\n \n", "instructions"),
            ("---\nname: a\nmodel: m\ntool: [x]\n---\nx", "tool"),
            ("---\nname: a\nmodel: m\nlimits: {steps_max: many}\n---\nx", "limits.steps_max"),
            ("---\nname: [\n---\nx", "front matter"),
        ] {
            let error = from_markdown(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn a_definition_that_cannot_work_is_refused() {
        for (from, to, field) in [
            ("approve: [analysis_run]", "approve: [other]", "prompt.approve"),
            ("steps_max: 5", "steps_max: 0", "prompt.limits.steps_max"),
            ("model: fast", "model: ' '", "prompt.model"),
            ("model: fast", "model: fast\noutput: {type: 7}", "prompt.output"),
            ("model: fast", "model: fast\ntemperature: 3", "prompt.temperature"),
            ("model: fast", "model: fast\nschedule: every day", "schedule.at"),
            ("model: fast", "model: fast\nschedule: {at: '@daily', timezone: Nowhere}", "schedule.timezone"),
            ("model: fast", "model: fast\nmailbox: {messages_max: 0}", "mailbox.messages_max"),
        ] {
            let error = from_markdown(&AGENT.replace(from, to)).unwrap().check(1_000).unwrap_err();
            assert_eq!(error.field, field);
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(---\n)?[a-z:\\[\\]{}\n\\- é&*!]{0,60}(\n---\n)?.{0,10}") {
            let _ = from_markdown(&text);
        }
    }
}
