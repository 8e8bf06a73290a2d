//! Other registries that speak the official API.
//!
//! The first fetch, and one per `full_interval`, walks over all pages. In between only what was updated is asked for;
//! deletions are among that. The next page is asked for as soon as its cursor is known; what is on the pages is looked at
//! when all are here.

use std::{collections::HashSet, time::Duration};

use bytes::Bytes;
use http::header;
use jiff::Timestamp;
use paddock_platform::config::Secret;
use serde::{Deserialize, de::IgnoredAny};
use url::Url;

use super::{Fetched, Fetcher, body_of, send, text_of, url::shown};
use crate::{config::ApiOptions, error::FetchError, format::FormatError, store::Mark};

/// How often a page is asked for when passing things go wrong.
const TRIES_MAX: u32 = 4;
const RETRY_DELAY: Duration = Duration::from_millis(250);
const RETRY_DELAY_MAX: Duration = Duration::from_secs(10);
/// Empty pages in a row, after which a registry is not believed that there is more.
const EMPTY_PAGES_MAX: usize = 3;
/// Updates are asked for from a little earlier: clocks differ, and what was being written was not visible.
const OVERLAP_MS: i64 = 120_000;

#[derive(Deserialize)]
struct PageEnd {
    servers: Vec<IgnoredAny>,
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Default, Deserialize)]
struct Metadata {
    #[serde(rename = "nextCursor", alias = "next_cursor", default)]
    next_cursor: Option<String>,
}

/// All pages of one walk.
struct Walk {
    pages: Vec<Bytes>,
    entries: usize,
    etag: Option<String>,
    /// What the other side's clock said when the walk began.
    began_ms: i64,
}

impl Fetcher {
    pub(super) async fn fetch_api(&self, options: &ApiOptions, mark: Mark) -> Result<Fetched, FetchError> {
        let Some(base) = &options.url else { return Ok(Fetched::Unchanged(mark)) };
        let token = options.token.as_ref().map(paddock_platform::config::SecretRef::resolve).transpose()?;
        let now_ms = Timestamp::now().as_millisecond();
        let full_ms = i64::try_from(options.full_interval.get().as_millis()).unwrap_or(i64::MAX);
        let is_update = mark.since_ms.is_some()
            && mark.whole_ms.is_some_and(|whole_ms| now_ms.saturating_sub(whole_ms) < full_ms);
        let mut url = first_page(base, options.page_limit);
        let since_ms = mark.since_ms.filter(|_| is_update);
        if let Some(since) = since_ms.and_then(|since_ms| Timestamp::from_millisecond(since_ms).ok()) {
            url.query_pairs_mut().append_pair("updated_since", &since.to_string());
        }
        let walk =
            self.walk(url, token.as_ref(), options, mark.etag.as_deref().filter(|_| !is_update)).await?;
        let Some(walk) = walk else { return Ok(Fetched::Unchanged(mark)) };
        let since_ms = Some(walk.began_ms - OVERLAP_MS);
        if is_update {
            let mark = Mark { since_ms, ..mark };
            return Ok(if walk.entries == 0 {
                Fetched::Unchanged(mark)
            } else {
                Fetched::Documents { documents: walk.pages, is_update, mark }
            });
        }
        let mut hasher = blake3::Hasher::new();
        for page in &walk.pages {
            hasher.update(page);
        }
        let hash = hasher.finalize().to_hex().to_string();
        // The tag of a page says something of the whole only where the page is the whole.
        let etag = walk.etag.filter(|_| walk.pages.len() == 1);
        let is_known = hash == mark.hash;
        let mark = Mark { hash, etag, since_ms, whole_ms: Some(now_ms), ..mark };
        if is_known {
            return Ok(Fetched::Unchanged(mark));
        }
        Ok(Fetched::Documents { documents: walk.pages, is_update, mark })
    }

    /// Follows the cursors to the end; none if the first page is the one that bears the tag.
    async fn walk(
        &self,
        first: Url,
        token: Option<&Secret>,
        options: &ApiOptions,
        known: Option<&str>,
    ) -> Result<Option<Walk>, FetchError> {
        let (mut url, mut known) = (first.clone(), known);
        let mut walk = Walk { pages: Vec::new(), entries: 0, etag: None, began_ms: 0 };
        let (mut cursors, mut empty, mut size) = (HashSet::new(), 0, 0_u64);
        loop {
            let Some((page, etag, at_ms)) = self.page(&url, token, options, known.take()).await? else {
                return Ok(None);
            };
            let end = page_end(&page)?;
            size += page.len() as u64;
            if size > self.size_max.get() {
                return Err(FetchError::TooLarge(self.size_max));
            }
            if walk.pages.is_empty() {
                (walk.etag, walk.began_ms) = (etag, at_ms);
            }
            walk.entries += end.servers.len();
            if walk.entries > self.entries_max {
                let (found, allowed) = (walk.entries, self.entries_max);
                return Err(crate::content::TooManyError { found, allowed }.into());
            }
            walk.pages.push(page);
            let Some(cursor) = end.metadata.next_cursor.filter(|cursor| !cursor.is_empty()) else {
                return Ok(Some(walk));
            };
            empty = if end.servers.is_empty() { empty + 1 } else { 0 };
            if empty >= EMPTY_PAGES_MAX {
                return Err(FetchError::EmptyPages);
            }
            if !cursors.insert(blake3::hash(cursor.as_bytes())) {
                return Err(FetchError::CursorLoop { pages: walk.pages.len() });
            }
            url = first.clone();
            url.query_pairs_mut().append_pair("cursor", &cursor);
        }
    }

    /// One page with its tag and the other side's time, tried again while what goes wrong may pass; none if it has not
    /// changed.
    async fn page(
        &self,
        url: &Url,
        token: Option<&Secret>,
        options: &ApiOptions,
        known: Option<&str>,
    ) -> Result<Option<(Bytes, Option<String>, i64)>, FetchError> {
        let mut delay = RETRY_DELAY;
        for attempt in 1.. {
            match self.page_once(url, token, options, known).await {
                Err(error) if error.is_passing() && attempt < TRIES_MAX => {
                    let wait = error.retry_after().unwrap_or(delay).min(RETRY_DELAY_MAX);
                    tracing::debug!(error = %error, wait_ms = wait.as_millis() as u64, "a page is asked for again");
                    tokio::time::sleep(wait).await;
                    delay *= 2;
                }
                result => return result,
            }
        }
        Ok(None)
    }

    async fn page_once(
        &self,
        url: &Url,
        token: Option<&Secret>,
        options: &ApiOptions,
        known: Option<&str>,
    ) -> Result<Option<(Bytes, Option<String>, i64)>, FetchError> {
        let mut request = self.http.get(url.clone()).timeout(options.timeout.get());
        if let Some(token) = token {
            request = request.bearer_auth(token.expose());
        }
        if let Some(etag) = known {
            request = request.header(header::IF_NONE_MATCH, etag);
        }
        let shown = shown(url);
        let response = send(request, &shown).await?;
        if response.status() == reqwest::StatusCode::NOT_MODIFIED {
            return Ok(None);
        }
        let etag = text_of(response.headers(), &header::ETAG).map(str::to_owned);
        let date = text_of(response.headers(), &header::DATE);
        let date = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok()).map(|date| date.timestamp());
        let at_ms = date.unwrap_or_else(Timestamp::now).as_millisecond();
        let page = body_of(response, &shown, self.size_max).await?;
        Ok(Some((page, etag, at_ms)))
    }
}

fn first_page(base: &Url, limit: u32) -> Url {
    let mut url = base.clone();
    let path = format!("{}/v0.1/servers", base.path().trim_end_matches('/'));
    url.set_path(&path);
    // What is deprecated or deleted is told, so that it can be told on. Others ignore what they do not know.
    url.query_pairs_mut().append_pair("limit", &limit.to_string()).append_pair("include_deleted", "true");
    url
}

fn page_end(page: &[u8]) -> Result<PageEnd, FetchError> {
    if page.trim_ascii_start().first() == Some(&b'<') {
        return Err(FormatError::Html.into());
    }
    serde_json::from_slice(page).map_err(|error| FormatError::Json(error.to_string()).into())
}
