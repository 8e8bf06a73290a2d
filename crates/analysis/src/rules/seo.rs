//! Whether the page is found, and says in a search result why it should be opened.

use super::{
    Applies, Hit, Rule, View,
    source::{GOOGLE_SNIPPETS, GOOGLE_TITLES},
    words::{Text, list},
};
use crate::{Bound, Category, Severity};

const TITLE_CHARS_MIN: usize = 10;

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "seo.missing_description",
        category: Category::Seo,
        severity: Severity::Low,
        title: "The page has no description for search results",
        why: "Search engines and shared links then show a piece of text of their own choice instead of the reason to visit.",
        recommendation: "Write a meta description of 120 to 155 characters that says what the page offers and for whom.",
        impact: 3,
        effort: 1,
        confidence: 10,
        sources: &[GOOGLE_SNIPPETS],
        applies: Applies::Everywhere,
        check: missing_description,
    },
    Rule {
        id: "seo.weak_title",
        category: Category::Seo,
        severity: Severity::Low,
        title: "The title says nothing of the page",
        why: "The title is the headline of every search result, bookmark and tab; \"Home\" is passed over.",
        recommendation: "Name the offer and the brand in 30 to 60 characters, the offer first.",
        impact: 4,
        effort: 1,
        confidence: 9,
        sources: &[GOOGLE_TITLES],
        applies: Applies::Everywhere,
        check: weak_title,
    },
];

fn missing_description(view: &View<'_>) -> Vec<Hit> {
    let description = view.facts.page.description.as_deref().map(str::trim);
    match description {
        None => vec![Hit::absent("head", "there is no <meta name=\"description\">")],
        Some("") => vec![Hit::absent("head", "the meta description is empty")],
        Some(_) => Vec::new(),
    }
}

fn weak_title(view: &View<'_>) -> Vec<Hit> {
    let page = &view.facts.page;
    if view.facts.version == 0 {
        return Vec::new();
    }
    if !page.has_title || page.title.trim().is_empty() {
        return vec![Hit::absent("head", "there is no <title>, or it is empty")];
    }
    let length = page.title.chars().count();
    let generic = list("title_generic").is_all_of(&Text::new(&page.title));
    if !generic && length >= TITLE_CHARS_MIN {
        return Vec::new();
    }
    vec![
        Hit::absent("title", format!("the title reads \"{}\"", page.title))
            .snippet(page.title.clone())
            .measured("characters", length as f64, Bound::AtLeast, TITLE_CHARS_MIN as f64, ""),
    ]
}
