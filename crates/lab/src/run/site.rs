//! A directory served on a free port of the loopback address: pages for a target to look at.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    path::{Component, Path, PathBuf},
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use paddock_platform::task::Tasks;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Largest file that is served.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// A served directory; dropping it ends it.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) address: SocketAddr,
    _running: DropGuard,
}

impl Site {
    /// Serves the files of a directory.
    pub(super) async fn start(dir: PathBuf, tasks: &Tasks) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let running = CancellationToken::new();
        tasks.spawn("lab_site", accept(listener, dir, tasks.clone(), running.clone()));
        Ok(Self { address, _running: running.drop_guard() })
    }
}

async fn accept(listener: TcpListener, dir: PathBuf, tasks: Tasks, running: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = running.cancelled() => return,
        };
        // Out of descriptors, or the client is gone already: the next may fare better.
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            continue;
        };
        let (dir, running) = (dir.clone(), running.clone());
        tasks.spawn("lab_site_connection", async move {
            let service = service_fn(move |request| {
                let dir = dir.clone();
                async move { Ok::<_, Infallible>(answer(&dir, &request).await) }
            });
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                // A client that goes away is no error of the site.
                _ = connection => {}
                () = running.cancelled() => {}
            }
        });
    }
}

async fn answer(dir: &Path, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        return response;
    }
    let Some((path, body)) = file(dir, request.uri().path()).await else {
        *response.status_mut() = StatusCode::NOT_FOUND;
        return response;
    };
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(media_type(&path)));
    if request.method() == Method::GET {
        *response.body_mut() = Full::new(Bytes::from(body));
    }
    response
}

/// The file under the directory that a path names; that of an `index.html` for a directory.
async fn file(dir: &Path, path: &str) -> Option<(PathBuf, Vec<u8>)> {
    let mut file = dir.join(relative(path)?);
    if tokio::fs::metadata(&file).await.ok()?.is_dir() {
        file.push("index.html");
    }
    if tokio::fs::metadata(&file).await.ok()?.len() > FILE_BYTES_MAX {
        return None;
    }
    let body = tokio::fs::read(&file).await.ok()?;
    Some((file, body))
}

/// The path of a request below the directory; `None` if it would leave it.
fn relative(path: &str) -> Option<PathBuf> {
    let decoded = percent_decode(path)?;
    let relative = Path::new(decoded.trim_start_matches('/')).to_owned();
    relative
        .components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
        .then_some(relative)
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first == b'%' {
            let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = rest.get(2..)?;
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).ok()
}

fn media_type(path: &Path) -> &'static str {
    match path.extension().and_then(|extension| extension.to_str()).unwrap_or_default() {
        "html" | "htm" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "gif" => "image/gif",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "txt" | "md" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_cannot_leave_the_directory() {
        for path in ["/../etc/passwd", "/a/../../b", "/%2e%2e/x", "/a/%2E%2E/b", "/%zz", "/%"] {
            assert_eq!(relative(path), None, "{path}");
        }
        assert_eq!(relative("/shop/a%20b.html"), Some(PathBuf::from("shop/a b.html")));
        assert_eq!(relative("/"), Some(PathBuf::new()));
    }
}
