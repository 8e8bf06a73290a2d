//! The state that callers and the driver of one connection share.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{mpsc, oneshot, watch},
};
use tokio_util::sync::CancellationToken;

use crate::{
    driver::{Driver, Transport},
    error::{CallError, ConnectError},
    flow::Flow,
    message::{ErrorBody, Payload},
    protocol::target::{AttachToTarget, AttachedToTarget, DetachedFromTarget},
    relay::{Lane, RelayMessage},
    session::{Session, SessionState},
    subscription::{SESSION_FLOODED, Subscriber},
    websocket,
};

/// The bounds of a connection.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionOptions {
    /// How long a call may take when its caller names no deadline.
    pub call_deadline: Duration,
    /// Largest message in either direction, in bytes.
    pub message_size_max: usize,
    /// Most calls in flight at a time.
    pub calls_max: usize,
    /// Most commands waiting to be written; further callers wait, within their deadline.
    pub outgoing_max: usize,
    /// Bytes of events that one target may emit at once.
    pub event_burst_max: usize,
    /// Bytes of events that one target may emit per second in the long run.
    pub event_bytes_per_s_max: usize,
}

impl Default for ConnectionOptions {
    fn default() -> Self {
        Self {
            call_deadline: Duration::from_secs(10),
            // A full-page screenshot in base64 is the largest reply that Paddock asks for.
            message_size_max: 128 << 20,
            calls_max: 4096,
            outgoing_max: 256,
            // The console of a page, with the 10 MB that Chrome keeps of it, is the largest burst that is asked for.
            event_burst_max: 48 << 20,
            event_bytes_per_s_max: 16 << 20,
        }
    }
}

/// A connection to one Chrome. Cheap to clone; the driver ends when the last handle and session are gone.
#[derive(Clone, Debug)]
pub struct Connection {
    pub(crate) handle: Arc<Handle>,
    browser: Session,
}

/// What callers hold: when the last one is gone, the outgoing queue closes and the driver ends.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) core: Arc<Core>,
    pub(crate) outgoing: mpsc::Sender<Bytes>,
}

impl Connection {
    /// A connection over a pair of streams of NUL-separated messages, and the driver that moves its data.
    pub fn new(
        reader: impl AsyncRead + Send + Unpin + 'static,
        writer: impl AsyncWrite + Send + Unpin + 'static,
        options: ConnectionOptions,
    ) -> (Self, Driver) {
        let transport = Transport::Pipe { reader: Box::new(reader), writer: Box::new(writer) };
        Self::over(transport, options)
    }

    /// A connection to a Chrome that already runs, by its `ws://…/devtools/browser/…` address.
    pub async fn open_websocket(
        url: &str,
        options: ConnectionOptions,
    ) -> Result<(Self, Driver), ConnectError> {
        let socket = websocket::open(url, &options).await?;
        Ok(Self::over(Transport::WebSocket(Box::new(socket)), options))
    }

    fn over(transport: Transport, options: ConnectionOptions) -> (Self, Driver) {
        let (outgoing, queue) = mpsc::channel(options.outgoing_max.max(1));
        let core = Arc::new(Core::new(options));
        let handle = Arc::new(Handle { core: Arc::clone(&core), outgoing });
        let browser = Session::register(&handle, Arc::from(""), Arc::from(""));
        (Self { handle, browser }, Driver::new(core, queue, transport))
    }

    /// The browser's own session: for `Browser.*` and `Target.*`.
    pub fn browser(&self) -> &Session {
        &self.browser
    }

    /// Attaches to a target with a flat session.
    pub async fn attach(&self, target_id: &str) -> Result<Session, CallError> {
        let reply = self.browser.send(&AttachToTarget { target_id, flatten: true }).await?;
        Ok(Session::register(&self.handle, reply.session_id.into(), target_id.into()))
    }

    /// Resolves when Chrome is gone or the driver has ended.
    pub async fn closed(&self) {
        self.handle.core.closed.cancelled().await;
    }

    /// Whether Chrome is gone or the driver has ended.
    pub fn is_closed(&self) -> bool {
        self.handle.core.closed.is_cancelled()
    }

    /// For how long nothing has come from Chrome.
    pub fn silence(&self) -> Duration {
        let core = &self.handle.core;
        let last = Duration::from_millis(core.received_ms.load(Ordering::Relaxed));
        core.started.elapsed().saturating_sub(last)
    }

    /// How many calls await a reply.
    pub fn calls_in_flight(&self) -> usize {
        self.handle.core.state().pending.len()
    }
}

/// The tables of a connection: calls in flight and sessions.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) options: ConnectionOptions,
    pub(crate) closed: CancellationToken,
    call_id_last: AtomicU64,
    started: Instant,
    /// When something came last, since `started`.
    received_ms: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    pending: HashMap<u64, Pending>,
    /// Calls of relays: apart from ours, so that theirs do not use up what we may have in flight.
    relayed: HashMap<u64, Relayed>,
    /// By session id; the browser's own is the empty one.
    sessions: HashMap<Arc<str>, SessionEntry>,
}

/// Why a call ended without a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    Session(SessionState),
    TooLarge(usize),
}

pub(crate) type Outcome = Result<Result<Payload, ErrorBody>, Failure>;

#[derive(Debug)]
struct Pending {
    session: Arc<str>,
    reply: oneshot::Sender<Outcome>,
}

#[derive(Debug)]
struct Relayed {
    session: Arc<str>,
    lane: Arc<Lane>,
    token: u64,
}

#[derive(Debug)]
struct SessionEntry {
    state: watch::Sender<SessionState>,
    subscribers: Vec<Subscriber>,
    flow: Flow,
    /// Whose it is, if it was opened through a relay.
    lane: Option<Arc<Lane>>,
}

/// A call's place in the table; dropping it takes the call out, answered or not.
#[derive(Debug)]
pub(crate) struct PendingGuard<'a> {
    core: &'a Core,
    pub(crate) id: u64,
}

impl Drop for PendingGuard<'_> {
    fn drop(&mut self) {
        self.core.state().pending.remove(&self.id);
    }
}

/// Why a call was not begun.
pub(crate) enum Refusal {
    Session(SessionState),
    TooManyCalls,
}

impl Core {
    fn new(options: ConnectionOptions) -> Self {
        Self {
            options,
            closed: CancellationToken::new(),
            call_id_last: AtomicU64::new(0),
            started: Instant::now(),
            received_ms: AtomicU64::new(0),
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a call into the table, unless its session cannot answer.
    pub(crate) fn begin(
        &self,
        session: &Arc<str>,
    ) -> Result<(PendingGuard<'_>, oneshot::Receiver<Outcome>), Refusal> {
        let mut state = self.state();
        // Under the lock: a session that ends later finds this call in the table and fails it.
        let session_state =
            state.sessions.get(session).map_or(SessionState::Detached, |entry| *entry.state.borrow());
        if session_state != SessionState::Live {
            return Err(Refusal::Session(session_state));
        }
        if state.pending.len() >= self.options.calls_max {
            return Err(Refusal::TooManyCalls);
        }
        let id = self.call_id_last.fetch_add(1, Ordering::Relaxed) + 1;
        let (reply, receiver) = oneshot::channel();
        state.pending.insert(id, Pending { session: Arc::clone(session), reply });
        Ok((PendingGuard { core: self, id }, receiver))
    }

    /// Hands a reply to its caller; one that nobody waits for any more is dropped.
    pub(crate) fn answer(&self, id: u64, outcome: Outcome) {
        let mut state = self.state();
        let pending = state.pending.remove(&id);
        let relayed = if pending.is_none() { state.relayed.remove(&id) } else { None };
        drop(state);
        if let Some(pending) = pending {
            pending.reply.send(outcome).ok();
        } else if let Some(Relayed { lane, token, .. }) = relayed {
            lane.answered();
            let result = outcome.unwrap_or_else(|failure| {
                let message = match failure {
                    Failure::TooLarge(size) => format!("the reply of {size} bytes is over the maximum"),
                    Failure::Session(_) => "the session ended".to_owned(),
                };
                Err(ErrorBody { code: -32000, message, data: None })
            });
            lane.offer(RelayMessage::Reply { token, result });
        }
    }

    /// Enters a relay's call into the table; `None` if the session is not one of its own.
    pub(crate) fn begin_relayed(&self, session: &str, lane: &Arc<Lane>, token: u64) -> Option<u64> {
        let mut state = self.state();
        let (session, entry) = state.sessions.get_key_value(session)?;
        entry.lane.as_ref().filter(|of| Arc::ptr_eq(of, lane))?;
        let session = Arc::clone(session);
        let id = self.call_id_last.fetch_add(1, Ordering::Relaxed) + 1;
        state.relayed.insert(id, Relayed { session, lane: Arc::clone(lane), token });
        Some(id)
    }

    /// Takes a relay's call out that was not written.
    pub(crate) fn forget_relayed(&self, id: u64) {
        if let Some(relayed) = self.state().relayed.remove(&id) {
            relayed.lane.answered();
        }
    }

    pub(crate) fn add_lane_session(&self, id: Arc<str>, lane: &Arc<Lane>) {
        if self.closed.is_cancelled() {
            lane.end();
        }
        let (state, _) = watch::channel(SessionState::Live);
        let entry = SessionEntry {
            state,
            subscribers: Vec::new(),
            flow: Flow::new(Instant::now()),
            lane: Some(Arc::clone(lane)),
        };
        self.state().sessions.insert(id, entry);
    }

    pub(crate) fn is_lane_session(&self, id: &str, lane: &Arc<Lane>) -> bool {
        let state = self.state();
        let of = state.sessions.get(id).and_then(|entry| entry.lane.as_ref());
        of.is_some_and(|of| Arc::ptr_eq(of, lane))
    }

    /// Forgets a relay with its sessions and calls.
    pub(crate) fn remove_lane(&self, lane: &Arc<Lane>) {
        let mut state = self.state();
        state.sessions.retain(|_, entry| entry.lane.as_ref().is_none_or(|of| !Arc::ptr_eq(of, lane)));
        state.relayed.retain(|_, call| !Arc::ptr_eq(&call.lane, lane));
    }

    pub(crate) fn add_session(&self, id: Arc<str>) -> watch::Receiver<SessionState> {
        let initial = if self.closed.is_cancelled() { SessionState::Closed } else { SessionState::Live };
        let (sender, receiver) = watch::channel(initial);
        let entry = SessionEntry {
            state: sender,
            subscribers: Vec::new(),
            flow: Flow::new(Instant::now()),
            lane: None,
        };
        self.state().sessions.insert(id, entry);
        receiver
    }

    pub(crate) fn remove_session(&self, id: &str) {
        self.state().sessions.remove(id);
    }

    /// Adds an event queue to a session; to one that has ended, a queue that is already at its end.
    pub(crate) fn subscribe(&self, session: &str, subscriber: Subscriber) {
        if let Some(entry) = self.state().sessions.get_mut(session)
            && !entry.state.borrow().is_final()
        {
            entry.subscribers.push(subscriber);
        }
    }

    /// Lets a crashed session take commands again: navigating its target starts a new renderer.
    pub(crate) fn revive(&self, session: &str) {
        if let Some(entry) = self.state().sessions.get(session) {
            entry.state.send_if_modified(|state| {
                let crashed = *state == SessionState::Crashed;
                if crashed {
                    *state = SessionState::Live;
                }
                crashed
            });
        }
    }

    /// Gives a relay's event to it; sessions that the event says are opened through the relay become its own before
    /// anything can come on them. Whether the session is a relay's.
    fn deliver_to_lane(&self, session: &str, method: &str, params: &Payload) -> bool {
        let mut state = self.state();
        let Some((session, entry)) = state.sessions.get_key_value(session) else { return false };
        let Some(lane) = entry.lane.clone() else { return false };
        let session = Arc::clone(session);
        match method {
            "Target.attachedToTarget" => {
                if let Ok(AttachedToTarget { session_id }) = params.parse() {
                    let (sender, _) = watch::channel(SessionState::Live);
                    let lane = Some(Arc::clone(&lane));
                    let entry = SessionEntry {
                        state: sender,
                        subscribers: Vec::new(),
                        flow: Flow::new(Instant::now()),
                        lane,
                    };
                    state.sessions.entry(session_id.into()).or_insert(entry);
                }
            }
            "Target.detachedFromTarget" => {
                if let Ok(DetachedFromTarget { session_id }) = params.parse() {
                    let State { sessions, relayed, .. } = &mut *state;
                    let owned = sessions.get(&*session_id).and_then(|entry| entry.lane.as_ref());
                    if owned.is_some_and(|of| Arc::ptr_eq(of, &lane)) {
                        sessions.remove(&*session_id);
                        relayed.extract_if(|_, call| *call.session == *session_id).for_each(|(_, call)| {
                            call.lane.answered();
                        });
                    }
                }
            }
            _ => {}
        }
        drop(state);
        lane.offer(RelayMessage::Event { session, method: method.into(), params: params.clone() });
        true
    }

    /// Delivers an event to the subscribers, after drawing the consequences for sessions.
    pub(crate) fn deliver(&self, session: &str, method: &str, params: &Payload) {
        if self.deliver_to_lane(session, method, params) {
            return;
        }
        match method {
            // Sent to every session of the target, enabled or not.
            "Inspector.targetCrashed" => self.end(SessionState::Crashed, |id| id == session),
            "Inspector.targetReloadedAfterCrash" => self.revive(session),
            _ => {}
        }
        if let Some(entry) = self.state().sessions.get_mut(session) {
            entry.subscribers.retain(|subscriber| subscriber.offer(method, params));
        }
        self.note_flow(session, params.as_bytes().len());
        if method == "Target.detachedFromTarget"
            && let Ok(DetachedFromTarget { session_id }) = params.parse()
        {
            self.end(SessionState::Detached, |id| id == session_id);
        }
    }

    /// Counts bytes of a session's events, and tells its subscribers when there are too many. The browser's own session
    /// is not a page's to fill.
    pub(crate) fn note_flow(&self, session: &str, size: usize) {
        if session.is_empty() {
            return;
        }
        let mut state = self.state();
        let Some(entry) = state.sessions.get_mut(session) else { return };
        let (burst_max, per_s_max) = (self.options.event_burst_max, self.options.event_bytes_per_s_max);
        if entry.flow.overflows(size, burst_max, per_s_max, Instant::now()) {
            entry.subscribers.retain(|subscriber| subscriber.offer(SESSION_FLOODED, &Payload::empty()));
        }
    }

    /// Notes that Chrome is heard of.
    pub(crate) fn note_received(&self) {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.received_ms.store(now, Ordering::Relaxed);
    }

    /// Ends everything: Chrome is gone.
    pub(crate) fn close(&self) {
        self.closed.cancel();
        self.end(SessionState::Closed, |_| true);
    }

    /// Moves matching sessions into a state in which they do not answer, and fails their calls at once.
    fn end(&self, into: SessionState, matches: impl Fn(&str) -> bool) {
        let mut state = self.state();
        let State { pending, sessions, .. } = &mut *state;
        let mut failed = Vec::new();
        for (id, entry) in sessions.iter_mut().filter(|(id, _)| matches(id)) {
            if entry.state.borrow().is_final() {
                continue;
            }
            if let Some(lane) = &entry.lane
                && into == SessionState::Closed
            {
                lane.end();
            }
            entry.state.send_replace(into);
            if into.is_final() {
                entry.subscribers.clear();
            }
            failed.extend(pending.extract_if(|_, call| call.session == *id));
        }
        drop(state);
        for (_, call) in failed {
            call.reply.send(Err(Failure::Session(into))).ok();
        }
    }
}
