//! What costs a page its customers: facts, rules and reports.
//!
//! ```text
//! request ─▶ Analyzer ─▶ one capture per screen ─▶ judge ─▶ Finished { report, images } ─▶ Archive
//!                          load, facts, photograph    rules, scores, crops                   store, blobs
//! ```
//!
//! - [`facts`]: what one screen shows of a page, read in one pass inside an isolated world of the page.
//! - [`rules`]: pure functions over facts; each states one flaw, what it costs, and who says so.
//! - [`report`]: the findings ordered, scored, illustrated, and written as HTML, Markdown and JSON.
//! - [`Analyzer`] puts these together on browsers of a fleet; [`Analyses`] keeps what it made and is what the tools call.
//!   A request over HTTP becomes a job that calls the tool.
//!
//! Facts are the ground truth: nothing is claimed that was not measured, and what was not looked at is said.

pub mod facts;
pub mod metrics;
pub mod page_type;
pub mod report;
pub mod rules;

mod analyses;
mod capture;
mod config;
mod error;
mod finding;
mod judge;
mod routes;
mod service;
mod store;
mod tools;

pub use analyses::{Analyses, AnalysisInput};
pub use config::AnalysisOptions;
pub use error::{ANALYSIS_FAILED, AnalysisError, FILE_UNREADABLE, PAGE_HTTP_ERROR, PAGE_UNREADABLE};
pub use finding::*;
pub use routes::routes;
pub use service::{AnalysisRequest, Analyzer, Finished, Progress, Stage, Target, no_progress};
pub use store::{Archive, ArchiveError, ReportSummary};
pub use tools::tools;
