//! Where a conversation stands in the script of its prompt.
//!
//! What a user says may be a script of several answers. The first follows what was said, the next follows what the tools
//! answered that the first called, and so on. Without one in what was said last, one in the instructions counts: so an
//! agent has its script, and whoever asks it says what to do it with.
//!
//! `{{N.path}}` in a script is what the N-th tool since then answered, `{{0}}` what was said.

use serde_json::Value;

use super::directive::Directive;
use crate::dialect::canonical::{Message, Part, Request, Role, text_of};

/// What the next answer is to be.
pub(super) fn next(request: &Request) -> Directive {
    let said = |turn: &Message| {
        turn.role == Role::User && turn.parts.iter().any(|part| matches!(part, Part::Text { .. }))
    };
    let (prompt, since) = match request.messages.iter().rposition(said) {
        Some(at) => (text_of(&request.messages[at].parts), &request.messages[at + 1..]),
        None => (String::new(), &request.messages[..]),
    };
    let mut steps = Directive::steps(&prompt);
    if steps.is_empty() {
        steps = Directive::steps(&text_of(&request.system));
    }
    let done = since.iter().filter(|turn| turn.role == Role::Assistant).count();
    let mut step = steps.into_iter().nth(done).unwrap_or_default();
    let mut told = vec![prompt];
    for part in since.iter().flat_map(|turn| &turn.parts) {
        if let Part::ToolResult { content, .. } = part {
            told.push(text_of(content));
        }
    }
    step.reply = step.reply.map(|reply| fill(&reply, &told));
    if let Some(with) = &mut step.with {
        fill_value(with, &told);
    }
    step
}

/// A text with what its places stand for; a place that stands for nothing is left as it is.
fn fill(text: &str, told: &[String]) -> String {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        filled.push_str(before);
        let found = after.split_once("}}").and_then(|(place, after)| Some((find(place, told)?, after)));
        rest = if let Some((value, after)) = found {
            filled.push_str(&value.as_str().map_or_else(|| value.to_string(), str::to_owned));
            after
        } else {
            filled.push_str("{{");
            after
        };
    }
    filled.push_str(rest);
    filled
}

/// The texts within a value; one that is a place and nothing else becomes what is there, a number say.
fn fill_value(value: &mut Value, told: &[String]) {
    match value {
        Value::String(text) => {
            let place = text.strip_prefix("{{").and_then(|text| text.strip_suffix("}}"));
            let found = place.and_then(|place| find(place, told));
            *value = found.unwrap_or_else(|| fill(text, told).into());
        }
        Value::Array(items) => items.iter_mut().for_each(|item| fill_value(item, told)),
        Value::Object(members) => members.values_mut().for_each(|member| fill_value(member, told)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn find(place: &str, told: &[String]) -> Option<Value> {
    let (number, path) = place.split_once('.').unwrap_or((place, ""));
    let text = told.get(number.parse::<usize>().ok()?)?;
    if path.is_empty() {
        return Some(text.as_str().into());
    }
    let value: Value = serde_json::from_str(text).ok()?;
    value.pointer(&format!("/{}", path.replace('.', "/"))).cloned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn places_stand_for_what_was_said_and_told() {
        let told =
            ["Go".to_owned(), r#"{"page": {"hits": [7, {"title": "Tea"}]}}"#.to_owned(), "plain".to_owned()];
        for (text, filled) in [
            ("{{0}}!", "Go!"),
            ("{{1.page.hits.0}} {{1.page.hits.1.title}}", "7 Tea"),
            ("{{2}} {{2.x}} {{3}} {{x", "plain {{2.x}} {{3}} {{x"),
        ] {
            assert_eq!(fill(text, &told), filled);
        }
        let mut value = json!({"a": "{{1.page.hits.0}}", "b": ["at {{1.page.hits.0}}", 1]});
        fill_value(&mut value, &told);
        assert_eq!(value, json!({"a": 7, "b": ["at 7", 1]}));
    }

    proptest! {
        #[test]
        fn a_text_without_places_stays_as_it_is(text in "[a-z{} .0-9]{0,30}") {
            prop_assert_eq!(fill(&text, &[]), text);
        }
    }
}
