//! Looking up what was noted and said: by words, and by nearness of meaning where the agent has a model for that.
//!
//! Texts are embedded when something is looked up for the first time after they came, many in one call, and their vectors are
//! kept beside them. Where that fails, common words decide.

use std::{collections::VecDeque, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    MemoryDefinition,
    memory::{FACTS, history_key, read, write},
    model::Model,
};
use crate::{message::Label, turn::Turn};

/// What is found at most, of facts and of messages.
const FOUND_MAX: usize = 10;
/// Texts that are embedded at once, the question included; the newest first, the rest another time.
const EMBEDDED_MAX: usize = 100;
/// How long embedding may take.
const EMBED_WAIT: Duration = Duration::from_secs(10);
/// How near something is that has no word in common and is found all the same.
const NEARNESS_MIN: f32 = 0.3;
/// What nearness counts; the rest is common words.
const NEARNESS_SHARE: f32 = 0.7;
/// Numbers of a vector; of longer ones the rest is left out.
const NUMBERS_MAX: usize = 4_096;

/// A direction, as coarse as does for comparing: a byte a number.
#[derive(Clone, Debug, PartialEq)]
struct Vector {
    /// Of which model.
    model: [u8; 4],
    numbers: Vec<i8>,
}

/// A text that can be looked up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub(super) struct Noted {
    /// Who said it; empty for facts.
    role: String,
    pub(super) text: String,
    vector: Option<Vector>,
}

/// A text as the state has it.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Stored {
    Text(String),
    Whole {
        #[serde(default, skip_serializing_if = "String::is_empty")]
        role: String,
        text: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        vector: Option<String>,
    },
}

impl From<Stored> for Noted {
    fn from(stored: Stored) -> Self {
        match stored {
            Stored::Text(text) => Self { role: String::new(), text, vector: None },
            Stored::Whole { role, text, vector } => {
                Self { role, text, vector: vector.as_deref().and_then(Vector::read) }
            }
        }
    }
}

impl From<Noted> for Stored {
    fn from(noted: Noted) -> Self {
        if noted.role.is_empty() && noted.vector.is_none() {
            return Self::Text(noted.text);
        }
        Self::Whole { role: noted.role, text: noted.text, vector: noted.vector.as_ref().map(Vector::write) }
    }
}

impl Noted {
    pub(super) fn new(role: &str, text: &str) -> Self {
        Self { role: role.to_owned(), text: text.to_owned(), vector: None }
    }
}

/// What tells the vectors of one model from those of another.
fn mark_of(model: &str) -> [u8; 4] {
    let mut mark = [0; 4];
    mark.copy_from_slice(&blake3::hash(model.as_bytes()).as_bytes()[..4]);
    mark
}

impl Vector {
    /// `None` for one that has no direction.
    fn new(model: [u8; 4], numbers: &[f32]) -> Option<Self> {
        let numbers = &numbers[..numbers.len().min(NUMBERS_MAX)];
        let largest = numbers.iter().fold(0.0_f32, |largest, number| largest.max(number.abs()));
        let is_direction = largest > 0.0 && numbers.iter().all(|number| number.is_finite());
        let numbers = numbers.iter().map(|number| (number / largest * 127.0).round() as i8);
        is_direction.then(|| Self { model, numbers: numbers.collect() })
    }

    fn read(text: &str) -> Option<Self> {
        let bytes = BASE64_STANDARD.decode(text).ok()?;
        let (model, numbers) = bytes.split_first_chunk::<4>()?;
        let numbers = numbers.iter().map(|byte| i8::from_ne_bytes([*byte])).collect();
        Some(Self { model: *model, numbers })
    }

    fn write(&self) -> String {
        let numbers = self.numbers.iter().flat_map(|number| number.to_ne_bytes());
        BASE64_STANDARD.encode(self.model.into_iter().chain(numbers).collect::<Vec<u8>>())
    }

    /// The cosine of the angle between both: 1 is the same direction. `None` where they cannot be compared.
    fn nearness(&self, other: &Self) -> Option<f32> {
        if self.model != other.model || self.numbers.len() != other.numbers.len() {
            return None;
        }
        let dot = |left: &[i8], right: &[i8]| -> f32 {
            let products = left.iter().zip(right).map(|(left, right)| i64::from(*left) * i64::from(*right));
            products.sum::<i64>() as f32
        };
        let lengths = dot(&self.numbers, &self.numbers) * dot(&other.numbers, &other.numbers);
        Some(dot(&self.numbers, &other.numbers) / lengths.sqrt())
    }
}

/// What is near to a question: facts, and what was said in the conversation and is not seen any more.
pub(super) async fn recall(
    turn: &mut Turn,
    definition: &MemoryDefinition,
    conversation: Option<&Label>,
    model: &dyn Model,
    question: &str,
    wait_max: Duration,
) -> Value {
    let mut facts: VecDeque<Noted> = if definition.facts { read(turn, FACTS) } else { VecDeque::new() };
    let key = conversation.filter(|_| definition.history > 0).map(|label| history_key(label.as_str()));
    let mut history: VecDeque<Noted> = key.as_ref().map(|key| read(turn, key)).unwrap_or_default();
    let mut asked = None;
    if let Some(name) = definition.embeddings.as_ref().filter(|_| !question.trim().is_empty()) {
        let before = (facts.clone(), history.clone());
        let texts = facts.iter_mut().rev().chain(history.iter_mut().rev());
        let embedded = embed(model, name, question, texts);
        match tokio::time::timeout(EMBED_WAIT.min(wait_max), embedded).await {
            Ok(Ok(vector)) => asked = vector,
            Ok(Err(error)) => turn.log(tracing::Level::WARN, &format!("only words were compared: {error}")),
            Err(_) => turn.log(tracing::Level::WARN, "only words were compared: embedding took too long"),
        }
        if before.0 != facts {
            keep(turn, FACTS, &facts);
        }
        if let Some(key) = key.filter(|_| before.1 != history) {
            keep(turn, &key, &history);
        }
    }
    let words = words_of(question);
    let mut found = json!({});
    if definition.facts {
        found["facts"] =
            best(&facts, &words, asked.as_ref()).into_iter().map(|fact| fact.text.as_str()).collect();
    }
    if definition.history > 0 {
        let said = best(&history, &words, asked.as_ref()).into_iter();
        found["messages"] = said.map(|said| json!({ "role": said.role, "content": said.text })).collect();
    }
    found
}

/// Vectors can be had again: where there is no room for them, they are not kept.
fn keep(turn: &mut Turn, key: &str, noted: &VecDeque<Noted>) {
    if let Err(failure) = write(turn, key, noted) {
        turn.log(tracing::Level::WARN, &format!("embeddings are not kept: {failure}"));
    }
}

/// Gives texts the vectors that they lack, and gives that of a question.
async fn embed<'a>(
    model: &dyn Model,
    name: &str,
    question: &str,
    texts: impl Iterator<Item = &'a mut Noted> + Send,
) -> Result<Option<Vector>, String> {
    let mark = mark_of(name);
    let is_known = |noted: &Noted| noted.vector.as_ref().is_some_and(|vector| vector.model == mark);
    let lacking: Vec<&'a mut Noted> = texts.filter(|noted| !is_known(noted)).take(EMBEDDED_MAX - 1).collect();
    let mut asked = vec![question.to_owned()];
    asked.extend(lacking.iter().map(|noted| noted.text.clone()));
    let vectors = model.embed(name, asked).await.map_err(|problem| problem.detail)?;
    let mut vectors = vectors.iter().map(|numbers| Vector::new(mark, numbers));
    let question = vectors.next().flatten();
    for (noted, vector) in lacking.into_iter().zip(vectors) {
        noted.vector = vector;
    }
    Ok(question)
}

/// Those that are nearest, the nearest first, of equals the newest.
fn best<'a>(noted: &'a VecDeque<Noted>, words: &[String], asked: Option<&Vector>) -> Vec<&'a Noted> {
    let mut scored: Vec<(f32, usize, &Noted)> = Vec::new();
    for (age, noted) in noted.iter().enumerate() {
        let of_text = words_of(&noted.text);
        let common = words.iter().filter(|word| of_text.contains(word)).count();
        let share = common as f32 / words.len().max(1) as f32;
        let nearness = asked.zip(noted.vector.as_ref()).and_then(|(asked, vector)| asked.nearness(vector));
        let is_asked_for_nothing = words.is_empty() && asked.is_none();
        let is_near = nearness.is_some_and(|nearness| nearness >= NEARNESS_MIN);
        if is_asked_for_nothing || common > 0 || is_near {
            let nearness = nearness.unwrap_or(0.0).max(0.0);
            scored.push((NEARNESS_SHARE * nearness + (1.0 - NEARNESS_SHARE) * share, age, noted));
        }
    }
    scored.sort_by(|left, right| right.0.total_cmp(&left.0).then(right.1.cmp(&left.1)));
    scored.into_iter().take(FOUND_MAX).map(|(.., noted)| noted).collect()
}

fn words_of(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| word.chars().count() > 2);
    words.map(str::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(texts: &[&str]) -> VecDeque<Noted> {
        texts.iter().map(|text| Noted::new("", text)).collect()
    }

    fn texts(found: &[&Noted]) -> Vec<String> {
        found.iter().map(|noted| noted.text.clone()).collect()
    }

    #[test]
    fn without_vectors_common_words_decide() {
        let facts = noted(&["The shop closes at eight", "Anna prefers tea", "Anna lives in Bern"]);
        let found = |question: &str| texts(&best(&facts, &words_of(question), None));
        assert_eq!(found("what does Anna prefer, tea?")[0], "Anna prefers tea");
        assert!(found("weather").is_empty());
        assert_eq!(found(""), ["Anna lives in Bern", "Anna prefers tea", "The shop closes at eight"]);
    }

    #[test]
    fn a_vector_is_the_same_after_it_was_kept_and_compared_with_its_own_kind_alone() {
        let mark = mark_of("m");
        let vector = Vector::new(mark, &[0.5, -1.0, 0.0]).unwrap();
        assert_eq!(vector.numbers, [64, -127, 0]);
        assert_eq!(Vector::read(&vector.write()), Some(vector.clone()));
        let near = |other: Option<Vector>| vector.nearness(&other.unwrap());
        assert!(near(Vector::new(mark, &[1.0, -2.0, 0.0])).unwrap() > 0.999);
        assert!(near(Vector::new(mark, &[-1.0, 2.0, 0.0])).unwrap() < -0.999);
        assert_eq!(near(Vector::new(mark, &[1.0])), None);
        assert_eq!(near(Vector::new(mark_of("n"), &[0.5, -1.0, 0.0])), None);
        for numbers in [&[][..], &[0.0], &[f32::NAN, 1.0], &[f32::INFINITY]] {
            assert_eq!(Vector::new(mark, numbers), None, "{numbers:?}");
        }
    }

    #[test]
    fn texts_are_kept_as_texts_as_long_as_there_is_no_more_to_keep() {
        let mut fact = Noted::new("", "x");
        assert_eq!(serde_json::to_value(&fact).unwrap(), json!("x"));
        fact.vector = Vector::new(mark_of("m"), &[1.0]);
        let kept = serde_json::to_value(&fact).unwrap();
        assert_eq!(serde_json::from_value::<Noted>(kept).unwrap(), fact);
        let said = Noted::new("user", "x");
        assert_eq!(serde_json::to_value(&said).unwrap(), json!({ "role": "user", "text": "x" }));
        let damaged: Noted = serde_json::from_value(json!({ "text": "x", "vector": "?" })).unwrap();
        assert_eq!(damaged, Noted::new("", "x"));
    }
}
