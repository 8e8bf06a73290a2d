//! Audits of the page in a tab, of a page, and of many pages.

use std::{future::Future, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use futures_util::{StreamExt, stream};
use paddock_platform::problem::Problem;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::time::{Instant, timeout_at};
use url::Url;
use utoipa::ToSchema;

use super::{BrowserService, READ, TabInUse, Target, WRITE};
use crate::{
    audit::{
        A11yReport, AuditInput, AuditOptions, AuditReport, AuditedPage, BrokenResource, PageAudit,
        RequestEntry, accessibility, interactive_elements, pages_of, security,
    },
    ids::{InstanceId, TabId},
    instance::Instance,
    navigate::Wait,
    network::Filter,
    screenshot::{Format, Screenshot},
    snapshot::SnapshotOptions,
};

/// How long a page must be quiet before it is looked at: what it loads late is part of the audit.
const QUIET: Duration = Duration::from_millis(500);
/// How long the page of `/a11y/audit` is waited for.
const PARSED_MAX: Duration = Duration::from_secs(5);
/// Pages at a time when the request names no number, and at most.
pub(super) const CONCURRENCY_DEFAULT: usize = 2;
pub(super) const CONCURRENCY_MAX: usize = 8;
/// The form of what clients that crawled by themselves hand in.
const SEAPORTAL_FORMAT: &str = "seaportal-results/v0";

/// What is found out about each page; all of it unless said otherwise.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct AuditCollect {
    /// A picture.
    pub screenshot: Option<bool>,
    /// What it loads.
    pub network: Option<bool>,
    /// What its console is told.
    pub console: Option<bool>,
    /// Its accessibility.
    pub a11y: Option<bool>,
    /// How quickly it comes.
    pub timing: Option<bool>,
    /// What can be acted on.
    pub elements: Option<bool>,
    /// Its safety.
    pub security: Option<bool>,
}

/// Audits a page.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct AuditPageRequest {
    /// Its address.
    pub url: String,
    /// What is found out.
    pub options: Option<AuditCollect>,
}

/// Audits many pages: those of `urls`, of a sitemap, or of a crawl that the client made.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AuditRequest {
    /// Their addresses.
    pub urls: Vec<String>,
    /// A sitemap that names them.
    pub sitemap_url: Option<String>,
    /// What a crawl found of them: `[{url, title, statusCode, profile: {browserRecommended, …}, …}]`.
    #[schema(value_type = Option<Vec<Object>>)]
    pub seaportal_results: Option<Vec<Map<String, Value>>>,
    /// The file that the client read that from; only repeated in the report.
    pub seaportal_file: Option<String>,
    /// Opens all pages of a crawl, not only those for which it recommends a browser.
    pub enrich_all: bool,
    /// What is found out.
    pub options: Option<AuditCollect>,
    /// Pages at a time, 2 if absent, 8 at most.
    pub concurrency: Option<i64>,
    /// Most pages of one template (`/p/1`, `/p/2`, …); 0 or absent for all.
    pub sample_size: Option<i64>,
}

/// The accessibility of the page in a tab.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TabA11y {
    /// The tab.
    pub tab_id: TabId,
    /// What is wrong.
    #[serde(flatten)]
    pub report: A11yReport,
}

/// A page of an audit.
struct Planned {
    url: String,
    open: bool,
    crawled: Option<Crawled>,
}

/// What a crawl of the client found of a page.
struct Crawled {
    title: String,
    status: Option<u16>,
    summary: Map<String, Value>,
}

fn on(choice: Option<bool>) -> bool {
    choice != Some(false)
}

/// Takes a client's number into what is allowed and what there is room for.
pub(super) fn concurrency(asked: Option<i64>, room: usize) -> usize {
    let asked = asked.filter(|asked| *asked > 0).and_then(|asked| usize::try_from(asked).ok());
    asked.unwrap_or(CONCURRENCY_DEFAULT).min(CONCURRENCY_MAX).min(room.max(1))
}

/// What is left of an audit or a crawl that ran out of time.
pub(super) fn out_of_time() -> String {
    "not looked at: the time was over (`[browser] crawl_duration_max`)".to_owned()
}

impl Crawled {
    fn of(mut result: Map<String, Value>) -> Option<(String, bool, Self)> {
        let url = result.get("url")?.as_str().filter(|url| !url.is_empty())?.to_owned();
        let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        let title = text(result.get("title"));
        let status = result.get("statusCode").and_then(Value::as_u64);
        let profile = result.remove("profile").unwrap_or_default();
        let recommended = profile["browserRecommended"].as_bool().unwrap_or(false);
        let mut summary = Map::new();
        for name in ["title", "description", "confidence", "quality"] {
            if let Some(value) = result.remove(name) {
                summary.insert(name.to_owned(), value);
            }
        }
        summary.insert("decision".to_owned(), text(profile.get("decision")).into());
        summary.insert("browserRecommended".to_owned(), recommended.into());
        let status = status.and_then(|status| u16::try_from(status).ok());
        Some((url, recommended, Self { title, status, summary }))
    }
}

impl BrowserService {
    /// How accessible the page in a tab is.
    pub async fn a11y(&self, target: &Target) -> Result<TabA11y, Problem> {
        let tab = self.tab(target, READ).await?;
        tab.parsed(PARSED_MAX).await;
        let snapshot = tab.look(&SnapshotOptions::default()).await?;
        let survey = tab.survey().await.map_err(crate::error::BrowserError::Evaluate)?;
        Ok(TabA11y { tab_id: tab.id().clone(), report: accessibility(&snapshot.nodes, &survey) })
    }

    /// Audits one page in a tab of its own. A page that cannot be opened is a result, not a failure.
    pub async fn audit_page(
        &self,
        target: &Target,
        instance: Option<&InstanceId>,
        request: AuditPageRequest,
    ) -> Result<PageAudit, Problem> {
        let url = request.url.trim();
        if url.is_empty() {
            return Err(Problem::invalid_field("url", "url required"));
        }
        let instance = self.instance_to_work_in(target, instance).await?;
        let deadline = Instant::now() + self.options().crawl_duration_max.get();
        Ok(self.audited(&instance, url, request.options.unwrap_or_default(), deadline).await)
    }

    /// Audits many pages. Pages that cannot be opened are results, not failures.
    pub async fn audit(
        &self,
        target: &Target,
        instance: Option<&InstanceId>,
        request: AuditRequest,
    ) -> Result<AuditReport, Problem> {
        target.caller.require(WRITE)?;
        let options = self.options();
        let deadline = Instant::now() + options.crawl_duration_max.get();
        let collect = request.options.unwrap_or_default();
        let sample_size =
            request.sample_size.filter(|size| *size > 0).and_then(|size| usize::try_from(size).ok());
        let mut input = AuditInput {
            urls: request.urls,
            sitemap_url: request.sitemap_url.filter(|url| !url.trim().is_empty()),
            seaportal_file: request.seaportal_file,
            seaportal_format: None,
        };
        let crawled = request.seaportal_results.unwrap_or_default();
        if input.urls.is_empty() && input.sitemap_url.is_none() && crawled.is_empty() {
            return Err(Problem::invalid_field("urls", "urls, sitemapUrl, or seaportalResults required"));
        }
        let instance = self.instance_to_work_in(target, instance).await?;
        let room = options.tabs_per_instance_max.saturating_sub(instance.tab_entries().len());
        let concurrency = concurrency(request.concurrency, room);
        let mut planned = if crawled.is_empty() {
            self.plan(&instance, &input, sample_size).await?
        } else {
            input.seaportal_format = Some(SEAPORTAL_FORMAT);
            plan_crawled(crawled, sample_size, request.enrich_all)
        };
        let left_out = planned.len().saturating_sub(options.crawl_pages_max);
        planned.truncate(options.crawl_pages_max);
        if planned.is_empty() {
            return Err(Problem::invalid_field("urls", "no URLs to audit"));
        }
        let mut notes = Vec::new();
        if left_out > 0 {
            let max = options.crawl_pages_max;
            notes.push(format!("{left_out} more pages were left out: at most {max} are looked at"));
        }
        let opened: Vec<bool> = planned.iter().map(|page| page.open).collect();
        let pages = self.audit_planned(&instance, planned, collect, concurrency, deadline).await;
        let options = AuditOptions {
            sample_size,
            screenshot: on(collect.screenshot),
            network_monitor: on(collect.network),
            concurrency,
        };
        Ok(AuditReport::new(input, options, pages, &opened, notes))
    }

    async fn plan(
        &self,
        instance: &Instance,
        input: &AuditInput,
        sample_size: Option<usize>,
    ) -> Result<Vec<Planned>, Problem> {
        let urls = match &input.sitemap_url {
            Some(sitemap) if input.urls.is_empty() => {
                let sitemap: Url =
                    sitemap.trim().parse().map_err(|error| Problem::invalid_field("sitemapUrl", error))?;
                let tab = self.open_apart(instance).await?;
                let pages = self.sitemap_pages(&tab, sitemap).await;
                tab.close().await;
                pages?
            }
            _ => input.urls.clone(),
        };
        let pages = pages_of(&urls, sample_size).into_iter();
        Ok(pages.map(|url| Planned { url, open: true, crawled: None }).collect())
    }

    /// The first page alone, then the others several at a time; in their order.
    async fn audit_planned(
        &self,
        instance: &Instance,
        planned: Vec<Planned>,
        collect: AuditCollect,
        concurrency: usize,
        deadline: Instant,
    ) -> Vec<AuditedPage> {
        let mut planned = planned.into_iter();
        let mut pages = Vec::new();
        if let Some(first) = planned.next() {
            pages.push(self.audit_one(instance, first, collect, deadline).await);
        }
        let others = stream::iter(planned)
            .map(|page| self.audit_one(instance, page, collect, deadline))
            .buffered(concurrency);
        pages.extend(others.collect::<Vec<_>>().await);
        pages
    }

    fn audit_one<'a>(
        &'a self,
        instance: &'a Instance,
        planned: Planned,
        collect: AuditCollect,
        deadline: Instant,
    ) -> impl Future<Output = AuditedPage> + Send + 'a {
        Box::pin(async move {
            let mut page = if planned.open {
                self.audited(instance, &planned.url, collect, deadline).await.into()
            } else {
                AuditedPage { url: planned.url, ..AuditedPage::default() }
            };
            if let Some(crawled) = planned.crawled {
                if page.title.is_empty() {
                    page.title = crawled.title;
                }
                page.status_code = crawled.status;
                page.seaportal = Some(crawled.summary);
            }
            page
        })
    }

    async fn audited(
        &self,
        instance: &Instance,
        url: &str,
        collect: AuditCollect,
        deadline: Instant,
    ) -> PageAudit {
        let failed = |error: String| PageAudit { url: url.to_owned(), error, ..PageAudit::default() };
        let looking = async {
            let tab = self.open_apart(instance).await?;
            let page = self.look_at(&tab, url, collect).await;
            tab.close().await;
            page
        };
        match timeout_at(deadline, Box::pin(looking)).await {
            Ok(Ok(page)) => page,
            Ok(Err(problem)) => failed(problem.detail),
            Err(_) => failed(out_of_time()),
        }
    }

    /// Opens a page and finds out about it. What cannot be found out is said in its `error`.
    async fn look_at(&self, tab: &TabInUse, url: &str, collect: AuditCollect) -> Result<PageAudit, Problem> {
        let address: Url = url.parse().map_err(|error| Problem::invalid_field("url", error))?;
        let options = self.navigate_options(None, Wait { quiet: QUIET, ..Wait::settled() })?;
        let navigation = tab.navigate(&address, options).await?;
        let mut page = PageAudit { url: url.to_owned(), title: navigation.title, ..PageAudit::default() };
        let mut missing = Missing::default();
        if on(collect.console)
            && let Some(console) = missing.unless("console", tab.console().await)
        {
            page.browser.console_logs = console.messages.into_iter().map(Into::into).collect();
        }
        let entries = tab.0.environment.log.list(&Filter::default());
        let requests: Vec<RequestEntry> = entries.iter().map(Into::into).collect();
        let survey = missing.unless("page", tab.survey().await).unwrap_or_default();
        if (on(collect.elements) || on(collect.a11y))
            && let Some(snapshot) = missing.unless("snapshot", tab.look(&SnapshotOptions::default()).await)
        {
            if on(collect.elements) {
                page.browser.interactive_elements = interactive_elements(&snapshot.nodes);
            }
            if on(collect.a11y) {
                page.judge(&accessibility(&snapshot.nodes, &survey));
            }
        }
        if on(collect.timing) {
            let timing = missing.unless("timing", tab.timing().await);
            page.browser.timing_metrics = timing.map(Into::into).unwrap_or_default();
        }
        if on(collect.screenshot) {
            let screenshot = Screenshot { format: Format::Png, ..Screenshot::default() };
            let image = missing.unless("screenshot", tab.screenshot(screenshot).await);
            page.screenshot = image.map(|image| BASE64_STANDARD.encode(image));
        }
        if on(collect.security) {
            page.security_findings = security(url, &page.title, &requests, &survey.forms);
        }
        if on(collect.network) {
            page.browser.broken_assets =
                requests.iter().filter(|request| request.failed).map(broken).collect();
            page.browser.network_requests = requests;
        }
        page.error = missing.0.join("; ");
        Ok(page)
    }
}

/// What could not be found out about a page, and why.
#[derive(Default)]
struct Missing(Vec<String>);

impl Missing {
    fn unless<T, E: std::error::Error>(&mut self, what: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.0.push(format!("{what}: {error}"))).ok()
    }
}

fn broken(request: &RequestEntry) -> BrokenResource {
    BrokenResource {
        url: request.url.clone(),
        resource_type: request.resource_type.to_ascii_lowercase(),
        status: request.status,
        error: request.error.clone(),
    }
}

fn plan_crawled(results: Vec<Map<String, Value>>, sample_size: Option<usize>, all: bool) -> Vec<Planned> {
    let mut crawled = std::collections::HashMap::new();
    let mut urls = Vec::new();
    for (url, recommended, page) in results.into_iter().filter_map(Crawled::of) {
        urls.push(url.clone());
        crawled.entry(url).or_insert((recommended, page));
    }
    let planned = pages_of(&urls, sample_size).into_iter();
    planned
        .filter_map(|url| {
            let (recommended, page) = crawled.remove(&url)?;
            Some(Planned { url, open: recommended || all, crawled: Some(page) })
        })
        .collect()
}

impl PageAudit {
    fn judge(&mut self, report: &A11yReport) {
        self.browser.accessibility_score = report.score;
        self.a11y_findings.clone_from(&report.findings);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_crawl_says_which_pages_are_opened() {
        let results = json!([
            { "url": "http://a.test/", "title": "A", "statusCode": 200,
              "profile": { "browserRecommended": true, "decision": "browser-needed" } },
            { "url": "http://a.test/b", "profile": { "browserRecommended": false } },
            { "title": "no address" },
        ]);
        let results: Vec<Map<String, Value>> = serde_json::from_value(results).unwrap();
        let planned = plan_crawled(results.clone(), None, false);
        assert_eq!(planned.iter().map(|page| page.open).collect::<Vec<_>>(), [true, false]);
        let first = planned[0].crawled.as_ref().unwrap();
        assert_eq!((first.title.as_str(), first.status), ("A", Some(200)));
        assert_eq!(first.summary["decision"], "browser-needed");
        assert!(plan_crawled(results, None, true).iter().all(|page| page.open));
    }

    #[test]
    fn pages_at_a_time_have_bounds() {
        assert_eq!(concurrency(None, 20), CONCURRENCY_DEFAULT);
        assert_eq!(concurrency(Some(-1), 20), CONCURRENCY_DEFAULT);
        assert_eq!(concurrency(Some(100), 20), CONCURRENCY_MAX);
        assert_eq!((concurrency(Some(5), 3), concurrency(None, 0)), (3, 1));
    }
}
