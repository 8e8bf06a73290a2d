use aws_lc_rs::{
    rand::SystemRandom,
    rsa::{KeyPair, KeySize},
    signature::{KeyPair as _, RSA_PKCS1_SHA256},
};
use serde_json::{Value, json};

use super::*;

const ISSUER: &str = "https://issuer.example";
const AUDIENCE: &str = "https://registry.example";
/// Before the modulus of a key of 2,048 bits in its DER form (RFC 8017).
const DER_HEAD: [u8; 9] = [0x30, 0x82, 0x01, 0x0a, 0x02, 0x82, 0x01, 0x01, 0x00];

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn key_of(pair: &KeyPair) -> Jwk {
    let der = pair.public_key().as_ref();
    let modulus = &der.strip_prefix(&DER_HEAD).unwrap()[..256];
    serde_json::from_value(json!({"kty": "RSA", "kid": "k1", "n": encoded(modulus), "e": "AQAB"})).unwrap()
}

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "repo:acme/tools:ref:refs/heads/main", "repository_owner": "acme",
        "iat": 1_800_000_000, "exp": 1_800_000_300,
    })
}

fn signed_with(pair: &KeyPair, header: &Value, claims: &Value) -> String {
    let signed = format!("{}.{}", encoded(header.to_string()), encoded(claims.to_string()));
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
    format!("{signed}.{}", encoded(signature))
}

fn verify(pair: &KeyPair, key: &Jwk, claims: &Value) -> Result<Said, &'static str> {
    let text = signed_with(pair, &json!({"alg": "RS256", "kid": "k1"}), claims);
    Token::parse(&text)?.verify(key, ISSUER, AUDIENCE, now())
}

#[test]
fn a_token_is_believed_if_its_issuer_says_it_to_us_now() {
    let (pair, other) =
        (KeyPair::generate(KeySize::Rsa2048).unwrap(), KeyPair::generate(KeySize::Rsa2048).unwrap());
    let key = key_of(&pair);
    let said = verify(&pair, &key, &claims()).unwrap();
    // It is remembered for as long as it would be believed again, a minute after its end included.
    assert_eq!((said.owner.as_str(), said.until), ("acme", Timestamp::from_second(1_800_000_360).unwrap()));
    let mut late = claims();
    late["exp"] = json!(1_799_999_941);
    assert_eq!(verify(&pair, &key, &late).unwrap().until, Timestamp::from_second(1_800_000_001).unwrap());
    assert!(verify(&other, &key, &claims()).unwrap_err().contains("not signed"));
    let mut many = claims();
    many["aud"] = json!(["https://other.example", AUDIENCE]);
    assert!(verify(&pair, &key, &many).is_ok());
    for (member, value, reason) in [
        ("iss", json!("https://other.example"), "another issuer"),
        ("aud", json!("https://other.example"), "somebody else"),
        ("aud", json!([]), "somebody else"),
        ("exp", json!(1_799_999_900), "expired"),
        ("nbf", json!(1_800_001_000), "future"),
        ("iat", json!(1_800_001_000), "future"),
        ("exp", json!(1_900_000_000), "longer"),
        ("exp", json!(i64::MAX), "longer"),
        ("exp", json!(i64::MIN), "expired"),
    ] {
        let mut claims = claims();
        claims[member] = value.clone();
        let refused = verify(&pair, &key, &claims).unwrap_err();
        assert!(refused.contains(reason), "{member} {value}: {refused}");
    }
}

#[test]
fn a_token_does_not_choose_how_it_is_checked() {
    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    for alg in ["none", "HS256", "RS512", "rs256", ""] {
        let text = signed_with(&pair, &json!({"alg": alg, "kid": "k1"}), &claims());
        assert!(Token::parse(&text).is_err(), "{alg}");
    }
    let text = signed_with(&pair, &json!({"alg": "RS256"}), &claims());
    let unsigned = format!("{}.", text.rsplit_once('.').unwrap().0);
    let token = Token::parse(&unsigned).unwrap();
    assert!(token.verify(&key_of(&pair), ISSUER, AUDIENCE, now()).is_err());
    for text in ["", ".", "..", "a.b.c", "e30.e30.e30", &"a".repeat(20_000)] {
        assert!(Token::parse(text).is_err(), "{text}");
    }
}

#[test]
fn keys_of_other_kinds_have_signed_nothing() {
    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    for (member, value) in [("kty", "EC"), ("n", ""), ("n", "AA"), ("n", "?"), ("e", ""), ("e", "Aw")] {
        let key = key_of(&pair);
        let mut changed = json!({"kty": key.kty, "kid": key.kid, "n": key.n, "e": key.e});
        changed[member] = value.into();
        let key = serde_json::from_value(changed).unwrap();
        assert!(verify(&pair, &key, &claims()).is_err(), "{member} {value}");
    }
}
