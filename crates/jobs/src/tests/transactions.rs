//! Work of other areas in the transactions of jobs, and jobs in theirs.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use futures_util::{FutureExt, future::BoxFuture};
use paddock_platform::{
    identity::{Caller, Tenant},
    params,
    store::{Migration, Migrations, Statement, Store, StoreError, Transaction, testing::on_each_engine},
};
use serde_json::json;

use super::support::{Server, echo_job, options};
use crate::{
    Applied, Effects, EndHook, Finish, Job, JobContext, JobFailure, JobKind, JobState, Jobs, NewJob, Outcome,
    Role,
};

const NOTES: Migrations = Migrations::new(
    "lab",
    &[Migration::new(
        1,
        "notes",
        "CREATE TABLE lab_notes (id TEXT NOT NULL PRIMARY KEY, content TEXT NOT NULL)",
    )],
);
static NOTE: Statement = Statement::new("lab", "note", "INSERT INTO lab_notes (id, content) VALUES (?1, ?2)");
static COUNT: Statement =
    Statement::new("lab", "count_notes", "SELECT count(*) FROM lab_notes WHERE content = ?1");

async fn notes(store: &Store, content: &str) -> u64 {
    store.query_first(&COUNT, params![content]).await.unwrap().unwrap().get(0_usize).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_in_a_transaction_is_accepted_with_it_or_not_at_all() {
    on_each_engine(async |fixture| {
        let server = Server::start(fixture, options()).await;
        let prepared = [0; 2].map(|_| server.jobs.prepare(&Caller::local(), echo_job("a")).unwrap());
        let [kept, dropped] = prepared.clone();
        server
            .store
            .write(move |tx| async move { Jobs::enqueue_in(tx, &kept).await.map(drop) }.boxed())
            .await
            .unwrap();
        server
            .store
            .write(move |tx| {
                async move {
                    Jobs::enqueue_in(tx, &dropped).await?;
                    tx.roll_back();
                    Ok(())
                }
                .boxed()
            })
            .await
            .unwrap();
        server.jobs.announce(&prepared[..1]);
        assert_eq!(server.ended(prepared[0].id()).await.state, JobState::Succeeded);
        assert!(server.jobs.get(&Tenant::local(), prepared[1].id()).await.is_err());
        server.stop().await;
    })
    .await;
}

/// Waits at first, and is done when it is resumed.
struct Patient;

impl JobKind for Patient {
    fn run(&self, context: JobContext) -> BoxFuture<'static, Result<Outcome, JobFailure>> {
        async move {
            if context.job.attempt > 1 {
                return Ok(Outcome::Done(json!("resumed")));
            }
            let id = context.job.id.to_string();
            Ok(Outcome::wait(move |tx| {
                let params = params![id.clone(), "waits"];
                async move {
                    tx.execute(&NOTE, params).await?;
                    Ok(Applied::default())
                }
                .boxed()
            }))
        }
        .boxed()
    }
}

/// Writes a note and enqueues another job in the transaction of its end.
struct Writes(Jobs);

impl JobKind for Writes {
    fn run(&self, context: JobContext) -> BoxFuture<'static, Result<Outcome, JobFailure>> {
        let jobs = self.0.clone();
        async move {
            let id = context.job.id.to_string();
            Ok(Outcome::apply(move |tx| {
                let (params, jobs) = (params![id.clone(), "written"], jobs.clone());
                async move {
                    tx.execute(&NOTE, params).await?;
                    let next = jobs.prepare(&Caller::local(), echo_job("next")).unwrap();
                    Jobs::enqueue_in(tx, &next).await?;
                    let effects = Effects { enqueued: vec![next], ended: Vec::new() };
                    Ok(Applied { result: json!(7), effects })
                }
                .boxed()
            }))
        }
        .boxed()
    }
}

/// Notes the end of every job that has a parent, and fails the first time.
struct Notes {
    stumbles: AtomicUsize,
}

impl EndHook for Notes {
    fn wants(&self, job: &Job, _: JobState) -> bool {
        job.parent.is_some()
    }

    fn ended<'t>(
        &'t self,
        tx: &'t mut Transaction,
        job: &'t Job,
    ) -> BoxFuture<'t, Result<Effects, StoreError>> {
        async move {
            tx.execute(&NOTE, params![format!("{}/end", job.id), job.state.name()]).await?;
            if self.stumbles.fetch_add(1, Ordering::SeqCst) == 0 {
                return Err(StoreError::Conflict("stumbled".to_owned()));
            }
            Ok(Effects::default())
        }
        .boxed()
    }
}

async fn server_with_kinds(fixture: &paddock_platform::store::testing::Fixture) -> Server {
    let server = Server::open(fixture, options()).await;
    server.store.migrate(&NOTES).await.unwrap();
    server.jobs.registry().add_kind("lab:patient", Arc::new(Patient));
    server.jobs.registry().add_kind("lab:writes", Arc::new(Writes(server.jobs.clone())));
    server.jobs.registry().add_hook(Arc::new(Notes { stumbles: AtomicUsize::new(0) }));
    server.run(Role { works: true, queues: Vec::new() }).await;
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_kind_writes_with_its_end_is_written_once() {
    on_each_engine(async |fixture| {
        let server = server_with_kinds(fixture).await;
        let id = server.enqueue(NewJob::kind("lab:writes", json!({}))).await;
        assert_eq!(server.ended(id).await.result.unwrap().value(), json!(7));
        assert_eq!(notes(&server.store, "written").await, 1);
        server.eventually(async || server.seen.counts.lock().unwrap().get("next") == Some(&1)).await;
        server.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_waits_and_is_resumed_or_finished_in_a_transaction() {
    on_each_engine(async |fixture| {
        let server = server_with_kinds(fixture).await;
        let ids = [
            server.enqueue(NewJob::kind("lab:patient", json!({}))).await,
            server.enqueue(NewJob::kind("lab:patient", json!({}))).await,
        ];
        for id in ids {
            server.reaches(id, JobState::Waiting).await;
        }
        assert_eq!(notes(&server.store, "waits").await, 2);
        let [resumed, finished] = ids;
        let jobs = server.jobs.clone();
        let ended = server
            .store
            .write(move |tx| {
                async move {
                    assert!(jobs.resume_in(tx, &Tenant::local(), resumed).await?);
                    let finish = Finish::Succeeded(json!("by hand"));
                    jobs.finish_in(tx, &Tenant::local(), finished, finish).await
                }
                .boxed()
            })
            .await
            .unwrap()
            .unwrap();
        server.jobs.announce_job(&Tenant::local(), resumed);
        server.jobs.announce_end(&ended);
        assert_eq!(server.ended(finished).await.result.unwrap().value(), json!("by hand"));
        let job = server.ended(resumed).await;
        assert_eq!((job.result.as_ref().unwrap().value(), job.attempts_used()), (json!("resumed"), 1));
        let jobs = server.jobs.clone();
        let again = server
            .store
            .write(move |tx| {
                async move { jobs.finish_in(tx, &Tenant::local(), finished, Finish::Cancelled).await }.boxed()
            })
            .await
            .unwrap();
        assert!(again.is_none(), "what has ended is not ended again");
        server.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_runs_with_every_way_to_end_exactly_once() {
    on_each_engine(async |fixture| {
        let server = server_with_kinds(fixture).await;
        let child = |job: NewJob| NewJob { parent: Some("lab".to_owned()), ..job };
        let done = server.enqueue(child(echo_job("a"))).await;
        server.ended(done).await;
        let dies = server.enqueue(child(NewJob::tool("lab_fail", json!({"forever": false})))).await;
        server.ended(dies).await;
        let fails = server.enqueue(child(NewJob::tool("lab_fail", json!({"forever": true})))).await;
        server.ended(fails).await;
        let hangs = server.enqueue(child(NewJob::tool("lab_hang", json!({"name": "a"})))).await;
        server.reaches(hangs, JobState::Running).await;
        server.jobs.cancel(&Tenant::local(), hangs).await.unwrap();
        server.ended(hangs).await;
        let waits =
            server.enqueue(child(NewJob { waiting: true, ..NewJob::kind("lab:patient", json!({})) })).await;
        server.jobs.cancel(&Tenant::local(), waits).await.unwrap();
        for (state, count) in [("succeeded", 1), ("dead", 1), ("failed", 1), ("cancelled", 2)] {
            assert_eq!(notes(&server.store, state).await, count, "{state}");
        }
        server.stop().await;
    })
    .await;
}
