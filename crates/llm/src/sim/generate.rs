//! What the simulated provider says: texts, values that follow a schema, vectors.

use serde_json::{Map, Value, json};

/// Words that make no sense on purpose.
const WORDS: [&str; 32] = [
    "amber", "basin", "cedar", "delta", "ember", "fjord", "grove", "harbor", "inlet", "jasper", "kettle",
    "lagoon", "meadow", "nectar", "orchard", "pebble", "quarry", "river", "saddle", "timber", "upland",
    "valley", "willow", "yonder", "zephyr", "anchor", "breeze", "canyon", "drift", "eddy", "fern", "glade",
];
/// How deep schemas are followed.
const DEPTH_MAX: usize = 8;

/// So many tokens of text, one word each.
pub(super) fn tokens(random: &mut fastrand::Rng, count: u32) -> Vec<String> {
    (0..count)
        .map(|index| {
            let word = WORDS[random.usize(..WORDS.len())];
            if index == 0 { capitalised(word) } else { format!(" {word}") }
        })
        .collect()
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// A text in tokens: a word with the space before it is one.
pub(super) fn split(text: &str) -> Vec<String> {
    let mut pieces: Vec<String> = Vec::new();
    for character in text.chars() {
        match pieces.last_mut() {
            Some(last) if !character.is_whitespace() || last.chars().all(char::is_whitespace) => {
                last.push(character);
            }
            _ => pieces.push(character.to_string()),
        }
    }
    pieces
}

/// How many tokens a text is taken to have.
pub(super) fn count(text: &str) -> u64 {
    (text.len() as u64).div_ceil(4)
}

/// A value that follows a JSON Schema, as far as its usual words go.
pub(super) fn sample(schema: &Value, random: &mut fastrand::Rng) -> Value {
    sample_at(schema, schema, random, 0)
}

fn sample_at(root: &Value, schema: &Value, random: &mut fastrand::Rng, depth: usize) -> Value {
    if depth > DEPTH_MAX {
        return Value::Null;
    }
    let mut within = |schema: &Value| sample_at(root, schema, random, depth + 1);
    if let Some(pointer) = schema["$ref"].as_str().and_then(|path| path.strip_prefix('#')) {
        return root.pointer(pointer).map_or(Value::Null, within);
    }
    if let Some(fixed) =
        schema.get("const").or_else(|| schema["enum"].get(0)).or_else(|| schema.get("default"))
    {
        return fixed.clone();
    }
    for word in ["anyOf", "oneOf", "allOf"] {
        if let Some(first) = schema[word].get(0) {
            return within(first);
        }
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds.first().and_then(Value::as_str),
        kind => kind.as_str(),
    };
    let kind = kind.or_else(|| schema.get("properties").map(|_| "object"));
    match kind.map(str::to_lowercase).as_deref() {
        Some("object") => {
            let properties = schema["properties"].as_object();
            let members =
                properties.into_iter().flatten().map(|(name, schema)| (name.clone(), within(schema)));
            Value::Object(members.collect::<Map<_, _>>())
        }
        Some("array") => {
            let count = schema["minItems"].as_u64().unwrap_or(1).clamp(1, 16);
            (0..count).map(|_| within(&schema["items"])).collect()
        }
        Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or_else(|| json!(7)),
        Some("boolean") => json!(true),
        Some("null") => Value::Null,
        _ => json!(WORDS[random.usize(..WORDS.len())]),
    }
}

/// A vector of length 1: the same for the same text and seed, and near that of a text with the same words.
pub(super) fn embedding(text: &str, seed: u64, dimensions: u32) -> Vec<f32> {
    let mut vector = vec![0.0_f32; dimensions as usize];
    let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
    for word in if words.is_empty() { vec![String::new()] } else { words } {
        let hash = blake3::hash(word.as_bytes());
        let hash = u64::from_le_bytes(hash.as_bytes()[..8].try_into().unwrap_or_default());
        let mut random = fastrand::Rng::with_seed(hash ^ seed);
        for number in &mut vector {
            *number += random.f32() - 0.5;
        }
    }
    let length = vector.iter().map(|number| number * number).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    vector.iter().map(|number| number / length).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_make_the_text_again() {
        for text in ["", "one", " two  words\nand more ", "é ü"] {
            assert_eq!(split(text).concat(), text);
        }
    }

    #[test]
    fn a_sample_follows_its_schema() {
        let schema = json!({
            "type": "object", "required": ["city", "days"],
            "properties": {
                "city": {"type": "string"}, "unit": {"enum": ["c", "f"]}, "days": {"type": "integer", "minimum": 3},
                "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}}, "note": {"type": ["string", "null"]},
            },
            "$defs": {"tag": {"type": "object", "properties": {"ok": {"type": "boolean"}}}},
        });
        let value = sample(&schema, &mut fastrand::Rng::with_seed(1));
        assert_eq!(
            (&value["unit"], &value["days"], &value["tags"]),
            (&json!("c"), &json!(3), &json!([{"ok": true}]))
        );
        assert!(value["city"].is_string() && value["note"].is_string());
    }

    #[test]
    fn texts_with_the_same_words_are_near() {
        let dot = |left: &str, right: &str| -> f32 {
            let (left, right) = (embedding(left, 1, 64), embedding(right, 1, 64));
            left.iter().zip(&right).map(|(left, right)| left * right).sum()
        };
        assert!(dot("a green kettle", "green kettle a") > 0.999);
        assert!(dot("a green kettle", "the red kettle") < 0.9);
    }
}
