//! A [`Conversation`]: who asked what on a [`Line`], and who gets the answers.
//!
//! Requests of several callers share a line, so each gets a number in place of its id, and one in place of its progress
//! token; answers and notifications get the caller's own back. All else of a message passes as it is.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use paddock_platform::task::Tasks;
use serde_json::value::RawValue;
use tokio::sync::{Notify, mpsc, oneshot};

use super::{
    line::{End, Line},
    message::{
        Envelope, METHOD_NOT_FOUND, error_answer, with_cancelled, with_subscription, with_token_of_progress,
        with_token_of_request,
    },
};

/// Notifications that wait for the caller of one request; more are dropped.
const NOTICES_MAX: usize = 64;
/// Messages that wait for a client that has no stream open; the oldest are dropped.
const BACKLOG_MAX: usize = 64;
/// Messages that wait for a client to read them from its stream.
const LISTENER_MAX: usize = 256;
/// How long a server may take to show that it lives, after it did not answer something else.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// Who is at this end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Paddock itself: there is nobody whom the server could ask something.
    Own,
    /// One client, that the server may ask.
    Client,
    /// Clients of a protocol without sessions.
    Stateless,
}

/// A request that is being answered.
struct Pending {
    /// As the caller wrote it.
    id: Box<str>,
    token: Option<Box<str>>,
    notices: mpsc::Sender<Bytes>,
    answer: oneshot::Sender<Bytes>,
}

#[derive(Default)]
struct State {
    number_last: u64,
    pending: BTreeMap<u64, Pending>,
    listener: Option<mpsc::Sender<Bytes>>,
    backlog: VecDeque<Bytes>,
    is_over: bool,
}

pub(super) struct Inner {
    side: Side,
    outgoing: mpsc::Sender<Bytes>,
    end: End,
    state: Mutex<State>,
    started: Instant,
    /// Milliseconds after `started` of what was said last by either side, and by the server.
    used_ms: AtomicU64,
    heard_ms: AtomicU64,
    /// The server's list of tools is another.
    pub(super) tools_changed: Notify,
}

/// A conversation with a server. Cheap to clone.
#[derive(Clone)]
pub(super) struct Conversation(Arc<Inner>);

impl std::fmt::Debug for Conversation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Conversation").field("side", &self.0.side).finish_non_exhaustive()
    }
}

impl std::ops::Deref for Conversation {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

/// Ends a conversation unless somebody takes it over: whoever began it may be dropped meanwhile.
pub(super) struct Unclaimed(Option<Conversation>);

impl Unclaimed {
    pub(super) fn new(conversation: &Conversation) -> Self {
        Self(Some(conversation.clone()))
    }

    pub(super) fn claim(mut self) {
        self.0 = None;
    }
}

impl Drop for Unclaimed {
    fn drop(&mut self) {
        if let Some(conversation) = &self.0 {
            conversation.close();
        }
    }
}

/// The line ended before the answer came.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct LineEnded(pub(super) String);

/// A request on its way. Dropping it before the answer came tells the server that nobody waits any more.
pub(super) struct Exchange {
    pub(super) notices: mpsc::Receiver<Bytes>,
    pub(super) answer: oneshot::Receiver<Bytes>,
    conversation: Conversation,
    number: u64,
    sent_ms: u64,
}

impl Conversation {
    /// Takes a line over.
    pub(super) fn begin(line: Line, side: Side, tasks: &Tasks) -> Self {
        let Line { outgoing, mut incoming, end } = line;
        let conversation = Self(Arc::new(Inner {
            side,
            outgoing,
            end,
            state: Mutex::default(),
            started: Instant::now(),
            used_ms: AtomicU64::new(0),
            heard_ms: AtomicU64::new(0),
            tools_changed: Notify::new(),
        }));
        let reading = conversation.clone();
        tasks.spawn("registry_gateway_conversation", async move {
            while let Some(message) = incoming.recv().await {
                reading.take(&message);
            }
            // The reason is known once whoever carried the line has ended.
            tokio::select! { () = reading.end.ended() => {}, () = tokio::time::sleep(PING_TIMEOUT) => {} }
            reading.end.set_ended("the connection was closed");
            let mut state = reading.lock();
            state.is_over = true;
            state.pending.clear();
            state.listener = None;
        });
        conversation
    }

    /// Sends a request on a caller's behalf.
    pub(super) async fn ask(&self, envelope: &Envelope<'_>) -> Result<Exchange, LineEnded> {
        let head = envelope.head().unwrap_or_default();
        let token = head.meta.and_then(|meta| meta.progress_token).map(RawValue::get);
        let (notices, notices_seen) = mpsc::channel(NOTICES_MAX);
        let (answer, answered) = oneshot::channel();
        let id = envelope.id.map_or("null", RawValue::get);
        let number = {
            let mut state = self.lock();
            if state.is_over {
                return Err(self.ended());
            }
            state.number_last += 1;
            let number = state.number_last;
            let pending = Pending { id: id.into(), token: token.map(Into::into), notices, answer };
            state.pending.insert(number, pending);
            number
        };
        let (own_id, params) = (number.to_string(), envelope.params.map(RawValue::get));
        let with_token = token.and(params).and_then(|params| with_token_of_request(params, &own_id));
        let message = envelope.rewritten(Some(&own_id), with_token.as_deref().or(params));
        let sent_ms = self.touch();
        let conversation = self.clone();
        let exchange = Exchange { notices: notices_seen, answer: answered, conversation, number, sent_ms };
        self.outgoing.send(message).await.map_err(|_| self.ended())?;
        Ok(exchange)
    }

    /// Sends what needs no answer: a notification, or an answer to what the server asked.
    pub(super) async fn tell(&self, envelope: &Envelope<'_>) -> Result<(), LineEnded> {
        self.touch();
        let mut params = envelope.params.map(|params| params.get().to_owned());
        if envelope.method() == "notifications/cancelled" {
            let named = envelope.head().and_then(|head| head.request_id).map(RawValue::get);
            let number = named.and_then(|id| {
                let state = self.lock();
                state.pending.iter().find(|(_, pending)| &*pending.id == id).map(|(number, _)| *number)
            });
            // What has been answered need not be cancelled.
            let Some(number) = number else { return Ok(()) };
            params = params.and_then(|params| with_cancelled(&params, &number.to_string()));
        }
        let message = envelope.rewritten(envelope.id.map(RawValue::get), params.as_deref());
        self.outgoing.send(message).await.map_err(|_| self.ended())
    }

    /// What the server says beside its answers, from now on; whoever listened before does so no longer.
    pub(super) fn listen(&self) -> mpsc::Receiver<Bytes> {
        let (listener, messages) = mpsc::channel(LISTENER_MAX);
        let mut state = self.lock();
        for message in state.backlog.drain(..) {
            // There is room for all of them.
            let _ = listener.try_send(message);
        }
        state.listener = (!state.is_over).then_some(listener);
        messages
    }

    fn take(&self, text: &Bytes) {
        let now = self.touch();
        self.heard_ms.store(now, Ordering::Relaxed);
        let Some(envelope) = Envelope::read(text) else { return };
        if envelope.is_answer() {
            let number = envelope.id.and_then(|id| id.get().parse::<u64>().ok());
            let pending = number.and_then(|number| self.lock().pending.remove(&number));
            if let Some(pending) = pending {
                // Whoever asked may have gone.
                let _ = pending.answer.send(envelope.rewritten(Some(&pending.id), None));
            }
        } else if envelope.is_request() {
            self.asked(&envelope, text);
        } else {
            self.told(&envelope, text);
        }
    }

    /// The server asks for something.
    fn asked(&self, envelope: &Envelope<'_>, text: &Bytes) {
        if self.side == Side::Client {
            return self.pass(text.clone());
        }
        let id = envelope.id.map_or("null", RawValue::get);
        let answer = if envelope.method() == "ping" {
            format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#).into()
        } else {
            error_answer(Some(id), METHOD_NOT_FOUND, "nobody is here who could answer that")
        };
        // A server that asks and does not read has itself to blame.
        let _ = self.outgoing.try_send(answer);
    }

    /// The server tells something.
    fn told(&self, envelope: &Envelope<'_>, text: &Bytes) {
        let params = envelope.params.map_or("{}", RawValue::get);
        let head = envelope.head().unwrap_or_default();
        if envelope.method() == "notifications/tools/list_changed" {
            self.tools_changed.notify_one();
        }
        let number_of =
            |raw: Option<&RawValue>| raw.and_then(|raw| raw.get().trim_matches('"').parse::<u64>().ok());
        if envelope.method() == "notifications/progress" {
            let Some(number) = number_of(head.progress_token) else { return };
            let state = self.lock();
            let Some(pending) = state.pending.get(&number) else { return };
            let params = pending.token.as_deref().and_then(|token| with_token_of_progress(params, token));
            let _ = pending.notices.try_send(envelope.rewritten(None, params.as_deref()));
            return;
        }
        if let Some(number) = number_of(head.meta.and_then(|meta| meta.subscription)) {
            let state = self.lock();
            let Some(pending) = state.pending.get(&number) else { return };
            let params = with_subscription(params, &pending.id);
            let _ = pending.notices.try_send(envelope.rewritten(None, params.as_deref()));
            return;
        }
        match self.side {
            Side::Client => self.pass(text.clone()),
            // Only where there is no doubt whom it concerns.
            Side::Stateless => {
                let state = self.lock();
                if let (1, Some((_, pending))) = (state.pending.len(), state.pending.first_key_value()) {
                    let _ = pending.notices.try_send(text.clone());
                }
            }
            Side::Own => {}
        }
    }

    /// To the client: along with the answer to what it asked last, or on its stream, or later.
    fn pass(&self, text: Bytes) {
        let mut state = self.lock();
        let text =
            match state.pending.last_key_value().map(|(_, pending)| pending.notices.try_send(text.clone())) {
                Some(Ok(())) => return,
                Some(Err(_)) | None => text,
            };
        if let Some(listener) = &state.listener
            && listener.try_send(text.clone()).is_ok()
        {
            return;
        }
        if state.backlog.len() == BACKLOG_MAX {
            state.backlog.pop_front();
        }
        state.backlog.push_back(text);
    }

    /// Finds out whether the server lives after it did not answer, and ends the line if not.
    pub(super) async fn probe(&self, sent_ms: u64) {
        let heard = || self.heard_ms.load(Ordering::Relaxed);
        if heard() > sent_ms {
            return;
        }
        let id = RawValue::from_string("0".to_owned()).ok();
        let ping = Envelope { id: id.as_deref(), method: Some("ping".into()), ..Envelope::default() };
        let pinged = tokio::time::timeout(PING_TIMEOUT, async {
            let mut exchange = self.ask(&ping).await.ok()?;
            (&mut exchange.answer).await.ok()
        });
        let pinged = pinged.await;
        if pinged.is_err() && heard() <= sent_ms {
            self.end.kill("it does not answer any more");
        }
    }

    /// Lets the server come to its end.
    pub(super) fn close(&self) {
        self.end.close();
    }

    /// Whether it can no longer be used.
    pub(super) fn is_over(&self) -> bool {
        self.end.is_over()
    }

    /// Ends it at once.
    pub(super) fn kill(&self, reason: &str) {
        self.end.kill(reason);
    }

    /// Whether it ended because nobody needed it.
    pub(super) fn is_end_wanted(&self) -> bool {
        self.end.is_wanted()
    }

    /// How long nothing was said, if nothing is being answered.
    pub(super) fn idle_for(&self) -> Option<Duration> {
        let is_idle = {
            let state = self.lock();
            state.pending.is_empty() && state.listener.as_ref().is_none_or(mpsc::Sender::is_closed)
        };
        let used = Duration::from_millis(self.used_ms.load(Ordering::Relaxed));
        is_idle.then(|| self.started.elapsed().saturating_sub(used))
    }

    pub(super) fn ended(&self) -> LineEnded {
        LineEnded(self.end.reason())
    }

    fn touch(&self) -> u64 {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.used_ms.store(now, Ordering::Relaxed);
        now
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Exchange {
    /// The conversation that it is part of, and when it was sent: for [`Conversation::probe`].
    pub(super) fn sent(&self) -> (Conversation, u64) {
        (self.conversation.clone(), self.sent_ms)
    }

    /// Why there will be no answer.
    pub(super) fn ended(&self) -> LineEnded {
        self.conversation.ended()
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let pending = self.conversation.lock().pending.remove(&self.number);
        if pending.is_some() {
            let params = format!(r#"{{"requestId":{},"reason":"nobody waits for it"}}"#, self.number);
            let text = format!(r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{params}}}"#);
            // A server that does not read learns nothing either.
            let _ = self.conversation.outgoing.try_send(text.into());
        }
    }
}

#[cfg(test)]
#[path = "conversation_tests.rs"]
mod tests;
