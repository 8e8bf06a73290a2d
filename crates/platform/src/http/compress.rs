//! Compression of answers for clients that accept it.

use std::convert::Infallible;

use axum::{body::Body, extract::Request, response::Response};
use http::{HeaderMap, header};
use tower::Service;
use tower_http::{
    CompressionLevel,
    compression::{Compression, Predicate, predicate::SizeAbove},
};

/// Below this, the headers of compression cost as much as it saves.
const SIZE_MIN: u16 = 1024;

/// Runs the handler and compresses its answer with zstd or gzip, as `Accept-Encoding` asks.
pub(super) async fn compress<S>(inner: S, request: Request) -> Result<Response, Infallible>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    // Fast levels: the answer is made while the client waits, and on the thread that serves others.
    let response = Compression::new(inner)
        .quality(CompressionLevel::Fastest)
        .compress_when(SizeAbove::new(SIZE_MIN).and(IsText))
        .call(request)
        .await?;
    Ok(response.map(Body::new))
}

/// Whether the media type is worth it: text, JSON and their kin; not images, archives and profiles, which are
/// compressed, and not event streams, which must not wait for a full block.
#[derive(Clone, Copy)]
struct IsText;

impl Predicate for IsText {
    fn should_compress<B>(&self, response: &http::Response<B>) -> bool
    where
        B: http_body::Body,
    {
        is_text(response.headers())
    }
}

fn is_text(headers: &HeaderMap) -> bool {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = media_type.split(';').next().unwrap_or("").trim();
    if essence == "text/event-stream" {
        return false;
    }
    essence.starts_with("text/")
        || essence.ends_with("json")
        || essence.ends_with("xml")
        || essence.ends_with("javascript")
        || essence == "application/yaml"
        || essence == "application/wasm"
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_what_is_not_compressed_yet_is_compressed() {
        for (media_type, compressed) in [
            ("application/json", true),
            ("application/problem+json", true),
            ("text/html; charset=utf-8", true),
            ("image/svg+xml", true),
            ("text/event-stream", false),
            ("image/png", false),
            ("application/zip", false),
            ("application/octet-stream", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
            assert_eq!(is_text(&headers), compressed, "{media_type}");
        }
    }
}
