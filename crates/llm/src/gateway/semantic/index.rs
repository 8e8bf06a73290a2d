//! Questions that were answered, and which of them is nearest to another.
//!
//! Only questions in the same surroundings are compared: a bucket holds those whose requests differ in the question alone,
//! of one tenant. Everything has a bound, and what is oldest goes first.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use tokio::time::Instant;

/// What requests have in common that may answer one another.
pub(crate) type Bucket = [u8; 32];

/// What an entry costs beside its vector and its answer.
const ENTRY_OVERHEAD: usize = 256;

/// How much an index may hold, and for how long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bounds {
    pub(crate) ttl: Duration,
    pub(crate) entries_max: usize,
    /// Entries of one bucket: each is looked at.
    pub(crate) bucket_entries_max: usize,
    pub(crate) weight_max: usize,
}

#[derive(Debug)]
struct Entry<T> {
    id: u64,
    at: Instant,
    /// Of length 1.
    vector: Vec<f32>,
    weight: usize,
    answer: T,
}

/// A question that is near enough.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Match<T> {
    pub(crate) answer: T,
    /// The cosine of the angle between both: 1 is the same.
    pub(crate) similarity: f32,
    pub(crate) age: Duration,
    pub(crate) id: u64,
}

/// Questions that were answered.
#[derive(Debug)]
pub(crate) struct Index<T> {
    bounds: Bounds,
    buckets: HashMap<Bucket, Vec<Entry<T>>>,
    /// All entries, the oldest first.
    order: VecDeque<(Bucket, u64)>,
    weight: usize,
    next_id: u64,
}

impl<T: Clone> Index<T> {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self { bounds, buckets: HashMap::new(), order: VecDeque::new(), weight: 0, next_id: 0 }
    }

    /// The nearest question of a bucket, if it is near enough.
    pub(crate) fn nearest(
        &self,
        bucket: &Bucket,
        vector: &[f32],
        threshold: f32,
        now: Instant,
    ) -> Option<Match<T>> {
        let vector = normalised(vector)?;
        let entries = self.buckets.get(bucket)?.iter();
        let mut best: Option<(f32, &Entry<T>)> = None;
        for entry in entries {
            let is_old = now.saturating_duration_since(entry.at) >= self.bounds.ttl;
            if is_old || entry.vector.len() != vector.len() {
                continue;
            }
            let similarity = dot(&entry.vector, &vector);
            if similarity >= threshold && best.is_none_or(|(known, _)| similarity > known) {
                best = Some((similarity, entry));
            }
        }
        best.map(|(similarity, entry)| Match {
            answer: entry.answer.clone(),
            similarity,
            age: now.saturating_duration_since(entry.at),
            id: entry.id,
        })
    }

    /// Keeps an answered question; `size` is what the answer weighs. One that weighs more than everything may is not kept.
    pub(crate) fn insert(&mut self, bucket: Bucket, vector: &[f32], answer: T, size: usize, now: Instant) {
        let Some(vector) = normalised(vector) else { return };
        let weight = size + vector.len() * size_of::<f32>() + ENTRY_OVERHEAD;
        if weight > self.bounds.weight_max
            || self.bounds.entries_max == 0
            || self.bounds.bucket_entries_max == 0
        {
            return;
        }
        let id = self.next_id;
        self.next_id += 1;
        let entries = self.buckets.entry(bucket).or_default();
        // The first of a bucket is its oldest.
        let oldest = (entries.len() == self.bounds.bucket_entries_max).then(|| entries[0].id);
        entries.push(Entry { id, at: now, vector, weight, answer });
        self.order.push_back((bucket, id));
        self.weight += weight;
        if let Some(at) = oldest.and_then(|oldest| self.order.iter().position(|(_, id)| *id == oldest)) {
            self.remove(at);
        }
        while self.weight > self.bounds.weight_max
            || self.order.len() > self.bounds.entries_max
            || self.oldest_is_over(now)
        {
            self.remove(0);
        }
    }

    fn oldest_is_over(&self, now: Instant) -> bool {
        let Some((bucket, id)) = self.order.front() else { return false };
        let entry = self.buckets.get(bucket).and_then(|entries| entries.iter().find(|entry| entry.id == *id));
        entry.is_some_and(|entry| now.saturating_duration_since(entry.at) >= self.bounds.ttl)
    }

    /// Removes the entry at this place of the order.
    fn remove(&mut self, at: usize) {
        let Some((bucket, id)) = self.order.remove(at) else { return };
        let Some(entries) = self.buckets.get_mut(&bucket) else { return };
        if let Some(at) = entries.iter().position(|entry| entry.id == id) {
            self.weight -= entries.remove(at).weight;
        }
        if entries.is_empty() {
            self.buckets.remove(&bucket);
        }
    }
}

/// A vector of length 1 in the same direction; none for one that has no direction.
fn normalised(vector: &[f32]) -> Option<Vec<f32>> {
    let length = dot(vector, vector).sqrt();
    (length.is_finite() && length > 0.0).then(|| vector.iter().map(|number| number / length).collect())
}

/// Eight sums side by side, which processors add at once.
fn dot(left: &[f32], right: &[f32]) -> f32 {
    let mut sums = [0.0_f32; 8];
    let (left_chunks, right_chunks) = (left.chunks_exact(8), right.chunks_exact(8));
    let rest: f32 =
        left_chunks.remainder().iter().zip(right_chunks.remainder()).map(|(left, right)| left * right).sum();
    for (left, right) in left_chunks.zip(right_chunks) {
        for (sum, (left, right)) in sums.iter_mut().zip(left.iter().zip(right)) {
            *sum += left * right;
        }
    }
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOUNDS: Bounds =
        Bounds { ttl: Duration::from_mins(1), entries_max: 20, bucket_entries_max: 8, weight_max: 1 << 20 };

    fn bucket(number: u8) -> Bucket {
        [number; 32]
    }

    #[test]
    fn the_nearest_question_is_found_if_it_is_near_enough() {
        let (mut index, now) = (Index::new(BOUNDS), Instant::now());
        index.insert(bucket(1), &[1.0, 0.0], "east", 4, now);
        index.insert(bucket(1), &[0.0, 2.0], "north", 4, now);
        let near = index.nearest(&bucket(1), &[0.1, 5.0], 0.95, now).unwrap();
        assert_eq!((near.answer, near.id), ("north", 1));
        assert!(near.similarity > 0.99 && near.similarity < 1.0);
        assert_eq!(index.nearest(&bucket(1), &[1.0, 1.0], 0.95, now), None);
        assert_eq!(index.nearest(&bucket(2), &[1.0, 0.0], 0.95, now), None);
    }

    #[test]
    fn what_is_old_or_of_another_length_is_not_found() {
        let (mut index, now) = (Index::new(BOUNDS), Instant::now());
        index.insert(bucket(1), &[1.0, 0.0], 1, 4, now);
        let later = now + BOUNDS.ttl;
        assert!(index.nearest(&bucket(1), &[1.0, 0.0], 0.5, later - Duration::from_millis(1)).is_some());
        assert_eq!(index.nearest(&bucket(1), &[1.0, 0.0], 0.5, later), None);
        assert_eq!(index.nearest(&bucket(1), &[1.0, 0.0, 0.0], 0.5, now), None);
        index.insert(bucket(2), &[1.0, 0.0], 2, 4, later);
        assert_eq!(index.order.len(), 1, "what is old goes");
    }

    #[test]
    fn a_vector_without_a_direction_is_neither_kept_nor_found() {
        let (mut index, now) = (Index::new(BOUNDS), Instant::now());
        for vector in [&[][..], &[0.0, 0.0], &[f32::NAN, 1.0], &[f32::INFINITY, 1.0]] {
            index.insert(bucket(1), vector, 1, 4, now);
            assert_eq!(index.nearest(&bucket(1), vector, -1.0, now), None, "{vector:?}");
        }
        assert_eq!(index.order.len(), 0);
    }

    proptest! {
        #[test]
        fn its_promises_hold_in_every_order(
            steps in prop::collection::vec((0_u8..4, prop::collection::vec(-2.0_f32..2.0, 3), 0_usize..600, 0_u64..8000), 1..120),
            threshold in 0.5_f32..1.0,
        ) {
            let bounds = Bounds { weight_max: 6000, ..BOUNDS };
            let (mut index, mut now) = (Index::new(bounds), Instant::now());
            for (number, vector, size, wait) in steps {
                now += Duration::from_millis(wait);
                if let Some(found) = index.nearest(&bucket(number), &vector, threshold, now) {
                    let (whose, kept): (u8, Vec<f32>) = found.answer;
                    prop_assert_eq!(whose, number, "another bucket's answer is never given");
                    prop_assert!(found.similarity >= threshold && found.age < bounds.ttl);
                    let (left, right) = (normalised(&kept).unwrap(), normalised(&vector).unwrap());
                    prop_assert!((dot(&left, &right) - found.similarity).abs() < 1e-4);
                }
                index.insert(bucket(number), &vector, (number, vector.clone()), size, now);
                prop_assert!(index.order.len() <= bounds.entries_max && index.weight <= bounds.weight_max);
                let all: Vec<&Entry<_>> = index.buckets.values().flatten().collect();
                prop_assert_eq!(all.len(), index.order.len());
                prop_assert_eq!(all.iter().map(|entry| entry.weight).sum::<usize>(), index.weight);
                prop_assert!(index.buckets.values().all(|entries| entries.len() <= bounds.bucket_entries_max));
            }
        }

        #[test]
        fn sums_side_by_side_are_the_sum(pairs in prop::collection::vec((-1.0_f32..1.0, -1.0_f32..1.0), 0..40)) {
            let (left, right): (Vec<f32>, Vec<f32>) = pairs.iter().copied().unzip();
            let plain: f32 = pairs.iter().map(|(left, right)| left * right).sum();
            prop_assert!((dot(&left, &right) - plain).abs() < 1e-3);
        }
    }
}
