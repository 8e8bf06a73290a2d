//! The area's tools: the same calls as its routes, for agents that hand over work and look after it.

use std::time::Duration;

use paddock_platform::{identity::Scope, problem::Problem, tool::Tool};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    JobFilter, JobState, JobView, Jobs, NewJob, QueueStatus,
    routes::{parse_id, refuse_internal},
};

/// How many jobs `jobs_list` gives.
const LIST_LIMIT: u32 = 50;
/// The longest wait for a job.
const WAIT_MAX: Duration = Duration::from_mins(2);

/// Which job.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Which {
    /// The job's id.
    id: String,
}

/// Which job, and how long to wait for it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Look {
    /// The job's id.
    id: String,
    /// Seconds to wait for its end, 120 at most.
    #[serde(default)]
    wait: Option<f64>,
}

/// Which jobs.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Filter {
    /// In this state.
    #[serde(default)]
    state: Option<JobState>,
    /// In this queue.
    #[serde(default)]
    queue: Option<String>,
    /// Of this tool or kind.
    #[serde(default)]
    kind: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Serialize, JsonSchema)]
struct JobList {
    /// The newest first, 50 at most.
    jobs: Vec<JobView>,
}

#[derive(Serialize, JsonSchema)]
struct QueueList {
    /// The heaviest first.
    queues: Vec<QueueStatus>,
}

/// The tools of this area.
pub fn tools(jobs: &Jobs) -> Vec<Tool> {
    vec![enqueue(jobs), get(jobs), list(jobs), cancel(jobs), retry(jobs), queues(jobs)]
}

fn enqueue(jobs: &Jobs) -> Tool {
    let jobs = jobs.clone();
    Tool::new(
        "jobs_enqueue",
        "Hands over a tool call to be done durably in the background: it survives restarts and is tried again if it \
         fails. Answers at once with the job's id; `jobs_get` tells how it went.",
        Scope::write("jobs"),
        move |context, input: NewJob| {
            let jobs = jobs.clone();
            async move {
                refuse_internal(&input)?;
                let accepted = jobs.enqueue(&context.caller, input).await?;
                let job = jobs.accepted(&context.caller, accepted).await?;
                Ok::<JobView, Problem>(jobs.view(&job))
            }
        },
    )
}

fn get(jobs: &Jobs) -> Tool {
    let jobs = jobs.clone();
    Tool::new(
        "jobs_get",
        "Shows a job: where it stands, how far it is, what it came to. Can wait for its end.",
        Scope::read("jobs"),
        move |context, input: Look| {
            let jobs = jobs.clone();
            async move {
                let id = parse_id(&input.id)?;
                let wait = Duration::try_from_secs_f64(input.wait.unwrap_or(0.0))
                    .map_err(|_| Problem::invalid_field("wait", "must be a number of seconds"))?;
                let job = jobs.wait(context.caller.tenant(), id, wait.min(WAIT_MAX)).await?;
                Ok::<JobView, Problem>(jobs.view(&job))
            }
        },
    )
}

fn list(jobs: &Jobs) -> Tool {
    let jobs = jobs.clone();
    Tool::new(
        "jobs_list",
        "Lists jobs, the newest first, by state, queue or tool.",
        Scope::read("jobs"),
        move |context, input: Filter| {
            let jobs = jobs.clone();
            async move {
                let filter = JobFilter { state: input.state, queue: input.queue, kind: input.kind };
                let found = jobs.list(context.caller.tenant(), &filter, None, LIST_LIMIT).await?;
                Ok::<JobList, Problem>(JobList { jobs: found.iter().map(|job| jobs.brief(job)).collect() })
            }
        },
    )
}

fn cancel(jobs: &Jobs) -> Tool {
    let jobs = jobs.clone();
    Tool::new(
        "jobs_cancel",
        "Cancels a job that has not ended; one that runs ends shortly after.",
        Scope::write("jobs"),
        move |context, input: Which| {
            let jobs = jobs.clone();
            async move {
                let job = jobs.cancel(context.caller.tenant(), parse_id(&input.id)?).await?;
                Ok::<JobView, Problem>(jobs.view(&job))
            }
        },
    )
    .destructive()
}

fn retry(jobs: &Jobs) -> Tool {
    let jobs = jobs.clone();
    Tool::new(
        "jobs_retry",
        "Runs a job once more that failed, died or was cancelled, with a new count of attempts.",
        Scope::write("jobs"),
        move |context, input: Which| {
            let jobs = jobs.clone();
            async move {
                let job = jobs.retry(context.caller.tenant(), parse_id(&input.id)?).await?;
                Ok::<JobView, Problem>(jobs.view(&job))
            }
        },
    )
}

fn queues(jobs: &Jobs) -> Tool {
    let jobs = jobs.clone();
    Tool::new(
        "jobs_queues",
        "Shows the queues: how much waits, runs and died in each, and how long the oldest job has waited.",
        Scope::read("jobs"),
        move |context, _: Nothing| {
            let jobs = jobs.clone();
            async move {
                let queues = jobs.queues(Some(context.caller.tenant())).await?;
                Ok::<QueueList, Problem>(QueueList { queues })
            }
        },
    )
}
