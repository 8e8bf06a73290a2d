//! What benchmarks and fuzz targets reach into; no part of the API, and only there with the feature `internals`.

mod fuzz;
#[cfg(test)]
mod mutate;
mod route;

pub use fuzz::{relay_stream, split_events, translate_bodies};
pub use route::Decider;
