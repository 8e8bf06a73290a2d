//! Why there is no page.

use std::time::Duration;

use paddock_cdp::{
    CallError,
    protocol::page::{Navigate, StopLoading},
};
use tokio::time::timeout;
use url::Url;

use super::{Attempt, Failed, error::NavigateError, is_page};
use crate::{
    egress::EgressFailure,
    page::{Answer, Breach},
    tab::DIALOGS_MAX,
};

/// How long the events that explain a failure may lag behind the failure.
const EXPLANATION_WAIT: Duration = Duration::from_millis(250);
/// How long Chrome may take to stop loading.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

impl Attempt<'_> {
    /// Says why there is no page, and leaves the tab without what made it fail.
    pub(super) async fn explain(&self, failed: Failed) -> NavigateError {
        let url = self.url.to_string();
        match failed {
            Failed::Chrome { error, loader_id } => self.explain_chrome(&error, &loader_id).await,
            Failed::Download { loader_id } => {
                let at = self.answer(&loader_id).await.url;
                NavigateError::Download { url: if at.is_empty() { url } else { at } }
            }
            Failed::Breach(Breach::Closed) if self.dialogs_exceeded() => {
                NavigateError::Dialogs { url, max: DIALOGS_MAX }
            }
            Failed::Breach(Breach::Closed) if self.tab.0.process.connection().is_closed() => {
                NavigateError::BrowserCrashed { url }
            }
            Failed::Breach(Breach::Closed) => NavigateError::TabClosed { url },
            Failed::Breach(Breach::Crashed) => NavigateError::TabCrashed { url },
            Failed::Breach(Breach::TooLarge { .. }) => {
                self.blank().await;
                NavigateError::PageTooLarge { url, max: self.tab.0.shared.options.current().page_size_max }
            }
            Failed::Breach(Breach::Dialogs { .. }) => {
                self.tab.close().await;
                NavigateError::Dialogs { url, max: DIALOGS_MAX }
            }
            Failed::Late => {
                self.stop().await;
                NavigateError::Timeout { url, timeout: self.options.timeout }
            }
            Failed::Call(CallError::Protocol { message, .. }) if message.contains("invalid URL") => {
                NavigateError::InvalidUrl { url, reason: "Chrome does not take it for an address" }
            }
            Failed::Call(error) => NavigateError::Call(error),
        }
    }

    fn dialogs_exceeded(&self) -> bool {
        self.tab.0.page.with(|page| page.dialogs) > DIALOGS_MAX
    }

    /// What Chrome said about the request for a document. The reply may be ahead of the events that were sent before it.
    async fn answer(&self, loader_id: &str) -> Answer {
        let page = &self.tab.0.page;
        let finished = page.until(|page| page.answer(loader_id).filter(|answer| answer.finished).cloned());
        match timeout(EXPLANATION_WAIT, finished).await {
            Ok(answer) => answer,
            Err(_) => page.with(|page| page.answer(loader_id).cloned()).unwrap_or_default(),
        }
    }

    async fn explain_chrome(&self, error: &str, loader_id: &str) -> NavigateError {
        let answer = self.answer(loader_id).await;
        let error = if error.is_empty() { answer.error.as_deref().unwrap_or_default() } else { error };
        let at = answer.url.parse::<Url>().unwrap_or_else(|_| self.url.clone());
        let host = at.host_str().unwrap_or_default().to_owned();
        if let Some(port) = at.port_or_known_default()
            && is_connection_error(error)
            && let Some(failure) = self.tab.0.shared.egress.last_failure(&host, port).await
        {
            return of_egress(failure, host, port);
        }
        of_chrome(error.trim_start_matches("net::"), &at, &answer)
    }

    async fn stop(&self) {
        let stopped = self.tab.session().send_within(&StopLoading {}, STOP_DEADLINE).await;
        if let Err(error) = stopped {
            tracing::debug!(error = %error, "loading was not stopped");
        }
    }

    /// Drops a page that is too much to keep.
    async fn blank(&self) {
        self.stop().await;
        let blanked = async {
            let blank = Navigate { url: "about:blank" };
            let loader_id = self.tab.session().send(&blank).await?.loader_id.unwrap_or_default();
            // Events of the page before must not count for the one after.
            self.tab.0.page.until(|page| page.documents_since(&loader_id)).await;
            Ok::<_, CallError>(())
        };
        if !matches!(timeout(STOP_DEADLINE, blanked).await, Ok(Ok(()))) {
            self.tab.close().await;
        }
    }
}

/// Errors behind which the egress's reason hides.
fn is_connection_error(error: &str) -> bool {
    const ERRORS: [&str; 6] = ["SOCKS", "PROXY", "TUNNEL", "CONNECTION", "EMPTY_RESPONSE", "TIMED_OUT"];
    ERRORS.iter().any(|part| error.contains(part))
}

fn of_egress(failure: EgressFailure, host: String, port: u16) -> NavigateError {
    match failure {
        EgressFailure::Refused { address, network } => {
            NavigateError::AddressRefused { host, address, network }
        }
        failure @ (EgressFailure::Denied { .. } | EgressFailure::Unlisted { .. }) => {
            NavigateError::AddressDenied { host, reason: failure.to_string() }
        }
        EgressFailure::NotFound => NavigateError::HostNotFound { host },
        failure => NavigateError::Unreachable { host: format!("{host}:{port}"), reason: failure.to_string() },
    }
}

/// Chrome's name of an error as ours. Source: `net/base/net_error_list.h` of Chromium.
fn of_chrome(error: &str, at: &Url, answer: &Answer) -> NavigateError {
    let url = at.to_string();
    let host = at.host_str().unwrap_or_default().to_owned();
    match error {
        "ERR_NAME_NOT_RESOLVED" => NavigateError::HostNotFound { host },
        "ERR_TOO_MANY_REDIRECTS" => NavigateError::RedirectLoop { url },
        "ERR_ABORTED" if matches!(answer.status, Some(204 | 205)) => {
            NavigateError::NotAPage { url, mime: String::new() }
        }
        "ERR_ABORTED" if !answer.mime.is_empty() && !is_page(&answer.mime) => {
            NavigateError::NotAPage { url, mime: answer.mime.clone() }
        }
        "ERR_FILE_NOT_FOUND" | "ERR_ACCESS_DENIED" => {
            NavigateError::InvalidUrl { url, reason: "there is no such file, or it may not be read" }
        }
        "ERR_UNSAFE_PORT" | "ERR_INVALID_URL" | "ERR_UNKNOWN_URL_SCHEME" | "ERR_DISALLOWED_URL_SCHEME" => {
            NavigateError::InvalidUrl { url, reason: "Chrome refuses such an address" }
        }
        _ if error.starts_with("ERR_CERT") || error.starts_with("ERR_SSL") || error.contains("TLS") => {
            NavigateError::Tls { host, reason: error.to_owned() }
        }
        "ERR_TIMED_OUT"
        | "ERR_CONNECTION_TIMED_OUT"
        | "ERR_ADDRESS_UNREACHABLE"
        | "ERR_INTERNET_DISCONNECTED"
        | "ERR_CONNECTION_REFUSED"
        | "ERR_CONNECTION_FAILED"
        | "ERR_SOCKS_CONNECTION_FAILED"
        | "ERR_PROXY_CONNECTION_FAILED" => NavigateError::Unreachable { host, reason: error.to_owned() },
        _ => NavigateError::BadAnswer { url, reason: error.to_owned() },
    }
}
