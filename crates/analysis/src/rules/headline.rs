//! What the page says first.

use super::{
    Applies, Hit, Rule, View,
    source::{GOOGLE_PLAYBOOK, LIFT, NNG_FOLD, WCAG_HEADINGS},
    words::{Text, list},
};
use crate::{Category, Severity, facts::ElementIndex, page_type::PageType};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "headline.missing_h1",
        category: Category::Headline,
        severity: Severity::High,
        title: "The page has no main heading",
        why: "Visitors, search engines and screen readers look for one main heading to learn what the page offers; without it the first seconds are spent guessing.",
        recommendation: "Mark up the line that states the offer as the page's only <h1> and put it in the first screen.",
        impact: 7,
        effort: 1,
        confidence: 9,
        sources: &[WCAG_HEADINGS, LIFT],
        applies: Applies::Everywhere,
        check: missing_h1,
    },
    Rule {
        id: "headline.generic",
        category: Category::Headline,
        severity: Severity::High,
        title: "The headline does not say what is offered",
        why: "Most viewing time is spent in the first screen. A headline that any company could use gives no reason to read on.",
        recommendation: "Say what the visitor gets, for whom, and what changes for them, with a number if there is one: \"Get your invoices paid 12 days faster\".",
        impact: 8,
        effort: 2,
        confidence: 8,
        sources: &[LIFT, GOOGLE_PLAYBOOK, NNG_FOLD],
        applies: Applies::InEnglish,
        check: generic,
    },
];

fn missing_h1(view: &View<'_>) -> Vec<Hit> {
    if view.facts.truncated
        || view.facts.headings.iter().any(|h| h.level == 1 && h.shown && !h.text.is_empty())
    {
        return Vec::new();
    }
    let hidden = view.facts.headings.iter().any(|h| h.level == 1 && !h.text.is_empty());
    if hidden {
        // One for screen readers is not missing, only unseen.
        return Vec::new();
    }
    let severity = if view.page_type.sells() { Severity::High } else { Severity::Medium };
    vec![Hit::absent("body", "no <h1> is shown on the page").severity(severity)]
}

/// The line that visitors read first: the main heading, else the largest text of the first screen.
fn headline<'a>(view: &View<'a>) -> Option<(Option<ElementIndex>, &'a str)> {
    if let Some(h1) = view.facts.headings.iter().find(|h| h.level == 1 && h.shown && !h.text.is_empty()) {
        return Some((h1.element, &h1.text));
    }
    let mut best: Option<&crate::facts::Block> = None;
    for block in view
        .copy()
        .filter(|b| b.above_fold && b.region != "header" && b.size >= 20.0 && !view.is_in_popup(b.layer))
    {
        if best.is_none_or(|b| block.size > b.size + 0.5) {
            best = Some(block);
        }
    }
    best.map(|b| (b.element, b.text.as_str()))
}

fn generic(view: &View<'_>) -> Vec<Hit> {
    let Some((element, headline)) = headline(view) else { return Vec::new() };
    if view.page_type == PageType::Content {
        return Vec::new();
    }
    let text = Text::new(headline);
    let words = text.word_count();
    let product = view.page_type == PageType::EcommerceProduct;
    let (statement, severity) = if is_stock_code(headline) {
        (format!("the main heading is the stock code \"{headline}\""), Severity::Medium)
    } else if is_generic(&text, words) && !has_benefit(headline) {
        (
            format!("the headline reads \"{headline}\""),
            if product { Severity::Medium } else { Severity::High },
        )
    } else if words <= 5 && list("headline_weak").is_all_of(&text) {
        (format!("the headline only names the page: \"{headline}\""), Severity::Medium)
    } else {
        return Vec::new();
    };
    vec![Hit::on(element, statement).snippet(headline).severity(severity)]
}

/// "Product" is a placeholder, "Product analytics for teams" is not; "Welcome to …" says nothing however it ends.
fn is_generic(text: &Text, words: usize) -> bool {
    list("headline_placeholder").is_all_of(text) || (words <= 7 && list("headline_generic").begins(text))
}

/// A number in a headline is nearly always a concrete claim.
fn has_benefit(headline: &str) -> bool {
    headline.chars().any(|c| c.is_ascii_digit())
}

/// Whether a heading is a stock code such as `MUG-350-GRN-02`: capitals and digits in groups, one of which mixes both or
/// says what it is. "SUMMER SALE 2026" is none.
fn is_stock_code(heading: &str) -> bool {
    let heading = heading.trim();
    let groups: Vec<&str> = heading.split(['-', '_', '/', ' ']).filter(|g| !g.is_empty()).collect();
    let has_digit = heading.chars().any(|c| c.is_ascii_digit());
    let only_code =
        heading.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || "-_/. #".contains(c));
    let mixed = |group: &&str| {
        group.contains(|c: char| c.is_ascii_digit()) && group.contains(|c: char| c.is_ascii_uppercase())
    };
    let named =
        groups.first().is_some_and(|first| matches!(*first, "SKU" | "ART" | "ITEM" | "REF" | "MODEL"));
    let hyphenated = heading.contains(['-', '_']) && !heading.contains(' ');
    (named || hyphenated || groups.iter().any(mixed))
        && heading.len() >= 5
        && has_digit
        && only_code
        && (groups.len() >= 2 || heading.len() >= 7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stock_codes_are_told_from_names() {
        for code in ["MUG-350-GRN-02", "SKU 48821", "AB1234567"] {
            assert!(is_stock_code(code), "{code}");
        }
        for name in [
            "Trail Mug 350 ml",
            "iPhone 15",
            "WD-40 Spray",
            "ZX Spectrum",
            "MX-5 Roadster",
            "SUMMER SALE 2026",
        ] {
            assert!(!is_stock_code(name), "{name}");
        }
    }
}
