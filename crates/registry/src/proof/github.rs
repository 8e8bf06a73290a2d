//! Tokens of workflows that run at GitHub: whoever owns a repository owns `io.github.OWNER`.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use paddock_platform::units::ByteSize;
use serde::Deserialize;
use tokio::sync::Mutex;
use url::Url;

use super::{
    ProofMethod, Proven,
    config::PublishOptions,
    error::ProofError,
    fetch::Fetcher,
    jwt::{Jwk, Token},
};

/// How long keys of the issuer are believed without asking again.
const KEYS_KEPT_FOR: Duration = Duration::from_hours(1);
/// How often they are asked for because a token names one that is not known: anybody can name any.
const KEYS_ASKED_EVERY: Duration = Duration::from_secs(10);
const KEYS_SIZE_MAX: ByteSize = ByteSize::bytes(256 << 10);
/// The longest name of an owner; those that companies manage have a suffix.
const OWNER_LENGTH_MAX: usize = 64;

/// The issuer's keys, as they were fetched last.
#[derive(Default)]
pub(super) struct Issuer(Mutex<State>);

#[derive(Default)]
struct State {
    known: Option<Known>,
    /// When fetching them failed last.
    failed: Option<Instant>,
}

struct Known {
    url: Url,
    keys: Vec<Jwk>,
    fetched: Instant,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Jwk>,
}

impl Issuer {
    /// What a token proves.
    pub(super) async fn prove(
        &self,
        token: &str,
        options: &PublishOptions,
        fetcher: &Fetcher,
    ) -> Result<Proven, ProofError> {
        let malformed = |detail| ProofError::Malformed { field: "oidc_token", detail };
        let token = Token::parse(token).map_err(malformed)?;
        let key = self.key(&token.key_id, options, fetcher).await?;
        let audience = options.github_audience.as_deref().unwrap_or_default();
        let once = blake3::hash(token.signed.as_bytes()).to_hex().to_string();
        let said = token.verify(&key, &options.github_issuer, audience, Timestamp::now());
        let said = said.map_err(|said| ProofError::Refused(said.to_owned()))?;
        if !is_owner(&said.owner) {
            return Err(ProofError::Refused("the token names no owner of a repository".to_owned()));
        }
        let owner = said.owner.to_ascii_lowercase();
        tracing::info!(registry.workflow = said.subject, "a workflow proves who it is");
        Ok(Proven {
            method: ProofMethod::GithubOidc,
            of: owner.clone(),
            names: vec![format!("io.github.{owner}")],
            once,
            until: said.until,
        })
    }

    /// A key of the issuer. Those who come while the keys are being fetched wait for the same, and fail with it.
    async fn key(&self, id: &str, options: &PublishOptions, fetcher: &Fetcher) -> Result<Jwk, ProofError> {
        let url = options.github_keys_url().map_err(|_| unreadable())?;
        let came = Instant::now();
        let mut state = self.0.lock().await;
        if let Some(known) = state.known.as_ref().filter(|known| known.url == url) {
            let age = known.fetched.elapsed();
            match known.find(id) {
                Ok(key) if age < KEYS_KEPT_FOR => return Ok(key),
                Err(unknown) if age < KEYS_ASKED_EVERY => return Err(unknown),
                _ => {}
            }
        }
        if state.failed.is_some_and(|failed| failed > came) {
            return Err(unreadable());
        }
        let keys =
            fetch_keys(&url, options, fetcher).await.inspect_err(|_| state.failed = Some(Instant::now()))?;
        state.known.insert(Known { url, keys, fetched: Instant::now() }).find(id)
    }
}

impl Known {
    fn find(&self, id: &str) -> Result<Jwk, ProofError> {
        self.keys.iter().find(|key| key.kid == id).cloned().ok_or_else(|| {
            ProofError::Refused("the token is signed with a key that its issuer does not have".to_owned())
        })
    }
}

fn unreadable() -> ProofError {
    ProofError::Unchecked("the keys of GitHub's issuer could not be read".to_owned())
}

async fn fetch_keys(url: &Url, options: &PublishOptions, fetcher: &Fetcher) -> Result<Vec<Jwk>, ProofError> {
    let body = fetcher.get(url, KEYS_SIZE_MAX, options.timeout.get()).await;
    // That the issuer does not give its keys says nothing of the token.
    let body = body.map_err(|error| ProofError::Unchecked(error.to_string()))?;
    let set: KeySet = serde_json::from_slice(&body).map_err(|_| unreadable())?;
    Ok(set.keys)
}

/// Whether a text is the name of an account, and so the last part of a namespace.
fn is_owner(name: &str) -> bool {
    (1..=OWNER_LENGTH_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_names_of_accounts() {
        for name in ["acme", "Acme-Inc", "a", "octocat_corp"] {
            assert!(is_owner(name), "{name}");
        }
        for name in ["", "a.b", "a/b", "*", "-a", "a b", "ä", &"a".repeat(65)] {
            assert!(!is_owner(name), "{name}");
        }
    }
}
