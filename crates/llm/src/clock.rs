//! Time as small numbers: what is compared on every call fits an atomic.

use std::sync::OnceLock;

use tokio::time::Instant;

static EPOCH: OnceLock<Instant> = OnceLock::new();

/// Milliseconds since the process first asked, and one more: zero is "never".
pub(crate) fn now_ms() -> u64 {
    EPOCH.get_or_init(Instant::now).elapsed().as_millis() as u64 + 1
}

/// Seconds since 1970.
pub(crate) fn unix_s() -> i64 {
    jiff::Timestamp::now().as_second()
}
