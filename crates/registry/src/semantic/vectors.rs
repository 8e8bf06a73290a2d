//! Embeddings of servers, kept small and compared quickly.
//!
//! A vector is kept as eight-bit numbers with one scale: a quarter of its size, and the cosine of two stays as good as models
//! mean it. [`Vectors`] has all of one moment in one piece and never changes.

use std::collections::HashMap;

use crate::{entry::ContentHash, view::Selection};

/// The first 16 bytes of the BLAKE3 hash of the text that was embedded.
pub(crate) type TextHash = [u8; 16];

/// What stands in a column for a server that was not embedded.
const NOBODY: u32 = u32::MAX;
/// The largest number of a row.
const LARGEST: f32 = 127.0;

/// The direction of a vector.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    /// What its numbers are multiplied with, to have length 1; zero for a vector without a direction.
    scale: f32,
    numbers: Box<[i8]>,
}

impl Row {
    pub(crate) fn of(vector: &[f32]) -> Self {
        let length = vector.iter().map(|number| number * number).sum::<f32>().sqrt();
        let largest = vector.iter().fold(0.0_f32, |largest, number| largest.max(number.abs()));
        if !length.is_finite() || length <= 0.0 {
            return Self { scale: 0.0, numbers: vec![0; vector.len()].into() };
        }
        let step = largest / LARGEST;
        let numbers = vector.iter().map(|number| (number / step).round() as i8).collect();
        Self { scale: step / length, numbers }
    }

    pub(crate) fn dimensions(&self) -> usize {
        self.numbers.len()
    }

    /// As it is stored: the scale, then the numbers.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let numbers = self.numbers.iter().map(|number| number.cast_unsigned());
        self.scale.to_le_bytes().into_iter().chain(numbers).collect()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (scale, numbers) = bytes.split_first_chunk::<4>()?;
        let scale = f32::from_le_bytes(*scale);
        let numbers = numbers.iter().map(|number| number.cast_signed()).collect();
        scale.is_finite().then_some(Self { scale, numbers })
    }
}

/// The embeddings of all servers of one moment.
#[derive(Debug, Default)]
pub(crate) struct Vectors {
    /// Tells it from those before: columns are made for one.
    generation: u64,
    /// Which model, with how many dimensions.
    space: String,
    dimensions: usize,
    /// The rows, one after the other.
    numbers: Vec<i8>,
    scales: Vec<f32>,
    /// Which text each row is of.
    texts: Vec<TextHash>,
    by_text: HashMap<TextHash, u32>,
    /// The rows of entries.
    by_content: HashMap<ContentHash, u32>,
}

/// The rows of the servers of a selection, by their positions.
#[derive(Debug)]
pub(crate) struct Column {
    generation: u64,
    rows: Box<[u32]>,
}

impl Vectors {
    /// The vectors of these entries: those that were there, and fresh ones. What is in neither has none.
    pub(crate) fn next(
        &self,
        space: &str,
        wanted: &[(ContentHash, TextHash)],
        fresh: &HashMap<TextHash, Row>,
    ) -> Self {
        let is_same = self.space == space;
        let dimensions = match fresh.values().next() {
            Some(row) => row.dimensions(),
            None if is_same => self.dimensions,
            None => 0,
        };
        let mut next =
            Self { generation: self.generation + 1, space: space.to_owned(), dimensions, ..Self::default() };
        for (content, text) in wanted {
            let known = next.by_text.get(text).copied();
            let row = known.or_else(|| {
                let row = next.scales.len() as u32;
                if let Some(fresh) = fresh.get(text).filter(|fresh| fresh.dimensions() == dimensions) {
                    next.numbers.extend_from_slice(&fresh.numbers);
                    next.scales.push(fresh.scale);
                } else {
                    let (numbers, scale) =
                        self.row_of(text).filter(|_| is_same && self.dimensions == dimensions)?;
                    next.numbers.extend_from_slice(numbers);
                    next.scales.push(scale);
                }
                next.texts.push(*text);
                next.by_text.insert(*text, row);
                Some(row)
            });
            if let Some(row) = row {
                next.by_content.insert(*content, row);
            }
        }
        next
    }

    fn row_of(&self, text: &TextHash) -> Option<(&[i8], f32)> {
        self.by_text.get(text).map(|row| self.row(*row))
    }

    fn row(&self, row: u32) -> (&[i8], f32) {
        let (row, dimensions) = (row as usize, self.dimensions);
        (&self.numbers[row * dimensions..(row + 1) * dimensions], self.scales[row])
    }

    pub(crate) fn space(&self) -> &str {
        &self.space
    }

    pub(crate) const fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// How many texts there are vectors of.
    pub(crate) fn count(&self) -> usize {
        self.scales.len()
    }

    /// How many entries have one.
    pub(crate) fn entry_count(&self) -> usize {
        self.by_content.len()
    }

    pub(crate) fn has_text(&self, text: &TextHash) -> bool {
        self.by_text.contains_key(text)
    }

    /// The text that an entry was embedded by, if it was.
    pub(crate) fn text_of(&self, content: &ContentHash) -> Option<TextHash> {
        self.by_content.get(content).map(|row| self.texts[*row as usize])
    }

    /// The rows, with the texts that they are of.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (TextHash, Row)> {
        (0_u32..).zip(&self.texts).map(|(row, text)| {
            let (numbers, scale) = self.row(row);
            (*text, Row { scale, numbers: numbers.into() })
        })
    }

    pub(crate) fn column(&self, selection: &Selection) -> Column {
        let row_of = |position: &u32| {
            let entry = &selection.entries[*position as usize];
            self.by_content.get(&entry.content).copied().unwrap_or(NOBODY)
        };
        Column { generation: self.generation, rows: selection.latest.iter().map(row_of).collect() }
    }

    /// The servers that are as much like a query as they must be, by their positions, in no order.
    pub(crate) fn like(&self, column: &Column, query: &Row, similarity_min: f32) -> Vec<(u32, f32)> {
        if query.dimensions() != self.dimensions {
            return Vec::new();
        }
        let servers = (0_u32..).zip(&column.rows).filter(|(_, row)| **row != NOBODY);
        let similar = servers.map(|(position, row)| {
            let (numbers, scale) = self.row(*row);
            (position, dot(numbers, &query.numbers) as f32 * scale * query.scale)
        });
        similar.filter(|(_, similarity)| *similarity >= similarity_min).collect()
    }
}

impl Column {
    pub(crate) const fn is_of(&self, vectors: &Vectors) -> bool {
        self.generation == vectors.generation
    }
}

/// In whole numbers, which processors add many of at once.
fn dot(left: &[i8], right: &[i8]) -> i32 {
    left.iter().zip(right).map(|(left, right)| i32::from(*left) * i32::from(*right)).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{draft, supply};

    fn hash(number: u8) -> [u8; 16] {
        [number; 16]
    }

    fn fresh(rows: &[(u8, &[f32])]) -> HashMap<TextHash, Row> {
        rows.iter().map(|(text, vector)| (hash(*text), Row::of(vector))).collect()
    }

    #[test]
    fn vectors_that_were_there_are_kept_as_long_as_somebody_is_of_their_text() {
        let first = Vectors::default().next(
            "m",
            &[(hash(1), hash(11)), (hash(2), hash(12)), (hash(3), hash(13))],
            &fresh(&[(11, &[1.0, 0.0]), (12, &[0.0, 1.0])]),
        );
        assert_eq!((first.count(), first.text_of(&hash(3))), (2, None), "one was not embedded");
        let next = first.next("m", &[(hash(9), hash(11))], &HashMap::new());
        assert_eq!((next.count(), next.text_of(&hash(9))), (1, Some(hash(11))));
        assert!(!next.has_text(&hash(12)));
        let other = next.next("another", &[(hash(9), hash(11))], &HashMap::new());
        assert_eq!(other.count(), 0, "another model means something else by its numbers");
    }

    #[test]
    fn entries_of_one_text_share_a_vector() {
        let wanted = [(hash(1), hash(11)), (hash(2), hash(11))];
        let vectors = Vectors::default().next("m", &wanted, &fresh(&[(11, &[3.0, 4.0])]));
        assert_eq!((vectors.count(), vectors.text_of(&hash(2))), (1, Some(hash(11))));
        let rows: Vec<_> = vectors.rows().collect();
        assert_eq!(rows, [(hash(11), Row::of(&[3.0, 4.0]))]);
    }

    #[test]
    fn servers_are_found_by_how_much_they_are_alike() {
        let content = supply(
            "one",
            vec![draft("a.b/east", "1.0.0"), draft("a.b/north", "1.0.0"), draft("a.b/x", "1.0.0")],
        )
        .content;
        let selection = Selection::new(content.entries.iter().cloned().collect(), 1 << 20);
        let wanted: Vec<_> =
            content.entries.iter().take(2).map(|entry| (entry.content, entry.content)).collect();
        let rows = [Row::of(&[1.0, 0.0]), Row::of(&[0.0, 1.0])];
        let fresh = wanted.iter().map(|(content, _)| *content).zip(rows).collect();
        let vectors = Vectors::default().next("m", &wanted, &fresh);
        let column = vectors.column(&selection);
        let like = |query: &[f32], similarity_min| vectors.like(&column, &Row::of(query), similarity_min);
        assert_eq!(like(&[0.1, 1.0], 0.5).iter().map(|(position, _)| *position).collect::<Vec<_>>(), [1]);
        assert_eq!(like(&[1.0, 1.0], 0.5).len(), 2);
        assert_eq!(like(&[1.0, 1.0, 1.0], 0.0).len(), 0, "of another model");
        assert_eq!(like(&[0.0, 0.0], 0.1).len(), 0, "without a direction");
        assert!(column.is_of(&vectors) && !column.is_of(&vectors.next("m", &wanted, &HashMap::new())));
    }

    #[test]
    fn a_row_that_is_damaged_is_not_read() {
        let row = Row::of(&[0.5, -2.0, 0.0]);
        assert_eq!(Row::from_bytes(&row.to_bytes()), Some(row));
        assert_eq!(Row::from_bytes(&[1, 2, 3]), None);
        assert_eq!(Row::from_bytes(&f32::NAN.to_le_bytes()), None);
    }

    proptest! {
        #[test]
        fn small_numbers_say_nearly_the_same(
            pair in prop::collection::vec((-1.0_f32..1.0, -1.0_f32..1.0), 8..200),
        ) {
            let (left, right): (Vec<f32>, Vec<f32>) = pair.into_iter().unzip();
            let length = |vector: &[f32]| vector.iter().map(|number| number * number).sum::<f32>().sqrt();
            let plain: f32 = left.iter().zip(&right).map(|(left, right)| left * right).sum();
            let cosine = plain / (length(&left) * length(&right)).max(f32::MIN_POSITIVE);
            let (left, right) = (Row::of(&left), Row::of(&right));
            let small = dot(&left.numbers, &right.numbers) as f32 * left.scale * right.scale;
            prop_assert!((cosine - small).abs() < 0.05, "{cosine} {small}");
        }
    }
}
