//! Measures what Paddock promises, on the machine of the person who asks.

pub mod document;
pub mod record;
pub mod statistics;
pub mod threshold;
