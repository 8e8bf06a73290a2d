//! Crawling a site into Markdown, in the shape that Pinchtab's clients know.
//!
//! Which pages: those of the sitemap or, where there is none, those that links of the pages lead to; of one origin, as
//! `robots.txt` allows (RFC 9309), a bounded number of each part of the site. How they are read: first as they are
//! served, their scripts not run and their pictures not loaded; where that says too little, once more as the page that
//! visitors see.

mod frontier;
mod report;
mod robots;
mod sitemap;

pub use self::report::{CrawlInput, CrawlReport, CrawlSummary, CrawledPage, PageGroup, PageSource, SiteInfo};
pub(crate) use self::{
    frontier::{Bounds, Frontier},
    report::{snippet, verdict},
    robots::Robots,
    sitemap::Sitemap,
};
