//! Whether text can be read against what is behind it.

use super::{
    Applies, Hit, Rule, View,
    source::{LIGHTHOUSE_FONT_SIZE, WCAG_CONTRAST},
};
use crate::{Bound, Category, Severity, facts::TextStyle};

/// Text of 24 px, or bold text of 18.66 px, needs less contrast.
const LARGE_PX: f64 = 24.0;
const LARGE_BOLD_PX: f64 = 18.66;
/// Text smaller than this is hard to read on any screen.
const SIZE_MIN_PX: f64 = 12.0;
/// Shorter text is a mark, a badge or a sign, not something to read.
const SMALL_TEXT_CHARS_MIN: u32 = 15;
const FINDINGS_MAX: usize = 12;

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "contrast.low",
        category: Category::Contrast,
        severity: Severity::Medium,
        title: "Text is too faint to read",
        why: "Low contrast is read by fewer people, in less light, with more effort; text that matters for the decision is skipped.",
        recommendation: "Darken the text or lighten what is behind it until the ratio is at least 4.5:1 (3:1 for text of 24 px, or bold of 18.66 px).",
        impact: 6,
        effort: 1,
        confidence: 9,
        sources: &[WCAG_CONTRAST],
        applies: Applies::Everywhere,
        check: low,
    },
    Rule {
        id: "text.too_small",
        category: Category::Contrast,
        severity: Severity::Medium,
        title: "Text is too small to read",
        why: "Text under 12 px makes visitors pinch, lean in or give up; on a phone it is the first sign of a page not made for it.",
        recommendation: "Set running text at 16 px and nothing that should be read under 12 px.",
        impact: 5,
        effort: 1,
        confidence: 8,
        sources: &[LIGHTHOUSE_FONT_SIZE],
        applies: Applies::Everywhere,
        check: too_small,
    },
];

/// The contrast that WCAG 2.2 AA asks of a text.
fn required(style: &TextStyle) -> f64 {
    let large = style.size >= LARGE_PX || (style.size >= LARGE_BOLD_PX && style.weight >= 700.0);
    if large { 3.0 } else { 4.5 }
}

fn low(view: &View<'_>) -> Vec<Hit> {
    let mut flaws: Vec<(&TextStyle, u32)> = Vec::new();
    for style in view.facts.styles.iter().filter(|s| is_faint(s)) {
        // One pair of colours is one flaw, except on an element that has a name of its own.
        let named = view
            .element(style.element)
            .is_some_and(|e| e.selector.starts_with('#') && !e.selector.contains(' '));
        let same = flaws.iter_mut().find(|(other, _)| {
            other.colour == style.colour
                && other.background == style.background
                && required(other).total_cmp(&required(style)).is_eq()
        });
        match same {
            Some((_, count)) if !named => *count += style.count,
            _ => flaws.push((style, style.count)),
        }
    }
    flaws.truncate(FINDINGS_MAX);
    flaws
        .into_iter()
        .map(|(style, count)| {
            let required = required(style);
            Hit::on(
                style.element,
                format!(
                    "{} on {} is {:.2}:1 at {} px",
                    style.colour, style.background, style.contrast, style.size
                ),
            )
            .severity(severity(style))
            .measured("contrast ratio", style.contrast, Bound::AtLeast, required, ":1")
            .count(count)
        })
        .collect()
}

fn is_faint(style: &TextStyle) -> bool {
    let exempt = style.background_unsure
        || style.disabled
        || style.hidden.is_some()
        || style.hidden_from_readers
        || !is_text(&style.text);
    // A ratio is rounded to two digits: 4.5 as it stands is enough.
    !exempt && style.contrast < required(style) - 0.005
}

/// Under two thirds of what is required few can read it; a quiet line in the footer costs less than the offer.
fn severity(style: &TextStyle) -> Severity {
    let unreadable = style.contrast < required(style) * 2.0 / 3.0;
    if unreadable && !(style.region == "footer" && style.contrast > 2.0) {
        Severity::High
    } else {
        Severity::Medium
    }
}

/// Signs and single letters are decoration more often than text.
fn is_text(text: &str) -> bool {
    text.chars().filter(|c| c.is_alphanumeric()).count() >= 2
}

fn too_small(view: &View<'_>) -> Vec<Hit> {
    let mut hits: Vec<Hit> = Vec::new();
    for style in &view.facts.styles {
        let chars = style.text.chars().count() as u32;
        let readable = style.hidden.is_none() && !style.hidden_from_readers && !style.disabled;
        if !readable
            || style.size >= SIZE_MIN_PX - 0.05
            || style.size < 3.0
            || chars < SMALL_TEXT_CHARS_MIN
            || hits.len() >= FINDINGS_MAX
        {
            continue;
        }
        let severity = if style.region == "footer" { Severity::Low } else { Severity::Medium };
        hits.push(
            Hit::on(style.element, format!("{} characters are set at {} px", style.chars, style.size))
                .severity(severity)
                .measured("font size", style.size, Bound::AtLeast, SIZE_MIN_PX, "px")
                .count(style.count),
        );
    }
    hits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{facts::Facts, page_type::PageType};

    fn hits(style: TextStyle) -> usize {
        let facts = Facts {
            styles: vec![TextStyle { text: "Some text to read".into(), ..style }],
            ..Facts::default()
        };
        low(&View::new(&facts, PageType::Saas)).len()
    }

    #[test]
    fn the_threshold_depends_on_size_and_weight() {
        let style = |size, weight, contrast| TextStyle { contrast, size, weight, ..TextStyle::default() };
        assert_eq!(hits(style(16.0, 400.0, 4.49)), 1);
        assert_eq!(hits(style(16.0, 400.0, 4.5)), 0);
        assert_eq!(hits(style(24.0, 400.0, 3.1)), 0);
        assert_eq!(hits(style(19.0, 700.0, 3.1)), 0);
        assert_eq!(hits(style(19.0, 400.0, 3.1)), 1);
    }

    #[test]
    fn disabled_uncertain_and_hidden_text_is_exempt() {
        let faint = TextStyle { size: 16.0, weight: 400.0, contrast: 1.5, ..TextStyle::default() };
        assert_eq!(hits(faint.clone()), 1);
        assert_eq!(hits(TextStyle { disabled: true, ..faint.clone() }), 0);
        assert_eq!(hits(TextStyle { background_unsure: true, ..faint.clone() }), 0);
        assert_eq!(hits(TextStyle { hidden: Some(crate::facts::Hiding::SameColour), ..faint }), 0);
    }
}
