//! A description taken apart, and how well elements answer to it.

use std::collections::{BTreeSet, HashSet};

use super::{
    Explanation, Match, Weights,
    words::{NODE_WORDS_MAX, letters, likeness, words},
};
use crate::snapshot::Node;

/// Words of a query that count.
const WORDS_MAX: usize = 32;

/// Words for roles, and the roles that they stand for.
const ROLE_WORDS: &[(&str, &[&str])] = &[
    ("button", &["button", "DisclosureTriangle"]),
    ("btn", &["button"]),
    ("link", &["link"]),
    ("anchor", &["link"]),
    ("input", &["textbox", "searchbox", "combobox", "spinbutton", "Date", "DateTime", "InputTime"]),
    ("field", &["textbox", "searchbox", "combobox", "spinbutton", "Date", "DateTime", "InputTime"]),
    ("textbox", &["textbox", "searchbox"]),
    ("textarea", &["textbox"]),
    ("box", &["textbox", "searchbox", "combobox", "checkbox"]),
    ("bar", &["textbox", "searchbox"]),
    ("checkbox", &["checkbox", "switch"]),
    ("radio", &["radio"]),
    ("dropdown", &["combobox", "listbox", "button"]),
    ("select", &["combobox", "listbox"]),
    ("combobox", &["combobox"]),
    ("option", &["option"]),
    ("tab", &["tab"]),
    ("heading", &["heading"]),
    ("image", &["image"]),
    ("icon", &["image", "button", "link"]),
    ("slider", &["slider"]),
    ("switch", &["switch", "checkbox"]),
    ("toggle", &["switch", "checkbox", "button"]),
    ("item", &["menuitem", "listitem", "treeitem", "option"]),
];

const FILLERS: &[&str] = &[
    "the", "a", "an", "to", "for", "of", "in", "on", "at", "with", "that", "this", "element", "labeled",
    "called",
];
const NEGATIONS: &[&str] = &["not", "without", "exclude", "excluding", "except", "no", "ignore"];
const ORDINALS: &[(&str, usize)] = &[
    ("first", 0),
    ("second", 1),
    ("third", 2),
    ("fourth", 3),
    ("fifth", 4),
    ("1st", 0),
    ("2nd", 1),
    ("3rd", 2),
    ("4th", 3),
    ("5th", 4),
];

/// Which of several equal elements is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    Nth(usize),
    Last,
}

/// A query, taken apart.
#[derive(Debug, Default)]
struct Query {
    words: Vec<String>,
    /// Roles that the query names; any of them will do.
    roles: HashSet<&'static str>,
    not: Vec<String>,
    position: Option<Position>,
    letters: BTreeSet<[char; 3]>,
}

impl Query {
    fn parse(text: &str) -> Self {
        let mut query = Self::default();
        let mut negative = false;
        for word in words(text).into_iter().take(WORDS_MAX) {
            if NEGATIONS.contains(&&*word) {
                negative = true;
            } else if FILLERS.contains(&&*word) {
            } else if negative {
                query.not.push(word);
            } else if let Some((_, nth)) = ORDINALS.iter().find(|(name, _)| *name == word) {
                query.position = Some(Position::Nth(*nth));
            } else if word == "last" || word == "bottom" {
                query.position = Some(Position::Last);
            } else if word == "top" {
                query.position = Some(Position::Nth(0));
            } else if let Some((_, roles)) = ROLE_WORDS.iter().find(|(name, _)| *name == word) {
                query.roles.extend(*roles);
            } else {
                query.words.push(word);
            }
        }
        query.letters = letters(&query.words);
        query
    }

    fn lexical(&self, node: &Node) -> f64 {
        let name = words(&node.name);
        let described = other_words(node);
        let role_score = match (self.roles.is_empty(), self.roles.contains(node.role.as_str())) {
            (true, _) => None,
            (false, fits) => Some(if fits { 1.0 } else { 0.0 }),
        };
        let Some(recall) = recall(&self.words, &name, &described) else { return role_score.unwrap_or(0.0) };
        let precision =
            name.iter().filter(|have| self.words.iter().any(|word| likeness(word, have) > 0.7)).count();
        let precision = if name.is_empty() { 0.0 } else { ratio(precision, name.len()) };
        let by_words = if recall == 0.0 { 0.0 } else { 0.85 * recall + 0.15 * precision.min(1.0) };
        match role_score {
            Some(role) if by_words > 0.0 => 0.75 * by_words + 0.25 * role,
            // Of the right kind, but called otherwise: hardly what is meant.
            Some(role) => 0.2 * role,
            None => by_words,
        }
    }

    /// How alike the letters are (Dice's coefficient).
    fn by_letters(&self, node: &Node) -> f64 {
        let mut all = words(&node.name);
        all.extend(other_words(node));
        let have = letters(&all);
        let common = self.letters.intersection(&have).count();
        if self.letters.is_empty() || have.is_empty() {
            return 0.0;
        }
        // What the element says beyond the query counts little: descriptions are shorter than pages.
        ratio(2 * common, self.letters.len() + have.len().min(2 * self.letters.len()))
    }

    fn score(&self, node: &Node, weights: Weights) -> (f64, Explanation) {
        let lexical = self.lexical(node);
        let letters = if self.words.is_empty() { lexical } else { self.by_letters(node) };
        let total = weights.lexical + weights.letters;
        let mut score = if total > 0.0 {
            (weights.lexical * lexical + weights.letters * letters) / total
        } else {
            lexical
        };
        // All words, exactly: nothing could fit better.
        if lexical >= 0.99 && weights.lexical > 0.0 {
            score = score.max(lexical);
        }
        if let Some(refused) = recall(&self.not, &words(&node.name), &other_words(node)) {
            score *= 1.0 - 0.9 * refused;
        }
        if node.disabled || node.hidden {
            score *= 0.95;
        }
        let explanation = Explanation { lexical_score: rounded(lexical), embedding_score: rounded(letters) };
        (rounded(score.clamp(0.0, 1.0)), explanation)
    }
}

fn other_words(node: &Node) -> Vec<String> {
    let texts =
        [&node.label, &node.placeholder, &node.alt, &node.title, &node.testid, &node.text, &node.value];
    let mut found: Vec<String> = texts.into_iter().flatten().flat_map(|text| words(text)).collect();
    found.extend(words(&node.role));
    found.truncate(NODE_WORDS_MAX);
    found
}

/// The share of the wanted words that are there; none if nothing is wanted. What is not in the name counts less.
fn recall(wanted: &[String], name: &[String], described: &[String]) -> Option<f64> {
    if wanted.is_empty() {
        return None;
    }
    let pairs = |words: &[String]| -> Vec<String> { words.windows(2).map(<[String]>::concat).collect() };
    let (name_pairs, wanted_pairs) = (pairs(name), pairs(wanted));
    let best =
        |word: &String, have: &[String]| have.iter().map(|one| likeness(word, one)).fold(0.0, f64::max);
    let mut total = 0.0;
    for (index, word) in wanted.iter().enumerate() {
        let mut own = best(word, name).max(best(word, &name_pairs)).max(0.85 * best(word, described));
        // "sign in" in the query is "login" on the page.
        for pair in [index.checked_sub(1), Some(index)].into_iter().flatten() {
            if let Some(joined) = wanted_pairs.get(pair) {
                own = own.max(best(joined, name)).max(best(joined, &name_pairs));
            }
        }
        total += own;
    }
    #[expect(clippy::cast_precision_loss, reason = "at most some dozens")]
    let count = wanted.len() as f64;
    Some(total / count)
}

#[expect(clippy::cast_precision_loss, reason = "at most some thousands")]
fn ratio(part: usize, whole: usize) -> f64 {
    part as f64 / whole.max(1) as f64
}

fn rounded(score: f64) -> f64 {
    (score * 1000.0).round() / 1000.0
}

/// The nodes that answer to a description with at least this score, best first.
pub(super) fn rank(nodes: &[Node], text: &str, weights: Weights, threshold: f64, max: usize) -> Vec<Match> {
    let query = Query::parse(text);
    let mut matches: Vec<Match> = nodes
        .iter()
        .filter(|node| node.role != "RootWebArea")
        .filter_map(|node| {
            let (score, explanation) = query.score(node, weights);
            (score > 0.0 && score >= threshold).then(|| Match {
                r#ref: node.r#ref.clone(),
                score,
                role: node.role.clone(),
                name: node.name.clone(),
                explain: Some(explanation),
            })
        })
        .collect();
    if let Some(position) = query.position {
        choose(&mut matches, position);
    }
    // Stable: of equals the first on the page comes first.
    matches.sort_by(|one, other| other.score.total_cmp(&one.score));
    matches.truncate(max);
    matches
}

/// Puts the one that the position means before the others: it is one of those that fit about as well as the best.
fn choose(matches: &mut Vec<Match>, position: Position) {
    let best = matches.iter().map(|found| found.score).fold(0.0, f64::max);
    let equals: Vec<usize> =
        (0..matches.len()).filter(|index| matches[*index].score >= 0.85 * best).collect();
    let meant = match position {
        Position::Nth(nth) => equals.get(nth),
        Position::Last => equals.last(),
    };
    if let Some(meant) = meant.copied() {
        let mut chosen = matches.remove(meant);
        chosen.score = best;
        matches.insert(0, chosen);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::WEIGHTS, *};

    fn node(number: usize, role: &str, name: &str) -> Node {
        Node { r#ref: format!("e{number}"), role: role.to_owned(), name: name.to_owned(), ..Node::default() }
    }

    fn page() -> Vec<Node> {
        vec![
            node(0, "link", "Home"),
            node(1, "button", "Log In"),
            node(2, "link", "Sign Up"),
            Node { placeholder: Some("Email address".to_owned()), ..node(3, "textbox", "Email") },
            node(4, "searchbox", "Search products"),
            node(5, "button", "Delete account"),
            node(6, "button", "Add to cart"),
            node(7, "button", "Add to cart"),
            node(8, "button", "Cancel"),
        ]
    }

    fn best(query: &str) -> Option<String> {
        rank(&page(), query, WEIGHTS, 0.3, 3).into_iter().next().map(|found| found.r#ref)
    }

    #[test]
    fn descriptions_find_what_people_mean() {
        for (query, found) in [
            ("login button", "e1"),
            ("sign in", "e1"),
            ("email input field", "e3"),
            ("search box", "e4"),
            ("delete account button", "e5"),
            ("remove account", "e5"),
            ("sign up link", "e2"),
            ("second add to cart button", "e7"),
            ("last add to basket", "e7"),
            ("cancle", "e8"),
            ("button not account not cart not log", "e8"),
        ] {
            assert_eq!(best(query).as_deref(), Some(found), "{query}");
        }
        assert_eq!(best("xyzzy"), None);
    }

    #[test]
    fn an_exact_name_scores_one() {
        assert!(rank(&page(), "Cancel", WEIGHTS, 0.3, 1)[0].score > 0.95);
    }

    proptest! {
        #[test]
        fn scores_are_shares_and_come_in_order(query in ".{0,40}", names in prop::collection::vec(".{0,20}", 0..12)) {
            let nodes: Vec<Node> = names.iter().enumerate().map(|(number, name)| node(number, "button", name)).collect();
            let found = rank(&nodes, &query, WEIGHTS, 0.0, 100);
            prop_assert!(found.iter().all(|found| (0.0..=1.0).contains(&found.score)));
            prop_assert!(found.iter().map(|found| -found.score).is_sorted_by(|one, other| one <= other));
        }
    }
}
