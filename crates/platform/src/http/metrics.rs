//! Names, units and help of what the edge and the server measure.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// How long requests took, by matched route (`endpoint`), `method` and `status`.
pub const HTTP_REQUEST_DURATION_SECONDS: &str = "http_request_duration_seconds";
/// Requests that handlers work on now.
pub const HTTP_REQUESTS_IN_FLIGHT: &str = "http_requests_in_flight";
/// Requests refused for their rate, by `limit`: `key`, `ip` and `key_concurrency` with 429, `global` with 503.
pub const HTTP_REQUESTS_LIMITED_TOTAL: &str = "http_requests_limited_total";
/// Requests refused with 503 because too many were in flight.
pub const HTTP_REQUESTS_SHED_TOTAL: &str = "http_requests_shed_total";
/// Handlers that panicked.
pub const HTTP_PANICS_TOTAL: &str = "http_panics_total";
/// Connections that are open now.
pub const HTTP_CONNECTIONS: &str = "http_connections";

/// Buckets of [`HTTP_REQUEST_DURATION_SECONDS`]: from a probe's 100 µs to the 60 s timeout.
pub const HTTP_REQUEST_BUCKETS: [f64; 17] = [
    0.000_1, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0,
];

/// Gives every metric above its unit and help.
pub fn describe() {
    describe_histogram!(
        HTTP_REQUEST_DURATION_SECONDS,
        Unit::Seconds,
        "Time from a request's headers to its answer's headers, by matched route, method and status"
    );
    describe_gauge!(HTTP_REQUESTS_IN_FLIGHT, Unit::Count, "Requests that handlers work on now");
    describe_counter!(HTTP_REQUESTS_LIMITED_TOTAL, Unit::Count, "Requests refused for their rate, by limit");
    describe_counter!(
        HTTP_REQUESTS_SHED_TOTAL,
        Unit::Count,
        "Requests refused with 503 because too many were in flight"
    );
    describe_counter!(HTTP_PANICS_TOTAL, Unit::Count, "Handlers that panicked");
    describe_gauge!(HTTP_CONNECTIONS, Unit::Count, "Connections that are open now");
}
