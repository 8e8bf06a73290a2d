//! What the page asks the visitor to do: whether it can be seen, reached and pressed.

use std::collections::BTreeMap;

use super::{
    Applies, Hit, Rule, View,
    source::{GOOGLE_PLAYBOOK, LIFT, NNG_FOLD, WCAG_CONTRAST, WCAG_NON_TEXT_CONTRAST, WCAG_TARGET_SIZE},
    words::{Text, list},
};
use crate::{
    Bound, Category, Severity,
    facts::{Action, Look},
    page_type::PageType,
};

/// Smallest side of a target, WCAG 2.2 AA.
const TARGET_MIN_PX: f64 = 24.0;
/// So many actions of equal weight in one place leave the choice to the visitor.
const COMPETING_MIN: usize = 3;

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "cta.none_above_fold",
        category: Category::Cta,
        severity: Severity::High,
        title: "No call to action in the first screen",
        why: "More than half of viewing time goes to the first screen. Who has to scroll to find out what to do next often does not.",
        recommendation: "Put the one main action next to the headline, in the first screen of both desktop and phone.",
        impact: 9,
        effort: 2,
        confidence: 8,
        sources: &[GOOGLE_PLAYBOOK, NNG_FOLD],
        applies: Applies::InEnglish,
        check: none_above_fold,
    },
    Rule {
        id: "cta.competing",
        category: Category::Cta,
        severity: Severity::Medium,
        title: "Several actions of equal weight compete",
        why: "When every action looks the same, none is the next step; attention is split and decisions are put off.",
        recommendation: "Make one action primary in colour and size, show at most one alternative as an outline or link, and move the rest away.",
        impact: 6,
        effort: 3,
        confidence: 7,
        sources: &[LIFT],
        applies: Applies::Everywhere,
        check: competing,
    },
    Rule {
        id: "cta.disabled",
        category: Category::Cta,
        severity: Severity::High,
        title: "The main action cannot be used",
        why: "A button that does nothing and does not say why reads as out of stock or broken, and visitors leave.",
        recommendation: "Leave the button enabled and say on press what is still needed, next to the field that needs it.",
        impact: 9,
        effort: 3,
        confidence: 8,
        sources: &[LIFT, GOOGLE_PLAYBOOK],
        applies: Applies::Everywhere,
        check: disabled,
    },
    Rule {
        id: "cta.obscured",
        category: Category::Cta,
        severity: Severity::High,
        title: "The call to action is covered",
        why: "A button under another layer can be neither seen nor pressed; the visit ends where it should have begun.",
        recommendation: "Remove the layer that lies over it, or show it only after the visitor has acted.",
        impact: 9,
        effort: 3,
        confidence: 8,
        sources: &[GOOGLE_PLAYBOOK],
        applies: Applies::Everywhere,
        check: obscured,
    },
    Rule {
        id: "cta.too_small",
        category: Category::Cta,
        severity: Severity::Medium,
        title: "The call to action is too small to press",
        why: "Targets under 24 px are missed with a finger and overlooked with the eye.",
        recommendation: "Give it at least 24 by 24 px, better 44 to 48 px in height, with padding and not only a larger font.",
        impact: 6,
        effort: 1,
        confidence: 9,
        sources: &[WCAG_TARGET_SIZE],
        applies: Applies::Everywhere,
        check: too_small,
    },
    Rule {
        id: "cta.weak_style",
        category: Category::Cta,
        severity: Severity::High,
        title: "The main action does not stand out",
        why: "What looks like the background is not recognised as a button, whatever it says.",
        recommendation: "Fill it with a colour of at least 3:1 against the page and label it at 4.5:1 or more in 16 px or larger.",
        impact: 8,
        effort: 1,
        confidence: 7,
        sources: &[WCAG_NON_TEXT_CONTRAST, WCAG_CONTRAST, GOOGLE_PLAYBOOK],
        applies: Applies::Everywhere,
        check: weak_style,
    },
];

fn none_above_fold(view: &View<'_>) -> Vec<Hit> {
    if !view.page_type.sells() || view.facts.truncated || view.ctas.iter().any(|a| a.above_fold) {
        return Vec::new();
    }
    // A form that begins in the first screen is an action by itself.
    let form_in_sight = view.facts.forms.iter().any(|f| {
        f.rect.y + 80.0 < view.facts.viewport.fold
            && f.fields.len() > 1
            && f.region != "nav"
            && f.region != "header"
    });
    if form_in_sight && view.page_type != PageType::EcommerceProduct {
        return Vec::new();
    }
    let fold = view.facts.viewport.fold;
    let first = match view.page_type {
        PageType::EcommerceProduct => view.primary,
        _ => view.ctas.iter().copied().find(|a| !matches!(a.region.as_str(), "nav" | "header")),
    };
    let Some(action) = first else {
        if asks_by_link(view) {
            return Vec::new();
        }
        let severity = if view.page_type == PageType::Landing { Severity::Medium } else { Severity::High };
        return vec![
            Hit::absent(
                "body",
                "the page has no button, or link that looks like one, that asks for anything",
            )
            .severity(severity)
            .confidence(6),
        ];
    };
    let top = action.rect.y;
    vec![
        Hit::on(
            action.element,
            format!("the first call to action, \"{}\", begins {top} px down the page; the first screen ends at {fold} px", action.label),
        )
        .measured("distance from top", top, Bound::AtMost, fold, "px"),
    ]
}

/// Whether a plain link in the page's own text asks for something: weak, but not absent.
fn asks_by_link(view: &View<'_>) -> bool {
    let verbs = list("cta_verb");
    view.facts
        .links
        .iter()
        .any(|l| l.shown && matches!(l.region.as_str(), "main" | "body") && verbs.begins(&Text::new(&l.text)))
}

fn competing(view: &View<'_>) -> Vec<Hit> {
    let mut groups: BTreeMap<_, Vec<&Action>> = BTreeMap::new();
    for &action in &view.ctas {
        let Some(group) = action.group else { continue };
        if matches!(action.region.as_str(), "nav" | "header" | "aside")
            || action.look == Look::Text
            || is_option(action)
        {
            continue;
        }
        groups.entry(group).or_default().push(action);
    }
    let mut hits = Vec::new();
    for (group, actions) in groups {
        let Some(style) = actions.first().map(|a| &a.style) else { continue };
        let equal: Vec<_> = actions.iter().filter(|a| a.style == *style).collect();
        let mut labels: Vec<String> = equal.iter().map(|a| a.label.to_lowercase()).collect();
        labels.sort_unstable();
        labels.dedup();
        // A larger action of another style already leads.
        let leads = actions.iter().any(|a| a.style != *style && a.look == Look::Filled);
        if labels.len() >= COMPETING_MIN && !leads {
            let named = equal.iter().map(|a| format!("\"{}\"", a.label)).collect::<Vec<_>>().join(", ");
            hits.push(
                Hit::on(Some(group), format!("{} actions look alike: {named}", equal.len()))
                    .measured("actions of equal weight", equal.len() as f64, Bound::AtMost, 2.0, "")
                    .count(equal.len() as u32),
            );
        }
    }
    hits
}

/// Sizes, colours, pages and tags are choices within an offer.
fn is_option(action: &Action) -> bool {
    let letters = action.label.chars().filter(|c| c.is_alphabetic()).count();
    letters < 4 || action.rect.height < 20.0
}

fn disabled(view: &View<'_>) -> Vec<Hit> {
    let Some(primary) = view.primary.filter(|p| p.disabled) else { return Vec::new() };
    let waits = waits_for_input(view, primary);
    let severity = if waits { Severity::Low } else { Severity::High };
    vec![
        Hit::on(primary.element, format!("\"{}\" is disabled when the page opens", primary.label))
            .severity(severity),
    ]
}

/// A submit that wakes up when text is there is a habit, if not a good one.
fn waits_for_input(view: &View<'_>, action: &Action) -> bool {
    let form = view.facts.forms.iter().find(|f| f.index >= 0 && f.index == action.form);
    form.is_some_and(|f| {
        f.fields.iter().any(|field| {
            matches!(field.kind.as_str(), "text" | "email" | "tel" | "textarea" | "password" | "url")
        })
    })
}

fn obscured(view: &View<'_>) -> Vec<Hit> {
    view.ctas
        .iter()
        .filter(|a| a.above_fold && a.covered >= 0.6 && !matches!(a.region.as_str(), "footer"))
        .map(|a| {
            let by = view
                .element(a.covered_by)
                .map_or_else(|| "another element".to_owned(), |e| e.selector.clone());
            let severity = if view.primary.is_some_and(|p| p.element == a.element) {
                Severity::High
            } else {
                Severity::Medium
            };
            Hit::on(a.element, format!("\"{}\" lies under {by}", a.label)).severity(severity).measured(
                "covered",
                a.covered * 100.0,
                Bound::AtMost,
                0.0,
                "%",
            )
        })
        .collect()
}

fn too_small(view: &View<'_>) -> Vec<Hit> {
    let mut seen = Vec::new();
    let mut hits = Vec::new();
    for action in view.ctas.iter().filter(|a| a.rect.width < TARGET_MIN_PX || a.rect.height < TARGET_MIN_PX) {
        if seen.contains(&action.shape) {
            continue;
        }
        seen.push(action.shape);
        let smaller = action.rect.width.min(action.rect.height);
        hits.push(
            Hit::on(
                action.element,
                format!("\"{}\" measures {} x {} px", action.label, action.rect.width, action.rect.height),
            )
            .measured("smaller side", smaller, Bound::AtLeast, TARGET_MIN_PX, "px")
            .count(action.repeats),
        );
    }
    hits
}

fn weak_style(view: &View<'_>) -> Vec<Hit> {
    let Some(primary) = view.primary.filter(|p| !p.look_unsure && p.look != Look::Text) else {
        return Vec::new();
    };
    if primary.disabled && waits_for_input(view, primary) {
        return Vec::new();
    }
    let surface = primary.fill_contrast.max(primary.edge_contrast);
    let faint_label = primary.contrast < 4.5 || primary.size < 13.0;
    if surface >= 3.0 || !faint_label || !view.page_type.sells() {
        return Vec::new();
    }
    // "Learn more" in a corner is not the action that the page is about.
    if list("cta_control").is_all_of(&Text::new(&primary.label)) {
        return Vec::new();
    }
    vec![
        Hit::on(
            primary.element,
            format!(
                "\"{}\" has {:.1}:1 against the page, its label {:.1}:1 at {} px",
                primary.label, surface, primary.contrast, primary.size
            ),
        )
        .measured("contrast of the button against the page", surface, Bound::AtLeast, 3.0, ":1"),
    ]
}
