//! The [`Analyzer`]: a page in, a report out.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::try_join_all;
use metrics::{counter, gauge, histogram};
use paddock_browser::Fleet;
use paddock_platform::{config::Section, identity::Tenant, problem::Problem};
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};
use url::Url;

use crate::{
    AnalysisError, AnalysisOptions, Screen,
    capture::{Camera, Capture},
    judge::{Subject, judge},
    metrics::{ANALYSES_TOTAL, ANALYSIS_DURATION_SECONDS, ANALYSIS_QUEUE_DEPTH},
    report::{Images, Report},
};

/// A rough length of an analysis, for telling those who have to wait when to come back.
const DURATION_TYPICAL: Duration = Duration::from_secs(3);

/// What is to be analysed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A page on the web.
    Url(Url),
    /// A file on this machine. Only the command line asks for one: a request from elsewhere never names a path.
    File(PathBuf),
}

/// What is asked of the [`Analyzer`].
#[derive(Clone, Debug)]
pub struct AnalysisRequest {
    /// Whose browsers it takes.
    pub tenant: Tenant,
    /// The page.
    pub target: Target,
    /// On which screens; at least one, without repetition.
    pub screens: Vec<Screen>,
}

/// A finished analysis.
#[derive(Clone, Debug)]
pub struct Finished {
    /// What was found.
    pub report: Report,
    /// The pictures that the report names.
    pub images: Images,
}

/// How far an analysis is. Stages of the two screens overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It waits for its turn.
    Queued,
    /// The page loads and settles.
    Loading(Screen),
    /// The page is read.
    Reading(Screen),
    /// The page is photographed.
    Shooting(Screen),
    /// The facts are judged and the report is made.
    Judging,
}

/// Told of each stage as it begins; must not block.
pub type Progress = Arc<dyn Fn(Stage) + Send + Sync>;

/// Tells whoever waits for a call of a tool. Stages of two screens overlap: what is told never goes back.
pub(crate) fn tool_progress(progress: paddock_platform::tool::Progress) -> Progress {
    let furthest = std::sync::Mutex::new(0.0_f64);
    Arc::new(move |stage| {
        let (done, message) = match stage {
            Stage::Queued => (0.0, "waiting for a browser".to_owned()),
            Stage::Loading(screen) => (10.0, format!("loading the page ({screen})")),
            Stage::Reading(screen) => (50.0, format!("reading the page ({screen})")),
            Stage::Shooting(screen) => (65.0, format!("photographing the page ({screen})")),
            Stage::Judging => (85.0, "judging".to_owned()),
        };
        let mut furthest = furthest.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *furthest = furthest.max(done);
        progress.report(*furthest, Some(100.0), message);
    })
}

/// Tells nobody.
pub fn no_progress() -> Progress {
    Arc::new(|_| {})
}

/// Analyses pages on a fleet's browsers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Analyzer {
    fleet: Fleet,
    options: Section<AnalysisOptions>,
    turns: Arc<Turns>,
    /// Name and version of the engine: asking for it starts a process.
    engine: Arc<OnceCell<String>>,
}

impl Analyzer {
    /// An analyzer that takes its browsers from this fleet. `concurrency_max` is read once, here.
    pub fn new(fleet: Fleet, options: Section<AnalysisOptions>) -> Self {
        let turns = Turns::new(options.current().concurrency_max);
        Self { fleet, options, turns: Arc::new(turns), engine: Arc::default() }
    }

    /// Analyses a page on each of the asked screens, in parallel, and makes the report.
    pub async fn analyze(
        &self,
        request: &AnalysisRequest,
        progress: &Progress,
    ) -> Result<Finished, AnalysisError> {
        let options = self.options.current();
        progress(Stage::Queued);
        let _turn = self.turns.take(&options).await?;
        let started = Instant::now();
        let outcome = self.analyze_now(request, &options, progress, started).await;
        histogram!(ANALYSIS_DURATION_SECONDS).record(started.elapsed());
        outcome
    }

    async fn analyze_now(
        &self,
        request: &AnalysisRequest,
        options: &AnalysisOptions,
        progress: &Progress,
        started: Instant,
    ) -> Result<Finished, AnalysisError> {
        let camera = Camera { fleet: &self.fleet, options, progress };
        let captures = request.screens.iter().map(|screen| camera.capture(request, *screen));
        let timeout = options.timeout.get();
        let captures: Vec<Capture> = tokio::time::timeout(timeout, try_join_all(captures))
            .await
            .map_err(|_| AnalysisError::TimedOut { timeout })??;
        progress(Stage::Judging);
        let subject = Subject::new(request, self.engine().await, started);
        // Decoding, cropping and encoding pictures is computation: it leaves the runtime's threads alone.
        tokio::task::spawn_blocking(move || judge(subject, captures)).await.map_err(AnalysisError::Judging)
    }

    async fn engine(&self) -> String {
        let version = async { self.fleet.engine().ok()?.version().await.ok() };
        // What could not be learned now is asked again next time.
        let known = self.engine.get_or_try_init(|| async { version.await.ok_or(()) }).await;
        known.cloned().unwrap_or_default()
    }
}

/// Counts the outcome of an analysis that was asked for.
pub(crate) fn count_outcome<T>(outcome: &Result<T, Problem>, cached: bool) {
    let label = match outcome {
        Ok(_) if cached => "cached",
        Ok(_) => "ok",
        Err(problem) => problem.kind.slug,
    };
    counter!(ANALYSES_TOTAL, "outcome" => label).increment(1);
}

/// Lets `concurrency_max` analyses work and `queue_max` wait.
#[derive(Debug)]
struct Turns {
    permits: Semaphore,
    concurrency_max: usize,
    waiting: AtomicUsize,
}

impl Turns {
    fn new(concurrency_max: usize) -> Self {
        let concurrency_max = concurrency_max.max(1);
        Self { permits: Semaphore::new(concurrency_max), concurrency_max, waiting: AtomicUsize::new(0) }
    }

    async fn take(&self, options: &AnalysisOptions) -> Result<SemaphorePermit<'_>, AnalysisError> {
        if let Ok(permit) = self.permits.try_acquire() {
            return Ok(permit);
        }
        let place = Waiting::enter(&self.waiting);
        if place.position > options.queue_max {
            let waiting = place.position - 1;
            let rounds = waiting / self.concurrency_max + 1;
            let rounds = u32::try_from(rounds).unwrap_or(u32::MAX);
            return Err(AnalysisError::Overloaded {
                waiting,
                retry_after: DURATION_TYPICAL.saturating_mul(rounds),
            });
        }
        // The semaphore lives as long as `self` and is never closed: an error cannot come.
        self.permits
            .acquire()
            .await
            .map_err(|_| AnalysisError::Overloaded { waiting: 0, retry_after: DURATION_TYPICAL })
    }
}

/// A place in the queue; given back also when the caller goes away.
struct Waiting<'a> {
    waiting: &'a AtomicUsize,
    position: usize,
}

impl<'a> Waiting<'a> {
    fn enter(waiting: &'a AtomicUsize) -> Self {
        gauge!(ANALYSIS_QUEUE_DEPTH).increment(1.0);
        Self { waiting, position: waiting.fetch_add(1, Ordering::AcqRel) + 1 }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.waiting.fetch_sub(1, Ordering::AcqRel);
        gauge!(ANALYSIS_QUEUE_DEPTH).decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(queue_max: usize) -> AnalysisOptions {
        AnalysisOptions { queue_max, ..AnalysisOptions::default() }
    }

    #[test]
    fn progress_that_is_told_never_goes_back() {
        let (progress, mut told) = paddock_platform::tool::Progress::watched();
        let tell = tool_progress(progress);
        let mut last = 0.0;
        for stage in [
            Stage::Queued,
            Stage::Loading(Screen::Desktop),
            Stage::Reading(Screen::Desktop),
            Stage::Loading(Screen::Mobile),
            Stage::Judging,
        ] {
            tell(stage);
            let step = told.borrow_and_update().clone();
            assert!(step.done >= last && !step.message.is_empty(), "{step:?}");
            last = step.done;
        }
        assert!(last > 50.0);
    }

    #[tokio::test]
    async fn analyses_beyond_the_queue_are_refused_with_a_time_to_come_back() {
        let turns = Turns::new(1);
        let working = turns.take(&options(0)).await.unwrap();
        let error = turns.take(&options(0)).await.unwrap_err();
        assert!(
            matches!(error, AnalysisError::Overloaded { retry_after, .. } if retry_after > Duration::ZERO)
        );
        drop(working);
        assert!(turns.take(&options(0)).await.is_ok());
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_leaves_its_place_in_the_queue() {
        let turns = Turns::new(1);
        let _working = turns.take(&options(1)).await.unwrap();
        let patience = Duration::from_millis(1);
        assert!(tokio::time::timeout(patience, turns.take(&options(1))).await.is_err());
        assert_eq!(turns.waiting.load(Ordering::Acquire), 0);
    }
}
