//! Navigation: to a page that is there and has settled, or to a clear reason why not.
//!
//! Waiting is driven by events and bounded at each step: the answer and the commit by `timeout`, the load event by
//! `load_max`, settling by `settle_max`. A page that is there but never finishes is a result (`settled: false`); only
//! a page that never came is an error.

mod error;
mod explain;
mod settle;

use std::time::Duration;

use metrics::histogram;
use paddock_cdp::{
    CallError, SessionState,
    protocol::page::{Navigate, Navigated, StopLoading},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, timeout, timeout_at},
};
use url::Url;
use utoipa::ToSchema;

pub use self::error::*;
use crate::{
    gate::Turned,
    metrics::{BROWSER_NAVIGATION_DURATION_SECONDS, BROWSER_NAVIGATION_QUEUE_DURATION_SECONDS},
    page::{Breach, Stage},
    tab::{DIALOGS_MAX, Tab},
};

/// How long the news of a crash may take from the session to the page: they come by the same way.
const CRASH_NEWS_MAX: Duration = Duration::from_secs(1);
/// How long Chrome may take to say where it is.
const ASK_DEADLINE: Duration = Duration::from_secs(5);
/// Documents that a page may lead to by itself (script, meta refresh) before that is a loop.
const DOCUMENTS_MAX: usize = 20;

/// When a navigation is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// How far the document must have come.
    pub until: Stage,
    /// How long that may take after the commit.
    pub load_max: Duration,
    /// How long network and DOM must be quiet for the page to count as settled. Zero: do not settle.
    pub quiet: Duration,
    /// How long settling may take.
    pub settle_max: Duration,
}

impl Wait {
    /// Loaded, then quiet for 300 ms: for looking at the page. At most 15 s for the load event and 5 s of settling.
    pub const fn settled() -> Self {
        Self {
            until: Stage::Loaded,
            load_max: Duration::from_secs(15),
            quiet: Duration::from_millis(300),
            settle_max: Duration::from_secs(5),
        }
    }

    /// Loaded, no settling: for an agent that looks at once and again.
    pub const fn loaded() -> Self {
        Self { quiet: Duration::ZERO, ..Self::settled() }
    }
}

impl Default for Wait {
    fn default() -> Self {
        Self::settled()
    }
}

/// How to navigate.
#[derive(Clone, Copy, Debug)]
pub struct NavigateOptions {
    /// How long the page may take to come, waiting for a turn included.
    pub timeout: Duration,
    /// When it counts as being there.
    pub wait: Wait,
    /// Whether `file:` addresses may be opened: only for files that the user named.
    pub allow_file: bool,
}

impl Default for NavigateOptions {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(30), wait: Wait::default(), allow_file: false }
    }
}

/// A page that was reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Navigation {
    /// Where it is, after all redirects.
    #[schema(value_type = String)]
    pub url: Url,
    /// Its title.
    pub title: String,
    /// HTTP status; none for files.
    pub status: Option<u16>,
    /// Media type.
    pub mime: String,
    /// Redirects on the way, those by scripts and markup included.
    pub redirects: u32,
    /// How far the document came.
    pub stage: Stage,
    /// Whether it came to rest; false: waiting was given up.
    pub settled: bool,
    /// Dialogs that it opened and that were dismissed.
    pub dialogs: u32,
    /// Bytes loaded so far, decompressed, sub-resources included.
    pub bytes: u64,
    /// Bytes on the wire of the requests that have ended, headers included.
    #[serde(default)]
    pub bytes_transferred: u64,
    /// Requests made so far.
    pub requests: u64,
    /// Milliseconds from the start of the navigation to its end, waiting for a turn excluded.
    pub duration_ms: u64,
}

impl Navigation {
    /// Whether the document is HTML.
    pub fn is_html(&self) -> bool {
        matches!(self.mime.as_str(), "text/html" | "application/xhtml+xml")
    }
}

impl Tab {
    /// Goes to an address and waits until the page is there.
    pub async fn navigate(&self, url: &Url, options: NavigateOptions) -> Result<Navigation, NavigateError> {
        check(url, options.allow_file)?;
        self.touch();
        let queued = Instant::now();
        let deadline = queued + options.timeout;
        let late = || NavigateError::Timeout { url: url.to_string(), timeout: options.timeout };
        let _turn = timeout_at(deadline, self.0.navigating.lock()).await.map_err(|_| late())?;
        let limits = self.0.shared.options.current();
        let queue_max = limits.navigation_queue_max;
        let permit = self.0.shared.gate.enter(limits.navigation_concurrency(), queue_max, deadline).await;
        let permit = permit.map_err(|turned| match turned {
            Turned::Full => NavigateError::Busy { queued: queue_max },
            Turned::Late => late(),
        })?;
        histogram!(BROWSER_NAVIGATION_QUEUE_DURATION_SECONDS).record(queued.elapsed());

        self.0.dialogs.dismiss();
        let started = Instant::now();
        let unfinished = Unfinished(Some(self));
        let result = Attempt { tab: self, url, options, started, deadline }.run(permit).await;
        unfinished.finish();
        let outcome = result.as_ref().map_or_else(NavigateError::outcome, |_| "ok");
        histogram!(BROWSER_NAVIGATION_DURATION_SECONDS, "outcome" => outcome).record(started.elapsed());
        self.touch();
        result
    }
}

fn check(url: &Url, allow_file: bool) -> Result<(), NavigateError> {
    let reason = match url.scheme() {
        "http" | "https" => return Ok(()),
        "about" if url.as_str() == "about:blank" => return Ok(()),
        "file" if allow_file => return Ok(()),
        "file" => "files of this machine are not opened for callers",
        _ => "only http and https addresses are pages",
    };
    Err(NavigateError::InvalidUrl { url: url.to_string(), reason })
}

/// One navigation under way.
struct Attempt<'a> {
    tab: &'a Tab,
    url: &'a Url,
    options: NavigateOptions,
    started: Instant,
    deadline: Instant,
}

/// Stops loading when the caller goes away: nobody would notice that a page is endless.
struct Unfinished<'a>(Option<&'a Tab>);

impl Unfinished<'_> {
    fn finish(mut self) {
        self.0 = None;
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(tab) = self.0 {
            let session = tab.session().clone();
            tab.0.shared.tasks.spawn("browser_stop_loading", async move {
                session.send(&StopLoading {}).await.ok();
            });
        }
    }
}

/// The main frame shows a page.
struct Reached {
    /// The document that was asked for; none if only the fragment changed.
    loader_id: Option<String>,
    settled: bool,
}

/// The main frame shows no page.
enum Failed {
    /// Chrome's reason, and the document that it did not get.
    Chrome {
        error: String,
        loader_id: String,
    },
    /// The answer is a file to keep.
    Download {
        loader_id: String,
    },
    /// A bound was crossed.
    Breach(Breach),
    /// The time is up.
    Late,
    Call(CallError),
}

impl From<CallError> for Failed {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Crashed { .. } => Self::Breach(Breach::Crashed),
            CallError::Closed { .. } | CallError::Detached { .. } => Self::Breach(Breach::Closed),
            error => Self::Call(error),
        }
    }
}

impl Attempt<'_> {
    async fn run(&self, permit: OwnedSemaphorePermit) -> Result<Navigation, NavigateError> {
        let page = &self.tab.0.page;
        if self.tab.session().state() == SessionState::Crashed {
            // The session may know of the crash before the page does; the news must not hit this navigation.
            let known = page.until(|page| (page.crashed || page.closed).then_some(()));
            timeout_at(self.deadline.min(Instant::now() + CRASH_NEWS_MAX), known).await.ok();
            // Navigating is what starts a new renderer.
            self.tab.session().revive();
        }
        page.with(|page| page.begin(Instant::now()));
        let bytes_max = self.tab.0.shared.options.current().page_size_max.get();
        let breach = page.until(|page| page.breach(bytes_max, DIALOGS_MAX));
        let result = tokio::select! {
            biased;
            breach = breach => Err(Failed::Breach(breach)),
            result = self.reach(permit) => result,
        };
        match result {
            Ok(reached) => self.arrived(reached).await,
            Err(failed) => Err(self.explain(failed).await),
        }
    }

    /// Gets a document, and waits for it as far as asked.
    async fn reach(&self, permit: OwnedSemaphorePermit) -> Result<Reached, Failed> {
        let command = Navigate { url: self.url.as_str() };
        let remaining = self.deadline.saturating_duration_since(Instant::now());
        let navigated = match self.tab.session().send_within(&command, remaining).await {
            Err(CallError::Deadline { .. }) => return Err(Failed::Late),
            result => result?,
        };
        let Navigated { loader_id, error_text, is_download, .. } = navigated;
        // Without a new document, only the fragment changed.
        let Some(loader_id) = loader_id else { return Ok(Reached { loader_id, settled: true }) };
        if is_download {
            return Err(Failed::Download { loader_id });
        }
        if let Some(error) = error_text {
            return Err(Failed::Chrome { error, loader_id });
        }
        self.committed(&loader_id).await?;
        self.tab.prepare_look();
        let settled = self.come_to_rest(&loader_id, permit).await?;
        Ok(Reached { loader_id: Some(loader_id), settled })
    }

    /// Waits for the event that shows the new document.
    async fn committed(&self, loader_id: &str) -> Result<(), Failed> {
        let committed = self.tab.0.page.until(|page| {
            // Perhaps it is not the present one any more: a script may have gone on already.
            page.documents_since(loader_id).map(drop)
        });
        timeout_at(self.deadline, committed).await.map_err(|_| Failed::Late)
    }

    async fn come_to_rest(&self, first: &str, permit: OwnedSemaphorePermit) -> Result<bool, Failed> {
        let mut permit = Some(permit);
        loop {
            let loader_id = self.tab.0.page.with(|page| page.loader_id.clone());
            let loaded = self.loaded(&loader_id).await?;
            // Settling is mostly waiting: somebody else's page may load meanwhile.
            drop(permit.take());
            let settled = loaded && (self.options.wait.quiet.is_zero() || self.settle(&loader_id).await);
            let (went_on, followed) =
                self.tab.0.page.with(|page| (page.loader_id != loader_id, page.documents_since(first)));
            if !went_on {
                return Ok(settled);
            }
            if followed.is_none_or(|followed| followed >= DOCUMENTS_MAX) {
                let error = "net::ERR_TOO_MANY_REDIRECTS".to_owned();
                return Err(Failed::Chrome { error, loader_id });
            }
            if Instant::now() >= self.deadline {
                return Ok(false);
            }
        }
    }

    /// Waits for the load event, or for the document to be replaced. Whether one of them came.
    async fn loaded(&self, loader_id: &str) -> Result<bool, Failed> {
        let wait = self.options.wait;
        let until = (Instant::now() + wait.load_max).min(self.deadline);
        let loaded = self.tab.0.page.until(|page| {
            if page.loader_id != loader_id {
                Some(Ok(()))
            } else if page.is_error {
                let answer = page.answer(loader_id);
                let error = answer.and_then(|answer| answer.error.clone()).unwrap_or_default();
                Some(Err(Failed::Chrome { error, loader_id: loader_id.to_owned() }))
            } else {
                (page.stage >= wait.until).then_some(Ok(()))
            }
        });
        timeout_at(until, loaded).await.map_or(Ok(false), |result| result.map(|()| true))
    }

    async fn arrived(&self, Reached { loader_id, settled }: Reached) -> Result<Navigation, NavigateError> {
        let info = match timeout(ASK_DEADLINE, self.tab.info()).await {
            Ok(Ok(info)) => info,
            _ if self.tab.0.process.connection().is_closed() => {
                return Err(NavigateError::BrowserCrashed { url: self.url.to_string() });
            }
            _ => return Err(NavigateError::TabClosed { url: self.url.to_string() }),
        };
        let url = info.url.parse().unwrap_or_else(|_| self.url.clone());
        let navigation = self.tab.0.page.with(|page| {
            let answer = page.answer(&page.loader_id);
            let followed = loader_id.and_then(|first| page.documents_since(&first)).unwrap_or(0);
            let redirects = answer.map_or(0, |answer| answer.redirects);
            Navigation {
                url,
                title: info.title,
                status: answer.and_then(|answer| answer.status),
                mime: page.mime.clone(),
                redirects: redirects.saturating_add(u32::try_from(followed).unwrap_or(u32::MAX)),
                stage: page.stage,
                settled,
                dialogs: page.dialogs,
                bytes: page.bytes,
                bytes_transferred: page.bytes_transferred,
                requests: page.requests,
                duration_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            }
        });
        if is_page(&navigation.mime) {
            Ok(navigation)
        } else {
            Err(NavigateError::NotAPage { url: navigation.url.to_string(), mime: navigation.mime })
        }
    }
}

/// Media types that Chrome shows as a document.
fn is_page(mime: &str) -> bool {
    let (kind, sub) = mime.split_once('/').unwrap_or((mime, ""));
    mime.is_empty()
        || matches!(kind, "text" | "image")
        || sub.ends_with("json")
        || sub.ends_with("xml")
        || matches!(sub, "javascript" | "x-javascript" | "ecmascript")
}
