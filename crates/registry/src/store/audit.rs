//! Who changed what.

use std::time::Duration;

use jiff::Timestamp;
use paddock_platform::{
    identity::Caller,
    params,
    store::{Row, StoreError},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{RegistryStore, sql};

/// How long the log goes back.
pub(super) const KEPT_FOR: Duration = Duration::from_hours(24 * 365);

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct AuditRecord {
    /// Its id.
    pub id: String,
    /// When it was made.
    #[schemars(with = "String")]
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// By which tenant.
    pub tenant: String,
    /// With which key; none on this machine without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What was done, for example `entry.publish`.
    pub event: String,
    /// To what, for example `com.example/weather@1.0.0`.
    pub target: String,
    /// More about it.
    pub detail: Value,
}

impl RegistryStore {
    /// Writes a change into the log.
    pub(crate) async fn audit(
        &self,
        caller: &Caller,
        event: &'static str,
        target: &str,
        detail: Value,
    ) -> Result<(), StoreError> {
        let now = Timestamp::now();
        let id = uuid::Uuid::now_v7().simple().to_string();
        let (tenant, key) = (caller.tenant().clone(), caller.key_id().map(str::to_owned));
        tracing::info!(registry.event = event, registry.target = target, key.id = key, "registry changed");
        let target = target.to_owned();
        let write = self.store.write(move |tx| {
            Box::pin(async move {
                let params = params![id, now, &tenant, key, event, target, detail.to_string()];
                tx.execute(&sql::ADD_AUDIT, params).await?;
                tx.execute(&sql::PRUNE_AUDIT, params![now - KEPT_FOR]).await.map(|_| ())
            })
        });
        write.await
    }

    /// The log, the newest first, after the record of this time and id.
    pub(crate) async fn audit_log(
        &self,
        after: Option<(i64, String)>,
        limit: u32,
    ) -> Result<Vec<AuditRecord>, StoreError> {
        let (at_ms, id) = after.unwrap_or((i64::MAX, String::new()));
        let rows = self.store.query(&sql::LIST_AUDIT, params![at_ms, id, limit]).await?;
        let of_row = |row: &Row| {
            let detail: String = row.get("detail")?;
            Ok(AuditRecord {
                id: row.get("id")?,
                at: row.get("at_ms")?,
                tenant: row.get("tenant")?,
                key: row.get("key_id")?,
                event: row.get("event")?,
                target: row.get("target")?,
                detail: serde_json::from_str(&detail).unwrap_or_default(),
            })
        };
        rows.iter().map(of_row).collect()
    }
}
