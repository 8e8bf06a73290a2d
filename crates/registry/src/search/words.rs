//! Texts as words.

/// Where a word stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Name,
    Title,
    Tag,
    Description,
    Tool,
}

impl Field {
    /// How much a word says of a server by standing there.
    pub(super) const fn weight(self) -> f32 {
        match self {
            Self::Name => 4.0,
            Self::Title => 3.5,
            Self::Tag => 3.0,
            Self::Description => 1.6,
            Self::Tool => 1.0,
        }
    }
}

/// The longest word that is told from others; the rest of a longer one does not count.
const WORD_LENGTH_MAX: usize = 32;

/// The words of a text in lower case, each with the number of words in the text.
pub(super) fn words(text: &str) -> impl Iterator<Item = (&str, usize)> {
    let count = split(text).count();
    split(text).map(move |word| (word, count))
}

/// Letters and digits, whatever stands between them.
pub(crate) fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(|character: char| !character.is_alphanumeric()).filter(|word| !word.is_empty()).map(|word| {
        match word.char_indices().nth(WORD_LENGTH_MAX) {
            Some((end, _)) => &word[..end],
            None => word,
        }
    })
}
