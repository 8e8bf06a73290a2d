//! Fetching a file for a caller: with the cookies of a tab, through the egress, hop by hop.
//!
//! Chrome is not asked to do it: it would keep all of a file in the memory that instances share before it hands any out.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http::{StatusCode, header};
use paddock_cdp::protocol::storage::Cookie;
use paddock_platform::{
    egress::Host,
    problem::{Problem, ProblemKind},
    units::ByteSize,
};
use url::Url;

use crate::{
    egress::{Egress, EgressFailure, is_listed},
    tab::Tab,
};

/// The address may not be fetched: its scheme, or where it leads.
pub const DOWNLOAD_REFUSED: ProblemKind =
    ProblemKind::new("download-refused", StatusCode::BAD_REQUEST, "Download refused");
/// The file is larger than may be.
pub const DOWNLOAD_TOO_LARGE: ProblemKind =
    ProblemKind::new("download-too-large", StatusCode::PAYLOAD_TOO_LARGE, "Download too large");
/// The file was not got.
pub const DOWNLOAD_FAILED: ProblemKind =
    ProblemKind::new("download-failed", StatusCode::BAD_GATEWAY, "Download failed");

const REDIRECTS_MAX: usize = 10;
/// How long a host may take to be reached, and between two parts of its answer.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// How long a download may take as a whole.
pub(crate) const DURATION_MAX: Duration = Duration::from_mins(1);
/// How long telling a host something may take.
const TELL_MAX: Duration = Duration::from_secs(10);
const MIME_DEFAULT: &str = "application/octet-stream";

/// A client whose every connection the egress makes.
#[derive(Clone, Debug)]
pub(crate) struct Fetcher {
    client: reqwest::Client,
    egress: Egress,
}

/// A file that was fetched.
#[derive(Clone, Debug)]
pub(crate) struct Fetched {
    pub(crate) url: Url,
    pub(crate) mime: String,
    pub(crate) bytes: Bytes,
}

impl Fetcher {
    pub(crate) fn new(egress: Egress) -> Result<Self, reqwest::Error> {
        // Names are resolved by the egress, as for pages.
        let proxy = reqwest::Proxy::all(format!("socks5h://{}", egress.address()))?;
        let client = reqwest::Client::builder()
            .proxy(proxy)
            .redirect(reqwest::redirect::Policy::none())
            .read_timeout(SILENCE_MAX)
            .connect_timeout(SILENCE_MAX)
            .pool_max_idle_per_host(0)
            .build()?;
        Ok(Self { client, egress })
    }

    /// Fetches a file with the cookies of a tab.
    pub(crate) async fn fetch(&self, tab: &Tab, url: Url, size_max: ByteSize) -> Result<Fetched, Problem> {
        let fetch = self.follow(tab, url, size_max);
        tokio::time::timeout(DURATION_MAX, fetch).await.unwrap_or_else(|_| {
            let detail = format!("the download took over {}s", DURATION_MAX.as_secs());
            Err(Problem::new(DOWNLOAD_FAILED, detail))
        })
    }

    /// Posts a JSON text to an address that a caller names.
    pub(crate) async fn tell(
        &self,
        url: Url,
        headers: &[(&'static str, &str)],
        body: Vec<u8>,
    ) -> Result<(), Problem> {
        check(&url)?;
        let request = self.client.post(url.clone()).timeout(TELL_MAX);
        let mut request = request.header(header::CONTENT_TYPE, "application/json").body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        match request.send().await {
            Ok(response) if response.status().is_success() => Ok(()),
            Ok(response) => {
                let detail = format!("the host answered with {}", response.status());
                Err(Problem::new(DOWNLOAD_FAILED, detail))
            }
            Err(error) => Err(self.explain(&url, &error).await),
        }
    }

    async fn follow(&self, tab: &Tab, mut url: Url, size_max: ByteSize) -> Result<Fetched, Problem> {
        for _ in 0..=REDIRECTS_MAX {
            check(&url)?;
            check_listed(tab, &url)?;
            let cookies = tab.cookies_for(url.as_str()).await?;
            let mut request = self.client.get(url.clone()).header(header::USER_AGENT, tab.user_agent());
            if !cookies.is_empty() {
                request = request.header(header::COOKIE, cookie_header(&cookies));
            }
            let response = match request.send().await {
                Ok(response) => response,
                Err(error) => return Err(self.explain(&url, &error).await),
            };
            let status = response.status();
            if status.is_redirection()
                && let Some(location) = response.headers().get(header::LOCATION)
            {
                let next = location.to_str().ok().and_then(|location| url.join(location).ok());
                url =
                    next.ok_or_else(|| Problem::new(DOWNLOAD_FAILED, "the host redirects to no address"))?;
                continue;
            }
            if !status.is_success() {
                let detail = format!("the host answered with {status}");
                return Err(Problem::new(DOWNLOAD_FAILED, detail).with("upstreamStatus", status.as_u16()));
            }
            return read(url, response, size_max).await;
        }
        Err(Problem::new(DOWNLOAD_FAILED, format!("the host redirects over {REDIRECTS_MAX} times")))
    }

    /// Why there was no answer: the egress knows more than its client.
    async fn explain(&self, url: &Url, error: &reqwest::Error) -> Problem {
        let host = url.host_str().unwrap_or_default();
        let port = url.port_or_known_default().unwrap_or_default();
        match self.egress.last_failure(host, port).await {
            Some(
                failure @ (EgressFailure::Refused { .. }
                | EgressFailure::Denied { .. }
                | EgressFailure::Unlisted { .. }),
            ) => Problem::new(DOWNLOAD_REFUSED, format!("`{host}` is blocked: {failure}")),
            Some(failure) => Problem::new(DOWNLOAD_FAILED, format!("`{host}`: {failure}")),
            None => {
                tracing::debug!(error = %error, "a download failed");
                Problem::new(DOWNLOAD_FAILED, format!("`{host}` gave no usable answer"))
            }
        }
    }
}

fn check(url: &Url) -> Result<(), Problem> {
    match url.scheme() {
        "http" | "https" => Ok(()),
        scheme => {
            let detail = format!("`{scheme}:` addresses are not allowed, only http and https");
            Err(Problem::new(DOWNLOAD_REFUSED, detail).with("field", "url"))
        }
    }
}

/// Refuses what the tab's instance may not reach: what is fetched for it does not pass its own way out.
fn check_listed(tab: &Tab, url: &Url) -> Result<(), Problem> {
    let instance = tab.0.shared.instances().get(tab.instance_id()).cloned();
    // Whoever was stopped meanwhile may have been kept to some hosts.
    let instance = instance.ok_or_else(|| Problem::not_found("instance", tab.instance_id()))?;
    let only = &instance.spec().allowed_hosts;
    let host = Host::parse(url.host_str().unwrap_or_default());
    if only.is_empty() || is_listed(only, &host) {
        return Ok(());
    }
    let failure = EgressFailure::unlisted(&host);
    Err(Problem::new(DOWNLOAD_REFUSED, failure.to_string()).with("field", "url"))
}

fn cookie_header(cookies: &[Cookie]) -> String {
    let pairs: Vec<String> =
        cookies.iter().map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect();
    pairs.join("; ")
}

async fn read(url: Url, response: reqwest::Response, size_max: ByteSize) -> Result<Fetched, Problem> {
    let too_large = || {
        let detail = format!("the file has over {size_max} (`[browser] download_size_max`)");
        Problem::new(DOWNLOAD_TOO_LARGE, detail).with("maxBytes", size_max.get())
    };
    if response.content_length().is_some_and(|length| length > size_max.get()) {
        return Err(too_large());
    }
    let mime = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let mime = mime.unwrap_or(MIME_DEFAULT).to_owned();
    let mut parts = response.bytes_stream();
    let mut bytes = BytesMut::new();
    while let Some(part) = parts.next().await {
        let part = part.map_err(|_| Problem::new(DOWNLOAD_FAILED, "the host broke off in the middle"))?;
        if (bytes.len() + part.len()) as u64 > size_max.get() {
            return Err(too_large());
        }
        bytes.extend_from_slice(&part);
    }
    Ok(Fetched { url, mime, bytes: bytes.freeze() })
}
