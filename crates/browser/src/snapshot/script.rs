//! The script of the isolated world, as it is sent: without comments, indentation and idle white space. What Chrome is
//! sent costs it some 30 µs per KiB, for each document anew. It is ASCII throughout: one character beyond that, and Chrome
//! passes two bytes for each from process to process.

use std::sync::LazyLock;

/// As it is written.
const SOURCE: &str = concat!(
    include_str!("../../js/accessibility/head.js"),
    include_str!("../../js/accessibility/dom.js"),
    include_str!("../../js/accessibility/role.js"),
    include_str!("../../js/accessibility/visibility.js"),
    include_str!("../../js/accessibility/name.js"),
    include_str!("../../js/accessibility/state.js"),
    include_str!("../../js/accessibility/refs.js"),
    include_str!("../../js/accessibility/walk.js"),
    include_str!("../../js/accessibility/select.js"),
    include_str!("../../js/accessibility/act.js"),
    include_str!("../../js/accessibility/edit.js"),
    include_str!("../../js/accessibility/wait.js"),
    include_str!("../../js/accessibility/text.js"),
    include_str!("../../js/accessibility/inspect.js"),
    include_str!("../../js/accessibility/survey.js"),
    include_str!("../../js/accessibility/tail.js"),
);

/// Defines `paddockAccessibility` in the world that it is evaluated in; evaluating it again does nothing.
///
/// Other scripts compose with it: `paddockAccessibility.role(element)`, `.name(element)`, `.isVisible(element)`,
/// `.interactive(element)`, `.element("e12")`, `.rect(element)`, and `.cached(() => …)` around a pass that asks much.
pub static SCRIPT: LazyLock<String> = LazyLock::new(|| shrink(SOURCE));

/// Words after which a slash begins a regular expression.
const BEFORE_EXPRESSION: [&str; 12] =
    ["return", "typeof", "case", "in", "of", "delete", "void", "throw", "new", "else", "do", "instanceof"];
/// After one of these, a line break ends no statement.
const GOES_ON: &str = "{([,;:?&|=*<>!";

/// What stands between two tokens.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Gap {
    Nothing,
    Space,
    Line,
}

/// Leaves out comments and white space that mean nothing. Texts, templates and regular expressions stay as they are.
fn shrink(source: &str) -> String {
    let mut output = String::with_capacity(source.len() / 2);
    let (mut rest, mut gap) = (source, Gap::Nothing);
    // For each template around, the braces that are open in its expression.
    let mut templates: Vec<usize> = Vec::new();
    while let Some(first) = rest.chars().next() {
        if first.is_whitespace() {
            gap = gap.max(if first == '\n' { Gap::Line } else { Gap::Space });
            rest = &rest[first.len_utf8()..];
            continue;
        }
        if rest.starts_with("//") {
            rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
            continue;
        }
        if let Some(comment) = rest.strip_prefix("/*") {
            let (text, after) = comment.split_once("*/").unwrap_or((comment, ""));
            gap = gap.max(if text.contains('\n') { Gap::Line } else { Gap::Space });
            rest = after;
            continue;
        }
        let closes_expression = first == '}' && templates.last() == Some(&0);
        let length = match first {
            '\'' | '"' => quoted(rest, first),
            '`' => template(rest, &mut templates),
            _ if closes_expression => {
                templates.pop();
                template(rest, &mut templates)
            }
            '/' if begins_expression(&output) => regular_expression(rest),
            _ if is_of_word(first) => rest.find(|other| !is_of_word(other)).unwrap_or(rest.len()),
            _ => {
                match (first, templates.last_mut()) {
                    ('{', Some(open)) => *open += 1,
                    ('}', Some(open)) => *open = open.saturating_sub(1),
                    _ => {}
                }
                first.len_utf8()
            }
        };
        let (token, after) = rest.split_at(length);
        close(&mut output, gap, first);
        output.push_str(token);
        (rest, gap) = (after, Gap::Nothing);
    }
    output.push('\n');
    output
}

/// Writes as much of a gap as is needed before what follows.
fn close(output: &mut String, gap: Gap, next: char) {
    let Some(last) = output.chars().next_back() else { return };
    match gap {
        Gap::Line if !GOES_ON.contains(last) => output.push('\n'),
        Gap::Line | Gap::Space if last == '\n' => {}
        Gap::Line | Gap::Space => {
            let words = is_of_word(last) && is_of_word(next);
            // `a + +b`, `a / /b/`.
            let signs = last == next && matches!(last, '+' | '-') || last == '/' || next == '/';
            if words || signs {
                output.push(' ');
            }
        }
        Gap::Nothing => {}
    }
}

fn is_of_word(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '_' | '$' | '#' | '@') || !character.is_ascii()
}

/// Whether an expression, rather than an operator, comes after this.
fn begins_expression(before: &str) -> bool {
    let before = before.trim_end();
    let Some(last) = before.chars().next_back() else { return true };
    if !is_of_word(last) {
        return !matches!(last, ')' | ']' | '"' | '\'' | '`');
    }
    let word = before.rfind(|character| !is_of_word(character)).map_or(before, |at| {
        let (_, word) = before.split_at(at);
        word.trim_start_matches(|character| !is_of_word(character))
    });
    BEFORE_EXPRESSION.contains(&word)
}

/// Length of a text, its quotes included.
fn quoted(source: &str, quote: char) -> usize {
    let mut escaped = false;
    let end = source.char_indices().skip(1).find(|&(_, character)| {
        let ends = character == quote && !escaped;
        escaped = character == '\\' && !escaped;
        ends
    });
    end.map_or(source.len(), |(at, _)| at + 1)
}

/// Length of the part of a template up to its end, or up to the next expression in it.
fn template(source: &str, templates: &mut Vec<usize>) -> usize {
    let mut escaped = false;
    for (at, character) in source.char_indices().skip(1) {
        if !escaped && character == '`' {
            return at + 1;
        }
        if !escaped && source[at..].starts_with("${") {
            templates.push(0);
            return at + 2;
        }
        escaped = character == '\\' && !escaped;
    }
    source.len()
}

/// Length of a regular expression, without its flags.
fn regular_expression(source: &str) -> usize {
    let (mut escaped, mut in_class) = (false, false);
    for (at, character) in source.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '[' => in_class = true,
            ']' => in_class = false,
            '/' if !in_class => return at + 1,
            '\n' => return 1,
            _ => {}
        }
    }
    source.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn comments_and_white_space_are_left_out_and_nothing_else() {
        for (source, expected) in [
            ("// all\nlet a = 1; /* b */ let c = a;\n", "let a=1;let c=a;\n"),
            ("return  value\n\n  + 1", "return value\n+1\n"),
            ("f(a,\n  b)\ng()", "f(a,b)\ng()\n"),
            ("a + +b - -c / d / e", "a+ +b- -c / d / e\n"),
            ("x = \"  // no  \" + '/* \\' no */'", "x=\"  // no  \"+'/* \\' no */'\n"),
            ("x = /[/ ']  \\/ /g.test(y) / 2", "x= /[/ ']  \\/ /g.test(y) / 2\n"),
            ("return / a  b /.test(c)", "return / a  b /.test(c)\n"),
            ("(a) / b / c; d[0] / e", "(a) / b / c;d[0] / e\n"),
            ("`a  ${ b /* c */ + `  ${ { d : 1 } }  ` }  // e`", "`a  ${b+`  ${{d:1}}  `}  // e`\n"),
            ("'a' in b; c instanceof D", "'a'in b;c instanceof D\n"),
            ("a /* one\n two */ b", "a\nb\n"),
            ("a => ({ ...b, [c]: 'é' })", "a=>({...b,[c]:'é'})\n"),
        ] {
            assert_eq!(shrink(source), expected);
        }
    }

    #[test]
    fn the_script_is_a_quarter_smaller_than_it_is_written() {
        assert!(SCRIPT.len() * 4 < SOURCE.len() * 3, "{} of {} bytes", SCRIPT.len(), SOURCE.len());
        assert_eq!(shrink(&SCRIPT), *SCRIPT);
    }

    #[test]
    fn the_script_has_one_byte_for_each_character() {
        assert!(SCRIPT.is_ascii(), "{:?}", SCRIPT.chars().find(|character| !character.is_ascii()));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(source in "[a-c{}()`$'\"/*\\\\\n +é-]{0,80}") {
            shrink(&source);
        }

        #[test]
        fn what_is_shrunk_shrinks_no_further(words in proptest::collection::vec("[a-c]{1,3}|[+(,;=]| |\n", 0..30)) {
            let once = shrink(&words.concat());
            prop_assert_eq!(shrink(&once), once);
        }
    }
}
