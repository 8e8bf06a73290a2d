//! Command lines as they are written on one line.

/// A command line in words: blanks separate, quotation marks of either kind hold together, a backslash outside single
/// ones takes the next character as it is. No variables, no globs: a shell is one `sh -c '…'` away. `None` if a
/// quotation does not end.
pub(super) fn split_words(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (character, quote) {
            ('\\', None | Some('"')) => word.get_or_insert_default().push(characters.next()?),
            (mark @ ('"' | '\''), None) => {
                word.get_or_insert_default();
                quote = Some(mark);
            }
            (mark, Some(open)) if mark == open => quote = None,
            (blank, None) if blank.is_whitespace() => words.extend(word.take()),
            (other, _) => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    if quote.is_some() { None } else { Some(words) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_split_as_a_shell_would() {
        let words = |text| split_words(text).unwrap();
        assert_eq!(words("wrk -t1  'a b' \"c \\\" d\" e\\ f ''"), ["wrk", "-t1", "a b", "c \" d", "e f", ""]);
        assert_eq!(split_words("echo 'a"), None);
    }
}
