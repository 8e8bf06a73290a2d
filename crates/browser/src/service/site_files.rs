//! What a site says of itself for crawlers: `robots.txt` and sitemaps, fetched through the egress.

use std::collections::VecDeque;

use paddock_platform::problem::Problem;
use url::Url;

use super::{BrowserService, TabInUse};
use crate::crawl::{Robots, Sitemap};

/// Sitemaps that one leads to.
const SITEMAPS_MAX: usize = 50;

impl BrowserService {
    /// What a site does not want to be crawled. Without the file, everything may be.
    pub(super) async fn robots(&self, tab: &TabInUse, start: &Url) -> Robots {
        let Ok(url) = start.join("/robots.txt") else { return Robots::default() };
        let size_max = self.options().download_size_max;
        match self.fleet.0.fetcher.fetch(tab, url, size_max).await {
            Ok(file) => Robots::parse(&String::from_utf8_lossy(&file.bytes)),
            Err(problem) => {
                let status =
                    problem.extensions.as_ref().and_then(|more| more.get("upstreamStatus")?.as_u64());
                if status.is_some_and(|status| status >= 500) { Robots::closed() } else { Robots::default() }
            }
        }
    }

    /// The pages that the sitemaps of a site list.
    pub(super) async fn listed_pages(&self, tab: &TabInUse, start: &Url, robots: &Robots) -> Vec<Url> {
        let mut named: Vec<Url> = robots.sitemaps.iter().filter_map(|url| start.join(url).ok()).collect();
        if named.is_empty() {
            named.extend(start.join("/sitemap.xml"));
        }
        let mut pages = Vec::new();
        for sitemap in named.into_iter().take(SITEMAPS_MAX) {
            match self.sitemap_pages(tab, sitemap).await {
                Ok(listed) => pages.extend(listed.iter().filter_map(|url| url.parse::<Url>().ok())),
                Err(problem) => tracing::debug!(error = %problem.detail, "a site has no such sitemap"),
            }
        }
        pages.retain(|page| page.origin() == start.origin());
        pages
    }

    /// The addresses of a sitemap, and of those that it leads to.
    pub(super) async fn sitemap_pages(&self, tab: &TabInUse, url: Url) -> Result<Vec<String>, Problem> {
        let size_max = self.options().download_size_max;
        let mut pages = Vec::new();
        let mut waiting = VecDeque::from([url.clone()]);
        let mut read = 0;
        while let Some(next) = waiting.pop_front().filter(|_| read < SITEMAPS_MAX) {
            read += 1;
            let file = match self.fleet.0.fetcher.fetch(tab, next.clone(), size_max).await {
                Ok(file) => file,
                Err(problem) if next == url => {
                    let detail = format!("sitemap discovery: {}", problem.detail);
                    return Err(Problem::invalid_field("sitemapUrl", detail));
                }
                // One of many that is missing does not take the others along.
                Err(problem) => {
                    tracing::debug!(error = %problem.detail, "a sitemap of an index is missing");
                    continue;
                }
            };
            let sitemap = Sitemap::parse(&file.bytes);
            if sitemap.is_index {
                waiting.extend(sitemap.locations.iter().filter_map(|location| next.join(location).ok()));
            } else {
                let absolute = sitemap.locations.iter().filter_map(|location| next.join(location).ok());
                pages.extend(absolute.map(String::from));
            }
        }
        Ok(pages)
    }
}
