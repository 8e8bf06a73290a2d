//! What a crawl answers with.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// Version of the report's form.
const SCHEMA_VERSION: &str = "1.0";
/// Text of fewer characters is hardly all that a page has to say.
const CONTENT_CHARS_MIN: usize = 500;
/// Characters of a page that a preview shows.
const SNIPPET_CHARS: usize = 240;
/// Statuses by which servers refuse clients that are no browsers.
const REFUSALS: [u16; 5] = [401, 403, 407, 429, 503];

/// What was asked for.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CrawlInput {
    /// A page of the site.
    pub url: String,
    /// Most pages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_pages: Option<usize>,
    /// Most pages of one part of the site.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_per_pattern: Option<usize>,
    /// Which addresses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub include_patterns: Vec<String>,
    /// Which not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude_patterns: Vec<String>,
}

/// How a page was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PageSource {
    /// As it is served, scripts not run.
    #[default]
    Http,
    /// As visitors see it.
    Browser,
}

/// A page.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CrawledPage {
    /// Its address.
    pub url: String,
    /// Its title.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// HTTP status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_code: Option<u16>,
    /// Media type.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub content_type: String,
    /// What a reader would read; absent in a preview.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub markdown: String,
    /// There is more of it than is shown.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// What in it speaks to a model, if anything does and `[browser] content_guard` is on.
    #[serde(rename = "idpiWarning", skip_serializing_if = "Option::is_none")]
    pub idpi_warning: Option<String>,
    /// `description`, as the page describes itself.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub meta: BTreeMap<&'static str, String>,
    /// Characters of its text, in a preview.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub char_count: Option<usize>,
    /// The beginning of its text, in a preview.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snippet: Option<String>,
    /// What it says for machines (JSON-LD).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<Object>)]
    pub schema: Vec<Map<String, Value>>,
    /// Links within the site.
    pub internal_links: usize,
    /// Links out of it.
    pub external_links: usize,
    /// How it was read.
    pub source: PageSource,
    /// Whether it has to be read as visitors see it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub browser_recommended: bool,
    /// Why: `fetch-error`, `blocked-status:…`, `thin-content` or `enrich-all`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub browser_reasons: Vec<String>,
    /// Why that failed; what was read before stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub browser_error: Option<String>,
    /// Why there is nothing of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Pages of one part of the site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct PageGroup {
    /// Which part: `/blog/*`.
    pub pattern: String,
    /// Pages of it that are known.
    pub total: usize,
    /// Pages of it that were read.
    pub sampled: usize,
    /// Those.
    pub urls: Vec<String>,
}

/// The site.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SiteInfo {
    /// Its origin.
    pub base_url: String,
    /// Title of its first page.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// Whether it has a sitemap.
    pub sitemap_found: bool,
    /// Pages that are known.
    pub total_discovered: usize,
    /// Pages that were read.
    pub sampled_pages: usize,
}

/// The crawl in figures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CrawlSummary {
    /// How many pages have which media type.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub content_types: BTreeMap<String, usize>,
    /// Pages read as they are served.
    pub http_pages: usize,
    /// Pages read as visitors see them.
    pub browser_pages: usize,
    /// Pages of which there is nothing.
    pub failed_pages: usize,
    /// What to know of the crawl itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recommendations: Vec<String>,
}

/// A site in Markdown.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CrawlReport {
    /// `1.0`.
    pub schema_version: &'static str,
    /// When.
    #[schema(value_type = String)]
    pub generated_at: Timestamp,
    /// What was asked for.
    pub input: CrawlInput,
    /// The site.
    pub site: SiteInfo,
    /// Its parts.
    pub page_groups: Vec<PageGroup>,
    /// Its pages, as they were found.
    pub pages: Vec<CrawledPage>,
    /// The crawl in figures.
    pub summary: CrawlSummary,
}

impl CrawlReport {
    pub(crate) fn new(
        input: CrawlInput,
        site: SiteInfo,
        page_groups: Vec<PageGroup>,
        pages: Vec<CrawledPage>,
        recommendations: Vec<String>,
    ) -> Self {
        let mut summary = CrawlSummary { recommendations, ..CrawlSummary::default() };
        for page in &pages {
            if !page.content_type.is_empty() {
                *summary.content_types.entry(page.content_type.clone()).or_default() += 1;
            }
            match (&page.error, page.source) {
                (Some(_), _) => summary.failed_pages += 1,
                (None, PageSource::Http) => summary.http_pages += 1,
                (None, PageSource::Browser) => summary.browser_pages += 1,
            }
        }
        let generated_at = Timestamp::now();
        Self { schema_version: SCHEMA_VERSION, generated_at, input, site, page_groups, pages, summary }
    }
}

/// Why a page that was read as it is served has to be read as visitors see it; nothing if it has not.
pub(crate) fn verdict(page: &CrawledPage) -> Vec<String> {
    let mut reasons = Vec::new();
    if matches!(page.status_code, Some(404 | 410)) {
        return reasons;
    }
    if page.error.is_some() {
        reasons.push("fetch-error".to_owned());
    }
    if let Some(status) = page.status_code.filter(|status| REFUSALS.contains(status)) {
        reasons.push(format!("blocked-status:{status}"));
    }
    if reasons.is_empty() && page.markdown.trim().chars().take(CONTENT_CHARS_MIN).count() < CONTENT_CHARS_MIN
    {
        reasons.push("thin-content".to_owned());
    }
    reasons
}

/// The beginning of a text on one line.
pub(crate) fn snippet(text: &str) -> String {
    let mut line = String::new();
    let mut left = SNIPPET_CHARS;
    for word in text.split_whitespace() {
        let length = word.chars().count() + usize::from(!line.is_empty());
        if length > left {
            line.push('…');
            return line;
        }
        left -= length;
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(status: u16, chars: usize) -> CrawledPage {
        CrawledPage { status_code: Some(status), markdown: "x".repeat(chars), ..CrawledPage::default() }
    }

    #[test]
    fn a_browser_is_used_where_it_can_help() {
        assert!(verdict(&page(200, 500)).is_empty());
        assert_eq!(verdict(&page(200, 499)), ["thin-content"]);
        assert_eq!(verdict(&page(403, 900)), ["blocked-status:403"]);
        assert!(verdict(&page(404, 0)).is_empty());
        let failed = CrawledPage { error: Some("down".to_owned()), ..CrawledPage::default() };
        assert_eq!(verdict(&failed), ["fetch-error"]);
    }

    #[test]
    fn a_snippet_is_short_and_of_whole_words() {
        assert_eq!(snippet(" a\n b\t c "), "a b c");
        let long = snippet(&"word ".repeat(100));
        assert!(long.ends_with("word…") && long.chars().count() <= SNIPPET_CHARS + 1, "{long}");
        assert_eq!(snippet(""), "");
    }

    #[test]
    fn pages_are_counted_by_how_they_were_read() {
        let browser = CrawledPage { source: PageSource::Browser, ..page(200, 9) };
        let failed = CrawledPage { error: Some("down".to_owned()), ..page(200, 0) };
        let pages = vec![page(200, 9), browser, failed];
        let report =
            CrawlReport::new(CrawlInput::default(), SiteInfo::default(), Vec::new(), pages, Vec::new());
        let CrawlSummary { http_pages, browser_pages, failed_pages, .. } = report.summary;
        assert_eq!((http_pages, browser_pages, failed_pages), (1, 1, 1));
    }
}
