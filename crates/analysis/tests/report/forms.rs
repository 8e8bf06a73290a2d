//! The JSON and Markdown forms, and the schema of the former.

use std::{fs, path::Path};

use paddock_analysis::{
    Category, Severity,
    report::{Report, json, markdown, schema},
};
use serde_json::Value;

use crate::{pictures::illustrated, sample};

/// Checks a report against the published schema.
pub(crate) fn validate(report: &str) {
    let report: Value = serde_json::from_str(report).unwrap();
    let schema = schema();
    let validator = jsonschema::draft202012::options().should_validate_formats(true).build(&schema).unwrap();
    let errors: Vec<_> =
        validator.iter_errors(&report).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{errors:#?}");
}

#[test]
fn the_published_schema_is_current() {
    let path = Path::new("../../docs/analysis-report.schema.json");
    let current = format!("{}\n", serde_json::to_string_pretty(&schema()).unwrap());
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, &current).unwrap();
    }
    let published = fs::read_to_string(path).unwrap_or_default();
    assert!(
        published == current,
        "run this test with UPDATE_SCHEMA=1 to bring {} up to date",
        path.display()
    );
}

#[test]
fn reports_validate_against_the_schema() {
    for analysis in [
        sample::mug_shop(),
        sample::many(30),
        sample::analysis("Good", "https://example.com/"),
        sample::hostile("\u{0}\"\\\u{2028}"),
    ] {
        let (report, _) = illustrated(analysis);
        validate(&json::render(&report).unwrap());
    }
}

#[test]
fn the_schema_refuses_a_finding_without_its_evidence() {
    let (report, _) = illustrated(sample::mug_shop());
    let mut document: Value = serde_json::from_str(&json::render(&report).unwrap()).unwrap();
    let schema = schema();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    for member in
        ["rule", "severity", "category", "viewport", "selector", "evidence", "fingerprint", "number"]
    {
        let mut broken = document.clone();
        broken["findings"][0].as_object_mut().unwrap().remove(member);
        assert!(!validator.is_valid(&broken), "`{member}` is required");
    }
    document["findings"][0]["severity"] = "catastrophic".into();
    assert!(!validator.is_valid(&document));
}

#[test]
fn json_is_read_back_as_it_was_written() {
    let (report, _) = illustrated(sample::mug_shop());
    let read: Report = serde_json::from_str(&json::render(&report).unwrap()).unwrap();
    assert_eq!(read, report);
}

#[test]
fn the_same_findings_in_any_order_give_the_same_report() {
    let forward = sample::mug_shop();
    let mut backward = forward.clone();
    backward.findings.reverse();
    backward.rules.reverse();
    let render = |analysis| json::render(&Report::new(analysis)).unwrap();
    assert_eq!(render(forward), render(backward));
}

#[test]
fn numbers_that_json_cannot_hold_are_dropped() {
    let mut analysis = sample::mug_shop();
    for finding in &mut analysis.findings {
        if let Some(rect) = &mut finding.rect {
            rect.width = f64::NAN;
        }
        if let Some(measured) = &mut finding.evidence.measured {
            measured.value = f64::INFINITY;
        }
    }
    analysis.vitals[0].lcp_ms = Some(f64::NAN);
    let report = Report::new(analysis);
    assert!(
        report.findings.iter().all(|it| it.finding.rect.is_none() && it.finding.evidence.measured.is_none())
    );
    assert_eq!(report.vitals[0].lcp_ms, None);
    validate(&json::render(&report).unwrap());
}

#[test]
fn texts_of_unreasonable_length_are_cut() {
    let mut finding = sample::finding("copy.hard_to_read", Severity::Low, Category::Content);
    finding.evidence.snippet = "ä".repeat(100_000);
    finding.title = "t".repeat(100_000).into();
    let mut analysis = sample::analysis(&"x".repeat(100_000), "https://example.com/");
    analysis.findings = vec![finding];
    let document = json::render(&Report::new(analysis)).unwrap();
    assert!(document.len() < 40_000, "{} bytes", document.len());
}

#[test]
fn json_form() {
    let (report, _) = illustrated(sample::mug_shop());
    insta::assert_snapshot!(json::render(&report).unwrap());
}

#[test]
fn markdown_form() {
    let (report, _) = illustrated(sample::mug_shop());
    insta::assert_snapshot!(markdown::render(&report));
}

#[test]
fn markdown_form_of_hostile_text() {
    let text = "# h <script>x</script> [a](javascript:b) ![i](https://e.example/p.png) | `c` \n\n- @someone https://e.example";
    let markdown = markdown::render(&Report::new(sample::hostile(text)));
    // Within a code span nothing is markup.
    let outside = markdown.split("``").step_by(2).collect::<String>().replace(r"\]", "");
    assert!(!outside.contains("<script"), "no HTML");
    assert!(
        !outside.contains("](javascript:") && !outside.contains("](https://e.example"),
        "no link or picture"
    );
    insta::assert_snapshot!(markdown);
}
