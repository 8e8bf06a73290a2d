//! What an audit answers with.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{A11yFinding, SecurityFinding};
use crate::{console::ConsoleMessage, network::Entry, timing::PageTiming};

/// Version of the report's form.
const SCHEMA_VERSION: &str = "1.0";

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
fn is_zero(number: &f64) -> bool {
    number.abs() < f64::EPSILON
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
fn is_none_of_it(number: &u32) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// A call of the page's console.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ConsoleEntry {
    /// When.
    #[schema(value_type = String)]
    pub timestamp: Timestamp,
    /// `log`, `info`, `warning`, `error`, …
    pub level: String,
    /// Its arguments as text.
    pub message: String,
    /// The script.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source: String,
}

impl From<ConsoleMessage> for ConsoleEntry {
    fn from(message: ConsoleMessage) -> Self {
        let level = if message.level == "warn" { "warning".to_owned() } else { message.level };
        Self { timestamp: message.timestamp, level, message: message.message, source: message.url }
    }
}

/// Something that the page loaded.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestEntry {
    /// Its address.
    pub url: String,
    /// HTTP method.
    pub method: String,
    /// HTTP status; absent without an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What the server calls the status.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub status_text: String,
    /// `Document`, `Image`, `Script`, …
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resource_type: String,
    /// Media type of the answer.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mime_type: String,
    /// When it was asked for.
    #[schema(value_type = String)]
    pub start_time: Timestamp,
    /// Milliseconds that it took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<f64>,
    /// Bytes on the wire.
    pub size: u64,
    /// It failed, or was answered with 400 or more.
    #[serde(skip_serializing_if = "is_false")]
    pub failed: bool,
    /// Why it got no answer.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
}

impl From<&Entry> for RequestEntry {
    fn from(entry: &Entry) -> Self {
        Self {
            url: entry.url.clone(),
            method: entry.method.clone(),
            status: (entry.status > 0).then_some(entry.status),
            status_text: entry.status_text.clone(),
            resource_type: entry.resource_type.clone(),
            mime_type: entry.mime_type.clone(),
            start_time: entry.start_time,
            duration: entry.duration,
            size: entry.size,
            failed: entry.failed || entry.status >= 400,
            error: entry.error.clone(),
        }
    }
}

/// Something that the page wanted and did not get.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BrokenResource {
    /// Its address.
    pub url: String,
    /// `image`, `script`, `stylesheet`, `xhr`, …
    pub resource_type: String,
    /// HTTP status; absent without an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Why it got no answer.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
}

/// Something that can be acted on.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct InteractiveElement {
    /// Its reference.
    pub r#ref: String,
    /// Its role.
    pub role: String,
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// It cannot be acted on now.
    #[serde(skip_serializing_if = "is_false")]
    pub disabled: bool,
    /// People see it.
    pub visible: bool,
}

/// How quickly the page came, in milliseconds.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TimingMetrics {
    /// First byte of the document.
    #[serde(skip_serializing_if = "is_zero")]
    pub ttfb_ms: f64,
    /// The markup was parsed and its scripts had run.
    #[serde(skip_serializing_if = "is_zero")]
    pub dom_content_loaded_ms: f64,
    /// The load event ended.
    #[serde(skip_serializing_if = "is_zero")]
    pub load_ms: f64,
    /// First contentful paint.
    #[serde(skip_serializing_if = "is_zero")]
    pub fcp_ms: f64,
    /// Largest contentful paint.
    #[serde(skip_serializing_if = "is_zero")]
    pub lcp_ms: f64,
    /// Cumulative layout shift: no time.
    #[serde(skip_serializing_if = "is_zero")]
    pub cls: f64,
}

impl From<PageTiming> for TimingMetrics {
    fn from(timing: PageTiming) -> Self {
        Self {
            ttfb_ms: timing.ttfb_ms,
            dom_content_loaded_ms: timing.dom_content_loaded_ms,
            load_ms: timing.load_ms,
            fcp_ms: timing.fcp_ms,
            lcp_ms: timing.lcp_ms,
            cls: timing.cls,
        }
    }
}

/// What the browser knows of a page.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BrowserData {
    /// What its console was told.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub console_logs: Vec<ConsoleEntry>,
    /// What it loaded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub network_requests: Vec<RequestEntry>,
    /// What it did not get.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub broken_assets: Vec<BrokenResource>,
    /// What can be acted on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub interactive_elements: Vec<InteractiveElement>,
    /// 100 less what the findings cost.
    #[serde(skip_serializing_if = "is_none_of_it")]
    pub accessibility_score: u32,
    /// How quickly it came.
    pub timing_metrics: TimingMetrics,
}

/// The audit of one page.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PageAudit {
    /// The address that was asked for.
    pub url: String,
    /// Its title.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// What could not be found out, and why.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
    /// A picture in base64 (PNG).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub screenshot: Option<String>,
    /// What is wrong with its accessibility.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub a11y_findings: Vec<A11yFinding>,
    /// What is wrong with its safety.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub security_findings: Vec<SecurityFinding>,
    /// What the browser knows of it.
    #[serde(flatten)]
    pub browser: BrowserData,
}

/// A page in the report of several.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditedPage {
    /// The address that was asked for.
    pub url: String,
    /// Its title.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// HTTP status, where the request says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_code: Option<u16>,
    /// What could not be found out, and why.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
    /// A picture in base64 (PNG).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub screenshot: Option<String>,
    /// What the request says of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub seaportal: Option<Map<String, Value>>,
    /// What is wrong with its safety.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub security_findings: Vec<SecurityFinding>,
    /// What the browser knows of it.
    pub browser: BrowserData,
}

impl From<PageAudit> for AuditedPage {
    fn from(page: PageAudit) -> Self {
        Self {
            url: page.url,
            title: page.title,
            status_code: None,
            error: page.error,
            screenshot: page.screenshot,
            seaportal: None,
            security_findings: page.security_findings,
            browser: page.browser,
        }
    }
}

/// Where the pages came from.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditInput {
    /// Their addresses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// The sitemap that names them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sitemap_url: Option<String>,
    /// The file that the client read them from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seaportal_file: Option<String>,
    /// The form of what it read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seaportal_format: Option<&'static str>,
}

/// How the audit was made.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditOptions {
    /// Most pages of one template; absent for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample_size: Option<usize>,
    /// With pictures.
    #[serde(skip_serializing_if = "is_false")]
    pub screenshot: bool,
    /// With what the pages loaded.
    #[serde(skip_serializing_if = "is_false")]
    pub network_monitor: bool,
    /// Pages at a time.
    pub concurrency: usize,
}

/// The audit of several pages.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditReport {
    /// `1.0`.
    pub schema_version: &'static str,
    /// When.
    #[schema(value_type = String)]
    pub generated_at: Timestamp,
    /// Where the pages came from.
    pub input: AuditInput,
    /// How it was made.
    pub options: AuditOptions,
    /// The pages, in their order.
    pub pages: Vec<AuditedPage>,
    /// Mean accessibility score of the pages that were opened.
    pub summary_score: u32,
    /// What is wrong with the safety of all of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub security_findings: Vec<SecurityFinding>,
    /// What to know of the audit itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recommendations: Vec<String>,
}

impl AuditReport {
    /// The report of pages; `opened` says of each whether the browser opened it.
    pub(crate) fn new(
        input: AuditInput,
        options: AuditOptions,
        pages: Vec<AuditedPage>,
        opened: &[bool],
        recommendations: Vec<String>,
    ) -> Self {
        let scores: Vec<u32> = pages
            .iter()
            .zip(opened)
            .filter(|(page, opened)| **opened && page.error.is_empty())
            .map(|(page, _)| page.browser.accessibility_score)
            .collect();
        let sum: u32 = scores.iter().sum();
        let security_findings = pages.iter().flat_map(|page| page.security_findings.clone()).collect();
        Self {
            schema_version: SCHEMA_VERSION,
            generated_at: Timestamp::now(),
            input,
            options,
            summary_score: sum.checked_div(u32::try_from(scores.len()).unwrap_or(u32::MAX)).unwrap_or(0),
            pages,
            security_findings,
            recommendations,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(score: u32, error: &str) -> AuditedPage {
        let browser = BrowserData { accessibility_score: score, ..BrowserData::default() };
        AuditedPage { error: error.to_owned(), browser, ..AuditedPage::default() }
    }

    #[test]
    fn pages_that_were_not_opened_or_failed_do_not_count() {
        let pages = vec![page(100, ""), page(70, ""), page(10, "down"), page(0, "")];
        let opened = [true, true, true, false];
        let report =
            AuditReport::new(AuditInput::default(), AuditOptions::default(), pages, &opened, Vec::new());
        assert_eq!(report.summary_score, 85);
        let none = AuditReport::new(report.input, report.options, Vec::new(), &[], Vec::new());
        assert_eq!(none.summary_score, 0);
    }
}
