//! The WebSocket transport, for attaching to a Chrome that somebody else started.

use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config, tungstenite::protocol::WebSocketConfig,
};

use crate::{connection::ConnectionOptions, error::ConnectError};

pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

pub(crate) async fn open(url: &str, options: &ConnectionOptions) -> Result<Socket, ConnectError> {
    let config = WebSocketConfig::default()
        .max_message_size(Some(options.message_size_max))
        .max_frame_size(Some(options.message_size_max));
    let deadline = options.call_deadline;
    // Nagle's algorithm would hold small commands back.
    let connect = connect_async_with_config(url, Some(config), true);
    match tokio::time::timeout(deadline, connect).await {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(source)) => Err(ConnectError::WebSocket { url: url.to_owned(), source: Box::new(source) }),
        Err(_) => Err(ConnectError::Deadline { url: url.to_owned(), deadline }),
    }
}
