//! The tables of a connection: who waits for which reply, and which session is whose.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    connection::ConnectionOptions,
    flow::Flow,
    message::{ErrorBody, Payload},
    protocol::target::{AttachedToTarget, DetachedFromTarget},
    relay::{Lane, RelayMessage},
    session::SessionState,
    subscription::{SESSION_FLOODED, Subscriber},
};

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
    pub(crate) fn new(options: ConnectionOptions) -> Self {
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

    /// A number that no call has had.
    pub(crate) fn next_call_id(&self) -> u64 {
        self.call_id_last.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// For how long nothing has come from Chrome.
    pub(crate) fn silence(&self) -> Duration {
        let last = Duration::from_millis(self.received_ms.load(Ordering::Relaxed));
        self.started.elapsed().saturating_sub(last)
    }

    /// How many calls await a reply.
    pub(crate) fn calls_in_flight(&self) -> usize {
        self.state().pending.len()
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
        let id = self.next_call_id();
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
        let id = self.next_call_id();
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
