//! Cancelling, deciding, deadlines, trying again, and who may see what.

use std::time::Duration;

use paddock_jobs::{
    JobState,
    mission::{Decision, Format, MissionError, Phase, StartMission, read},
};
use paddock_platform::{
    identity::{Caller, Scope, Tenant},
    store::testing::on_each_engine,
};
use serde_json::json;

use crate::support::{World, assert_state, state};

const HANGS: &str = r"
name: hangs
steps:
  - { name: done, tool: lab_do, input: { name: done }, compensate: { tool: lab_do, input: { name: undo-done } } }
  - { name: hang, needs: [done], tool: lab_do, input: { name: hang, hang: true }, compensate: { tool: lab_do, when: tried, input: { name: undo-hang } } }
  - { name: never, needs: [hang], tool: lab_do, input: { name: never } }
";

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_mission_stops_what_runs_undoes_what_is_done_and_can_go_on() {
    on_each_engine(async |fixture| {
        let world = World::new(fixture);
        let life = world.live().await;
        let id = life.start(HANGS, json!({})).await;
        life.until(id, |view| state(view, "hang") == "running").await;
        let missions = life.missions.clone();
        life.within(async move { missions.cancel(&Tenant::local(), id).await.unwrap() }).await;
        let view = life.end(id).await;
        assert_state(&view, Phase::Cancelled);
        assert_eq!((state(&view, "done"), state(&view, "never")), ("compensated", "cancelled"));
        assert_eq!(world.script.done(), ["done", "undo-hang", "undo-done"]);
        let jobs = life.jobs.clone();
        let job = life.within(async move { jobs.get(&Tenant::local(), id).await.unwrap() }).await;
        assert_eq!(job.state, JobState::Cancelled);
        let missions = life.missions.clone();
        let again =
            life.within(async move { missions.cancel(&Tenant::local(), id).await.unwrap_err() }).await;
        assert!(matches!(again, MissionError::State { .. }), "{again}");
        // It goes on from where it stood: what was undone is done again.
        let missions = life.missions.clone();
        life.within(async move { missions.retry(&Tenant::local(), id).await.unwrap() }).await;
        let view = life.until(id, |view| state(view, "hang") == "running" && view.retries == 1).await;
        assert_eq!(state(&view, "done"), "succeeded");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mission_whose_job_is_cancelled_is_cancelled() {
    on_each_engine(async |fixture| {
        let world = World::new(fixture);
        let life = world.live().await;
        let id = life.start(HANGS, json!({})).await;
        life.until(id, |view| state(view, "hang") == "running").await;
        let jobs = life.jobs.clone();
        life.within(async move { jobs.cancel(&Tenant::local(), id).await.unwrap() }).await;
        assert_state(&life.end(id).await, Phase::Cancelled);
        assert_eq!(world.script.done(), ["done", "undo-hang", "undo-done"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mission_that_is_not_done_in_time_is_stopped_and_compensated() {
    on_each_engine(async |fixture| {
        let world = World::new(fixture);
        let life = world.live().await;
        let id = life.start(&HANGS.replace("name: hangs", "name: hangs\ndeadline: 1s"), json!({})).await;
        let view = life.end(id).await;
        assert_state(&view, Phase::Failed);
        assert_eq!(view.brief.error.unwrap().class, "deadline");
        assert_eq!(world.script.done(), ["done", "undo-hang", "undo-done"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_that_is_not_made_in_time_counts_as_the_definition_says() {
    on_each_engine(async |fixture| {
        let world = World::new(fixture);
        let life = world.live().await;
        for (policy, expected) in [("approve", Phase::Succeeded), ("reject", Phase::Failed)] {
            let yaml = format!(
                "name: late-{policy}\nsteps:\n  - {{ name: sure, approval: {{ message: sure?, deadline: 1s, on_deadline: {policy} }} }}\n"
            );
            let id = life.start(&yaml, json!({})).await;
            assert_state(&life.end(id).await, expected);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejection_fails_the_mission_with_who_and_why_and_a_retry_asks_again() {
    on_each_engine(async |fixture| {
        let world = World::new(fixture);
        let life = world.live().await;
        let yaml = "name: ask\nsteps:\n  - { name: sure, approval: { message: 'go?' } }\n";
        let id = life.start(yaml, json!({})).await;
        life.until(id, |view| state(view, "sure") == "waiting").await;
        let missions = life.missions.clone();
        let view = life
            .within(async move {
                let open = missions.open_approvals(&Tenant::local(), 10).await.unwrap();
                assert_eq!((open.len(), open[0].message.as_str()), (1, "go?"));
                let no = Decision { approve: false, comment: Some("not today".to_owned()) };
                missions.decide(&Caller::local(), id, "sure", no).await.unwrap()
            })
            .await;
        assert_state(&view, Phase::Failed);
        assert_eq!(view.brief.error.unwrap().message, "rejected by local: not today");
        let missions = life.missions.clone();
        life.within(async move { missions.retry(&Tenant::local(), id).await.unwrap() }).await;
        life.until(id, |view| state(view, "sure") == "waiting").await;
        let missions = life.missions.clone();
        let view = life
            .within(async move {
                let yes = Decision { approve: true, comment: None };
                missions.decide(&Caller::local(), id, "sure", yes.clone()).await.unwrap();
                let late = missions.decide(&Caller::local(), id, "sure", yes).await.unwrap_err();
                assert!(matches!(late, MissionError::State { .. }), "{late}");
                missions.get(&Tenant::local(), id).await.unwrap()
            })
            .await;
        assert_state(&view, Phase::Succeeded);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mission_of_another_tenant_is_not_there() {
    on_each_engine(async |fixture| {
        let world = World::new(fixture);
        let life = world.live().await;
        let yaml = "name: ours\nsteps:\n  - { name: sure, approval: { message: 'go?' } }\n";
        let id = life.start(yaml, json!({})).await;
        life.until(id, |view| state(view, "sure") == "waiting").await;
        let missions = life.missions.clone();
        life.within(async move {
            let tenant: Tenant = "theirs".parse().unwrap();
            let stranger = Caller::with_key("k", tenant.clone(), vec![Scope::ALL]);
            assert!(matches!(missions.get(&tenant, id).await, Err(MissionError::NotFound(_))));
            let yes = Decision { approve: true, comment: None };
            assert!(matches!(
                missions.decide(&stranger, id, "sure", yes).await,
                Err(MissionError::NotFound(_))
            ));
            assert!(missions.cancel(&tenant, id).await.is_err());
            assert!(missions.definition(&tenant, "ours", None).await.is_err());
            assert!(missions.open_approvals(&tenant, 10).await.unwrap().is_empty());
        })
        .await;
        assert_eq!(life.look(id).await.brief.state, Phase::Running);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unique_key_starts_one_mission() {
    on_each_engine(async |fixture| {
        let world = World::new(fixture);
        let life = world.live().await;
        life.save("name: once\nsteps:\n  - { name: a, tool: lab_do, input: { name: a } }\n").await;
        let missions = life.missions.clone();
        life.within(async move {
            let start = |inputs| StartMission {
                name: Some("once".to_owned()),
                inputs,
                unique_key: Some("k".to_owned()),
                ..StartMission::default()
            };
            let local = Caller::local();
            let (first, existed) = missions.start(&local, start(json!({}))).await.unwrap();
            assert!(!existed);
            assert_eq!(missions.start(&local, start(json!({}))).await.unwrap(), (first, true));
            let differs = missions.start(&local, start(json!({"x": 1}))).await.unwrap_err();
            assert!(differs.to_string().contains("unique key"), "{differs}");
            let view = missions.wait(local.tenant(), first, Duration::from_mins(1)).await.unwrap();
            assert_state(&view, Phase::Succeeded);
        })
        .await;
        assert_eq!(world.script.calls(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn inputs_and_tools_are_checked_before_anything_is_kept() {
    on_each_engine(async |fixture| {
        let world = World::new(fixture);
        let life = world.live().await;
        let missions = life.missions.clone();
        life.within(async move {
            let definition = "name: strict\ninputs: { type: object, required: [url], properties: { url: { type: string } } }\nsteps:\n  - { name: a, tool: lab_do, input: { name: a } }\n";
            let start = |inputs| StartMission {
                definition: Some(read(definition, Format::Yaml).unwrap()),
                inputs,
                ..StartMission::default()
            };
            for (inputs, field) in [(json!({}), "`inputs`"), (json!({"url": 5}), "`inputs.url`"), (json!([]), "`inputs`")] {
                let error = missions.start(&Caller::local(), start(inputs)).await.unwrap_err().to_string();
                assert!(error.starts_with(field), "{error}");
            }
            // Who may not call the tool may not run a mission that does.
            let reader = Caller::with_key("k", Tenant::local(), vec![Scope::write("jobs")]);
            let error = missions.start(&reader, start(json!({"url": "x"}))).await.unwrap_err();
            assert!(matches!(error, MissionError::Invalid(_)), "{error}");
        })
        .await;
        assert_eq!(world.script.calls(), 0);
    })
    .await;
}
