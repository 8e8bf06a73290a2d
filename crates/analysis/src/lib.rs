//! What costs a page its customers: facts, rules and reports.

pub mod facts;
mod finding;
pub mod page_type;
pub mod rules;

pub use finding::*;
