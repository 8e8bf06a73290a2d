//! What publishers do: they sign, present, and publish with what they are given.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use axum::http::{Method, StatusCode};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::{SignedDuration, Timestamp};
use paddock_platform::{http::Authenticate as _, identity::Caller};
use serde_json::{Value, json};

use crate::support::{Answer, TestRegistry, server};

pub(crate) const REFUSED: &str = "urn:paddock:problem:registry-proof-refused";
pub(crate) const UNCHECKED: &str = "urn:paddock:problem:registry-proof-unchecked";
pub(crate) const NOT_OWNED: &str = "urn:paddock:problem:registry-namespace-not-owned";

/// Somebody with a key of the kind that the official publisher makes.
pub(crate) struct Signer(Ed25519KeyPair);

impl Signer {
    pub(crate) fn new() -> Self {
        Self(Ed25519KeyPair::generate().unwrap())
    }

    /// What the domain has to say.
    pub(crate) fn record(&self) -> String {
        format!("v=MCPv1; k=ed25519; p={}", BASE64_STANDARD.encode(self.0.public_key().as_ref()))
    }

    pub(crate) fn sign(&self, text: &str) -> String {
        hexadecimal(self.0.sign(text.as_bytes()).as_ref())
    }

    /// What is presented for a domain, signed so many seconds after now.
    pub(crate) fn proof(&self, domain: &str, seconds: i64) -> Value {
        let time = time(seconds);
        json!({"domain": domain, "timestamp": time, "signed_timestamp": self.sign(&time)})
    }
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

/// The time as publishers write it, to the second.
pub(crate) fn time(seconds: i64) -> String {
    let time = Timestamp::now() + SignedDuration::from_secs(seconds);
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Presents a proof, as whoever has no key.
pub(crate) async fn present(test: &TestRegistry, method: &str, proof: &Value) -> Answer {
    let path = format!("/registry/v0.1/auth/{method}");
    test.send_as(Caller::anonymous(), Method::POST, &path, proof).await
}

/// The token that a proof is given.
pub(crate) async fn token(test: &TestRegistry, method: &str, proof: &Value) -> String {
    let granted = present(test, method, proof).await;
    assert_eq!(granted.status, StatusCode::OK, "{}", granted.json());
    let token = granted.json()["registry_token"].as_str().unwrap().to_owned();
    assert!(granted.json()["expires_at"].as_i64().unwrap() > Timestamp::now().as_second());
    token
}

/// Who bears a token, if it holds.
pub(crate) async fn bearer(test: &TestRegistry, token: &str) -> Option<Caller> {
    let proofs = test.registry.proofs();
    proofs.authenticate(token).await.ok().map(|authenticated| authenticated.caller)
}

/// Whoever has presented a proof.
pub(crate) async fn publisher(test: &TestRegistry, method: &str, proof: &Value) -> Caller {
    let token = token(test, method, proof).await;
    bearer(test, &token).await.unwrap()
}

/// What publishing under a name is answered.
pub(crate) async fn publish(test: &TestRegistry, by: &Caller, name: &str) -> Answer {
    test.send_as(by.clone(), Method::POST, "/registry/v0.1/publish", &server(name, "1.0.0")).await
}

/// Publishes under every name, and gives those that were not refused.
pub(crate) async fn published<'n>(test: &TestRegistry, by: &Caller, names: &[&'n str]) -> Vec<&'n str> {
    let mut published = Vec::new();
    for name in names {
        let answer = publish(test, by, name).await;
        if answer.status == StatusCode::OK {
            published.push(*name);
        } else {
            assert_eq!(answer.json()["type"], NOT_OWNED, "{name}");
        }
    }
    published
}
