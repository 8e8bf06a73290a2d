//! The options in force, compiled for the hot path, and how a reload reaches them.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;

use super::{address::is_loopback, guard::Guard, options::ServerOptions, rate::Meter};
use crate::config::Section;

/// How old the compiled options may be. The first request after that looks whether they have changed.
const STALE_AFTER: Duration = Duration::from_millis(100);

/// Options of one moment in the form that requests need.
pub(super) struct Policy {
    pub(super) options: ServerOptions,
    pub(super) guard: Guard,
    /// Counts all requests.
    pub(super) global: Arc<Meter>,
}

/// The policy now: asked once per request, recompiled when the options have changed.
pub(super) struct Policies {
    section: Section<ServerOptions>,
    bound: Vec<SocketAddr>,
    current: ArcSwap<Policy>,
    epoch: Instant,
    checked_ms: AtomicU64,
}

impl Policies {
    pub(super) fn new(section: Section<ServerOptions>, bound: Vec<SocketAddr>) -> Self {
        let options = section.current();
        let policy = Policy {
            guard: Guard::new(&bound, &options.hosts),
            global: Arc::new(Meter::new("global", options.rates.global)),
            options,
        };
        Self {
            section,
            bound,
            current: ArcSwap::from_pointee(policy),
            epoch: Instant::now(),
            checked_ms: AtomicU64::new(0),
        }
    }

    pub(super) fn current(&self, now: Instant) -> Arc<Policy> {
        let now_ms = now.saturating_duration_since(self.epoch).as_millis() as u64;
        let checked_ms = self.checked_ms.load(Ordering::Relaxed);
        if now_ms.saturating_sub(checked_ms) >= STALE_AFTER.as_millis() as u64
            && self
                .checked_ms
                .compare_exchange(checked_ms, now_ms, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            self.refresh();
        }
        self.current.load_full()
    }

    fn refresh(&self) {
        let options = self.section.current();
        let before = self.current.load();
        if options == before.options {
            return;
        }
        // The same rate keeps its meter: a reload must not hand out a fresh burst.
        let global = if options.rates.global == before.options.rates.global {
            Arc::clone(&before.global)
        } else {
            Arc::new(Meter::new("global", options.rates.global))
        };
        self.current.store(Arc::new(Policy {
            guard: Guard::new(&self.bound, &options.hosts),
            global,
            options,
        }));
        tracing::info!("limits of the server were reloaded");
    }

    /// Whether only this machine can connect. Without an address that is not known, and so not the case.
    pub(super) fn is_loopback(&self) -> bool {
        !self.bound.is_empty() && self.bound.iter().all(|address| is_loopback(address.ip()))
    }
}

/// Exemptions by matched route pattern.
pub(super) type Rules = HashMap<&'static str, super::endpoint::RouteRules>;
