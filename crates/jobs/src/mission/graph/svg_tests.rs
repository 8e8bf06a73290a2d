use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::mission::{MissionBrief, Phase, graph::draw};

fn step(name: &str, needs: &[&str], state: &'static str) -> StepView {
    StepView {
        name: name.to_owned(),
        description: String::new(),
        kind: "tool",
        target: Some("analysis_run".to_owned()),
        needs: needs.iter().map(ToString::to_string).collect(),
        state,
        job: None,
        output: None,
        error: None,
        items: None,
        approval: None,
        compensation: None,
        started_at: None,
        ended_at: None,
    }
}

fn mission(steps: Vec<StepView>) -> MissionView {
    MissionView {
        brief: MissionBrief {
            id: crate::testing::job().id,
            name: "nightly".to_owned(),
            version: 3,
            state: Phase::Running,
            parent: None,
            created_at: jiff::Timestamp::UNIX_EPOCH,
            started_at: None,
            finished_at: None,
            deadline_at: jiff::Timestamp::UNIX_EPOCH,
            steps_done: 0,
            steps_total: steps.len(),
            approvals_open: 0,
            error: None,
            changes: 1,
        },
        description: String::new(),
        inputs: json!({}),
        output: None,
        compensation_incomplete: false,
        steps,
        expires_at: None,
        retries: 0,
        links: BTreeMap::new(),
    }
}

#[test]
fn every_step_and_edge_is_drawn_and_told_in_words() {
    let picture = draw(&mission(vec![
        step("fetch", &[], "succeeded"),
        step("left", &["fetch"], "running"),
        step("right", &["fetch"], "skipped"),
        step("join", &["left", "right", "fetch"], "pending"),
    ]));
    assert_eq!(picture.matches("<path class=\"e").count(), 5);
    assert_eq!(picture.matches("<g>").count(), 4);
    assert!(picture.contains("join (after left, right, fetch): pending"), "{picture}");
    assert!(picture.contains("<title id=\"t\">nightly v3: running</title>"));
}

#[test]
fn what_comes_from_outside_cannot_leave_its_text() {
    let mut hostile = step("a", &[], "failed");
    hostile.description = "</title><script>alert(1)</script>&\"".to_owned();
    hostile.job = Some("\"><script>".to_owned());
    let picture = draw(&mission(vec![hostile]));
    assert!(!picture.contains("<script"), "{picture}");
    assert!(picture.contains("&lt;/title&gt;&lt;script&gt;"));
}

#[test]
fn a_mission_without_steps_is_drawn_as_well() {
    assert!(draw(&mission(Vec::new())).starts_with("<svg"));
}

proptest! {
    #[test]
    fn texts_are_well_formed(text in "\\PC{0,40}|.{0,40}") {
        let written = escaped(&text);
        let plain = written.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "").replace("&quot;", "");
        prop_assert!(!plain.contains(['<', '>', '&', '"']));
        prop_assert!(!written.chars().any(char::is_control));
    }
}
