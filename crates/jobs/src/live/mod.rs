//! What happens to jobs, live: events of one job, of a queue, and the topics `jobs.states` and `jobs.progress` of the
//! server's feed.
//!
//! The queue tells everything that it commits to whoever [subscribes](crate::Jobs::subscribe). Here that becomes what
//! clients read. Nobody subscribes while nobody watches: then events cost nothing.

mod bridge;
mod follow;
mod routes;

pub use bridge::publish;
pub use routes::routes;

#[cfg(test)]
mod tests;
