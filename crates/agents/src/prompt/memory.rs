//! What a prompt agent remembers: of each conversation the last messages and a summary, and facts of its own.

use std::collections::VecDeque;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{MemoryDefinition, recall::Noted};
use crate::{handler::Failure, turn::Turn};

/// Keys of conversations in the state.
const CONVERSATIONS: &str = "memory/";
/// Keys of what fell out of their windows.
const HISTORIES: &str = "history/";
/// The key of which conversations there are, the quietest first.
const INDEX: &str = "memories";
/// The key of the facts.
pub(super) const FACTS: &str = "facts";
/// Facts that are kept; the oldest is forgotten.
const FACTS_MAX: usize = 200;
/// The longest fact, and what of a message can be looked up.
const FACT_MAX: usize = 2_000;
/// What of one message is remembered.
const TEXT_MAX: usize = 16 << 10;

/// The name of the tool that notes a fact.
pub(super) const REMEMBER: &str = "remember";
/// The name of the tool that looks facts up.
pub(super) const RECALL: &str = "recall";

/// One remembered message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Remembered {
    pub(super) role: String,
    pub(super) content: String,
}

/// What is remembered of one conversation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Memory {
    #[serde(default)]
    pub(super) summary: String,
    #[serde(default)]
    pub(super) messages: VecDeque<Remembered>,
}

pub(super) fn read<T: serde::de::DeserializeOwned + Default>(turn: &Turn, key: &str) -> T {
    turn.get(key).and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

pub(super) fn write(turn: &mut Turn, key: &str, value: &impl Serialize) -> Result<(), Failure> {
    let bytes = serde_json::to_vec(value).unwrap_or_default();
    turn.set(key, Bytes::from(bytes))
}

// Conversations have names of up to 256 bytes; keys are shorter.
fn key(conversation: &str) -> String {
    format!("{CONVERSATIONS}{}", blake3::hash(conversation.as_bytes()).to_hex())
}

/// Where what fell out of a conversation's window is kept.
pub(super) fn history_key(conversation: &str) -> String {
    format!("{HISTORIES}{}", blake3::hash(conversation.as_bytes()).to_hex())
}

fn cut(text: &str, size_max: usize) -> &str {
    let end = (0..=text.len().min(size_max)).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

impl Memory {
    pub(super) fn load(turn: &Turn, conversation: Option<&str>) -> Self {
        conversation.map(|conversation| read(turn, &key(conversation))).unwrap_or_default()
    }

    /// Adds a message, and gives those that are too many.
    pub(super) fn add(&mut self, role: &str, content: &str, window: usize) -> Vec<Remembered> {
        let content = cut(content, TEXT_MAX).to_owned();
        self.messages.push_back(Remembered { role: role.to_owned(), content });
        let surplus = self.messages.len().saturating_sub(window);
        self.messages.drain(..surplus).collect()
    }

    /// Keeps it, and forgets the quietest conversation if there are too many.
    pub(super) fn keep(
        &self,
        turn: &mut Turn,
        conversation: Option<&str>,
        definition: &MemoryDefinition,
    ) -> Result<(), Failure> {
        let Some(conversation) = conversation else { return Ok(()) };
        let key = key(conversation);
        let mut index: VecDeque<String> = read(turn, INDEX);
        index.retain(|known| *known != key);
        index.push_back(key.clone());
        while index.len() > definition.conversations_max
            && let Some(quietest) = index.pop_front()
        {
            turn.remove(&quietest);
            turn.remove(&quietest.replacen(CONVERSATIONS, HISTORIES, 1));
        }
        write(turn, &key, self)?;
        write(turn, INDEX, &index)
    }

    /// As the model sees it: before the question.
    pub(super) fn messages(&self) -> Vec<Value> {
        let mut messages = Vec::new();
        if !self.summary.is_empty() {
            let content = format!("Summary of the conversation so far:\n{}", self.summary);
            messages.push(json!({ "role": "system", "content": content }));
        }
        messages.extend(self.messages.iter().map(|message| json!(message)));
        messages
    }
}

/// Notes a fact.
pub(super) fn remember(turn: &mut Turn, fact: &str) -> Result<Value, Failure> {
    let fact = fact.trim();
    if fact.is_empty() || fact.len() > FACT_MAX {
        return Ok(json!({ "error": format!("a fact has 1 to {FACT_MAX} bytes") }));
    }
    let mut facts: VecDeque<Noted> = read(turn, FACTS);
    facts.retain(|known| known.text != fact);
    facts.push_back(Noted::new("", fact));
    while facts.len() > FACTS_MAX {
        facts.pop_front();
    }
    write(turn, FACTS, &facts)?;
    Ok(json!({ "remembered": true }))
}

/// Keeps messages that fell out of the window, so that they can be looked up: the last `history_max` of a conversation.
pub(super) fn set_aside(
    turn: &mut Turn,
    conversation: &str,
    gone: &[Remembered],
    history_max: usize,
) -> Result<(), Failure> {
    if gone.is_empty() {
        return Ok(());
    }
    let key = history_key(conversation);
    let mut history: VecDeque<Noted> = read(turn, &key);
    history.extend(gone.iter().map(|gone| Noted::new(&gone.role, cut(&gone.content, FACT_MAX))));
    let surplus = history.len().saturating_sub(history_max);
    history.drain(..surplus);
    write(turn, &key, &history)
}

/// The tools of the memory, as models are told of them.
pub(super) fn tool_specs(definition: &MemoryDefinition) -> Vec<Value> {
    let spec = |name: &str, description: &str, field: &str, about: &str| {
        let parameters = json!({
            "type": "object", "additionalProperties": false, "required": [field],
            "properties": { field: { "type": "string", "description": about } },
        });
        let function = json!({ "name": name, "description": description, "parameters": parameters });
        json!({ "type": "function", "function": function })
    };
    let mut specs = Vec::new();
    if definition.facts {
        let about = "Notes a fact for later, in any conversation.";
        specs.push(spec(REMEMBER, about, "fact", "One sentence that stands by itself."));
    }
    if definition.can_recall() {
        let about = match (definition.facts, definition.history > 0) {
            (true, true) => {
                "Looks up facts that were noted before, and what was said earlier in this conversation."
            }
            (true, false) => "Looks up facts that were noted before.",
            _ => "Looks up what was said earlier in this conversation.",
        };
        specs.push(spec(RECALL, about, "question", "What to look for."));
    }
    specs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn() -> Turn {
        Turn::detached("a".parse().unwrap())
    }

    #[test]
    fn what_falls_out_of_the_window_is_given_back() {
        let mut memory = Memory::default();
        assert!(memory.add("user", "1", 2).is_empty());
        assert!(memory.add("assistant", "2", 2).is_empty());
        let gone = memory.add("user", "3", 2);
        assert_eq!(gone.iter().map(|gone| gone.content.as_str()).collect::<Vec<_>>(), ["1"]);
        assert_eq!(memory.messages()[1], json!({ "role": "user", "content": "3" }));
    }

    #[test]
    fn the_quietest_conversation_is_forgotten() {
        let mut turn = turn();
        let definition = MemoryDefinition { conversations_max: 2, ..MemoryDefinition::default() };
        for name in ["a", "b", "a", "c"] {
            let mut memory = Memory::load(&turn, Some(name));
            memory.add("user", name, 10);
            memory.keep(&mut turn, Some(name), &definition).unwrap();
        }
        let count = |name| Memory::load(&turn, Some(name)).messages.len();
        assert_eq!((count("a"), count("b"), count("c")), (2, 0, 1));
    }

    #[test]
    fn what_is_set_aside_has_a_bound_and_goes_with_its_conversation() {
        let mut turn = turn();
        let definition = MemoryDefinition { conversations_max: 1, ..MemoryDefinition::default() };
        let said = |text: &str| Remembered { role: "user".to_owned(), content: text.to_owned() };
        set_aside(&mut turn, "a", &[said("1"), said("2")], 3).unwrap();
        set_aside(&mut turn, "a", &[said("3"), said(&"é".repeat(FACT_MAX))], 3).unwrap();
        let kept: VecDeque<Noted> = read(&turn, &history_key("a"));
        assert_eq!(kept.iter().map(|noted| noted.text.len()).collect::<Vec<_>>(), [1, 1, FACT_MAX]);
        Memory::default().keep(&mut turn, Some("a"), &definition).unwrap();
        assert!(turn.get(&history_key("a")).is_some());
        Memory::default().keep(&mut turn, Some("b"), &definition).unwrap();
        assert!(turn.get(&history_key("a")).is_none());
    }

    #[test]
    fn a_fact_is_noted_once_and_the_oldest_is_forgotten() {
        let mut turn = turn();
        for number in 0..=FACTS_MAX {
            remember(&mut turn, &format!("fact {number}")).unwrap();
        }
        remember(&mut turn, "fact 1").unwrap();
        let facts: VecDeque<Noted> = read(&turn, FACTS);
        assert_eq!(
            (facts.len(), facts[0].text.as_str(), facts[199].text.as_str()),
            (200, "fact 2", "fact 1")
        );
        assert!(remember(&mut turn, " ").unwrap()["error"].is_string());
    }

    #[test]
    fn a_model_is_told_of_what_there_is() {
        let names = |facts, history| -> Vec<String> {
            let definition = MemoryDefinition { facts, history, ..MemoryDefinition::default() };
            let specs = tool_specs(&definition);
            specs.iter().map(|spec| spec["function"]["name"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(names(true, 0), [REMEMBER, RECALL]);
        assert_eq!(names(false, 9), [RECALL]);
        assert!(names(false, 0).is_empty());
    }
}
