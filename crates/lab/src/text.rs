//! Building texts piece by piece, and showing those of others.

/// A text that came from a target, a command or a file as one line that can neither move the cursor of a terminal nor
/// break out of a line of Markdown: control characters become blanks.
pub fn one_line(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

/// Appends formatted text to a `String`, which cannot fail.
macro_rules! push {
    ($target:expr, $($arguments:tt)*) => {{
        let text: &mut String = &mut $target;
        let _ = std::fmt::Write::write_fmt(text, format_args!($($arguments)*));
    }};
}
pub(crate) use push;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_target_says_cannot_drive_the_terminal() {
        assert_eq!(one_line("a\u{1b}[2Jb\r\nc\u{9b}d"), "a [2Jb  c d");
    }
}
