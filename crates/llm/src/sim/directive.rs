//! What a prompt tells the simulated provider to do: `[sim reply="Hello" status=429 tool=get_weather]`.

use std::time::Duration;

use paddock_platform::units::HumanDuration;

/// What the last prompt asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Directive {
    /// The text of the answer.
    pub(super) reply: Option<String>,
    /// The tool that is called.
    pub(super) tool: Option<String>,
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
    /// The last directive in a text.
    pub(super) fn find(text: &str) -> Self {
        let mut directive = Self::default();
        let Some(start) = text.rfind("[sim ") else { return directive };
        let mut rest = &text[start + 5..];
        while let Some((key, value, after)) = next_pair(rest) {
            rest = after;
            directive.set(key, value);
        }
        directive
    }

    fn set(&mut self, key: &str, value: &str) {
        match key {
            "reply" => self.reply = Some(value.to_owned()),
            "tool" => self.tool = Some(value.to_owned()),
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

/// `key`, `key=value` or `key="a value"`, and what follows; none at the closing bracket.
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
    let end = value.find([' ', ']'])?;
    Some((key, &value[..end], &value[end..]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_directive_is_read_from_the_end_of_a_prompt() {
        let found = Directive::find("Weather? [sim tool=get_weather reply=\"It is [fine]\" garbage]");
        assert_eq!(found.tool.as_deref(), Some("get_weather"));
        assert_eq!(found.reply.as_deref(), Some("It is [fine]"));
        assert!(found.garbage);
        assert_eq!(Directive::find("nothing"), Directive::default());
    }

    proptest! {
        #[test]
        fn no_prompt_makes_it_panic(text in "(\\[sim )?[a-z=\" \\]é]{0,30}") {
            let _ = Directive::find(&text);
        }
    }
}
