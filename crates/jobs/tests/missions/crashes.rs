//! The server dies at every step, in the midst of it and right after it, and while a person is asked; then it lives again
//! and the mission goes on where it stood.

use std::collections::BTreeSet;

use paddock_jobs::mission::{Decision, MissionView, Phase};
use paddock_platform::{
    identity::Caller,
    store::testing::{Fixture, on_each_engine},
};
use serde_json::json;

use crate::support::{Crash, World, assert_state, state};

/// Fan-out, a condition of which one branch runs, a place where they meet, an approval, and compensation.
const WHOLE: &str = r#"
name: whole
inputs: { type: object, required: [items, fail] }
steps:
  - name: prepare
    tool: lab_do
    input: { name: prepare }
    compensate: { tool: lab_do, input: { name: undo-prepare, item: "${output.name}" } }
  - name: each
    needs: [prepare]
    for_each: ${inputs.items}
    concurrency: 2
    tool: lab_do
    input: { name: each, item: "${item}" }
    compensate: { tool: lab_do, input: { name: undo-each, item: "${output.item}" } }
  - name: few
    if: length(steps.each.output) <= 3
    tool: lab_do
    input: { name: few }
  - name: many
    if: length(steps.each.output) > 3
    tool: lab_do
    input: { name: many }
  - name: meet
    needs: [few, many]
    join: any
    tool: lab_do
    input: { name: meet }
  - name: sure
    needs: [meet]
    approval: { message: "Go on with ${length(inputs.items)}?" }
  - name: last
    needs: [sure]
    tool: lab_do
    input: { name: last, fail: "${inputs.fail}" }
output: { items: "${steps.each.output}", by: "${steps.sure.output.by}" }
"#;

/// What is called when all goes well, in an order that the graph allows.
const FORTH: [&str; 7] = ["prepare", "each 1", "each 2", "each 3", "few", "meet", "last"];
const BACK: [&str; 4] = ["undo-each 3", "undo-each 2", "undo-each 1", "undo-prepare \"prepare\""];

/// Runs the mission with one crash on its way.
async fn survive(fixture: &Fixture, fail: bool, crash: Crash) -> (MissionView, Vec<String>, usize) {
    let world = World::new(fixture);
    world.script.crash_at(crash);
    let mut life = world.live().await;
    let id = life.start(WHOLE, json!({"items": [1, 2, 3], "fail": fail})).await;
    let mut decided = false;
    let mut died = false;
    loop {
        let dies = tokio::select! {
            biased;
            () = world.script.crash.notified(), if !died => true,
            view = life.until(id, |view| view.brief.state.is_final() || (!decided && state(view, "sure") == "waiting")) => {
                if view.brief.state.is_final() {
                    assert!(died || crash == Crash::Never, "the server never died at {crash:?}");
                    return (view, world.script.done(), world.script.calls());
                }
                crash == Crash::WhileAsking && !died
            }
        };
        if dies {
            died = true;
            life.kill();
            life = world.live().await;
            continue;
        }
        decided = true;
        let missions = life.missions.clone();
        let decision = Decision { approve: true, comment: Some("fine".to_owned()) };
        // The server may die in the midst of it: then it is asked again, or was decided.
        let answer =
            life.within(async move { missions.decide(&Caller::local(), id, "sure", decision).await }).await;
        if let Err(error) = answer {
            assert!(error.to_string().contains("cannot be approved"), "{error}");
        }
    }
}

fn check(fail: bool, crash: Crash, outcome: &(MissionView, Vec<String>, usize)) {
    let (view, done, calls) = outcome;
    assert_state(view, if fail { Phase::Failed } else { Phase::Succeeded });
    let expected: Vec<&str> = if fail { FORTH.into_iter().chain(BACK).collect() } else { FORTH.to_vec() };
    let distinct: BTreeSet<&str> = done.iter().map(String::as_str).collect();
    assert_eq!(distinct, expected.iter().copied().collect(), "{crash:?}");
    // What was under way when the server died is called again: two at most run at once.
    assert!(*calls <= expected.len() + 2, "{crash:?}: {calls} calls, {done:?}");
    let first = |name: &str| done.iter().position(|known| known == name).unwrap();
    let last = |name: &str| done.iter().rposition(|known| known == name).unwrap();
    for (before, after) in
        [("prepare", "each 1"), ("each 1", "few"), ("each 3", "few"), ("few", "meet"), ("meet", "last")]
    {
        assert!(first(before) < first(after), "{crash:?}: {before} after {after} in {done:?}");
    }
    if fail {
        assert_eq!(view.brief.error.as_ref().unwrap().step.as_deref(), Some("last"));
        assert_eq!(state(view, "prepare"), "compensated");
        for item in ["undo-each 1", "undo-each 2", "undo-each 3"] {
            assert!(last(item) < first("undo-prepare \"prepare\""), "{crash:?}: {done:?}");
            assert!(last("last") < first(item), "{crash:?}: {done:?}");
        }
    } else {
        let output = view.output.as_ref().unwrap();
        assert_eq!(output["by"], "local");
        let items: Vec<i64> =
            output["items"].as_array().unwrap().iter().map(|item| item["item"].as_i64().unwrap()).collect();
        assert_eq!(items, [1, 2, 3]);
    }
    assert_eq!(state(view, "many"), "skipped");
}

async fn survive_all(fail: bool, of: impl Fn(usize) -> Crash) {
    let count = if fail { FORTH.len() + BACK.len() } else { FORTH.len() };
    for number in 0..count {
        let crash = of(number);
        on_each_engine(async |fixture| {
            check(fail, crash, &survive(fixture, fail, crash).await);
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mission_without_a_crash_runs_every_step_once() {
    on_each_engine(async |fixture| {
        let outcome = survive(fixture, false, Crash::Never).await;
        check(false, Crash::Never, &outcome);
        assert_eq!(outcome.2, FORTH.len());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mission_survives_a_crash_in_the_midst_of_every_step() {
    survive_all(false, Crash::During).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mission_survives_a_crash_at_the_end_of_every_step() {
    survive_all(false, Crash::After).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn compensation_survives_a_crash_in_the_midst_of_every_step() {
    survive_all(true, Crash::During).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn compensation_survives_a_crash_at_the_end_of_every_step() {
    survive_all(true, Crash::After).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_survives_a_crash() {
    on_each_engine(async |fixture| {
        check(false, Crash::WhileAsking, &survive(fixture, false, Crash::WhileAsking).await);
    })
    .await;
}
