//! Finding an element by what it is called: "login button", "search box not in the header", "second Buy link".
//!
//! Nothing but the words decides: those of the query are compared with those of each element (name, label, placeholder,
//! title, value, role), exactly, by their beginnings, as near misses and as synonyms ("sign in" is "log in"). The
//! likeness of the letters counts as well, so that typing errors and inflections do not matter. There is no model and
//! nothing to wait for. A query of the form of a selector (`role:button Save`) is answered by the page itself.

use std::collections::{BTreeSet, HashSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::{
    action::ActionError,
    evaluate::EvaluateError,
    frames::LOOK_DEADLINE,
    observe::ObserveError,
    snapshot::{Filter, Node, SnapshotOptions},
    tab::Tab,
};

/// Words of a query that count.
const WORDS_MAX: usize = 32;
/// Words of an element that count.
const NODE_WORDS_MAX: usize = 64;
/// What an action needs of the element that a description finds.
const ACT_SCORE_MIN: f64 = 0.35;
/// How much the words count, and how much the letters.
const WEIGHTS: Weights = Weights { lexical: 0.75, letters: 0.25 };

/// How much each way to compare counts.
#[derive(Clone, Copy, Debug)]
pub struct Weights {
    /// The words.
    pub lexical: f64,
    /// The letters.
    pub letters: f64,
}

impl Default for Weights {
    fn default() -> Self {
        WEIGHTS
    }
}

/// An element that answers to a description.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema, ToSchema)]
pub struct Match {
    /// Its reference.
    pub r#ref: String,
    /// How well it answers, 0 to 1.
    pub score: f64,
    /// Its role.
    pub role: String,
    /// Its name.
    pub name: String,
    /// How the score came about, if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explain: Option<Explanation>,
}

/// How a score came about.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema, ToSchema)]
pub struct Explanation {
    /// By the words.
    pub lexical_score: f64,
    /// By the letters.
    pub embedding_score: f64,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The elements, best first.
    pub matches: Vec<Match>,
    /// `structured` for queries of the form of a selector, else `combined`.
    pub strategy: &'static str,
    /// Elements that were compared.
    pub elements: usize,
}

/// Words that mean the same to those who look for something on a page.
const SYNONYMS: &[&[&str]] = &[
    &["login", "signin", "logon", "authenticate"],
    &["logout", "signout", "logoff"],
    &["signup", "register", "join", "createaccount"],
    &["delete", "remove", "trash", "discard", "erase"],
    &["cart", "basket", "bag"],
    &["buy", "purchase", "order", "checkout"],
    &["submit", "send", "post"],
    &["search", "find", "lookup", "query"],
    &["next", "forward", "continue"],
    &["previous", "back", "prev"],
    &["close", "dismiss", "cancel"],
    &["ok", "confirm", "accept", "agree", "yes"],
    &["email", "mail"],
    &["phone", "telephone", "mobile"],
    &["settings", "preferences", "options"],
    &["edit", "change", "modify", "update"],
    &["add", "create", "new"],
    &["menu", "navigation", "hamburger"],
    &["help", "support", "faq"],
    &["profile", "account"],
    &["username", "user"],
    &["picture", "image", "photo", "icon", "logo"],
];

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

fn words(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut word = String::new();
    let mut was_lower = false;
    for character in text.chars() {
        // `camelCase` of test ids is two words.
        let begins = character.is_uppercase() && was_lower;
        if !character.is_alphanumeric() || begins {
            found.extend((!word.is_empty()).then(|| std::mem::take(&mut word)));
        }
        if character.is_alphanumeric() {
            word.extend(character.to_lowercase());
        }
        was_lower = character.is_lowercase();
    }
    found.extend((!word.is_empty()).then_some(word));
    found.truncate(NODE_WORDS_MAX);
    joined(found)
}

/// "Sign in", "log out" and the like are one word: their halves say nothing alone.
fn joined(words: Vec<String>) -> Vec<String> {
    let mut found: Vec<String> = Vec::with_capacity(words.len());
    for word in words {
        let ends = matches!(word.as_str(), "in" | "on" | "up" | "out" | "off");
        match found.last_mut() {
            Some(last) if ends && matches!(last.as_str(), "sign" | "log") => last.push_str(&word),
            _ => found.push(word),
        }
    }
    found
}

/// The letters of a text, three at a time, with its beginnings and ends.
fn letters(words: &[String]) -> BTreeSet<[char; 3]> {
    let mut found = BTreeSet::new();
    for word in words {
        let padded: Vec<char> =
            std::iter::once(' ').chain(word.chars().take(64)).chain(std::iter::once(' ')).collect();
        found.extend(padded.windows(3).map(|three| [three[0], three[1], three[2]]));
    }
    found
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

/// How alike two words are, 0 to 1.
fn likeness(wanted: &str, have: &str) -> f64 {
    if wanted == have {
        return 1.0;
    }
    if SYNONYMS.iter().any(|group| group.contains(&wanted) && group.contains(&have)) {
        return 0.8;
    }
    let (wanted_length, have_length) = (wanted.chars().count(), have.chars().count());
    let (short, long) = if wanted_length <= have_length { (wanted, have) } else { (have, wanted) };
    let (length, longer) = (wanted_length.min(have_length), wanted_length.max(have_length));
    if length >= 3 && long.starts_with(short) {
        return 0.85;
    }
    if length >= 4 && longer - length <= 1 && distance_at_most_one(short, long) {
        return 0.75;
    }
    0.0
}

/// Whether one letter was added, left out, exchanged, or swapped with its neighbour.
fn distance_at_most_one(short: &str, long: &str) -> bool {
    let (short, long): (Vec<char>, Vec<char>) = (short.chars().collect(), long.chars().collect());
    let same = short.iter().zip(&long).take_while(|(one, other)| one == other).count();
    let (left, right) = (&short[same..], &long[same..]);
    if short.len() == long.len() {
        let swapped =
            left.len() >= 2 && left[0] == right[1] && left[1] == right[0] && left[2..] == right[2..];
        return left.is_empty() || left[1..] == right[1..] || swapped;
    }
    !right.is_empty() && left == &right[1..]
}

/// The nodes that answer to a description with at least this score, best first.
fn rank(nodes: &[Node], text: &str, weights: Weights, threshold: f64, max: usize) -> Vec<Match> {
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

const FORMS: &[&str] =
    &["role:", "text:", "label:", "placeholder:", "alt:", "title:", "testid:", "first:", "last:", "nth:"];

impl Tab {
    /// Finds elements by a description.
    pub async fn find(
        &self,
        query: &str,
        weights: Weights,
        threshold: f64,
        max: usize,
    ) -> Result<Finding, ActionError> {
        if FORMS.iter().any(|form| query.starts_with(form)) {
            return self.find_structured(query, max).await;
        }
        let options = SnapshotOptions { filter: Filter::Interactive, ..SnapshotOptions::default() };
        let mut snapshot = self.look(&options).await.map_err(not_looked)?;
        let mut matches = rank(&snapshot.nodes, query, weights, threshold, max);
        if matches.is_empty() {
            // Nothing that can be acted on: perhaps a text is meant.
            snapshot = self.look(&SnapshotOptions::default()).await.map_err(not_looked)?;
            matches = rank(&snapshot.nodes, query, weights, threshold, max);
        }
        Ok(Finding { matches, strategy: "combined", elements: snapshot.nodes.len() })
    }

    async fn find_structured(&self, query: &str, max: usize) -> Result<Finding, ActionError> {
        #[derive(Deserialize)]
        struct Named {
            r#ref: String,
            role: String,
            name: String,
            rank: u32,
        }
        #[derive(Deserialize)]
        struct All {
            found: Vec<Named>,
            elements: usize,
        }
        let place = self.place_of(None).unwrap_or_default();
        let all: All = self.in_place(&place, query, "named", json!({ "max": max })).await?;
        let score = |rank: u32| match rank {
            0 => 1.0,
            1 => 0.9,
            2 => 0.8,
            _ => 0.5,
        };
        let matches = all.found.into_iter().map(|found| Match {
            r#ref: found.r#ref,
            score: score(found.rank),
            role: found.role,
            name: found.name,
            explain: None,
        });
        Ok(Finding { matches: matches.collect(), strategy: "structured", elements: all.elements })
    }

    /// The reference of the element that a description fits best, if it fits.
    pub(crate) async fn find_one(&self, query: &str) -> Result<Option<String>, ActionError> {
        let found = tokio::time::timeout(LOOK_DEADLINE, self.find(query, WEIGHTS, ACT_SCORE_MIN, 1)).await;
        let found = found.map_err(|_| ActionError::Page(EvaluateError::Timeout(LOOK_DEADLINE)))??;
        Ok(found.matches.into_iter().next().map(|found| found.r#ref))
    }
}

fn not_looked(error: ObserveError) -> ActionError {
    match error {
        ObserveError::Evaluate(error) => error.into(),
        ObserveError::Snapshot(error) => ActionError::Invalid(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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

        #[test]
        fn one_letter_off_is_near(word in "[a-z]{4,10}", at in 0_usize..4, letter in proptest::char::range('a', 'z')) {
            let mut other: Vec<char> = word.chars().collect();
            other[at] = letter;
            let other: String = other.into_iter().collect();
            prop_assert!(likeness(&word, &other) > 0.7);
        }
    }
}
