//! Mann-Whitney U: could two sets of values come from the same source?

use statrs::distribution::{ContinuousCDF, Normal};

/// Up to this many values in all, the distribution of U is counted out; beyond, a normal approximates it.
pub const EXACT_VALUES_MAX: usize = 50;

/// Result of the test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MannWhitney {
    /// Pairs in which the value of the first set is larger; a tie counts one half.
    pub u: f64,
    /// Probability of a difference at least as large, in either direction, if both sets had the same source.
    pub p: f64,
    /// Whether `p` was counted out rather than approximated.
    pub exact: bool,
}

/// Compares two sets of independent values (Mann and Whitney, 1947). `None` if one is empty.
///
/// For few values the permutation distribution of the rank sum is counted out, ties included; otherwise the normal
/// approximation with tie and continuity correction is used.
pub fn mann_whitney(first: &[f64], second: &[f64]) -> Option<MannWhitney> {
    if first.is_empty() || second.is_empty() {
        return None;
    }
    let ranks = DoubledRanks::of(first, second);
    let n = first.len() as f64;
    let u = ranks.first_sum as f64 / 2.0 - n * (n + 1.0) / 2.0;
    let exact = first.len() + second.len() <= EXACT_VALUES_MAX;
    let p = if exact {
        exact_p(&ranks.all, first.len(), ranks.first_sum)
    } else {
        normal_p(u, first.len(), second.len(), ranks.tie_term)
    };
    Some(MannWhitney { u, p: p.clamp(0.0, 1.0), exact })
}

/// Midranks are multiples of one half: doubled, they are whole numbers that can be counted.
struct DoubledRanks {
    /// Rank of every value of both sets, doubled, ascending.
    all: Vec<u64>,
    /// Sum over the first set.
    first_sum: u64,
    /// Sum of t³ - t over the groups of t equal values.
    tie_term: f64,
}

impl DoubledRanks {
    fn of(first: &[f64], second: &[f64]) -> Self {
        let mut values: Vec<(f64, bool)> = Vec::with_capacity(first.len() + second.len());
        values.extend(first.iter().map(|value| (*value, true)));
        values.extend(second.iter().map(|value| (*value, false)));
        values.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let mut ranks = Self { all: Vec::with_capacity(values.len()), first_sum: 0, tie_term: 0.0 };
        for group in values.chunk_by(|a, b| a.0.total_cmp(&b.0).is_eq()) {
            let before = ranks.all.len() as u64;
            let size = group.len() as u64;
            // Ranks before+1 ..= before+size share their mean.
            let doubled = 2 * before + size + 1;
            ranks.all.extend(std::iter::repeat_n(doubled, group.len()));
            ranks.first_sum += doubled * group.iter().filter(|(_, is_first)| *is_first).count() as u64;
            let t = size as f64;
            ranks.tie_term += t * t * t - t;
        }
        ranks
    }
}

/// Share of all ways to choose `size` of the ranks whose sum is at least as far from the mean as the observed one.
fn exact_p(doubled_ranks: &[u64], size: usize, observed: u64) -> f64 {
    let total: u64 = doubled_ranks.iter().sum();
    let sums = usize::try_from(total).unwrap_or(usize::MAX) + 1;
    // ways[k][s]: subsets of k ranks with the sum s. Fits an f64 exactly up to C(50, 25), which is 1.3e14.
    let mut ways = vec![vec![0.0_f64; sums]; size + 1];
    ways[0][0] = 1.0;
    for rank in doubled_ranks {
        let rank = usize::try_from(*rank).unwrap_or(usize::MAX);
        for k in (0..size).rev() {
            let (smaller, larger) = ways.split_at_mut(k + 1);
            for (from, into) in smaller[k].iter().zip(larger[0][rank..].iter_mut()) {
                *into += from;
            }
        }
    }
    // Distances from the mean, multiplied by the number of ranks to stay whole.
    let mean = i128::from(total) * size as i128;
    let distance = |sum: i128| (sum * doubled_ranks.len() as i128 - mean).abs();
    let limit = distance(i128::from(observed));
    let all: f64 = ways[size].iter().sum();
    let extreme: f64 = ways[size]
        .iter()
        .enumerate()
        .filter(|(sum, _)| distance(*sum as i128) >= limit)
        .map(|(_, n)| n)
        .sum();
    extreme / all
}

fn normal_p(u: f64, first: usize, second: usize, tie_term: f64) -> f64 {
    let (n, m) = (first as f64, second as f64);
    let all = n + m;
    let variance = n * m / 12.0 * (all + 1.0 - tie_term / (all * (all - 1.0)));
    if variance <= 0.0 {
        return 1.0; // every value is the same
    }
    let distance = ((u - n * m / 2.0).abs() - 0.5).max(0.0);
    2.0 * Normal::standard().sf(distance / variance.sqrt())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// From the documentation of `scipy.stats.mannwhitneyu`: ages at diagnosis of type II diabetes.
    const MALES: [f64; 5] = [19.0, 22.0, 16.0, 29.0, 24.0];
    const FEMALES: [f64; 4] = [20.0, 11.0, 17.0, 12.0];

    #[test]
    fn a_published_example_is_reproduced() {
        let test = mann_whitney(&MALES, &FEMALES).unwrap();
        assert!((test.u - 17.0).abs() < 1e-12);
        assert!((test.p - 0.111_111_111_111_11).abs() < 1e-12, "{}", test.p);
        assert!(test.exact);
        let approximated = normal_p(17.0, 5, 4, 0.0);
        assert!((approximated - 0.111_346_886_5).abs() < 1e-9, "{approximated}");
    }

    #[test]
    fn six_against_six_without_overlap_is_one_way_in_462() {
        let slow: Vec<f64> = (11..17).map(f64::from).collect();
        let fast: Vec<f64> = (1..7).map(f64::from).collect();
        let test = mann_whitney(&slow, &fast).unwrap();
        assert!((test.u - 36.0).abs() < 1e-12);
        assert!((test.p - 2.0 / 924.0).abs() < 1e-12);
    }

    #[test]
    fn equal_values_say_nothing() {
        assert!((mann_whitney(&[3.0; 8], &[3.0; 9]).unwrap().p - 1.0).abs() < 1e-12);
        assert!((mann_whitney(&[3.0; 80], &[3.0; 90]).unwrap().p - 1.0).abs() < 1e-12);
        assert_eq!(mann_whitney(&[], &[1.0]), None);
    }

    #[test]
    fn ties_are_counted_out_too() {
        // Of the six ways to choose two of the midranks 1.5, 1.5, 3, 4, the sums 3 and 7 are the extreme ones.
        let test = mann_whitney(&[1.0, 1.0], &[2.0, 3.0]).unwrap();
        assert!((test.p - 2.0 / 6.0).abs() < 1e-12, "{}", test.p);
    }

    proptest! {
        #[test]
        fn the_direction_of_the_comparison_does_not_matter(
            first in proptest::collection::vec(0_u8..20, 1..15),
            second in proptest::collection::vec(0_u8..20, 1..15),
        ) {
            let first: Vec<f64> = first.into_iter().map(f64::from).collect();
            let second: Vec<f64> = second.into_iter().map(f64::from).collect();
            let (forth, back) = (mann_whitney(&first, &second).unwrap(), mann_whitney(&second, &first).unwrap());
            prop_assert!((forth.p - back.p).abs() < 1e-9);
            prop_assert!((forth.u + back.u - (first.len() * second.len()) as f64).abs() < 1e-9);
            prop_assert!(forth.p > 0.0 && forth.p <= 1.0);
        }

        #[test]
        fn the_approximation_is_near_the_exact_value(
            first in proptest::collection::vec(0.0_f64..1.0, 20..25),
            second in proptest::collection::vec(0.0_f64..1.3, 20..25),
        ) {
            let test = mann_whitney(&first, &second).unwrap();
            let approximated = normal_p(test.u, first.len(), second.len(), 0.0);
            prop_assert!((test.p - approximated).abs() < 0.02, "{} and {approximated}", test.p);
        }
    }
}
