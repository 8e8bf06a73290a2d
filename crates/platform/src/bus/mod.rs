//! The bus: what servers that share a store tell each other at once.
//!
//! A **subject** is a name; who subscribes to it gets what is published under it, and may answer what is asked. The bus
//! is transport and nothing else: what must not be lost is in the store before it is announced here, and nothing that was
//! acknowledged rests on the bus. It carries no copies of its own, and forgets what nobody hears.
//!
//! In one process the bus is a map of queues. Several servers share a NATS server (`[bus] url = "nats://…"`); when it is
//! gone, publishing and asking fail at once, and the connection is made again in the background, subscriptions included.
//!
//! ```
//! # use bytes::Bytes;
//! # use paddock_platform::bus::Bus;
//! # async fn example(bus: Bus) -> Result<(), paddock_platform::bus::BusError> {
//! let mut greetings = bus.subscribe("greetings").await?;
//! bus.publish("greetings", Bytes::from_static(b"hello")).await?;
//! let heard = greetings.next().await;
//! # Ok(())
//! # }
//! ```

mod local;
pub mod metrics;
mod nats;
mod options;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use ::metrics::{counter, histogram};
use bytes::Bytes;
use http::StatusCode;

pub use options::{BusOptions, BusUrl, ParseBusUrlError};

use self::{
    local::Local,
    metrics::{BUS_REQUEST_DURATION_SECONDS, BUS_SENT_TOTAL},
    nats::Nats,
};
use crate::{
    config::SecretError,
    health::Finding,
    problem::{Problem, ProblemKind},
    task::Tasks,
};

/// The bus between servers does not answer.
pub const BUS_UNAVAILABLE: ProblemKind =
    ProblemKind::new("bus-unavailable", StatusCode::SERVICE_UNAVAILABLE, "Bus unavailable");

/// When to come back to a bus that is gone.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// Something did not get over the bus.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// There is no connection.
    #[error("the bus cannot be reached: {0}")]
    Unreachable(String),
    /// Nobody listens to the subject.
    #[error("nobody listens")]
    NobodyListens,
    /// No answer came in time. What was asked may have been heard.
    #[error("no answer came over the bus within {}s", .0.as_secs_f64())]
    Timeout(Duration),
    /// It is larger than the bus takes.
    #[error("{size} bytes are more than the bus takes ({max})")]
    TooLarge {
        /// How large it is.
        size: usize,
        /// The most that it takes.
        max: usize,
    },
    /// The options do not say how to connect.
    #[error("{0}")]
    Options(String),
    /// A secret is not where the options say.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

impl BusError {
    const fn name(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::NobodyListens => "nobody-listens",
            Self::Timeout(_) => "timeout",
            Self::TooLarge { .. } => "too-large",
            Self::Options(_) | Self::Secret(_) => "options",
        }
    }
}

impl From<BusError> for Problem {
    fn from(error: BusError) -> Self {
        Self::new(BUS_UNAVAILABLE, error.to_string()).retry_after(RETRY_AFTER)
    }
}

/// The handle. Cheap to clone; see the [module](self) for the model.
#[derive(Clone)]
pub struct Bus(Arc<Engine>);

enum Engine {
    Local(Local),
    Nats(Nats),
}

impl std::fmt::Debug for Bus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bus({})", self.engine())
    }
}

/// What somebody published or asked.
#[derive(Debug)]
pub struct Heard {
    /// What it says.
    pub body: Bytes,
    answer: Answer,
}

#[derive(Debug)]
enum Answer {
    Nobody,
    Local(tokio::sync::oneshot::Sender<Bytes>),
    Nats(Nats, String),
}

impl Heard {
    /// Answers who asked; what was only published needs no answer, and gets none.
    pub async fn answer(self, body: Bytes) -> Result<(), BusError> {
        match self.answer {
            Answer::Nobody => Ok(()),
            Answer::Local(asker) => asker.send(body).map_err(|_| BusError::NobodyListens),
            Answer::Nats(nats, subject) => nats.publish(&subject, body).await,
        }
    }
}

/// What is published under a subject, from the moment of subscribing on. Ends when the bus is closed.
#[derive(Debug)]
pub struct Subscription(Source);

#[derive(Debug)]
enum Source {
    Local(local::Listening),
    Nats(nats::Listening),
}

impl Subscription {
    /// The next; `None` when no more will come.
    pub async fn next(&mut self) -> Option<Heard> {
        match &mut self.0 {
            Source::Local(listening) => listening.next().await,
            Source::Nats(listening) => listening.next().await,
        }
    }
}

impl Bus {
    /// A bus within this process; clones of it hear each other.
    pub fn local() -> Self {
        Self(Arc::new(Engine::Local(Local::default())))
    }

    /// The bus that the options name. A NATS server that is not there yet is waited for in the background.
    pub async fn connect(options: &BusOptions, tasks: &Tasks) -> Result<Self, BusError> {
        metrics::describe();
        match &options.url {
            BusUrl::Local => Ok(Self::local()),
            BusUrl::Nats(url) => Ok(Self(Arc::new(Engine::Nats(Nats::connect(options, url, tasks).await?)))),
        }
    }

    /// `local` or `nats`, for logs and status pages.
    pub fn engine(&self) -> &'static str {
        match &*self.0 {
            Engine::Local(_) => "local",
            Engine::Nats(_) => "nats",
        }
    }

    /// Whether it reaches nobody outside of this process.
    pub fn is_local(&self) -> bool {
        matches!(&*self.0, Engine::Local(_))
    }

    /// Whether it is there now.
    pub fn is_up(&self) -> bool {
        match &*self.0 {
            Engine::Local(_) => true,
            Engine::Nats(nats) => nats.is_up(),
        }
    }

    /// Listens to a subject. Several who listen to the same one all hear.
    pub async fn subscribe(&self, subject: &str) -> Result<Subscription, BusError> {
        Ok(Subscription(match &*self.0 {
            Engine::Local(local) => Source::Local(local.subscribe(subject)),
            Engine::Nats(nats) => Source::Nats(nats.subscribe(subject).await?),
        }))
    }

    /// Tells whoever listens. Nobody has to.
    pub async fn publish(&self, subject: &str, body: Bytes) -> Result<(), BusError> {
        let published = match &*self.0 {
            Engine::Local(local) => {
                local.publish(subject, &body);
                Ok(())
            }
            Engine::Nats(nats) => nats.publish(subject, body).await,
        };
        count("publish", &published);
        published
    }

    /// Asks whoever listens, and waits for the first answer.
    pub async fn request(&self, subject: &str, body: Bytes, deadline: Duration) -> Result<Bytes, BusError> {
        let began = std::time::Instant::now();
        let answered = match &*self.0 {
            Engine::Local(local) => local.request(subject, body, deadline).await,
            Engine::Nats(nats) => nats.request(subject, body, deadline).await,
        };
        histogram!(BUS_REQUEST_DURATION_SECONDS).record(began.elapsed());
        count("request", &answered);
        answered
    }

    /// The largest body that it takes.
    pub fn body_max(&self) -> usize {
        match &*self.0 {
            Engine::Local(_) => usize::MAX,
            Engine::Nats(nats) => nats.body_max(),
        }
    }

    /// How it is, for `/readyz`.
    pub fn health(&self) -> Finding {
        match &*self.0 {
            Engine::Local(_) => Finding::ok("within this server"),
            Engine::Nats(nats) if nats.is_up() => Finding::ok("NATS is connected"),
            Engine::Nats(_) => Finding::degraded(
                "NATS cannot be reached",
                "check `[bus] url` and the NATS server; what is durable goes on through the store",
            ),
        }
    }
}

fn count<T>(kind: &'static str, result: &Result<T, BusError>) {
    let outcome = result.as_ref().map_or_else(BusError::name, |_| "ok");
    counter!(BUS_SENT_TOTAL, "kind" => kind, "outcome" => outcome).increment(1);
}
