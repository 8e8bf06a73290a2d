//! Events over a WebSocket: one JSON object per message, with the event's id in it.

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use tokio::time::timeout;

use super::{
    Events, Watch,
    sse::{HEARTBEAT_INTERVAL, Sent},
};

/// How long a watcher may take nothing of what is sent to it.
const SEND_DEADLINE: Duration = Duration::from_secs(20);
/// Watchers have nothing to say.
pub(super) const MESSAGE_SIZE_MAX: usize = 4 << 10;

/// Why watching ends: a WebSocket code and what the watcher is told.
type End = (u16, &'static str);

impl Events {
    /// Sends what a watcher gets, until it leaves or the server stops.
    pub(super) async fn serve(self, mut watch: Watch, mut socket: WebSocket) {
        let stopping = self.stopping();
        let (code, reason) = tokio::select! {
            end = self.send_all(&mut watch, &mut socket) => end,
            () = stopping.cancelled() => (1012, "the server is stopping"),
        };
        let close = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
        timeout(SEND_DEADLINE, socket.send(close)).await.ok();
    }

    async fn send_all(&self, watch: &mut Watch, socket: &mut WebSocket) -> End {
        for sent in watch.take_first() {
            if let Err(end) = send(socket, self.message(&sent)).await {
                return end;
            }
        }
        let mut heartbeat = tokio::time::interval(HEARTBEAT_INTERVAL);
        loop {
            let message = tokio::select! {
                sent = watch.next() => match sent {
                    Some(sent) => self.message(&sent),
                    None => return (1001, "there will be no more events"),
                },
                received = socket.recv() => match received {
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return (1000, ""),
                    Some(Ok(_)) => continue,
                },
                _ = heartbeat.tick() => Message::Ping(Vec::new().into()),
            };
            if let Err(end) = send(socket, message).await {
                return end;
            }
        }
    }

    /// The event's own text with the id as its first member.
    fn message(&self, sent: &Sent) -> Message {
        let text = match sent {
            Sent::Event(event) => {
                let members = event.text.strip_prefix('{').unwrap_or_default();
                format!("{{\"id\":\"{}\",{members}", self.id_of(event))
            }
            Sent::Lagged(missed) => Sent::lagged_text(*missed),
        };
        Message::Text(text.into())
    }
}

async fn send(socket: &mut WebSocket, message: Message) -> Result<(), End> {
    match timeout(SEND_DEADLINE, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err((1000, "")),
        Err(_) => Err((1008, "the watcher does not take its events")),
    }
}
