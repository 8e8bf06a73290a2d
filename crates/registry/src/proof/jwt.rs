//! JSON Web Tokens, as far as workflows present them: RS256, one issuer, one audience.

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde::{Deserialize, de::DeserializeOwned};

/// The longest token that is read.
const TOKEN_SIZE_MAX: usize = 16 << 10;
/// How far the issuer's clock may be off.
const LEEWAY_S: i64 = 60;
/// A token is for the moment: one that holds for longer was not made for this.
const LIFETIME_S_MAX: i64 = 24 * 3600;

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: String,
}

/// Whom a token is for.
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// What a token says.
#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: Audience,
    exp: i64,
    #[serde(default)]
    nbf: Option<i64>,
    #[serde(default)]
    iat: Option<i64>,
    #[serde(default)]
    sub: String,
    #[serde(default)]
    repository_owner: String,
}

/// A public key of an issuer (RFC 7517).
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Jwk {
    #[serde(default)]
    kty: String,
    #[serde(default)]
    pub(super) kid: String,
    #[serde(default)]
    n: String,
    #[serde(default)]
    e: String,
}

/// A token, taken apart and not yet believed.
pub(super) struct Token<'t> {
    /// What is signed. Nobody but the issuer can write the same token differently: it names the token.
    pub(super) signed: &'t str,
    /// The key that it says it is signed with.
    pub(super) key_id: String,
    signature: Vec<u8>,
    claims: Claims,
}

/// What a token says that is to be believed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Said {
    /// Who it is about: a workflow.
    pub(super) subject: String,
    /// Whose repository the workflow is of.
    pub(super) owner: String,
    /// Until when it is believed.
    pub(super) until: Timestamp,
}

impl<'t> Token<'t> {
    pub(super) fn parse(text: &'t str) -> Result<Self, &'static str> {
        if text.len() > TOKEN_SIZE_MAX {
            return Err("is longer than a token is");
        }
        let (signed, signature) = text.rsplit_once('.').ok_or("is not a JSON Web Token")?;
        let (header, claims) = signed.split_once('.').ok_or("is not a JSON Web Token")?;
        let header: Header = part(header)?;
        // The token does not choose how it is checked: `none` and secrets that are shared are no choice at all.
        if header.alg != "RS256" {
            return Err("is not signed with RS256");
        }
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).map_err(|_| "is not a JSON Web Token")?;
        Ok(Self { signed, key_id: header.kid, signature, claims: part(claims)? })
    }

    /// What it says, if the key has signed it, and if it says so to us, now.
    pub(super) fn verify(
        self,
        key: &Jwk,
        issuer: &str,
        audience: &str,
        now: Timestamp,
    ) -> Result<Said, &'static str> {
        if !key.has_signed(self.signed.as_bytes(), &self.signature) {
            return Err("the token is not signed by its issuer");
        }
        let Claims { iss, aud, exp, nbf, iat, sub, repository_owner } = self.claims;
        if iss.trim_end_matches('/') != issuer.trim_end_matches('/') {
            return Err("the token is of another issuer");
        }
        let is_for_us = match &aud {
            Audience::One(one) => one == audience,
            Audience::Many(many) => many.iter().any(|one| one == audience),
        };
        if !is_for_us {
            return Err(
                "the token is for somebody else: its audience is not `registry.publish.github_audience`",
            );
        }
        let now_s = now.as_second();
        let until_s = exp.saturating_add(LEEWAY_S);
        if until_s <= now_s {
            return Err("the token has expired");
        }
        let begins_s = nbf.into_iter().chain(iat).max().unwrap_or(now_s);
        if begins_s > now_s.saturating_add(LEEWAY_S) {
            return Err("the token is of the future");
        }
        if exp.saturating_sub(now_s) > LIFETIME_S_MAX {
            return Err("the token holds for longer than a day");
        }
        let until = Timestamp::from_second(until_s).map_err(|_| "the token has expired")?;
        Ok(Said { subject: sub, owner: repository_owner, until })
    }
}

impl Jwk {
    fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let (Some(n), Some(e)) = (number(&self.n), number(&self.e)) else { return false };
        self.kty == "RSA"
            && RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature).is_ok()
    }
}

/// A number without its leading zeros.
fn number(text: &str) -> Option<Vec<u8>> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
    let start = bytes.iter().position(|byte| *byte != 0)?;
    bytes.get(start..).map(<[u8]>::to_vec)
}

fn part<T: DeserializeOwned>(text: &str) -> Result<T, &'static str> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| "is not a JSON Web Token")?;
    serde_json::from_slice(&bytes).map_err(|_| "lacks what a token of an issuer says")
}

#[cfg(test)]
#[path = "jwt_tests.rs"]
mod tests;
