//! What is published here, and who owns which namespace.

use bytes::Bytes;
use jiff::Timestamp;
use paddock_platform::{
    identity::{Caller, Tenant},
    params,
    store::{Row, StoreError},
};
use serde::{Deserialize, Serialize};

use super::{RegistryStore, sql};
use crate::{claims::Claims, entry::Status};

/// A version that was published here.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_field_names, reason = "the field's word is that of the API")]
pub(crate) struct Published {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) server: Bytes,
    pub(crate) status: Status,
    pub(crate) status_message: Option<String>,
    pub(crate) status_changed_at: Timestamp,
    pub(crate) published_at: Timestamp,
    pub(crate) changed_at: Timestamp,
    pub(crate) claims: Claims,
}

/// What an administrator made over the API.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    /// `source` or `view`.
    pub(crate) kind: String,
    pub(crate) options: String,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

/// How publishing ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Publishing {
    Published,
    /// The version is there already.
    Exists,
    /// The namespace is another tenant's.
    NotOwned,
    /// The other versions ask for other claims.
    ClaimsDiffer,
}

/// What is to be published.
#[derive(Clone, Debug)]
pub(crate) struct Publication {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) server: Vec<u8>,
    pub(crate) claims: Claims,
    /// Take the namespace if nobody has it, and refuse if another tenant does.
    pub(crate) takes_namespace: bool,
}

impl RegistryStore {
    /// Publishes a version: all of it is kept, or nothing.
    pub(crate) async fn publish(
        &self,
        publication: Publication,
        caller: &Caller,
    ) -> Result<Publishing, StoreError> {
        let Publication { name, version, server, claims, takes_namespace } = publication;
        let namespace = name.split('/').next().unwrap_or_default().to_owned();
        let (tenant, key) = (caller.tenant().clone(), caller.key_id().map(str::to_owned));
        let claims = serde_json::to_string(&claims).unwrap_or_default();
        let write = self.store.write(move |tx| {
            Box::pin(async move {
                let now = Timestamp::now();
                if takes_namespace {
                    tx.execute(&sql::TAKE_NAMESPACE, params![&namespace, &tenant, key, now]).await?;
                    let row = tx.query_first(&sql::FIND_NAMESPACE, params![&namespace]).await?;
                    let owner: Option<String> = row.map(|row| row.get("tenant")).transpose()?;
                    if owner.as_deref() != Some(tenant.as_str()) {
                        tx.roll_back();
                        return Ok(Publishing::NotOwned);
                    }
                }
                let row = tx.query_first(&sql::CLAIMS_OF_NAME, params![&name]).await?;
                let others: Option<String> = row.map(|row| row.get("claims")).transpose()?;
                if others.is_some_and(|others| others != claims) {
                    tx.roll_back();
                    return Ok(Publishing::ClaimsDiffer);
                }
                let params = params![&name, &version, server, now, claims, &tenant];
                match tx.execute(&sql::PUBLISH, params).await? {
                    0 => Ok(Publishing::Exists),
                    _ => Ok(Publishing::Published),
                }
            })
        });
        write.await
    }

    /// Whose a namespace is; nobody's until something is published under it.
    pub(crate) async fn namespace_owner(&self, namespace: &str) -> Result<Option<Tenant>, StoreError> {
        let row = self.store.query_first(&sql::FIND_NAMESPACE, params![namespace]).await?;
        let owner: Option<String> = row.map(|row| row.get("tenant")).transpose()?;
        Ok(owner.and_then(|owner| owner.parse().ok()))
    }

    /// Whether a namespace is another tenant's, in whatever case the other wrote it.
    pub(crate) async fn is_namespace_of_others(
        &self,
        namespace: &str,
        tenant: &Tenant,
    ) -> Result<bool, StoreError> {
        let params = params![namespace.to_ascii_lowercase(), tenant];
        Ok(self.store.query_first(&sql::FIND_OTHER_OWNER, params).await?.is_some())
    }

    /// A version that was published here.
    pub(crate) async fn published(&self, name: &str, version: &str) -> Result<Option<Published>, StoreError> {
        let row = self.store.query_first(&sql::FIND_PUBLISHED, params![name, version]).await?;
        row.as_ref().map(Published::from_row).transpose()
    }

    /// Replaces what a version says; whether there is such a version.
    pub(crate) async fn edit(&self, name: &str, version: &str, server: Vec<u8>) -> Result<bool, StoreError> {
        let params = params![name, version, server, Timestamp::now()];
        Ok(self.store.execute(&sql::EDIT, params).await? > 0)
    }

    /// Sets the status of a version, or of all; how many versions there are.
    pub(crate) async fn set_status(
        &self,
        name: &str,
        version: Option<&str>,
        status: Status,
        message: Option<String>,
    ) -> Result<u64, StoreError> {
        let now = Timestamp::now();
        match version {
            Some(version) => {
                let params = params![name, version, status.as_str(), message, now];
                self.store.execute(&sql::SET_STATUS, params).await
            }
            None => {
                self.store
                    .execute(&sql::SET_STATUS_OF_ALL, params![name, status.as_str(), message, now])
                    .await
            }
        }
    }

    /// Sets what all versions of a server ask for; how many there are.
    pub(crate) async fn set_claims(&self, name: &str, claims: &Claims) -> Result<u64, StoreError> {
        let claims = serde_json::to_string(claims).unwrap_or_default();
        self.store.execute(&sql::SET_CLAIMS, params![name, claims, Timestamp::now()]).await
    }

    /// What was published or changed at this time or later, the oldest first, at most `limit`.
    pub(crate) async fn changed_since(
        &self,
        since_ms: i64,
        limit: u32,
    ) -> Result<Vec<Published>, StoreError> {
        let rows = self.store.query(&sql::CHANGED_SINCE, params![since_ms, limit]).await?;
        rows.iter().map(Published::from_row).collect()
    }

    /// What administrators made over the API.
    pub(crate) async fn made(&self) -> Result<Vec<Made>, StoreError> {
        let rows = self.store.query(&sql::LIST_ADMIN, params![]).await?;
        let of_row = |row: &Row| {
            Ok(Made {
                kind: row.get("kind")?,
                options: row.get("options")?,
                created_at: row.get("created_ms")?,
                updated_at: row.get("updated_ms")?,
            })
        };
        rows.iter().map(of_row).collect()
    }

    /// Keeps what an administrator made.
    pub(crate) async fn make(&self, kind: &str, name: &str, options: String) -> Result<(), StoreError> {
        let params = params![kind, name, options, Timestamp::now()];
        self.store.execute(&sql::SAVE_ADMIN, params).await.map(|_| ())
    }

    /// Forgets what an administrator made; whether there was such a thing.
    pub(crate) async fn unmake(&self, kind: &str, name: &str) -> Result<bool, StoreError> {
        Ok(self.store.execute(&sql::DELETE_ADMIN, params![kind, name]).await? > 0)
    }
}

impl Published {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        let (status, claims): (String, String) = (row.get("status")?, row.get("claims")?);
        Ok(Self {
            name: row.get("name")?,
            version: row.get("version")?,
            server: row.get("server")?,
            status: match status.as_str() {
                "deprecated" => Status::Deprecated,
                "deleted" => Status::Deleted,
                _ => Status::Active,
            },
            status_message: row.get("status_message")?,
            status_changed_at: row.get("status_changed_ms")?,
            published_at: row.get("published_ms")?,
            changed_at: row.get("changed_ms")?,
            claims: serde_json::from_str(&claims).unwrap_or_default(),
        })
    }
}
