//! Where else the page sends the visitor.

use super::{Applies, Hit, Rule, View, source::LIFT};
use crate::{Bound, Category, Severity};

/// More choices than this in one bar are not read but scanned.
const LINKS_MAX: u32 = 9;

pub(super) const RULES: &[Rule] = &[Rule {
    id: "nav.too_many_links",
    category: Category::Navigation,
    severity: Severity::Medium,
    title: "The navigation offers too many ways out",
    why: "Every link competes with the action the page is for, and a long bar has to be searched before it can be used.",
    recommendation: "Keep five to seven links for what visitors come for, group the rest, and move company pages to the footer.",
    impact: 4,
    effort: 3,
    confidence: 8,
    sources: &[LIFT],
    applies: Applies::Everywhere,
    check: too_many_links,
}];

fn too_many_links(view: &View<'_>) -> Vec<Hit> {
    view.facts
        .navs
        .iter()
        .filter(|nav| nav.region != "footer" && nav.region != "aside" && !nav.column && nav.top < 400.0)
        .filter_map(|nav| {
            let links = nav.shown.saturating_sub(nav.buttons);
            (links > LINKS_MAX).then(|| {
                Hit::on(nav.element, format!("{links} links are shown at once")).measured(
                    "links",
                    f64::from(links),
                    Bound::AtMost,
                    f64::from(LINKS_MAX),
                    "",
                )
            })
        })
        .take(1)
        .collect()
}
