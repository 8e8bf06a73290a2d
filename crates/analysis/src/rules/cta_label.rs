//! What calls to action say.

use super::{
    Applies, Hit, Rule, View,
    source::{GOOGLE_PLAYBOOK, LIGHTHOUSE_LINK_TEXT},
    words::{Text, list},
};
use crate::{Category, Severity, page_type::PageType};

pub(super) const RULES: &[Rule] = &[Rule {
    id: "cta.vague_label",
    category: Category::Cta,
    severity: Severity::Medium,
    title: "The button does not say what happens next",
    why: "A label such as \"Submit\" or \"Click here\" names the visitor's work, not what they get for it, and leaves the outcome to guesswork.",
    recommendation: "Write the label as what the visitor gets, beginning with a verb: \"Add to cart\", \"Get my quote\", \"Start my free trial\".",
    impact: 6,
    effort: 1,
    confidence: 8,
    sources: &[GOOGLE_PLAYBOOK, LIGHTHOUSE_LINK_TEXT],
    applies: Applies::InEnglish,
    check: vague_label,
}];

fn vague_label(view: &View<'_>) -> Vec<Hit> {
    let vague = list("cta_vague");
    let is_vague = |label: &str| vague.is_all_of(&Text::new(label));
    let primary_is_clear = view.primary.is_some_and(|p| !is_vague(&p.label));
    let mut labels: Vec<String> = Vec::new();
    let mut hits: Vec<Hit> = Vec::new();
    for action in view.ctas.iter().filter(|a| is_vague(&a.label)) {
        let label = action.label.to_lowercase();
        if labels.contains(&label) {
            continue;
        }
        let same = view.ctas.iter().filter(|a| a.label.to_lowercase() == label).count() as u32;
        labels.push(label.clone());
        let is_primary = view.primary.is_some_and(|p| p.element == action.element);
        let submits = list("cta_submit").is_all_of(&Text::new(&label));
        let severity = match (is_primary, view.page_type) {
            (true, PageType::EcommerceProduct) => Severity::High,
            // Beside a clear main action, "Learn more" is a quiet second choice.
            (false, _) if primary_is_clear && !submits => Severity::Low,
            _ => Severity::Medium,
        };
        hits.push(
            Hit::on(action.element, format!("the label reads \"{}\"", action.label))
                .severity(severity)
                .count(same)
                .distinct(label),
        );
    }
    hits
}
