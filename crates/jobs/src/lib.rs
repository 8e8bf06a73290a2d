//! Durable work: what is accepted here is done, once, in its turn, whatever happens in between.
//!
//! ```text
//!            enqueue            claim                  run                      complete
//! caller ─────────────▶ ledger ◀────── dispatcher ──▶ worker (tool, kind) ─────────────▶ ledger ─▶ events, waiters
//!                          │              ▲   ▲   └──▶ external worker over HTTP ──────────┘
//!                          ▼              │   │
//!                        store        fairness, limits
//! ```
//!
//! # The model
//! A **job** is a durable call: of a toolbox tool, of a kind that is compiled in (delivering a webhook, a step of a
//! mission), or of a kind that an *external worker* handles over HTTP ([`Registry`] knows which is which). It waits in a
//! **queue** of its tenant and ends in one of four ways. Every try is an **attempt**; its number is also the fencing
//! token: whoever reports under an attempt that is no longer the current one is told so, and nothing changes.
//!
//! ```text
//!              ┌──────────────── retry, lost lease ───────────────┐
//!              ▼                                                  │
//! scheduled ─▶ queued ─▶ running ─▶ succeeded                     │
//!                          │  │ └──▶ failed (its error says that trying again is useless)
//!                          │  ├────▶ dead (tried as often as it may; redrive brings it back)
//!                          │  └─────────────────────────────────▶ scheduled
//!                          ▼
//!                        waiting (for children or an approval) ─▶ queued, succeeded, failed, cancelled
//! ```
//! Everything that has not ended can be cancelled. What ended is kept for its retention and then answered with 410.
//!
//! # The ledger
//! What is accepted and what ended goes through the ledger: a few tasks per server that take what many callers hand in at
//! the same time, and write it as a few statements over many rows in one transaction. While one transaction is being
//! committed the next one gathers. So one sync serves many jobs on both engines, the cost per job falls with the load,
//! and nobody waits for a batch to fill. What a caller is told was committed before it is told, with the durability
//! that the queue declares. The end of an attempt is kept and tried again while the store is gone: the work was done.
//!
//! # Who runs next
//! One dispatcher per node decides. Ready jobs stand in *lanes*: one per queue, pool (what can run them) and tenant.
//! For each free place it takes a queue by stride scheduling over the weights, then the tenants of that queue in turn,
//! then the job with the highest priority that has waited longest. A lane is only a hint that something may be
//! there: the claim itself is one statement over an ordered partial index (`SKIP LOCKED` on PostgreSQL), so its cost does
//! not depend on how much waits. Hints come from what this node enqueued, from the other nodes over `NOTIFY`, and from a
//! look at the index every few seconds, which costs one seek per lane.
//!
//! An index of ready jobs in memory would save the claim's statement. It would be another truth beside the store's, would
//! have to be filled before a server with a million jobs is up, and could not be had with several servers at all; the claim
//! is a third of the cost of a job, so one mechanism for both engines won. A claim waits for no sync: one that the machine
//! forgets is a job that is still queued, and its attempt never was.
//!
//! **Keys.** Jobs with a `concurrency_key` are counted when they are claimed: one that is over its limit is *held*
//! (told as queued), and let go in the transaction that ends another job of its key. One over its rate gets the next
//! free time slot of its key and is scheduled for it, once. Both cost a blocked job one step, however many are blocked.
//!
//! # Time
//! Leases, retries and start times are by the clock of the store where servers share one, and by the time that passes on
//! each of them in between: no server's own clock takes an attempt away from another. What runs here is never taken for
//! lost, whatever its lease says.
//!
//! # Ids
//! A [`JobId`] is a UUID (version 7) whose random part holds a code over tenant and key under a secret of the database. Nobody can
//! guess one or ask for another tenant's; and an id that is genuine but no longer there must have expired, so that 410
//! and 404 are told apart without keeping anything of the job.
//!
//! # Invariants
//! 1. A job that was accepted is in the store until its retention ends, in exactly one state.
//! 2. At most one attempt of a job is current; only it can end the job or report progress.
//! 3. The number of attempts never falls, and never exceeds the maximum but by a redrive, which starts a new count.
//! 4. A unique key names one job per tenant, while that job is kept.
//! 5. `changes` of a job grows with every event that is told of it.
//! 6. A state that is final changes only by a retry or a redrive that somebody asked for.

pub mod live;
pub mod metrics;
pub mod mission;
pub mod schedule;
pub mod webhook;

mod budget;
mod clock;
mod config;
mod core;
mod dispatch;
mod error;
mod event;
mod health;
mod hear;
mod id;
mod job;
mod ledger;
mod new_job;
mod node;
mod policy;
mod pulse;
mod registry;
mod results;
mod routes;
mod running;
mod service;
mod store;
mod sweep;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod tools;
mod trace;
mod verdict;
mod waiters;
mod worker;

pub use config::{Durability, JobsOptions, QueueOptions};
pub use error::*;
pub use event::{EventKind, JobEvent};
pub use id::{JobId, ParseJobIdError};
pub use job::{Attempt, AttemptOutcome, Fault, Job, JobProgress, JobState, Payload};
pub use new_job::{NewJob, RetryPolicy, Target, Terms};
pub use registry::{
    Applied, Apply, Effects, EndHook, Finish, JobContext, JobFailure, JobKind, Outcome, Registry,
    WebhookCheck,
};
pub use routes::{JobView, STREAM_ROUTES, UNTIMED_ROUTES, routes};
pub use service::{
    Accepted, Beat, BeatAnswer, BeatStatus, ClaimRequest, Completion, Ended, Failure, JobFilter, Jobs,
    PreparedJob, QueueMode, QueueStatus, Redriven, Role, Selection, Settled,
};
pub use tools::tools;
