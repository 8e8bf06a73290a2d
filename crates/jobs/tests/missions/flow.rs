//! What missions do with values: large ones, lists, other missions, and what is left out.

use paddock_jobs::mission::{Format, MissionError, Missions, Phase, StoredDefinition, read};
use paddock_platform::{identity::Caller, store::testing::on_each_engine};
use serde_json::json;

use crate::support::{World, assert_state, state};

async fn save(missions: &Missions, text: &str) -> Result<StoredDefinition, MissionError> {
    missions.save(&Caller::local(), read(text, Format::Yaml).unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn outputs_too_large_for_a_transaction_reach_conditions_lists_inputs_and_the_output() {
    const LARGE: &str = r#"
name: large
steps:
  - { name: big, tool: lab_do, input: { name: big, item: [7, 8], padding: 200000 }, compensate: { tool: lab_do, input: { name: undo, item: "${length(output.padding)}" } } }
  - { name: gate, if: "length(steps.big.output.padding) == 200000", tool: lab_do, input: { name: gate, item: "${steps.big.output#/item/0}" } }
  - { name: each, for_each: "${steps.big.output.item}", tool: lab_do, input: { name: each, item: "${item}", padding: "${length(steps.big.output.item)}" } }
  - { name: end, needs: [each, gate], tool: lab_do, input: { name: end, fail: "${inputs.fail}" } }
output: { first: "${steps.big.output.item[0]}" }
"#;
    on_each_engine(async |fixture| {
        let world = World::new(fixture);
        let life = world.live().await;
        let id = life.start(LARGE, json!({"fail": false})).await;
        let view = life.end(id).await;
        assert_state(&view, Phase::Succeeded);
        assert_eq!(view.output, Some(json!({"first": 7})));
        let mut done = world.script.done();
        done.sort();
        assert_eq!(
            done,
            ["big", "each 7", "each 8", "end", "gate 7"].map(|name| if name == "big" {
                "big [7,8]"
            } else {
                name
            })
        );
        let id = life.start(LARGE, json!({"fail": true})).await;
        assert_state(&life.end(id).await, Phase::Failed);
        assert_eq!(world.script.done().last().map(String::as_str), Some("undo 200000"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mission_runs_others_and_its_failure_compensates_theirs() {
    const INNER: &str = r#"
name: inner
inputs: { type: object, required: [n], properties: { n: { type: integer } } }
steps:
  - { name: one, tool: lab_do, input: { name: inner, item: "${inputs.n}" }, compensate: { tool: lab_do, input: { name: undo-inner } } }
  - { name: two, needs: [one], tool: lab_do, input: { name: inner-two, fail: "${inputs.n == 2}" } }
output: { doubled: "${steps.one.output.item}" }
"#;
    const OUTER: &str = r#"
name: outer
steps:
  - { name: before, tool: lab_do, input: { name: before }, compensate: { tool: lab_do, input: { name: undo-before } } }
  - { name: all, needs: [before], for_each: "${inputs.list}", concurrency: 1, mission: inner, input: { n: "${item}" } }
output: { all: "${steps.all.output}" }
"#;
    on_each_engine(async |fixture| {
        let world = World::new(fixture);
        let life = world.live().await;
        life.save(INNER).await;
        let id = life.start(OUTER, json!({"list": [1, 3]})).await;
        let view = life.end(id).await;
        assert_state(&view, Phase::Succeeded);
        assert_eq!(view.output, Some(json!({"all": [{"doubled": 1}, {"doubled": 3}]})));
        let id = life.start(OUTER, json!({"list": [2]})).await;
        assert_state(&life.end(id).await, Phase::Failed);
        let done = world.script.done();
        let undone: Vec<&str> =
            done.iter().map(String::as_str).filter(|name| name.starts_with("undo")).collect();
        assert_eq!(undone, ["undo-inner", "undo-before"], "what is inside is undone first");
        // Inputs that the inner mission refuses fail its step.
        let id = life.start(OUTER, json!({"list": ["text"]})).await;
        let view = life.end(id).await;
        assert_eq!(view.brief.error.unwrap().class, "mission-inputs");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mission_of_which_nothing_runs_ends_at_once() {
    on_each_engine(async |fixture| {
        let world = World::new(fixture);
        let life = world.live().await;
        let yaml = "name: none\nsteps:\n  - { name: a, if: 'false', tool: lab_do, input: { name: a } }\n  - { name: b, needs: [a], tool: lab_do, input: { name: b } }\n";
        let id = life.start(yaml, json!({})).await;
        assert_state(&life.end(id).await, Phase::Succeeded);
        let jobs = life.jobs.clone();
        let wait = std::time::Duration::from_mins(1);
        let job = life.within(async move { jobs.wait(&paddock_platform::identity::Tenant::local(), id, wait).await.unwrap() }).await;
        assert_eq!(job.state, paddock_jobs::JobState::Succeeded, "its job has ended, too");
        assert_eq!(world.script.calls(), 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_is_allowed_leaves_null_and_goes_on() {
    on_each_engine(async |fixture| {
        let world = World::new(fixture);
        let life = world.live().await;
        let yaml = r#"
name: tolerant
steps:
  - { name: each, for_each: [1, 2], on_error: continue, tool: lab_do, input: { name: each, item: "${item}", fail: "${item == 2}" } }
  - { name: after, tool: lab_do, input: { name: after, item: "${steps.each.state}" } }
output: { each: "${steps.each.output}", why: "${steps.each.error.class}" }
"#;
        let id = life.start(yaml, json!({})).await;
        let view = life.end(id).await;
        assert_state(&view, Phase::Succeeded);
        assert_eq!(state(&view, "each"), "failed");
        let output = view.output.unwrap();
        assert_eq!((&output["each"][0]["item"], &output["each"][1]), (&json!(1), &json!(null)));
        assert_eq!(output["why"], "invalid-request");
        assert!(world.script.done().contains(&"after \"failed\"".to_owned()));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expression_that_cannot_be_evaluated_fails_its_step_by_name() {
    on_each_engine(async |fixture| {
        let world = World::new(fixture);
        let life = world.live().await;
        let yaml =
            "name: wrong\nsteps:\n  - { name: a, tool: lab_do, input: { name: '${inputs.nothing}' } }\n";
        let id = life.start(yaml, json!({})).await;
        let view = life.end(id).await;
        let error = view.brief.error.unwrap();
        assert_eq!((error.step.as_deref(), error.class.as_str()), (Some("a"), "expression"));
        assert!(error.message.contains("inputs#/nothing"), "{}", error.message);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_have_versions_that_never_change() {
    on_each_engine(async |fixture| {
        let world = World::new(fixture);
        let life = world.live().await;
        let missions = life.missions.clone();
        let first = "name: v\nsteps:\n  - { name: a, tool: lab_do, input: { name: a } }\n";
        life.within(async move {
            let local = Caller::local();
            let stored = save(&missions, first).await.unwrap();
            assert_eq!((stored.version, stored.created), (1, true));
            let again = save(&missions, first).await.unwrap();
            assert_eq!((again.version, again.created), (1, false));
            assert_eq!(save(&missions, &first.replace("name: a,", "name: b,")).await.unwrap().version, 2);
            // Many at once get versions of their own.
            let all: Vec<String> =
                (0..8).map(|n| first.replace("name: a,", &format!("name: s{n},"))).collect();
            let saving: Vec<_> = all.iter().map(|text| Box::pin(save(&missions, text))).collect();
            let stored = futures_util::future::join_all(saving).await;
            let mut versions: Vec<u32> = stored.into_iter().map(|stored| stored.unwrap().version).collect();
            versions.sort_unstable();
            assert_eq!(versions, (3..=10).collect::<Vec<_>>());
            let old = missions.definition(local.tenant(), "v", Some(1)).await.unwrap();
            assert_eq!(old.definition.steps[0].name, "a");
            let unknown = save(
                &missions,
                "name: w\nsteps:\n  - { name: a, tool: lab_dont }\n  - { name: b, mission: nothing }\n",
            )
            .await
            .unwrap_err();
            let text = unknown.to_string();
            assert!(
                text.contains("step `a`: `tool`: no tool `lab_dont`") && text.contains("1 more"),
                "{text}"
            );
        })
        .await;
    })
    .await;
}
