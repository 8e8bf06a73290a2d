//! The bus's metrics.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// What was sent over the bus. Labels: `kind` (`publish`, `request`), `outcome`.
pub const BUS_SENT_TOTAL: &str = "bus_sent_total";
/// How long answers over the bus took.
pub const BUS_REQUEST_DURATION_SECONDS: &str = "bus_request_duration_seconds";
/// Whether the bus is connected: 1 or 0.
pub const BUS_CONNECTED: &str = "bus_connected";

/// Says what each metric means.
pub fn describe() {
    describe_counter!(BUS_SENT_TOTAL, Unit::Count, "What was published and asked over the bus");
    describe_histogram!(
        BUS_REQUEST_DURATION_SECONDS,
        Unit::Seconds,
        "Time from asking over the bus to its answer"
    );
    describe_gauge!(BUS_CONNECTED, Unit::Count, "Whether the bus is connected: 1 or 0");
}
