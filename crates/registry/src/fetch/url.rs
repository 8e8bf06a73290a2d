//! Files behind a URL.

use http::header;
use url::Url;

use super::{Fetched, Fetcher, body_of, send, text_of, whole};
use crate::{error::FetchError, store::Mark};

impl Fetcher {
    pub(super) async fn fetch_url(&self, url: &Url, mark: Mark) -> Result<Fetched, FetchError> {
        let shown = shown(url);
        let mut request = self.http.get(url.clone());
        if let Some(etag) = &mark.etag {
            request = request.header(header::IF_NONE_MATCH, etag);
        }
        if let Some(last_modified) = &mark.last_modified {
            request = request.header(header::IF_MODIFIED_SINCE, last_modified);
        }
        let response = send(request, &shown).await?;
        if response.status() == reqwest::StatusCode::NOT_MODIFIED {
            return Ok(Fetched::Unchanged(mark));
        }
        let text = |name| text_of(response.headers(), &name).map(str::to_owned);
        let (etag, last_modified) = (text(header::ETAG), text(header::LAST_MODIFIED));
        let document = body_of(response, &shown, self.size_max).await?;
        Ok(whole(document, Mark { etag, last_modified, ..mark }))
    }
}

/// A URL as it may be shown: without what it may hold of secrets.
pub(super) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    let _ = url.set_password(None);
    let _ = url.set_username("");
    url.set_query(None);
    url.to_string()
}
