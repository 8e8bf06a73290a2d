//! What costs a page its customers: facts, rules and reports.

mod finding;
pub mod report;

pub use finding::*;
