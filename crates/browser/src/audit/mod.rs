//! Audits of pages in the shape that Pinchtab's clients know: what a page loads and logs, what can be acted on, and what
//! a few rules say of its accessibility and its safety. `paddock analyze` looks at pages far more closely.
//!
//! Everything here is a pure function of what was read from the page; the service opens pages and reads.

mod accessibility;
mod plan;
mod report;
mod security;

pub use self::{
    accessibility::{A11yFinding, A11yReport, A11ySeverity},
    report::{
        AuditInput, AuditOptions, AuditReport, AuditedPage, BrokenResource, BrowserData, ConsoleEntry,
        InteractiveElement, PageAudit, RequestEntry, TimingMetrics,
    },
    security::SecurityFinding,
};
pub(crate) use self::{
    accessibility::{accessibility, interactive_elements},
    plan::pages_of,
    security::security,
};
