//! The runtime as a whole, over both stores where they matter.

mod a2a;
mod checkpoints;
mod contract;
mod deploying;
mod durable;
mod http;
mod later;
mod nodes;
mod ordering;
mod remote;
mod routing;
mod sharing;
mod supervising;
mod support;
mod surplus;
mod talking;
mod versions;
