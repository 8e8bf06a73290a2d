//! Measures what Paddock promises, on the machine of the person who asks.

pub mod archive;
pub mod compare;
pub mod document;
pub mod gate;
pub mod measurements;
pub mod objectives;
pub mod quantity;
pub mod record;
pub mod report;
pub mod statistics;
pub mod synthetic;
pub mod threshold;
pub mod verdict;
