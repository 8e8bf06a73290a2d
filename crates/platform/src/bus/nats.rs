//! The bus over a NATS server. The only file that knows its client.

use std::{path::Path, time::Duration};

use async_nats::{
    Client, ConnectOptions, Event, ServerAddr, Subscriber,
    client::{PublishErrorKind, RequestErrorKind},
    connection::State,
};
use bytes::Bytes;
use futures_util::StreamExt;
use metrics::gauge;

use super::{Answer, BusError, BusOptions, Heard, metrics::BUS_CONNECTED};
use crate::task::Tasks;

/// How long something may wait to be handed to the connection.
const SEND_WAIT: Duration = Duration::from_secs(2);
/// The longest wait before the next try to connect.
const RECONNECT_WAIT_MAX: Duration = Duration::from_secs(1);
/// How often a silent connection is asked whether it is still there.
const PING_INTERVAL: Duration = Duration::from_secs(5);

/// A connection that makes itself again.
#[derive(Clone)]
pub(super) struct Nats(Client);

impl std::fmt::Debug for Nats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Nats")
    }
}

/// One who listens.
pub(super) struct Listening {
    nats: Nats,
    subscriber: Subscriber,
}

impl std::fmt::Debug for Listening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Listening")
    }
}

impl Listening {
    pub(super) async fn next(&mut self) -> Option<Heard> {
        let message = self.subscriber.next().await?;
        let answer = message
            .reply
            .map_or(Answer::Nobody, |subject| Answer::Nats(self.nats.clone(), subject.to_string()));
        Some(Heard { body: message.payload, answer })
    }
}

impl Nats {
    pub(super) async fn connect(options: &BusOptions, url: &str, tasks: &Tasks) -> Result<Self, BusError> {
        gauge!(BUS_CONNECTED).set(0.0);
        let servers: Result<Vec<ServerAddr>, _> = url.split(',').map(str::parse).collect();
        let servers = servers.map_err(|error| BusError::Options(format!("`bus.url`: {error}")))?;
        let client = connect_options(options)?.connect(servers).await;
        let client = client.map_err(|error| BusError::Options(format!("`bus.url`: {error}")))?;
        let (closing, stopping) = (client.clone(), tasks.stop_token());
        tasks.spawn("bus", async move {
            stopping.cancelled().await;
            // What was handed over last still goes out, as far as somebody is there.
            let _ = tokio::time::timeout(SEND_WAIT, closing.flush()).await;
        });
        Ok(Self(client))
    }

    pub(super) fn is_up(&self) -> bool {
        self.0.connection_state() == State::Connected
    }

    /// What is handed over while there is no connection would arrive late, when nobody knows of it any more.
    fn check(&self, size: usize) -> Result<(), BusError> {
        if !self.is_up() {
            return Err(BusError::Unreachable("NATS is not connected".to_owned()));
        }
        let max = self.body_max();
        if size > max {
            return Err(BusError::TooLarge { size, max });
        }
        Ok(())
    }

    pub(super) fn body_max(&self) -> usize {
        self.0.max_payload()
    }

    pub(super) async fn subscribe(&self, subject: &str) -> Result<Listening, BusError> {
        let subscribing = tokio::time::timeout(SEND_WAIT, self.0.subscribe(subject.to_owned())).await;
        let subscriber = subscribing.map_err(|_| BusError::Timeout(SEND_WAIT))?;
        let subscriber = subscriber.map_err(|error| BusError::Unreachable(error.to_string()))?;
        Ok(Listening { nats: self.clone(), subscriber })
    }

    pub(super) async fn publish(&self, subject: &str, body: Bytes) -> Result<(), BusError> {
        let size = body.len();
        self.check(size)?;
        let sending = tokio::time::timeout(SEND_WAIT, self.0.publish(subject.to_owned(), body)).await;
        sending.map_err(|_| BusError::Timeout(SEND_WAIT))?.map_err(|error| match error.kind() {
            PublishErrorKind::MaxPayloadExceeded => BusError::TooLarge { size, max: self.body_max() },
            _ => BusError::Unreachable(error.to_string()),
        })
    }

    pub(super) async fn request(
        &self,
        subject: &str,
        body: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, BusError> {
        let size = body.len();
        self.check(size)?;
        let asking = tokio::time::timeout(deadline, self.0.request(subject.to_owned(), body)).await;
        let answer =
            asking.map_err(|_| BusError::Timeout(deadline))?.map_err(|error| match error.kind() {
                RequestErrorKind::NoResponders => BusError::NobodyListens,
                RequestErrorKind::TimedOut => BusError::Timeout(deadline),
                RequestErrorKind::MaxPayloadExceeded => BusError::TooLarge { size, max: self.body_max() },
                _ => BusError::Unreachable(error.to_string()),
            })?;
        Ok(answer.payload)
    }
}

fn connect_options(options: &BusOptions) -> Result<ConnectOptions, BusError> {
    let mut connect = ConnectOptions::new()
        .name("paddock")
        .retry_on_initial_connect()
        .max_reconnects(None)
        .connection_timeout(options.connect_timeout.get())
        // Each request has its own deadline.
        .request_timeout(None)
        .ping_interval(PING_INTERVAL)
        .subscription_capacity(options.pending_max.get())
        .client_capacity(options.pending_max.get())
        .reconnect_delay_callback(|attempts| {
            let wait = Duration::from_millis(50) * 2_u32.saturating_pow(attempts.min(6) as u32);
            wait.min(RECONNECT_WAIT_MAX)
        })
        .event_callback(|event| async move { note(&event) });
    if let Some(token) = &options.token {
        connect = connect.token(token.resolve()?.expose().to_owned());
    }
    match (&options.user, &options.password) {
        (Some(user), Some(password)) => {
            connect = connect.user_and_password(user.clone(), password.resolve()?.expose().to_owned());
        }
        (None, None) => {}
        _ => return Err(BusError::Options("`bus.user` and `bus.password` go together".to_owned())),
    }
    if let Some(file) = &options.tls_ca {
        readable(file)?;
        connect = connect.add_root_certificates(file.clone()).require_tls(true);
    }
    Ok(connect)
}

fn readable(file: &Path) -> Result<(), BusError> {
    let opened = std::fs::File::open(file);
    let told = |error| BusError::Options(format!("`bus.tls_ca`: {} cannot be read: {error}", file.display()));
    opened.map(drop).map_err(told)
}

fn note(event: &Event) {
    match event {
        Event::Connected => {
            gauge!(BUS_CONNECTED).set(1.0);
            tracing::info!("the bus is connected");
        }
        Event::Disconnected => {
            gauge!(BUS_CONNECTED).set(0.0);
            tracing::warn!("the bus is gone; connecting again");
        }
        Event::SlowConsumer(_) => {
            tracing::warn!(
                limit = "bus.pending_max",
                "more comes over the bus than is taken; some is left out"
            );
        }
        Event::ServerError(error) => tracing::warn!(%error, "the bus's server complains"),
        other => tracing::debug!(event = %other, "the bus"),
    }
}
