//! Secrets and signatures, as Standard Webhooks has them.

use std::{fmt, str::FromStr};

use aws_lc_rs::{hmac, rand};
use base64::{Engine as _, engine::general_purpose::STANDARD};

const PREFIX: &str = "whsec_";
/// Bytes of a secret that is made here.
const GENERATED_LEN: usize = 32;
const LEN_MIN: usize = 24;
const LEN_MAX: usize = 64;

/// What deliveries are signed with: `whsec_` and 24 to 64 bytes in Base64. Cannot be printed by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningSecret(Vec<u8>);

/// A text that is not a secret. Does not repeat it.
#[derive(Debug, thiserror::Error)]
#[error("is not a secret; it is `whsec_` and 24 to 64 bytes in Base64")]
pub struct ParseSecretError;

impl SigningSecret {
    /// A new one; `None` if the system gives no random numbers.
    pub(crate) fn generate() -> Option<Self> {
        let mut bytes = vec![0; GENERATED_LEN];
        rand::fill(&mut bytes).ok()?;
        Some(Self(bytes))
    }

    pub(crate) fn from_bytes(bytes: Vec<u8>) -> Option<Self> {
        (LEN_MIN..=LEN_MAX).contains(&bytes.len()).then_some(Self(bytes))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The secret as its owner gets it, once.
    pub fn reveal(&self) -> String {
        format!("{PREFIX}{}", STANDARD.encode(&self.0))
    }

    /// The signature of one message: `v1,` and the Base64 of HMAC-SHA256 over `id.timestamp.body`.
    pub fn sign(&self, id: &str, timestamp: i64, body: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.0);
        let signature = hmac::sign(&key, format!("{id}.{timestamp}.{body}").as_bytes());
        format!("v1,{}", STANDARD.encode(signature.as_ref()))
    }
}

/// The header `webhook-signature`: while a secret is being replaced, one signature of each.
pub(super) fn signatures(secrets: &[SigningSecret], id: &str, timestamp: i64, body: &str) -> String {
    let all: Vec<String> = secrets.iter().map(|secret| secret.sign(id, timestamp, body)).collect();
    all.join(" ")
}

impl FromStr for SigningSecret {
    type Err = ParseSecretError;

    fn from_str(text: &str) -> Result<Self, ParseSecretError> {
        let encoded = text.strip_prefix(PREFIX).ok_or(ParseSecretError)?;
        STANDARD.decode(encoded).ok().and_then(Self::from_bytes).ok_or(ParseSecretError)
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecret(…)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The example that the specification's own libraries are tested with.
    #[test]
    fn a_signature_is_what_the_specification_says() {
        let secret: SigningSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse().unwrap();
        let signature = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_replaced_secret_signs_along() {
        let secrets = [SigningSecret(vec![1; 32]), SigningSecret(vec![2; 32])];
        let header = signatures(&secrets, "msg_1", 1, "{}");
        let parts: Vec<&str> = header.split(' ').collect();
        assert_eq!(parts, [secrets[0].sign("msg_1", 1, "{}"), secrets[1].sign("msg_1", 1, "{}")]);
    }

    #[test]
    fn secrets_have_their_length_and_are_not_printed() {
        for (len, valid) in [(23, false), (24, true), (64, true), (65, false)] {
            let text = format!("whsec_{}", STANDARD.encode(vec![7; len]));
            assert_eq!(text.parse::<SigningSecret>().is_ok(), valid, "{len}");
        }
        let secret = SigningSecret::generate().unwrap();
        assert!(!format!("{secret:?}").contains(&secret.reveal()[6..]));
        for text in ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_***"] {
            assert!(text.parse::<SigningSecret>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_secret_survives_being_revealed(bytes in proptest::collection::vec(any::<u8>(), LEN_MIN..=LEN_MAX)) {
            let secret = SigningSecret(bytes);
            prop_assert_eq!(secret.reveal().parse::<SigningSecret>().unwrap(), secret);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,64}") {
            let _ = text.parse::<SigningSecret>();
            let _ = format!("whsec_{text}").parse::<SigningSecret>();
        }
    }
}
