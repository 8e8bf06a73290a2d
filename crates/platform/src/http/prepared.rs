//! Answers that are made once and sent often: their tag and their compressed forms are kept beside them.

use std::{
    io::Write,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    body::{Body, Bytes},
    response::Response,
};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::etag::Etag;

/// Below this, the headers of compression cost as much as it saves.
const COMPRESSED_SIZE_MIN: usize = 1024;
const ZSTD_LEVEL: i32 = 3;

/// A body with its entity tag. It is compressed when the first client asks for it so, and never again.
#[derive(Debug)]
pub struct Prepared {
    bytes: Bytes,
    etag: Etag,
    media_type: HeaderValue,
    zstd: OnceLock<Bytes>,
    gzip: OnceLock<Bytes>,
    size: AtomicUsize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Zstd,
    Gzip,
}

impl Prepared {
    /// A body of this media type.
    pub fn new(media_type: &'static str, bytes: Bytes) -> Self {
        Self {
            etag: Etag::of(&bytes),
            media_type: HeaderValue::from_static(media_type),
            size: AtomicUsize::new(bytes.len()),
            bytes,
            zstd: OnceLock::new(),
            gzip: OnceLock::new(),
        }
    }

    /// The body as it is.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Its tag.
    pub fn etag(&self) -> &Etag {
        &self.etag
    }

    /// How much memory its forms take that were made so far.
    pub fn size(&self) -> usize {
        self.size.load(Ordering::Relaxed)
    }

    /// The answer to a request: 304 to whoever has it, otherwise the form that `Accept-Encoding` asks for.
    pub fn answer(&self, request: &HeaderMap) -> Response {
        let mut response = Response::new(Body::empty());
        let known = request.contains_key(header::IF_NONE_MATCH) && self.etag.is_known_by(request);
        let headers = response.headers_mut();
        headers.insert(header::ETAG, self.etag.value());
        if known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
        headers.insert(header::CONTENT_TYPE, self.media_type.clone());
        let coding = (self.bytes.len() >= COMPRESSED_SIZE_MIN).then(|| coding_for(request)).flatten();
        let body = match coding {
            None => &self.bytes,
            Some(Coding::Zstd) => {
                headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("zstd"));
                self.compressed(&self.zstd, |bytes| zstd::bulk::compress(bytes, ZSTD_LEVEL))
            }
            Some(Coding::Gzip) => {
                headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                self.compressed(&self.gzip, gzip)
            }
        };
        *response.body_mut() = Body::from(body.clone());
        response
    }

    fn compressed<'p>(
        &'p self,
        form: &'p OnceLock<Bytes>,
        compress: impl FnOnce(&[u8]) -> std::io::Result<Vec<u8>>,
    ) -> &'p Bytes {
        form.get_or_init(|| {
            // Compressing into memory fails only for want of it.
            let bytes = Bytes::from(compress(&self.bytes).unwrap_or_default());
            self.size.fetch_add(bytes.len(), Ordering::Relaxed);
            bytes
        })
    }
}

fn gzip(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// The form that the client takes: zstd before gzip, neither if it refuses them with `q=0`.
fn coding_for(request: &HeaderMap) -> Option<Coding> {
    let accepted = request.get(header::ACCEPT_ENCODING)?.to_str().ok()?;
    let takes = |name: &str| {
        accepted.split(',').any(|part| {
            let (coding, parameters) = part.split_once(';').unwrap_or((part, ""));
            let refused = parameters.split_once('=').is_some_and(|(_, quality)| {
                quality.trim().parse::<f32>().is_ok_and(|quality| quality <= 0.0)
            });
            coding.trim().eq_ignore_ascii_case(name) && !refused
        })
    };
    if takes("zstd") {
        Some(Coding::Zstd)
    } else if takes("gzip") {
        Some(Coding::Gzip)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(name: header::HeaderName, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(value).unwrap());
        headers
    }

    fn coding(accepted: &str) -> Option<Coding> {
        coding_for(&request(header::ACCEPT_ENCODING, accepted))
    }

    #[test]
    fn the_form_follows_what_the_client_accepts() {
        assert_eq!(coding("gzip, deflate, br, zstd"), Some(Coding::Zstd));
        assert_eq!(coding("gzip;q=0.5"), Some(Coding::Gzip));
        assert_eq!(coding("zstd;q=0, GZIP"), Some(Coding::Gzip));
        assert_eq!(coding("br"), None);
        assert_eq!(coding("identity"), None);
        assert_eq!(coding_for(&HeaderMap::new()), None);
    }

    #[tokio::test]
    async fn every_form_holds_the_same_content() {
        let text = "content ".repeat(1_000);
        let prepared = Prepared::new("text/plain", text.clone().into());
        let alone = prepared.size();
        for accepted in ["identity", "zstd", "gzip"] {
            let response = prepared.answer(&request(header::ACCEPT_ENCODING, accepted));
            let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
            let content = match accepted {
                "zstd" => zstd::bulk::decompress(&body, 1 << 20).unwrap(),
                "gzip" => {
                    let mut content = Vec::new();
                    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&body[..]), &mut content)
                        .unwrap();
                    content
                }
                _ => body.to_vec(),
            };
            assert_eq!(content, text.as_bytes(), "{accepted}");
        }
        assert!(prepared.size() > alone);
    }

    #[tokio::test]
    async fn a_client_that_has_it_gets_no_body() {
        let prepared = Prepared::new("text/plain", Bytes::from_static(b"content"));
        let etag = prepared.etag().value();
        let response = prepared.answer(&request(header::IF_NONE_MATCH, etag.to_str().unwrap()));
        assert_eq!(response.status(), StatusCode::NOT_MODIFIED);
        assert!(axum::body::to_bytes(response.into_body(), 10).await.unwrap().is_empty());
    }
}
