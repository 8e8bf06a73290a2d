//! Rendered pages: made when they are first asked for, found by their query string ever after.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use paddock_platform::http::Prepared;

/// Query strings longer than this are not remembered.
const KEY_LENGTH_MAX: usize = 512;
/// What a page costs beside its bytes.
const PAGE_OVERHEAD: usize = 512;

/// The pages of one snapshot. They go with it, so that none is ever stale.
pub(crate) struct Pages {
    rendered: papaya::HashMap<Box<str>, Arc<Prepared>>,
    size: AtomicUsize,
    size_max: usize,
}

impl std::fmt::Debug for Pages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pages({} of {} bytes)", self.size.load(Ordering::Relaxed), self.size_max)
    }
}

impl Pages {
    pub(crate) fn new(size_max: usize) -> Self {
        Self { rendered: papaya::HashMap::new(), size: AtomicUsize::new(0), size_max }
    }

    pub(crate) fn get(&self, key: &str) -> Option<Arc<Prepared>> {
        self.rendered.pin().get(key).cloned()
    }

    /// Remembers a page. When there is no room it begins anew: what is asked for often is soon there again.
    pub(crate) fn insert(&self, key: &str, page: &Arc<Prepared>) {
        // With room for its compressed forms.
        let size = key.len() + page.bytes().len() * 3 / 2 + PAGE_OVERHEAD;
        if key.len() > KEY_LENGTH_MAX || size > self.size_max / 4 {
            return;
        }
        if self.size.fetch_add(size, Ordering::Relaxed) + size > self.size_max {
            self.rendered.pin().clear();
            self.size.store(size, Ordering::Relaxed);
        }
        self.rendered.pin().insert(key.into(), Arc::clone(page));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(size: usize) -> Arc<Prepared> {
        Arc::new(Prepared::new("text/plain", vec![b'x'; size].into()))
    }

    #[test]
    fn pages_never_take_more_than_they_may() {
        let pages = Pages::new(100_000);
        for index in 0..1_000 {
            pages.insert(&format!("limit={index}"), &page(5_000));
            assert!(pages.get(&format!("limit={index}")).is_some());
        }
        let pinned = pages.rendered.pin();
        let held: usize = pinned.iter().map(|(key, page)| key.len() + page.bytes().len()).sum();
        assert!(held <= 100_000, "{held}");
    }

    #[test]
    fn a_page_or_a_query_that_is_too_large_is_not_remembered() {
        let pages = Pages::new(100_000);
        pages.insert("large", &page(50_000));
        pages.insert(&"q".repeat(1_000), &page(10));
        assert!(pages.get("large").is_none() && pages.get(&"q".repeat(1_000)).is_none());
    }
}
