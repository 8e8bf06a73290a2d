//! Schedules fire once, however many servers look at them.

use std::{collections::BTreeSet, time::Duration};

use paddock_jobs::{
    JobFilter, NewJob,
    mission::StartMission,
    schedule::{NewSchedule, Overlap, ScheduleError},
};
use paddock_platform::{
    identity::{Caller, Scope, Tenant},
    store::testing::on_each_engine,
    units::HumanDuration,
};
use serde_json::json;

use crate::support::World;

fn every_second(job: NewJob) -> NewSchedule {
    NewSchedule { every: Some(HumanDuration::from_secs(1)), job: Some(job), ..NewSchedule::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_fire_a_schedule_once() {
    on_each_engine(async |fixture| {
        let world = World::new(fixture);
        // Nobody shares SQLite: there it is one server.
        let mut lives = vec![world.live().await];
        if fixture.is_postgres() {
            lives.push(world.live().await);
        }
        let schedules = lives[0].schedules.clone();
        lives[0]
            .within(async move {
                let schedule = every_second(NewJob::kind("remote-work", json!({})));
                schedules.put(&Caller::local(), "tick", schedule).await.unwrap();
            })
            .await;
        let last = &lives[lives.len() - 1];
        let (schedules, jobs) = (last.schedules.clone(), last.jobs.clone());
        last.within(async move {
            let local = Tenant::local();
            while schedules.get(&local, "tick").await.unwrap().fired < 4 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let paused = schedules.pause(&local, "tick").await.unwrap();
            let filter = JobFilter { kind: Some("remote-work".to_owned()), ..JobFilter::default() };
            let found = jobs.list(&local, &filter, None, 100).await.unwrap();
            assert_eq!(found.len() as u64, paused.fired);
            let keys: BTreeSet<_> = found.iter().map(|job| job.unique_key.clone()).collect();
            assert_eq!(keys.len(), found.len());
            assert!(paused.paused && paused.next_at.is_none());
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_firing_is_left_out_while_the_last_one_runs() {
    on_each_engine(async |fixture| {
        let world = World::new(fixture);
        let life = world.live().await;
        let schedules = life.schedules.clone();
        life.within(async move {
            // Nobody does this work: it never ends.
            let schedule =
                NewSchedule { overlap: Overlap::Skip, ..every_second(NewJob::kind("never-done", json!({}))) };
            schedules.put(&Caller::local(), "slow", schedule).await.unwrap();
            let local = Tenant::local();
            while schedules.get(&local, "slow").await.unwrap().skipped < 2 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            assert_eq!(schedules.get(&local, "slow").await.unwrap().fired, 1);
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_starts_missions_and_can_be_fired_by_hand() {
    on_each_engine(async |fixture| {
        let world = World::new(fixture);
        let life = world.live().await;
        life.save("name: nightly\nsteps:\n  - { name: a, tool: lab_do, input: { name: a } }\n").await;
        let (schedules, missions) = (life.schedules.clone(), life.missions.clone());
        life.within(async move {
            let mission = StartMission {
                name: Some("nightly".to_owned()),
                inputs: json!({}),
                ..StartMission::default()
            };
            let schedule = NewSchedule {
                cron: Some("0 3 * * *".to_owned()),
                time_zone: Some("Europe/Berlin".to_owned()),
                mission: Some(mission),
                ..NewSchedule::default()
            };
            let local = Caller::local();
            schedules.put(&local, "nightly", schedule).await.unwrap();
            assert_eq!(schedules.next_firings(local.tenant(), "nightly", 3).await.unwrap().len(), 3);
            let fired = schedules.fire_now(local.tenant(), "nightly").await.unwrap();
            let id = fired.last_job.unwrap().parse().unwrap();
            let view = missions.wait(local.tenant(), id, Duration::from_mins(1)).await.unwrap();
            assert!(view.brief.state.is_final());
        })
        .await;
        assert_eq!(world.script.done(), ["a"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_is_checked_as_a_whole() {
    Box::pin(on_each_engine(async |fixture| {
        let world = World::new(fixture);
        let life = world.live().await;
        let schedules = life.schedules.clone();
        // Boxed: it is large.
        life.within(Box::pin(async move {
            let local = Caller::local();
            let cron = |cron: &str| NewSchedule {
                cron: Some(cron.to_owned()),
                job: Some(NewJob::tool("lab_do", json!({"name": "x"}))),
                ..NewSchedule::default()
            };
            for (schedule, field) in [
                (cron("61 * * * *"), "cron"),
                (cron("0 0 30 2 *"), "cron"),
                (
                    NewSchedule { time_zone: Some("Mars/Olympus".to_owned()), ..cron("* * * * *") },
                    "time_zone",
                ),
                (NewSchedule { every: Some(HumanDuration::from_secs(5)), ..cron("* * * * *") }, "cron"),
                (NewSchedule { job: None, ..cron("* * * * *") }, "job"),
                (
                    NewSchedule {
                        job: Some(NewJob::tool("lab_do", json!({"nme": "x"}))),
                        ..cron("* * * * *")
                    },
                    "nme",
                ),
                (
                    NewSchedule { job: Some(NewJob::kind("mission:run", json!({}))), ..cron("* * * * *") },
                    "kind",
                ),
            ] {
                let error = schedules.put(&local, "s", schedule).await.unwrap_err().to_string();
                assert!(error.contains(&format!("`{field}`")), "{error}");
            }
            let stranger = Caller::with_key("k", Tenant::local(), vec![Scope::write("jobs")]);
            assert!(
                schedules.put(&stranger, "s", cron("* * * * *")).await.is_err(),
                "the tool is not its to call"
            );
            let unknown = schedules.get(local.tenant(), "s").await.unwrap_err();
            assert!(matches!(unknown, ScheduleError::NotFound(_)));
        }))
        .await;
    }))
    .await;
}
