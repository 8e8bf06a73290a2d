//! Calls a closure: for benches of Paddock's own crates, and to measure what the generator itself costs.

use std::{fmt, sync::Arc};

use futures_util::future::BoxFuture;

use super::{Call, Driver, Failure, Outcome, Seat, Session};

type Closure = dyn Fn(u64) -> Result<(), Failure> + Send + Sync;

/// Calls a closure that does not wait, with the index of the operation.
#[derive(Clone)]
pub struct InProcess(Arc<Closure>);

impl InProcess {
    /// A driver of this closure. It runs on the generator's threads and must not block for long.
    pub fn new(closure: impl Fn(u64) -> Result<(), Failure> + Send + Sync + 'static) -> Self {
        Self(Arc::new(closure))
    }
}

impl fmt::Debug for InProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InProcess")
    }
}

impl Driver for InProcess {
    fn session(&self, _: Seat) -> Box<dyn Session> {
        Box::new(self.clone())
    }
}

impl Session for InProcess {
    fn execute<'a>(&'a mut self, call: Call<'a>) -> BoxFuture<'a, Outcome> {
        Box::pin(std::future::ready(self.call(call)))
    }

    fn execute_now(&mut self, call: Call<'_>) -> Option<Outcome> {
        Some(self.call(call))
    }
}

impl InProcess {
    fn call(&self, call: Call<'_>) -> Outcome {
        match (self.0)(call.index) {
            Ok(()) => Outcome::default(),
            Err(failure) => Outcome::failed(failure),
        }
    }
}

/// Awaits a future that a closure makes: for asynchronous services of Paddock's own crates.
#[derive(Clone)]
pub struct InProcessAsync(Arc<AsyncClosure>);

type AsyncClosure = dyn Fn(u64) -> BoxFuture<'static, Result<(), Failure>> + Send + Sync;

impl InProcessAsync {
    /// A driver of this closure.
    pub fn new(
        closure: impl Fn(u64) -> BoxFuture<'static, Result<(), Failure>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(closure))
    }
}

impl fmt::Debug for InProcessAsync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InProcessAsync")
    }
}

impl Driver for InProcessAsync {
    fn session(&self, _: Seat) -> Box<dyn Session> {
        Box::new(self.clone())
    }
}

impl Session for InProcessAsync {
    fn execute<'a>(&'a mut self, call: Call<'a>) -> BoxFuture<'a, Outcome> {
        let future = (self.0)(call.index);
        Box::pin(async move {
            match future.await {
                Ok(()) => Outcome::default(),
                Err(failure) => Outcome::failed(failure),
            }
        })
    }
}
