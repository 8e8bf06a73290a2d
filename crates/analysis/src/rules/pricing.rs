//! Plans side by side.

use super::{
    Applies, Hit, Rule, View,
    source::{BAYMARD_CHECKOUT, FTC_DARK_PATTERNS, LIFT},
    words::{Text, list},
};
use crate::{
    Bound, Category, Severity,
    facts::{Block, TextStyle},
};

/// More plans than this cannot be compared at a glance.
const PLANS_MAX: usize = 4;
/// Up to this a line is small print, if the rest is larger.
const SMALL_PRINT_PX: f64 = 13.5;
/// Up to this it is meant not to be read.
const TINY_PRINT_PX: f64 = 12.0;

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "pricing.too_many_plans",
        category: Category::Price,
        severity: Severity::Medium,
        title: "There are too many plans",
        why: "Comparing five or more offers is work that many visitors put off, and then do not come back to.",
        recommendation: "Offer three plans, four at most, and move the rest behind a switch or a \"compare all\" link.",
        impact: 6,
        effort: 4,
        confidence: 7,
        sources: &[LIFT],
        applies: Applies::ToPlans,
        check: too_many_plans,
    },
    Rule {
        id: "pricing.no_recommended",
        category: Category::Price,
        severity: Severity::Medium,
        title: "No plan is recommended",
        why: "Without a hint visitors choose the cheapest plan or none; a marked plan gives them a place to begin.",
        recommendation: "Mark the plan that suits most customers in words and by its look.",
        impact: 6,
        effort: 1,
        confidence: 7,
        sources: &[LIFT],
        applies: Applies::ToPlansInEnglish,
        check: no_recommended,
    },
    Rule {
        id: "pricing.hidden_price",
        category: Category::Price,
        severity: Severity::Medium,
        title: "A plan does not say what it costs",
        why: "\"Contact us\" in place of a price reads as expensive, and comparing ends there.",
        recommendation: "Show a price, a starting price, or the range that customers usually pay.",
        impact: 6,
        effort: 2,
        confidence: 7,
        sources: &[LIFT, BAYMARD_CHECKOUT],
        applies: Applies::ToPlans,
        check: hidden_price,
    },
    Rule {
        id: "pricing.hidden_fees",
        category: Category::Price,
        severity: Severity::High,
        title: "Costs are hidden in small print",
        why: "Extra costs that turn up late are the most given reason for giving up a purchase, and cost trust with those who stay.",
        recommendation: "Put every fee, minimum term and tax next to the price, in the same size.",
        impact: 8,
        effort: 2,
        confidence: 7,
        sources: &[BAYMARD_CHECKOUT, FTC_DARK_PATTERNS],
        applies: Applies::InEnglish,
        check: hidden_fees,
    },
];

fn too_many_plans(view: &View<'_>) -> Vec<Hit> {
    let Some(table) = view.plans.as_ref().filter(|t| t.plans.len() > PLANS_MAX) else { return Vec::new() };
    let count = table.plans.len();
    vec![
        Hit::on(table.group.element, format!("{count} plans stand side by side"))
            .measured("plans", count as f64, Bound::AtMost, PLANS_MAX as f64, "")
            .snippet(
                table
                    .plans
                    .iter()
                    .map(|p| p.member.heading.as_str())
                    .filter(|h| !h.is_empty())
                    .collect::<Vec<_>>()
                    .join(", "),
            ),
    ]
}

fn no_recommended(view: &View<'_>) -> Vec<Hit> {
    let Some(table) = view.plans.as_ref().filter(|t| t.plans.len() >= 3 && t.recommended() == 0) else {
        return Vec::new();
    };
    // The mark may stand beside the plans.
    let near = view.facts.blocks.iter().any(|b| {
        list("plan_recommended").is_affirmed_in(&Text::new(&b.text))
            && view.element(table.group.element).is_some_and(|g| overlaps(g, b))
    });
    if near {
        return Vec::new();
    }
    vec![
        Hit::on(table.group.element, format!("{} plans look alike and none is marked", table.plans.len()))
            .snippet(""),
    ]
}

fn overlaps(group: &crate::facts::Element, block: &Block) -> bool {
    group.rect.is_some_and(|r| {
        block.rect.y + block.rect.height > r.y - 60.0 && block.rect.y < r.y + r.height + 60.0
    })
}

fn hidden_price(view: &View<'_>) -> Vec<Hit> {
    let Some(table) = &view.plans else { return Vec::new() };
    let priced = table.plans.iter().filter(|p| p.priced).count();
    table
        .plans
        .iter()
        .filter(|p| p.asks)
        .map(|plan| {
            // For large customers beside priced plans it is the custom of the trade.
            let usual = plan.enterprise && priced >= 2;
            Hit::on(
                plan.member.element,
                format!("the plan \"{}\" asks to get in touch and shows no price", plan.member.heading),
            )
            .severity(if usual { Severity::Low } else { Severity::Medium })
            .confidence(if usual { 4 } else { 7 })
        })
        .collect()
}

fn hidden_fees(view: &View<'_>) -> Vec<Hit> {
    if !view.page_type.sells() || super::price::amounts(&view.everything) == 0 {
        return Vec::new();
    }
    let body = body_size(view);
    let mut hits = Vec::new();
    for style in
        view.facts.styles.iter().filter(|s| s.hidden.is_none() && s.region != "nav" && s.region != "header")
    {
        let text = Text::new(&full_text(view, style));
        if !list("fee").is_affirmed_in(&text) {
            continue;
        }
        let small = style.size <= SMALL_PRINT_PX && style.size < body * 0.86;
        let faint = style.contrast < 3.0 && !style.background_unsure;
        if !(small || faint) {
            continue;
        }
        let how = if faint {
            format!("at {:.1}:1 contrast", style.contrast)
        } else {
            format!("at {} px where the text has {body} px", style.size)
        };
        hits.push(
            Hit::on(style.element, format!("what else it costs stands {how}: \"{}\"", style.text))
                .snippet(style.text.clone())
                .severity(if faint || style.size <= TINY_PRINT_PX {
                    Severity::High
                } else {
                    Severity::Medium
                })
                .measured("font size", style.size, Bound::AtLeast, body.min(14.0), "px")
                .count(style.count),
        );
    }
    hits.truncate(4);
    hits
}

/// The whole text that a run belongs to: bold parts split a sentence.
fn full_text(view: &View<'_>, style: &TextStyle) -> String {
    view.facts
        .blocks
        .iter()
        .find(|b| b.element == style.element)
        .map_or_else(|| style.text.clone(), |b| b.text.clone())
}

/// The size most of the text has.
fn body_size(view: &View<'_>) -> f64 {
    let mut sizes: Vec<(u32, u32)> = Vec::new();
    for style in view.facts.styles.iter().filter(|s| s.hidden.is_none() && s.size > SMALL_PRINT_PX) {
        let size = style.size.round() as u32;
        match sizes.iter_mut().find(|(s, _)| *s == size) {
            Some((_, chars)) => *chars += style.chars,
            None => sizes.push((size, style.chars)),
        }
    }
    sizes
        .into_iter()
        .max_by_key(|&(size, chars)| (chars, size))
        .map_or(16.0, |(size, _)| f64::from(size))
        .clamp(14.0, 18.0)
}
