//! The calls that run now: how many there are, and how their client cancels one.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use metrics::{describe_gauge, gauge};
use rmcp::model::RequestId;
use tokio_util::sync::CancellationToken;

/// Tool calls of MCP clients that run now.
pub(super) const MCP_CALLS_RUNNING: &str = "mcp_calls_running";

/// Describes the metrics of this module.
pub(super) fn describe() {
    describe_gauge!(MCP_CALLS_RUNNING, "Tool calls of MCP clients that run now");
}

/// Whose call it is: a client may only cancel its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Client {
    /// The id of its key, if it has one.
    pub(super) key: Option<String>,
    /// The session id that it was given.
    pub(super) session: String,
}

/// The calls that run now. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Calls(Arc<Mutex<Running>>);

#[derive(Debug, Default)]
struct Running {
    count: usize,
    by_client: HashMap<Client, HashMap<RequestId, CancellationToken>>,
}

/// A call's place; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Call {
    calls: Calls,
    name: Option<(Client, RequestId)>,
}

impl Calls {
    /// Enters a call, unless `max` run. A client that has no session has no name to cancel by.
    pub(super) fn enter(
        &self,
        client: Option<Client>,
        id: &RequestId,
        token: &CancellationToken,
        max: usize,
    ) -> Option<Call> {
        let mut running = self.lock();
        if running.count >= max {
            return None;
        }
        running.count += 1;
        gauge!(MCP_CALLS_RUNNING).set(running.count as f64);
        let name = client.map(|client| (client, id.clone()));
        if let Some((client, id)) = &name {
            running.by_client.entry(client.clone()).or_default().insert(id.clone(), token.clone());
        }
        Some(Call { calls: self.clone(), name })
    }

    /// Cancels one call of a client; one that has ended is no error.
    pub(super) fn cancel(&self, client: &Client, id: &RequestId) {
        if let Some(token) = self.lock().by_client.get(client).and_then(|calls| calls.get(id)) {
            token.cancel();
        }
    }

    /// Cancels all calls of a client.
    pub(super) fn cancel_all(&self, client: &Client) {
        if let Some(calls) = self.lock().by_client.get(client) {
            calls.values().for_each(CancellationToken::cancel);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Running> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut running = self.calls.lock();
        running.count -= 1;
        gauge!(MCP_CALLS_RUNNING).set(running.count as f64);
        let Some((client, id)) = self.name.take() else { return };
        if let Some(calls) = running.by_client.get_mut(&client) {
            calls.remove(&id);
            if calls.is_empty() {
                running.by_client.remove(&client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(session: &str) -> Client {
        Client { key: None, session: session.to_owned() }
    }

    #[test]
    fn a_client_cancels_its_own_call_and_no_other() {
        let calls = Calls::default();
        let id = RequestId::Number(1);
        let (mine, other) = (CancellationToken::new(), CancellationToken::new());
        let _mine = calls.enter(Some(client("a")), &id, &mine, 8).unwrap();
        let _other = calls.enter(Some(client("b")), &id, &other, 8).unwrap();
        calls.cancel(&client("a"), &id);
        assert!(mine.is_cancelled() && !other.is_cancelled());
        let stolen = Client { key: Some("k".to_owned()), session: "b".to_owned() };
        calls.cancel_all(&stolen);
        assert!(!other.is_cancelled());
    }

    #[test]
    fn an_ended_call_leaves_nothing_behind_and_makes_room() {
        let calls = Calls::default();
        let token = CancellationToken::new();
        let call = calls.enter(Some(client("a")), &RequestId::Number(1), &token, 1).unwrap();
        assert!(calls.enter(None, &RequestId::Number(2), &token, 1).is_none());
        drop(call);
        assert!(calls.lock().by_client.is_empty());
        assert!(calls.enter(None, &RequestId::Number(2), &token, 1).is_some());
    }
}
