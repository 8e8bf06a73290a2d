//! A [`View`]: a named registry at one moment, immutable. A [`Board`] holds all of them and is swapped as one.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::Range,
    sync::{Arc, OnceLock, PoisonError, RwLock},
};

use arc_swap::ArcSwapOption;

use crate::{
    claims::Claims,
    config::ViewOptions,
    content::Content,
    entry::Entry,
    filter::Filter,
    pages::Pages,
    search::SelectionIndex,
    semantic::{Column, Vectors},
    version::{Published, latest},
};

/// How many different selections of a view are kept for callers with different claims.
const SELECTIONS_MAX: usize = 256;

/// All views of one moment.
#[derive(Debug, Default)]
pub(crate) struct Board {
    pub(crate) views: BTreeMap<String, Arc<View>>,
    /// The view that is served where none is named.
    pub(crate) default: Option<Arc<View>>,
}

/// A source's content under its name.
#[derive(Clone, Debug)]
pub(crate) struct Supply {
    pub(crate) name: String,
    pub(crate) content: Arc<Content>,
}

/// A named registry.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) options: ViewOptions,
    supplies: Vec<Supply>,
    filter: Filter,
    /// What the entries ask for, each set once; empty if none asks for anything.
    asked: Vec<Arc<Claims>>,
    whole: Arc<Selection>,
    selections: RwLock<HashMap<Box<[bool]>, Arc<Selection>>>,
    page_cache_max: usize,
}

/// What some callers see of a view.
#[derive(Debug)]
pub(crate) struct Selection {
    /// Ordered by name, then by version.
    pub(crate) entries: Box<[Arc<Entry>]>,
    /// Positions of the latest versions that are not deleted.
    pub(crate) latest: Box<[u32]>,
    names: HashMap<Arc<str>, Range<u32>>,
    pub(crate) pages: Pages,
    index: OnceLock<SelectionIndex>,
    /// Which vectors its servers have.
    column: ArcSwapOption<Column>,
}

impl View {
    /// A view over what its sources have to give; an earlier one hides the names that it has from later ones.
    pub(crate) fn new(
        options: ViewOptions,
        supplies: Vec<Supply>,
        filter: Filter,
        page_cache_max: usize,
    ) -> Self {
        let asked: HashSet<Arc<Claims>> = supplies
            .iter()
            .flat_map(|supply| supply.content.entries.iter())
            .filter(|entry| !entry.claims.is_empty())
            .map(|entry| Arc::clone(&entry.claims))
            .collect();
        let mut asked: Vec<_> = asked.into_iter().collect();
        asked.sort();
        let whole = Arc::new(Selection::new(compose(&supplies, &filter, |_| true), page_cache_max));
        let selections = RwLock::default();
        Self { options, supplies, filter, asked, whole, selections, page_cache_max }
    }

    /// Everything in it.
    pub(crate) fn whole(&self) -> &Arc<Selection> {
        &self.whole
    }

    /// Whether everybody who may use it sees the same.
    pub(crate) fn is_uniform(&self) -> bool {
        self.asked.is_empty() && self.options.claims.is_empty()
    }

    /// The names of its sources.
    pub(crate) fn sources(&self) -> impl Iterator<Item = &str> {
        self.supplies.iter().map(|supply| supply.name.as_str())
    }

    /// Whether it is made of the same content as another.
    pub(crate) fn is_made_of(&self, options: &ViewOptions, supplies: &[Supply]) -> bool {
        self.options == *options
            && self.supplies.len() == supplies.len()
            && self
                .supplies
                .iter()
                .zip(supplies)
                .all(|(own, other)| own.name == other.name && Arc::ptr_eq(&own.content, &other.content))
    }

    /// What somebody sees who holds these claims; everything for somebody who holds all.
    pub(crate) fn seen_by(&self, held: Option<&Claims>) -> Arc<Selection> {
        let Some(held) = held.filter(|_| !self.asked.is_empty()) else { return Arc::clone(&self.whole) };
        let met: Box<[bool]> = self.asked.iter().map(|asked| asked.met_by(held)).collect();
        if met.iter().all(|met| *met) {
            return Arc::clone(&self.whole);
        }
        let known = self.selections.read().unwrap_or_else(PoisonError::into_inner).get(&met).cloned();
        if let Some(selection) = known {
            return selection;
        }
        let entries = compose(&self.supplies, &self.filter, |entry| entry.claims.met_by(held));
        let selection = Arc::new(Selection::new(entries, self.page_cache_max / 4));
        let mut selections = self.selections.write().unwrap_or_else(PoisonError::into_inner);
        if selections.len() >= SELECTIONS_MAX {
            selections.clear();
        }
        selections.insert(met, Arc::clone(&selection));
        selection
    }
}

/// The entries of several sources in one order. Who may not see any version of a name in a source sees those of a later
/// one.
fn compose(supplies: &[Supply], filter: &Filter, is_visible: impl Fn(&Entry) -> bool) -> Vec<Arc<Entry>> {
    let mut taken: HashSet<Arc<str>> = HashSet::new();
    let mut entries: Vec<Arc<Entry>> = Vec::new();
    for (position, supply) in supplies.iter().enumerate() {
        let before = entries.len();
        for entry in supply.content.entries.iter().filter(|entry| is_visible(entry)) {
            if !taken.contains(&entry.name) && filter.passes(&entry.name, &entry.version, &entry.tags) {
                entries.push(Arc::clone(entry));
            }
        }
        if position + 1 < supplies.len() {
            taken.extend(entries[before..].iter().map(|entry| Arc::clone(&entry.name)));
        }
    }
    if supplies.len() > 1 {
        // Each source is in order already: this merges runs.
        entries.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    }
    settle_latest(&mut entries);
    if filter.latest_only {
        entries.retain(|entry| entry.is_latest);
    }
    entries
}

/// Where a filter or missing claims hid the latest version of a name, another one is.
fn settle_latest(entries: &mut [Arc<Entry>]) {
    let mut rest = entries;
    while let Some(first) = rest.first() {
        let name = Arc::clone(&first.name);
        let length = rest.iter().take_while(|entry| entry.name == name).count();
        let (group, after) = rest.split_at_mut(length);
        if !group.iter().any(|entry| entry.is_latest) {
            let any_alive = group.iter().any(|entry| !entry.is_deleted());
            let eligible: Vec<usize> =
                (0..group.len()).filter(|&index| !any_alive || !group[index].is_deleted()).collect();
            let published: Vec<_> = eligible
                .iter()
                .map(|&index| Published { version: &group[index].version, at_ms: group[index].published_ms })
                .collect();
            if let Some(newest) = latest(&published).map(|position| eligible[position]) {
                group[newest] = group[newest].with_latest(true);
            }
        }
        rest = after;
    }
}

impl Selection {
    pub(crate) fn new(entries: Vec<Arc<Entry>>, page_cache_max: usize) -> Self {
        let mut names: HashMap<Arc<str>, Range<u32>> = HashMap::new();
        let mut newest = Vec::new();
        for (index, entry) in (0_u32..).zip(&entries) {
            names.entry(Arc::clone(&entry.name)).or_insert(index..index).end = index + 1;
            if entry.is_latest && !entry.is_deleted() {
                newest.push(index);
            }
        }
        Self {
            entries: entries.into(),
            latest: newest.into(),
            names,
            pages: Pages::new(page_cache_max),
            index: OnceLock::new(),
            column: ArcSwapOption::empty(),
        }
    }

    /// How many servers there are.
    pub(crate) fn server_count(&self) -> usize {
        self.names.len()
    }

    /// All versions of a server, in order; none if there is no such server.
    pub(crate) fn versions(&self, name: &str) -> &[Arc<Entry>] {
        let range = self.names.get(name).map_or(0..0, |range| range.start as usize..range.end as usize);
        self.entries.get(range).unwrap_or_default()
    }

    /// A version of a server, or its latest one.
    pub(crate) fn find(&self, name: &str, version: &str) -> Option<&Arc<Entry>> {
        let versions = self.versions(name);
        if version == "latest" {
            return versions.iter().find(|entry| entry.is_latest);
        }
        let index = versions.binary_search_by(|entry| entry.version.as_ref().cmp(version)).ok()?;
        versions.get(index)
    }

    /// What a search looks into, made when somebody searches first.
    pub(crate) fn index(&self) -> &SelectionIndex {
        self.index.get_or_init(|| SelectionIndex::of(self))
    }

    /// Which of these vectors its servers have, found out when somebody searches first.
    pub(crate) fn column(&self, vectors: &Vectors) -> Arc<Column> {
        if let Some(column) = self.column.load_full().filter(|column| column.is_of(vectors)) {
            return column;
        }
        let column = Arc::new(vectors.column(self));
        self.column.store(Some(Arc::clone(&column)));
        column
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{draft, supply};

    fn view(options: ViewOptions, supplies: Vec<Supply>) -> View {
        let filter = Filter::compile(&options.filter).unwrap();
        View::new(options, supplies, filter, 1 << 20)
    }

    fn list(selection: &Selection) -> Vec<String> {
        let mark = |entry: &Arc<Entry>| if entry.is_latest { "*" } else { "" };
        let text =
            |entry: &Arc<Entry>| format!("{}@{}{} {}", entry.name, entry.version, mark(entry), entry.source);
        selection.entries.iter().map(text).collect()
    }

    #[test]
    fn the_first_source_that_has_a_name_serves_all_of_its_versions() {
        let first = supply("one", vec![draft("a.b/x", "1.0.0")]);
        let second = supply("two", vec![draft("a.b/x", "2.0.0"), draft("a.b/y", "1.0.0")]);
        let view = view(ViewOptions::default(), vec![first, second]);
        assert_eq!(list(view.whole()), ["a.b/x@1.0.0* one", "a.b/y@1.0.0* two"]);
    }

    #[test]
    fn a_filter_that_hides_the_latest_version_makes_another_one_the_latest() {
        let mut options = ViewOptions::default();
        options.filter.versions.exclude = vec!["2.*".to_owned()];
        let view = view(options, vec![supply("one", vec![draft("a.b/x", "1.0.0"), draft("a.b/x", "2.0.0")])]);
        assert_eq!(list(view.whole()), ["a.b/x@1.0.0* one"]);
        assert_eq!(view.whole().find("a.b/x", "latest").unwrap().version.as_ref(), "1.0.0");
    }

    #[test]
    fn callers_see_what_their_claims_allow_and_the_next_source_behind_what_they_do_not() {
        let asked = Arc::new(Claims::from_pairs([("team", &["a"])]));
        let mut hidden = draft("a.b/x", "1.0.0");
        hidden.claims = Arc::clone(&asked);
        let view = view(
            ViewOptions::default(),
            vec![supply("one", vec![hidden]), supply("two", vec![draft("a.b/x", "2.0.0")])],
        );
        assert_eq!(list(&view.seen_by(None)), ["a.b/x@1.0.0* one"]);
        assert_eq!(list(&view.seen_by(Some(&asked))), ["a.b/x@1.0.0* one"]);
        assert_eq!(list(&view.seen_by(Some(&Claims::default()))), ["a.b/x@2.0.0* two"]);
        let again = view.seen_by(Some(&Claims::default()));
        assert!(Arc::ptr_eq(&again, &view.seen_by(Some(&Claims::default()))), "made once");
    }

    #[test]
    fn versions_are_found_by_name() {
        let view = view(
            ViewOptions::default(),
            vec![supply("one", vec![draft("a.b/x", "1.0.0"), draft("a.b/x", "1.1.0"), draft("a.b/y", "3")])],
        );
        let whole = view.whole();
        assert_eq!(whole.versions("a.b/x").len(), 2);
        assert_eq!(whole.versions("a.b/z").len(), 0);
        assert_eq!(whole.find("a.b/x", "latest").unwrap().version.as_ref(), "1.1.0");
        assert!(whole.find("a.b/x", "9").is_none());
        assert_eq!((whole.server_count(), whole.latest.len()), (2, 2));
    }
}
