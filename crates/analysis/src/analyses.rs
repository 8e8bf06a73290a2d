//! [`Analyses`]: what routes and tools call. Analyses pages, keeps the reports, and answers from them while fresh.

use metrics::counter;
use paddock_platform::{
    config::Section,
    identity::{Caller, Tenant},
    problem::Problem,
    task::Tasks,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use url::Url;
use utoipa::ToSchema;

use crate::{
    AnalysisError, AnalysisOptions, AnalysisRequest, Analyzer, Finished, Screen, Target,
    metrics::ANALYSIS_FINDINGS_TOTAL,
    report::Report,
    service::{Progress, count_outcome},
    store::Archive,
};

/// How often old reports are looked for.
const EXPIRY_INTERVAL: Duration = Duration::from_mins(10);
/// Files of a report that is being saved are younger than this.
const ORPHAN_AGE_MIN: Duration = Duration::from_hours(1);
/// The longest URL that is taken.
const URL_LENGTH_MAX: usize = 8_192;
/// Parameters that say where a visitor came from and change nothing about the page.
const TRACKING_PARAMETERS: [&str; 8] =
    ["gclid", "fbclid", "msclkid", "dclid", "mc_cid", "mc_eid", "igshid", "yclid"];

/// What page to analyse, and how.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AnalysisInput {
    /// The page: an http or https URL.
    #[schema(value_type = String)]
    pub url: Url,
    /// The screens to look at it on; both when left out.
    #[serde(default = "both")]
    #[schema(value_type = Vec<String>)]
    #[schemars(length(min = 1))]
    pub viewports: Vec<Screen>,
    /// Look again even if there is a recent report.
    #[serde(default)]
    pub fresh: bool,
}

fn both() -> Vec<Screen> {
    vec![Screen::Desktop, Screen::Mobile]
}

/// The analyzer with its archive. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Analyses {
    analyzer: Analyzer,
    archive: Archive,
    options: Section<AnalysisOptions>,
}

impl Analyses {
    /// Puts the two together and starts forgetting what is older than `[analysis] retention`.
    pub fn start(
        analyzer: Analyzer,
        archive: Archive,
        options: Section<AnalysisOptions>,
        tasks: &Tasks,
    ) -> Self {
        let expiry = expire(archive.clone(), options.clone());
        let stopping = tasks.stop_token();
        tasks.spawn("analysis-expiry", async move {
            tokio::select! {
                () = expiry => {}
                () = stopping.cancelled() => {}
            }
        });
        Self { analyzer, archive, options }
    }

    /// The reports that were kept.
    pub const fn archive(&self) -> &Archive {
        &self.archive
    }

    /// A recent report of a page, unless a fresh one is asked for.
    pub async fn find_recent(
        &self,
        caller: &Caller,
        input: &AnalysisInput,
    ) -> Result<Option<Report>, Problem> {
        let request = request(caller.tenant().clone(), input)?;
        if input.fresh {
            return Ok(None);
        }
        let report = self.recent(caller.tenant(), &page_key(&input.url, &request.screens)).await?;
        if report.is_some() {
            count_outcome(&Ok(()), true);
        }
        Ok(report)
    }

    /// The report of a page: a recent one, or one that is made now.
    pub async fn run(
        &self,
        caller: &Caller,
        input: AnalysisInput,
        progress: &Progress,
    ) -> Result<Report, Problem> {
        if let Some(report) = self.find_recent(caller, &input).await? {
            return Ok(report);
        }
        let request = request(caller.tenant().clone(), &input)?;
        let page_key = page_key(&input.url, &request.screens);
        let outcome = self.run_now(&request, &page_key, progress).await.map_err(Problem::from);
        count_outcome(&outcome, false);
        outcome
    }

    /// Analyses a page and keeps the report.
    pub async fn run_now(
        &self,
        request: &AnalysisRequest,
        page_key: &str,
        progress: &Progress,
    ) -> Result<Report, AnalysisError> {
        let finished: Finished = self.analyzer.analyze(request, progress).await?;
        let report = finished.report.clone();
        for finding in &report.findings {
            counter!(ANALYSIS_FINDINGS_TOTAL, "rule" => finding.finding.rule.clone()).increment(1);
        }
        self.archive.save(&request.tenant, page_key, finished).await?;
        Ok(report)
    }

    async fn recent(&self, tenant: &Tenant, page_key: &str) -> Result<Option<Report>, Problem> {
        let age_max = self.options.current().cache.get();
        if age_max.is_zero() {
            return Ok(None);
        }
        let Some(id) = self.archive.latest(tenant, page_key, age_max).await? else { return Ok(None) };
        let Some(file) = self.archive.file(tenant, &id, "report.json").await? else { return Ok(None) };
        // A report of an older version may not fit today's type: then the page is looked at again.
        Ok(serde_json::from_slice(&file.bytes).ok())
    }
}

async fn expire(archive: Archive, options: Section<AnalysisOptions>) {
    let mut interval = tokio::time::interval(EXPIRY_INTERVAL);
    loop {
        interval.tick().await;
        match archive.sweep(ORPHAN_AGE_MIN).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(reports = count, "removed files of reports that were never finished"),
            Err(error) => {
                let error = paddock_platform::problem::error_chain(&error);
                tracing::warn!(error, "files without a report could not be looked for; trying again later");
            }
        }
        match archive.expire(options.current().retention.get()).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(reports = count, "forgot old reports"),
            Err(error) => {
                let error = paddock_platform::problem::error_chain(&error);
                tracing::warn!(error, "old reports could not be forgotten; trying again later");
            }
        }
    }
}

fn request(tenant: Tenant, input: &AnalysisInput) -> Result<AnalysisRequest, Problem> {
    if !matches!(input.url.scheme(), "http" | "https") {
        return Err(Problem::invalid_field("url", "only http and https pages are analysed"));
    }
    if input.url.as_str().len() > URL_LENGTH_MAX {
        return Err(Problem::invalid_field("url", format!("longer than {URL_LENGTH_MAX} characters")));
    }
    let mut screens = input.viewports.clone();
    screens.sort_unstable();
    screens.dedup();
    if screens.is_empty() {
        return Err(Problem::invalid_field("viewports", "name at least one of `desktop` and `mobile`"));
    }
    Ok(AnalysisRequest { tenant, target: Target::Url(input.url.clone()), screens })
}

/// The same for URLs that show the same page: without fragment and tracking parameters, the rest in order.
fn page_key(url: &Url, screens: &[Screen]) -> String {
    let mut url = url.clone();
    url.set_fragment(None);
    let is_tracking = |name: &str| name.starts_with("utm_") || TRACKING_PARAMETERS.contains(&name);
    let mut pairs: Vec<(String, String)> =
        url.query_pairs().filter(|(name, _)| !is_tracking(name)).map(|(k, v)| (k.into(), v.into())).collect();
    pairs.sort_unstable();
    url.set_query(None);
    if !pairs.is_empty() {
        url.query_pairs_mut().extend_pairs(pairs);
    }
    let screens: Vec<String> = screens.iter().map(ToString::to_string).collect();
    blake3::hash(format!("{} {url}", screens.join("+")).as_bytes()).to_hex()[..32].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(url: &str) -> String {
        page_key(&url.parse().unwrap(), &both())
    }

    #[test]
    fn where_a_visitor_came_from_does_not_make_another_page() {
        let page = key("https://shop.example/mug?size=m&colour=green");
        assert_eq!(page, key("https://shop.example/mug?colour=green&size=m&utm_source=mail&gclid=1#reviews"));
        assert_ne!(page, key("https://shop.example/mug?colour=red&size=m"));
        assert_ne!(
            page,
            page_key(&"https://shop.example/mug?size=m&colour=green".parse().unwrap(), &[Screen::Mobile])
        );
    }

    #[test]
    fn what_cannot_be_analysed_is_refused_with_the_field_named() {
        let input = |json| serde_json::from_value::<AnalysisInput>(json).unwrap();
        for (json, field) in [
            (serde_json::json!({"url": "ftp://a.example/"}), "`url`"),
            (serde_json::json!({"url": "file:///etc/passwd"}), "`url`"),
            (serde_json::json!({"url": "https://a.example/", "viewports": []}), "`viewports`"),
        ] {
            let problem = request(Tenant::local(), &input(json)).unwrap_err();
            assert!(problem.detail.contains(field), "{}", problem.detail);
        }
    }
}
