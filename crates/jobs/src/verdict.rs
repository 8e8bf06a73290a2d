//! What becomes of a job when an attempt ends: the state machine, without a store and without a clock.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::{
    Attempt, AttemptOutcome, Fault, Job, JobFailure, JobState, Payload, RetryPolicy, config::QueueOptions,
};

/// The class of an attempt whose worker was not heard of until its lease ended.
pub(crate) const LOST: &str = "lost";
/// The class of an attempt that took too long.
pub(crate) const TIMEOUT: &str = "timeout";
/// The class of an attempt that panicked.
pub(crate) const PANIC: &str = "panic";
/// Longer messages are cut.
const MESSAGE_LENGTH_MAX: usize = 2_000;
/// A problem that is larger is kept without its members.
const PROBLEM_SIZE_MAX: usize = 8 << 10;

/// How an attempt ends its job, or goes on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    /// The job has ended.
    Finish {
        /// Succeeded, failed, cancelled or dead.
        state: JobState,
        /// What it came to.
        result: Option<Payload>,
        /// The size of a result that went to the blobs.
        result_size: Option<u64>,
        /// Why it did not succeed.
        error: Option<Fault>,
    },
    /// It goes on later.
    Again {
        /// Scheduled, queued or waiting.
        state: JobState,
        /// When it becomes ready.
        run_at: Timestamp,
        /// How this attempt ended.
        outcome: AttemptOutcome,
        /// Why it failed.
        error: Option<Fault>,
        /// Whether it counts against the maximum.
        counts: bool,
    },
}

impl Verdict {
    /// The state in which the job ends, if it does: one that goes on ends if somebody asks for that meanwhile.
    pub(crate) const fn end(&self) -> JobState {
        match self {
            Self::Finish { state, .. } => *state,
            Self::Again { .. } => JobState::Cancelled,
        }
    }

    /// It came to this.
    pub(crate) const fn succeeded(result: Option<Payload>, result_size: Option<u64>) -> Self {
        Self::Finish { state: JobState::Succeeded, result, result_size, error: None }
    }

    /// Somebody asked for its end.
    pub(crate) const fn cancelled() -> Self {
        Self::Finish { state: JobState::Cancelled, result: None, result_size: None, error: None }
    }

    /// Its server goes away in good order: another one takes it, and nothing counts.
    pub(crate) const fn released(now: Timestamp) -> Self {
        let outcome = AttemptOutcome::Released;
        Self::Again { state: JobState::Queued, run_at: now, outcome, error: None, counts: false }
    }

    /// It waits for something else.
    pub(crate) const fn waiting(now: Timestamp) -> Self {
        let outcome = AttemptOutcome::Waiting;
        Self::Again { state: JobState::Waiting, run_at: now, outcome, error: None, counts: false }
    }

    /// The attempt failed: again, or was it the last time?
    pub(crate) fn failed(job: &Job, queue: &QueueOptions, failure: JobFailure, moment: Moment) -> Self {
        let JobFailure { fault, retryable, retry_after } = failure;
        let class = fault.class.clone();
        let error = Some(shortened(fault));
        if !retryable {
            return Self::Finish { state: JobState::Failed, result: None, result_size: None, error };
        }
        let policy = policy_of(job, queue);
        let used = job.attempts_used();
        if used >= policy.attempts_of(&class) {
            return Self::Finish { state: JobState::Dead, result: None, result_size: None, error };
        }
        let wait = policy.wait_after(used, moment.chance).max(retry_after.unwrap_or_default());
        let run_at = later(moment.now, wait.saturating_add(moment.postponed));
        let outcome = if class == LOST { AttemptOutcome::Lost } else { AttemptOutcome::Failed };
        let state = if run_at <= moment.now { JobState::Queued } else { JobState::Scheduled };
        Self::Again { state, run_at, outcome, error, counts: true }
    }

    /// Its worker was not heard of until the lease ended, or the time for the attempt was over. There is nothing to wait
    /// for: what was lost is taken up again at once.
    pub(crate) fn lost(job: &Job, queue: &QueueOptions, moment: Moment) -> Self {
        let worker = job.worker.as_deref().unwrap_or("the worker");
        let timeout = job.timeout(queue);
        let over = job.started_at.is_some_and(|started| later(started, timeout) <= moment.now);
        let failure = if over {
            JobFailure::new(TIMEOUT, format!("{worker} did not finish within {}s", timeout.as_secs()))
        } else {
            JobFailure::new(LOST, format!("{worker} was not heard of until its lease ended"))
        };
        match Self::failed(job, queue, failure, moment) {
            Self::Again { outcome: AttemptOutcome::Lost, error, counts, .. } => Self::Again {
                state: JobState::Queued,
                run_at: moment.now,
                outcome: AttemptOutcome::Lost,
                error,
                counts,
            },
            verdict => verdict,
        }
    }
}

/// What a verdict needs to know beside the job.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// Now.
    pub(crate) now: Timestamp,
    /// Something from 0 to 1.
    pub(crate) chance: f64,
    /// How much longer a retry waits because its queue retries too much.
    pub(crate) postponed: Duration,
}

impl Moment {
    /// Now, and by chance.
    pub(crate) fn by_chance(now: Timestamp, postponed: Duration) -> Self {
        Self { now, chance: chance(), postponed }
    }
}

/// From 0 to 1. Spreads retries; nobody gains by guessing it.
fn chance() -> f64 {
    let (high, _) = uuid::Uuid::new_v4().as_u64_pair();
    (high >> 12) as f64 / (1_u64 << 52) as f64
}

/// A time that may be far off, and never overflows.
pub(crate) fn later(from: Timestamp, wait: Duration) -> Timestamp {
    let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
    from.saturating_add(wait).unwrap_or(Timestamp::MAX)
}

fn policy_of<'a>(job: &'a Job, queue: &'a QueueOptions) -> &'a RetryPolicy {
    job.terms.retry.as_ref().unwrap_or(&queue.retry)
}

fn shortened(fault: Fault) -> Fault {
    let Fault { class, mut message, problem } = fault;
    let problem = problem.filter(|problem| problem.to_string().len() <= PROBLEM_SIZE_MAX);
    if let Some((end, _)) = message.char_indices().nth(MESSAGE_LENGTH_MAX) {
        message.truncate(end);
        message.push('…');
    }
    Fault { class, message, problem }
}

impl Job {
    /// Attempts that count against the maximum, the current one included.
    pub fn attempts_used(&self) -> u32 {
        self.attempt.saturating_sub(self.spared)
    }

    /// How often it is tried altogether, before it counts as dead.
    pub(crate) fn attempts_max(&self, queue: &QueueOptions) -> u32 {
        policy_of(self, queue).attempts.saturating_add(self.spared)
    }

    /// How long one attempt may take.
    pub(crate) fn timeout(&self, queue: &QueueOptions) -> Duration {
        self.terms.timeout.unwrap_or(queue.timeout).get()
    }

    /// Until when it is kept, if it ends now.
    pub(crate) fn kept_until(&self, queue: &QueueOptions, now: Timestamp) -> Timestamp {
        later(now, self.terms.retention.unwrap_or(queue.retention).get())
    }

    /// The job as this verdict leaves it, for those who are asked before it is committed.
    pub(crate) fn after(&self, verdict: &Verdict, queue: &QueueOptions, now: Timestamp) -> Self {
        let mut job = self.clone();
        job.lease_until = None;
        job.changes += 1;
        match verdict.clone() {
            Verdict::Finish { state, result, result_size, error } => {
                job.state = state;
                job.result = result;
                job.result_size = result_size;
                job.error = error;
                job.finished_at = Some(now);
                job.expires_at = Some(self.kept_until(queue, now));
                job.cancelling = false;
            }
            Verdict::Again { state, run_at, outcome, error, counts } => {
                if let Some(started_at) = job.started_at.take() {
                    job.past_attempts.push(Attempt {
                        number: self.attempt,
                        worker: self.worker.clone().unwrap_or_default(),
                        started_at,
                        ended_at: Some(now),
                        outcome: Some(outcome),
                        error: error.clone(),
                    });
                }
                job.state = state;
                job.run_at = run_at;
                job.error = error.or(job.error);
                job.spared += u32::from(!counts);
            }
        }
        job
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::job;

    fn moment(chance: f64) -> Moment {
        Moment { now: Timestamp::UNIX_EPOCH, chance, postponed: Duration::ZERO }
    }

    fn attempt(number: u32, spared: u32) -> Job {
        Job { attempt: number, spared, ..job() }
    }

    #[test]
    fn a_failure_is_tried_again_until_the_maximum_and_is_dead_then() {
        let queue = QueueOptions::default();
        for number in 1..queue.retry.attempts {
            let verdict =
                Verdict::failed(&attempt(number, 0), &queue, JobFailure::new("x", "broke"), moment(0.0));
            assert!(matches!(verdict, Verdict::Again { state: JobState::Scheduled, counts: true, .. }));
        }
        let last = attempt(queue.retry.attempts, 0);
        let verdict = Verdict::failed(&last, &queue, JobFailure::new("x", "broke"), moment(0.0));
        assert!(matches!(verdict, Verdict::Finish { state: JobState::Dead, .. }));
    }

    #[test]
    fn what_was_redriven_has_its_attempts_anew() {
        let verdict = Verdict::failed(
            &attempt(6, 5),
            &QueueOptions::default(),
            JobFailure::new("x", "broke"),
            moment(0.0),
        );
        assert!(matches!(verdict, Verdict::Again { .. }));
    }

    #[test]
    fn a_failure_that_stays_one_is_not_tried_again() {
        let failure = JobFailure::new("invalid-request", "no such page").permanent();
        let verdict = Verdict::failed(&attempt(1, 0), &QueueOptions::default(), failure, moment(0.0));
        assert!(matches!(verdict, Verdict::Finish { state: JobState::Failed, .. }));
    }

    #[test]
    fn what_was_lost_is_taken_up_at_once_and_what_took_too_long_waits() {
        let (queue, now) = (QueueOptions::default(), Timestamp::UNIX_EPOCH);
        let lost = Job { started_at: Some(now), ..attempt(1, 0) };
        let verdict = Verdict::lost(&lost, &queue, moment(0.0));
        assert!(matches!(verdict, Verdict::Again { state: JobState::Queued, run_at, .. } if run_at == now));
        let late = Moment { now: later(now, queue.timeout.get()), ..moment(0.0) };
        let verdict = Verdict::lost(&lost, &queue, late);
        let Verdict::Again { state: JobState::Scheduled, error: Some(error), .. } = verdict else {
            panic!("{verdict:?}")
        };
        assert_eq!(error.class, TIMEOUT);
    }

    #[test]
    fn a_long_message_is_cut() {
        let failure = JobFailure::new("x", "é".repeat(10_000)).permanent();
        let verdict = Verdict::failed(&attempt(1, 0), &QueueOptions::default(), failure, moment(0.0));
        let Verdict::Finish { error: Some(error), .. } = verdict else { panic!("{verdict:?}") };
        assert_eq!(error.message.chars().count(), MESSAGE_LENGTH_MAX + 1);
    }

    proptest! {
        /// Whatever fails how often: a job ends after at most as many attempts as it may have, and never runs in the past.
        #[test]
        fn every_job_that_only_fails_dies(
            attempts in 1_u32..100, spared in 0_u32..50, chance in 0.0..1.0_f64, lost: bool,
        ) {
            let queue = QueueOptions {
                retry: RetryPolicy { attempts, ..RetryPolicy::default() }, ..QueueOptions::default()
            };
            let mut job = attempt(spared, spared);
            for tried in 1.. {
                job.attempt += 1;
                job.started_at = Some(Timestamp::UNIX_EPOCH);
                let verdict = if lost {
                    Verdict::lost(&job, &queue, moment(chance))
                } else {
                    Verdict::failed(&job, &queue, JobFailure::new("x", ""), moment(chance))
                };
                let after = job.after(&verdict, &queue, Timestamp::UNIX_EPOCH);
                prop_assert!(after.changes > job.changes);
                match verdict {
                    Verdict::Finish { state, .. } => {
                        prop_assert_eq!((state, tried), (JobState::Dead, attempts));
                        break;
                    }
                    Verdict::Again { run_at, .. } => prop_assert!(run_at >= Timestamp::UNIX_EPOCH),
                }
                prop_assert!(tried < attempts);
                job = after;
            }
        }
    }
}
