//! What a check reports, and how it becomes a finding.

use std::borrow::Cow;

use super::{Rule, View};
use crate::{Bound, Evidence, Finding, Measured, Rect, Severity, facts::ElementIndex};

/// One flaw seen by a check: the element, the fact, and where it departs from its rule's entry.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hit {
    element: Option<ElementIndex>,
    selector: Option<String>,
    statement: String,
    snippet: Option<String>,
    measured: Option<Measured>,
    severity: Option<Severity>,
    count: u32,
    title: Option<Cow<'static, str>>,
    confidence: Option<u8>,
    distinct: String,
}

impl Hit {
    /// A flaw of an element.
    pub(crate) fn on(element: Option<ElementIndex>, statement: impl Into<String>) -> Self {
        Self { element, statement: statement.into(), count: 1, ..Self::default() }
    }

    /// Something absent, named by where it would stand.
    pub(crate) fn absent(selector: impl Into<String>, statement: impl Into<String>) -> Self {
        Self { selector: Some(selector.into()), statement: statement.into(), count: 1, ..Self::default() }
    }

    /// How much it costs here, if not as usual.
    pub(crate) fn severity(mut self, severity: Severity) -> Self {
        self.severity = Some(severity);
        self
    }

    /// The number behind it.
    pub(crate) fn measured(
        mut self,
        name: &'static str,
        value: f64,
        bound: Bound,
        threshold: f64,
        unit: &'static str,
    ) -> Self {
        let value = (value * 100.0).round() / 100.0;
        self.measured = Some(Measured { name: name.into(), value, threshold, bound, unit: unit.into() });
        self
    }

    /// How many elements have the flaw.
    pub(crate) fn count(mut self, count: u32) -> Self {
        self.count = count.max(1);
        self
    }

    /// The text to quote, if not the element's own.
    pub(crate) fn snippet(mut self, snippet: impl Into<String>) -> Self {
        self.snippet = Some(snippet.into());
        self
    }

    /// A title that fits this case better than the rule's.
    pub(crate) fn title(mut self, title: impl Into<Cow<'static, str>>) -> Self {
        self.title = Some(title.into());
        self
    }

    /// How sure it is here, if not as usual.
    pub(crate) fn confidence(mut self, confidence: u8) -> Self {
        self.confidence = Some(confidence);
        self
    }

    /// What tells it from another flaw of the same rule and element.
    pub(crate) fn distinct(mut self, by: impl Into<String>) -> Self {
        self.distinct = by.into();
        self
    }

    /// The finding of this hit.
    pub(crate) fn into_finding(self, rule: &'static Rule, view: &View<'_>) -> Finding {
        let element = view.element(self.element);
        let selector = self
            .selector
            .unwrap_or_else(|| element.map_or_else(|| "body".to_owned(), |e| e.selector.clone()));
        let place = element.map_or_else(|| selector.clone(), |e| e.path.clone());
        let confidence = self.confidence.unwrap_or(rule.confidence);
        let severity = self.severity.unwrap_or(rule.severity);
        let snippet = self.snippet.unwrap_or_else(|| element.map_or_else(String::new, |e| e.text.clone()));
        Finding {
            rule: rule.id.into(),
            severity,
            category: rule.category,
            viewport: view.screen(),
            title: self.title.unwrap_or(rule.title.into()),
            rect: element.and_then(|e| e.rect).filter(has_area),
            evidence: Evidence {
                statement: self.statement,
                snippet,
                measured: self.measured,
                above_fold: element.and_then(|e| e.above_fold),
                count: self.count,
            },
            why: rule.why.into(),
            recommendation: rule.recommendation.into(),
            impact: rule.impact,
            confidence,
            effort: rule.effort,
            priority: Rule::priority(rule.impact, confidence, rule.effort),
            sources: rule.sources(),
            fingerprint: fingerprint(rule.id, &place, &self.distinct),
            selector,
        }
    }
}

fn has_area(rect: &Rect) -> bool {
    rect.width > 0.0 && rect.height > 0.0
}

/// Identity over runs and screens: the rule, the element's structural path, and what tells two flaws of it apart.
fn fingerprint(rule: &str, place: &str, distinct: &str) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in [rule, place, distinct] {
        hasher.update(part.as_bytes());
        hasher.update(&[0]);
    }
    hasher.finalize().to_hex()[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_tells_rule_place_and_reason_apart() {
        let base = fingerprint("a.b", "#x>p", "");
        assert_eq!(base, fingerprint("a.b", "#x>p", ""));
        assert_ne!(base, fingerprint("a.c", "#x>p", ""));
        assert_ne!(base, fingerprint("a.b", "#x>p2", ""));
        assert_ne!(base, fingerprint("a.b", "#x>p", "Submit"));
        assert_ne!(fingerprint("a", "bc", ""), fingerprint("ab", "c", ""));
        assert_eq!(base.len(), 16);
    }
}
