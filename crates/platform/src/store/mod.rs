//! The store: everything durable that is not a blob, over SQLite or PostgreSQL.
//!
//! A [`Store`] is opened from [`StoreOptions`] and is cheap to clone. Nothing above this module knows which engine is
//! behind it:
//!
//! * A [`Statement`] is a named piece of SQL, declared as a `static` beside the code that runs it. It is written once
//!   in the dialect that both engines share, with a second text for PostgreSQL only where it must differ. Its area and
//!   name label `store_query_duration_seconds` and the slow-query log; its parameters appear nowhere.
//! * [`Store::query`] reads, [`Store::execute`] changes with one statement, [`Store::write`] runs a [`Transaction`].
//!   All of a transaction is kept, or nothing. Once it is acknowledged, it survives `kill -9` and loss of power.
//! * [`Migrations`] are an area's versioned steps to the schema its code expects.
//!
//! **SQLite** has one writer thread that takes what has queued up and commits it together: many callers share one
//! `fsync`. Each caller still has its own savepoint, so one that fails takes nobody with it. Readers have their own
//! connections and never wait for the writer (WAL). **PostgreSQL** has a pool of connections.
//!
//! # What both engines agree on
//! Times are `BIGINT` milliseconds since 1970, flags `BOOLEAN`, ids and JSON `TEXT`, bytes `BLOB` (`BYTEA`).
//! A statement that fails ends its transaction: what was a `catch` elsewhere is `ON CONFLICT` here. SQLite runs one
//! transaction after the other; PostgreSQL runs them side by side and isolates them as *read committed*: a transaction
//! that decides by what it read must lock it (`FOR UPDATE` in the PostgreSQL text) or decide in the statement that
//! writes.

mod durability;
mod error;
mod handle;
pub mod metrics;
mod migration;
mod options;
mod postgres;
mod sqlite;
mod statement;
#[doc(hidden)]
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod transaction;
mod value;

pub use durability::Durability;
pub(crate) use error::RETRY_AFTER_FULL;
pub use error::{ConstraintKind, STORAGE_FULL, STORE_UNAVAILABLE, StoreError};
pub use handle::Store;
pub use migration::{Migration, MigrationError, Migrations};
pub use options::{ParseStoreUrlError, StoreOptions, StoreUrl};
pub use statement::Statement;
pub use transaction::Transaction;
pub use value::{ColumnIndex, FromValue, Params, Row, Value};

pub use crate::params;

/// The most rows that one query may return; a list asks for pages.
pub const ROWS_MAX: usize = 100_000;

#[cfg(test)]
mod tests;
