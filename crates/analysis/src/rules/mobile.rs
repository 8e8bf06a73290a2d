//! Whether the page works on a phone.

use super::{
    Applies, Hit, Rule, View,
    source::{LIGHTHOUSE_VIEWPORT, WCAG_REFLOW, WCAG_TARGET_SIZE},
};
use crate::{Bound, Category, Screen, Severity};

/// Smallest side of a touch target, WCAG 2.2 AA.
const TARGET_MIN_PX: f64 = 24.0;
const FINDINGS_MAX: usize = 8;

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "mobile.no_viewport_meta",
        category: Category::Mobile,
        severity: Severity::High,
        title: "The page is not made for phones",
        why: "Without a viewport meta tag a phone lays the page out 980 px wide and shrinks it until nothing can be read or pressed.",
        recommendation: "Add <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"> and let the layout follow.",
        impact: 9,
        effort: 2,
        confidence: 10,
        sources: &[LIGHTHOUSE_VIEWPORT],
        applies: Applies::OnPhones,
        check: no_viewport_meta,
    },
    Rule {
        id: "mobile.horizontal_scroll",
        category: Category::Mobile,
        severity: Severity::High,
        title: "The page is wider than the screen",
        why: "What lies to the right of the screen is not seen, and a page that slides sideways feels broken.",
        recommendation: "Give the element max-width: 100% in place of a fixed width, and let tables and code scroll inside their own box.",
        impact: 7,
        effort: 2,
        confidence: 9,
        sources: &[WCAG_REFLOW],
        applies: Applies::OnPhones,
        check: horizontal_scroll,
    },
    Rule {
        id: "mobile.tap_target_small",
        category: Category::Mobile,
        severity: Severity::Medium,
        title: "A touch target is too small",
        why: "Fingers need 24 px and room around it; smaller targets close together are missed, and the wrong thing opens.",
        recommendation: "Give each target at least 24 by 24 px, better 44 to 48 px, or more space to its neighbours.",
        impact: 5,
        effort: 2,
        confidence: 9,
        sources: &[WCAG_TARGET_SIZE],
        applies: Applies::OnPhones,
        check: tap_target_small,
    },
];

fn no_viewport_meta(view: &View<'_>) -> Vec<Hit> {
    if view.screen() != Screen::Mobile {
        return Vec::new();
    }
    match view.facts.page.viewport.as_deref() {
        None => vec![Hit::absent("head", "there is no <meta name=\"viewport\">")],
        Some(content) if is_fixed(content) => {
            vec![Hit::absent("head", format!("the viewport is not set to the device: \"{content}\""))]
        }
        Some(_) => Vec::new(),
    }
}

/// A viewport of so many pixels, or none at all, is that of a desktop.
fn is_fixed(content: &str) -> bool {
    let compact: String = content.to_lowercase().chars().filter(|c| !c.is_whitespace()).collect();
    let width = compact.split([',', ';']).find_map(|part| part.strip_prefix("width="));
    match width {
        Some("device-width") => false,
        Some(value) => value.parse::<f64>().is_ok_and(|px| px > 500.0),
        None => !compact.contains("initial-scale"),
    }
}

fn horizontal_scroll(view: &View<'_>) -> Vec<Hit> {
    let overflow = &view.facts.overflow;
    if view.screen() != Screen::Mobile || overflow.clipped {
        return Vec::new();
    }
    let Some(widest) =
        overflow.wide.iter().max_by(|a, b| a.right.max(a.fixed).total_cmp(&b.right.max(b.fixed)))
    else {
        return Vec::new();
    };
    let width = widest.right.max(widest.fixed).max(widest.width);
    if width <= overflow.screen_width + 1.0 {
        return Vec::new();
    }
    vec![
        Hit::on(
            widest.element,
            format!(
                "the element reaches {width} px to the right on a screen of {} px",
                overflow.screen_width
            ),
        )
        .measured("width", width, Bound::AtMost, overflow.screen_width, "px")
        .count(overflow.wide.len() as u32)
        .snippet(""),
    ]
}

fn tap_target_small(view: &View<'_>) -> Vec<Hit> {
    if view.screen() != Screen::Mobile {
        return Vec::new();
    }
    let targets = &view.facts.targets;
    targets
        .crowded
        .iter()
        .take(FINDINGS_MAX)
        .map(|target| {
            Hit::on(
                target.element,
                format!(
                    "\"{}\" measures {} x {} px, with another target too close",
                    target.label, target.width, target.height
                ),
            )
            .measured("smaller side", target.width.min(target.height), Bound::AtLeast, TARGET_MIN_PX, "px")
            .count(target.count)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_viewport_of_the_device_is_made_for_phones() {
        for content in
            ["width=device-width, initial-scale=1", "initial-scale=1", "width = device-width", "width=320"]
        {
            assert!(!is_fixed(content), "{content}");
        }
        for content in ["width=1024", "user-scalable=no", ""] {
            assert!(is_fixed(content), "{content}");
        }
    }
}
