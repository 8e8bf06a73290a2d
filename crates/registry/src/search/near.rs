//! Words that are nearly the same.

/// The most letters that words have which are compared letter by letter.
const LENGTH_MAX: usize = 32;

/// How many keystrokes a word may differ by: none for short ones, where everything is near.
pub(super) fn edits_allowed(word: &str) -> Option<usize> {
    match word.chars().count() {
        0..=3 => None,
        4..=7 => Some(1),
        _ => Some(2),
    }
}

/// Which letters a word has, and how many: tells most words apart at the cost of one comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    letters: u64,
    length: u8,
}

impl Shape {
    pub(super) fn of(word: &str) -> Self {
        let mut letters = 0_u64;
        for character in word.chars() {
            letters |= 1 << (u32::from(character) % 64);
        }
        Self { letters, length: word.chars().count().min(255) as u8 }
    }

    /// Whether words of these shapes can be so near. An edit changes two letters of the set at most.
    pub(super) fn may_be_near(self, other: Self, edits_max: usize) -> bool {
        usize::from(self.length.abs_diff(other.length)) <= edits_max
            && (self.letters ^ other.letters).count_ones() as usize <= 2 * edits_max
    }
}

/// How many insertions, deletions, changes and swaps of neighbours lie between two words; none if more than `edits_max`.
pub(super) fn edits(left: &str, right: &str, edits_max: usize) -> Option<usize> {
    let left: Vec<char> = left.chars().take(LENGTH_MAX + 1).collect();
    let right: Vec<char> = right.chars().take(LENGTH_MAX + 1).collect();
    if left.len() > LENGTH_MAX || right.len() > LENGTH_MAX || left.len().abs_diff(right.len()) > edits_max {
        return None;
    }
    let mut before = [0_usize; LENGTH_MAX + 1];
    let mut last: [usize; LENGTH_MAX + 1] = std::array::from_fn(|index| index);
    for (row, &own) in left.iter().enumerate() {
        let mut next = [0_usize; LENGTH_MAX + 1];
        next[0] = row + 1;
        let mut least = next[0];
        for (column, &other) in right.iter().enumerate() {
            let changed = last[column] + usize::from(own != other);
            let mut cost = changed.min(last[column + 1] + 1).min(next[column] + 1);
            if row > 0 && column > 0 && own == right[column - 1] && left[row - 1] == other {
                cost = cost.min(before[column - 1] + 1);
            }
            next[column + 1] = cost;
            least = least.min(cost);
        }
        if least > edits_max {
            return None;
        }
        before = last;
        last = next;
    }
    Some(last[right.len()]).filter(|edits| *edits <= edits_max)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keystrokes_are_counted() {
        for (left, right, expected) in [
            ("github", "github", Some(0)),
            ("githib", "github", Some(1)),
            ("gihtub", "github", Some(1)),
            ("gthub", "github", Some(1)),
            ("gitthubb", "github", Some(2)),
            ("gitlab", "github", Some(2)),
            ("weather", "github", None),
        ] {
            assert_eq!(edits(left, right, 2).filter(|edits| *edits <= 2), expected, "{left} {right}");
        }
    }

    proptest! {
        #[test]
        fn what_is_near_has_a_shape_that_may_be(left in "[a-f]{0,10}", right in "[a-f]{0,10}", edits_max in 1_usize..3) {
            prop_assert_eq!(edits(&left, &right, edits_max), edits(&right, &left, edits_max));
            if edits(&left, &right, edits_max).is_some() {
                prop_assert!(Shape::of(&left).may_be_near(Shape::of(&right), edits_max));
            }
        }

        #[test]
        fn no_words_make_it_panic(left in ".{0,40}", right in ".{0,40}") {
            let _ = edits(&left, &right, 2);
        }
    }
}
