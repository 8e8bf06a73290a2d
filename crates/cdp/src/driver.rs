//! Moves a connection's data between its tables and its transport.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::mpsc,
};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use crate::{
    frame::{Frame, FrameDecoder},
    message::{self, Incoming},
    tables::{Core, Failure},
    websocket::Socket,
};

/// Bytes made room for before each read.
const READ_SIZE: usize = 64 << 10;

pub(crate) enum Transport {
    Pipe { reader: Box<dyn AsyncRead + Send + Unpin>, writer: Box<dyn AsyncWrite + Send + Unpin> },
    WebSocket(Box<Socket>),
}

/// The work behind a connection: to be run by its owner, in a task of its own, until it ends.
///
/// Dropping it, or ending its task, closes the connection.
pub struct Driver {
    closing: Closing,
    outgoing: mpsc::Receiver<Bytes>,
    transport: Transport,
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Driver")
    }
}

/// Closes the connection however the driver ends, also by being dropped.
struct Closing(Arc<Core>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Driver {
    pub(crate) fn new(core: Arc<Core>, outgoing: mpsc::Receiver<Bytes>, transport: Transport) -> Self {
        Self { closing: Closing(core), outgoing, transport }
    }

    /// Runs until Chrome closes its end, an error breaks the transport, or the last handle is dropped.
    pub async fn run(self) {
        let Self { closing, outgoing, transport } = self;
        let core = &closing.0;
        let ended = match transport {
            Transport::Pipe { reader, writer } => tokio::select! {
                result = read_pipe(core, reader) => result,
                result = write_pipe(outgoing, writer) => result,
            },
            Transport::WebSocket(socket) => {
                let (sink, stream) = socket.split();
                tokio::select! {
                    result = read_websocket(core, stream) => result,
                    result = write_websocket(outgoing, sink) => result,
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(error = %error, "connection to Chrome broke");
        }
    }
}

async fn read_pipe(core: &Core, mut reader: Box<dyn AsyncRead + Send + Unpin>) -> std::io::Result<()> {
    let mut decoder = FrameDecoder::new(core.options.message_size_max);
    loop {
        decoder.buffer_mut().reserve(READ_SIZE);
        if reader.read_buf(decoder.buffer_mut()).await? == 0 {
            return Ok(());
        }
        core.note_received();
        while let Some(frame) = decoder.next_frame() {
            match frame {
                Frame::Message(bytes) => dispatch(core, &bytes),
                Frame::Oversized { head, tail, size } => {
                    tracing::debug!(size, "dropped a message over the maximum size");
                    if let Some(id) = message::leading_id(&head) {
                        core.answer(id, Err(Failure::TooLarge(size)));
                    } else if let Some(session) = message::trailing_session(&tail) {
                        core.note_flow(session, size);
                    }
                }
            }
        }
    }
}

async fn write_pipe(
    mut outgoing: mpsc::Receiver<Bytes>,
    mut writer: Box<dyn AsyncWrite + Send + Unpin>,
) -> std::io::Result<()> {
    while let Some(command) = outgoing.recv().await {
        writer.write_all(&command).await?;
        writer.write_all(&[0]).await?;
    }
    Ok(())
}

async fn read_websocket(
    core: &Core,
    mut stream: futures_util::stream::SplitStream<Box<Socket>>,
) -> std::io::Result<()> {
    while let Some(message) = stream.next().await {
        core.note_received();
        match message.map_err(std::io::Error::other)? {
            Message::Text(text) => dispatch(core, &text.into()),
            Message::Close(_) => return Ok(()),
            _ => {}
        }
    }
    Ok(())
}

async fn write_websocket(
    mut outgoing: mpsc::Receiver<Bytes>,
    mut sink: futures_util::stream::SplitSink<Box<Socket>, Message>,
) -> std::io::Result<()> {
    while let Some(command) = outgoing.recv().await {
        let text = Utf8Bytes::try_from(command).map_err(std::io::Error::other)?;
        sink.send(Message::Text(text)).await.map_err(std::io::Error::other)?;
    }
    sink.close().await.map_err(std::io::Error::other)
}

fn dispatch(core: &Core, bytes: &Bytes) {
    match message::parse(bytes) {
        Ok(Some(Incoming::Reply { id, result })) => core.answer(id, Ok(result)),
        Ok(Some(Incoming::Event { session, method, params })) => core.deliver(&session, &method, &params),
        Ok(None) => {}
        Err(error) => tracing::debug!(error = %error, "skipped a message that is not one of the protocol"),
    }
}
