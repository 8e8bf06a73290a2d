//! One client's connection: its WebSocket, its relay and the gatekeeper between them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};
use paddock_cdp::{Relay, RelayEnd, RelayMessage, RelayMessages};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::gatekeeper::{Gatekeeper, Output};
use crate::{ids::InstanceId, instance::ContextOf};

/// Clients of the DevTools passthrough that are connected.
pub(crate) const BROWSER_CDP_CLIENTS: &str = "browser_cdp_clients";
/// Messages that were passed, by `direction`.
pub(crate) const BROWSER_CDP_MESSAGES_TOTAL: &str = "browser_cdp_messages_total";
/// Commands that were refused.
pub(crate) const BROWSER_CDP_REFUSED_TOTAL: &str = "browser_cdp_refused_total";
/// Connections that ended, by `reason`.
pub(crate) const BROWSER_CDP_DISCONNECTS_TOTAL: &str = "browser_cdp_disconnects_total";

/// How long a client may take nothing of what is sent to it.
const SEND_DEADLINE: Duration = Duration::from_secs(20);
/// How often a silent client is asked for a sign of life, and how long it may stay silent.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const SILENCE_MAX: Duration = Duration::from_secs(70);
/// How long closing the sessions may take.
const DETACH_DEADLINE: Duration = Duration::from_secs(5);

/// Registers unit and help of the passthrough's metrics.
pub(crate) fn describe() {
    describe_gauge!(BROWSER_CDP_CLIENTS, Unit::Count, "Clients of the DevTools passthrough");
    describe_counter!(BROWSER_CDP_MESSAGES_TOTAL, Unit::Count, "DevTools messages passed, by direction");
    describe_counter!(
        BROWSER_CDP_REFUSED_TOTAL,
        Unit::Count,
        "DevTools commands of clients that were refused"
    );
    describe_counter!(BROWSER_CDP_DISCONNECTS_TOTAL, Unit::Count, "DevTools clients that left, by reason");
}

/// How many clients each instance has. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClientLimits(Arc<Mutex<HashMap<InstanceId, usize>>>);

/// A client's place; gives it back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    limits: ClientLimits,
    instance: InstanceId,
}

impl ClientLimits {
    /// A place, if the instance has one left.
    pub(crate) fn enter(&self, instance: &InstanceId, max: usize) -> Option<Place> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(instance.clone()).or_default();
        if *count >= max {
            return None;
        }
        *count += 1;
        gauge!(BROWSER_CDP_CLIENTS).increment(1.0);
        Some(Place { limits: self.clone(), instance: instance.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        gauge!(BROWSER_CDP_CLIENTS).decrement(1.0);
        let mut counts = self.limits.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.instance) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.instance);
            }
        }
    }
}

/// A connected client.
pub(crate) struct Client {
    socket: WebSocket,
    relay: Relay,
    messages: RelayMessages,
    gatekeeper: Gatekeeper,
}

/// Why a connection ends: the label of the metric, and what the client is told with which WebSocket code.
struct End {
    reason: &'static str,
    code: u16,
    text: &'static str,
}

const fn end(reason: &'static str, code: u16, text: &'static str) -> End {
    End { reason, code, text }
}

const LEFT: End = end("left", 1000, "");
const SILENT: End = end("silent", 1001, "no sign of life from the client");
const SLOW: End = end("slow", 1008, "the client does not take its messages");
const MALFORMED: End = end("malformed", 1007, "a message is not a DevTools command");
const CRASHED: End = end("crashed", 1011, "Chrome is gone");
const STOPPED: End = end("instance_stopped", 1001, "the instance is stopped");
const STOPPING: End = end("server_stopping", 1012, "the server is stopping");

impl Client {
    /// A client of the instance with this browser context.
    pub(crate) fn new(socket: WebSocket, relay: Relay, messages: RelayMessages, context: &ContextOf) -> Self {
        let root = Arc::clone(relay.session());
        let gatekeeper = if context.is_default {
            Gatekeeper::of_default_context(&context.context_id, root)
        } else {
            Gatekeeper::new(&context.context_id, root)
        };
        Self { socket, relay, messages, gatekeeper }
    }

    /// Serves it until one side has enough. Its sessions are closed then; the instance stays as it is.
    pub(crate) async fn run(mut self, stopping: CancellationToken, instance_ended: CancellationToken) {
        let End { reason, code, text } = tokio::select! {
            end = self.exchange() => end,
            () = stopping.cancelled() => STOPPING,
            () = instance_ended.cancelled() => STOPPED,
        };
        counter!(BROWSER_CDP_DISCONNECTS_TOTAL, "reason" => reason).increment(1);
        tracing::debug!(reason, "a DevTools client is gone");
        let Self { mut socket, relay, .. } = self;
        timeout(DETACH_DEADLINE, relay.detach()).await.ok();
        let frame = CloseFrame { code, reason: text.into() };
        timeout(DETACH_DEADLINE, socket.send(Message::Close(Some(frame)))).await.ok();
    }

    async fn exchange(&mut self) -> End {
        let from_client = counter!(BROWSER_CDP_MESSAGES_TOTAL, "direction" => "to_chrome");
        let to_client = counter!(BROWSER_CDP_MESSAGES_TOTAL, "direction" => "to_client");
        let refusals = counter!(BROWSER_CDP_REFUSED_TOTAL);
        let mut heard = Instant::now();
        let mut ping = tokio::time::interval(PING_INTERVAL);
        loop {
            while let Some(output) = self.gatekeeper.output() {
                match output {
                    Output::Close => return LEFT,
                    Output::Client(text) => {
                        to_client.increment(1);
                        match timeout(SEND_DEADLINE, self.socket.send(Message::Text(text.into()))).await {
                            Ok(Ok(())) => {}
                            Ok(Err(_)) => return LEFT,
                            Err(_) => return SLOW,
                        }
                    }
                    Output::Chrome { session, token, method, params } => {
                        if let Err(error) = self.relay.send(&session, token, &method, &params).await {
                            self.gatekeeper.not_sent(token, error.to_string());
                        }
                    }
                }
            }
            tokio::select! {
                message = self.messages.next() => match message {
                    Ok(RelayMessage::Reply { token, result }) => self.gatekeeper.reply(token, &result),
                    Ok(RelayMessage::Event { session, method, params }) => {
                        self.gatekeeper.event(&session, &method, &params);
                    }
                    Err(RelayEnd::Overflow) => return SLOW,
                    Err(RelayEnd::Closed) => return CRASHED,
                },
                message = self.socket.recv() => {
                    heard = Instant::now();
                    match message {
                        Some(Ok(Message::Text(text))) => {
                            from_client.increment(1);
                            let refused = self.gatekeeper.refused;
                            if self.gatekeeper.client(&text).is_err() {
                                return MALFORMED;
                            }
                            refusals.increment(self.gatekeeper.refused - refused);
                        }
                        Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                        Some(Ok(Message::Binary(_))) => return MALFORMED,
                        Some(Ok(Message::Close(_)) | Err(_)) | None => return LEFT,
                    }
                }
                _ = ping.tick() => {
                    if heard.elapsed() > SILENCE_MAX {
                        return SILENT;
                    }
                    let sent = timeout(SEND_DEADLINE, self.socket.send(Message::Ping(Vec::new().into()))).await;
                    if !matches!(sent, Ok(Ok(()))) {
                        return LEFT;
                    }
                }
            }
        }
    }
}
