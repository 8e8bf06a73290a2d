//! What is asked of the search, and what it answers.

use std::{cmp::Ordering, collections::HashMap};

use paddock_platform::problem::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{SelectionIndex, facets::Facets, words::split};
use crate::{
    entry::Entry,
    kinds::{KINDS, Kinds},
    semantic::{Asked, SemanticUse},
    view::Selection,
};

/// Hits when the caller names no number.
const LIMIT_DEFAULT: usize = 10;
/// Hits at most.
const LIMIT_MAX: usize = 100;
/// The longest query.
pub(crate) const QUERY_LENGTH_MAX: usize = 500;
/// Words of a query that count.
const WORDS_MAX: usize = 16;
/// Servers at most that are found because they mean what the query does.
const LIKE_MAX: usize = 100;
/// How little the first ranks differ when rankings are fused, as in Cormack, Clarke and Büttcher, "Reciprocal Rank Fusion
/// outperforms Condorcet and individual Rank Learning Methods" (2009).
const RANK_OFFSET: f32 = 60.0;

/// What to look for.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SearchInput {
    /// Words: of names, descriptions, tags or tools; misspelled ones are found, too. Empty finds everything.
    #[serde(default)]
    pub query: String,
    /// How many servers, 1 to 100; 10 by default.
    #[serde(default)]
    pub limit: Option<usize>,
    /// How many of the best to leave out.
    #[serde(default)]
    pub offset: Option<usize>,
    /// Servers with one of these tags only.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Servers of one of these kinds only: `npm`, `pypi`, `oci`, `nuget`, `mcpb`, `cargo`, `other-package`, `stdio`,
    /// `streamable-http`, `sse`.
    #[serde(default)]
    pub kinds: Vec<String>,
    /// Servers of one of these sources only.
    #[serde(default)]
    pub sources: Vec<String>,
    /// The view to look in; the default one otherwise.
    #[serde(default)]
    pub view: Option<String>,
    /// Find only what says the words, and not what means the same.
    #[serde(default)]
    pub words_only: bool,
}

/// What was found.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct SearchOutput {
    /// The best servers, the best first.
    pub hits: Vec<Hit>,
    /// How many there are.
    pub total: usize,
    /// How they spread.
    pub facets: Facets,
    /// Whether they were also found by what they mean.
    pub semantic: SemanticUse,
}

/// One server.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct Hit {
    /// Its name.
    pub name: String,
    /// Its latest version.
    pub version: String,
    /// What it is called for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What it does.
    pub description: String,
    /// Its tags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// What it runs on and speaks.
    pub kinds: Vec<String>,
    /// Where the entry comes from.
    pub source: String,
    /// How it stands: `active` or `deprecated`.
    pub status: String,
    /// How well it fits; more is better, and comparable within one answer.
    pub score: f32,
}

/// Looks for servers in a selection: by words and, where something is asked of the vectors, by what they mean.
pub(crate) fn search(
    selection: &Selection,
    input: &SearchInput,
    asked: Option<&Asked>,
) -> Result<SearchOutput, Problem> {
    let limit = input.limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(Problem::invalid_field("limit", format!("{limit} is not 1 to {LIMIT_MAX}")));
    }
    if input.query.len() > QUERY_LENGTH_MAX {
        return Err(Problem::invalid_field("query", format!("is longer than {QUERY_LENGTH_MAX} bytes")));
    }
    let kinds = kinds_of(&input.kinds)?;
    let SelectionIndex { words: index, columns } = selection.index();
    let narrowed = columns.narrowed(kinds, &input.sources, &input.tags);
    let query = input.query.to_lowercase();
    let words: Vec<&str> = split(&query).take(WORDS_MAX).collect();
    let entry_of = |position: u32| &*selection.entries[selection.latest[position as usize] as usize];
    let mut found: Vec<(u32, f32)> = if words.is_empty() {
        (0..selection.latest.len() as u32).map(|position| (position, 0.0)).collect()
    } else {
        let scores = index.scores(&words);
        (0_u32..).zip(scores).filter(|(_, score)| *score > 0.0).collect()
    };
    found.retain(|(position, _)| columns.passes(*position, &narrowed));
    if let Some(asked) = asked.filter(|_| !words.is_empty()) {
        let mut like = asked.like(selection);
        like.retain(|(position, _)| columns.passes(*position, &narrowed));
        keep_best(&mut like, LIKE_MAX);
        found = fused(found, like);
    }
    let facets = columns.facets(found.iter().map(|(position, _)| *position));
    let total = found.len();
    // Only the best need to be in order.
    keep_best(&mut found, input.offset.unwrap_or(0).saturating_add(limit));
    found.sort_unstable_by(|a, b| order(*a, *b));
    let hits = found
        .iter()
        .skip(input.offset.unwrap_or(0))
        .map(|(position, score)| Hit::of(entry_of(*position), *score));
    Ok(SearchOutput { hits: hits.collect(), total, facets, semantic: SemanticUse::Off })
}

/// The best first.
fn order(a: (u32, f32), b: (u32, f32)) -> Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

fn keep_best(found: &mut Vec<(u32, f32)>, count: usize) {
    if count < found.len() {
        found.select_nth_unstable_by(count, |a, b| order(*a, *b));
        found.truncate(count);
    }
}

/// Two rankings in one: what is far ahead in either is ahead, and what is in both is before what is in one.
fn fused(by_words: Vec<(u32, f32)>, by_meaning: Vec<(u32, f32)>) -> Vec<(u32, f32)> {
    let mut fused = by_rank(by_words);
    let mut others: HashMap<u32, f32> = by_rank(by_meaning).into_iter().collect();
    for (position, score) in &mut fused {
        *score += others.remove(&*position).unwrap_or(0.0);
    }
    fused.extend(others);
    fused
}

fn by_rank(mut found: Vec<(u32, f32)>) -> Vec<(u32, f32)> {
    found.sort_unstable_by(|a, b| order(*a, *b));
    for (rank, (_, score)) in found.iter_mut().enumerate() {
        *score = 1.0 / (RANK_OFFSET + 1.0 + rank as f32);
    }
    found
}

/// The set of the kinds of these names.
fn kinds_of(names: &[String]) -> Result<Kinds, Problem> {
    names.iter().try_fold(Kinds::default(), |kinds, name| {
        let kind = Kinds::named(name).ok_or_else(|| {
            Problem::invalid_field("kinds", format!("`{name}` is none of {}", KINDS.join(", ")))
        })?;
        Ok(kinds.union(kind))
    })
}

impl Hit {
    fn of(entry: &Entry, score: f32) -> Self {
        #[derive(Default, Deserialize)]
        struct Texts {
            title: Option<String>,
            #[serde(default)]
            description: String,
        }
        // What is kept of the texts is in lower case.
        let texts: Texts = serde_json::from_slice(entry.server()).unwrap_or_default();
        Self {
            name: entry.name.to_string(),
            version: entry.version.to_string(),
            title: texts.title,
            description: texts.description,
            tags: entry.tags.iter().map(ToString::to_string).collect(),
            kinds: entry.kinds.iter().map(str::to_owned).collect(),
            source: entry.source.to_string(),
            status: entry.status.as_str().to_owned(),
            score,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_both_rankings_find_comes_before_what_one_finds() {
        let mut found = fused(vec![(1, 9.0), (2, 8.0), (3, 1.0)], vec![(4, 0.9), (3, 0.8)]);
        found.sort_unstable_by(|a, b| order(*a, *b));
        let positions: Vec<u32> = found.iter().map(|(position, _)| *position).collect();
        assert_eq!(positions, [3, 1, 4, 2]);
        assert!(fused(Vec::new(), Vec::new()).is_empty());
    }
}
