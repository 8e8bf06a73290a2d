//! The texts in a body of any format, for guards: changed in place, so that everything else stays.

use serde_json::Value;

/// Members that hold what people and programs wrote.
const TEXT_MEMBERS: [&str; 10] = [
    "content",
    "text",
    "prompt",
    "input",
    "instructions",
    "system",
    "arguments",
    "output",
    "thinking",
    "reasoning_content",
];
/// Members at the top where such texts are.
const PLACES: [&str; 8] =
    ["messages", "prompt", "input", "instructions", "system", "choices", "content", "output"];

/// Every text of a request or an answer.
pub(super) fn texts_of(body: &mut Value) -> Vec<&mut String> {
    let mut texts = Vec::new();
    if let Value::Object(members) = body {
        for (name, value) in members.iter_mut() {
            if PLACES.contains(&name.as_str()) {
                collect(value, true, &mut texts);
            }
        }
    }
    texts
}

/// `is_text`: whether a text here is what somebody wrote, and not a name or an id.
fn collect<'a>(value: &'a mut Value, is_text: bool, texts: &mut Vec<&'a mut String>) {
    match value {
        Value::String(text) if is_text => texts.push(text),
        Value::Array(items) => items.iter_mut().for_each(|item| collect(item, is_text, texts)),
        Value::Object(members) => {
            for (name, member) in members.iter_mut() {
                // The arguments of Anthropic's calls are an object of their own names.
                let within = TEXT_MEMBERS.contains(&name.as_str());
                collect(member, within, texts);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn texts(mut body: Value) -> Vec<String> {
        texts_of(&mut body).into_iter().map(|text| text.clone()).collect()
    }

    #[test]
    fn what_was_written_is_found_and_nothing_else() {
        let chat = json!({"model": "m", "user": "u", "messages": [
            {"role": "system", "content": "be kind"},
            {"role": "user", "content": [{"type": "text", "text": "hello"}, {"type": "image_url", "image_url": {"url": "data:"}}]},
            {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{\"a\":1}"}}]},
        ]});
        assert_eq!(texts(chat), ["be kind", "hello", "{\"a\":1}"]);
        let messages = json!({"system": [{"type": "text", "text": "s"}], "messages": [
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "found"}]},
        ]});
        assert_eq!(texts(messages), ["found", "s"]);
        let responses = json!({"instructions": "i", "input": "hi"});
        assert_eq!(texts(responses), ["hi", "i"]);
        let answer = json!({"id": "x", "choices": [{"message": {"role": "assistant", "content": "yes"}}]});
        assert_eq!(texts(answer), ["yes"]);
    }
}
