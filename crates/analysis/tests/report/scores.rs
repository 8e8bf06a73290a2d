//! The scores: each can be recomputed from what the report says.

use paddock_analysis::{
    Category, Finding, Screen, Severity,
    report::{Analysis, CategoryScore, Report},
};

use crate::sample;

fn category(report: &Report, category: Category) -> &CategoryScore {
    report.scores.categories.iter().find(|it| it.category == category).unwrap()
}

#[test]
fn a_category_is_a_hundred_less_its_deductions() {
    let report = Report::new(sample::mug_shop());
    for it in &report.scores.categories {
        let lost: f64 = it.deductions.iter().map(|deduction| deduction.points).sum();
        match it.score {
            Some(score) => assert!((f64::from(score) - (100.0 - lost).max(0.0)).abs() <= 0.5, "{it:?}"),
            None => assert_eq!(it.rules, 0),
        }
    }
}

#[test]
fn a_category_without_an_applied_rule_has_no_score_and_does_not_count() {
    let mut analysis = sample::analysis("Good", "https://example.com/");
    analysis.rules.retain(|rule| rule.category == Category::Headline);
    let report = Report::new(analysis);
    assert_eq!(category(&report, Category::Popup).score, None);
    assert_eq!(category(&report, Category::Headline).score, Some(100));
    assert_eq!(report.scores.overall, Some(100));
    let nothing =
        Report::new(Analysis { rules: Vec::new(), ..sample::analysis("Good", "https://example.com/") });
    assert_eq!(nothing.scores.overall, None);
}

#[test]
fn a_flaw_on_both_screens_counts_once() {
    let finding = sample::finding("cta.too_small", Severity::High, Category::Cta);
    let phone = Finding { viewport: Screen::Mobile, severity: Severity::Low, ..finding.clone() };
    let report = Report::new(Analysis {
        findings: vec![phone, finding],
        ..sample::analysis("Page", "https://example.com/")
    });
    assert_eq!((report.summary.flaws, report.summary.high, report.summary.low), (1, 1, 0));
    let deductions = &category(&report, Category::Cta).deductions;
    assert_eq!(deductions.len(), 1);
    assert!((deductions[0].points - 32.0).abs() < 1e-9, "40 at confidence 8 of 10");
    assert_eq!(report.findings.iter().map(|it| it.number).collect::<Vec<_>>(), [1, 1]);
}

#[test]
fn further_flaws_of_one_rule_count_half_each() {
    let flaw = |fingerprint: &str| Finding {
        fingerprint: fingerprint.to_owned(),
        ..sample::finding("contrast.low", Severity::Medium, Category::Contrast)
    };
    let report = Report::new(Analysis {
        findings: vec![flaw("a"), flaw("b"), flaw("c")],
        ..sample::analysis("Page", "https://example.com/")
    });
    let points: Vec<_> =
        category(&report, Category::Contrast).deductions.iter().map(|it| it.points).collect();
    assert_eq!(points, [16.0, 8.0, 4.0]);
}

#[test]
fn a_flaw_never_leaves_a_hundred() {
    let mut finding = sample::finding("seo.weak_title", Severity::Low, Category::Seo);
    finding.confidence = 0;
    let report =
        Report::new(Analysis { findings: vec![finding], ..sample::analysis("Page", "https://example.com/") });
    assert_eq!(category(&report, Category::Seo).score, Some(99));
}

#[test]
fn quick_wins_are_worth_much_and_cost_little() {
    let report = Report::new(sample::mug_shop());
    let wins: Vec<_> = report.summary.quick_wins.iter().map(|win| win.rule.as_ref()).collect();
    assert_eq!(wins, ["cta.disabled", "cta.vague_label", "price.missing"]);
    let mut hard = sample::mug_shop();
    for finding in &mut hard.findings {
        finding.effort = 9;
    }
    assert!(Report::new(hard).summary.quick_wins.is_empty());
}

#[test]
fn the_most_urgent_flaw_is_number_one() {
    let report = Report::new(sample::mug_shop());
    let priorities: Vec<_> = report.flaws().map(|flaw| flaw.priority()).collect();
    assert!(priorities.is_sorted_by(|a, b| a >= b), "{priorities:?}");
    let numbers: Vec<_> = report.flaws().map(|flaw| flaw.number).collect();
    assert_eq!(numbers, (1..=13).collect::<Vec<_>>());
}

#[test]
fn one_serious_flaw_is_not_drowned_by_everything_that_is_fine() {
    let mut finding = sample::finding("cta.disabled", Severity::High, Category::Cta);
    finding.confidence = 10;
    let report =
        Report::new(Analysis { findings: vec![finding], ..sample::analysis("Page", "https://example.com/") });
    assert_eq!(category(&report, Category::Cta).score, Some(60));
    assert_eq!(report.scores.overall, Some(77), "between the mean of 93.8 and the lowest, 60");
}
