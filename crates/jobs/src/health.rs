//! Whether the jobs do as they should: what an operator has to look at.

use paddock_platform::{health::Finding, problem::error_chain};

use crate::{core::Core, service::queues};

/// Looks at all queues of all tenants.
pub(crate) async fn look(core: &Core) -> Finding {
    let statuses = match queues(core, None).await {
        Ok(statuses) => statuses,
        Err(error) => {
            return Finding::failed(error_chain(&error), "jobs are kept in the store: see its check");
        }
    };
    let policy = core.policy();
    let (dead_alert, latency_alert) =
        (policy.options.dead_alert.max(1), policy.options.latency_alert.get().as_secs_f64());
    let mut troubles = Vec::new();
    let mut advice = None;
    for queue in &statuses {
        if queue.dead >= dead_alert {
            troubles.push(format!("{} dead in `{}`", queue.dead, queue.name));
            advice = Some(
                "`paddock jobs list --state dead` shows why; `paddock jobs retry --all` tries them again",
            );
        }
        if queue.oldest_ready_seconds > latency_alert && queue.mode != crate::QueueMode::Paused {
            troubles
                .push(format!("the oldest of `{}` waits for {:.0}s", queue.name, queue.oldest_ready_seconds));
            let more = "raise `jobs.concurrency`, start another server with `--roles jobs`, or see that the external \
                        workers of its kinds run";
            advice = advice.or(Some(more));
        }
    }
    let sum = |of: fn(&crate::QueueStatus) -> u64| statuses.iter().map(of).sum::<u64>();
    let (queued, running) = (sum(|queue| queue.queued), sum(|queue| queue.running));
    let summary = format!("{queued} queued, {running} running");
    match advice {
        Some(advice) => Finding::degraded(format!("{summary}; {}", troubles.join(", ")), advice),
        None => Finding::ok(summary),
    }
}
