//! What webhooks report about themselves.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Deliveries that ended, by `state`: `delivered`, `dead` or `dropped`.
pub const JOBS_WEBHOOK_DELIVERIES_TOTAL: &str = "jobs_webhook_deliveries_total";
/// How long a receiver took to answer, by `outcome`: `ok`, or what went wrong.
pub const JOBS_WEBHOOK_ATTEMPT_DURATION_SECONDS: &str = "jobs_webhook_attempt_duration_seconds";
/// Webhooks, by `state`: `enabled`, `paused` or `disabled`.
pub const JOBS_WEBHOOK_ENDPOINTS: &str = "jobs_webhook_endpoints";
/// Deliveries that are kept and were given up.
pub const JOBS_WEBHOOK_DEAD: &str = "jobs_webhook_dead";
/// Times that a webhook was paused because it failed.
pub const JOBS_WEBHOOK_PAUSES_TOTAL: &str = "jobs_webhook_pauses_total";

/// Gives every metric its unit and help.
pub fn describe() {
    describe_counter!(JOBS_WEBHOOK_DELIVERIES_TOTAL, "Deliveries that ended, by state.");
    describe_histogram!(
        JOBS_WEBHOOK_ATTEMPT_DURATION_SECONDS,
        Unit::Seconds,
        "Duration of one try of a delivery, by outcome."
    );
    describe_gauge!(JOBS_WEBHOOK_ENDPOINTS, "Webhooks, by state.");
    describe_gauge!(JOBS_WEBHOOK_DEAD, "Deliveries that are kept and were given up.");
    describe_counter!(JOBS_WEBHOOK_PAUSES_TOTAL, "Times that a webhook was paused because it failed.");
}
