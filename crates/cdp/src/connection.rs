//! A connection to one Chrome, as its callers hold it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
};

use crate::{
    driver::{Driver, Transport},
    error::{CallError, ConnectError},
    message,
    protocol::{
        Command,
        target::{AttachToTarget, DetachFromTarget},
    },
    session::Session,
    tables::Core,
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

impl Handle {
    /// Has Chrome forget a session. Nobody waits for it: when the queue is full, Chrome keeps the session.
    pub(crate) fn detach(&self, session_id: &str) {
        let id = self.core.next_call_id();
        let command = DetachFromTarget { session_id };
        if let Ok(message) = message::write(id, "", DetachFromTarget::METHOD, &command) {
            self.outgoing.try_send(Bytes::from(message)).ok();
        }
    }
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
        self.handle.core.silence()
    }

    /// How many calls await a reply.
    pub fn calls_in_flight(&self) -> usize {
        self.handle.core.calls_in_flight()
    }
}
