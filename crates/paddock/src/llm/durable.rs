//! Jobs, as the model gateway's durable calls.

use std::time::Duration;

use futures_util::{FutureExt, future::BoxFuture};
use paddock_jobs::{Job, JobId, JobState, Jobs, NewJob, RetryPolicy};
use paddock_platform::{
    durable::{DurableCall, DurableCalls, DurableReceipt, DurableState},
    identity::{Caller, Tenant},
    problem::Problem,
    units::HumanDuration,
};

/// Keeps calls as jobs.
#[derive(Clone, Debug)]
pub(crate) struct DurableJobs(pub(crate) Jobs);

impl DurableCalls for DurableJobs {
    fn submit<'a>(
        &'a self,
        caller: &'a Caller,
        call: DurableCall,
    ) -> BoxFuture<'a, Result<DurableReceipt, Problem>> {
        async move {
            let retry = RetryPolicy { attempts: call.attempts, ..RetryPolicy::default() };
            let job = NewJob {
                timeout: Some(HumanDuration::from(call.timeout)),
                retry: Some(retry),
                unique_key: call.unique_key,
                ..NewJob::tool(call.tool, call.input)
            };
            let accepted = self.0.enqueue(caller, job).await?;
            let id = accepted.id.to_string();
            Ok(DurableReceipt { location: format!("/jobs/{id}"), id })
        }
        .boxed()
    }

    fn state<'a>(
        &'a self,
        tenant: &'a Tenant,
        tool: &'static str,
        id: &'a str,
        wait: Duration,
    ) -> BoxFuture<'a, Result<DurableState, Problem>> {
        async move {
            let unknown = || Problem::not_found("call", id);
            let id: JobId = id.parse().map_err(|_| unknown())?;
            if *self.0.get(tenant, id).await?.kind != *tool {
                return Err(unknown());
            }
            let job = self.0.wait(tenant, id, wait).await?;
            Ok(match job.state {
                JobState::Succeeded => {
                    let result = self.0.result(tenant, id).await?.unwrap_or_default();
                    let result = serde_json::from_slice(&result)
                        .map_err(|error| Problem::internal("reading the result of a job", &error))?;
                    DurableState::Done(result)
                }
                JobState::Cancelled => DurableState::Cancelled,
                state if state.is_final() => failed(&job),
                _ => DurableState::Pending,
            })
        }
        .boxed()
    }
}

/// Why a job ended without a result.
fn failed(job: &Job) -> DurableState {
    let fault = job.error.clone();
    let status = fault.as_ref().and_then(|fault| fault.problem.as_ref()?["status"].as_u64());
    DurableState::Failed {
        status: status.and_then(|status| u16::try_from(status).ok()).unwrap_or(502),
        message: fault.map_or_else(|| "the job failed".to_owned(), |fault| fault.message),
    }
}
