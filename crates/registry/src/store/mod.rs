//! What the registry keeps: the last good content of every source, how its syncs went, what was published, who may and
//! has proven it, what was embedded, and who did what.
//!
//! Content is kept in 256 parts per source, by the names of the servers, compressed; a sync writes the parts that it
//! changed. Reads of the API never come here: they are answered from memory.

mod audit;
mod calls;
mod content;
mod managed;
mod proofs;
mod sources;
mod sql;
mod vectors;

use paddock_platform::store::{Store, StoreError};

pub use audit::AuditRecord;
pub(crate) use content::Kept;
pub(crate) use managed::{Publication, Published, Publishing};
pub(crate) use proofs::KeptProof;
pub(crate) use sources::{Mark, Remembered, Stamp};
pub use sources::{SyncOutcome, SyncRecord};

/// The registry's part of the store. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct RegistryStore {
    store: Store,
}

impl RegistryStore {
    /// Migrates the schema.
    pub(crate) async fn open(store: Store) -> Result<Self, StoreError> {
        store.migrate(&sql::MIGRATIONS).await?;
        Ok(Self { store })
    }
}

#[cfg(test)]
mod tests;
