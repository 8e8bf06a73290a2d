//! What the egress measures.

use metrics::{Unit, describe_counter, describe_gauge};

/// Connections of pages that are open.
pub const EGRESS_CONNECTIONS: &str = "browser_egress_connections";
/// Connections of pages that were not made, by `reason`.
pub const EGRESS_REFUSED_TOTAL: &str = "browser_egress_refused_total";
/// Bytes that went through, by `direction` (`sent` by pages, `received` by them).
pub const EGRESS_BYTES_TOTAL: &str = "browser_egress_bytes_total";

/// Registers the unit and help of each metric.
pub(super) fn describe() {
    describe_gauge!(EGRESS_CONNECTIONS, Unit::Count, "Connections of pages that are open");
    describe_counter!(
        EGRESS_REFUSED_TOTAL,
        Unit::Count,
        "Connections of pages that were not made, by reason"
    );
    describe_counter!(EGRESS_BYTES_TOTAL, Unit::Bytes, "Bytes between pages and their hosts, by direction");
}
