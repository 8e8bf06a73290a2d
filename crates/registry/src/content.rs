//! [`Content`]: what a source has to give, after one sync: entries in order, what was kept out, and how it differs from
//! before.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use crate::{
    entry::{ContentHash, Draft, Entry},
    filter::Filter,
    format::Parts,
    read::{Reading, Refused, hash_of, read},
    version::{Published, latest},
};

/// How many refused entries are remembered of one source.
pub(crate) const REFUSED_MAX: usize = 10_000;
/// How many names of each kind a difference lists.
const NAMED_MAX: usize = 100;

/// Everything that a source has to give. Immutable; a sync makes another one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Content {
    /// Ordered by name, then by version.
    pub(crate) entries: Arc<[Arc<Entry>]>,
    /// What was kept out.
    pub(crate) refused: Arc<[Refused]>,
    /// How many were kept out, the forgotten ones included.
    pub(crate) refused_count: usize,
}

/// How content differs from what was there before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) added: usize,
    pub(crate) changed: usize,
    pub(crate) removed: usize,
    /// Some of each, as `name@version`.
    pub(crate) added_names: Vec<String>,
    pub(crate) changed_names: Vec<String>,
    pub(crate) removed_names: Vec<String>,
    /// The names of servers that are no longer as they were.
    pub(crate) touched: BTreeSet<Arc<str>>,
}

/// There are more entries than the source may have.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the source has {found} entries, `registry.entries_max` allows {allowed}")]
pub struct TooManyError {
    /// How many there are.
    pub found: usize,
    /// How many there may be.
    pub allowed: usize,
}

/// What a sync starts from.
pub(crate) struct Rules<'a> {
    pub(crate) reading: &'a Reading,
    pub(crate) filter: &'a Filter,
    pub(crate) entries_max: usize,
    /// Keep what was there before and is not among the new parts: an update, not the whole.
    pub(crate) is_update: bool,
    /// Read everything again: the rules are others than before.
    pub(crate) afresh: bool,
}

enum Candidate {
    Known(Arc<Entry>),
    New(Box<Draft>),
}

impl Candidate {
    fn name(&self) -> &Arc<str> {
        match self {
            Self::Known(entry) => &entry.name,
            Self::New(draft) => &draft.name,
        }
    }

    fn version(&self) -> &str {
        match self {
            Self::Known(entry) => &entry.version,
            Self::New(draft) => &draft.version,
        }
    }

    fn upstream_latest(&self) -> Option<bool> {
        match self {
            Self::Known(entry) => entry.upstream_latest,
            Self::New(draft) => draft.official.is_latest,
        }
    }

    fn published_ms(&self) -> i64 {
        match self {
            Self::Known(entry) => entry.published_ms,
            Self::New(draft) => draft.published_ms(),
        }
    }

    fn is_deleted(&self) -> bool {
        match self {
            Self::Known(entry) => entry.is_deleted(),
            Self::New(draft) => draft.official.status == crate::entry::Status::Deleted,
        }
    }
}

impl Content {
    /// The entry of a name and version.
    pub(crate) fn find(&self, name: &str, version: &str) -> Option<&Arc<Entry>> {
        let key = |entry: &Arc<Entry>| (entry.name.as_ref(), entry.version.as_ref()).cmp(&(name, version));
        let index = self.entries.binary_search_by(key).ok()?;
        self.entries.get(index)
    }

    /// What a source has to give now, if `self` is what it gave before.
    pub(crate) fn next(
        &self,
        parts: &Parts<'_>,
        rules: &Rules<'_>,
    ) -> Result<(Self, Difference), TooManyError> {
        let mut refused = Vec::new();
        let mut candidates = self.candidates(parts, rules, &mut refused);
        if rules.is_update {
            let named: HashSet<(&str, &str)> =
                candidates.iter().map(|it| (it.name().as_ref(), it.version())).collect();
            let kept =
                self.entries.iter().filter(|it| !named.contains(&(it.name.as_ref(), it.version.as_ref())));
            let kept: Vec<_> = kept.map(|entry| Candidate::Known(Arc::clone(entry))).collect();
            let is_about = |old: &&Refused| !named.contains(&(old.name.as_str(), old.version.as_str()));
            refused.extend(self.refused.iter().filter(is_about).cloned());
            candidates.extend(kept);
        }
        // Stable: of two with the same name and version, the first stays first.
        candidates.sort_by(|a, b| (a.name(), a.version()).cmp(&(b.name(), b.version())));
        candidates.dedup_by(|later, first| {
            let is_same = later.name() == first.name() && later.version() == first.version();
            if is_same {
                refused.push(Refused::new(
                    later.name(),
                    later.version(),
                    "duplicate-version",
                    "is there more than once; the first one is taken",
                ));
            }
            is_same
        });
        if candidates.len() > rules.entries_max {
            return Err(TooManyError { found: candidates.len(), allowed: rules.entries_max });
        }
        let entries = self.render(candidates, rules);
        let refused_count = refused.len();
        refused.truncate(REFUSED_MAX);
        let next = Self { entries: entries.into(), refused: refused.into(), refused_count };
        let difference = Difference::between(self, &next);
        Ok((next, difference))
    }

    fn candidates(&self, parts: &Parts<'_>, rules: &Rules<'_>, refused: &mut Vec<Refused>) -> Vec<Candidate> {
        let known: HashMap<ContentHash, &Arc<Entry>> = if rules.afresh {
            HashMap::new()
        } else {
            self.entries.iter().map(|entry| (entry.content, entry)).collect()
        };
        let mut candidates = Vec::with_capacity(parts.len());
        for part in parts {
            let part = match part {
                Ok(part) => part,
                Err(reason) => {
                    refused.push(Refused::new("", "", "not-an-entry", reason.clone()));
                    continue;
                }
            };
            let content = hash_of(part);
            if let Some(entry) = known.get(&content) {
                candidates.push(Candidate::Known(Arc::clone(entry)));
                continue;
            }
            match read(part, content, rules.reading) {
                Ok(mut draft) if rules.filter.passes(&draft.name, &draft.version, &draft.tags) => {
                    if let Some(before) = self.find(&draft.name, &draft.version) {
                        draft.first_seen_ms = draft.first_seen_ms.min(before.first_seen_ms);
                    }
                    candidates.push(Candidate::New(Box::new(draft)));
                }
                Ok(_) => {}
                Err(reasons) => refused.push(reasons),
            }
        }
        candidates
    }

    /// Renders what is new, and decides for each name which version is the latest.
    fn render(&self, candidates: Vec<Candidate>, rules: &Rules<'_>) -> Vec<Arc<Entry>> {
        let mut entries = Vec::with_capacity(candidates.len());
        let mut rest = candidates.into_iter().peekable();
        while let Some(first) = rest.next() {
            let mut group = vec![first];
            while let Some(next) = rest.next_if(|next| next.name() == group[0].name()) {
                group.push(next);
            }
            let newest = latest_of(&group);
            for (index, candidate) in group.into_iter().enumerate() {
                let is_latest = newest == Some(index);
                if rules.filter.latest_only && !is_latest {
                    continue;
                }
                entries.push(match candidate {
                    Candidate::Known(entry) => entry.with_latest(is_latest),
                    Candidate::New(draft) => Arc::new(self.rendered(*draft, is_latest, rules.reading)),
                });
            }
        }
        entries
    }

    /// If what was there before under the same name and version said something else, it was changed now.
    fn rendered(&self, mut draft: Draft, is_latest: bool, reading: &Reading) -> Entry {
        let before = self.find(&draft.name, &draft.version);
        // That nothing else came of looking again is no news to those who read.
        if let Some(before) = before
            && before.content == draft.content
            && before.issues == draft.issues
        {
            draft.checked_ms = before.checked_ms;
        }
        let changed_ms = match before {
            Some(before) if before.content == draft.content => before.changed_ms,
            Some(_) => reading.now_ms,
            None => draft.first_seen_ms,
        };
        draft.render(is_latest, changed_ms)
    }
}

/// Upstream's word counts where it is clear; what is deleted is the latest only if nothing else is left.
fn latest_of(group: &[Candidate]) -> Option<usize> {
    let alive: Vec<usize> = (0..group.len()).filter(|&index| !group[index].is_deleted()).collect();
    let eligible = if alive.is_empty() { (0..group.len()).collect() } else { alive };
    let mut said = eligible.iter().filter(|&&index| group[index].upstream_latest() == Some(true));
    if let (Some(&index), None) = (said.next(), said.next()) {
        return Some(index);
    }
    let published: Vec<_> = eligible
        .iter()
        .map(|&index| Published { version: group[index].version(), at_ms: group[index].published_ms() })
        .collect();
    latest(&published).map(|position| eligible[position])
}

impl Difference {
    /// Whether anything differs.
    pub(crate) fn is_empty(&self) -> bool {
        self.touched.is_empty()
    }

    /// Both sides are in the same order: one walk finds what differs.
    pub(crate) fn between(before: &Content, after: &Content) -> Self {
        let mut difference = Self::default();
        let (mut old, mut new) = (before.entries.iter().peekable(), after.entries.iter().peekable());
        loop {
            let order = match (old.peek(), new.peek()) {
                (None, None) => return difference,
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some(old), Some(new)) => (&old.name, &old.version).cmp(&(&new.name, &new.version)),
            };
            match order {
                std::cmp::Ordering::Less => difference.remove(old.next()),
                std::cmp::Ordering::Greater => difference.add(new.next()),
                std::cmp::Ordering::Equal => difference.compare(old.next(), new.next()),
            }
        }
    }

    fn remove(&mut self, entry: Option<&Arc<Entry>>) {
        self.removed += 1;
        self.note(entry, |difference| &mut difference.removed_names);
    }

    fn add(&mut self, entry: Option<&Arc<Entry>>) {
        self.added += 1;
        self.note(entry, |difference| &mut difference.added_names);
    }

    fn compare(&mut self, old: Option<&Arc<Entry>>, new: Option<&Arc<Entry>>) {
        let (Some(old), Some(new)) = (old, new) else { return };
        if Arc::ptr_eq(old, new) || old.rendered == new.rendered {
            return;
        }
        self.changed += 1;
        self.note(Some(new), |difference| &mut difference.changed_names);
    }

    fn note(&mut self, entry: Option<&Arc<Entry>>, list: impl FnOnce(&mut Self) -> &mut Vec<String>) {
        let Some(entry) = entry else { return };
        self.touched.insert(Arc::clone(&entry.name));
        let names = list(self);
        if names.len() < NAMED_MAX {
            names.push(format!("{}@{}", entry.name, entry.version));
        }
    }
}

#[cfg(test)]
#[path = "content_tests.rs"]
mod tests;
