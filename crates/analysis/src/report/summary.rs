//! The findings in brief: flaws over screens, counts, and what to mend first.

use std::{collections::HashSet, fmt::Write as _};

use crate::{Finding, Screen, Severity};

use super::{QuickWin, Report, ReportedFinding, Summary, wording};

/// Quick wins named at most.
const QUICK_WINS_MAX: usize = 3;
/// Impact from which mending a flaw is a win.
const QUICK_WIN_IMPACT_MIN: u8 = 6;
/// Effort up to which it is quick.
const QUICK_WIN_EFFORT_MAX: u8 = 4;

/// One flaw of the page with its findings, one or more per screen that it was seen on.
#[derive(Clone, Copy, Debug)]
pub struct Flaw<'a> {
    /// Its number in the report, from 1.
    pub number: u32,
    /// Its findings, desktop first; never empty.
    pub findings: &'a [ReportedFinding],
}

impl<'a> Flaw<'a> {
    /// The finding that speaks for the flaw: the most urgent one.
    pub fn lead(&self) -> &'a Finding {
        let mut lead = &self.findings[0].finding;
        for ReportedFinding { finding, .. } in self.findings {
            if (finding.priority, lead.severity) > (lead.priority, finding.severity) {
                lead = finding;
            }
        }
        lead
    }

    /// The worst severity over the screens.
    pub fn severity(&self) -> Severity {
        self.findings.iter().map(|it| it.finding.severity).min().unwrap_or(Severity::Low)
    }

    /// The highest priority over the screens.
    pub fn priority(&self) -> u8 {
        self.findings.iter().map(|it| it.finding.priority).max().unwrap_or(0)
    }

    /// The screens that it was seen on, each once.
    pub fn screens(&self) -> Vec<Screen> {
        let mut screens: Vec<_> = self.findings.iter().map(|it| it.finding.viewport).collect();
        screens.sort_unstable();
        screens.dedup();
        screens
    }
}

impl Report {
    /// The flaws of the page, the most urgent first.
    pub fn flaws(&self) -> impl Iterator<Item = Flaw<'_>> {
        flaws(&self.findings)
    }
}

/// The flaws among numbered findings.
pub(super) fn flaws(findings: &[ReportedFinding]) -> impl Iterator<Item = Flaw<'_>> {
    findings
        .chunk_by(|a, b| a.number == b.number)
        .map(|group| Flaw { number: group[0].number, findings: group })
}

/// Counts the flaws and picks the quick wins.
pub(super) fn summarise(findings: &[ReportedFinding]) -> Summary {
    let mut summary = Summary::default();
    for flaw in flaws(findings) {
        summary.flaws += 1;
        match flaw.severity() {
            Severity::High => summary.high += 1,
            Severity::Medium => summary.medium += 1,
            Severity::Low => summary.low += 1,
        }
    }
    // Flaws come by priority, so the first that qualify are the most rewarding; a rule is named once.
    let mut rules = HashSet::new();
    summary.quick_wins = flaws(findings)
        .filter(|flaw| {
            flaw.lead().impact >= QUICK_WIN_IMPACT_MIN && flaw.lead().effort <= QUICK_WIN_EFFORT_MAX
        })
        .filter(|flaw| rules.insert(flaw.lead().rule.as_ref()))
        .take(QUICK_WINS_MAX)
        .map(|flaw| {
            let finding = flaw.lead();
            QuickWin {
                number: flaw.number,
                rule: finding.rule.clone(),
                fingerprint: finding.fingerprint.clone(),
                title: finding.title.clone(),
                recommendation: finding.recommendation.clone(),
                impact: finding.impact,
                effort: finding.effort,
            }
        })
        .collect();
    summary
}

/// The outcome in two or three sentences.
pub(super) fn verdict(report: &Report) -> String {
    let Summary { flaws, high, .. } = report.summary;
    let rules = wording::count(report.rules_checked.len(), "rule");
    if flaws == 0 {
        return format!("None of the {rules} that were applied found a flaw.");
    }
    let mut text = format!("{} found by {rules}", wording::count(flaws as usize, "flaw"));
    // Writing to a string cannot fail.
    let _ = match high {
        0 => write!(text, ", none of them serious."),
        _ if flaws == 1 => write!(text, ", and it is serious."),
        1 => write!(text, ", one of them serious."),
        high if high == flaws => write!(text, ", all of them serious."),
        high => write!(text, ", {high} of them serious."),
    };
    let mut weakest: Vec<_> = report
        .scores
        .categories
        .iter()
        .filter_map(|it| Some((it.score?, std::cmp::Reverse(it.weight), it.category)))
        .filter(|(score, ..)| *score < 80)
        .collect();
    weakest.sort_unstable();
    let name = |(score, _, category): &(u8, _, _)| format!("{} at {score}", wording::category(*category));
    let weakest: Vec<String> = weakest.iter().take(2).map(name).collect();
    if !weakest.is_empty() {
        let _ = write!(text, " Weakest: {} of 100.", weakest.join(", "));
    }
    text
}
