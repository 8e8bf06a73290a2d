//! What covers the page before anything was touched.

use super::{
    Applies, Hit, Rule, View,
    source::{FTC_DARK_PATTERNS, GDPR_CONSENT, GOOGLE_INTERSTITIALS, WCAG_TARGET_SIZE},
    words::{Text, list},
};
use crate::{
    Bound, Category, Screen, Severity,
    facts::{Control, Layer},
};

/// Share of the first screen that may be covered.
const COVER_MAX: f64 = 0.30;
/// Layers smaller than this do not count as stacked.
const STACKED_SHARE_MIN: f64 = 0.03;
const CLOSE_MIN_PX: f64 = 24.0;
/// A close sign this small is meant not to be found.
const CLOSE_TINY_PX: f64 = 16.0;

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "popup.blocks_content",
        category: Category::Popup,
        severity: Severity::High,
        title: "A layer covers the page on arrival",
        why: "Visitors came for the page; what stands before it is closed unread, and some close the tab instead. Search engines rank such pages lower on phones.",
        recommendation: "Show the offer inside the page, or in a small banner after the visitor has read or done something.",
        impact: 9,
        effort: 3,
        confidence: 9,
        sources: &[GOOGLE_INTERSTITIALS],
        applies: Applies::Everywhere,
        check: blocks_content,
    },
    Rule {
        id: "popup.close_too_small",
        category: Category::Popup,
        severity: Severity::High,
        title: "The layer is hard to close",
        why: "A close sign that is tiny or faint traps visitors in front of the page they came for.",
        recommendation: "Make it at least 24 by 24 px, better 44, with a contrast of 4.5:1, and let Escape and a press outside close it too.",
        impact: 7,
        effort: 1,
        confidence: 8,
        sources: &[WCAG_TARGET_SIZE, GOOGLE_INTERSTITIALS],
        applies: Applies::Everywhere,
        check: close_too_small,
    },
    Rule {
        id: "popup.confirmshaming",
        category: Category::Popup,
        severity: Severity::Medium,
        title: "Saying no is made to feel foolish",
        why: "Words that insult who declines may win an address and lose a customer; regulators count them among dark patterns.",
        recommendation: "Let the refusal be plain: \"No thanks\".",
        impact: 5,
        effort: 1,
        confidence: 8,
        sources: &[FTC_DARK_PATTERNS],
        applies: Applies::InEnglish,
        check: confirmshaming,
    },
    Rule {
        id: "popup.cookie_no_reject",
        category: Category::Popup,
        severity: Severity::Medium,
        title: "Cookies can be accepted but not refused",
        why: "Consent that cannot be refused as easily as given is none in the European Union, and visitors notice.",
        recommendation: "Put a \"Reject all\" button of the same size beside \"Accept all\".",
        impact: 5,
        effort: 2,
        confidence: 8,
        sources: &[GDPR_CONSENT],
        applies: Applies::InEnglish,
        check: cookie_no_reject,
    },
    Rule {
        id: "popup.stacked",
        category: Category::Popup,
        severity: Severity::Medium,
        title: "Several layers lie over the page at once",
        why: "Each has to be understood and closed before the page can be used; together they look like a trap.",
        recommendation: "Show at most one layer at a time, the required one first, and the rest after the visitor has acted.",
        impact: 6,
        effort: 3,
        confidence: 8,
        sources: &[GOOGLE_INTERSTITIALS],
        applies: Applies::Everywhere,
        check: stacked,
    },
];

fn blocks_content(view: &View<'_>) -> Vec<Hit> {
    view.popups
        .iter()
        .filter(|l| l.share > COVER_MAX)
        .map(|l| {
            Hit::on(
                l.element,
                format!(
                    "a layer covers {:.0} % of the first screen before anything was touched",
                    l.share * 100.0
                ),
            )
            .measured(
                "share of the screen",
                (l.share * 100.0).round(),
                Bound::AtMost,
                COVER_MAX * 100.0,
                "%",
            )
        })
        .collect()
}

/// Ways out of a layer, the sign first.
fn closers(layer: &Layer) -> Vec<&Control> {
    let signs = list("close");
    layer
        .controls
        .iter()
        .filter(|c| {
            c.interactive
                && (signs.is_all_of(&Text::new(&c.label)) || (c.corner && c.label.chars().count() <= 2))
        })
        .collect()
}

fn close_too_small(view: &View<'_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    for layer in view.popups.iter().filter(|l| l.modal || l.share > 0.1) {
        let ways = closers(layer);
        // The easiest way out is what counts.
        let Some(best) = ways.iter().max_by(|a, b| smaller_side(a).total_cmp(&smaller_side(b))) else {
            continue;
        };
        let side = smaller_side(best);
        if side >= CLOSE_MIN_PX {
            continue;
        }
        let severe = side < CLOSE_TINY_PX || best.contrast < 3.0;
        hits.push(
            Hit::on(
                best.element,
                format!(
                    "the way out, \"{}\", measures {} x {} px with {:.1}:1 contrast",
                    best.label, best.width, best.height, best.contrast
                ),
            )
            .severity(if severe { Severity::High } else { Severity::Medium })
            .measured("smaller side", side, Bound::AtLeast, CLOSE_MIN_PX, "px"),
        );
    }
    hits
}

fn smaller_side(control: &Control) -> f64 {
    control.width.min(control.height)
}

fn confirmshaming(view: &View<'_>) -> Vec<Hit> {
    let shame = list("shame");
    let mut hits = Vec::new();
    for layer in &view.popups {
        for line in &layer.lines {
            let text = Text::new(&line.text);
            if shame.begins(&text) && text.word_count() <= 20 {
                hits.push(Hit::on(line.element, format!("the refusal reads \"{}\"", line.text)));
            }
        }
    }
    for action in view.facts.actions.iter().filter(|a| !view.is_in_popup(a.layer)) {
        let text = Text::new(&action.label);
        if shame.begins(&text) && text.word_count() >= 4 {
            hits.push(Hit::on(action.element, format!("the refusal reads \"{}\"", action.label)));
        }
    }
    hits
}

fn cookie_no_reject(view: &View<'_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    let layers =
        view.facts.layers.iter().filter(|l| !l.holds_page && list("cookie").is_in(&Text::new(&l.text)));
    for layer in layers {
        let labels: Vec<Text> =
            layer.controls.iter().filter(|c| c.interactive).map(|c| Text::new(&c.label)).collect();
        let accepts = labels.iter().any(|l| l.word_count() <= 5 && list("cookie_accept").begins(l));
        let rejects = labels.iter().any(|l| list("cookie_reject").is_in(l));
        // Tick boxes by purpose are a choice too.
        if accepts && !rejects && !layer.navigates {
            hits.push(Hit::on(layer.element, "the banner has a way to accept and none to refuse"));
        }
    }
    hits
}

fn stacked(view: &View<'_>) -> Vec<Hit> {
    let layers: Vec<&&Layer> = view.popups.iter().filter(|l| l.share >= STACKED_SHARE_MIN).collect();
    let covered: f64 = layers.iter().map(|l| l.share).sum();
    // A cookie bar and a chat button on a phone are two, and still small.
    let enough =
        layers.len() >= 3 || (layers.len() == 2 && (covered > COVER_MAX || layers.iter().any(|l| l.modal)));
    let Some(top) = layers
        .iter()
        .enumerate()
        .max_by(|a, b| a.1.z_index.total_cmp(&b.1.z_index).then(a.0.cmp(&b.0)))
        .map(|(_, l)| l)
    else {
        return Vec::new();
    };
    if !enough {
        return Vec::new();
    }
    let screen = if view.screen() == Screen::Mobile { "phone" } else { "first screen" };
    vec![
        Hit::on(
            top.element,
            format!("{} layers lie over the {screen} at once; this is the topmost", layers.len()),
        )
        .measured("layers", layers.len() as f64, Bound::AtMost, 1.0, "")
        .count(layers.len() as u32),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        facts::{ElementIndex, Facts},
        page_type::PageType,
    };

    fn layer(index: u32, share: f64, text: &str, controls: &[(&str, f64)]) -> Layer {
        Layer {
            element: Some(ElementIndex(index)),
            position: "fixed".into(),
            share,
            covers: 1.0,
            text: text.into(),
            controls: controls
                .iter()
                .map(|&(label, side)| Control {
                    label: label.into(),
                    width: side,
                    height: side,
                    contrast: 10.0,
                    interactive: true,
                    ..Control::default()
                })
                .collect(),
            ..Layer::default()
        }
    }

    fn count(check: fn(&View<'_>) -> Vec<Hit>, layers: Vec<Layer>) -> usize {
        let facts = Facts { layers, ..Facts::default() };
        check(&View::new(&facts, PageType::Saas)).len()
    }

    #[test]
    fn only_layers_over_a_third_of_the_screen_block_it() {
        assert_eq!(count(blocks_content, vec![layer(0, 0.29, "hello", &[])]), 0);
        assert_eq!(count(blocks_content, vec![layer(0, 1.0, "hello", &[])]), 1);
        assert_eq!(count(blocks_content, vec![Layer { navigates: true, ..layer(0, 1.0, "menu", &[]) }]), 0);
    }

    #[test]
    fn a_banner_that_can_be_refused_is_fine() {
        let text = "We use cookies";
        assert_eq!(count(cookie_no_reject, vec![layer(0, 0.2, text, &[("Accept all", 40.0)])]), 1);
        assert_eq!(
            count(
                cookie_no_reject,
                vec![layer(0, 0.2, text, &[("Accept all", 40.0), ("Only necessary", 40.0)])]
            ),
            0
        );
        assert_eq!(count(cookie_no_reject, vec![layer(0, 0.2, text, &[("More", 40.0)])]), 0);
    }

    #[test]
    fn one_easy_way_out_is_enough() {
        assert_eq!(count(close_too_small, vec![layer(0, 0.5, "", &[("x", 12.0)])]), 1);
        assert_eq!(count(close_too_small, vec![layer(0, 0.5, "", &[("x", 12.0), ("No thanks", 44.0)])]), 0);
    }
}
