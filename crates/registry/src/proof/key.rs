//! Public keys as domains publish them, `v=MCPv1; k=ed25519; p=…`, and what is signed with them.

use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED, ED25519, UnparsedPublicKey, VerificationAlgorithm};
use base64::{Engine as _, prelude::BASE64_STANDARD};

/// What a record begins with.
const VERSION: &str = "v=MCPv1;";
/// How many keys of a domain are tried.
const KEYS_MAX: usize = 16;
/// The longest signature that is read, in hexadecimal digits.
const SIGNATURE_DIGITS_MAX: usize = 1024;
/// How much of a key is shown to tell it from others.
const SHOWN_LENGTH: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Algorithm {
    Ed25519,
    /// The signature is `R || S`, over SHA-384.
    EcdsaP384,
}

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PublicKey {
    algorithm: Algorithm,
    bytes: Vec<u8>,
}

impl PublicKey {
    fn parse(algorithm: &str, key: &str) -> Result<Self, &'static str> {
        let bytes = BASE64_STANDARD.decode(key).map_err(|_| "a key is not Base64")?;
        let algorithm = match (algorithm, bytes.as_slice()) {
            ("ed25519", key) if key.len() == 32 => Algorithm::Ed25519,
            ("ed25519", _) => return Err("a key of `ed25519` has 32 bytes"),
            // Compressed, as the official publisher writes it.
            ("ecdsap384", key @ [2 | 3, ..]) if key.len() == 49 => Algorithm::EcdsaP384,
            ("ecdsap384", _) => return Err("a key of `ecdsap384` has 49 bytes, the first of them 2 or 3"),
            _ => return Err("the algorithm of a key is neither `ed25519` nor `ecdsap384`"),
        };
        Ok(Self { algorithm, bytes })
    }

    /// Whether whoever has the private key has signed the message.
    pub(super) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let algorithm: &'static dyn VerificationAlgorithm = match self.algorithm {
            Algorithm::Ed25519 => &ED25519,
            Algorithm::EcdsaP384 => &ECDSA_P384_SHA384_FIXED,
        };
        UnparsedPublicKey::new(algorithm, &self.bytes).verify(message, signature).is_ok()
    }

    /// Tells it from all others.
    pub(super) fn name(&self) -> String {
        let algorithm = match self.algorithm {
            Algorithm::Ed25519 => "ed25519",
            Algorithm::EcdsaP384 => "ecdsap384",
        };
        format!("{algorithm}:{}", BASE64_STANDARD.encode(&self.bytes))
    }

    /// Tells it from the others of its domain, for people.
    fn shown(&self) -> String {
        let name = self.name();
        let end = name.find(':').map_or(0, |colon| colon + 1 + SHOWN_LENGTH);
        name.get(..end).unwrap_or(&name).to_owned()
    }
}

/// The key among these records that has signed the message; otherwise why there is none.
pub(super) fn signer(
    records: &[String],
    place: &str,
    message: &[u8],
    signature: &[u8],
) -> Result<PublicKey, String> {
    let mut keys = Vec::new();
    let mut mistake = None;
    for parsed in records.iter().filter_map(|record| key_of(record)).take(KEYS_MAX) {
        match parsed {
            Ok(key) => keys.push(key),
            Err(said) => mistake = Some(said),
        }
    }
    if let Some(key) = keys.iter().find(|key| key.has_signed(message, signature)) {
        return Ok(key.clone());
    }
    if !keys.is_empty() {
        let shown: Vec<String> = keys.iter().map(PublicKey::shown).collect();
        let shown = shown.join(", ");
        return Err(format!("the signature is by none of the keys at {place}: {shown}"));
    }
    Err(match mistake {
        Some(said) => format!("there is no usable key at {place}: {said}"),
        None => format!("there is no record `v=MCPv1; k=ed25519; p=…` at {place}"),
    })
}

/// The key of a record; none if it is about something else.
fn key_of(record: &str) -> Option<Result<PublicKey, &'static str>> {
    let (_, rest) = record.split_once(VERSION)?;
    let mut members = rest.split(';').map(str::trim);
    let algorithm = members.next()?.strip_prefix("k=")?;
    let key = members.next()?.strip_prefix("p=")?;
    Some(PublicKey::parse(algorithm.trim(), key.trim()))
}

/// The bytes of a signature in hexadecimal.
pub(super) fn signature_of(text: &str) -> Option<Vec<u8>> {
    let is_hexadecimal = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if text.is_empty()
        || text.len() > SIGNATURE_DIGITS_MAX
        || !text.len().is_multiple_of(2)
        || !is_hexadecimal
    {
        return None;
    }
    let byte = |index: usize| text.get(index..index + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    (0..text.len()).step_by(2).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::{
        encoding::{AsBigEndian, EcPublicKeyCompressedBin},
        rand::SystemRandom,
        signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair},
    };

    use super::*;

    const TIME: &[u8] = b"2026-11-30T12:00:00Z";

    fn record(algorithm: &str, key: &[u8]) -> String {
        format!("v=MCPv1; k={algorithm}; p={}", BASE64_STANDARD.encode(key))
    }

    #[test]
    fn a_signature_is_by_the_key_that_a_record_names_and_by_no_other() {
        let (ours, theirs) = (Ed25519KeyPair::generate().unwrap(), Ed25519KeyPair::generate().unwrap());
        let own = [record("ed25519", ours.public_key().as_ref())];
        let signature = ours.sign(TIME);
        assert!(signer(&own, "here", TIME, signature.as_ref()).is_ok());
        assert!(signer(&own, "here", b"2026-11-30T12:00:01Z", signature.as_ref()).is_err());
        let other = [record("ed25519", theirs.public_key().as_ref())];
        let said = signer(&other, "here", TIME, signature.as_ref()).unwrap_err();
        assert!(said.contains("ed25519:") && said.contains("here"), "{said}");
        let both = [other[0].clone(), "v=spf1 -all".to_owned(), own[0].clone()];
        assert_eq!(
            signer(&both, "here", TIME, signature.as_ref()),
            signer(&own, "here", TIME, signature.as_ref())
        );
    }

    #[test]
    fn keys_of_the_curve_p_384_are_written_compressed() {
        let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
        let key: EcPublicKeyCompressedBin<'_> = pair.public_key().as_be_bytes().unwrap();
        let signature = pair.sign(&SystemRandom::new(), TIME).unwrap();
        let records = [record("ecdsap384", key.as_ref())];
        assert!(signer(&records, "here", TIME, signature.as_ref()).is_ok());
        assert!(signer(&records, "here", TIME, &signature.as_ref()[1..]).is_err());
        let uncompressed = [record("ecdsap384", pair.public_key().as_ref())];
        assert!(signer(&uncompressed, "here", TIME, signature.as_ref()).unwrap_err().contains("49 bytes"));
    }

    #[test]
    fn records_that_name_no_key_are_told_apart_from_none() {
        let said = |record: &str| signer(&[record.to_owned()], "here", TIME, &[0; 64]).unwrap_err();
        for record in ["", "v=spf1 -all", "v=MCPv1; p=AAAA", "MCPv1; k=ed25519; p=AAAA"] {
            assert!(said(record).contains("no record"), "{record}");
        }
        assert!(said("v=MCPv1; k=rsa; p=AAAA").contains("neither"));
        assert!(said("v=MCPv1; k=ed25519; p=AAAA").contains("32 bytes"));
        assert!(said("v=MCPv1;k=ed25519;p=?").contains("Base64"));
    }

    #[test]
    fn signatures_are_hexadecimal() {
        assert_eq!(signature_of("00fF"), Some(vec![0, 255]));
        for text in ["", "0", "0g", "+1", "0x00", "äö", &"0".repeat(2_000)] {
            assert_eq!(signature_of(text), None, "{text}");
        }
    }
}
