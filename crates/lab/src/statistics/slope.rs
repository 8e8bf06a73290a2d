//! Whether a series grows: a slope with its confidence interval.

use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

use super::{CONFIDENCE, quantile_of_sorted};

/// Points beyond this number are thinned out evenly before every pair of them is compared.
const PAIRED_POINTS_MAX: usize = 600;

/// A slope per unit of x, with its 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slope {
    /// The estimate.
    pub estimate: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

/// Ordinary least squares. Narrow, but one outlier moves it. `None` for fewer than three points or a single x.
pub fn least_squares(points: &[(f64, f64)]) -> Option<Slope> {
    let n = points.len() as f64;
    if points.len() < 3 {
        return None;
    }
    let (mean_x, mean_y) =
        (points.iter().map(|p| p.0).sum::<f64>() / n, points.iter().map(|p| p.1).sum::<f64>() / n);
    let xx: f64 = points.iter().map(|p| (p.0 - mean_x).powi(2)).sum();
    let xy: f64 = points.iter().map(|p| (p.0 - mean_x) * (p.1 - mean_y)).sum();
    if xx <= 0.0 {
        return None;
    }
    let estimate = xy / xx;
    let residual: f64 = points.iter().map(|p| (p.1 - mean_y - estimate * (p.0 - mean_x)).powi(2)).sum();
    let error = (residual / (n - 2.0) / xx).sqrt();
    let t = StudentsT::new(0.0, 1.0, n - 2.0).ok()?.inverse_cdf(0.5 + CONFIDENCE / 2.0);
    Some(Slope { estimate, low: estimate - t * error, high: estimate + t * error })
}

/// The median of the slopes between all pairs of points (Theil, 1950; interval by Sen, 1968): what steps, spikes and a
/// warm-up do to single points does not move it. `None` for fewer than three points or a single x.
pub fn theil_sen(points: &[(f64, f64)]) -> Option<Slope> {
    let points = thinned(points);
    if points.len() < 3 {
        return None;
    }
    let mut slopes = Vec::with_capacity(points.len() * (points.len() - 1) / 2);
    for (i, a) in points.iter().enumerate() {
        slopes.extend(
            points[i + 1..].iter().filter(|b| b.0.total_cmp(&a.0).is_ne()).map(|b| (b.1 - a.1) / (b.0 - a.0)),
        );
    }
    slopes.sort_unstable_by(f64::total_cmp);
    let estimate = quantile_of_sorted(&slopes, 0.5)?;
    // Kendall's S is about normal; its spread tells how many ranks around the median the interval takes in.
    let n = points.len() as f64;
    let deviation = (kendall_variance_times_18(&points, n) / 18.0).sqrt();
    let half = Normal::standard().inverse_cdf(0.5 + CONFIDENCE / 2.0) * deviation;
    let count = slopes.len() as f64;
    let low = (((count - half) / 2.0).floor().max(0.0) as usize).min(slopes.len() - 1);
    let high = (f64::midpoint(count, half).ceil() as usize).min(slopes.len() - 1);
    Some(Slope { estimate, low: slopes[low], high: slopes[high] })
}

fn kendall_variance_times_18(points: &[(f64, f64)], n: f64) -> f64 {
    let mut values: Vec<f64> = points.iter().map(|p| p.1).collect();
    values.sort_unstable_by(f64::total_cmp);
    let ties: f64 = values
        .chunk_by(|a, b| a.total_cmp(b).is_eq())
        .map(|group| group.len() as f64)
        .map(|t| t * (t - 1.0) * (2.0 * t + 5.0))
        .sum();
    n * (n - 1.0) * (2.0 * n + 5.0) - ties
}

fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let step = points.len().div_ceil(PAIRED_POINTS_MAX).max(1);
    points.iter().step_by(step).copied().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::Random, *};

    #[test]
    fn the_median_slope_reproduces_a_worked_example() {
        let points = [(1.0, 1.26), (2.0, 1.27), (3.0, 1.12), (4.0, 1.16), (5.0, 1.03)];
        let slope = theil_sen(&points).unwrap();
        // The ten slopes, sorted: -.15 -.13 -.08 -.07 -.0575 -.055 -.045 -.0333 .01 .04. The deviation of Kendall's S is
        // sqrt(5 * 4 * 15 / 18) = 4.08, so the interval takes in 8 ranks around the middle.
        assert!((slope.estimate + 0.056_25).abs() < 1e-9, "{slope:?}");
        assert!((slope.low + 0.15).abs() < 1e-9 && (slope.high - 0.04).abs() < 1e-9, "{slope:?}");
    }

    #[test]
    fn least_squares_reproduce_a_worked_example() {
        // y = 2x with residuals +1, -2, +1, 0: worked out by hand.
        let points = [(1.0, 3.0), (2.0, 2.0), (3.0, 7.0), (4.0, 8.0)];
        let slope = least_squares(&points).unwrap();
        assert!((slope.estimate - 2.0).abs() < 1e-12);
        // Residual sum 6, standard error sqrt(6 / 2 / 5), t(0.975, 2) = 4.302652.
        let half = 4.302_652_73 * (6.0_f64 / 2.0 / 5.0).sqrt();
        assert!((slope.high - slope.estimate - half).abs() < 1e-4, "{slope:?}");
    }

    #[test]
    fn one_wild_point_does_not_move_the_median_slope() {
        let mut points: Vec<(f64, f64)> =
            (0..100).map(|i| (f64::from(i), 10.0 + 0.5 * f64::from(i))).collect();
        points[99].1 = 1e6;
        assert!((theil_sen(&points).unwrap().estimate - 0.5).abs() < 1e-9);
        assert!(least_squares(&points).unwrap().estimate > 10.0);
    }

    #[test]
    fn noise_without_growth_rarely_excludes_zero() {
        let mut random = Random::seeded(5);
        let mut alarms = 0;
        for _ in 0..100 {
            let points: Vec<(f64, f64)> = (0..60).map(|i| (f64::from(i), random.normal())).collect();
            let slope = theil_sen(&points).unwrap();
            alarms += u32::from(slope.low > 0.0 || slope.high < 0.0);
        }
        assert!(alarms <= 12, "{alarms} of 100 at a nominal 5");
    }

    #[test]
    fn too_few_points_and_a_single_moment_have_no_slope() {
        assert_eq!(theil_sen(&[(0.0, 1.0), (1.0, 2.0)]), None);
        assert_eq!(least_squares(&[(1.0, 1.0), (1.0, 2.0), (1.0, 3.0)]), None);
        assert_eq!(theil_sen(&[(1.0, 1.0), (1.0, 2.0), (1.0, 3.0)]), None);
    }

    proptest! {
        #[test]
        fn a_straight_line_has_its_own_slope(slope in -100.0_f64..100.0, start in -100.0_f64..100.0, count in 3_usize..1_500) {
            let points: Vec<(f64, f64)> = (0..count).map(|i| (i as f64, start + slope * i as f64)).collect();
            prop_assert!((theil_sen(&points).unwrap().estimate - slope).abs() < 1e-6);
            prop_assert!((least_squares(&points).unwrap().estimate - slope).abs() < 1e-6);
        }
    }
}
