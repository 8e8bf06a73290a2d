//! Workflows at GitHub, by an issuer that signs what the tests say.

use std::sync::Arc;

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::{KeyPair, KeySize},
    signature::{KeyPair as _, RSA_PKCS1_SHA256},
};
use axum::{http::StatusCode, response::IntoResponse};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    harness::{REFUSED, UNCHECKED, present, published, publisher},
    support::{TestRegistry, Upstream, json_answer},
};

const AUDIENCE: &str = "https://registry.example";
/// Before the modulus of a key of 2,048 bits in its DER form (RFC 8017).
const DER_HEAD: [u8; 9] = [0x30, 0x82, 0x01, 0x0a, 0x02, 0x82, 0x01, 0x01, 0x00];

struct Issuer {
    pair: Arc<KeyPair>,
    upstream: Upstream,
}

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn key_set(pair: &KeyPair) -> Value {
    let modulus = &pair.public_key().as_ref().strip_prefix(&DER_HEAD).unwrap()[..256];
    json!({"keys": [{"kty": "RSA", "kid": "k1", "use": "sig", "n": encoded(modulus), "e": "AQAB"}]})
}

impl Issuer {
    async fn start() -> Self {
        let pair = Arc::new(KeyPair::generate(KeySize::Rsa2048).unwrap());
        let keys = key_set(&pair);
        let upstream = Upstream::start(move |_, _| json_answer(&keys)).await;
        Self { pair, upstream }
    }

    async fn registry(&self) -> TestRegistry {
        let config = format!(
            "[publish]\nproofs = [\"github-oidc\"]\ngithub_audience = \"{AUDIENCE}\"\ngithub_issuer = \"{}\"\n\
             allow = [\"127.0.0.1\"]\n",
            self.upstream.base
        );
        TestRegistry::with(&config).await
    }

    /// What GitHub says of a workflow of an owner's repository.
    fn claims(&self, owner: &str) -> Value {
        let now = Timestamp::now().as_second();
        json!({
            "iss": self.upstream.base, "aud": AUDIENCE, "sub": format!("repo:{owner}/tools:ref:refs/heads/main"),
            "repository_owner": owner, "jti": "an id", "iat": now, "nbf": now - 5, "exp": now + 300,
        })
    }

    fn sign(&self, kid: &str, claims: &Value) -> Value {
        let header = json!({"typ": "JWT", "alg": "RS256", "kid": kid});
        let signed = format!("{}.{}", encoded(header.to_string()), encoded(claims.to_string()));
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
        json!({"oidc_token": format!("{signed}.{}", encoded(signature))})
    }
}

#[tokio::test]
async fn a_workflow_publishes_under_the_owner_of_its_repository() {
    let issuer = Issuer::start().await;
    let test = issuer.registry().await;
    let proof = issuer.sign("k1", &issuer.claims("Acme-Inc"));
    let by = publisher(&test, "github-oidc", &proof).await;
    let names = [
        "io.github.acme-inc/tool",
        "io.github.Acme-Inc/other",
        "io.github.acme-inc.deep/tool",
        "io.github.acme/tool",
        "io.github/tool",
    ];
    let allowed = ["io.github.acme-inc/tool", "io.github.Acme-Inc/other"];
    assert_eq!(published(&test, &by, &names).await, allowed, "GitHub's names are of no case");
    assert_eq!(by.key_id(), Some("github-oidc:acme-inc"));
    let again = present(&test, "github-oidc", &proof).await;
    assert!(again.json()["detail"].as_str().unwrap().contains("used already"));
    let mut next = issuer.claims("acme");
    next["jti"] = "another".into();
    publisher(&test, "github-oidc", &issuer.sign("k1", &next)).await;
    assert_eq!(issuer.upstream.asked(), ["/.well-known/jwks"], "its keys are asked for once");
}

#[tokio::test]
async fn tokens_of_others_for_others_and_of_other_times_are_refused() {
    let issuer = Issuer::start().await;
    let test = issuer.registry().await;
    let now = Timestamp::now().as_second();
    for (member, value, reason) in [
        ("iss", json!("https://token.actions.githubusercontent.com"), "another issuer"),
        ("aud", json!("mcp-registry"), "somebody else"),
        ("exp", json!(now - 300), "expired"),
        ("nbf", json!(now + 600), "future"),
        ("repository_owner", json!("acme.evil/../x"), "no owner"),
        ("repository_owner", json!(""), "no owner"),
    ] {
        let mut claims = issuer.claims("acme");
        claims[member] = value;
        let refused = present(&test, "github-oidc", &issuer.sign("k1", &claims)).await;
        let problem = refused.json();
        assert_eq!(
            (refused.status, &problem["type"]),
            (StatusCode::UNAUTHORIZED, &json!(REFUSED)),
            "{problem}"
        );
        assert!(problem["detail"].as_str().unwrap().contains(reason), "{problem}");
    }
    let stranger =
        Issuer { pair: Arc::new(KeyPair::generate(KeySize::Rsa2048).unwrap()), ..Issuer::start().await };
    let mut claims = issuer.claims("acme");
    claims["jti"] = "forged".into();
    let forged = present(&test, "github-oidc", &stranger.sign("k1", &claims)).await;
    assert!(forged.json()["detail"].as_str().unwrap().contains("not signed"), "{}", forged.json());
    let unknown = present(&test, "github-oidc", &issuer.sign("k2", &claims)).await;
    assert!(unknown.json()["detail"].as_str().unwrap().contains("does not have"), "{}", unknown.json());
    for text in ["", "a.b.c", "Bearer x"] {
        let malformed = present(&test, "github-oidc", &json!({"oidc_token": text})).await;
        assert_eq!(malformed.status, StatusCode::BAD_REQUEST, "{text}");
    }
}

#[tokio::test]
async fn an_issuer_that_fails_decides_nothing() {
    let issuer = Issuer::start().await;
    let test = issuer.registry().await;
    let proof = issuer.sign("k1", &issuer.claims("acme"));
    issuer.upstream.say(|_, _| StatusCode::INTERNAL_SERVER_ERROR.into_response());
    assert_eq!(present(&test, "github-oidc", &proof).await.json()["type"], UNCHECKED);
    issuer.upstream.say(|_, _| "<html>".into_response());
    assert_eq!(present(&test, "github-oidc", &proof).await.json()["type"], UNCHECKED);
    let keys = key_set(&issuer.pair);
    issuer.upstream.say(move |_, _| json_answer(&keys));
    publisher(&test, "github-oidc", &proof).await;
}
