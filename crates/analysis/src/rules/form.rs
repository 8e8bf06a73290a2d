//! What the page asks the visitor to fill in: how much, and on which terms.

use super::{
    Applies, Hit, Rule, View,
    source::{BAYMARD_CHECKOUT, GDPR_CONSENT, LIFT, NNG_RESET},
    view::is_search,
    words::{Text, list},
};
use crate::{
    Bound, Category, Severity,
    facts::{Field, Form},
};

/// Fields beyond this cost completions; a whole checkout can do with eight.
const FIELDS_MAX: usize = 8;
/// From here on the form itself is the obstacle.
const FIELDS_FAR_TOO_MANY: usize = 12;

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "form.too_many_fields",
        category: Category::Form,
        severity: Severity::Medium,
        title: "The form asks for too much",
        why: "Every field is work and a question about trust. Long or complicated forms are a leading reason for leaving.",
        recommendation: "Ask only what the next step needs, at most eight fields; ask the rest later or look it up.",
        impact: 8,
        effort: 4,
        confidence: 8,
        sources: &[BAYMARD_CHECKOUT],
        applies: Applies::Everywhere,
        check: too_many_fields,
    },
    Rule {
        id: "form.asks_phone",
        category: Category::Form,
        severity: Severity::Medium,
        title: "The form asks for a phone number",
        why: "Many visitors will not give their number before they know what they get; they expect sales calls.",
        recommendation: "Leave it out, or make it optional and say what it is used for.",
        impact: 5,
        effort: 1,
        confidence: 7,
        sources: &[BAYMARD_CHECKOUT, LIFT],
        applies: Applies::InEnglish,
        check: asks_phone,
    },
    Rule {
        id: "form.prechecked_consent",
        category: Category::Form,
        severity: Severity::High,
        title: "Consent is ticked in advance",
        why: "A box the visitor did not tick is no consent in the European Union and reads as a trick everywhere.",
        recommendation: "Leave the box empty and say in one line what ticking it brings.",
        impact: 7,
        effort: 1,
        confidence: 9,
        sources: &[GDPR_CONSENT],
        applies: Applies::InEnglish,
        check: prechecked_consent,
    },
    Rule {
        id: "form.reset_button",
        category: Category::Form,
        severity: Severity::Low,
        title: "A button empties the form",
        why: "Next to the submit button it is pressed by mistake, and few people fill in a form twice.",
        recommendation: "Remove the reset button.",
        impact: 4,
        effort: 1,
        confidence: 9,
        sources: &[NNG_RESET],
        applies: Applies::Everywhere,
        check: reset_button,
    },
];

/// Everything a field says about itself, as one text.
pub(super) fn wording(field: &Field) -> Text {
    let name = split_words(&field.name);
    Text::new(&format!(
        "{}. {}. {}. {name}",
        field.label,
        field.placeholder,
        if field.label.is_empty() { field.nearby.as_str() } else { "" }
    ))
}

/// `firstName`, `first_name` and `contact[first-name]` as words.
pub(super) fn split_words(name: &str) -> String {
    let mut words = String::with_capacity(name.len() + 4);
    let mut before = ' ';
    for c in name.chars() {
        if c.is_uppercase() && before.is_lowercase() {
            words.push(' ');
        }
        words.push(if c.is_alphanumeric() { c } else { ' ' });
        before = c;
    }
    words
}

/// Fields of a form that are for the visitor's own details: not a search, not options of a product.
pub(super) fn asks_details(form: &Form) -> bool {
    !is_search(form) && form.fields.iter().any(is_personal)
}

fn is_personal(field: &Field) -> bool {
    let text = wording(field);
    matches!(field.kind.as_str(), "email" | "tel")
        || ["field_email", "field_phone", "field_name", "field_address", "field_company"]
            .iter()
            .any(|l| list(l).is_in(&text))
}

/// What a visitor counts: a group of radio buttons is one question, a tick box is half of none.
fn count_fields(form: &Form) -> usize {
    let mut groups: Vec<&str> = Vec::new();
    let mut count = 0;
    for field in &form.fields {
        match field.kind.as_str() {
            "checkbox" => {}
            "radio" if groups.contains(&field.group.as_str()) => {}
            "radio" => {
                groups.push(&field.group);
                count += 1;
            }
            _ if field.read_only || field.disabled => {}
            _ => count += 1,
        }
    }
    count
}

fn too_many_fields(view: &View<'_>) -> Vec<Hit> {
    view.facts
        .forms
        .iter()
        .filter(|f| asks_details(f))
        .filter_map(|form| {
            let count = count_fields(form);
            (count > FIELDS_MAX).then(|| {
                let severity = if count >= FIELDS_FAR_TOO_MANY { Severity::High } else { Severity::Medium };
                let required = form.fields.iter().filter(|f| f.required).count();
                Hit::on(form.element, format!("the form has {count} fields, {required} of them required"))
                    .severity(severity)
                    .measured("fields", count as f64, Bound::AtMost, FIELDS_MAX as f64, "")
                    .snippet("")
            })
        })
        .collect()
}

fn asks_phone(view: &View<'_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    for form in view.facts.forms.iter().filter(|f| asks_details(f) && !is_checkout(f)) {
        for field in &form.fields {
            let text = wording(field);
            let phone = field.kind == "tel"
                || (matches!(field.kind.as_str(), "text" | "number") && list("field_phone").is_in(&text));
            if !phone || list("optional").is_in(&text) || list("optional").is_in(&Text::new(&field.nearby)) {
                continue;
            }
            let (severity, how) =
                if field.required { (Severity::Medium, "requires") } else { (Severity::Medium, "asks for") };
            hits.push(
                Hit::on(field.element, format!("the form {how} a phone number"))
                    .severity(severity)
                    .snippet(name_of(field)),
            );
            break;
        }
    }
    hits
}

/// Delivery needs a number to call; enquiry does not.
fn is_checkout(form: &Form) -> bool {
    form.fields.iter().any(|f| list("field_card").is_in(&wording(f)) || f.autocomplete.starts_with("cc-"))
}

fn prechecked_consent(view: &View<'_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    for field in view.facts.forms.iter().filter(|f| !is_search(f)).flat_map(|f| &f.fields) {
        let text = Text::new(&format!("{}. {}. {}", field.label, field.nearby, split_words(&field.name)));
        if field.kind == "checkbox" && field.checked && !field.disabled && list("consent").is_in(&text) {
            let says = if field.label.is_empty() { &field.nearby } else { &field.label };
            hits.push(
                Hit::on(
                    field.element,
                    format!("the box \"{says}\" is ticked before the visitor has decided"),
                )
                .snippet(says.clone()),
            );
        }
    }
    hits
}

fn reset_button(view: &View<'_>) -> Vec<Hit> {
    view.facts
        .forms
        .iter()
        .filter(|f| !is_search(f))
        .flat_map(|f| &f.resets)
        .map(|reset| Hit::on(reset.element, format!("\"{}\" empties every field at one press", reset.label)))
        .collect()
}

/// The best name of a field for a reader.
pub(super) fn name_of(field: &Field) -> String {
    [&field.label, &field.placeholder, &field.name]
        .into_iter()
        .find(|s| !s.is_empty())
        .cloned()
        .unwrap_or_else(|| field.kind.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_fields_are_read_as_words() {
        assert_eq!(split_words("firstName"), "first Name");
        assert_eq!(split_words("contact[e-mail]"), "contact e mail ");
    }

    #[test]
    fn a_group_of_radio_buttons_counts_once_and_tick_boxes_not_at_all() {
        let field =
            |kind: &str, group: &str| Field { kind: kind.into(), group: group.into(), ..Field::default() };
        let form = Form {
            fields: vec![
                field("radio", "size"),
                field("radio", "size"),
                field("checkbox", ""),
                field("text", ""),
            ],
            ..Form::default()
        };
        assert_eq!(count_fields(&form), 2);
    }
}
