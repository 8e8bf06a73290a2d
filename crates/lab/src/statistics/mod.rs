//! The statistics that verdicts stand on, each checked against known answers.
//!
//! Nothing here assumes a distribution. A comparison asks three questions: how large is the change
//! ([`ratio_of_medians`], a bootstrap interval), could it be chance ([`mann_whitney`]), and were there enough
//! *independent* values to ask (process-level repeats, see [`RunRecord::repeats`](crate::record::RunRecord::repeats)).
//! A ratio of errors asks how large it may really be
//! ([`proportion`]): no error in 100 operations does not promise fewer than 1 %.
//!
//! Random numbers are seeded ([`Random`]), so that the same data always give the same interval.

mod bootstrap;
pub mod mann_whitney;
pub mod proportion;
mod quantile;
mod random;

pub use self::{
    bootstrap::{RatioInterval, median_interval, ratio_of_medians},
    mann_whitney::{MannWhitney, mann_whitney},
    quantile::{Percentiles, median, quantile_of_sorted},
    random::Random,
};

/// Confidence of every interval, and one minus the error that a test may make.
pub const CONFIDENCE: f64 = 0.95;
