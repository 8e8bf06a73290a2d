//! Crawling a site into Markdown.

use std::{
    collections::{HashMap, HashSet, VecDeque, hash_map::Entry},
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use paddock_platform::problem::Problem;
use regex::{Regex, RegexBuilder};
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};
use url::Url;
use utoipa::ToSchema;

use super::{
    BrowserService, Target, WRITE,
    audit::{concurrency, out_of_time},
    browser_choice::check_browser,
};
use crate::{
    crawl::{Bounds, CrawlInput, CrawlReport, CrawledPage, Frontier, Robots, SiteInfo, snippet, verdict},
    ids::InstanceId,
    instance::Instance,
};

/// Pages when the request names no number.
const PAGES_DEFAULT: usize = 50;
/// Pages of one part of the site when the request names no number.
const PER_PATTERN_DEFAULT: usize = 8;
/// Patterns of one request, and bytes of what one is compiled to.
const PATTERNS_MAX: usize = 50;
const PATTERN_SIZE_MAX: usize = 1 << 20;
/// Bytes of all Markdown of a report; pages beyond it are shown as in a preview.
const REPORT_SIZE_MAX: usize = 32 << 20;
/// Sites of one request, each of whose `robots.txt` is asked for.
const ORIGINS_MAX: usize = 20;

/// Crawls a site.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ScrapeRequest {
    /// A page of the site.
    pub url: String,
    /// Most pages; 50 if absent, at most `[browser] crawl_pages_max`.
    pub max_pages: Option<i64>,
    /// Most pages of one part of the site (`/blog/*`); 8 if absent.
    pub max_per_pattern: Option<i64>,
    /// Only addresses that one of these regular expressions matches.
    pub include_patterns: Vec<String>,
    /// No addresses that one of these regular expressions matches.
    pub exclude_patterns: Vec<String>,
    /// Pages at a time; 2 if absent, 8 at most.
    pub concurrency: Option<i64>,
    /// Reads every page as visitors see it.
    pub enrich_all: bool,
    /// Reads no page as visitors see it, and says of which that would be needed.
    pub no_browser: bool,
    /// Seconds that the crawl may take.
    pub timeout_seconds: Option<i64>,
    /// Only what pages there are and how they begin; as `noBrowser`.
    pub preview: bool,
    /// Exactly these pages, instead of those that are found.
    pub only: Vec<String>,
    /// `chrome`: every instance has the same browser.
    pub browser: Option<String>,
}

/// A crawl that was checked.
struct Crawl {
    instance: Instance,
    start: Url,
    only: Vec<Url>,
    /// By origin.
    robots: HashMap<String, Robots>,
    concurrency: usize,
    reading: Reading,
    deadline: Instant,
}

/// How pages are read.
#[derive(Clone, Copy)]
struct Reading {
    enrich_all: bool,
    no_browser: bool,
    preview: bool,
}

/// A page, and where its links lead.
struct Read {
    place: usize,
    page: CrawledPage,
    links: Vec<Url>,
}

fn number(asked: Option<i64>, default: usize, max: usize) -> usize {
    let asked = asked.filter(|asked| *asked > 0).and_then(|asked| usize::try_from(asked).ok());
    asked.unwrap_or(default).min(max)
}

fn patterns(field: &str, texts: &[String]) -> Result<Vec<Regex>, Problem> {
    if texts.len() > PATTERNS_MAX {
        return Err(Problem::invalid_field(field, format!("must be at most {PATTERNS_MAX}")));
    }
    let compile = |text: &String| RegexBuilder::new(text).size_limit(PATTERN_SIZE_MAX).build();
    texts.iter().map(compile).collect::<Result<_, _>>().map_err(|error| Problem::invalid_field(field, error))
}

fn web_address(field: &str, text: &str) -> Result<Url, Problem> {
    let url: Url = text.trim().parse().map_err(|error| Problem::invalid_field(field, error))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        scheme => Err(Problem::invalid_field(field, format!("`{scheme}:` addresses cannot be crawled"))),
    }
}

fn path_of(url: &Url) -> String {
    match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    }
}

impl ScrapeRequest {
    fn bounds(&self, pages_max: usize) -> Result<Bounds, Problem> {
        let pages_default = if self.only.is_empty() { PAGES_DEFAULT } else { pages_max };
        Ok(Bounds {
            pages_max: number(self.max_pages, pages_default, pages_max),
            per_pattern_max: number(self.max_per_pattern, PER_PATTERN_DEFAULT, pages_max),
            include: patterns("includePatterns", &self.include_patterns)?,
            exclude: patterns("excludePatterns", &self.exclude_patterns)?,
        })
    }

    fn input(&self) -> CrawlInput {
        let given = |number: Option<i64>| {
            number.and_then(|number| usize::try_from(number).ok()).filter(|number| *number > 0)
        };
        CrawlInput {
            url: self.url.clone(),
            max_pages: given(self.max_pages),
            max_per_pattern: given(self.max_per_pattern),
            include_patterns: self.include_patterns.clone(),
            exclude_patterns: self.exclude_patterns.clone(),
        }
    }
}

impl BrowserService {
    /// Crawls a site in tabs of an instance. Pages that cannot be read are results, not failures.
    pub async fn scrape(
        &self,
        target: &Target,
        instance: Option<&InstanceId>,
        request: ScrapeRequest,
    ) -> Result<CrawlReport, Problem> {
        target.caller.require(WRITE)?;
        check_browser(request.browser.as_deref())?;
        if request.url.trim().is_empty() {
            return Err(Problem::invalid_field("url", "url required"));
        }
        let start = web_address("url", &request.url)?;
        let options = self.options();
        let only = request.only.iter().filter(|url| !url.trim().is_empty());
        let only: Vec<Url> = only.map(|url| web_address("only", url)).collect::<Result<_, _>>()?;
        let origins: HashSet<String> = only.iter().map(|url| url.origin().ascii_serialization()).collect();
        if origins.len() >= ORIGINS_MAX {
            return Err(Problem::invalid_field(
                "only",
                format!("must be pages of fewer than {ORIGINS_MAX} sites"),
            ));
        }
        if only.len() > options.crawl_pages_max {
            let detail = format!("must be at most {} (`[browser] crawl_pages_max`)", options.crawl_pages_max);
            return Err(Problem::invalid_field("only", detail));
        }
        let bounds = request.bounds(options.crawl_pages_max)?;
        let longest = options.crawl_duration_max.get();
        let secs = request.timeout_seconds.and_then(|secs| u64::try_from(secs).ok()).filter(|secs| *secs > 0);
        let longest = secs.map_or(longest, |secs| Duration::from_secs(secs).min(longest));
        let instance = self.instance_to_work_in(target, instance).await?;
        let room = options.tabs_per_instance_max.saturating_sub(instance.tab_entries().len());
        let deadline = Instant::now() + longest;
        let mut frontier = Frontier::new(start.clone(), bounds);
        let discover = only.is_empty();
        let scouting = timeout_at(deadline, Box::pin(self.scout(&instance, &start, &only))).await;
        let (robots, listed) =
            scouting.map_err(|_| Problem::invalid_field("timeoutSeconds", out_of_time()))??;
        if discover {
            frontier.begin();
            for url in &listed {
                frontier.offer(url);
            }
        }
        let crawl = Crawl {
            concurrency: concurrency(request.concurrency, room),
            reading: Reading {
                enrich_all: request.enrich_all,
                no_browser: request.no_browser || request.preview,
                preview: request.preview,
            },
            instance,
            start,
            only,
            robots,
            deadline,
        };
        Ok(self.crawl(crawl, frontier, !listed.is_empty(), request.input()).await)
    }

    /// Reads page after page, several at a time, until there are no more or the time is over.
    async fn crawl(
        &self,
        crawl: Crawl,
        mut frontier: Frontier,
        sitemap_found: bool,
        input: CrawlInput,
    ) -> CrawlReport {
        let mut chosen: VecDeque<Url> = crawl.only.iter().cloned().collect();
        let follow = crawl.only.is_empty() && !sitemap_found;
        let mut pages: Vec<CrawledPage> = Vec::new();
        #[expect(clippy::disallowed_methods, reason = "as many as `concurrency` says are put in")]
        let mut reading = FuturesUnordered::new();
        let (mut refused, mut in_time) = (0, true);
        loop {
            while reading.len() < crawl.concurrency
                && let Some(url) = chosen.pop_front().or_else(|| frontier.next())
            {
                pages.push(CrawledPage { url: url.to_string(), ..CrawledPage::default() });
                let place = pages.len() - 1;
                let robots = crawl.robots.get(&url.origin().ascii_serialization());
                if robots.is_none_or(|robots| robots.allows(&path_of(&url))) {
                    pages[place].error = Some(out_of_time());
                    reading.push(Box::pin(self.read_page(&crawl, place, url)));
                } else {
                    refused += 1;
                    pages[place].error = Some("robots.txt does not allow it".to_owned());
                }
            }
            match timeout_at(crawl.deadline, reading.next()).await {
                Ok(Some(read)) => {
                    pages[read.place] = read.page;
                    if follow {
                        for link in &read.links {
                            frontier.offer(link);
                        }
                    }
                }
                Ok(None) => break,
                Err(_) => {
                    in_time = false;
                    break;
                }
            }
        }
        drop(reading);
        let mut notes = Vec::new();
        if refused > 0 {
            notes.push(format!("{refused} pages were not read: robots.txt does not allow it"));
        }
        if !in_time {
            notes.push("the time was over before all pages were read".to_owned());
        }
        if bound(&mut pages) {
            notes.push("the last pages are only outlined: ask for them with `only`".to_owned());
        }
        let site = SiteInfo {
            base_url: crawl.start.origin().ascii_serialization(),
            title: pages.first().map(|page| page.title.clone()).unwrap_or_default(),
            sitemap_found,
            total_discovered: frontier.known().max(crawl.only.len()),
            sampled_pages: pages.len(),
        };
        CrawlReport::new(input, site, frontier.into_groups(), pages, notes)
    }

    /// What the sites do not want to be crawled and, where pages are to be found, which ones the sitemap lists.
    async fn scout(
        &self,
        instance: &Instance,
        start: &Url,
        only: &[Url],
    ) -> Result<(HashMap<String, Robots>, Vec<Url>), Problem> {
        let tab = self.open_apart(instance).await?;
        let mut robots = HashMap::new();
        for url in std::iter::once(start).chain(only) {
            let origin = url.origin().ascii_serialization();
            if let Entry::Vacant(entry) = robots.entry(origin) {
                entry.insert(self.robots(&tab, url).await);
            }
        }
        let listed = match robots.get(&start.origin().ascii_serialization()) {
            Some(robots) if only.is_empty() => self.listed_pages(&tab, start, robots).await,
            _ => Vec::new(),
        };
        tab.close().await;
        Ok((robots, listed))
    }

    /// Reads one page: as it is served and, where that is not enough, as visitors see it.
    async fn read_page(&self, crawl: &Crawl, place: usize, url: Url) -> Read {
        let tab = match self.open_apart(&crawl.instance).await {
            Ok(tab) => tab,
            Err(problem) => {
                let error = Some(problem.detail);
                let page = CrawledPage { url: url.to_string(), error, ..CrawledPage::default() };
                return Read { place, page, links: Vec::new() };
            }
        };
        let (mut page, links) = self.read_as_served(&tab, &url, &crawl.start).await;
        page.browser_reasons = verdict(&page);
        page.browser_recommended = !page.browser_reasons.is_empty();
        let exists = !matches!(page.status_code, Some(404 | 410));
        if crawl.reading.enrich_all && exists && !page.browser_recommended {
            page.browser_reasons.push("enrich-all".to_owned());
        }
        if !page.browser_reasons.is_empty() && !crawl.reading.no_browser {
            self.read_as_shown(&tab, &url, &mut page).await;
        }
        if crawl.reading.preview {
            outline(&mut page);
        }
        tab.close().await;
        Read { place, page, links }
    }
}

/// Leaves of a page what a preview shows.
fn outline(page: &mut CrawledPage) {
    page.char_count = Some(page.markdown.chars().count());
    page.snippet = Some(snippet(&page.markdown));
    page.markdown = String::new();
}

/// Outlines what does not fit into a report. Whether there was such.
fn bound(pages: &mut [CrawledPage]) -> bool {
    let mut size = 0;
    let mut outlined = false;
    for page in pages {
        size += page.markdown.len();
        if size > REPORT_SIZE_MAX && !page.markdown.is_empty() {
            outline(page);
            outlined = true;
        }
    }
    outlined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_outlined() {
        let page = || CrawledPage { markdown: "x".repeat(REPORT_SIZE_MAX / 2), ..CrawledPage::default() };
        let mut pages = vec![page(), page(), page()];
        assert!(bound(&mut pages));
        assert!(!pages[1].markdown.is_empty() && pages[2].markdown.is_empty());
        assert_eq!(pages[2].char_count, Some(REPORT_SIZE_MAX / 2));
        assert!(!bound(&mut pages[..1]));
    }

    #[test]
    fn patterns_that_are_none_or_too_large_are_refused() {
        for bad in ["(", "(a{1000}){1000}"] {
            assert!(patterns("includePatterns", &[bad.to_owned()]).is_err(), "{bad}");
        }
        assert_eq!(patterns("includePatterns", &["/docs/".to_owned()]).unwrap().len(), 1);
    }

    #[test]
    fn only_web_addresses_are_crawled() {
        assert!(web_address("url", " http://a.test/ ").is_ok());
        for bad in ["file:///etc/passwd", "chrome://settings", "/relative"] {
            assert!(web_address("url", bad).is_err(), "{bad}");
        }
    }
}
