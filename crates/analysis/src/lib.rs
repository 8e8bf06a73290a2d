//! What costs a page its customers: facts, rules and reports.
