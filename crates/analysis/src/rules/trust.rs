//! Why the visitor should believe it: proof, promises and who is behind the page.

use super::{
    Applies, Hit, Rule, View,
    form::asks_details,
    source::{BAYMARD_CHECKOUT, GOOGLE_PLAYBOOK, LIFT},
    words::{Text, Token, list},
};
use crate::{Category, Severity, page_type::PageType};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "trust.no_social_proof",
        category: Category::Trust,
        severity: Severity::High,
        title: "Nothing shows that others trust the offer",
        why: "Visitors who do not know the company look for others who do: ratings, names, numbers. Without them the claim stands alone.",
        recommendation: "Show a rating with its count, two or three quotes with name and company, or logos of customers, close to the main action.",
        impact: 8,
        effort: 4,
        confidence: 7,
        sources: &[GOOGLE_PLAYBOOK, LIFT],
        applies: Applies::InEnglish,
        check: no_social_proof,
    },
    Rule {
        id: "trust.no_reviews",
        category: Category::Trust,
        severity: Severity::High,
        title: "The product has no reviews",
        why: "Shoppers read reviews before they buy; a product without any is compared with one that has them.",
        recommendation: "Show the average rating and the number of reviews under the product's name, and the reviews further down.",
        impact: 8,
        effort: 5,
        confidence: 7,
        sources: &[GOOGLE_PLAYBOOK, BAYMARD_CHECKOUT],
        applies: Applies::ToProductsInEnglish,
        check: no_reviews,
    },
    Rule {
        id: "trust.no_guarantee",
        category: Category::Trust,
        severity: Severity::Medium,
        title: "The visitor carries all the risk",
        why: "A trial, a refund or the right to cancel lets visitors decide now and be sure later; without one they wait.",
        recommendation: "State beside the action what happens if it does not suit: a free trial, a refund, cancelling at any time.",
        impact: 6,
        effort: 3,
        confidence: 6,
        sources: &[LIFT, GOOGLE_PLAYBOOK],
        applies: Applies::InEnglish,
        check: no_guarantee,
    },
    Rule {
        id: "trust.no_privacy_or_contact",
        category: Category::Trust,
        severity: Severity::Medium,
        title: "There is no privacy notice and no way to get in touch",
        why: "Visitors check who is behind a page before they give money or data; a page without an address looks like one that hides it.",
        recommendation: "Link a privacy notice and a contact page in the footer, with an e-mail address or a phone number.",
        impact: 5,
        effort: 2,
        confidence: 8,
        sources: &[LIFT],
        applies: Applies::InEnglish,
        check: no_privacy_or_contact,
    },
    Rule {
        id: "trust.stale_copyright",
        category: Category::Trust,
        severity: Severity::Low,
        title: "The copyright year is out of date",
        why: "An old year is taken as a sign that nobody looks after the page.",
        recommendation: "Write the current year, or let the server do it.",
        impact: 2,
        effort: 1,
        confidence: 9,
        sources: &[LIFT],
        applies: Applies::Everywhere,
        check: stale_copyright,
    },
];

/// Any sign that others use, rate or recommend the offer.
fn has_proof(view: &View<'_>) -> bool {
    view.facts.page.schema.rating.is_some()
        || list("social_proof").is_in(&view.everything)
        || has_quotes(view)
        || has_logos(view)
        || has_large_count(view)
}

/// Somebody's words, with who said them.
fn has_quotes(view: &View<'_>) -> bool {
    view.facts.blocks.iter().any(|b| {
        let text = b.text.trim();
        let words = Text::new(text).word_count();
        let quoted = text.starts_with(['"', '\u{201c}', '\u{201e}', '\u{ab}', '\u{2018}']);
        let attributed = text.contains(['(', '\u{2014}', '\u{2013}', '\u{201d}'])
            || text.rfind('"').is_some_and(|end| end > 0 && end + 3 < text.len());
        (b.quote && words >= 4) || (quoted && words >= 4 && (attributed || words >= 8))
    })
}

/// A row of logos of customers or press.
fn has_logos(view: &View<'_>) -> bool {
    let in_body = |region: &str| !matches!(region, "header" | "nav" | "footer");
    let logos = view
        .facts
        .images
        .iter()
        .filter(|i| in_body(&i.region) && i.alt.to_lowercase().contains("logo"))
        .count();
    // Pictures of one low height in a row, under each other's names.
    let row = view
        .facts
        .images
        .iter()
        .filter(|i| {
            in_body(&i.region)
                && i.rect.height <= 90.0
                && i.rect.width <= 260.0
                && i.rect.width > i.rect.height * 1.2
                && i.has_alt
                && !i.alt.is_empty()
        })
        .count();
    logos >= 2 || row >= 4
}

/// "2,300 boats rented": a large number before a word, outside of prices and years.
fn has_large_count(view: &View<'_>) -> bool {
    view.facts.blocks.iter().filter(|b| b.region != "footer").any(|b| {
        let tokens = Text::new(&b.text).tokens;
        tokens.windows(2).enumerate().any(|(i, pair)| {
            let after_sign = i > 0 && matches!(tokens[i - 1], Token::Sign(_));
            matches!((&pair[0], &pair[1]), (Token::Number(n), Token::Word(w)) if *n >= 100.0 && n.fract() == 0.0 && !(1900.0..2100.0).contains(n) && w.len() > 4 && w.ends_with('s'))
                && !after_sign
                && tokens.iter().any(|t| matches!(t, Token::Word(w) if matches!(w.as_str(), "over" | "more" | "trusted" | "served" | "happy" | "sold" | "helped" | "delivered" | "trained" | "since" | "joined" | "already" | "scored" | "completed")))
        })
    })
}

fn no_social_proof(view: &View<'_>) -> Vec<Hit> {
    let expected = view.page_type.is_landing() || view.page_type == PageType::Pricing;
    if !expected || view.facts.truncated || has_proof(view) || is_bare(view) {
        return Vec::new();
    }
    // Beside plans or a short form proof helps; where the visitor is to be won, it is missed.
    let short_form = view.facts.forms.iter().filter(|f| asks_details(f)).all(|f| f.fields.len() < 6);
    let severity = match view.page_type {
        PageType::Pricing | PageType::EcommerceHome | PageType::Landing => Severity::Medium,
        PageType::LeadGen if short_form => Severity::Medium,
        _ => Severity::High,
    };
    vec![
        Hit::absent("body", "no rating, review, quote, customer or figure of users is shown")
            .severity(severity),
    ]
}

/// A page with next to nothing on it says nothing by what it leaves out.
fn is_bare(view: &View<'_>) -> bool {
    view.facts.page.text_length < 40 && view.facts.forms.iter().all(|f| f.fields.len() < 3)
}

fn no_reviews(view: &View<'_>) -> Vec<Hit> {
    let rated = view.facts.page.schema.rating.is_some() || view.facts.page.schema.review_count.is_some();
    if view.page_type != PageType::EcommerceProduct
        || rated
        || view.facts.truncated
        || list("reviews").is_in(&view.everything)
        || has_quotes(view)
    {
        return Vec::new();
    }
    vec![Hit::absent("body", "no rating, star or review is shown")]
}

fn no_guarantee(view: &View<'_>) -> Vec<Hit> {
    let severity = match view.page_type {
        PageType::Pricing => Severity::Medium,
        PageType::Saas | PageType::Service | PageType::EcommerceProduct => Severity::Low,
        PageType::EcommerceHome | PageType::LeadGen | PageType::Content | PageType::Landing => {
            return Vec::new();
        }
    };
    if view.says("guarantee")
        || list("returns").is_affirmed_in(&view.everything)
        || view.links_to(list("returns"))
    {
        return Vec::new();
    }
    vec![Hit::absent("body", "no trial, refund, warranty or right to cancel is mentioned").severity(severity)]
}

fn no_privacy_or_contact(view: &View<'_>) -> Vec<Hit> {
    if view.facts.truncated {
        return Vec::new();
    }
    let privacy = view.links_to(list("privacy"));
    let contact = has_contact(view);
    let takes_data = view.facts.forms.iter().any(|f| asks_details(f) && f.fields.len() >= 2);
    let statement = match (privacy, contact) {
        (false, false) => "no link to a privacy notice, and no contact page, address, e-mail or phone number",
        (false, true) if takes_data => "the form takes personal details and no privacy notice is linked",
        _ => return Vec::new(),
    };
    vec![Hit::absent(view.footer_selector(), statement)]
}

/// A way to reach people: a contact link, an address to write to, a number to call.
fn has_contact(view: &View<'_>) -> bool {
    let by_link = view.facts.links.iter().any(|l| {
        let href = l.href.to_lowercase();
        href.starts_with("mailto:")
            || href.starts_with("tel:")
            || href.starts_with("sms:")
            || href.contains("wa.me/")
            || href.contains("contact")
    });
    let contact = list("contact");
    by_link
        || view.facts.links.iter().any(|l| contact.is_in(&Text::new(&l.text)))
        || view.facts.actions.iter().any(|a| contact.is_in(&Text::new(&a.label)))
        || view.facts.blocks.iter().any(|b| has_address(&b.text))
}

/// An e-mail address or an international phone number in running text.
fn has_address(text: &str) -> bool {
    let email = text.split_whitespace().any(|w| {
        let w = w.trim_matches(|c: char| !c.is_alphanumeric());
        w.split_once('@').is_some_and(|(user, host)| !user.is_empty() && host.contains('.'))
    });
    let phone = text.find('+').is_some_and(|at| {
        let digits = text[at + 1..]
            .chars()
            .take_while(|c| c.is_ascii_digit() || " -().".contains(*c))
            .filter(char::is_ascii_digit)
            .count();
        digits >= 7
    });
    email || phone
}

fn stale_copyright(view: &View<'_>) -> Vec<Hit> {
    let now = view.facts.page.year;
    for block in view.facts.blocks.iter().rev().filter(|b| b.text.len() < 300) {
        let Some(year) = copyright_year(&block.text) else { continue };
        if now - year >= 2 {
            let selector = if block.region == "footer" {
                view.footer_selector().to_owned()
            } else {
                view.element(block.element).map_or_else(|| "body".to_owned(), |e| e.selector.clone())
            };
            return vec![
                Hit::absent(selector, format!("the page says {year}; it is {now}"))
                    .snippet(block.text.clone()),
            ];
        }
        return Vec::new();
    }
    Vec::new()
}

/// The latest year that stands with a copyright sign.
fn copyright_year(text: &str) -> Option<i32> {
    let lower = text.to_lowercase();
    let marked = lower.contains('\u{a9}')
        || lower.contains("copyright")
        || lower.contains("(c)")
        || lower.contains("all rights reserved");
    if !marked {
        return None;
    }
    if ["present", "now", "today", "heute", "aujourd", "hoy", "oggi"].iter().any(|open| lower.contains(open))
    {
        return None;
    }
    let mut latest: Option<i32> = None;
    for part in lower.split(|c: char| !c.is_ascii_digit()) {
        let year = match (part.len(), latest) {
            (4, _) => part.parse().ok(),
            // The second year of a range, in two digits.
            (2, Some(from)) => part.parse::<i32>().ok().map(|year| from / 100 * 100 + year),
            _ => None,
        };
        latest = latest.max(year.filter(|year| (1990..2100).contains(year)));
    }
    latest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_year_of_a_copyright_counts() {
        assert_eq!(copyright_year("Copyright 2019"), Some(2019));
        assert_eq!(copyright_year("\u{a9} 2012\u{2013}2026 Pinewood"), Some(2026));
        assert_eq!(copyright_year("\u{a9} 2015\u{2013}24 Pinewood"), Some(2024));
        assert_eq!(copyright_year("\u{a9} 2012\u{2013}present"), None);
        assert_eq!(copyright_year("Founded in 1998"), None);
    }

    #[test]
    fn addresses_are_found_in_running_text() {
        assert!(has_address("Contact +1 555 0100 22"));
        assert!(has_address("write to hello@example.com."));
        assert!(!has_address("a + b"));
        assert!(!has_address("@handle"));
    }
}
