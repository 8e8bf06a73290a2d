//! Sessions that clients have at `/mcp/NAME`, each with a conversation or with a session at the server itself.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use http::HeaderValue;
use metrics::{Gauge, gauge};
use paddock_platform::identity::Caller;

use super::{config::GatewayServerOptions, conversation::Conversation, error::GatewayError};
use crate::metrics::REGISTRY_GATEWAY_SESSIONS;

/// What is behind a session.
#[derive(Clone, Debug)]
pub(super) enum Behind {
    /// A conversation of its own.
    Conversation(Conversation),
    /// The server's own session, by its id there.
    Upstream(HeaderValue),
}

/// A session of one client.
#[derive(Debug)]
pub(super) struct Session {
    /// Whose: nobody else may use it, even who knows its id.
    owner: (Option<String>, String),
    pub(super) behind: Behind,
    used: Mutex<Instant>,
    in_use: AtomicUsize,
}

/// A session that is being used: it is not idle meanwhile.
#[derive(Debug)]
pub(super) struct InUse(pub(super) Arc<Session>);

impl Drop for InUse {
    fn drop(&mut self) {
        *self.0.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.0.in_use.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Session {
    fn idle_for(&self) -> Option<Duration> {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        (self.in_use.load(Ordering::Relaxed) == 0).then(|| used.elapsed())
    }

    fn is_over(&self) -> bool {
        matches!(&self.behind, Behind::Conversation(conversation) if conversation.is_over())
    }

    fn close(&self) {
        if let Behind::Conversation(conversation) = &self.behind {
            conversation.close();
        }
    }
}

/// The sessions of one server.
#[derive(Debug)]
pub(super) struct Sessions {
    server: String,
    max: usize,
    idle_after: Duration,
    open: Mutex<HashMap<String, Arc<Session>>>,
    /// Sessions that are being opened.
    opening: Arc<AtomicUsize>,
    count: GaugeHandle,
}

struct GaugeHandle(Gauge);

impl std::fmt::Debug for GaugeHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Gauge")
    }
}

/// The right to open one more session.
#[derive(Debug)]
pub(super) struct Opening(Arc<AtomicUsize>);

impl Drop for Opening {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn owner_of(caller: &Caller) -> (Option<String>, String) {
    (caller.key_id().map(str::to_owned), caller.tenant().to_string())
}

impl Sessions {
    pub(super) fn new(options: &GatewayServerOptions) -> Self {
        Self {
            server: options.name.clone(),
            max: options.sessions_max,
            idle_after: options.idle_after.get(),
            open: Mutex::default(),
            opening: Arc::default(),
            count: GaugeHandle(gauge!(REGISTRY_GATEWAY_SESSIONS, "server" => options.name.clone())),
        }
    }

    /// Whether one more may be opened.
    pub(super) fn begin(&self) -> Result<Opening, GatewayError> {
        let open = self.lock();
        if open.len() + self.opening.load(Ordering::Relaxed) >= self.max {
            return Err(GatewayError::TooMany {
                server: self.server.clone(),
                what: "sessions",
                max: self.max,
            });
        }
        self.opening.fetch_add(1, Ordering::Relaxed);
        Ok(Opening(Arc::clone(&self.opening)))
    }

    /// Keeps a session and gives its id.
    pub(super) fn keep(&self, opening: Opening, caller: &Caller, behind: Behind) -> String {
        let id = uuid::Uuid::new_v4().simple().to_string();
        let session = Session {
            owner: owner_of(caller),
            behind,
            used: Mutex::new(Instant::now()),
            in_use: AtomicUsize::new(0),
        };
        let mut open = self.lock();
        open.insert(id.clone(), Arc::new(session));
        drop(opening);
        self.count.0.set(open.len() as f64);
        id
    }

    /// A caller's session.
    pub(super) fn find(&self, id: &str, caller: &Caller) -> Option<InUse> {
        let open = self.lock();
        let session =
            open.get(id).filter(|session| session.owner == owner_of(caller) && !session.is_over())?;
        session.in_use.fetch_add(1, Ordering::Relaxed);
        Some(InUse(Arc::clone(session)))
    }

    /// Ends a caller's session.
    pub(super) fn end(&self, id: &str, caller: &Caller) -> Option<Arc<Session>> {
        let mut open = self.lock();
        if open.get(id).is_none_or(|session| session.owner != owner_of(caller)) {
            return None;
        }
        let session = open.remove(id)?;
        self.count.0.set(open.len() as f64);
        session.close();
        Some(session)
    }

    /// Ends what is idle or over.
    pub(super) fn sweep(&self) {
        let mut open = self.lock();
        let before = open.len();
        open.retain(|_, session| {
            let keeps = !session.is_over() && session.idle_for().is_none_or(|idle| idle < self.idle_after);
            if !keeps {
                session.close();
            }
            keeps
        });
        if open.len() != before {
            self.count.0.set(open.len() as f64);
        }
    }

    pub(super) fn close_all(&self) {
        for (_, session) in self.lock().drain() {
            session.close();
        }
        self.count.0.set(0.0);
    }

    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Session>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use paddock_platform::identity::Tenant;

    use super::*;

    fn sessions(max: usize) -> Sessions {
        Sessions::new(&GatewayServerOptions { sessions_max: max, ..GatewayServerOptions::default() })
    }

    fn upstream() -> Behind {
        Behind::Upstream(HeaderValue::from_static("theirs"))
    }

    #[test]
    fn a_session_belongs_to_who_opened_it() {
        let sessions = sessions(4);
        let (mine, other) =
            (Caller::with_key("a", Tenant::local(), vec![]), Caller::with_key("b", Tenant::local(), vec![]));
        let id = sessions.keep(sessions.begin().unwrap(), &mine, upstream());
        assert!(sessions.find(&id, &mine).is_some());
        assert!(sessions.find(&id, &other).is_none() && sessions.end(&id, &other).is_none());
        assert!(sessions.end(&id, &mine).is_some() && sessions.find(&id, &mine).is_none());
    }

    #[test]
    fn sessions_that_are_being_opened_count_too() {
        let sessions = sessions(1);
        let opening = sessions.begin().unwrap();
        assert!(matches!(sessions.begin(), Err(GatewayError::TooMany { max: 1, .. })));
        drop(opening);
        let id = sessions.keep(sessions.begin().unwrap(), &Caller::local(), upstream());
        assert!(sessions.begin().is_err());
        sessions.end(&id, &Caller::local());
        assert!(sessions.begin().is_ok());
    }

    #[test]
    fn what_is_idle_is_ended_and_what_is_used_is_not() {
        let mut sessions = sessions(4);
        sessions.idle_after = Duration::ZERO;
        let id = sessions.keep(sessions.begin().unwrap(), &Caller::local(), upstream());
        let in_use = sessions.find(&id, &Caller::local()).unwrap();
        sessions.sweep();
        assert_eq!(sessions.len(), 1);
        drop(in_use);
        sessions.sweep();
        assert_eq!(sessions.len(), 0);
    }
}
