//! One route as the edge knows it: its name in metrics, what it is exempt from, and cached metric handles.

use std::{sync::Arc, sync::OnceLock, time::Duration};

use http::{Method, StatusCode};
use metrics::{Histogram, histogram};

use super::metrics::HTTP_REQUEST_DURATION_SECONDS;

/// What a route is exempt from. Everything else holds for every route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteRules {
    /// Answers without a key even when the server requires one.
    pub open: bool,
    /// A key is not even looked at: the answer is the same for everybody.
    pub keyless: bool,
    /// Neither rate limits nor the concurrency limit hold: it must answer when all else is refused. A request that
    /// presents a key is counted against its address nevertheless: finding out about a key is work.
    pub unlimited: bool,
    /// The server's timeout does not hold for the answer, because the route has a deadline of its own. The request's
    /// body must still arrive within it.
    pub untimed: bool,
}

impl RouteRules {
    const NONE: Self = Self { open: false, keyless: false, unlimited: false, untimed: false };
    /// For the probe of whether the process lives.
    pub const LIVENESS: Self = Self { keyless: true, ..Self::PROBE };
    /// For probes: they must tell how the server does exactly when it is at its limits, and have no key.
    pub const PROBE: Self = Self { open: true, unlimited: true, ..Self::NONE };
    /// For the scraping of metrics.
    pub const UNLIMITED: Self = Self { unlimited: true, ..Self::NONE };
    /// For routes that wait as long as their caller asks.
    pub const UNTIMED: Self = Self { untimed: true, ..Self::NONE };
}

/// Distinct (method, status) pairs of one route whose handles are cached; beyond, the registry is asked.
const HANDLES_MAX: usize = 8;

pub(super) struct Endpoint {
    name: Arc<str>,
    pub(super) rules: RouteRules,
    handles: [OnceLock<(Method, StatusCode, Histogram)>; HANDLES_MAX],
}

impl Endpoint {
    pub(super) fn new(name: &str, rules: RouteRules) -> Self {
        Self { name: Arc::from(name), rules, handles: [const { OnceLock::new() }; HANDLES_MAX] }
    }

    /// The matched route pattern, or `other`: never the raw path, which has no bound.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn record(&self, method: &Method, status: StatusCode, took: Duration) {
        for slot in &self.handles {
            let (slot_method, slot_status, histogram) =
                slot.get_or_init(|| (method.clone(), status, self.register(method, status)));
            if slot_status == &status && slot_method == method {
                return histogram.record(took);
            }
        }
        self.register(method, status).record(took);
    }

    fn register(&self, method: &Method, status: StatusCode) -> Histogram {
        histogram!(
            HTTP_REQUEST_DURATION_SECONDS,
            "endpoint" => Arc::clone(&self.name),
            "method" => method_label(method),
            "status" => status.as_str().to_owned()
        )
    }
}

/// A client may invent methods; labels must not follow.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
