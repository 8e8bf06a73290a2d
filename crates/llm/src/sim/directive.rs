//! What a prompt tells the simulated provider to do: `[sim reply="Hello" status=429]`; in steps, one for each answer:
//! `[sim tool=get_weather with={"city": "Paris"} then reply="It is {{1.weather}}"]`.

use std::time::Duration;

use paddock_platform::units::HumanDuration;
use serde::de::IgnoredAny;
use serde_json::Value;

/// What a prompt asks for, of one answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Directive {
    /// The text of the answer.
    pub(super) reply: Option<String>,
    /// The tool that is called.
    pub(super) tool: Option<String>,
    /// What it is called with; made up after its schema when left out.
    pub(super) with: Option<Value>,
    /// Fail with this status.
    pub(super) status: Option<u16>,
    /// Stall for so long before the first token.
    pub(super) stall: Option<Duration>,
    /// Break off after so many tokens.
    pub(super) break_after: Option<usize>,
    /// Fail within the stream after so many tokens.
    pub(super) fail_after: Option<usize>,
    /// Tokens that the prompt cache had.
    pub(super) cached: Option<u64>,
    /// Answer with something that is no answer.
    pub(super) garbage: bool,
    /// Answer 200 with an error inside.
    pub(super) error_inside: bool,
}

impl Directive {
    /// The steps of the last `[sim …]` in a text: what its first answer is to be, its second, and so on.
    pub(super) fn steps(text: &str) -> Vec<Self> {
        let Some(start) = text.rfind("[sim ") else { return Vec::new() };
        let mut rest = &text[start + 5..];
        let (mut steps, mut step) = (Vec::new(), Self::default());
        while let Some((key, value, after)) = next_pair(rest) {
            rest = after;
            if key == "then" {
                steps.push(std::mem::take(&mut step));
            } else {
                step.set(key, value);
            }
        }
        steps.push(step);
        steps
    }

    fn set(&mut self, key: &str, value: &str) {
        match key {
            "reply" => self.reply = Some(value.to_owned()),
            "tool" => self.tool = Some(value.to_owned()),
            "with" => self.with = serde_json::from_str(value).ok(),
            "status" => self.status = value.parse().ok(),
            "stall" => self.stall = value.parse::<HumanDuration>().ok().map(HumanDuration::get),
            "break_after" => self.break_after = value.parse().ok(),
            "fail_after" => self.fail_after = value.parse().ok(),
            "cached" => self.cached = value.parse().ok(),
            "garbage" => self.garbage = true,
            "error_inside" => self.error_inside = true,
            _ => {}
        }
    }
}

/// `key`, `key=value`, `key="a value"` or `key={"an": "object"}`, and what follows; none at the closing bracket.
fn next_pair(text: &str) -> Option<(&str, &str, &str)> {
    let text = text.trim_start();
    let end = text.find(['=', ' ', ']'])?;
    let (key, after) = text.split_at(end);
    if key.is_empty() {
        return None;
    }
    let Some(value) = after.strip_prefix('=') else { return Some((key, "", after)) };
    if let Some(quoted) = value.strip_prefix('"') {
        let close = quoted.find('"')?;
        return Some((key, &quoted[..close], &quoted[close + 1..]));
    }
    if value.starts_with('{') {
        let mut objects = serde_json::Deserializer::from_str(value).into_iter::<IgnoredAny>();
        if let Some(Ok(_)) = objects.next() {
            let end = objects.byte_offset();
            return Some((key, &value[..end], &value[end..]));
        }
    }
    let end = value.find([' ', ']'])?;
    Some((key, &value[..end], &value[end..]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_directive_is_read_from_the_end_of_a_prompt() {
        let found = Directive::steps("Weather? [sim tool=get_weather reply=\"It is [fine]\" garbage]");
        assert_eq!(found.len(), 1);
        let found = &found[0];
        assert_eq!(found.tool.as_deref(), Some("get_weather"));
        assert_eq!(found.reply.as_deref(), Some("It is [fine]"));
        assert!(found.garbage);
        assert!(Directive::steps("nothing").is_empty());
    }

    #[test]
    fn steps_follow_one_another_and_say_what_tools_are_called_with() {
        let text = "[sim tool=open with={\"url\": \"http://x/]\", \"on\": [1, 2]} then tool=look then reply=\"seen\"]";
        let steps = Directive::steps(text);
        let tools: Vec<Option<&str>> = steps.iter().map(|step| step.tool.as_deref()).collect();
        assert_eq!(tools, [Some("open"), Some("look"), None]);
        assert_eq!(steps[0].with, Some(json!({"url": "http://x/]", "on": [1, 2]})));
        assert_eq!((&steps[1].with, steps[2].reply.as_deref()), (&None, Some("seen")));
    }

    proptest! {
        #[test]
        fn no_prompt_makes_it_panic(text in "(\\[sim )?[a-z=\" \\]{}é]{0,30}") {
            let _ = Directive::steps(&text);
        }
    }
}
