//! How hard a text is to read: Flesch reading ease and the Flesch-Kincaid grade (Kincaid and others, 1975).

/// Reading difficulty of an English text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Readability {
    /// Words in it.
    pub(crate) words: u32,
    /// School grade in the United States that it takes to follow it.
    pub(crate) grade: f64,
    /// Flesch reading ease; 60 to 70 is plain English, below 30 is for graduates.
    pub(crate) ease: f64,
}

/// Measures a text; `None` when it has no words.
pub(crate) fn measure(text: &str) -> Option<Readability> {
    let (mut words, mut syllables) = (0_u32, 0_u32);
    for word in text.split(|c: char| !(c.is_alphanumeric() || matches!(c, '\'' | '\u{2019}'))) {
        if word.chars().any(char::is_alphanumeric) {
            words += 1;
            syllables += count_syllables(word);
        }
    }
    if words == 0 {
        return None;
    }
    let (words_f, sentences) = (f64::from(words), f64::from(count_sentences(text)));
    let per_sentence = words_f / sentences;
    let per_word = f64::from(syllables) / words_f;
    Some(Readability {
        words,
        grade: 0.39 * per_sentence + 11.8 * per_word - 15.59,
        ease: 206.835 - 1.015 * per_sentence - 84.6 * per_word,
    })
}

/// Sentence ends followed by white space; a decimal point is none.
fn count_sentences(text: &str) -> u32 {
    let chars: Vec<char> = text.trim().chars().collect();
    let ends = chars.iter().enumerate().filter(|&(i, c)| {
        matches!(c, '.' | '!' | '?' | ':' | ';')
            && chars.get(i + 1).is_none_or(|next| next.is_whitespace() || matches!(next, '"' | '\u{201d}'))
    });
    let open = chars.last().is_some_and(|c| !matches!(c, '.' | '!' | '?' | ':' | ';' | '"' | '\u{201d}'));
    (ends.count() as u32 + u32::from(open)).max(1)
}

/// Groups of vowels, without a silent final `e`; at least one.
fn count_syllables(word: &str) -> u32 {
    let letters: Vec<char> =
        word.chars().filter(|c| c.is_alphabetic()).flat_map(char::to_lowercase).collect();
    let is_vowel = |c: char| {
        "aeiouy\u{e0}\u{e1}\u{e2}\u{e4}\u{e8}\u{e9}\u{ea}\u{ec}\u{ed}\u{f2}\u{f3}\u{f6}\u{f9}\u{fa}\u{fc}"
            .contains(c)
    };
    let mut count = 0;
    let mut before = false;
    for &c in &letters {
        let vowel = is_vowel(c);
        count += u32::from(vowel && !before);
        before = vowel;
    }
    let silent = matches!(letters.as_slice(), [.., p, 'e'] if !is_vowel(*p) && *p != 'l')
        || matches!(letters.as_slice(), [.., p, 'e', 'd'] if !matches!(p, 't' | 'd') && !is_vowel(*p));
    if silent && count > 1 {
        count -= 1;
    }
    count.max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plain_copy_is_easy_and_jargon_is_hard() {
        let plain = measure("Get your invoices paid 12 days faster. We send the reminders for you.").unwrap();
        assert!(plain.grade < 8.0, "{plain:?}");
        let jargon = measure(
            "Synergix leverages next-generation, best-in-class paradigms to holistically operationalise transformative enterprise-grade synergies across heterogeneous stakeholder ecosystems, thereby facilitating unprecedented scalability.",
        )
        .unwrap();
        assert!(jargon.grade > 20.0, "{jargon:?}");
    }

    #[test]
    fn syllables_are_counted_as_they_are_spoken() {
        for (word, syllables) in [
            ("cat", 1),
            ("paid", 1),
            ("table", 2),
            ("invoice", 2),
            ("reminders", 3),
            ("used", 1),
            ("united", 3),
        ] {
            assert_eq!(count_syllables(word), syllables, "{word}");
        }
    }

    #[test]
    fn a_decimal_point_ends_no_sentence() {
        assert_eq!(count_sentences("It weighs 6.1 kg. It floats."), 2);
        assert_eq!(count_sentences("no end"), 1);
    }

    proptest! {
        #[test]
        fn every_text_has_finite_figures_or_no_words(text in ".{0,200}") {
            if let Some(r) = measure(&text) {
                prop_assert!(r.words > 0 && r.grade.is_finite() && r.ease.is_finite());
            }
        }

        #[test]
        fn a_longer_sentence_is_never_easier(n in 1_usize..40) {
            let sentence = |n: usize| vec!["market"; n].join(" ") + ".";
            let short = measure(&sentence(n)).unwrap();
            let long = measure(&sentence(n + 1)).unwrap();
            prop_assert!(long.grade > short.grade);
        }
    }
}
