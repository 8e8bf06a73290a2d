//! What a server is told in confidence, and takes out of whatever it says.

use bytes::Bytes;
use memchr::memmem::Finder;
use paddock_platform::config::Secret;

/// What stands in place of a secret.
const MASK: &[u8] = b"[secret]";
/// Shorter ones are not masked: they would be found in everything.
const LENGTH_MIN: usize = 6;

/// Takes secrets out of texts: as they are, and as JSON writes them.
#[derive(Debug, Default)]
pub(super) struct Mask(Vec<Finder<'static>>);

impl Mask {
    pub(super) fn of<'s>(secrets: impl Iterator<Item = &'s Secret>) -> Self {
        let mut needles: Vec<Vec<u8>> = Vec::new();
        for secret in secrets.map(Secret::expose) {
            // `Bearer TOKEN` is as good as the token.
            let parts = [secret, secret.rsplit(' ').next().unwrap_or_default()];
            for part in parts.into_iter().filter(|part| part.len() >= LENGTH_MIN) {
                let quoted = serde_json::Value::from(part).to_string();
                needles.push(part.as_bytes().to_vec());
                // Without the quotation marks around it; the secret may end with one of its own.
                needles.push(quoted.as_bytes().get(1..quoted.len() - 1).unwrap_or_default().to_vec());
            }
        }
        // Longer ones first: what is part of another goes with it.
        needles.sort_by(|a, b| b.len().cmp(&a.len()).then(a.cmp(b)));
        needles.dedup();
        Self(needles.iter().map(|needle| Finder::new(needle).into_owned()).collect())
    }

    /// The text without secrets; the same bytes where there are none in it.
    pub(super) fn clean(&self, text: Bytes) -> Bytes {
        self.0.iter().fold(text, |text, finder| {
            if finder.find(&text).is_none() {
                return text;
            }
            let (mut clean, mut end) = (Vec::with_capacity(text.len()), 0);
            for start in finder.find_iter(&text) {
                clean.extend_from_slice(&text[end..start]);
                clean.extend_from_slice(MASK);
                end = start + finder.needle().len();
            }
            clean.extend_from_slice(&text[end..]);
            clean.into()
        })
    }

    /// A text for people without secrets.
    pub(super) fn clean_text(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.clean(Bytes::copy_from_slice(text.as_bytes()))).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(secrets: &[&str]) -> Mask {
        let secrets: Vec<Secret> = secrets.iter().map(|secret| Secret::new(*secret)).collect();
        Mask::of(secrets.iter())
    }

    #[test]
    fn secrets_are_taken_out_as_they_are_and_as_json_writes_them() {
        let mask = mask(&["hunter2hunter2", "two \"words\""]);
        assert_eq!(mask.clean_text("a hunter2hunter2 b hunter2hunter2"), "a [secret] b [secret]");
        assert_eq!(mask.clean_text(r#"{"k":"two \"words\""}"#), r#"{"k":"[secret]"}"#);
    }

    #[test]
    fn the_token_of_a_bearer_header_is_a_secret_of_its_own() {
        assert_eq!(mask(&["Bearer tok-12345"]).clean_text("tok-12345 Bearer tok-12345"), "[secret] [secret]");
    }

    #[test]
    fn a_text_without_secrets_is_passed_on_as_it_is() {
        let text = Bytes::from_static(b"nothing here");
        let clean = mask(&["hunter2", "abc"]).clean(text.clone());
        assert_eq!(clean.as_ptr(), text.as_ptr());
        assert_eq!(mask(&["abc"]).clean_text("abc"), "abc");
    }
}
