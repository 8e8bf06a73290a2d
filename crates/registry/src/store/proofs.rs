//! What was proven by those who publish without a key, for as long as it gives them the right to.

use jiff::Timestamp;
use paddock_platform::{keys::fingerprint, params, store::StoreError};

use super::{RegistryStore, sql};

/// How many proofs hold at once; further ones wait until some have expired.
const PROOFS_MAX: usize = 10_000;
/// How many of one subject, so that nobody takes the places of all others.
const PROOFS_PER_SUBJECT_MAX: usize = 100;

/// What was proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeptProof {
    /// How and by whom.
    pub(crate) subject: String,
    /// Which namespaces are theirs.
    pub(crate) names: Vec<String>,
    pub(crate) expires_at: Timestamp,
}

impl RegistryStore {
    /// Keeps what was proven under its token, of which only a fingerprint is written. False if the same proof was presented
    /// before; none if as many hold as may, altogether or of the subject.
    pub(crate) async fn keep_proof(
        &self,
        token: &str,
        once: &str,
        proof: &KeptProof,
        kept_until: Timestamp,
    ) -> Result<Option<bool>, StoreError> {
        let (token, once, KeptProof { subject, names, expires_at }) =
            (name_of(token), once.to_owned(), proof.clone());
        let names = serde_json::to_string(&names).unwrap_or_default();
        let write = self.store.write(move |tx| {
            Box::pin(async move {
                tx.execute(&sql::PRUNE_PROOFS, params![Timestamp::now()]).await?;
                let row = tx.query_first(&sql::COUNT_PROOFS, params![&subject]).await?;
                let (count, own): (usize, usize) = match row {
                    Some(row) => (row.get(0)?, row.get(1)?),
                    None => (0, 0),
                };
                if count >= PROOFS_MAX || own >= PROOFS_PER_SUBJECT_MAX {
                    return Ok(None);
                }
                let params = params![token, once, subject, names, expires_at, kept_until];
                Ok(Some(tx.execute(&sql::ADD_PROOF, params).await? > 0))
            })
        });
        write.await
    }

    /// What was proven by whoever presents a token, also when it no longer holds.
    pub(crate) async fn proof(&self, token: &str) -> Result<Option<KeptProof>, StoreError> {
        let row = self.store.query_first(&sql::FIND_PROOF, params![name_of(token)]).await?;
        let Some(row) = row else { return Ok(None) };
        let names: String = row.get("names")?;
        Ok(Some(KeptProof {
            subject: row.get("subject")?,
            // What cannot be read proves nothing.
            names: serde_json::from_str(&names).unwrap_or_default(),
            expires_at: row.get("expires_ms")?,
        }))
    }
}

fn name_of(token: &str) -> String {
    blake3::Hash::from_bytes(fingerprint(token)).to_hex().to_string()
}
