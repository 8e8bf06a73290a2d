//! Missions: graphs of jobs that survive anything that a job survives.
//!
//! A **definition** is a graph of steps in YAML or JSON, stored under a name and a version, checked before it is stored,
//! and never changed. A **mission** runs one. Each **step** is a job: a call of a tool, work of a kind, or another mission;
//! or it is an approval, which a person decides.
//!
//! ```text
//! POST /missions ─▶ Missions ─▶ a job `mission:run` and a row ─▶ (its turn) ─▶ machine: the first steps ─▶ jobs
//!                                                                                ▲                         │
//!                                                                                └── in the transaction ◀──┘
//!                                                                                    of each job's end
//! ```
//! - [`machine`] says what follows from what happened. It is pure, and tried with random graphs and random courses.
//! - [`plan`] is a definition that was checked; [`expression`] is how steps refer to what was before them.
//! - [`engine`] carries out what the machine says, in the same transaction as what it was told.
//! - [`Missions`] is what routes, tools and commands call. A mission is itself a job: its id is the job's, and waiting for
//!   it, its webhook, its retention and its place in a queue are those of jobs.
//!
//! # Invariants
//! 1. A mission advances in the transaction that ends one of its jobs, or not at all.
//! 2. A run of a step succeeds at most once in a generation of its mission.
//! 3. Of a mission that fails or is cancelled, what is done and can be undone is undone before it ends.
//! 4. What a mission runs is what was stored under its definition's version, whatever was stored since.

pub mod metrics;

mod clock;
mod config;
mod definition;
mod engine;
mod error;
mod expression;
mod graph;
mod machine;
mod plan;
mod read;
mod routes;
mod service;
mod store;
mod tools;
mod view;
mod watch;

pub use config::MissionOptions;
pub use definition::{Approval, CompensateWhen, Compensation, Definition, Join, OnDeadline, OnError, Step};
pub use error::{Flaw, MISSION_INPUTS, MISSION_INVALID, MISSION_STATE, MISSIONS_FULL, MissionError};
pub use machine::Phase;
pub use read::{Format, read};
pub use routes::{STREAM_ROUTES, UNTIMED_ROUTES, routes};
pub use service::{Decision, Missions, StartMission};
pub use tools::tools;
pub use view::{
    ApprovalView, CompensationView, DefinitionView, ItemCounts, MissionBrief, MissionFault, MissionView,
    RunView, StepView, StoredDefinition,
};

pub(crate) use engine::NewMission;
use service::cancel;
pub(crate) use service::{insisting, prepare as prepare_mission};
