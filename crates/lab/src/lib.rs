//! Measures what Paddock promises, on the machine of the person who asks.
//!
//! # The model
//! A **scenario** says what to start, what load to offer, and what has to hold. Running it offers the load through
//! **drivers** (HTTP, event streams, WebSocket, commands, closures), watches the **resources** of the processes it
//! started, and yields one [`record::RunRecord`]. Verdicts, comparisons and reports are computed from records alone.
//!
//! # Truth in latency
//! A load is *open* unless users are asked for: operations come due at the times of a [`schedule`], computed ahead and
//! never moved by a slow target. The [`pacer`] releases each at its time, and latency counts from that time. A target
//! that stands still for two seconds therefore shows two seconds of latency for everything that was due meanwhile, as
//! its users would have felt; a generator that waits for answers would have shown one slow request. What the generator
//! itself was late is recorded beside it as *lag*, and a run with too much of it, or on a machine that was busy with
//! something else, is marked invalid with the measured reason.
//!
//! # Where things are
//! - [`schedule`], [`pacer`], [`engine`], [`histogram`]: offering a load and measuring it.
//! - [`driver`]: protocols, one file each.
//! - [`scenario`], [`variables`], [`run`]: files, and carrying them out, set-up and tear-down included.
//! - [`resources`]: process trees over time, the machine's description, leaks.
//! - [`progress`]: the live view on the terminal.
//! - [`record`], [`threshold`], [`document`]: what a run leaves behind, and the shape of what judges it.
//! - [`objectives`], [`verdict`], [`standing`]: what is promised, and what runs say about it.
//! - [`archive`], [`subject`], [`measurements`]: stored runs and baselines, and results of other tools.
//! - [`compare`], [`gate`], [`ab`], [`statistics`]: whether something changed, and how sure that is.
//! - [`report`], [`benchmarks_page`]: results for people and programs.
//! - [`selftest`], [`fixture`], [`synthetic`]: the lab against data and programs with a known answer.
//! - [`tier`]: how much is measured when.
//!
//! The lab is a client: it knows the areas of Paddock only through their public interfaces.

pub mod ab;
pub mod archive;
pub mod benchmarks_page;
pub mod compare;
pub mod document;
pub mod driver;
pub mod engine;
pub mod fixture;
pub mod gate;
pub mod histogram;
pub mod measurements;
pub mod objectives;
pub mod pacer;
pub mod progress;
pub mod quantity;
mod random;
pub mod record;
pub mod report;
pub mod resources;
pub mod run;
pub mod scenario;
pub mod schedule;
pub mod selftest;
pub mod standing;
pub mod statistics;
pub mod subject;
pub mod synthetic;
pub mod text;
pub mod threshold;
pub mod tier;
pub mod variables;
pub mod verdict;
