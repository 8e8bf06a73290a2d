//! How a navigation fails.

use std::{net::IpAddr, time::Duration};

use http::StatusCode;
use paddock_cdp::CallError;
use paddock_platform::{
    problem::{DEADLINE_EXCEEDED, INVALID_REQUEST, OVERLOADED, Problem, ProblemKind},
    units::ByteSize,
};

use crate::{
    egress::Network,
    error::{BROWSER_CRASHED, RETRY_AFTER, call_problem},
};

/// The page is in a network that pages may not reach.
pub const ADDRESS_REFUSED: ProblemKind =
    ProblemKind::new("address-refused", StatusCode::FORBIDDEN, "Address refused");
/// The page's host has no address.
pub const HOST_NOT_FOUND: ProblemKind =
    ProblemKind::new("host-not-found", StatusCode::BAD_GATEWAY, "Host not found");
/// The page's host does not answer.
pub const HOST_UNREACHABLE: ProblemKind =
    ProblemKind::new("host-unreachable", StatusCode::BAD_GATEWAY, "Host unreachable");
/// The page's host has no certificate that can be trusted.
pub const TLS_FAILED: ProblemKind = ProblemKind::new("tls-failed", StatusCode::BAD_GATEWAY, "TLS failed");
/// The page redirects in circles.
pub const REDIRECT_LOOP: ProblemKind =
    ProblemKind::new("redirect-loop", StatusCode::BAD_GATEWAY, "Redirect loop");
/// What is there is not a page.
pub const NOT_A_PAGE: ProblemKind =
    ProblemKind::new("not-a-page", StatusCode::UNPROCESSABLE_ENTITY, "Not a page");
/// The page is larger than the maximum.
pub const PAGE_TOO_LARGE: ProblemKind =
    ProblemKind::new("page-too-large", StatusCode::UNPROCESSABLE_ENTITY, "Page too large");
/// The page opens dialogs without end.
pub const DIALOG_LOOP: ProblemKind =
    ProblemKind::new("dialog-loop", StatusCode::UNPROCESSABLE_ENTITY, "Endless dialogs");
/// The page's server broke the rules of its protocol.
pub const BAD_ANSWER: ProblemKind =
    ProblemKind::new("bad-answer", StatusCode::BAD_GATEWAY, "Unusable answer");

/// A navigation that led to no page.
///
/// An answer with an HTTP status of 400 or more is not among these: it is a page with that status.
#[derive(Debug, thiserror::Error)]
pub enum NavigateError {
    /// The address is not one that a tab may go to.
    #[error("`{url}` cannot be opened: {reason}")]
    InvalidUrl {
        /// The address.
        url: String,
        /// Why not.
        reason: &'static str,
    },
    /// The host is in a network that pages may not reach.
    #[error(
        "{host} is {}in the network {network}, which pages may not reach unless `[browser] allow` names it",
        if host.trim_matches(['[', ']']) == address.to_string() { String::new() } else { format!("at {address}, ") }
    )]
    AddressRefused {
        /// The host of the URL.
        host: String,
        /// Where it is.
        address: IpAddr,
        /// The network that is refused.
        network: Network,
    },
    /// The operator does not want pages to reach the host.
    #[error("{reason}")]
    AddressDenied {
        /// The host of the URL.
        host: String,
        /// Which entry of the list keeps pages from it.
        reason: String,
    },
    /// The host's name resolves to no address.
    #[error("the host {host} was not found")]
    HostNotFound {
        /// The host of the URL.
        host: String,
    },
    /// Nobody listens, or nobody can be reached.
    #[error("{host} cannot be reached: {reason}")]
    Unreachable {
        /// Host and port.
        host: String,
        /// What happened.
        reason: String,
    },
    /// The certificate or the handshake is bad.
    #[error("no secure connection to {host}: {reason}")]
    Tls {
        /// The host of the URL.
        host: String,
        /// Chrome's name of the error.
        reason: String,
    },
    /// The page redirects in circles.
    #[error("{url} redirects in circles")]
    RedirectLoop {
        /// The address.
        url: String,
    },
    /// The answer is a file to keep.
    #[error(
        "{url} is a download instead of a page; what was kept of it is among the downloads of the instance"
    )]
    Download {
        /// The address.
        url: String,
    },
    /// The answer is of a type that is no page.
    #[error("{url} is `{mime}` instead of a page")]
    NotAPage {
        /// The address.
        url: String,
        /// Its media type; empty if there was nothing.
        mime: String,
    },
    /// Empty, cut short or malformed.
    #[error("{url} gave no usable answer: {reason}")]
    BadAnswer {
        /// The address.
        url: String,
        /// Chrome's name of the error, or what is wrong.
        reason: String,
    },
    /// Nothing came in time.
    #[error("{url} did not answer within {}s", timeout.as_secs_f64())]
    Timeout {
        /// The address.
        url: String,
        /// How long it was given.
        timeout: Duration,
    },
    /// Loading was stopped at the maximum.
    #[error("{url} is larger than {max} (`[browser] page_size_max`); loading was stopped")]
    PageTooLarge {
        /// The address.
        url: String,
        /// The bound.
        max: ByteSize,
    },
    /// The page opens dialogs without end.
    #[error("{url} opened more than {max} dialogs; its tab was closed")]
    Dialogs {
        /// The address.
        url: String,
        /// The bound.
        max: u32,
    },
    /// The renderer crashed.
    #[error("the page's renderer crashed while {url} was loading")]
    TabCrashed {
        /// The address.
        url: String,
    },
    /// The tab was closed meanwhile.
    #[error("the tab was closed while {url} was loading")]
    TabClosed {
        /// The address.
        url: String,
    },
    /// Chrome ended.
    #[error("Chrome ended while {url} was loading")]
    BrowserCrashed {
        /// The address.
        url: String,
    },
    /// Too many navigations wait already.
    #[error("{queued} navigations wait already (`[browser] navigation_queue_max`)")]
    Busy {
        /// The bound.
        queued: usize,
    },
    /// A command to Chrome failed.
    #[error("Chrome did not do what it was asked")]
    Call(#[source] CallError),
}

impl NavigateError {
    /// The error as a metric label.
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::InvalidUrl { .. } => "invalid_url",
            Self::AddressRefused { .. } | Self::AddressDenied { .. } => "address_refused",
            Self::HostNotFound { .. } => "host_not_found",
            Self::Unreachable { .. } => "unreachable",
            Self::Tls { .. } => "tls",
            Self::RedirectLoop { .. } => "redirect_loop",
            Self::Download { .. } => "download",
            Self::NotAPage { .. } => "not_a_page",
            Self::BadAnswer { .. } => "bad_answer",
            Self::Timeout { .. } => "timeout",
            Self::PageTooLarge { .. } => "page_too_large",
            Self::Dialogs { .. } => "dialogs",
            Self::TabCrashed { .. } => "tab_crashed",
            Self::TabClosed { .. } => "tab_closed",
            Self::BrowserCrashed { .. } => "browser_crashed",
            Self::Busy { .. } => "busy",
            Self::Call(_) => "call",
        }
    }

    /// Whether another attempt may well succeed: what failed was on this side.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::TabCrashed { .. } | Self::TabClosed { .. } | Self::BrowserCrashed { .. })
    }
}

impl From<NavigateError> for Problem {
    fn from(error: NavigateError) -> Self {
        let kind = match &error {
            NavigateError::InvalidUrl { .. } => INVALID_REQUEST,
            NavigateError::AddressRefused { .. } | NavigateError::AddressDenied { .. } => ADDRESS_REFUSED,
            NavigateError::HostNotFound { .. } => HOST_NOT_FOUND,
            NavigateError::Unreachable { .. } => HOST_UNREACHABLE,
            NavigateError::Tls { .. } => TLS_FAILED,
            NavigateError::RedirectLoop { .. } => REDIRECT_LOOP,
            NavigateError::Download { .. } | NavigateError::NotAPage { .. } => NOT_A_PAGE,
            NavigateError::BadAnswer { .. } => BAD_ANSWER,
            NavigateError::Timeout { .. } => DEADLINE_EXCEEDED,
            NavigateError::PageTooLarge { .. } => PAGE_TOO_LARGE,
            NavigateError::Dialogs { .. } => DIALOG_LOOP,
            NavigateError::TabCrashed { .. }
            | NavigateError::TabClosed { .. }
            | NavigateError::BrowserCrashed { .. } => BROWSER_CRASHED,
            NavigateError::Busy { .. } => OVERLOADED,
            NavigateError::Call(call) => return call_problem(call),
        };
        let problem = Self::new(kind, error.to_string()).with("reason", error.outcome());
        if error.is_transient() || kind == OVERLOADED { problem.retry_after(RETRY_AFTER) } else { problem }
    }
}
