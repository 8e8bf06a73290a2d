//! From what an analysis hands over to a report: findings cleaned, ordered and numbered.

use std::{borrow::Cow, cmp::Reverse, collections::BTreeMap};

use jiff::Timestamp;

use crate::{Category, Finding, Rect};

use super::{Environment, NotChecked, Report, ReportedFinding, SCHEMA_VERSION, Vitals, score, summary};

/// Characters of a title that are kept: pages make up what rules quote.
const TITLE_CHARS_MAX: usize = 200;
/// Characters of any other text that are kept.
const TEXT_CHARS_MAX: usize = 1000;
/// Characters of a URL that are kept.
const URL_CHARS_MAX: usize = 4000;

/// What an analysis hands over to be reported.
#[derive(Clone, Debug)]
pub struct Analysis {
    /// Identity of the analysis.
    pub id: String,
    /// The URL or file that was asked for.
    pub url: String,
    /// Where the redirects ended.
    pub final_url: String,
    /// The page's title.
    pub title: String,
    /// What kind of page it was taken for.
    pub page_type: String,
    /// When the analysis was made.
    pub generated_at: Timestamp,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// What the page was looked at with.
    pub environment: Environment,
    /// What was found, in any order.
    pub findings: Vec<Finding>,
    /// Loading and responsiveness per screen.
    pub vitals: Vec<Vitals>,
    /// The rules that were applied. A category without one is not judged.
    pub rules: Vec<CheckedRule>,
    /// What was not checked, and why.
    pub not_checked: Vec<NotChecked>,
}

/// A rule that was applied to the page.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CheckedRule {
    /// Its id, for example `cta.vague_label`.
    pub id: Cow<'static, str>,
    /// The category that its findings count for.
    pub category: Category,
}

impl Report {
    /// The report of an analysis, without pictures; [`illustrate`](super::illustrate) adds them.
    ///
    /// The same analysis always gives the same report. Numbers that JSON cannot hold (NaN, infinities) are dropped
    /// from the findings, coordinates are kept to a hundredth of a pixel, and
    /// texts of unreasonable length are cut.
    pub fn new(mut analysis: Analysis) -> Self {
        shorten(&mut analysis.title, TITLE_CHARS_MAX);
        shorten(&mut analysis.page_type, TITLE_CHARS_MAX);
        shorten(&mut analysis.url, URL_CHARS_MAX);
        shorten(&mut analysis.final_url, URL_CHARS_MAX);
        let mut rules = analysis.rules;
        rules.sort_unstable();
        rules.dedup();
        let findings = number(analysis.findings.into_iter().map(cleaned).collect());
        let summary = summary::summarise(&findings);
        let scores = score::score(&findings, &rules);
        let mut rules_checked: Vec<_> = rules.into_iter().map(|rule| rule.id).collect();
        rules_checked.dedup();
        Self {
            schema_version: SCHEMA_VERSION,
            id: analysis.id,
            url: analysis.url,
            final_url: analysis.final_url,
            title: analysis.title,
            page_type: analysis.page_type,
            generated_at: analysis.generated_at,
            duration_ms: analysis.duration_ms,
            environment: analysis.environment,
            summary,
            scores,
            findings,
            vitals: analysis.vitals.into_iter().map(cleaned_vitals).collect(),
            shots: Vec::new(),
            rules_checked,
            not_checked: analysis.not_checked,
        }
    }
}

/// Groups the findings by flaw and numbers the flaws, the most urgent first.
fn number(findings: Vec<Finding>) -> Vec<ReportedFinding> {
    let mut flaws: BTreeMap<(Cow<'static, str>, String), Vec<Finding>> = BTreeMap::new();
    for finding in findings {
        flaws.entry((finding.rule.clone(), finding.fingerprint.clone())).or_default().push(finding);
    }
    let mut flaws: Vec<Vec<Finding>> = flaws.into_values().collect();
    // Stable: flaws of the same urgency stay in the order of their rule and fingerprint.
    flaws.sort_by_key(|flaw| {
        let priority = flaw.iter().map(|finding| finding.priority).max();
        let severity = flaw.iter().map(|finding| finding.severity).min();
        (Reverse(priority), severity)
    });
    let mut numbered = Vec::new();
    for (number, mut flaw) in (1..).zip(flaws) {
        flaw.sort_by(|a, b| a.viewport.cmp(&b.viewport).then_with(|| a.selector.cmp(&b.selector)));
        numbered.extend(flaw.into_iter().map(|finding| ReportedFinding { number, finding, crop: None }));
    }
    numbered
}

/// A finding without numbers that JSON or a picture cannot hold, and with texts of a bounded length.
fn cleaned(mut finding: Finding) -> Finding {
    let evidence = &mut finding.evidence;
    for text in [&mut finding.selector, &mut evidence.statement, &mut evidence.snippet] {
        shorten(text, TEXT_CHARS_MAX);
    }
    for text in [&mut finding.why, &mut finding.recommendation] {
        if text.len() > TEXT_CHARS_MAX {
            shorten(text.to_mut(), TEXT_CHARS_MAX);
        }
    }
    if finding.title.len() > TITLE_CHARS_MAX {
        shorten(finding.title.to_mut(), TITLE_CHARS_MAX);
    }
    finding.rect = finding.rect.and_then(rounded);
    if let Some(measured) = &mut finding.evidence.measured {
        measured.value = hundredths(measured.value);
        measured.threshold = hundredths(measured.threshold);
    }
    finding.evidence.measured =
        finding.evidence.measured.filter(|it| it.value.is_finite() && it.threshold.is_finite());
    finding
}

/// The vitals without numbers that JSON cannot hold.
fn cleaned_vitals(mut vitals: Vitals) -> Vitals {
    let fields = [
        &mut vitals.lcp_ms,
        &mut vitals.cls,
        &mut vitals.fcp_ms,
        &mut vitals.ttfb_ms,
        &mut vitals.tbt_ms,
        &mut vitals.inp_ms,
    ];
    for field in fields {
        *field = field.filter(|value| value.is_finite() && *value >= 0.0);
    }
    vitals
}

/// Cuts a text that is longer than `chars_max` and says so with an ellipsis. Characters that steer a terminal or turn
/// the direction of the text around it are left out: pages make up what is shown.
fn shorten(text: &mut String, chars_max: usize) {
    text.retain(|c| !is_steering(c));
    if let Some((end, _)) = text.char_indices().nth(chars_max) {
        text.truncate(end);
        text.push('…');
    }
}

fn is_steering(c: char) -> bool {
    (c.is_control() && !matches!(c, '\n' | '\t'))
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The rectangle to a hundredth of a pixel, if it is one.
fn rounded(rect: Rect) -> Option<Rect> {
    let finite = [rect.x, rect.y, rect.width, rect.height].iter().all(|side| side.is_finite());
    (finite && rect.width >= 0.0 && rect.height >= 0.0).then(|| Rect {
        x: hundredths(rect.x),
        y: hundredths(rect.y),
        width: hundredths(rect.width),
        height: hundredths(rect.height),
    })
}

/// Rounds to two decimals; adding zero turns a negative zero into a plain one.
fn hundredths(value: f64) -> f64 {
    let scaled = value * 100.0;
    if scaled.is_finite() { scaled.round() / 100.0 + 0.0 } else { value }
}
