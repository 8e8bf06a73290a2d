//! What every area of Paddock stands on.

pub mod blobs;
pub mod bus;
pub mod cache;
pub mod config;
pub mod durable;
pub mod egress;
pub mod events;
mod field;
pub mod health;
pub mod http;
pub mod identity;
pub mod keys;
pub mod mcp;
pub mod problem;
pub mod seal;
pub mod signal;
pub mod store;
pub mod task;
pub mod telemetry;
pub mod tool;
pub mod units;
