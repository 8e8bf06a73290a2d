//! How what was found spreads over kinds, sources and tags.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
};

use schemars::JsonSchema;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{kinds::Kinds, view::Selection};

/// Tags in the facets.
const TAGS_MAX: usize = 20;

/// How many of all that was found there are of each.
#[derive(Clone, Debug, Default, Serialize, JsonSchema, ToSchema)]
pub struct Facets {
    /// By kind.
    pub kinds: BTreeMap<String, usize>,
    /// By source.
    pub sources: BTreeMap<String, usize>,
    /// By tag: the 20 most frequent.
    pub tags: BTreeMap<String, usize>,
}

/// What facets are counted of, a column for each, by the position in [`Selection::latest`]: a search that finds half of
/// the servers must not follow a pointer to each of them.
#[derive(Debug)]
pub(super) struct Columns {
    kinds: Vec<Kinds>,
    sources: Vec<u32>,
    /// The tags of the server at a position are those from its offset to the next one's.
    tag_offsets: Vec<u32>,
    tags: Vec<u32>,
    source_names: Names,
    tag_names: Names,
}

/// Numbers for names that come up again and again.
#[derive(Debug, Default)]
struct Names {
    numbers: HashMap<Box<str>, u32>,
    names: Vec<Box<str>>,
}

impl Names {
    fn number(&mut self, name: &str) -> u32 {
        if let Some(&number) = self.numbers.get(name) {
            return number;
        }
        let number = self.names.len() as u32;
        self.numbers.insert(name.into(), number);
        self.names.push(name.into());
        number
    }

    /// The numbers of those that there are.
    fn numbers(&self, names: &[String]) -> Vec<u32> {
        names.iter().filter_map(|name| self.numbers.get(name.as_str()).copied()).collect()
    }

    /// Names with how often they were counted, without those that were not.
    fn counted<'n>(&'n self, counts: &'n [usize]) -> impl Iterator<Item = (&'n str, usize)> {
        let named = self.names.iter().map(AsRef::as_ref).zip(counts.iter().copied());
        named.filter(|(_, count)| *count > 0)
    }
}

/// What a search is narrowed to; empty for what it is not narrowed by.
#[derive(Debug)]
pub(super) struct Narrowed {
    kinds: Kinds,
    sources: Option<Vec<u32>>,
    tags: Option<Vec<u32>>,
}

impl Columns {
    pub(super) fn of(selection: &Selection) -> Self {
        let count = selection.latest.len();
        let mut columns = Self {
            kinds: Vec::with_capacity(count),
            sources: Vec::with_capacity(count),
            tag_offsets: Vec::with_capacity(count + 1),
            tags: Vec::new(),
            source_names: Names::default(),
            tag_names: Names::default(),
        };
        columns.tag_offsets.push(0);
        for &position in &selection.latest {
            let entry = &selection.entries[position as usize];
            columns.kinds.push(entry.kinds);
            columns.sources.push(columns.source_names.number(&entry.source));
            for tag in &entry.tags {
                columns.tags.push(columns.tag_names.number(tag));
            }
            columns.tag_offsets.push(columns.tags.len() as u32);
        }
        columns
    }

    fn tags(&self, server: u32) -> &[u32] {
        let server = server as usize;
        &self.tags[self.tag_offsets[server] as usize..self.tag_offsets[server + 1] as usize]
    }

    /// What servers have to be of; of nothing that there is, if none of the names is known.
    pub(super) fn narrowed(&self, kinds: Kinds, sources: &[String], tags: &[String]) -> Narrowed {
        let asked = |names: &Names, of: &[String]| (!of.is_empty()).then(|| names.numbers(of));
        Narrowed { kinds, sources: asked(&self.source_names, sources), tags: asked(&self.tag_names, tags) }
    }

    pub(super) fn passes(&self, server: u32, narrowed: &Narrowed) -> bool {
        let is_of = |names: &Option<Vec<u32>>, has: &[u32]| {
            names.as_ref().is_none_or(|names| has.iter().any(|own| names.contains(own)))
        };
        (narrowed.kinds.is_empty() || self.kinds[server as usize].intersects(narrowed.kinds))
            && is_of(&narrowed.sources, &[self.sources[server as usize]])
            && is_of(&narrowed.tags, self.tags(server))
    }

    pub(super) fn facets(&self, servers: impl Iterator<Item = u32>) -> Facets {
        let mut by_kinds = vec![0_usize; 1 << Kinds::COUNT];
        let mut by_source = vec![0_usize; self.source_names.names.len()];
        let mut by_tag = vec![0_usize; self.tag_names.names.len()];
        for server in servers {
            by_kinds[usize::from(self.kinds[server as usize].bits())] += 1;
            by_source[self.sources[server as usize] as usize] += 1;
            for &tag in self.tags(server) {
                by_tag[tag as usize] += 1;
            }
        }
        let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
        for (set, count) in by_kinds.into_iter().enumerate().filter(|(_, count)| *count > 0) {
            for kind in Kinds::from_bits(set as u16).iter() {
                *kinds.entry(kind.to_owned()).or_default() += count;
            }
        }
        let mut tags: Vec<_> = self.tag_names.counted(&by_tag).collect();
        tags.sort_by_key(|(tag, count)| (Reverse(*count), *tag));
        tags.truncate(TAGS_MAX);
        let owned = |(name, count): (&str, usize)| (name.to_owned(), count);
        Facets {
            kinds,
            sources: self.source_names.counted(&by_source).map(owned).collect(),
            tags: tags.into_iter().map(owned).collect(),
        }
    }
}
