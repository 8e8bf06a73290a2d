//! A connection beside the pool that hears what is announced.

use std::{future::poll_fn, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::broadcast,
};
use tokio_postgres::{AsyncMessage, Client, Connection, Error, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::session::reason_of;
use crate::task::Tasks;

/// Announcements that a slow listener may be behind.
const HEARD_MAX: usize = 1024;
/// How long after a connection broke the next one is made.
const RECONNECT_WAIT: Duration = Duration::from_secs(1);

/// How to connect.
#[derive(Clone)]
pub(super) struct Line {
    config: tokio_postgres::Config,
    tls: Option<MakeRustlsConnect>,
}

impl Line {
    pub(super) fn new(config: tokio_postgres::Config, tls: Option<MakeRustlsConnect>) -> Self {
        Self { config, tls }
    }

    /// Hears a channel until the last receiver is gone or shutdown begins; connects again when the connection breaks.
    pub(super) fn listen(self, channel: &'static str, tasks: &Tasks) -> broadcast::Receiver<String> {
        let (heard, receiver) = broadcast::channel(HEARD_MAX);
        let stopping = tasks.stop_token();
        tasks.spawn("store-listener", async move {
            let hear = async {
                while heard.receiver_count() > 0 {
                    if let Err(error) = self.hear(channel, &heard).await {
                        let reason = reason_of(&error);
                        tracing::warn!(reason, "the connection for announcements broke; making another");
                    }
                    tokio::time::sleep(RECONNECT_WAIT).await;
                }
            };
            let _ = stopping.run_until_cancelled(hear).await;
        });
        receiver
    }

    async fn hear(&self, channel: &str, heard: &broadcast::Sender<String>) -> Result<(), Error> {
        if let Some(tls) = &self.tls {
            let (client, connection) = self.config.connect(tls.clone()).await?;
            pump(&client, connection, channel, heard).await
        } else {
            let (client, connection) = self.config.connect(NoTls).await?;
            pump(&client, connection, channel, heard).await
        }
    }
}

/// Passes on what comes, until the connection breaks or nobody listens any more.
async fn pump<S, T>(
    client: &Client,
    mut connection: Connection<S, T>,
    channel: &str,
    heard: &broadcast::Sender<String>,
) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    let listen = format!("LISTEN {channel}");
    let listening = client.batch_execute(&listen);
    tokio::pin!(listening);
    let mut listens = false;
    loop {
        tokio::select! {
            begun = &mut listening, if !listens => {
                begun?;
                listens = true;
                // What was announced before is missed.
                let _ = heard.send(String::new());
            }
            message = poll_fn(|context| connection.poll_message(context)) => match message {
                Some(Ok(AsyncMessage::Notification(announced))) => {
                    if heard.send(announced.payload().to_owned()).is_err() {
                        return Ok(());
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
                None => return Ok(()),
            },
        }
    }
}
