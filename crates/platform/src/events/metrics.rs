//! What the feed measures.

use metrics::{Unit, describe_counter, describe_gauge};

/// Events that were published, by `topic`.
pub const EVENTS_PUBLISHED_TOTAL: &str = "events_published_total";
/// Watchers that are connected.
pub const EVENTS_STREAMS: &str = "events_streams";
/// Events that watchers missed because they read too slowly.
pub const EVENTS_MISSED_TOTAL: &str = "events_missed_total";

/// Gives the metrics of this module their units and help.
pub fn describe() {
    describe_counter!(EVENTS_PUBLISHED_TOTAL, Unit::Count, "Events that were published, by topic");
    describe_gauge!(EVENTS_STREAMS, Unit::Count, "Watchers of events that are connected");
    describe_counter!(
        EVENTS_MISSED_TOTAL,
        Unit::Count,
        "Events that watchers missed because they read too slowly"
    );
}
