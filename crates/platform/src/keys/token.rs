//! The text that a bearer presents, and the hash that is kept of it.

use std::fmt;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use rustls::crypto::aws_lc_rs;
use subtle::ConstantTimeEq;

/// What every token begins with, so that secret scanners and people know one when they see it.
pub const TOKEN_PREFIX: &str = "pdk_";
const ID_BYTES: usize = 8;
const SECRET_BYTES: usize = 32;
/// Hexadecimal digits.
const ID_LEN: usize = ID_BYTES * 2;
/// Base64 without padding.
const SECRET_LEN: usize = SECRET_BYTES.div_ceil(3) * 4 - 1;

/// A token, taken apart.
pub(super) struct Token {
    pub(super) id: String,
    pub(super) secret: String,
}

impl Token {
    /// `None` if the system has no randomness.
    pub(super) fn random() -> Option<Self> {
        let id = format!("{:0ID_LEN$x}", u64::from_be_bytes(random_bytes::<ID_BYTES>()?));
        Some(Self { id, secret: BASE64_URL_SAFE_NO_PAD.encode(random_bytes::<SECRET_BYTES>()?) })
    }

    /// `None` if the text has not the form of a token.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(TOKEN_PREFIX)?.split_once('_')?;
        let id_valid = id.len() == ID_LEN && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let secret_valid = secret.len() == SECRET_LEN
            && secret.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        (id_valid && secret_valid).then(|| Self { id: id.to_owned(), secret: secret.to_owned() })
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{TOKEN_PREFIX}{}_{}", self.id, self.secret)
    }
}

/// What is stored of a secret of at least 128 random bits, to find it by and to recognise it again. Nobody guesses such
/// a secret, so it needs neither salt nor a slow hash.
pub fn fingerprint(secret: &str) -> [u8; blake3::OUT_LEN] {
    *blake3::hash(secret.as_bytes()).as_bytes()
}

/// Hashes secrets under one key's salt.
pub(super) struct Hasher([u8; blake3::KEY_LEN]);

impl Hasher {
    /// `None` if the system has no randomness.
    pub(super) fn random() -> Option<Self> {
        random_bytes().map(Self)
    }

    /// For a key that does not exist.
    pub(super) const fn nobody() -> Self {
        Self([0; blake3::KEY_LEN])
    }

    /// `None` if it is not one that was made here.
    pub(super) fn from_salt(salt: &[u8]) -> Option<Self> {
        salt.try_into().ok().map(Self)
    }

    pub(super) const fn salt(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn hash(&self, secret: &str) -> [u8; blake3::OUT_LEN] {
        *blake3::keyed_hash(&self.0, secret.as_bytes()).as_bytes()
    }

    /// Takes the same time whether and wherever they differ.
    pub(super) fn matches(&self, secret: &str, hash: &[u8; blake3::OUT_LEN]) -> bool {
        self.hash(secret).ct_eq(hash).into()
    }
}

/// Bytes that nobody can guess. `None` if the system has none.
pub fn random_bytes<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    aws_lc_rs::default_provider().secure_random.fill(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_written() {
        let token = Token::random().unwrap();
        let read = Token::parse(&token.to_string()).unwrap();
        assert_eq!((read.id, read.secret), (token.id, token.secret));
    }

    #[test]
    fn two_tokens_differ() {
        assert_ne!(Token::random().unwrap().to_string(), Token::random().unwrap().to_string());
    }

    #[test]
    fn a_hash_depends_on_the_salt_and_on_the_secret() {
        let (one, other) = (Hasher::random().unwrap(), Hasher::random().unwrap());
        assert_ne!(one.hash("secret"), other.hash("secret"));
        assert!(one.matches("secret", &one.hash("secret")));
        assert!(!one.matches("secret2", &one.hash("secret")));
    }

    proptest! {
        #[test]
        fn what_is_not_a_token_is_not_read(text in "(pdk_)?[0-9a-f_]{0,40}.{0,60}") {
            if let Some(token) = Token::parse(&text) {
                prop_assert_eq!(token.to_string(), text);
            }
        }
    }
}
