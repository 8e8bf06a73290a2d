//! Entity tags: a client that has the current representation gets 304 and no body.

use std::fmt::Write as _;

use axum::{
    body::Bytes,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};

/// A weak entity tag (RFC 9110, section 8.8.3): the same content, whatever its compression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Etag(HeaderValue);

impl Etag {
    /// The tag of a representation, from its bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let mut tag = String::with_capacity(36);
        tag.push_str("W/\"");
        for byte in &blake3::hash(bytes).as_bytes()[..16] {
            let _ = write!(tag, "{byte:02x}");
        }
        tag.push('"');
        Self(HeaderValue::try_from(tag).unwrap_or(HeaderValue::from_static("W/\"\"")))
    }

    /// The tag as a header value.
    pub fn value(&self) -> HeaderValue {
        self.0.clone()
    }

    /// Whether `If-None-Match` says that the client has this representation. Compared weakly, as the RFC asks.
    pub fn is_known_by(&self, request: &HeaderMap) -> bool {
        let own = opaque(self.0.as_bytes());
        request.get_all(header::IF_NONE_MATCH).iter().any(|value| {
            let listed = value.as_bytes().split(|byte| *byte == b',');
            listed.map(<[u8]>::trim_ascii).any(|tag| tag == b"*" || opaque(tag) == own)
        })
    }

    /// Answers with the bytes, or with 304 when the client has them.
    pub fn answer(&self, request: &HeaderMap, media_type: &'static str, bytes: Bytes) -> Response {
        let etag = (header::ETAG, self.value());
        if self.is_known_by(request) {
            return (StatusCode::NOT_MODIFIED, [etag]).into_response();
        }
        ([etag, (header::CONTENT_TYPE, HeaderValue::from_static(media_type))], bytes).into_response()
    }
}

fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(tag: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::IF_NONE_MATCH, HeaderValue::from_str(tag).unwrap());
        Etag::of(b"content").is_known_by(&headers)
    }

    #[test]
    fn a_client_that_has_the_content_is_recognised() {
        let tag = Etag::of(b"content");
        let tag = tag.0.to_str().unwrap();
        assert!(known(tag));
        assert!(known(&format!("\"other\", {tag}")));
        assert!(known(tag.trim_start_matches("W/")));
        assert!(known("*"));
        assert!(!known("\"other\""));
        assert!(!known(""));
        assert_ne!(Etag::of(b"a"), Etag::of(b"b"));
    }
}
