//! Gets what sources give, without looking at it: documents, or the news that nothing has changed.

mod api;
mod file;
mod git;
pub(crate) mod kubernetes;
mod url;

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http::{HeaderMap, HeaderName, header};
use paddock_platform::units::ByteSize;
use reqwest::{RequestBuilder, Response};

use crate::{
    config::{FileOptions, SourceOptions},
    error::FetchError,
    store::Mark,
};

/// What a source gave.
#[derive(Debug)]
pub(crate) enum Fetched {
    /// Nothing has changed since the mark was set.
    Unchanged(Mark),
    /// Documents to be taken apart.
    Documents {
        documents: Vec<Bytes>,
        /// They hold what was updated, not the whole.
        is_update: bool,
        mark: Mark,
    },
}

/// What every fetch needs.
#[derive(Clone, Debug)]
pub(crate) struct Fetcher {
    pub(crate) http: reqwest::Client,
    pub(crate) clusters: Arc<kubernetes::Clients>,
    pub(crate) size_max: ByteSize,
    pub(crate) entries_max: usize,
}

impl Fetcher {
    /// Gets what the source gives now. `afresh`: everything, whether it has changed or not.
    pub(crate) async fn fetch(
        &self,
        options: &SourceOptions,
        mark: Mark,
        afresh: bool,
    ) -> Result<Fetched, FetchError> {
        let mark = if afresh { Mark::default() } else { mark };
        if let Some(file) = &options.file {
            return self.fetch_file(file, mark).await;
        }
        if let Some(api) = &options.api {
            return self.fetch_api(api, mark).await;
        }
        if let Some(git) = &options.git {
            return git::fetch(git, mark, self.size_max).await;
        }
        if let Some(kubernetes) = &options.kubernetes {
            return self.fetch_kubernetes(kubernetes, mark).await;
        }
        // A managed source is read from the store, not fetched.
        Ok(Fetched::Unchanged(mark))
    }

    async fn fetch_file(&self, options: &FileOptions, mark: Mark) -> Result<Fetched, FetchError> {
        if let Some(path) = &options.path {
            return file::fetch(path.clone(), mark, self.size_max).await;
        }
        if let Some(url) = &options.url {
            return self.fetch_url(url, mark).await;
        }
        let data = options.data.clone().unwrap_or_default();
        Ok(whole(data.into(), mark))
    }
}

/// A document that is the whole, unless it is the one that the mark is of.
fn whole(document: Bytes, mark: Mark) -> Fetched {
    let hash = blake3::hash(&document).to_hex().to_string();
    if hash == mark.hash {
        return Fetched::Unchanged(mark);
    }
    Fetched::Documents { documents: vec![document], is_update: false, mark: Mark { hash, ..mark } }
}

/// Sends a request; an answer of failure is an error.
async fn send(request: RequestBuilder, url: &str) -> Result<Response, FetchError> {
    let response = request.send().await.map_err(|source| FetchError::Http { url: url.to_owned(), source })?;
    let status = response.status();
    if status.is_success() || status == reqwest::StatusCode::NOT_MODIFIED {
        return Ok(response);
    }
    let retry_after = text_of(response.headers(), &header::RETRY_AFTER).and_then(|text| text.parse().ok());
    Err(FetchError::Status {
        url: url.to_owned(),
        status: status.as_u16(),
        retry_after: retry_after.map(Duration::from_secs),
    })
}

/// Reads a body as far as it may go.
pub(crate) async fn body_of(response: Response, url: &str, size_max: ByteSize) -> Result<Bytes, FetchError> {
    if response.content_length().is_some_and(|length| length > size_max.get()) {
        return Err(FetchError::TooLarge(size_max));
    }
    let mut body = BytesMut::with_capacity(response.content_length().unwrap_or(0) as usize);
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|source| FetchError::Http { url: url.to_owned(), source })?;
        if (body.len() + chunk.len()) as u64 > size_max.get() {
            return Err(FetchError::TooLarge(size_max));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

fn text_of<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
