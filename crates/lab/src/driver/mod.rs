//! Drivers carry out operations: one file each, behind one small trait.
//!
//! A driver is one configured step. It opens a [`Session`] per *seat* (a place for one operation in flight), and the
//! session executes operations one after the other. The engine measures time, enforces the deadline and evaluates
//! checks; a driver only does its protocol and says what came of it.
//!
//! To add a driver: one file with an options type that implements [`Options`] and a session, and one line in the
//! `drivers!` list below. Scenario files, their checking and their JSON Schema follow from that.

mod chunked;
pub mod command;
pub(crate) mod connect;
pub mod http;
mod http1;
pub mod in_process;
mod registry;
pub mod sse;
pub mod websocket;

use std::{borrow::Cow, fmt::Debug, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use paddock_platform::task::Tasks;

pub(crate) use self::registry::OptionsOf;
pub use self::registry::{DriverOptions, STEP_DRIVERS};
use crate::variables::{MissingVariableError, Variables};

/// Largest body of an answer that is kept for checks; the rest is read and discarded.
pub const BODY_KEPT_BYTES_MAX: usize = 4 << 20;

/// One configured step.
pub trait Driver: Debug + Send + Sync {
    /// A place for one operation in flight. Opens nothing yet.
    fn session(&self, seat: Seat) -> Box<dyn Session>;

    /// The hosts and addresses it will talk to, for the guard against loading other people's machines.
    fn targets(&self) -> Vec<Target> {
        Vec::new()
    }
}

/// Executes operations one after the other.
pub trait Session: Send {
    /// Opens what can be opened before the run, for example a connection.
    fn prepare(&mut self) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Carries out one operation. When the future is dropped at the deadline, everything it began has to end: the next
    /// call starts afresh.
    fn execute<'a>(&'a mut self, call: Call<'a>) -> BoxFuture<'a, Outcome>;

    /// Carries out one operation that never waits; `None` from drivers whose operations do.
    fn execute_now(&mut self, _call: Call<'_>) -> Option<Outcome> {
        None
    }
}

/// Which place in which worker a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Number of the seat over all workers, from 0.
    pub number: usize,
}

/// One operation to carry out.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Its place in the schedule, from 0: what variables depend on.
    pub index: u64,
    /// Values for the templates.
    pub variables: &'a Variables,
    /// Whether a check wants to see the body.
    pub keep_body: bool,
}

/// What came of an operation.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Why there is no answer; an answer that says no is not a failure of the operation but a `status`.
    pub failure: Option<Failure>,
    /// HTTP status, or exit code of a command.
    pub status: Option<i32>,
    /// The kind under which an answer that says no counts as an error (`http-503`, `exit-1`), unless the scenario checks
    /// the status itself. The driver decides: only it knows what its statuses mean.
    pub refusal: Option<Cow<'static, str>>,
    /// What the answer says about its status, for the person who reads the report.
    pub detail: Option<String>,
    /// The body, if it was asked for.
    pub body: Bytes,
    /// Further times that were measured.
    pub extra: Vec<Extra>,
    /// Further figures, for example those of a command's JSON output, by name with the unit last.
    pub figures: Vec<(String, f64)>,
}

/// A time that a driver measured beside the latency.
#[derive(Clone, Copy, Debug)]
pub struct Extra {
    /// Name in the record, for example `ttft`.
    pub name: &'static str,
    /// The time.
    pub time: Duration,
    /// Whether it counts from the start of the operation; it is then reported from the moment the operation was due.
    pub from_start: bool,
}

/// Why an operation has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Failure {
    /// Stable name under which it is counted: `timeout`, `connect-refused`, `reset`, …
    pub kind: Cow<'static, str>,
    /// What happened, for the person who reads the report.
    pub detail: String,
}

impl Failure {
    /// A failure of this kind.
    pub fn new(kind: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self { kind: kind.into(), detail: detail.into() }
    }
}

impl Outcome {
    /// No answer.
    pub fn failed(failure: Failure) -> Self {
        Self { failure: Some(failure), ..Self::default() }
    }
}

impl From<Failure> for Outcome {
    fn from(failure: Failure) -> Self {
        Self::failed(failure)
    }
}

/// Whom a driver talks to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Name or address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// What a step's options are turned into a driver with.
#[derive(Clone, Debug)]
pub struct BuildContext {
    /// Values for the templates; those that set-up provides are there.
    pub variables: Arc<Variables>,
    /// How many seats there will be.
    pub seats: usize,
    /// For what runs beside operations, for example the reader of an HTTP/2 connection.
    pub tasks: Tasks,
    /// Connections that steps with the same target share: one per seat, not one per seat and step.
    pub connections: connect::Pools,
    /// Directory of the scenario file: what relative paths refer to.
    pub dir: PathBuf,
}

impl BuildContext {
    /// A context without a file, for loads that a program puts together.
    pub fn new(variables: Variables, seats: usize) -> Self {
        Self {
            variables: Arc::new(variables),
            seats,
            tasks: Tasks::default(),
            connections: connect::Pools::default(),
            dir: PathBuf::from("."),
        }
    }
}

/// Options of a driver as a scenario writes them, under the driver's name.
pub trait Options: Debug + Send + Sync {
    /// Makes the driver; nothing is contacted yet.
    fn build(&self, context: &BuildContext) -> Result<Arc<dyn Driver>, BuildError>;
}

/// A step that cannot be carried out, found before anything starts.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A template names a variable that does not exist.
    #[error(transparent)]
    Variable(#[from] MissingVariableError),
    /// A value is not what the driver can use.
    #[error("`{field}`: {reason}")]
    Field {
        /// Which option.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

impl BuildError {
    /// A value is not what the driver can use.
    pub fn field(field: &'static str, reason: impl std::fmt::Display) -> Self {
        Self::Field { field, reason: reason.to_string() }
    }
}
