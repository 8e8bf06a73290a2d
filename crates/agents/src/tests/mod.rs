//! The runtime as a whole, over both stores where they matter.

mod contract;
mod deploying;
mod durable;
mod http;
mod routing;
mod supervising;
mod support;
