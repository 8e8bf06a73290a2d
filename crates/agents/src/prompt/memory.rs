//! What a prompt agent remembers: of each conversation the last messages and a summary, and facts of its own.

use std::collections::VecDeque;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::MemoryDefinition;
use crate::{handler::Failure, turn::Turn};

/// Keys of conversations in the state.
const CONVERSATIONS: &str = "memory/";
/// The key of which conversations there are, the quietest first.
const INDEX: &str = "memories";
/// The key of the facts.
const FACTS: &str = "facts";
/// Facts that are kept; the oldest is forgotten.
const FACTS_MAX: usize = 200;
/// The longest fact.
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

fn read<T: serde::de::DeserializeOwned + Default>(turn: &Turn, key: &str) -> T {
    turn.get(key).and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

fn write(turn: &mut Turn, key: &str, value: &impl Serialize) -> Result<(), Failure> {
    let bytes = serde_json::to_vec(value).unwrap_or_default();
    turn.set(key, Bytes::from(bytes))
}

fn key(conversation: &str) -> String {
    // Conversations have names of up to 256 bytes; keys are shorter.
    format!("{CONVERSATIONS}{}", blake3::hash(conversation.as_bytes()).to_hex())
}

impl Memory {
    pub(super) fn load(turn: &Turn, conversation: Option<&str>) -> Self {
        conversation.map(|conversation| read(turn, &key(conversation))).unwrap_or_default()
    }

    /// Adds a message, and gives those that are too many.
    pub(super) fn add(&mut self, role: &str, content: &str, window: usize) -> Vec<Remembered> {
        let end = (0..=content.len().min(TEXT_MAX)).rev().find(|end| content.is_char_boundary(*end));
        let content = content[..end.unwrap_or(0)].to_owned();
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
    let mut facts: VecDeque<String> = read(turn, FACTS);
    facts.retain(|known| known != fact);
    facts.push_back(fact.to_owned());
    while facts.len() > FACTS_MAX {
        facts.pop_front();
    }
    write(turn, FACTS, &facts)?;
    Ok(json!({ "remembered": true }))
}

/// The facts that have most words in common with a question.
pub(super) fn recall(turn: &Turn, question: &str) -> Value {
    let words = words_of(question);
    let facts: Vec<String> = read(turn, FACTS);
    let mut scored: Vec<(usize, usize, &String)> = facts
        .iter()
        .enumerate()
        .map(|(age, fact)| {
            let of_fact = words_of(fact);
            (words.iter().filter(|word| of_fact.contains(word)).count(), age, fact)
        })
        .filter(|(score, ..)| words.is_empty() || *score > 0)
        .collect();
    scored.sort_unstable_by_key(|(score, age, _)| std::cmp::Reverse((*score, *age)));
    let facts: Vec<&String> = scored.into_iter().take(10).map(|(.., fact)| fact).collect();
    json!({ "facts": facts })
}

fn words_of(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| word.chars().count() > 2);
    words.map(str::to_lowercase).collect()
}

/// The tools of the memory, as models are told of them.
pub(super) fn tool_specs() -> [Value; 2] {
    let spec = |name: &str, description: &str, field: &str, about: &str| {
        let parameters = json!({
            "type": "object", "additionalProperties": false, "required": [field],
            "properties": { field: { "type": "string", "description": about } },
        });
        let function = json!({ "name": name, "description": description, "parameters": parameters });
        json!({ "type": "function", "function": function })
    };
    [
        spec(
            REMEMBER,
            "Notes a fact for later, in any conversation.",
            "fact",
            "One sentence that stands by itself.",
        ),
        spec(RECALL, "Looks up facts that were noted before.", "question", "Words to look for."),
    ]
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
    fn facts_are_found_by_their_words() {
        let mut turn = turn();
        for fact in ["The shop closes at eight", "Anna prefers tea", "Anna lives in Bern"] {
            remember(&mut turn, fact).unwrap();
        }
        assert_eq!(recall(&turn, "what does Anna prefer, tea?")["facts"][0], "Anna prefers tea");
        assert_eq!(recall(&turn, "weather")["facts"], json!([]));
        assert!(remember(&mut turn, " ").unwrap()["error"].is_string());
    }
}
