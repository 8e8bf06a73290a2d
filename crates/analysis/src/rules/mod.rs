//! The catalogue of rules: each states one flaw and how to see it in the facts.
//!
//! A [`Rule`] is an entry of prose (what it costs, what to do, who says so) and a pure function from a
//! view of one screen's facts to what it hit. [`evaluate`] runs the catalogue over both screens. Nothing here
//! touches a page, a clock or chance: equal facts give equal findings in equal order.
//!
//! To add a rule, add its entry to the file of its subject and a page that has the flaw to `tests/pages`.

mod content;
mod contrast;
mod cta;
mod cta_label;
mod form;
mod form_fields;
mod headline;
mod hit;
mod image;
mod mobile;
mod nav;
mod performance;
pub(crate) mod plans;
mod popup;
pub(crate) mod price;
mod pricing;
mod readability;
mod seo;
mod source;
mod trust;
mod view;
pub(crate) mod words;

use std::{cmp::Reverse, fmt};

use crate::{
    Category, Finding, Screen, Severity, Source,
    facts::{Facts, Timing},
    page_type::{PageType, classify},
};

pub(crate) use hit::Hit;
pub(crate) use view::View;

/// One kind of flaw: what it is, what it costs, what to do, and how it is seen.
pub struct Rule {
    /// Stable id, for example `cta.vague_label`.
    pub id: &'static str,
    /// What it is about.
    pub category: Category,
    /// How much it usually costs; a hit may say otherwise from its context.
    pub severity: Severity,
    /// The flaw in a few words.
    pub title: &'static str,
    /// Why it costs conversions.
    pub why: &'static str,
    /// What to do.
    pub recommendation: &'static str,
    /// Expected effect of mending it, 1 to 10.
    pub impact: u8,
    /// Work to mend it, 1 to 10.
    pub effort: u8,
    /// How sure the rule is, 1 to 10.
    pub confidence: u8,
    /// Who says so: title and address.
    pub sources: &'static [source::Reference],
    /// Where it has anything to say.
    applies: Applies,
    check: fn(&View<'_>) -> Vec<Hit>,
}

/// What a rule can judge. A rule that does not apply is not counted as checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Applies {
    Everywhere,
    OnPhones,
    ToProducts,
    ToPlans,
    /// It reads what the page says, and reads English only.
    InEnglish,
    ToProductsInEnglish,
    ToPlansInEnglish,
}

impl Applies {
    fn reads(self) -> bool {
        matches!(self, Self::InEnglish | Self::ToProductsInEnglish | Self::ToPlansInEnglish)
    }

    fn to(self, view: &View<'_>) -> bool {
        let here = match self {
            Self::Everywhere | Self::InEnglish => true,
            Self::OnPhones => view.screen() == Screen::Mobile,
            Self::ToProducts | Self::ToProductsInEnglish => view.page_type == PageType::EcommerceProduct,
            Self::ToPlans | Self::ToPlansInEnglish => view.plans.is_some(),
        };
        here && (!self.reads() || is_english(view.facts))
    }
}

/// A page that does not name its language is read as English.
pub(crate) fn is_english(facts: &Facts) -> bool {
    let lang = facts.page.lang.trim().to_ascii_lowercase();
    lang.is_empty() || lang == "en" || lang.starts_with("en-") || lang.starts_with("en_")
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rule").field("id", &self.id).field("severity", &self.severity).finish_non_exhaustive()
    }
}

impl Rule {
    /// Publications behind the rule.
    pub fn sources(&self) -> Vec<Source> {
        self.sources.iter().copied().map(source::Reference::to_source).collect()
    }

    /// `impact x confidence / effort`, 1 to 100.
    fn priority(impact: u8, confidence: u8, effort: u8) -> u8 {
        let raw = f64::from(impact) * f64::from(confidence) / f64::from(effort.max(1));
        raw.round().clamp(1.0, 100.0) as u8
    }
}

/// Every rule, in the order of their ids.
pub fn catalogue() -> Vec<&'static Rule> {
    let mut rules: Vec<&'static Rule> = [
        content::RULES,
        contrast::RULES,
        cta::RULES,
        cta_label::RULES,
        form::RULES,
        form_fields::RULES,
        headline::RULES,
        image::RULES,
        mobile::RULES,
        nav::RULES,
        performance::RULES,
        popup::RULES,
        price::RULES,
        pricing::RULES,
        seo::RULES,
        trust::RULES,
    ]
    .into_iter()
    .flatten()
    .collect();
    rules.sort_by_key(|rule| rule.id);
    rules
}

/// Judges a page from its facts on both screens.
///
/// A flaw on both screens is two findings with one fingerprint. The order is stable: by severity, then priority, rule,
/// place and screen.
pub fn evaluate(desktop: &Facts, mobile: &Facts) -> Vec<Finding> {
    let page_type = page_type(desktop, mobile);
    let rules = catalogue();
    let mut findings = evaluate_screen(&rules, desktop, page_type);
    findings.extend(evaluate_screen(&rules, mobile, page_type));
    sort(&mut findings);
    findings
}

/// The rules that have something to say about one screen of a page.
pub(crate) fn applied(facts: &Facts, page_type: PageType) -> Vec<&'static Rule> {
    let view = View::new(facts, page_type);
    catalogue().into_iter().filter(|rule| rule.applies.to(&view)).collect()
}

/// Cumulative layout shift of a visit: the worst session window (web.dev/cls).
pub(crate) fn cumulative_layout_shift(timing: &Timing) -> f64 {
    performance::worst_window(timing, 0.0).0
}

/// Judges a page that was looked at on one screen only.
pub fn evaluate_one(facts: &Facts) -> Vec<Finding> {
    let mut findings = evaluate_screen(&catalogue(), facts, classify(facts));
    sort(&mut findings);
    findings
}

/// The kind of page, told from both screens: the desktop decides unless it shows nothing in particular.
pub fn page_type(desktop: &Facts, mobile: &Facts) -> PageType {
    match classify(desktop) {
        PageType::Landing => classify(mobile),
        known => known,
    }
}

fn evaluate_screen(rules: &[&'static Rule], facts: &Facts, page_type: PageType) -> Vec<Finding> {
    let view = View::new(facts, page_type);
    let mut findings: Vec<Finding> = Vec::new();
    for rule in rules.iter().filter(|rule| rule.applies.to(&view)) {
        for hit in (rule.check)(&view) {
            let finding = hit.into_finding(rule, &view);
            // Two hits that name one element for one reason are one finding.
            match findings.iter_mut().find(|f| f.fingerprint == finding.fingerprint) {
                Some(same) => {
                    same.evidence.count = same.evidence.count.saturating_add(finding.evidence.count);
                }
                None => findings.push(finding),
            }
        }
    }
    findings
}

fn sort(findings: &mut [Finding]) {
    findings.sort_by(|a, b| {
        let key = |f: &Finding| (f.severity, Reverse(f.priority));
        key(a)
            .cmp(&key(b))
            .then_with(|| a.rule.cmp(&b.rule))
            .then_with(|| a.selector.cmp(&b.selector))
            .then_with(|| a.viewport.cmp(&b.viewport))
    });
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_rule_of_the_catalogue_is_complete_and_named_once() {
        let rules = catalogue();
        assert_eq!(rules.len(), 54);
        let ids: HashSet<_> = rules.iter().map(|r| r.id).collect();
        assert_eq!(ids.len(), rules.len());
        for rule in rules {
            assert!(
                (1..=10).contains(&rule.impact)
                    && (1..=10).contains(&rule.effort)
                    && (1..=10).contains(&rule.confidence),
                "{}",
                rule.id
            );
            assert!(!rule.sources.is_empty(), "{} has no source", rule.id);
            assert!(rule.why.len() > 40 && rule.recommendation.len() > 20, "{} is terse", rule.id);
        }
    }

    #[test]
    fn nothing_is_found_on_facts_that_could_not_be_read() {
        let nothing = Facts { truncated: true, ..Facts::default() };
        assert!(
            evaluate_one(&nothing).iter().all(|f| f.severity != Severity::High),
            "{:#?}",
            evaluate_one(&nothing)
        );
    }

    #[test]
    fn priority_is_impact_times_confidence_over_effort() {
        assert_eq!(Rule::priority(10, 10, 1), 100);
        assert_eq!(Rule::priority(8, 9, 2), 36);
        assert_eq!(Rule::priority(1, 1, 10), 1);
    }
}
