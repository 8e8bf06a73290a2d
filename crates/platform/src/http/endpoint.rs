//! One route as the edge knows it: its name in metrics, what it is exempt from, and cached metric handles.

use std::{sync::Arc, sync::OnceLock, time::Duration};

use axum::response::Response;
use http::{Method, StatusCode};
use metrics::{Histogram, histogram};

use super::metrics::HTTP_REQUEST_DURATION_SECONDS;
use crate::{problem::Problem, units::ByteSize};

/// How a route writes its failures where its clients expect another form than a problem document.
pub type FailureFormat = fn(&Problem) -> Response;

/// What a route is exempt from. Everything else holds for every route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteRules {
    /// Answers without a key even when the server requires one.
    pub open: bool,
    /// A key is not even looked at: the answer is the same for everybody.
    pub keyless: bool,
    /// Whoever presents no key is let in as nobody, also from pages of other sites (which then get what is public, even
    /// from a server on loopback): the route decides what nobody sees. For `GET`, `HEAD` and `OPTIONS` only.
    pub public: bool,
    /// Neither rate limits nor the concurrency limit hold: it must answer when all else is refused. A request that
    /// presents a key is counted against its address nevertheless: finding out about a key is work.
    pub unlimited: bool,
    /// The server's timeout does not hold for the answer, because the route has a deadline of its own. The request's
    /// body must still arrive within it.
    pub untimed: bool,
    /// The key may be in the query (`?token=KEY`): browsers cannot put one into the headers of a WebSocket or an event
    /// stream.
    pub key_in_query: bool,
    /// The largest body, where it is another than the server's.
    pub body_max: Option<ByteSize>,
}

impl RouteRules {
    const NONE: Self = Self {
        open: false,
        keyless: false,
        public: false,
        unlimited: false,
        untimed: false,
        key_in_query: false,
        body_max: None,
    };
    /// For the probe of whether the process lives.
    pub const LIVENESS: Self = Self { keyless: true, ..Self::PROBE };
    /// For probes: they must tell how the server does exactly when it is at its limits, and have no key.
    pub const PROBE: Self = Self { open: true, unlimited: true, ..Self::NONE };
    /// For where whoever has no key proves who they are: the same for everybody, and within the limits.
    pub const ENTRANCE: Self = Self { open: true, keyless: true, ..Self::NONE };
    /// For what may be public.
    pub const PUBLIC: Self = Self { public: true, ..Self::NONE };
    /// For the scraping of metrics.
    pub const UNLIMITED: Self = Self { unlimited: true, ..Self::NONE };
    /// For routes that wait as long as their caller asks.
    pub const UNTIMED: Self = Self { untimed: true, ..Self::NONE };
    /// For event streams, for what speaks `WebSocket`, and for what leads to them.
    pub const STREAM: Self = Self { key_in_query: true, ..Self::UNTIMED };

    /// The same with another largest body.
    #[must_use]
    pub const fn with_body_max(self, body_max: ByteSize) -> Self {
        Self { body_max: Some(body_max), ..self }
    }
}

/// Distinct (method, status) pairs of one route whose handles are cached; beyond, the registry is asked.
const HANDLES_MAX: usize = 8;

pub(super) struct Endpoint {
    name: Arc<str>,
    pub(super) rules: RouteRules,
    pub(super) failures: Option<FailureFormat>,
    handles: [OnceLock<(Method, StatusCode, Histogram)>; HANDLES_MAX],
}

impl Endpoint {
    pub(super) fn new(name: &str, rules: RouteRules, failures: Option<FailureFormat>) -> Self {
        Self { name: Arc::from(name), rules, failures, handles: [const { OnceLock::new() }; HANDLES_MAX] }
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
