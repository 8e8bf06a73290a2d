//! When operations are due: computed ahead of time, from the shape of the load alone.
//!
//! An open schedule never looks at the target. Its arrivals are offsets from the start of the run, in order, and the
//! same for the same seed; a target that falls behind finds its arrivals waiting, and their wait is part of their
//! latency. A closed schedule (users who wait for their answer and think) has no arrivals of its own.

use std::time::Duration;

use crate::random::Random;

/// Fastest rate that can be asked for, per second.
pub const RATE_PER_S_MAX: f64 = 10_000_000.0;
/// Longest schedule.
pub const DURATION_MAX: Duration = Duration::from_hours(24 * 7);
/// Most stages in one schedule.
pub const STAGES_MAX: usize = 1_000;

/// Shape of an open load, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule(Shape);

#[derive(Clone, Debug, PartialEq)]
enum Shape {
    Stages(Vec<Segment>),
    /// `phase`: when the first burst comes.
    Burst {
        size: u64,
        every: Duration,
        phase: Duration,
        duration: Duration,
    },
    Poisson {
        rate_per_s: f64,
        duration: Duration,
    },
}

/// A stretch of time over which the rate changes linearly.
#[derive(Clone, Debug, PartialEq)]
struct Segment {
    start_s: f64,
    duration_s: f64,
    from_per_s: f64,
    to_per_s: f64,
    /// Arrivals that the segments before this one bring, with their fraction.
    arrivals_before: f64,
}

/// One stage of a staged schedule: from the rate that the stage before ended with to `to_per_s`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stage {
    /// Rate at the end of the stage, per second.
    pub to_per_s: f64,
    /// How long the stage takes. Zero is a step: the rate changes at once.
    pub duration: Duration,
}

/// A load that cannot be offered.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ScheduleError {
    /// A rate is not a number that can be paced.
    #[error(
        "a rate of {rate_per_s} per second cannot be offered; it must be at least 0 and at most {RATE_PER_S_MAX}"
    )]
    Rate {
        /// The rate.
        rate_per_s: f64,
    },
    /// A duration is zero or too long.
    #[error("a duration of {duration:?} is not possible; it must be above zero and at most {DURATION_MAX:?}")]
    Duration {
        /// The duration.
        duration: Duration,
    },
    /// No operation ever comes due.
    #[error("nothing would be offered: the schedule has not a single arrival")]
    Nothing,
    /// More stages than [`STAGES_MAX`].
    #[error("{count} stages; at most {STAGES_MAX} are possible")]
    Stages {
        /// How many.
        count: usize,
    },
}

// === impl Schedule ===

impl Schedule {
    /// The same rate all the time.
    pub fn constant(rate_per_s: f64, duration: Duration) -> Result<Self, ScheduleError> {
        Self::ramp(rate_per_s, rate_per_s, duration)
    }

    /// A rate that changes linearly.
    pub fn ramp(from_per_s: f64, to_per_s: f64, duration: Duration) -> Result<Self, ScheduleError> {
        check_duration(duration)?;
        Self::stages(from_per_s, &[Stage { to_per_s, duration }])
    }

    /// Linear changes one after the other, from the rate at the start.
    pub fn stages(start_per_s: f64, stages: &[Stage]) -> Result<Self, ScheduleError> {
        if stages.len() > STAGES_MAX {
            return Err(ScheduleError::Stages { count: stages.len() });
        }
        check_rate(start_per_s)?;
        let (mut segments, mut start, mut arrivals_before, mut from_per_s) =
            (Vec::new(), Duration::ZERO, 0.0, start_per_s);
        for stage in stages {
            check_rate(stage.to_per_s)?;
            if !stage.duration.is_zero() {
                let segment = Segment {
                    start_s: start.as_secs_f64(),
                    duration_s: stage.duration.as_secs_f64(),
                    from_per_s,
                    to_per_s: stage.to_per_s,
                    arrivals_before,
                };
                arrivals_before += segment.arrivals();
                segments.push(segment);
            }
            start = start.saturating_add(stage.duration);
            from_per_s = stage.to_per_s;
        }
        check_duration(start)?;
        Self(Shape::Stages(segments)).with_arrivals()
    }

    /// `size` arrivals at once, at the start and again after each `every`.
    pub fn burst(size: u64, every: Duration, duration: Duration) -> Result<Self, ScheduleError> {
        check_duration(duration)?;
        check_duration(every)?;
        check_rate(size as f64 / every.as_secs_f64())?;
        Self(Shape::Burst { size, every, phase: Duration::ZERO, duration }).with_arrivals()
    }

    /// Independent arrivals: exponentially distributed gaps, from the seed given to [`Schedule::arrivals`].
    pub fn poisson(rate_per_s: f64, duration: Duration) -> Result<Self, ScheduleError> {
        check_duration(duration)?;
        check_rate(rate_per_s)?;
        Self(Shape::Poisson { rate_per_s, duration }).with_arrivals()
    }

    fn with_arrivals(self) -> Result<Self, ScheduleError> {
        if self.expected() < 0.5 { Err(ScheduleError::Nothing) } else { Ok(self) }
    }

    /// How long the schedule takes; every arrival is due before.
    pub fn duration(&self) -> Duration {
        match &self.0 {
            Shape::Stages(segments) => segments
                .last()
                .map_or(Duration::ZERO, |last| Duration::from_secs_f64(last.start_s + last.duration_s)),
            Shape::Burst { duration, .. } | Shape::Poisson { duration, .. } => *duration,
        }
    }

    /// How many arrivals there are; on average, for a random schedule.
    pub fn expected(&self) -> f64 {
        match &self.0 {
            Shape::Stages(segments) => {
                segments.last().map_or(0.0, |last| last.arrivals_before + last.arrivals())
            }
            Shape::Burst { size, every, phase, duration } => {
                let time_s = duration.saturating_sub(*phase).as_secs_f64();
                *size as f64 * (time_s / every.as_secs_f64()).ceil()
            }
            Shape::Poisson { rate_per_s, duration } => rate_per_s * duration.as_secs_f64(),
        }
    }

    /// The same load with a warm-up before it, at the rate that it begins with.
    #[must_use]
    pub fn with_warm_up(self, warm_up: Duration) -> Self {
        if warm_up.is_zero() {
            return self;
        }
        Self(match self.0 {
            Shape::Stages(mut segments) => {
                let from_per_s = segments.first().map_or(0.0, |first| first.from_per_s);
                let warm_up_s = warm_up.as_secs_f64();
                for segment in &mut segments {
                    segment.start_s += warm_up_s;
                    segment.arrivals_before += from_per_s * warm_up_s;
                }
                let first = Segment {
                    start_s: 0.0,
                    duration_s: warm_up_s,
                    from_per_s,
                    to_per_s: from_per_s,
                    arrivals_before: 0.0,
                };
                segments.insert(0, first);
                Shape::Stages(segments)
            }
            // The measured part still begins with a burst, however long the warm-up.
            Shape::Burst { size, every, phase, duration } => {
                let phase_ns = (warm_up + phase).as_nanos() % every.as_nanos().max(1);
                let phase = Duration::from_nanos(u64::try_from(phase_ns).unwrap_or_default());
                Shape::Burst { size, every, phase, duration: duration.saturating_add(warm_up) }
            }
            Shape::Poisson { rate_per_s, duration } => {
                Shape::Poisson { rate_per_s, duration: duration.saturating_add(warm_up) }
            }
        })
    }

    /// The arrivals in order, as offsets from the start. The seed matters to random schedules alone.
    pub fn arrivals(&self, seed: u64) -> Arrivals {
        Arrivals { shape: self.0.clone(), index: 0, segment: 0, at_s: 0.0, random: Random::new(seed) }
    }
}

fn check_rate(rate_per_s: f64) -> Result<(), ScheduleError> {
    // Written so that NaN fails.
    if (0.0..=RATE_PER_S_MAX).contains(&rate_per_s) {
        Ok(())
    } else {
        Err(ScheduleError::Rate { rate_per_s })
    }
}

fn check_duration(duration: Duration) -> Result<(), ScheduleError> {
    if duration.is_zero() || duration > DURATION_MAX {
        return Err(ScheduleError::Duration { duration });
    }
    Ok(())
}

// === impl Segment ===

impl Segment {
    fn arrivals(&self) -> f64 {
        f64::midpoint(self.from_per_s, self.to_per_s) * self.duration_s
    }

    /// When the arrival is due that has `ahead` arrivals of this segment before it.
    fn due_s(&self, ahead: f64) -> f64 {
        // ahead = from·t + slope·t²/2, solved for t in the form that does not cancel for small slopes.
        let slope = (self.to_per_s - self.from_per_s) / self.duration_s;
        let root = (self.from_per_s * self.from_per_s + 2.0 * slope * ahead).max(0.0).sqrt();
        let denominator = self.from_per_s + root;
        let within = if denominator > 0.0 { 2.0 * ahead / denominator } else { 0.0 };
        self.start_s + within.min(self.duration_s)
    }
}

/// Offsets at which operations are due, in order. Needs constant memory, however long the schedule.
#[derive(Clone, Debug)]
pub struct Arrivals {
    shape: Shape,
    index: u64,
    segment: usize,
    at_s: f64,
    random: Random,
}

/// Floating-point dust: an arrival this close to the end of a segment belongs to what follows.
const DUST: f64 = 1e-7;

impl Iterator for Arrivals {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let due = match &self.shape {
            Shape::Stages(segments) => {
                let position = self.index as f64;
                loop {
                    let segment = segments.get(self.segment)?;
                    let ahead = (position - segment.arrivals_before).max(0.0);
                    if ahead < segment.arrivals() - DUST {
                        break Duration::from_secs_f64(segment.due_s(ahead));
                    }
                    self.segment += 1;
                }
            }
            Shape::Burst { size, every, phase, duration } => {
                let burst = u32::try_from(self.index / size).ok()?;
                let due = every.checked_mul(burst)?.checked_add(*phase)?;
                if due >= *duration {
                    return None;
                }
                due
            }
            Shape::Poisson { rate_per_s, duration } => {
                self.at_s += self.random.next_exponential(1.0 / rate_per_s);
                if self.at_s >= duration.as_secs_f64() {
                    return None;
                }
                Duration::from_secs_f64(self.at_s)
            }
        };
        self.index += 1;
        Some(due)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn secs(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn a_constant_rate_spaces_arrivals_evenly_from_the_start() {
        let schedule = Schedule::constant(1_000.0, secs(10.0)).unwrap();
        let due: Vec<Duration> = schedule.arrivals(1).collect();
        assert_eq!(due.len(), 10_000);
        assert_eq!(due[0], Duration::ZERO);
        assert_eq!(due[1].as_micros(), 1_000);
        assert!(due[9_999].abs_diff(secs(9.999)) < Duration::from_micros(1));
    }

    #[test]
    fn a_ramp_brings_the_area_under_its_line() {
        let due: Vec<Duration> = Schedule::ramp(0.0, 100.0, secs(10.0)).unwrap().arrivals(1).collect();
        assert_eq!(due.len(), 500);
        let first_half = due.iter().filter(|due| **due < secs(5.0)).count();
        assert_eq!(first_half, 125);
    }

    #[test]
    fn stages_follow_each_other_and_a_stage_without_duration_is_a_step() {
        let stages = [
            Stage { to_per_s: 100.0, duration: secs(1.0) },
            Stage { to_per_s: 200.0, duration: Duration::ZERO },
            Stage { to_per_s: 200.0, duration: secs(1.0) },
            Stage { to_per_s: 0.0, duration: secs(1.0) },
        ];
        let schedule = Schedule::stages(100.0, &stages).unwrap();
        let due: Vec<Duration> = schedule.arrivals(1).collect();
        let within =
            |from: f64, to: f64| due.iter().filter(|due| **due >= secs(from) && **due < secs(to)).count();
        assert_eq!((within(0.0, 1.0), within(1.0, 2.0), within(2.0, 3.0)), (100, 200, 100));
        assert_eq!(schedule.duration(), secs(3.0));
    }

    #[test]
    fn a_burst_comes_at_once_and_again() {
        let due: Vec<Duration> = Schedule::burst(3, secs(1.0), secs(2.5)).unwrap().arrivals(1).collect();
        assert_eq!(due, [0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0].map(secs));
    }

    #[test]
    fn a_warm_up_does_not_move_the_bursts_of_the_measured_part() {
        let schedule = Schedule::burst(1, secs(1.0), secs(3.0)).unwrap();
        for (warm_up_s, before) in [(0.4, vec![]), (1.0, vec![0.0]), (2.5, vec![0.5, 1.5])] {
            let warmed = schedule.clone().with_warm_up(secs(warm_up_s));
            let due: Vec<Duration> = warmed.arrivals(1).collect();
            let measured = [0.0, 1.0, 2.0].map(|at_s| at_s + warm_up_s);
            let expected: Vec<Duration> = before.into_iter().chain(measured).map(secs).collect();
            assert_eq!(due, expected, "{warm_up_s}");
            assert!((warmed.expected() - due.len() as f64).abs() < 1e-9);
        }
    }

    #[test]
    fn poisson_arrivals_have_the_mean_and_the_spread_of_the_process_and_repeat_from_their_seed() {
        let schedule = Schedule::poisson(1_000.0, secs(100.0)).unwrap();
        let due: Vec<f64> = schedule.arrivals(7).map(|due| due.as_secs_f64()).collect();
        // A count of mean 100 000 has a standard deviation of 316: five of them.
        assert!((due.len() as f64 - 100_000.0).abs() < 1_600.0, "{}", due.len());
        let gaps: Vec<f64> = due.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.03, "{}", variance.sqrt() / mean);
        assert!(schedule.arrivals(7).eq(schedule.arrivals(7)));
        assert!(!schedule.arrivals(7).eq(schedule.arrivals(8)));
    }

    #[test]
    fn what_cannot_be_offered_is_refused_with_its_reason() {
        let second = secs(1.0);
        for error in [
            Schedule::constant(-1.0, second),
            Schedule::constant(f64::NAN, second),
            Schedule::constant(f64::INFINITY, second),
            Schedule::constant(0.0, second),
            Schedule::constant(10.0, Duration::ZERO),
            Schedule::constant(10.0, Duration::MAX),
            Schedule::ramp(0.0, 0.0, second),
            Schedule::burst(0, second, second),
            Schedule::burst(1, Duration::ZERO, second),
            Schedule::poisson(0.0, second),
            Schedule::stages(1.0, &[]),
            Schedule::stages(1.0, &vec![Stage { to_per_s: 1.0, duration: second }; STAGES_MAX + 1]),
        ] {
            assert!(error.is_err(), "{error:?}");
        }
        let error = Schedule::constant(-1.0, second).unwrap_err().to_string();
        assert!(error.contains("a rate of -1 per second"), "{error}");
    }

    proptest! {
        #[test]
        fn arrivals_are_in_order_before_the_end_and_as_many_as_expected(
            start in 0.0_f64..500.0,
            stages in proptest::collection::vec((0.0_f64..500.0, 0_u64..3_000), 1..6),
        ) {
            let stages: Vec<Stage> = stages
                .into_iter()
                .map(|(to_per_s, millis)| Stage { to_per_s, duration: Duration::from_millis(millis) })
                .collect();
            let Ok(schedule) = Schedule::stages(start, &stages) else { return Ok(()) };
            let due: Vec<Duration> = schedule.arrivals(3).collect();
            prop_assert!(due.windows(2).all(|pair| pair[0] <= pair[1]));
            prop_assert!(due.iter().all(|due| *due <= schedule.duration()));
            prop_assert!((due.len() as f64 - schedule.expected()).abs() <= 1.0, "{} {}", due.len(), schedule.expected());
        }

        #[test]
        fn a_warm_up_adds_arrivals_before_and_moves_the_rest(rate in 1_u32..300, warm_up_s in 1_u32..5) {
            let schedule = Schedule::constant(f64::from(rate), secs(2.0)).unwrap();
            let plain: Vec<Duration> = schedule.arrivals(1).collect();
            let warm_up = secs(f64::from(warm_up_s));
            let warmed: Vec<Duration> = schedule.with_warm_up(warm_up).arrivals(1).collect();
            prop_assert_eq!(warmed.len(), plain.len() + (rate * warm_up_s) as usize);
            let moved = &warmed[(rate * warm_up_s) as usize..];
            let is_moved = |moved: &Duration, plain: &Duration| moved.abs_diff(*plain + warm_up).as_nanos() < 1_000;
            prop_assert!(moved.iter().zip(&plain).all(|(moved, plain)| is_moved(moved, plain)));
        }
    }
}
