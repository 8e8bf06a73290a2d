//! What is wrong with a page's accessibility, by a few rules.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::InteractiveElement;
use crate::{snapshot::Node, survey::Survey};

/// Elements that a finding names.
const SAMPLES_MAX: usize = 5;

/// Roles that somebody fills in or sets, and that need a name for it.
const FIELDS: [&str; 12] = [
    "textbox",
    "searchbox",
    "combobox",
    "listbox",
    "checkbox",
    "radio",
    "spinbutton",
    "slider",
    "switch",
    "Date",
    "DateTime",
    "InputTime",
];
/// Roles that are not fields and can be acted on.
const CONTROLS: [&str; 10] = [
    "button",
    "link",
    "option",
    "menuitem",
    "menuitemcheckbox",
    "menuitemradio",
    "tab",
    "treeitem",
    "DisclosureTriangle",
    "Iframe",
];

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum A11ySeverity {
    /// Some people cannot use what it is about.
    Serious,
    /// It is in their way.
    Moderate,
    /// It is untidy.
    Minor,
}

impl A11ySeverity {
    /// Points that one case costs.
    const fn cost(self) -> u32 {
        match self {
            Self::Serious => 10,
            Self::Moderate => 5,
            Self::Minor => 2,
        }
    }
}

/// A rule that the page breaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct A11yFinding {
    /// Which: `missing-alt`, `missing-label`, `empty-link`, `empty-button`, `missing-title`, `missing-lang` or
    /// `heading-skip`.
    pub rule: &'static str,
    /// How bad it is.
    pub severity: A11ySeverity,
    /// How often.
    pub count: u32,
    /// Some of the elements.
    pub samples: Vec<String>,
}

/// How accessible a page is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct A11yReport {
    /// 100 less what the findings cost, at least 0.
    pub score: u32,
    /// The rules that the page breaks, by name.
    pub findings: Vec<A11yFinding>,
}

#[derive(Default)]
struct Findings(BTreeMap<&'static str, A11yFinding>);

impl Findings {
    fn add(&mut self, rule: &'static str, severity: A11ySeverity, sample: impl FnOnce() -> String) {
        let finding =
            self.0.entry(rule).or_insert(A11yFinding { rule, severity, count: 0, samples: Vec::new() });
        finding.count += 1;
        if finding.samples.len() < SAMPLES_MAX {
            finding.samples.push(sample());
        }
    }
}

/// What the rules say of a page.
pub(crate) fn accessibility(nodes: &[Node], survey: &Survey) -> A11yReport {
    let mut findings = Findings::default();
    for node in nodes.iter().filter(|node| !node.hidden) {
        if let Some((rule, severity)) = broken_by(node) {
            findings.add(rule, severity, || format!("{} {}", node.role, node.r#ref));
        }
    }
    if survey.title.is_empty() {
        findings.add("missing-title", A11ySeverity::Moderate, || "the document has no title".to_owned());
    }
    if survey.lang.is_empty() {
        findings.add("missing-lang", A11ySeverity::Moderate, || "<html> has no lang attribute".to_owned());
    }
    for (level, next) in survey.headings.iter().zip(survey.headings.iter().skip(1)) {
        if *next > level + 1 {
            findings.add("heading-skip", A11ySeverity::Minor, || format!("h{next} follows h{level}"));
        }
    }
    let findings: Vec<A11yFinding> = findings.0.into_values().collect();
    let cost = findings.iter().map(|finding| finding.severity.cost().saturating_mul(finding.count));
    let score = 100_u32.saturating_sub(cost.fold(0, u32::saturating_add));
    A11yReport { score, findings }
}

/// The rule that an element breaks.
fn broken_by(node: &Node) -> Option<(&'static str, A11ySeverity)> {
    let says = |text: Option<&str>| text.is_some_and(|text| !text.trim().is_empty());
    if says(Some(&node.name)) {
        return None;
    }
    match node.role.as_str() {
        "image" | "img" if !says(node.alt.as_deref()) => Some(("missing-alt", A11ySeverity::Serious)),
        "link" if !says(node.text.as_deref()) => Some(("empty-link", A11ySeverity::Moderate)),
        "button" if !says(node.text.as_deref()) => Some(("empty-button", A11ySeverity::Moderate)),
        role if FIELDS.contains(&role) && !says(node.label.as_deref()) => {
            Some(("missing-label", A11ySeverity::Serious))
        }
        _ => None,
    }
}

/// What of a page can be acted on and is seen.
pub(crate) fn interactive_elements(nodes: &[Node]) -> Vec<InteractiveElement> {
    let can_be_acted_on = |node: &&Node| {
        !node.hidden && (FIELDS.contains(&node.role.as_str()) || CONTROLS.contains(&node.role.as_str()))
    };
    nodes
        .iter()
        .filter(can_be_acted_on)
        .map(|node| InteractiveElement {
            r#ref: node.r#ref.clone(),
            role: node.role.clone(),
            name: node.name.clone(),
            disabled: node.disabled,
            visible: true,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(role: &str, name: &str) -> Node {
        Node { role: role.to_owned(), name: name.to_owned(), r#ref: "e1".to_owned(), ..Node::default() }
    }

    fn survey(headings: &[u8]) -> Survey {
        let headings = headings.to_vec();
        Survey { title: "t".to_owned(), lang: "en".to_owned(), headings, ..Survey::default() }
    }

    #[test]
    fn a_page_without_faults_has_all_points() {
        let nodes = [node("link", "Home"), node("textbox", "Name"), node("image", "A cat")];
        assert_eq!(
            accessibility(&nodes, &survey(&[1, 2, 3, 2])),
            A11yReport { score: 100, findings: Vec::new() }
        );
    }

    #[test]
    fn findings_are_counted_and_cost_by_severity() {
        let nodes = [node("image", ""), node("image", " "), node("link", ""), node("switch", "")];
        let report = accessibility(&nodes, &survey(&[1, 3]));
        let found: Vec<_> = report.findings.iter().map(|finding| (finding.rule, finding.count)).collect();
        assert_eq!(found, [("empty-link", 1), ("heading-skip", 1), ("missing-alt", 2), ("missing-label", 1)]);
        assert_eq!(report.score, 100 - 5 - 2 - 20 - 10);
        assert_eq!(report.findings[2].samples, ["image e1", "image e1"]);
    }

    #[test]
    fn no_page_has_less_than_nothing_and_samples_are_few() {
        let nodes = vec![node("image", ""); 50];
        let report = accessibility(&nodes, &Survey::default());
        assert_eq!((report.score, report.findings[0].count), (0, 50));
        assert_eq!(report.findings[0].samples.len(), SAMPLES_MAX);
        assert_eq!(
            report.findings.iter().map(|finding| finding.rule).collect::<Vec<_>>(),
            ["missing-alt", "missing-lang", "missing-title"]
        );
    }

    #[test]
    fn what_nobody_sees_is_not_judged() {
        let hidden = Node { hidden: true, ..node("button", "") };
        assert_eq!(accessibility(std::slice::from_ref(&hidden), &survey(&[])).score, 100);
        assert!(interactive_elements(&[hidden]).is_empty());
    }
}
