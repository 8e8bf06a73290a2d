//! What copy and media do to the reader, and what the page hides from them.

use super::{
    Applies, Hit, Rule, View, readability,
    source::{GOOGLE_SPAM, KINCAID, LIFT, OWASP_INJECTION, WCAG_PAUSE},
    words::{Text, list},
};
use crate::{
    Bound, Category, Severity,
    facts::{HiddenText, Hiding},
};

/// School grade above which copy is hard; general audiences are written for at 8 to 10.
const GRADE_MAX: f64 = 14.0;
const HARD_WORDS_MIN: u32 = 14;
/// Fewer hidden words are an icon's name or a leftover.
const HIDDEN_WORDS_MIN: usize = 4;
const OFF_SCREEN_WORDS_MIN: usize = 12;

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "content.hidden_text",
        category: Category::Content,
        severity: Severity::High,
        title: "Text is hidden from visitors",
        why: "Text that people cannot see but machines read is treated as spam by search engines and, when it instructs AI models, as an attack; either costs reach and trust.",
        recommendation: "Remove it, or show it to visitors. Check how it came there: it may have been put in by someone else.",
        impact: 7,
        effort: 2,
        confidence: 8,
        sources: &[OWASP_INJECTION, GOOGLE_SPAM],
        applies: Applies::Everywhere,
        check: hidden_text,
    },
    Rule {
        id: "copy.hard_to_read",
        category: Category::Content,
        severity: Severity::Medium,
        title: "The copy is hard to read",
        why: "Long sentences of long words are skimmed and not understood; what the visitor does not understand they do not buy.",
        recommendation: "Write sentences of at most 20 words in the words customers use; aim at a school grade of 8 to 10.",
        impact: 5,
        effort: 3,
        confidence: 7,
        sources: &[KINCAID, LIFT],
        applies: Applies::InEnglish,
        check: hard_to_read,
    },
    Rule {
        id: "media.autoplay",
        category: Category::Content,
        severity: Severity::Low,
        title: "Media plays by itself",
        why: "Movement and sound that nobody asked for draw attention from the offer, cost data, and make visitors close the tab.",
        recommendation: "Let visitors start it; at the least mute it, show controls, and stop it within five seconds.",
        impact: 3,
        effort: 1,
        confidence: 8,
        sources: &[WCAG_PAUSE],
        applies: Applies::Everywhere,
        check: autoplay,
    },
];

fn hidden_text(view: &View<'_>) -> Vec<Hit> {
    let (addresses, orders) = (list("machine_address"), list("machine_order"));
    let mut hits = Vec::new();
    for hidden in &view.facts.hidden {
        let text = Text::new(&hidden.text);
        // Text that is merely not shown yet (menus, answers, descriptions of pictures) may speak of AI; only orders count.
        let common = matches!(hidden.how, Hiding::NotRendered | Hiding::Attribute | Hiding::Comment);
        let addressed = orders.is_in(&text) || (!common && addresses.is_in(&text));
        let to_machines = addressed && text.word_count() >= HIDDEN_WORDS_MIN;
        let Some(severity) = severity_of(hidden, to_machines, text.word_count()) else { continue };
        let how = describe(hidden.how);
        let statement = if to_machines {
            format!("{how}, and speaks to AI models: \"{}\"", shorten(&hidden.text))
        } else {
            format!("{how}: \"{}\"", shorten(&hidden.text))
        };
        let mut hit = Hit::on(hidden.element, statement)
            .snippet(shorten(&hidden.text))
            .severity(severity)
            .distinct(format!("{:?}", hidden.how));
        if to_machines {
            hit = hit.title("Hidden text gives instructions to AI models").confidence(9);
        }
        hits.push(hit);
    }
    hits
}

/// How much a hidden text matters; `None` when hiding it is common practice.
fn severity_of(hidden: &HiddenText, to_machines: bool, words: usize) -> Option<Severity> {
    if to_machines {
        return Some(Severity::High);
    }
    if hidden.interactive {
        return None;
    }
    match hidden.how {
        Hiding::Tiny | Hiding::SameColour if words >= HIDDEN_WORDS_MIN => Some(Severity::Medium),
        Hiding::OffScreen if words >= OFF_SCREEN_WORDS_MIN => Some(Severity::Medium),
        _ => None,
    }
}

fn describe(how: Hiding) -> &'static str {
    match how {
        Hiding::Tiny => "the text is set smaller than 3 px",
        Hiding::OffScreen => "the text is placed outside of the page",
        Hiding::Clipped => "the text is cut to nothing",
        Hiding::SameColour => "the text has the colour of its background",
        Hiding::NotRendered => "the text is not rendered",
        Hiding::Comment => "an HTML comment holds text",
        Hiding::Attribute => "an attribute holds text",
        Hiding::Other => "the text cannot be seen",
    }
}

fn shorten(text: &str) -> String {
    let cut: String = text.chars().take(160).collect();
    if cut.len() < text.len() { format!("{}…", cut.trim_end()) } else { cut }
}

fn hard_to_read(view: &View<'_>) -> Vec<Hit> {
    let deep = view.facts.viewport.fold * 2.0;
    let mut hits = Vec::new();
    for block in view.copy().filter(|b| b.heading == 0 && b.size >= 14.0 && !b.quote && b.rect.y < deep) {
        let Some(measure) = readability::measure(&block.text) else { continue };
        if measure.words < HARD_WORDS_MIN
            || measure.grade < GRADE_MAX
            || is_filler(&block.text)
            || !is_prose(&block.text)
        {
            continue;
        }
        hits.push(
            Hit::on(
                block.element,
                format!(
                    "{} words at school grade {:.0}, reading ease {:.0}",
                    measure.words, measure.grade, measure.ease
                ),
            )
            .measured("Flesch-Kincaid grade", measure.grade, Bound::AtMost, 10.0, ""),
        );
    }
    hits.truncate(3);
    hits
}

/// Latin that stands in for copy is not hard English.
fn is_filler(text: &str) -> bool {
    let lower = text.to_lowercase();
    ["lorem ipsum", "dolor sit", "consectetur", "adipisicing", "asperiores", "quisquam"]
        .iter()
        .any(|w| lower.contains(w))
}

/// Lists of names and figures have no sentences to judge.
fn is_prose(text: &str) -> bool {
    let words: Vec<&str> = text.split_whitespace().collect();
    let plain = words.iter().filter(|w| w.chars().next().is_some_and(char::is_lowercase)).count();
    let commas = text.matches(',').count() + text.matches('/').count();
    plain * 2 > words.len() && commas * 3 < words.len()
}

fn autoplay(view: &View<'_>) -> Vec<Hit> {
    view.facts
        .media
        .iter()
        .filter(|m| !(m.muted && m.controls))
        .map(|m| {
            let sound = if m.muted { "without controls" } else { "with sound" };
            Hit::on(m.element, format!("a <{}> starts by itself {sound}", m.tag))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden(how: Hiding, interactive: bool) -> HiddenText {
        HiddenText { element: None, how, text: String::new(), interactive }
    }

    #[test]
    fn text_for_screen_readers_is_no_flaw_unless_it_speaks_to_models() {
        assert_eq!(severity_of(&hidden(Hiding::Clipped, false), false, 30), None);
        assert_eq!(severity_of(&hidden(Hiding::NotRendered, false), false, 300), None);
        assert_eq!(severity_of(&hidden(Hiding::Clipped, true), true, 10), Some(Severity::High));
        assert_eq!(severity_of(&hidden(Hiding::SameColour, false), false, 10), Some(Severity::Medium));
    }

    #[test]
    fn lists_of_names_are_not_prose() {
        assert!(!is_prose("Northwind, Contoso, Fabrikam, Tailspin, Adatum"));
        assert!(is_prose("We send the reminders for you and reconcile your books every hour."));
    }
}
