//! What a tab's events say about its page: a state machine fed by events, asked by navigations.

mod shared;

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use paddock_cdp::{
    Event,
    protocol::{
        network::{
            DataReceived, LoadingFailed, LoadingFinished, RequestWillBeSent, Response, ResponseReceived,
        },
        page::{Frame, FrameNavigated, LifecycleEvent, NavigatedWithinDocument},
    },
};
use tokio::time::Instant;

pub(crate) use self::shared::SharedPage;

/// The events that a tab's follower takes in: those that [`Page::apply`] understands, those of the log, and those about
/// the session.
pub(crate) const EVENTS: &[&str] = &[
    "Page.frameNavigated",
    "Page.navigatedWithinDocument",
    "Page.lifecycleEvent",
    "Page.javascriptDialogOpening",
    "Page.javascriptDialogClosed",
    "Network.requestWillBeSent",
    "Network.requestServedFromCache",
    "Network.responseReceived",
    "Network.dataReceived",
    "Network.loadingFinished",
    "Network.loadingFailed",
    "Inspector.targetCrashed",
    paddock_cdp::SESSION_FLOODED,
];
/// Requests in flight that are followed; a page with more does not count as busy because of the rest.
const REQUESTS_MAX: usize = 10_000;
/// Documents of the main frame that are remembered.
const HISTORY_MAX: usize = 64;
/// Bytes that a document may load after it was stopped before it is stopped again.
const STOP_STEP: u64 = 1 << 20;
/// How long a document may stay for each time that it loads as much as it may.
const ALLOWANCE_PERIOD: Duration = Duration::from_mins(1);
/// Navigations of the main frame whose answers are remembered.
const ANSWERS_MAX: usize = 8;
/// Requests that stay open by design, or that nothing on the page waits for.
const LONG_LIVED: [&str; 5] = ["EventSource", "WebSocket", "Ping", "Media", "Prefetch"];

/// How far a document has come.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
    utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Its first bytes are there.
    #[default]
    Committed,
    /// The markup is parsed.
    Parsed,
    /// The load event fired: all that the markup names is there.
    Loaded,
}

/// How the main frame's request for one document was answered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    pub(crate) loader_id: String,
    pub(crate) url: String,
    pub(crate) status: Option<u16>,
    pub(crate) mime: String,
    /// What `Content-Length` promises.
    pub(crate) length: Option<u64>,
    pub(crate) redirects: u32,
    /// The request has ended, with an error or without.
    pub(crate) finished: bool,
    pub(crate) error: Option<String>,
}

/// Why a navigation must be broken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Breach {
    Crashed,
    TooLarge { bytes: u64 },
    Dialogs { count: u32 },
    Closed,
}

/// The state, as of the last event.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) main_frame: String,
    /// The main frame's present document.
    pub(crate) loader_id: String,
    pub(crate) url: String,
    pub(crate) mime: String,
    /// The document is Chrome's own page about an error.
    pub(crate) is_error: bool,
    pub(crate) stage: Stage,
    /// The main frame's last documents, the present one included.
    history: VecDeque<String>,
    answers: VecDeque<Answer>,
    in_flight: HashMap<String, String>,
    /// Since when no request is in flight.
    pub(crate) quiet_since: Option<Instant>,
    // Since the navigation began:
    pub(crate) requests: u64,
    pub(crate) bytes: u64,
    /// On the wire, of requests that have ended.
    pub(crate) bytes_transferred: u64,
    pub(crate) dialogs: u32,
    pub(crate) crashed: bool,
    pub(crate) closed: bool,
    // Since the present document was committed:
    committed: Option<Instant>,
    document_bytes: u64,
    /// What it had loaded when it was last stopped.
    stopped_at: Option<u64>,
}

/// What is to be done about a document that loads more than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Excess {
    /// Stop what it loads.
    Stop,
    /// Close it: it goes on in spite of that.
    Close,
}

impl Page {
    /// A page that shows this document.
    pub(crate) fn new(frame: Frame, now: Instant) -> Self {
        Self {
            main_frame: frame.id,
            loader_id: frame.loader_id,
            url: frame.url,
            mime: frame.mime_type,
            quiet_since: Some(now),
            committed: Some(now),
            ..Self::default()
        }
    }

    /// Forgets the counts of the navigation before.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.requests = 0;
        self.bytes = 0;
        self.bytes_transferred = 0;
        self.dialogs = 0;
        self.crashed = false;
        self.answers.clear();
        self.forget_requests(now);
    }

    /// Takes no request for being in flight any more: their ends may have been missed.
    pub(crate) fn forget_requests(&mut self, now: Instant) {
        self.in_flight.clear();
        self.quiet_since = Some(now);
    }

    /// How many documents came after this one by themselves; none if it has not been committed.
    pub(crate) fn documents_since(&self, loader_id: &str) -> Option<usize> {
        self.history.iter().rev().position(|known| known == loader_id)
    }

    /// Whether a document was asked for that is neither there nor refused yet.
    pub(crate) fn is_leaving(&self) -> bool {
        let asked = self.answers.back();
        asked.is_some_and(|asked| !asked.finished && self.documents_since(&asked.loader_id).is_none())
    }

    /// What Chrome said about the request for a document.
    pub(crate) fn answer(&self, loader_id: &str) -> Option<&Answer> {
        self.answers.iter().find(|answer| answer.loader_id == loader_id)
    }

    /// Whether a bound is crossed or the page is gone.
    pub(crate) fn breach(&self, bytes_max: u64, dialogs_max: u32) -> Option<Breach> {
        let promised = self.answers.back().and_then(|answer| answer.length).unwrap_or(0);
        let bytes = self.bytes.max(promised);
        if self.closed {
            Some(Breach::Closed)
        } else if self.crashed {
            Some(Breach::Crashed)
        } else if bytes > bytes_max {
            Some(Breach::TooLarge { bytes })
        } else if self.dialogs > dialogs_max {
            Some(Breach::Dialogs { count: self.dialogs })
        } else {
            None
        }
    }

    /// What is to be done about the document's size: it may load `bytes_max`, and as much again for every minute that it
    /// stays. Asked after every event; says each thing once.
    pub(crate) fn excess(&mut self, bytes_max: u64, now: Instant) -> Option<Excess> {
        let bytes = self.document_bytes;
        if bytes <= bytes_max {
            return None;
        }
        let stay = self.committed.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        let periods = 1 + stay.as_secs() / ALLOWANCE_PERIOD.as_secs();
        let allowed = bytes_max.saturating_mul(periods);
        if bytes <= allowed || self.stopped_at.is_some_and(|at| bytes < at.saturating_add(STOP_STEP)) {
            return None;
        }
        self.stopped_at = Some(bytes);
        Some(if bytes > allowed.saturating_add(bytes_max) { Excess::Close } else { Excess::Stop })
    }

    /// Takes in what is there now, after events were lost that may have told of it. What the document has loaded is
    /// unknown then: nobody waits for it any more.
    pub(crate) fn resync(&mut self, frame: Frame, now: Instant) {
        if frame.loader_id != self.loader_id {
            self.frame_navigated(FrameNavigated { frame }, now);
        }
        self.stage = Stage::Loaded;
    }

    /// Takes an event in. Events that are not understood change nothing.
    pub(crate) fn apply(&mut self, event: &Event, now: Instant) {
        let params = &event.params;
        match event.method {
            "Page.frameNavigated" => params.parse().map(|event| self.frame_navigated(event, now)),
            "Page.navigatedWithinDocument" => params.parse().map(|event: NavigatedWithinDocument| {
                if event.frame_id == self.main_frame {
                    self.url = event.url;
                }
            }),
            "Page.lifecycleEvent" => params.parse().map(|event| self.lifecycle(&event)),
            "Page.javascriptDialogOpening" => {
                self.dialogs += 1;
                Ok(())
            }
            "Inspector.targetCrashed" => {
                self.crashed = true;
                self.in_flight.clear();
                Ok(())
            }
            "Network.requestWillBeSent" => params.parse().map(|event| self.request(event)),
            "Network.responseReceived" => params.parse().map(|event| self.response(event)),
            "Network.dataReceived" => params.parse().map(|event: DataReceived| {
                let bytes = event.data_length.max(event.encoded_data_length);
                self.bytes += bytes;
                self.document_bytes += bytes;
            }),
            "Network.loadingFinished" => params.parse().map(|event: LoadingFinished| {
                self.bytes_transferred += event.encoded_data_length.max(0.0) as u64;
                self.finished(&event.request_id, None);
            }),
            "Network.loadingFailed" => params.parse().map(|event: LoadingFailed| {
                self.finished(&event.request_id, Some(event.error_text));
            }),
            _ => Ok(()),
        }
        .unwrap_or_else(|error| tracing::debug!(error = %error, "skipped a malformed {}", event.method));
        match (self.in_flight.is_empty(), self.quiet_since) {
            (true, None) => self.quiet_since = Some(now),
            (false, Some(_)) => self.quiet_since = None,
            _ => {}
        }
    }

    fn frame_navigated(&mut self, FrameNavigated { frame }: FrameNavigated, now: Instant) {
        if frame.parent_id.is_some() {
            return;
        }
        self.committed = Some(now);
        self.document_bytes = 0;
        self.stopped_at = None;
        self.main_frame = frame.id;
        self.stage = Stage::Committed;
        self.is_error = frame.unreachable_url.is_some();
        self.url = frame.unreachable_url.unwrap_or(frame.url);
        self.mime = frame.mime_type;
        if self.history.len() == HISTORY_MAX {
            self.history.pop_front();
        }
        self.history.push_back(frame.loader_id.clone());
        self.loader_id = frame.loader_id;
        // What the document before had under way does not delay this one.
        let loader_id = &self.loader_id;
        self.in_flight.retain(|_, loader| loader == loader_id);
    }

    fn lifecycle(&mut self, event: &LifecycleEvent) {
        if event.frame_id != self.main_frame || event.loader_id != self.loader_id {
            return;
        }
        match event.name.as_str() {
            "DOMContentLoaded" => self.stage = self.stage.max(Stage::Parsed),
            "load" => self.stage = Stage::Loaded,
            _ => {}
        }
    }

    fn request(&mut self, event: RequestWillBeSent) {
        self.requests += 1;
        let is_main = event.kind == "Document"
            && event.frame_id == self.main_frame
            && event.request_id == event.loader_id;
        if is_main {
            self.main_request(&event);
        }
        let is_local = event.request.url.starts_with("data:") || event.request.url.starts_with("blob:");
        if !is_local && !LONG_LIVED.contains(&event.kind.as_str()) && self.in_flight.len() < REQUESTS_MAX {
            self.in_flight.insert(event.request_id, event.loader_id);
        }
    }

    fn main_request(&mut self, event: &RequestWillBeSent) {
        let known = self.answers.iter_mut().find(|answer| answer.loader_id == event.loader_id);
        if let Some(answer) = known {
            // The same id again is the next hop of a redirect.
            answer.redirects += u32::from(event.redirect_response.is_some());
            answer.url.clone_from(&event.request.url);
            return;
        }
        if self.answers.len() == ANSWERS_MAX {
            self.answers.pop_front();
        }
        self.answers.push_back(Answer {
            loader_id: event.loader_id.clone(),
            url: event.request.url.clone(),
            ..Answer::default()
        });
    }

    fn response(&mut self, ResponseReceived { request_id, response }: ResponseReceived) {
        if let Some(answer) = self.answers.iter_mut().find(|answer| answer.loader_id == request_id) {
            answer.length = content_length(&response);
            // Files have a made-up status.
            answer.status = response.url.starts_with("http").then_some(response.status);
            answer.url = response.url;
            answer.mime = response.mime_type;
        }
    }

    fn finished(&mut self, request_id: &str, error: Option<String>) {
        self.in_flight.remove(request_id);
        if let Some(answer) = self.answers.iter_mut().find(|answer| answer.loader_id == request_id) {
            answer.finished = true;
            answer.error = error;
        }
    }
}

fn content_length(response: &Response) -> Option<u64> {
    let header = |(name, value): (&String, &String)| {
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())
    };
    response.headers.iter().find_map(header).flatten()
}

#[cfg(test)]
mod tests;
