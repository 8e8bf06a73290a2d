//! What the job queue promises, on both stores.

mod accepting;
mod alerts;
mod counting;
mod external;
mod fairness;
mod keys;
mod model;
mod plans;
mod restarts;
mod running;
mod steering;
mod support;
mod transactions;
