//! How single fields are made: labels, types and help with filling in.

use super::{
    Applies, Hit, Rule, View,
    form::{asks_details, name_of, wording},
    source::{HTML_AUTOFILL, NNG_PLACEHOLDERS, WCAG_INPUT_PURPOSE, WCAG_LABELS},
    view::is_search,
    words::{Text, list},
};
use crate::{
    Category, Severity,
    facts::{Field, Form, LabelSource},
};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "form.unlabelled",
        category: Category::Form,
        severity: Severity::Medium,
        title: "A field has no label",
        why: "Who does not know what a field asks for leaves it, and the form. Screen readers and autofill know even less.",
        recommendation: "Put a visible <label for> above each field.",
        impact: 6,
        effort: 1,
        confidence: 9,
        sources: &[WCAG_LABELS],
        applies: Applies::Everywhere,
        check: unlabelled,
    },
    Rule {
        id: "form.placeholder_as_label",
        category: Category::Form,
        severity: Severity::Medium,
        title: "The placeholder is the only label",
        why: "It goes when typing begins: visitors forget what was asked, cannot check what they typed, and take the grey text for an answer.",
        recommendation: "Put a visible <label> above the field and keep the placeholder for an example, if at all.",
        impact: 6,
        effort: 2,
        confidence: 9,
        sources: &[NNG_PLACEHOLDERS, WCAG_LABELS],
        applies: Applies::Everywhere,
        check: placeholder_as_label,
    },
    Rule {
        id: "form.no_autocomplete",
        category: Category::Form,
        severity: Severity::Low,
        title: "Browsers are not told how to fill the form in",
        why: "Autofill turns a minute of typing on a phone into one tap, and gets fewer letters wrong.",
        recommendation: "Give name, e-mail, phone and address fields their autocomplete tokens, for example autocomplete=\"email\".",
        impact: 4,
        effort: 1,
        confidence: 9,
        sources: &[HTML_AUTOFILL, WCAG_INPUT_PURPOSE],
        applies: Applies::Everywhere,
        check: no_autocomplete,
    },
    Rule {
        id: "form.wrong_input_type",
        category: Category::Form,
        severity: Severity::Medium,
        title: "A field has the wrong type",
        why: "The type decides which keyboard a phone shows and what the browser checks; the wrong one means more taps and more errors.",
        recommendation: "Use type=\"email\", \"tel\", \"url\", \"number\" or \"date\" for what is asked, or the matching inputmode.",
        impact: 4,
        effort: 1,
        confidence: 8,
        sources: &[HTML_AUTOFILL],
        applies: Applies::Everywhere,
        check: wrong_input_type,
    },
];

/// Fields that a visitor types or chooses in.
fn is_entry(field: &Field) -> bool {
    !matches!(field.kind.as_str(), "checkbox" | "radio" | "range" | "color" | "file" | "hidden")
        && !field.disabled
        && !field.read_only
}

fn unlabelled(view: &View<'_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    for form in view.facts.forms.iter().filter(|f| !is_search(f)) {
        let bare: Vec<&Field> =
            form.fields.iter().filter(|f| f.label_source == LabelSource::None && !f.disabled).collect();
        let Some(first) = bare.first() else { continue };
        let names = bare.iter().take(5).map(|f| name_of(f)).collect::<Vec<_>>().join(", ");
        hits.push(
            Hit::on(first.element, format!("{} without a label: {names}", fields(bare.len())))
                .count(total(bare.len(), form))
                .snippet(name_of(first)),
        );
    }
    hits
}

fn placeholder_as_label(view: &View<'_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    for form in view.facts.forms.iter().filter(|f| !is_search(f)) {
        let bare: Vec<&Field> = form
            .fields
            .iter()
            .filter(|f| {
                f.label_source == LabelSource::Placeholder && is_entry(f) && !f.placeholder.is_empty()
            })
            .collect();
        let Some(first) = bare.first() else { continue };
        // One field and a button say enough by themselves, as in a newsletter box.
        let alone = form.fields.iter().filter(|f| is_entry(f)).count() == 1;
        let names =
            bare.iter().take(5).map(|f| format!("\"{}\"", f.placeholder)).collect::<Vec<_>>().join(", ");
        hits.push(
            Hit::on(first.element, format!("{} named only by a placeholder: {names}", fields(bare.len())))
                .count(total(bare.len(), form))
                .snippet(first.placeholder.clone())
                .severity(if alone { Severity::Low } else { Severity::Medium }),
        );
    }
    hits
}

/// The lists that tell what a field is for, with the autocomplete token it should have.
const PURPOSES: [(&str, &str); 5] = [
    ("field_email", "email"),
    ("field_phone", "tel"),
    ("field_name", "name"),
    ("field_company", "organization"),
    ("field_address", "street-address"),
];

/// The autocomplete token that a field should have.
fn purpose(field: &Field) -> Option<&'static str> {
    if !is_entry(field)
        || !matches!(field.tag.as_str(), "input" | "select" | "")
        || list("field_search").is_all_of(&wording(field))
    {
        return None;
    }
    match field.kind.as_str() {
        "email" => return Some("email"),
        "tel" => return Some("tel"),
        "date" | "number" | "search" | "password" => return None,
        _ => {}
    }
    let label = Text::new(if field.label.is_empty() {
        if field.placeholder.is_empty() { &field.nearby } else { &field.placeholder }
    } else {
        &field.label
    });
    let name = Text::new(&super::form::split_words(&field.name));
    PURPOSES
        .iter()
        .find(|(words, _)| {
            (label.word_count() <= 6 && list(words).is_in(&label)) || list(words).is_all_of(&name)
        })
        .map(|(_, token)| *token)
}

fn no_autocomplete(view: &View<'_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    for form in view.facts.forms.iter().filter(|f| asks_details(f)) {
        let bare: Vec<(&Field, &str)> = form
            .fields
            .iter()
            .filter(|f| f.autocomplete.is_empty() || f.autocomplete == "off")
            .filter_map(|f| Some((f, purpose(f)?)))
            .collect();
        let Some((first, token)) = bare.first() else { continue };
        hits.push(
            Hit::on(
                first.element,
                format!(
                    "{} without a token, for example {} should have autocomplete=\"{token}\"",
                    fields(bare.len()),
                    name_of(first)
                ),
            )
            .count(total(bare.len(), form))
            .snippet(name_of(first)),
        );
    }
    hits
}

fn wrong_input_type(view: &View<'_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    for form in view.facts.forms.iter().filter(|f| !is_search(f)) {
        for field in
            form.fields.iter().filter(|f| f.tag == "input" && matches!(f.kind.as_str(), "text" | "number"))
        {
            let Some(wanted) = wanted_type(field) else { continue };
            if field.kind == wanted
                || field.inputmode == wanted
                || (wanted == "number" && matches!(field.inputmode.as_str(), "numeric" | "decimal"))
            {
                continue;
            }
            hits.push(
                Hit::on(
                    field.element,
                    format!("\"{}\" is type=\"{}\", not type=\"{wanted}\"", name_of(field), field.kind),
                )
                .snippet(name_of(field)),
            );
        }
    }
    hits
}

/// The type that a text field should have, when its words leave no doubt.
fn wanted_type(field: &Field) -> Option<&'static str> {
    let label = Text::new(if field.label.is_empty() { &field.placeholder } else { &field.label });
    let name = Text::new(&super::form::split_words(&field.name));
    let means =
        |words: &str| list(words).is_all_of(&name) || (label.word_count() <= 5 && list(words).is_in(&label));
    if means("field_email") {
        Some("email")
    } else if means("field_phone") {
        Some("tel")
    } else if field.kind == "text" && means("field_url") {
        Some("url")
    } else if field.kind == "text" && field.pattern {
        None
    } else if field.kind == "text" && list("field_number").is_all_of(&name) {
        Some("number")
    } else if field.kind == "text" && list("field_date").is_all_of(&label) {
        Some("date")
    } else {
        None
    }
}

fn fields(count: usize) -> String {
    if count == 1 { "one field".to_owned() } else { format!("{count} fields") }
}

fn total(in_form: usize, form: &Form) -> u32 {
    in_form as u32 * form.repeats.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(kind: &str, name: &str, placeholder: &str) -> Field {
        Field {
            tag: "input".into(),
            kind: kind.into(),
            name: name.into(),
            placeholder: placeholder.into(),
            ..Field::default()
        }
    }

    #[test]
    fn the_type_is_told_from_name_label_and_placeholder() {
        assert_eq!(wanted_type(&field("text", "email", "")), Some("email"));
        assert_eq!(wanted_type(&field("text", "f1", "E-mail address *")), Some("email"));
        assert_eq!(wanted_type(&field("text", "userPhone", "Phone")), Some("tel"));
        assert_eq!(wanted_type(&field("number", "x", "Mobile number")), Some("tel"));
        assert_eq!(wanted_type(&field("text", "company", "Company name")), None);
    }

    #[test]
    fn purposes_are_told_for_what_browsers_can_fill_in() {
        assert_eq!(purpose(&field("text", "fname", "")), Some("name"));
        assert_eq!(purpose(&field("text", "city", "City")), Some("street-address"));
        assert_eq!(purpose(&field("text", "message", "Your message")), None);
        assert_eq!(purpose(&field("text", "budget", "Budget")), None);
    }
}
