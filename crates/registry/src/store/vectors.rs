//! Embeddings of what servers say of themselves, by the hash of the text.

use std::collections::HashMap;

use bytes::Bytes;
use paddock_platform::{params, store::StoreError};

use super::{RegistryStore, sql};
use crate::semantic::{Row, TextHash, Vectors};

/// Rows that are read or written at a time.
const ROWS_MAX: usize = 500;

impl RegistryStore {
    /// The vectors of a space, about as many as there may be servers. Those of other spaces are forgotten: no model compares
    /// them.
    pub(crate) async fn load_vectors(
        &self,
        space: &str,
        servers_max: usize,
    ) -> Result<HashMap<TextHash, Row>, StoreError> {
        self.store.execute(&sql::FORGET_OTHER_VECTORS, params![space]).await?;
        let (mut rows, mut after) = (HashMap::new(), String::new());
        while rows.len() < servers_max.saturating_mul(2) {
            let page = self.store.query(&sql::LOAD_VECTORS, params![space, &after, ROWS_MAX as u32]).await?;
            for row in &page {
                let (hash, vector): (String, Bytes) = (row.get("hash")?, row.get("vector")?);
                // What is damaged is embedded again.
                if let (Some(text), Some(vector)) = (hash_of(&hash), Row::from_bytes(&vector)) {
                    rows.insert(text, vector);
                }
                after = hash;
            }
            if page.len() < ROWS_MAX {
                break;
            }
        }
        Ok(rows)
    }

    /// Keeps vectors, in place of those that are there of the same texts.
    pub(crate) async fn keep_vectors(&self, space: &str, rows: &[(TextHash, Row)]) -> Result<(), StoreError> {
        let space = space.to_owned();
        let mut rows: Vec<_> = rows.iter().map(|(text, row)| (name_of(text), row.to_bytes())).collect();
        // Servers that write the same rows at once wait for each other, and not in a circle.
        rows.sort_unstable();
        let write = self.store.write(move |tx| {
            Box::pin(async move {
                for (hash, vector) in rows {
                    tx.execute(&sql::KEEP_VECTOR, params![&space, hash, vector]).await?;
                }
                Ok(())
            })
        });
        write.await
    }

    /// How many vectors of a space there are.
    pub(crate) async fn vectors_count(&self, space: &str) -> Result<usize, StoreError> {
        match self.store.query_first(&sql::COUNT_VECTORS, params![space]).await? {
            Some(row) => row.get(0),
            None => Ok(0),
        }
    }

    /// Keeps these vectors of a space and no others. What is lost half-way is embedded again.
    pub(crate) async fn replace_vectors(&self, space: &str, vectors: &Vectors) -> Result<(), StoreError> {
        self.store.execute(&sql::DELETE_VECTORS, params![space]).await?;
        let mut rows = vectors.rows();
        loop {
            let batch: Vec<_> = rows.by_ref().take(ROWS_MAX).collect();
            if batch.is_empty() {
                return Ok(());
            }
            self.keep_vectors(space, &batch).await?;
        }
    }
}

fn name_of(text: &TextHash) -> String {
    format!("{:032x}", u128::from_be_bytes(*text))
}

fn hash_of(name: &str) -> Option<TextHash> {
    u128::from_str_radix(name, 16).ok().map(u128::to_be_bytes)
}
