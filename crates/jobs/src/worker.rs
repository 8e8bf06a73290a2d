//! Runs jobs on this server: one attempt after the other, each within its time, its own cancellation and its own panic.

use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use paddock_platform::{
    identity::Caller,
    problem::{NOT_FOUND, Problem},
    tool::{Progress, ToolContext},
};
use serde_json::Value;
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::{
    Job, JobContext, JobFailure, Outcome, Payload,
    core::Core,
    ledger::Ending,
    policy::Queue,
    registry::Apply,
    results,
    running::Stop,
    trace,
    verdict::{Moment, PANIC, TIMEOUT, Verdict},
};

/// One of the server's places: takes jobs until there are no more.
pub(crate) async fn work(core: Arc<Core>, taken: Arc<Mutex<mpsc::Receiver<Arc<Job>>>>) {
    loop {
        let Some(job) = taken.lock().await.recv().await else { return };
        let pool = job.pool().to_owned();
        let ending = attempt(&core, job).await;
        if let Some(ending) = ending
            && let Err(error) = core.ledger.end(ending).await
        {
            tracing::warn!(%error, "the end of an attempt was not taken; its job is tried again");
        }
        core.running.ended(&pool);
        core.supply.place();
    }
}

/// How an attempt went.
enum Went {
    Through(Result<Outcome, JobFailure>),
    Stopped(Stop),
}

/// Runs one attempt; `None` if nobody asks for its end any more.
async fn attempt(core: &Arc<Core>, job: Arc<Job>) -> Option<Ending> {
    let queue = Arc::clone(core.policy().of(&job.queue));
    let (key, number) = (job.id.key(), job.attempt);
    let (progress, watched) = Progress::watched();
    let cancelled = CancellationToken::new();
    let stopped = core.running.enter(&job, watched);
    let span = trace::attempt(&job);
    let stopping = core.tasks.stop_token();
    let timeout = job.timeout(&queue.options);
    let context = JobContext {
        job: Arc::clone(&job),
        deadline: Instant::now() + timeout,
        progress,
        cancelled: cancelled.clone(),
    };
    let run = AssertUnwindSafe(tokio::time::timeout(timeout, execute(core, context))).catch_unwind();
    let went = tokio::select! {
        // Who is done is done, even if somebody asks for the end at the same moment.
        biased;
        went = run.instrument(span.clone()) => Went::Through(match went {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(JobFailure::new(TIMEOUT, format!("did not finish within {}s", timeout.as_secs_f64()))),
            Err(panic) => Err(panicked(&job, panic.as_ref())),
        }),
        Ok(stop) = stopped => {
            cancelled.cancel();
            Went::Stopped(stop)
        }
        () = stopping.cancelled() => Went::Stopped(Stop::Released),
    };
    let ending = match went {
        Went::Stopped(Stop::Cancelled) => Some(Ending::new(job, Verdict::cancelled(), core.now())),
        Went::Stopped(Stop::Released) => Some(released(core, job)),
        Went::Stopped(Stop::LeaseLost) => None,
        Went::Through(Ok(outcome)) => Some(through(core, &queue, job, outcome).await),
        Went::Through(Err(failure)) => {
            trace::failed(&span, &failure);
            Some(failed(core, &queue, job, failure))
        }
    };
    // Only now: its lease is renewed while a large result is kept.
    core.running.leave(key, number);
    ending
}

/// Calls what the job is a call of.
async fn execute(core: &Core, context: JobContext) -> Result<Outcome, JobFailure> {
    let job = Arc::clone(&context.job);
    if let Some(kind) = core.registry.kind(&job.kind) {
        return kind.run(context).await;
    }
    let scope = core.registry.toolbox().and_then(|toolbox| Some((toolbox, toolbox.scope_of(&job.kind)?)));
    let Some((toolbox, scope)) = scope else {
        return Err(Problem::new(NOT_FOUND, format!("this server has no tool `{}`", job.kind)).into());
    };
    let mut call = ToolContext::new(
        // Exactly what the tool needs: whoever enqueued it held that then.
        Caller::on_behalf(job.key_id.clone(), job.tenant.clone(), vec![scope]),
        context.deadline.saturating_duration_since(Instant::now()),
    );
    call.progress = context.progress;
    let output = toolbox.run(call, &job.kind, job.input.value()).await?;
    Ok(Outcome::Done(output.value))
}

fn panicked(job: &Job, panic: &(dyn std::any::Any + Send)) -> JobFailure {
    let message = panic
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    tracing::error!(job.id = %job.id, job.kind = &*job.kind, message, "a job panicked");
    JobFailure::new(PANIC, "the tool panicked; the server's log has the cause under the job's id")
}

/// What becomes of a job whose attempt failed.
pub(crate) fn failed(core: &Core, queue: &Queue, job: Arc<Job>, failure: JobFailure) -> Ending {
    let postponed =
        if failure.retryable { queue.live.budget.ask(queue.options.retry_budget) } else { Duration::ZERO };
    let moment = Moment::by_chance(core.now(), postponed);
    let verdict = Verdict::failed(&job, &queue.options, failure, moment);
    Ending::new(job, verdict, moment.now)
}

/// A job that is given back: another server, or another worker, takes it.
pub(crate) fn released(core: &Core, job: Arc<Job>) -> Ending {
    let now = core.now();
    Ending::new(job, Verdict::released(now), now)
}

async fn through(core: &Arc<Core>, queue: &Queue, job: Arc<Job>, outcome: Outcome) -> Ending {
    let now = core.now();
    match outcome {
        Outcome::Done(result) => succeeded(core, queue, job, &result).await,
        Outcome::Apply(apply) => with(Ending::new(job, Verdict::succeeded(None, None), now), Some(apply)),
        Outcome::Wait(apply) => with(Ending::new(job, Verdict::waiting(now), now), apply),
    }
}

fn with(ending: Ending, apply: Option<Apply>) -> Ending {
    Ending { apply, ..ending }
}

/// Keeps the result where its size belongs.
pub(crate) async fn succeeded(core: &Core, queue: &Queue, job: Arc<Job>, result: &Value) -> Ending {
    let result = Payload::from(result);
    let size = result.len();
    let size_max = core.policy().options.result_max;
    if size as u64 > size_max.get() {
        let failure = JobFailure::new(
            "result-too-large",
            format!("the result has {size} bytes; `jobs.result_max` allows {size_max}"),
        );
        return failed(core, queue, job, failure.permanent());
    }
    if size <= results::IN_STORE_MAX {
        return Ending::new(job, Verdict::succeeded(Some(result), None), core.now());
    }
    match results::keep(core, &job, &result).await {
        Ok(()) => Ending::new(job, Verdict::succeeded(None, Some(size as u64)), core.now()),
        Err(error) => {
            let message = format!("the result could not be kept: {error}");
            failed(core, queue, job, JobFailure::new("result-not-kept", message))
        }
    }
}
