//! How well a page does: start at 100, take off for every flaw, show each deduction.

use std::{borrow::Cow, collections::HashMap};

use crate::{Category, Severity};

use super::{CategoryScore, CheckedRule, Deduction, ReportedFinding, Scores, summary};

/// How the numbers come about, as the report says it.
const METHOD: &str = "Each category starts at 100. A flaw takes off 40 points if its severity is high, 20 if medium \
    and 5 if low, multiplied by how sure the rule is (confidence 9 of 10 counts nine tenths). A flaw seen on several \
    screens counts once, and each further flaw of the same rule counts half of the one before. A category never falls \
    below 0, and one without an applied rule has no score. The overall score lies halfway between the mean of the \
    scored categories, weighted by how directly each bears on the visitor's decision, and the lowest of them: a page \
    is only as good as what stops its visitors.";

/// The categories in the order of the report, with their weights in the overall score.
pub(super) const CATEGORIES: [(Category, u8); 12] = [
    (Category::Headline, 2),
    (Category::Cta, 4),
    (Category::Form, 3),
    (Category::Trust, 3),
    (Category::Price, 3),
    (Category::Popup, 2),
    (Category::Contrast, 2),
    (Category::Navigation, 1),
    (Category::Mobile, 2),
    (Category::Performance, 2),
    (Category::Seo, 1),
    (Category::Content, 1),
];

/// Scores the numbered findings of a page to which `rules` were applied.
pub(super) fn score(findings: &[ReportedFinding], rules: &[CheckedRule]) -> Scores {
    let mut deductions: HashMap<Category, Vec<Deduction>> = HashMap::new();
    let mut seen: HashMap<&str, i32> = HashMap::new();
    for flaw in summary::flaws(findings) {
        let finding = flaw.lead();
        let earlier = seen.entry(&finding.rule).or_default();
        let share = 0.5_f64.powi(*earlier);
        *earlier += 1;
        let points = base(flaw.severity()) * f64::from(finding.confidence.min(10)) / 10.0 * share;
        deductions.entry(finding.category).or_default().push(Deduction {
            number: flaw.number,
            rule: finding.rule.clone(),
            fingerprint: finding.fingerprint.clone(),
            title: finding.title.clone(),
            severity: flaw.severity(),
            confidence: finding.confidence,
            share,
            points: (points * 10.0).round() / 10.0,
        });
    }
    let categories: Vec<CategoryScore> = CATEGORIES
        .into_iter()
        .map(|(category, weight)| {
            let rules = rules.iter().filter(|rule| rule.category == category).count() as u32;
            let deductions = deductions.remove(&category).unwrap_or_default();
            let judged = rules > 0 || !deductions.is_empty();
            let lost: f64 = deductions.iter().map(|deduction| deduction.points).sum();
            // 100 says that nothing was found: the least deduction must show.
            let most = if deductions.is_empty() { 100.0 } else { 99.0 };
            let score = judged.then(|| (100.0 - lost).round().clamp(0.0, most) as u8);
            CategoryScore { category, score, weight, rules, deductions }
        })
        .collect();
    Scores { overall: overall(&categories), method: Cow::Borrowed(METHOD), categories }
}

/// Points that a certain flaw of this severity takes off.
fn base(severity: Severity) -> f64 {
    match severity {
        Severity::High => 40.0,
        Severity::Medium => 20.0,
        Severity::Low => 5.0,
    }
}

fn overall(categories: &[CategoryScore]) -> Option<u8> {
    let judged = || categories.iter().filter_map(|it| Some((u32::from(it.score?), u32::from(it.weight))));
    let lowest = judged().map(|(score, _)| score).min()?;
    let weights: u32 = judged().map(|(_, weight)| weight).sum();
    let total: u32 = judged().map(|(score, weight)| score * weight).sum();
    let mean = f64::from(total) / f64::from(weights.max(1));
    Some(f64::midpoint(mean, f64::from(lowest)).round() as u8)
}
