//! How the stores carry out what is done all the time: by an index, in its order, whatever waits and whatever they know of the table.

use paddock_platform::{
    identity::Caller,
    params,
    store::{Statement, testing::Fixture},
};

use super::support::{Server, echo_job, options};
use crate::{Role, store::sql};

/// The part of the claim that decides.
static EXPLAIN_POSTGRES: Statement = Statement::new(
    "lab",
    "explain_claim",
    "EXPLAIN SELECT id FROM jobs WHERE state = 0 AND queue = 'standard' AND pool = '' AND tenant = 'local' \
     ORDER BY rank, id LIMIT 100 FOR UPDATE SKIP LOCKED",
);
static EXPLAIN_SQLITE: Statement = Statement::new(
    "lab",
    "explain_claim",
    "EXPLAIN QUERY PLAN SELECT id FROM jobs WHERE state = 0 AND queue = 'standard' AND pool = '' \
     AND tenant = 'local' ORDER BY rank, id LIMIT 100",
);
static EXPLAIN_DUE: Statement =
    Statement::new("lab", "explain_due", "EXPLAIN QUERY PLAN SELECT min(run_at) FROM jobs WHERE state = 1");
static EXPLAIN_EXPIRED: Statement = Statement::new(
    "lab",
    "explain_expired",
    "EXPLAIN QUERY PLAN SELECT id FROM jobs WHERE expires <= 7 ORDER BY expires LIMIT 10",
);

async fn with_backlog(fixture: &Fixture) -> Server {
    let server = Server::start_as(fixture, options(), Role { works: false, queues: Vec::new() }).await;
    for _ in 0..10 {
        let jobs = (0..1_000).map(|n| echo_job(&n.to_string())).collect();
        server.jobs.enqueue_many(&Caller::local(), jobs).await.unwrap();
    }
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_walks_the_index_on_postgresql_without_statistics() {
    let Some(fixture) = Fixture::postgres().await else { return };
    let server = with_backlog(&fixture).await;
    let plan = server
        .store
        .write(|tx| {
            Box::pin(async move {
                tx.query(&sql::PLAN_BY_INDEX, params![]).await?;
                tx.query(&EXPLAIN_POSTGRES, params![]).await
            })
        })
        .await
        .unwrap();
    let plan: Vec<String> = plan.iter().map(|row| row.get(0_usize).unwrap()).collect();
    let plan = plan.join("\n");
    assert!(plan.contains("jobs_ready") && !plan.contains("Sort") && !plan.contains("Seq Scan"), "{plan}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_sqlite_does_all_the_time_comes_out_of_an_index() {
    let server = with_backlog(&Fixture::sqlite()).await;
    for (statement, index) in
        [(&EXPLAIN_SQLITE, "jobs_ready"), (&EXPLAIN_DUE, "jobs_due"), (&EXPLAIN_EXPIRED, "jobs_expiring")]
    {
        let plan = server.store.query(statement, params![]).await.unwrap();
        let plan: Vec<String> = plan.iter().map(|row| row.get(3_usize).unwrap()).collect();
        let plan = plan.join("\n");
        assert!(plan.contains(index) && !plan.contains("TEMP B-TREE"), "{plan}");
    }
    server.stop().await;
}
