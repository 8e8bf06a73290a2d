//! Words and how alike they are.

use std::collections::BTreeSet;

/// Words of an element that count.
pub(super) const NODE_WORDS_MAX: usize = 64;

/// Words that mean the same to those who look for something on a page.
const SYNONYMS: &[&[&str]] = &[
    &["login", "signin", "logon", "authenticate"],
    &["logout", "signout", "logoff"],
    &["signup", "register", "join", "createaccount"],
    &["delete", "remove", "trash", "discard", "erase"],
    &["cart", "basket", "bag"],
    &["buy", "purchase", "order", "checkout"],
    &["submit", "send", "post"],
    &["search", "find", "lookup", "query"],
    &["next", "forward", "continue"],
    &["previous", "back", "prev"],
    &["close", "dismiss", "cancel"],
    &["ok", "confirm", "accept", "agree", "yes"],
    &["email", "mail"],
    &["phone", "telephone", "mobile"],
    &["settings", "preferences", "options"],
    &["edit", "change", "modify", "update"],
    &["add", "create", "new"],
    &["menu", "navigation", "hamburger"],
    &["help", "support", "faq"],
    &["profile", "account"],
    &["username", "user"],
    &["picture", "image", "photo", "icon", "logo"],
];

pub(super) fn words(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut word = String::new();
    let mut was_lower = false;
    for character in text.chars() {
        // `camelCase` of test ids is two words.
        let begins = character.is_uppercase() && was_lower;
        if !character.is_alphanumeric() || begins {
            found.extend((!word.is_empty()).then(|| std::mem::take(&mut word)));
        }
        if character.is_alphanumeric() {
            word.extend(character.to_lowercase());
        }
        was_lower = character.is_lowercase();
    }
    found.extend((!word.is_empty()).then_some(word));
    found.truncate(NODE_WORDS_MAX);
    joined(found)
}

/// "Sign in", "log out" and the like are one word: their halves say nothing alone.
pub(super) fn joined(words: Vec<String>) -> Vec<String> {
    let mut found: Vec<String> = Vec::with_capacity(words.len());
    for word in words {
        let ends = matches!(word.as_str(), "in" | "on" | "up" | "out" | "off");
        match found.last_mut() {
            Some(last) if ends && matches!(last.as_str(), "sign" | "log") => last.push_str(&word),
            _ => found.push(word),
        }
    }
    found
}

/// The letters of a text, three at a time, with its beginnings and ends.
pub(super) fn letters(words: &[String]) -> BTreeSet<[char; 3]> {
    let mut found = BTreeSet::new();
    for word in words {
        let padded: Vec<char> =
            std::iter::once(' ').chain(word.chars().take(64)).chain(std::iter::once(' ')).collect();
        found.extend(padded.windows(3).map(|three| [three[0], three[1], three[2]]));
    }
    found
}

/// How alike two words are, 0 to 1.
pub(super) fn likeness(wanted: &str, have: &str) -> f64 {
    if wanted == have {
        return 1.0;
    }
    if SYNONYMS.iter().any(|group| group.contains(&wanted) && group.contains(&have)) {
        return 0.8;
    }
    let (wanted_length, have_length) = (wanted.chars().count(), have.chars().count());
    let (short, long) = if wanted_length <= have_length { (wanted, have) } else { (have, wanted) };
    let (length, longer) = (wanted_length.min(have_length), wanted_length.max(have_length));
    if length >= 3 && long.starts_with(short) {
        return 0.85;
    }
    if length >= 4 && longer - length <= 1 && distance_at_most_one(short, long) {
        return 0.75;
    }
    0.0
}

/// Whether one letter was added, left out, exchanged, or swapped with its neighbour.
fn distance_at_most_one(short: &str, long: &str) -> bool {
    let (short, long): (Vec<char>, Vec<char>) = (short.chars().collect(), long.chars().collect());
    let same = short.iter().zip(&long).take_while(|(one, other)| one == other).count();
    let (left, right) = (&short[same..], &long[same..]);
    if short.len() == long.len() {
        let swapped =
            left.len() >= 2 && left[0] == right[1] && left[1] == right[0] && left[2..] == right[2..];
        return left.is_empty() || left[1..] == right[1..] || swapped;
    }
    !right.is_empty() && left == &right[1..]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn one_letter_off_is_near(word in "[a-z]{4,10}", at in 0_usize..4, letter in proptest::char::range('a', 'z')) {
            let mut other: Vec<char> = word.chars().collect();
            other[at] = letter;
            let other: String = other.into_iter().collect();
            prop_assert!(likeness(&word, &other) > 0.7);
        }
    }
}
