//! Calls of other servers' tools, in the log of who did what.

use jiff::Timestamp;
use paddock_platform::{params, store::StoreError};

use super::{AuditRecord, RegistryStore, audit::KEPT_FOR, sql};

impl RegistryStore {
    /// Writes calls into the log, together.
    pub(crate) async fn audit_calls(&self, records: Vec<AuditRecord>) -> Result<(), StoreError> {
        let write = self.store.write(move |tx| {
            Box::pin(async move {
                for record in records {
                    let AuditRecord { id, at, tenant, key, event, target, detail } = record;
                    let params = params![id, at, tenant, key, event, target, detail.to_string()];
                    tx.execute(&sql::ADD_AUDIT, params).await?;
                }
                tx.execute(&sql::PRUNE_AUDIT, params![Timestamp::now() - KEPT_FOR]).await.map(|_| ())
            })
        });
        write.await
    }
}
