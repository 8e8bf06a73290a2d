//! Search: which servers fit some words best, also words that are not quite spelled so.
//!
//! [`Index`] has, for every word, the servers that say it and where: in the name, the title, the tags, the description,
//! or the names and descriptions of tools. A word of a query stands for itself, for the words that begin with it, and,
//! where there are few of those, for the words that differ by one or two keystrokes. Only the latest versions are found.
//! Where servers are [embedded](crate::semantic), they are ranked by what they mean as well, and both rankings are fused.

mod facets;
mod near;
mod query;
mod words;

use std::{cmp::Ordering, collections::HashMap};

pub use facets::Facets;
pub use query::{Hit, SearchInput, SearchOutput};
pub(crate) use query::{QUERY_LENGTH_MAX, search};

pub(crate) use words::{Field, split};

use self::{facets::Columns, near::Shape, words::words};
use crate::view::Selection;

/// The share of a word's worth that is lost when it is one of many in its field.
const LENGTH_SHARE: f32 = 0.4;
/// Words that a query word may stand for.
const EXPANSIONS_MAX: usize = 48;
/// As many words that begin so are enough: misspelled ones are not looked for.
const PREFIXES_ENOUGH: usize = 3;

/// One server that says a word.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Posting {
    /// The position in [`Selection::latest`].
    server: u32,
    /// How much the word says of the server.
    weight: f32,
}

/// The words of a selection.
#[derive(Debug)]
pub(crate) struct Index {
    /// In order.
    terms: Vec<Box<str>>,
    shapes: Vec<Shape>,
    /// The postings of the term at a position are those from its offset to the next one's.
    offsets: Vec<u32>,
    postings: Vec<Posting>,
    servers: usize,
}

/// A term that a query word stands for, and how well.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Expansion {
    term: usize,
    likeness: f32,
}

/// What a search of a selection looks into.
#[derive(Debug)]
pub(crate) struct SelectionIndex {
    words: Index,
    columns: Columns,
}

impl SelectionIndex {
    pub(crate) fn of(selection: &Selection) -> Self {
        Self { words: Index::of(selection), columns: Columns::of(selection) }
    }
}

impl Index {
    fn of(selection: &Selection) -> Self {
        let mut said: HashMap<Box<str>, Vec<Posting>> = HashMap::new();
        let mut of_server: HashMap<&str, f32> = HashMap::new();
        for (server, &position) in (0_u32..).zip(&selection.latest) {
            let entry = &selection.entries[position as usize];
            of_server.clear();
            let mut fields = entry.haystack.splitn(3, '\n');
            for field in [Field::Name, Field::Title, Field::Description] {
                if let Some(text) = fields.next() {
                    add_words(&mut of_server, field, text);
                }
            }
            for tag in &entry.tags {
                add_words(&mut of_server, Field::Tag, tag);
            }
            add_words(&mut of_server, Field::Tool, &entry.tools);
            for (word, weight) in of_server.drain() {
                match said.get_mut(word) {
                    Some(postings) => postings.push(Posting { server, weight }),
                    None => {
                        said.insert(word.into(), vec![Posting { server, weight }]);
                    }
                }
            }
        }
        Self::from_words(said, selection.latest.len())
    }

    /// Of any documents, each some texts in lower case; they are found by their positions.
    pub(crate) fn of_documents<'t, D>(documents: impl Iterator<Item = D>) -> Self
    where
        D: Iterator<Item = (Field, &'t str)>,
    {
        let mut said: HashMap<Box<str>, Vec<Posting>> = HashMap::new();
        let mut count = 0;
        for (server, document) in (0_u32..).zip(documents) {
            let mut of_document: HashMap<&str, f32> = HashMap::new();
            document.for_each(|(field, text)| add_words(&mut of_document, field, text));
            for (word, weight) in of_document {
                said.entry(word.into()).or_default().push(Posting { server, weight });
            }
            count += 1;
        }
        Self::from_words(said, count)
    }

    fn from_words(said: HashMap<Box<str>, Vec<Posting>>, servers: usize) -> Self {
        let mut sorted: Vec<_> = said.into_iter().collect();
        sorted.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut index =
            Self { terms: Vec::new(), shapes: Vec::new(), offsets: vec![0], postings: Vec::new(), servers };
        for (term, postings) in sorted {
            index.shapes.push(Shape::of(&term));
            index.terms.push(term);
            index.postings.extend(postings);
            index.offsets.push(index.postings.len() as u32);
        }
        index
    }

    fn postings(&self, term: usize) -> &[Posting] {
        let range = self.offsets[term] as usize..self.offsets[term + 1] as usize;
        &self.postings[range]
    }

    /// How much it says that a server says a term: rare ones say more.
    fn rarity(&self, term: usize) -> f32 {
        let servers = self.postings(term).len() as f32;
        (1.0 + (self.servers as f32 - servers + 0.5).max(0.0) / (servers + 0.5)).ln()
    }

    /// The terms that a word stands for, the likeliest first.
    fn expand(&self, word: &str) -> Vec<Expansion> {
        let start = self.terms.partition_point(|term| term.as_ref() < word);
        let mut found: Vec<Expansion> = self.terms[start..]
            .iter()
            .take_while(|term| term.starts_with(word))
            .take(4 * EXPANSIONS_MAX)
            .enumerate()
            .map(|(offset, term)| {
                let share = word.len() as f32 / term.len() as f32;
                let likeness = if share >= 1.0 { 1.0 } else { 0.4 + 0.4 * share };
                Expansion { term: start + offset, likeness }
            })
            .collect();
        let is_exact = found.first().is_some_and(|first| first.likeness >= 1.0);
        if !is_exact && found.len() < PREFIXES_ENOUGH {
            self.expand_misspelled(word, &mut found);
        }
        found.sort_by(|a, b| b.likeness.partial_cmp(&a.likeness).unwrap_or(Ordering::Equal));
        found.truncate(EXPANSIONS_MAX);
        found
    }

    fn expand_misspelled(&self, word: &str, found: &mut Vec<Expansion>) {
        let Some(edits_max) = near::edits_allowed(word) else { return };
        let shape = Shape::of(word);
        for (term, candidate) in self.shapes.iter().enumerate() {
            if !shape.may_be_near(*candidate, edits_max) {
                continue;
            }
            let Some(edits) = near::edits(word, &self.terms[term], edits_max) else { continue };
            if found.iter().all(|known| known.term != term) {
                found.push(Expansion { term, likeness: if edits == 1 { 0.55 } else { 0.3 } });
            }
        }
    }

    /// How well every server fits the words, by its position; 0 for those that say none.
    pub(crate) fn scores(&self, query: &[&str]) -> Vec<f32> {
        let mut scores = vec![0.0_f32; self.servers];
        let mut best = vec![0.0_f32; self.servers];
        for word in query {
            let mut reached = Vec::new();
            for Expansion { term, likeness } in self.expand(word) {
                let worth = likeness * self.rarity(term);
                for posting in self.postings(term) {
                    let slot = &mut best[posting.server as usize];
                    if *slot == 0.0 {
                        reached.push(posting.server);
                    }
                    *slot = slot.max(worth * posting.weight);
                }
            }
            for server in reached {
                let slot = &mut best[server as usize];
                // Every further word counts more than a better place of one: who says all of them comes first.
                scores[server as usize] += *slot + WORD_BONUS;
                *slot = 0.0;
            }
        }
        scores
    }
}

/// A word that stands in several places counts where it counts most, and a little for every other place.
fn add_words<'t>(of_server: &mut HashMap<&'t str, f32>, field: Field, text: &'t str) {
    for (word, count) in words(text) {
        let weight = field.weight() / (1.0 + LENGTH_SHARE * (count as f32).ln_1p());
        let sum = of_server.entry(word).or_insert(0.0);
        *sum = sum.max(weight) + 0.2 * sum.min(weight);
    }
}

/// What saying a word of the query is worth, wherever and however rare it is.
const WORD_BONUS: f32 = 12.0;

#[cfg(test)]
mod tests;
