//! Makes inputs of seeds: some bytes changed, or, where a seed is JSON, some values of it.

use serde_json::{Value, json};

/// The longest input.
const LENGTH_MAX: usize = 64 << 10;
/// Inputs that are mutated further.
const POOL_MAX: usize = 512;
/// What stands in streams and bodies.
const WORDS: [&str; 28] = [
    "data: ",
    "event: ",
    "\n\n",
    "\r\n",
    "\r",
    ": ",
    "[DONE]",
    "data: {}\n\n",
    "null",
    "true",
    "-1",
    "1e999",
    "{}",
    "[]",
    "\"\"",
    "\\u0000",
    "\\ud800",
    "\u{e9}",
    "\u{feff}",
    "\"role\":\"tool\"",
    "\"content\":",
    "\"type\":\"text\"",
    "\"tool_calls\":",
    "\"usage\":",
    "\"choices\":",
    "\"delta\":",
    "\"parts\":",
    "\"finish_reason\":\"stop\"",
];

/// Makes inputs.
pub(super) struct Mutator {
    random: fastrand::Rng,
    pool: Vec<Vec<u8>>,
}

impl Mutator {
    pub(super) fn new(seed: u64, seeds: &[&[u8]]) -> Self {
        Self {
            random: fastrand::Rng::with_seed(seed),
            pool: seeds.iter().map(|seed| seed.to_vec()).collect(),
        }
    }

    /// The next input.
    pub(super) fn next(&mut self) -> Vec<u8> {
        let mut input = self.pool[self.random.usize(..self.pool.len())].clone();
        for _ in 0..self.random.usize(1..6) {
            input = if self.random.u8(..3) == 0 { self.within_json(&input) } else { self.among_bytes(input) };
        }
        input.truncate(LENGTH_MAX);
        if self.random.u8(..8) == 0 {
            if self.pool.len() < POOL_MAX {
                self.pool.push(input.clone());
            } else {
                // The seeds stand first and stay.
                let at = self.random.usize(8..POOL_MAX);
                input.clone_into(&mut self.pool[at]);
            }
        }
        input
    }

    fn among_bytes(&mut self, mut input: Vec<u8>) -> Vec<u8> {
        let at = self.random.usize(..=input.len());
        match self.random.u8(..6) {
            0 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte = self.random.u8(..);
                }
            }
            1 => {
                let word = WORDS[self.random.usize(..WORDS.len())];
                input.splice(at..at, word.bytes());
            }
            2 => {
                let end = (at + self.random.usize(..64)).min(input.len());
                input.drain(at..end);
            }
            3 => {
                let end = (at + self.random.usize(..256)).min(input.len());
                let piece = input[at..end].to_vec();
                let to = self.random.usize(..=input.len());
                input.splice(to..to, piece);
            }
            4 => {
                let other = &self.pool[self.random.usize(..self.pool.len())];
                let from = self.random.usize(..=other.len());
                let tail = other[from..].to_vec();
                input.truncate(at);
                input.extend(tail);
            }
            _ => input.truncate(at),
        }
        input
    }

    /// Changes a value of a body, or of the JSON in one line of a stream.
    fn within_json(&mut self, input: &[u8]) -> Vec<u8> {
        if let Ok(mut body) = serde_json::from_slice::<Value>(input) {
            self.change(&mut body, 0);
            return body.to_string().into_bytes();
        }
        let mut lines: Vec<Vec<u8>> = input.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        let at = self.random.usize(..lines.len());
        let data =
            lines[at].strip_prefix(b"data: ").and_then(|data| serde_json::from_slice::<Value>(data).ok());
        if let Some(mut data) = data {
            self.change(&mut data, 0);
            lines[at] = format!("data: {data}").into_bytes();
        }
        lines.join(&b'\n')
    }

    fn change(&mut self, value: &mut Value, depth: usize) {
        let stays = depth < 2 || self.random.u8(..3) > 0;
        match value {
            Value::Object(members) if stays && !members.is_empty() => {
                let at = self.random.usize(..members.len());
                let Some(name) = members.keys().nth(at).cloned() else { return };
                match self.random.u8(..10) {
                    0 => drop(members.remove(&name)),
                    1 => {
                        let copy = members[&name].clone();
                        members.insert(WORDS[self.random.usize(..WORDS.len())].to_owned(), copy);
                    }
                    _ => {
                        if let Some(member) = members.get_mut(&name) {
                            self.change(member, depth + 1);
                        }
                    }
                }
            }
            Value::Array(items) if stays && !items.is_empty() => {
                let at = self.random.usize(..items.len());
                match self.random.u8(..8) {
                    0 => drop(items.remove(at)),
                    1 => items.push(items[at].clone()),
                    _ => self.change(&mut items[at], depth + 1),
                }
            }
            value => *value = self.value(),
        }
    }

    fn value(&mut self) -> Value {
        match self.random.u8(..12) {
            0 => Value::Null,
            1 => json!(self.random.bool()),
            2 => json!(self.random.i64(..)),
            3 => json!(u64::MAX),
            4 => json!(-0.5),
            5 => json!([]),
            6 => json!({}),
            7 => json!([{"type": "text", "text": "a"}]),
            8 => json!({"type": "function", "function": {"name": "f", "arguments": "{"}}),
            9 => json!("data:image/png;base64,AA=="),
            10 => json!("\u{0}\u{e9}\u{2028}"),
            _ => json!(WORDS[self.random.usize(..WORDS.len())]),
        }
    }
}
