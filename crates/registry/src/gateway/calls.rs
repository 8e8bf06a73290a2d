//! Calls that run: how many there may be, and what is remembered of them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use jiff::Timestamp;
use metrics::{counter, histogram};
use paddock_platform::{identity::Caller, task::Tasks};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::{config::GatewayServerOptions, error::GatewayError};
use crate::{
    metrics::{REGISTRY_GATEWAY_CALL_DURATION_SECONDS, REGISTRY_GATEWAY_CALLS_TOTAL},
    store::{AuditRecord, RegistryStore},
};

/// Calls that wait to be written into the log; more wait to begin.
const AUDIT_QUEUE_MAX: usize = 1024;
/// Calls that are written together.
const AUDIT_BATCH_MAX: usize = 256;

type ByKey = Arc<Mutex<HashMap<String, usize>>>;

/// How many calls of a server may run.
#[derive(Debug)]
pub(super) struct Places {
    calls: Arc<Semaphore>,
    max: usize,
    per_key_max: usize,
    by_key: ByKey,
}

/// A call's place; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
    key: Option<String>,
    by_key: ByKey,
}

impl Places {
    pub(super) fn new(options: &GatewayServerOptions) -> Self {
        let max = options.concurrency_max.min(Semaphore::MAX_PERMITS);
        Self {
            calls: Arc::new(Semaphore::new(max)),
            max,
            per_key_max: options.concurrency_per_key_max,
            by_key: ByKey::default(),
        }
    }

    /// A place for a call, if there is one.
    pub(super) fn enter(&self, server: &str, caller: &Caller) -> Result<Place, GatewayError> {
        let full = || GatewayError::Full { server: server.to_owned(), max: self.max };
        let permit = Arc::clone(&self.calls).try_acquire_owned().map_err(|_| full())?;
        let key = caller.key_id().map(str::to_owned);
        if let Some(key) = &key {
            let mut by_key = self.by_key.lock().unwrap_or_else(PoisonError::into_inner);
            let running = by_key.entry(key.clone()).or_default();
            if *running >= self.per_key_max {
                return Err(GatewayError::FullForKey { server: server.to_owned(), max: self.per_key_max });
            }
            *running += 1;
        }
        Ok(Place { _permit: permit, key, by_key: Arc::clone(&self.by_key) })
    }

    pub(super) fn running(&self) -> usize {
        self.max - self.calls.available_permits()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(key) = self.key.take() else { return };
        let mut by_key = self.by_key.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = by_key.get_mut(&key) {
            *running -= 1;
            if *running == 0 {
                by_key.remove(&key);
            }
        }
    }
}

/// Writes calls into the registry's log. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Audit(mpsc::Sender<AuditRecord>);

impl Audit {
    pub(super) fn start(store: RegistryStore, tasks: &Tasks) -> Self {
        let (sender, mut records) = mpsc::channel(AUDIT_QUEUE_MAX);
        let stopping = tasks.stop_token();
        tasks.spawn("registry_gateway_audit", async move {
            let mut batch = Vec::new();
            loop {
                let count = tokio::select! {
                    biased;
                    count = records.recv_many(&mut batch, AUDIT_BATCH_MAX) => count,
                    () = stopping.cancelled() => 0,
                };
                if count == 0 {
                    return;
                }
                if let Err(error) = store.audit_calls(std::mem::take(&mut batch)).await {
                    tracing::error!(%error, count, "calls of tools could not be written into the log");
                }
            }
        });
        Self(sender)
    }

    /// A record of a call that begins; waits while the log is behind.
    pub(super) async fn begin(
        &self,
        server: &Arc<str>,
        tool: &str,
        is_known: bool,
        caller: &Caller,
        via: &'static str,
    ) -> Record {
        let permit = self.0.clone().reserve_owned().await.ok();
        Record {
            permit,
            server: Arc::clone(server),
            tool: tool.to_owned(),
            is_known,
            caller: caller.clone(),
            via,
            at: Timestamp::now(),
            started: Instant::now(),
        }
    }
}

/// One call. Dropping it without an outcome means that its caller has gone.
#[derive(Debug)]
pub(super) struct Record {
    permit: Option<mpsc::OwnedPermit<AuditRecord>>,
    server: Arc<str>,
    tool: String,
    /// Only tools that there are become labels.
    is_known: bool,
    caller: Caller,
    via: &'static str,
    at: Timestamp,
    started: Instant,
}

impl Record {
    /// Ends it.
    pub(super) fn finish(mut self, outcome: &'static str) {
        self.write(outcome);
    }

    fn write(&mut self, outcome: &'static str) {
        let Some(permit) = self.permit.take() else { return };
        let tool = if self.is_known { self.tool.clone() } else { "unknown".to_owned() };
        let (server, took) = (Arc::clone(&self.server), self.started.elapsed());
        counter!(REGISTRY_GATEWAY_CALLS_TOTAL, "server" => Arc::clone(&server), "tool" => tool.clone(), "outcome" => outcome)
            .increment(1);
        histogram!(REGISTRY_GATEWAY_CALL_DURATION_SECONDS, "server" => server, "tool" => tool).record(took);
        let shown: String = self.tool.chars().take(128).collect();
        permit.send(AuditRecord {
            id: uuid::Uuid::now_v7().simple().to_string(),
            at: self.at,
            tenant: self.caller.tenant().to_string(),
            key: self.caller.key_id().map(str::to_owned),
            event: "tool.call".to_owned(),
            target: format!("{}__{shown}", self.server),
            detail: json!({"outcome": outcome, "via": self.via, "took_ms": took.as_millis() as u64}),
        });
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.write("cancelled");
    }
}

#[cfg(test)]
mod tests {
    use paddock_platform::identity::Tenant;

    use super::*;

    #[test]
    fn places_run_out_for_all_and_for_one_key_and_come_back() {
        let options =
            GatewayServerOptions { concurrency_max: 3, concurrency_per_key_max: 2, ..Default::default() };
        let places = Places::new(&options);
        let caller = |key: &str| Caller::with_key(key, Tenant::local(), Vec::new());
        let first = places.enter("s", &caller("a")).unwrap();
        let _second = places.enter("s", &caller("a")).unwrap();
        assert!(matches!(places.enter("s", &caller("a")), Err(GatewayError::FullForKey { max: 2, .. })));
        let _third = places.enter("s", &caller("b")).unwrap();
        assert!(matches!(places.enter("s", &caller("c")), Err(GatewayError::Full { max: 3, .. })));
        assert_eq!(places.running(), 3);
        drop(first);
        assert!(places.enter("s", &caller("a")).is_ok());
    }
}
