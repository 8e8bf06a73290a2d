//! One line per node, of which no page can make two.

use std::fmt::{self, Write};

use super::node::{Checked, Node};

/// What differs between the two formats of one line per node.
pub(super) struct LineStyle {
    indent: &'static str,
    separator: char,
    focused: &'static str,
    disabled: &'static str,
    checked: [&'static str; 3],
}

pub(super) const COMPACT: LineStyle = LineStyle {
    indent: "",
    separator: ':',
    focused: " *",
    disabled: " -",
    checked: [" [x]", " [ ]", " [/]"],
};
pub(super) const TEXT: LineStyle = LineStyle {
    indent: "  ",
    separator: ' ',
    focused: " [focused]",
    disabled: " [disabled]",
    checked: [" [checked]", " [unchecked]", " [mixed]"],
};

pub(super) fn write_line(out: &mut String, node: &Node, style: &LineStyle, mark: &str) {
    (0..node.depth).for_each(|_| out.push_str(style.indent));
    out.push_str(&node.r#ref);
    out.push(style.separator);
    out.push_str(&node.role);
    if !node.name.is_empty() {
        out.push_str(" \"");
        push_quoted(out, &node.name);
        out.push('"');
    }
    if let Some(value) = &node.value {
        out.push_str(" val=\"");
        push_quoted(out, value);
        out.push('"');
    }
    if node.focused {
        out.push_str(style.focused);
    }
    if let Some(checked) = node.checked {
        let [on, off, mixed] = style.checked;
        out.push_str(match checked {
            Checked::True => on,
            Checked::False => off,
            Checked::Mixed => mixed,
        });
    }
    if node.disabled {
        out.push_str(style.disabled);
    }
    if node.hidden {
        out.push_str(" [hidden]");
    }
    out.push_str(mark);
    out.push('\n');
}

/// A part of the first line: a page cannot begin another part, nor another line.
pub(super) struct HeadLine<'a>(pub(super) &'a str);

impl fmt::Display for HeadLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| match character {
            '|' => f.write_char('¦'),
            other if ends_line(other) => f.write_char(' '),
            other => f.write_char(other),
        })
    }
}

/// Whether a reader may take the character for the end of a line.
pub(super) fn ends_line(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}' | '\u{2029}')
}

/// A text between quotes: a page cannot end them, nor begin a line that looks like another node.
fn push_quoted(out: &mut String, text: &str) {
    let mut from = 0;
    for (at, character) in text.char_indices() {
        let written = match character {
            '"' => "\\\"",
            '\\' => "\\\\",
            control if ends_line(control) => " ",
            _ => continue,
        };
        out.push_str(&text[from..at]);
        out.push_str(written);
        from = at + character.len_utf8();
    }
    out.push_str(&text[from..]);
}

/// Writing to a string does not fail.
pub(super) fn put(out: &mut String, arguments: fmt::Arguments<'_>) {
    _ = out.write_fmt(arguments);
}
