//! Publishing without a key: whoever proves that a namespace is theirs is given a token that publishes under it for a few
//! minutes, as the official registry does it.
//!
//! A domain's owner signs the time with a key that the domain names, in a TXT record or in a file that it serves; a workflow
//! at GitHub presents what GitHub says of it. What was proven is kept in the store under a fingerprint of the token, so that
//! all servers of a store know it. **A proof is good once**: what others saw of it gives them nothing.

mod config;
mod dns;
mod domain;
mod error;
mod fetch;
mod github;
mod jwt;
mod key;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use metrics::counter;
use paddock_platform::{
    config::Section,
    http::{Authenticate, AuthenticateError, Authenticated, KeyLimits},
    identity::{Caller, CallerProof, Tenant},
    keys::random_bytes,
    units::ByteSize,
};
use tokio::sync::Semaphore;

pub(crate) use self::error::ProofError;
pub use self::{
    config::{ProofMethod, PublishOptions},
    error::{PROOF_REFUSED, PROOF_UNCHECKED},
};
use self::{
    domain::{domain_of, reversed},
    fetch::Fetcher,
    github::Issuer,
};
use crate::{
    metrics::REGISTRY_PROOFS_TOTAL,
    store::{KeptProof, RegistryStore},
};

/// The area that gives out these tokens.
pub(crate) const AREA: &str = "registry";
/// What tokens begin with.
const PREFIX: &str = "pub_";
const TOKEN_BYTES: usize = 24;
/// Whose things are published with a proof: they are nobody's who has a key.
const TENANT: &str = "proven";
/// Proofs that are checked at once.
const CHECKS_MAX: usize = 32;
/// The longest time that is read.
const TIMESTAMP_LENGTH_MAX: usize = 64;
/// The largest document with a domain's keys.
const KEYS_SIZE_MAX: ByteSize = ByteSize::bytes(4 << 10);

/// What somebody presents.
#[derive(Clone, Debug)]
pub(crate) enum Presented {
    /// A time, signed for a domain.
    Signed {
        /// How the domain names its key.
        method: ProofMethod,
        domain: String,
        timestamp: String,
        /// In hexadecimal.
        signature: String,
    },
    /// A token of a workflow.
    Workflow(String),
    /// Nothing.
    Nothing,
}

/// What was proven.
#[derive(Debug)]
struct Proven {
    method: ProofMethod,
    /// Of whom.
    of: String,
    /// Namespaces; `com.example.*` is all below `com.example`.
    names: Vec<String>,
    /// Tells the proof from all others.
    once: String,
    /// Until when it could be presented again.
    until: Timestamp,
}

/// The right to publish.
#[derive(Debug)]
pub(crate) struct Granted {
    pub(crate) token: String,
    pub(crate) expires_at: Timestamp,
}

/// Takes proofs, and knows what was proven by the tokens that it gave for them. Cheap to clone.
#[derive(Clone)]
pub struct Proofs(Arc<Inner>);

struct Inner {
    options: Section<PublishOptions>,
    store: RegistryStore,
    fetcher: Fetcher,
    issuer: Issuer,
    places: Semaphore,
}

impl std::fmt::Debug for Proofs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Proofs")
    }
}

impl Presented {
    const fn method(&self) -> ProofMethod {
        match self {
            Self::Signed { method, .. } => *method,
            Self::Workflow(_) => ProofMethod::GithubOidc,
            Self::Nothing => ProofMethod::None,
        }
    }
}

impl Proofs {
    pub(crate) fn new(options: Section<PublishOptions>, store: RegistryStore) -> Self {
        let fetcher = Fetcher::new(options.clone());
        let (issuer, places) = (Issuer::default(), Semaphore::new(CHECKS_MAX));
        Self(Arc::new(Inner { options, store, fetcher, issuer, places }))
    }

    /// Gives the right to publish for a proof.
    pub(crate) async fn exchange(&self, presented: Presented) -> Result<Granted, ProofError> {
        let method = presented.method();
        let granted = self.check_and_grant(presented).await;
        let outcome = granted.as_ref().map_or_else(ProofError::label, |_| "ok");
        counter!(REGISTRY_PROOFS_TOTAL, "method" => method.as_str(), "outcome" => outcome).increment(1);
        granted
    }

    async fn check_and_grant(&self, presented: Presented) -> Result<Granted, ProofError> {
        let (options, method) = (self.0.options.current(), presented.method());
        if !options.proofs.contains(&method) {
            return Err(ProofError::Off(method));
        }
        let _place = self.0.places.try_acquire().map_err(|_| ProofError::Busy)?;
        let proven = match presented {
            Presented::Signed { domain, timestamp, signature, .. } => {
                self.signed(method, &domain, &timestamp, &signature, &options).await?
            }
            Presented::Workflow(token) => self.0.issuer.prove(&token, &options, &self.0.fetcher).await?,
            Presented::Nothing => nothing()?,
        };
        self.grant(proven, &options).await
    }

    async fn signed(
        &self,
        method: ProofMethod,
        domain: &str,
        timestamp: &str,
        signature: &str,
        options: &PublishOptions,
    ) -> Result<Proven, ProofError> {
        let malformed = |field, detail| ProofError::Malformed { field, detail };
        let domain =
            domain_of(domain).ok_or_else(|| malformed("domain", "is not a domain such as `example.com`"))?;
        let time: Timestamp = Some(timestamp)
            .filter(|text| text.len() <= TIMESTAMP_LENGTH_MAX)
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| malformed("timestamp", "is not a time such as `2026-01-31T12:00:00Z`"))?;
        let skew = options.clock_skew_max.get();
        if Timestamp::now().duration_since(time).unsigned_abs() > skew {
            let detail = format!("the signed time is more than {}s off this server's clock", skew.as_secs());
            return Err(ProofError::Refused(detail));
        }
        let signature = key::signature_of(signature)
            .ok_or_else(|| malformed("signed_timestamp", "is not a signature in hexadecimal"))?;
        let reversed = reversed(&domain);
        let (records, place, names) = if method == ProofMethod::Http {
            let url = options.http_url_of(&domain).map_err(|_| malformed("domain", "leads to no URL"))?;
            let body = self.0.fetcher.get(&url, KEYS_SIZE_MAX, options.timeout.get()).await?;
            let records: Vec<String> = String::from_utf8_lossy(&body).lines().map(str::to_owned).collect();
            // Who serves a domain need not own what is below it.
            (records, format!("`{url}`"), vec![reversed])
        } else {
            let records = dns::texts_of(&domain, options).await?;
            let below = format!("{reversed}.*");
            (records, format!("`{domain}`, in a TXT record"), vec![reversed, below])
        };
        let signer =
            key::signer(&records, &place, timestamp.as_bytes(), &signature).map_err(ProofError::Refused)?;
        // Not the signature: others can write some of them differently. Not the domain: it is not signed.
        let once = blake3::hash(format!("{} {timestamp}", signer.name()).as_bytes()).to_hex().to_string();
        let until = time.checked_add(skew).unwrap_or(Timestamp::MAX);
        Ok(Proven { method, of: domain, names, once, until })
    }

    async fn grant(&self, proven: Proven, options: &PublishOptions) -> Result<Granted, ProofError> {
        let token = random_token().ok_or(ProofError::Random)?;
        let now = Timestamp::now();
        let expires_at = now.checked_add(options.token_lifetime.get()).unwrap_or(Timestamp::MAX);
        let subject = format!("{}:{}", proven.method, proven.of);
        let proof = KeptProof { subject, names: proven.names, expires_at };
        let kept_until = expires_at.max(proven.until);
        let is_kept = self.0.store.keep_proof(&token, &proven.once, &proof, kept_until).await?;
        match is_kept {
            None => Err(ProofError::Busy),
            Some(false) => Err(ProofError::Refused("this proof was used already; make a new one".to_owned())),
            Some(true) => {
                tracing::info!(registry.proof = proof.subject, "the right to publish was given for a proof");
                Ok(Granted { token, expires_at })
            }
        }
    }

    async fn check(&self, token: &str) -> Result<Authenticated, AuthenticateError> {
        let kept = self.0.store.proof(token).await;
        let kept = kept.map_err(|error| AuthenticateError::Unavailable(Box::new(error)))?;
        let kept =
            kept.filter(|kept| kept.expires_at > Timestamp::now()).ok_or(AuthenticateError::Refused)?;
        let tenant = TENANT.parse::<Tenant>();
        let tenant = tenant.map_err(|error| AuthenticateError::Unavailable(Box::new(error)))?;
        let proof = CallerProof { area: AREA, names: kept.names };
        let caller = Caller::with_proof(kept.subject, tenant, proof);
        Ok(Authenticated { caller, limits: KeyLimits::default() })
    }
}

impl Authenticate for Proofs {
    fn authenticate<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Authenticated, AuthenticateError>> {
        Box::pin(self.check(token))
    }

    fn has_form_of_key(&self, token: &str) -> bool {
        token.starts_with(PREFIX)
    }
}

/// What is proven by nothing.
fn nothing() -> Result<Proven, ProofError> {
    let names = vec![PublishOptions::anonymous_namespace().to_owned()];
    let once = random_token().ok_or(ProofError::Random)?;
    let (method, until) = (ProofMethod::None, Timestamp::now());
    Ok(Proven { method, of: "anybody".to_owned(), names, once, until })
}

fn random_token() -> Option<String> {
    let bytes = random_bytes::<TOKEN_BYTES>()?;
    Some(bytes.iter().fold(PREFIX.to_owned(), |token, byte| format!("{token}{byte:02x}")))
}
