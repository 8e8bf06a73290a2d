//! Which pages come next.

use std::collections::{HashMap, HashSet, VecDeque};

use regex::Regex;
use url::Url;

use super::report::PageGroup;

/// Addresses that are remembered.
const KNOWN_MAX: usize = 50_000;
/// Endings of files that are no pages.
const FILES: [&str; 34] = [
    "7z", "avi", "bin", "bmp", "css", "csv", "doc", "docx", "dmg", "exe", "gif", "gz", "ico", "iso", "jpeg",
    "jpg", "js", "json", "mov", "mp3", "mp4", "pdf", "png", "ppt", "pptx", "rar", "svg", "tar", "webm",
    "webp", "woff2", "xls", "xlsx", "zip",
];

/// The bounds of a crawl.
#[derive(Debug)]
pub(crate) struct Bounds {
    /// Most pages.
    pub(crate) pages_max: usize,
    /// Most pages of one part of the site.
    pub(crate) per_pattern_max: usize,
    /// Only addresses that one of these matches; all if empty.
    pub(crate) include: Vec<Regex>,
    /// No addresses that one of these matches.
    pub(crate) exclude: Vec<Regex>,
}

/// The pages of one origin that are known, and which of them were handed out.
#[derive(Debug)]
pub(crate) struct Frontier {
    start: Url,
    bounds: Bounds,
    known: HashSet<String>,
    waiting: VecDeque<Url>,
    /// Places of the groups by their patterns.
    places: HashMap<String, usize>,
    groups: Vec<PageGroup>,
    taken: usize,
}

/// The part of the site that a page is in. Pages directly below the root are no part of each other.
fn pattern_of(url: &Url) -> Option<String> {
    let mut segments = url.path_segments()?.filter(|segment| !segment.is_empty());
    let (first, second) = (segments.next()?, segments.next());
    second.is_some().then(|| format!("/{first}/*"))
}

fn is_file(url: &Url) -> bool {
    let name = url.path().rsplit('/').next().unwrap_or_default();
    name.rsplit_once('.').is_some_and(|(_, ending)| FILES.contains(&ending.to_ascii_lowercase().as_str()))
}

impl Frontier {
    /// That of the site which `start` is a page of; nothing is known yet.
    pub(crate) fn new(start: Url, bounds: Bounds) -> Self {
        Self {
            start,
            bounds,
            known: HashSet::new(),
            waiting: VecDeque::new(),
            places: HashMap::new(),
            groups: Vec::new(),
            taken: 0,
        }
    }

    /// Whether an address is one of the site.
    pub(crate) fn is_inside(&self, url: &Url) -> bool {
        url.origin() == self.start.origin()
    }

    /// Takes in the page that the caller named, whatever the patterns say.
    pub(crate) fn begin(&mut self) {
        let start = self.start.clone();
        self.note(start);
    }

    /// Takes in a page that is of the site, is not known yet and may be meant.
    pub(crate) fn offer(&mut self, url: &Url) {
        let text = url.as_str();
        let included =
            self.bounds.include.is_empty() || self.bounds.include.iter().any(|of| of.is_match(text));
        let excluded = self.bounds.exclude.iter().any(|of| of.is_match(text));
        if self.is_inside(url) && included && !excluded && !is_file(url) {
            self.note(url.clone());
        }
    }

    fn note(&mut self, mut url: Url) {
        url.set_fragment(None);
        if self.known.len() >= KNOWN_MAX || !self.known.insert(url.as_str().to_owned()) {
            return;
        }
        let pattern = pattern_of(&url).unwrap_or_else(|| url.path().to_owned());
        let place = *self.places.entry(pattern.clone()).or_insert_with(|| {
            self.groups.push(PageGroup { pattern, total: 0, sampled: 0, urls: Vec::new() });
            self.groups.len() - 1
        });
        self.groups[place].total += 1;
        self.waiting.push_back(url);
    }

    /// The next page to read.
    pub(crate) fn next(&mut self) -> Option<Url> {
        while self.taken < self.bounds.pages_max {
            let url = self.waiting.pop_front()?;
            let pattern = pattern_of(&url);
            let key = pattern.as_deref().unwrap_or(url.path());
            let Some(group) = self.places.get(key).map(|place| &mut self.groups[*place]) else { continue };
            if pattern.is_some() && group.sampled >= self.bounds.per_pattern_max {
                continue;
            }
            group.sampled += 1;
            group.urls.push(url.as_str().to_owned());
            self.taken += 1;
            return Some(url);
        }
        None
    }

    /// Pages that are known.
    pub(crate) fn known(&self) -> usize {
        self.known.len()
    }

    /// The parts of the site, as they were found.
    pub(crate) fn into_groups(self) -> Vec<PageGroup> {
        self.groups
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn url(path: &str) -> Url {
        format!("http://site.test{path}").parse().unwrap()
    }

    fn frontier(pages_max: usize, per_pattern_max: usize) -> Frontier {
        let bounds = Bounds { pages_max, per_pattern_max, include: Vec::new(), exclude: Vec::new() };
        let mut frontier = Frontier::new(url("/"), bounds);
        frontier.begin();
        frontier
    }

    fn all(frontier: &mut Frontier) -> Vec<String> {
        std::iter::from_fn(|| frontier.next()).map(|url| url.path().to_owned()).collect()
    }

    #[test]
    fn pages_come_once_in_the_order_in_which_they_were_found() {
        let mut frontier = frontier(10, 10);
        for path in ["/a", "/b#part", "/b", "/picture.PNG", "/a"] {
            frontier.offer(&url(path));
        }
        frontier.offer(&"http://other.test/c".parse().unwrap());
        frontier.offer(&"mailto:a@site.test".parse().unwrap());
        assert_eq!(all(&mut frontier), ["/", "/a", "/b"]);
        assert_eq!(frontier.known(), 3);
    }

    #[test]
    fn a_part_of_the_site_gets_no_more_than_its_share() {
        let mut frontier = frontier(10, 2);
        for path in ["/blog/1", "/blog/2", "/blog/3", "/about", "/help"] {
            frontier.offer(&url(path));
        }
        assert_eq!(all(&mut frontier), ["/", "/blog/1", "/blog/2", "/about", "/help"]);
        let groups = frontier.into_groups();
        let blog = groups.iter().find(|group| group.pattern == "/blog/*").unwrap();
        assert_eq!((blog.total, blog.sampled, blog.urls.len()), (3, 2, 2));
    }

    #[test]
    fn patterns_choose_but_not_against_the_page_that_was_named() {
        let bounds = Bounds {
            pages_max: 9,
            per_pattern_max: 9,
            include: vec![Regex::new("/docs/").unwrap()],
            exclude: vec![Regex::new("draft").unwrap()],
        };
        let mut frontier = Frontier::new(url("/"), bounds);
        frontier.begin();
        for path in ["/docs/a", "/docs/draft", "/about"] {
            frontier.offer(&url(path));
        }
        assert_eq!(all(&mut frontier), ["/", "/docs/a"]);
    }

    proptest! {
        #[test]
        fn no_bound_is_passed(
            paths in prop::collection::vec("(/[ab]){0,2}/[0-9]{1,2}", 0..60),
            pages_max in 1_usize..20,
            per_pattern_max in 1_usize..5,
        ) {
            let mut frontier = frontier(pages_max, per_pattern_max);
            for path in &paths {
                frontier.offer(&url(path));
            }
            let pages = all(&mut frontier);
            let distinct: HashSet<_> = pages.iter().collect();
            prop_assert!(pages.len() <= pages_max && distinct.len() == pages.len());
            for group in frontier.into_groups() {
                prop_assert!(group.sampled <= group.total && group.urls.len() == group.sampled);
                prop_assert!(!group.pattern.ends_with("/*") || group.sampled <= per_pattern_max);
            }
        }
    }
}
