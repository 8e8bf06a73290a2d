//! Compression of answers for clients that accept it.

use std::convert::Infallible;

use axum::{body::Body, extract::Request, response::Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body::Body as _;
use tower::Service;
use tower_http::{
    CompressionLevel,
    compression::{Compression, Predicate, predicate::SizeAbove},
};

use super::extract::media_type_essence;

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

/// Tells caches that the answer is another one for other `Accept-Encoding`s, also where this client got it as it is, and
/// where it has it already.
pub(super) fn vary(response: &mut Response) {
    let is_large = response.body().size_hint().exact().is_none_or(|size| size >= u64::from(SIZE_MIN));
    let varies = response.status() == StatusCode::NOT_MODIFIED
        || is_large && response.status().is_success() && is_text(response.headers());
    if !varies {
        return;
    }
    let named = |value: &HeaderValue| {
        let names = value.to_str().unwrap_or_default().split(',').map(str::trim);
        names.into_iter().any(|name| name == "*" || name.eq_ignore_ascii_case("accept-encoding"))
    };
    if !response.headers().get_all(header::VARY).iter().any(named) {
        response.headers_mut().append(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
}

/// Whether the media type is worth it: text, JSON and their kin; not images, archives and profiles, which are
/// compressed, and not event streams, which must not wait for a full block. Failures stay as they are, too: their body
/// is written once more, with the trace id, after this.
#[derive(Clone, Copy)]
struct IsText;

impl Predicate for IsText {
    fn should_compress<B>(&self, response: &http::Response<B>) -> bool
    where
        B: http_body::Body,
    {
        let status = response.status();
        !status.is_client_error() && !status.is_server_error() && is_text(response.headers())
    }
}

fn is_text(headers: &HeaderMap) -> bool {
    let essence = media_type_essence(headers);
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
