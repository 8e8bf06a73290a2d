//! References of elements: `e12` in the page, `ea3` in a frame of another origin.

/// `ea`, `eb`, …, `ez`, `eaa`, …
pub(super) fn prefix_of(mut number: usize) -> String {
    let mut letters = Vec::new();
    loop {
        letters.push(char::from(b'a' + u8::try_from(number % 26).unwrap_or_default()));
        number /= 26;
        if number == 0 {
            break;
        }
        number -= 1;
    }
    letters.push('e');
    letters.iter().rev().collect()
}

/// The letters of a text that is a reference (`e12`, `ea3`).
pub(crate) fn reference_prefix(text: &str) -> Option<&str> {
    let text = text.trim();
    let digits = text.find(|character: char| character.is_ascii_digit())?;
    let (prefix, number) = text.split_at(digits);
    let letters = prefix.strip_prefix('e')?;
    let is_reference = letters.len() <= 4
        && letters.bytes().all(|letter| letter.is_ascii_lowercase())
        && number.len() <= 9
        && number.bytes().all(|digit| digit.is_ascii_digit());
    is_reference.then_some(prefix)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_frame_has_letters_of_its_own() {
        let prefixes: Vec<_> = [0, 1, 25, 26, 27, 701, 702].map(prefix_of).into();
        assert_eq!(prefixes, ["ea", "eb", "ez", "eaa", "eab", "ezz", "eaaa"]);
        let all: HashSet<_> = (0..2000).map(prefix_of).collect();
        assert_eq!(all.len(), 2000);
    }

    #[test]
    fn references_are_told_from_other_selectors() {
        assert_eq!(reference_prefix(" e12"), Some("e"));
        assert_eq!(reference_prefix("eab7"), Some("eab"));
        for other in ["e", "em", "e1x", "E1", "#e1", "h1", "e-1", "e1234567890"] {
            assert_eq!(reference_prefix(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn what_is_given_is_recognised(frame in 0_usize..100_000, number in 0_u32..999_999_999) {
            let prefix = prefix_of(frame);
            let reference = format!("{prefix}{number}");
            prop_assert_eq!(reference_prefix(&reference), Some(prefix.as_str()));
        }
    }
}
